"""The whole of it: a configuration with `tailnet`, a pretend daemon, a real sshd; the hub links, and tells the path."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from sovtui.core.model import LinkPhase, PathKind
from sovtui.core.state import State
from sovtui.runtime.control import Control
from tests.adapters.tailnet.pretend import PretendDaemon, node, pong, recorded

from .conftest import Sshd

pytestmark = pytest.mark.integration  # a server that speaks ssh, on the loopback

NAME = "spark.nowhere.invalid"


def configured(pretend: PretendDaemon, sshd: Sshd) -> Control:
    user = sshd.dialer().address.partition("@")[0]
    text = f"""
[host.spark]
address = "{user}@{NAME}:{sshd.port}"
tailnet = "spark"
[tailnet]
socket = "{pretend.path}"
"""
    return build_hub(loads(text, "c.toml"), interactive=False)


def at_loopback(sshd: Sshd) -> bytes:
    def change(document: Any) -> None:
        spark = node(document, "spark")
        spark |= {"TailscaleIPs": ["127.0.0.1"], "sshHostKeys": [sshd.host_public], "KeyExpiry": "2026-11-30T00:00:00Z"}

    return recorded("running", change)


async def told(hub: Control, holds: Any, seconds: float = 15.0) -> State:
    async with asyncio.timeout(seconds):
        while not holds(hub.state.hosts["spark"]):
            await asyncio.sleep(0.02)
    return hub.state


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = logging.getLogger()
    before = list(root.handlers)
    yield tmp_path / "state"
    for handler in [one for one in root.handlers if one not in before]:  # the hub's file, which later tests do not want
        root.removeHandler(handler)
        handler.close()


async def test_a_host_of_the_tailnet_is_reached_and_its_path_is_told(sshd: Sshd, tmp_path: Path, state_home: Path) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        pretend.status = at_loopback(sshd)
        pretend.pongs["127.0.0.1"] = pong("relayed")
        hub = configured(pretend, sshd)
        await hub.start()
        try:
            state = await told(hub, lambda host: host.path is not None and host.path.latency_seconds is not None)
        finally:
            await hub.aclose()
    host = state.hosts["spark"]
    assert host.link.phase is LinkPhase.UP and host.path is not None
    assert (host.path.kind, host.path.via, host.path.verified, host.path.source) == (PathKind.RELAY, "fra", True, "localapi")
    assert json.loads((state_home / "sovtui" / "tailnet.json").read_text())["spark"]["addresses"] == ["127.0.0.1"]


async def test_a_host_that_is_not_in_the_tailnet_says_so(sshd: Sshd, tmp_path: Path, state_home: Path) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        pretend.status = recorded("running", lambda d: node(d, "spark").update(DNSName="sparks.tail4c2f.example."))
        hub = configured(pretend, sshd)
        await hub.start()
        try:
            state = await told(hub, lambda host: host.link.phase is LinkPhase.DOWN and host.path is not None)
        finally:
            await hub.aclose()
    host = state.hosts["spark"]
    assert "spark is not in tailnet tail4c2f.example (nearest names: sparks), or its policy hides it" in host.link.reason
    assert host.path is not None and host.path.kind is PathKind.UNKNOWN
