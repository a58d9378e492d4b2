"""One host that is slow, dead or nowhere never slows another: the real hub, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from sovtui.core.model import LinkPhase
from sovtui.runtime.control import Control

pytestmark = pytest.mark.integration  # real servers and some seconds of their pace

NOWHERE = 40
"""Hosts whose name nobody answers for: each blocks a thread of the resolver."""
PATIENCE_SECONDS = 120.0
"""For what takes seconds, on a machine however busy: what is pretended to hang does so until the end."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@contextlib.asynccontextmanager
async def mute() -> Any:
    """A port that takes every connection and never says a word."""
    held: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], held
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_healthy_one_keeps_its_pace_beside_one_that_hangs_one_that_refuses_and_many_nobody_knows(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, over = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *words: Any, **options: Any) -> Any:
        if str(host).startswith("nowhere"):
            over.wait()
            raise socket.gaierror("nobody answers")
        return known(host, *words, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with mute() as (port, held):
        nowhere = "".join(f'[host.n{i}]\naddress = "ops@nowhere{i}"\n' for i in range(NOWHERE))
        ssh = f"Host hanging\n HostName 127.0.0.1\n Port {port}\nHost refusing\n HostName 127.0.0.1\n Port {closed_port()}\n"
        (home / ".ssh" / "config").write_text(ssh)
        words = f'{nowhere}[host.hanging]\n[host.refusing]\n[host.here]\nlink = "local"\n'
        words += '[prometheus]\nurl = "http://127.0.0.1:9"\nvia = "hanging"\n'
        hub = build_hub(loads(words, "x.toml"))
        try:
            await hub.start()
            async with asyncio.timeout(PATIENCE_SECONDS):  # while nobody answers for any of the others
                while not held:
                    await asyncio.sleep(0.02)
                for _ in range(5):
                    await _measured_anew(hub)
                await hub.receipts("here")  # what a key asks of the healthy one wants a thread for a moment
            phases = {name: hub.state.hosts[name].link.phase for name in ("hanging", "refusing", "here", "n0")}
        finally:
            over.set()
            await hub.aclose()
    assert phases["here"] is LinkPhase.UP
    assert {phases["hanging"], phases["refusing"], phases["n0"]} <= {LinkPhase.DOWN, LinkPhase.CONNECTING}


def _measured_at(hub: Control) -> Any:
    return hub.state.hosts["here"].reading("memory.total_bytes").at


async def _measured_anew(hub: Control) -> None:
    """There are newer figures of the healthy host than now."""
    before = _measured_at(hub)
    while _measured_at(hub) == before:
        await asyncio.sleep(0.02)
