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
            over.wait(20)
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
            async with asyncio.timeout(15):
                while not held or _measured_at(hub) is None:
                    await asyncio.sleep(0.02)
            gaps, late = await _watch(hub, 5.0)
            async with asyncio.timeout(4):  # what a key asks of the healthy one wants a thread for a moment
                await hub.receipts("here")
            phases = {name: hub.state.hosts[name].link.phase for name in ("hanging", "refusing", "here", "n0")}
        finally:
            over.set()
            await hub.aclose()
    assert phases["here"] is LinkPhase.UP and phases["hanging"] is LinkPhase.CONNECTING
    assert phases["refusing"] in (LinkPhase.DOWN, LinkPhase.CONNECTING)
    assert len(gaps) >= 3 and max(gaps) < 2.0, gaps  # once a second, and this machine may be busy
    assert late < 0.5, "a key waits for this loop"


def _measured_at(hub: Control) -> Any:
    return hub.state.hosts["here"].reading("memory.total_bytes").at


async def _watch(hub: Control, seconds: float) -> tuple[list[float], float]:
    """Seconds between new figures of the healthy host, and how late the loop came at worst."""
    loop, seen, gaps, late = asyncio.get_running_loop(), _measured_at(hub), [], 0.0
    end = last = loop.time()
    end += seconds
    while loop.time() < end:
        before = loop.time()
        await asyncio.sleep(0.02)
        late = max(late, loop.time() - before - 0.02)
        if _measured_at(hub) != seen:
            seen, now = _measured_at(hub), loop.time()
            gaps.append(now - last)
            last = now
    return gaps, late
