"""An engine that gives no answer, over real connections: what that means, told soon, and told of nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sovtui.adapters.engines import _asking
from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.links.http import client
from sovtui.adapters.links.login import Login
from sovtui.adapters.registry import load_engine
from sovtui.config.login import EngineLogin
from sovtui.config.schema import Secret
from sovtui.core.events import Event, LinkChanged, Sample, Samples
from sovtui.core.model import Engine, EnginePhase, HostSpec, Link, LinkPhase, Mode
from sovtui.core.reading import fresh
from sovtui.core.state import initial, reduce
from sovtui.ports.errors import NotYet
from sovtui.runtime.clock import RealClock
from tests.adapters.engines.pretend import MODELS

QUIET = 0.4
ENDLESS = 100_000.0
"""A deadline that no test outlives."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_asking, "QUIET_SECONDS", QUIET)


class Port:
    """A port on loopback. `does`: `answers`, `silent`, `trickles`, `closes`, `speaks-ssh`, `half` (health, and no more)."""

    def __init__(self) -> None:
        self.does = "answers"
        self.asked: list[str] = []
        self.server: asyncio.Server | None = None
        self.number = 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.number)
        self.number = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """As a process that ends: its connections with it."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            if self.does == "speaks-ssh":
                writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
            while self.does != "closes":
                line = await reader.readuntil(b"\r\n\r\n")
                path = line.split()[1].decode()
                self.asked.append(path)
                if self.does == "silent" or (self.does == "half" and path != "/health"):
                    await reader.read()
                    return
                body = json.dumps(MODELS if path == "/v1/models" else {}).encode()
                head = b"HTTP/1.1 %d OK\r\ncontent-length: %d\r\n\r\n" % (404 if path == "/is_sleeping" else 200, len(body))
                if self.does == "trickles":
                    for byte in head + body:
                        writer.write(bytes([byte]))
                        await asyncio.sleep(0.2)
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


class Watch:
    """The source that watches one engine at each port, and what it has told."""

    def __init__(self, *ports: Port, timeout: float, kind: str) -> None:
        self.modes = tuple(Mode(f"m{n}", engine="vllm", url=f"http://127.0.0.1:{port.number}") for n, port in enumerate(ports))
        state = initial((HostSpec("here", modes=self.modes),), RealClock().now())
        self.state = reduce(state, LinkChanged("here", Link(LinkPhase.UP, kind)))
        self.vllm = Late()

        def make(base: str, mode: str) -> httpx.AsyncClient:
            return client(None, base_url=base, timeout_seconds=timeout)

        self.source = EnginesSource("here", self.modes, {"vllm": self.vllm}, make, RealClock())

    def put(self, event: Event) -> None:
        self.state = reduce(self.state, event)

    async def poll(self) -> tuple[Engine, ...]:
        with contextlib.suppress(NotYet):  # it says that it is not sure yet
            await self.source.poll(self.state, self.put)
        return tuple(self.state.hosts["here"].engines[mode.name] for mode in self.modes)

    async def until(self, phase: EnginePhase) -> Engine:
        """Poll until the first of them is so."""
        async with asyncio.timeout(120):
            while (told := (await self.poll())[0]).phase is not phase:
                await asyncio.sleep(0.1)
        return told


class Late:
    """vLLM, whose figures may take long."""

    def __init__(self) -> None:
        self.vllm, self.late = load_engine("vllm"), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vllm, name)

    async def scrape(self, *words: Any) -> Any:
        while self.late:
            await asyncio.sleep(0.05)
        return await self.vllm.scrape(*words)


@asynccontextmanager
async def watched(*ports: Port, timeout: float = 60.0, kind: str = "local") -> AsyncIterator[Watch]:
    watch = Watch(*ports, timeout=timeout, kind=kind)
    try:
        yield watch
    finally:
        await watch.source.aclose()
        for port in ports:
            await port.close()


async def opened() -> Port:
    port = Port()
    await port.open()
    return port


async def test_a_port_that_takes_connections_and_is_silent_is_a_hang_and_asked_no_more_than_needed() -> None:
    port = await opened()
    async with watched(port, timeout=ENDLESS) as watch:
        await watch.until(EnginePhase.READY)
        port.does, asked = "silent", len(port.asked)
        (told,) = await watch.poll()  # its own deadline is not waited for
        assert told.phase is EnginePhase.HUNG and "takes connections" in told.reason
        for _ in range(3):
            (later,) = await watch.poll()
            assert (later.phase, later.reason) == (told.phase, told.reason)
        assert len(port.asked) <= asked + 1, "the question stays open"
        port.does = "answers"
        await port.close()  # what waited was never answered
        await port.open()
        await watch.until(EnginePhase.READY)


async def test_a_hang_of_one_path_is_a_hang_though_its_health_says_that_all_is_well() -> None:
    """vLLM whose core is stuck: `/health` answers, `/is_sleeping` does not."""
    port = await opened()
    async with watched(port, timeout=1.5) as watch:
        await watch.until(EnginePhase.READY)
        port.does = "half"
        watch.source._watched[0].past.missing.clear()  # it has /is_sleeping
        phases = []
        for _ in range(5):
            phases.append((await watch.poll())[0].phase)
            await asyncio.sleep(0.4)  # its open questions end, others are asked
        assert phases == [EnginePhase.HUNG] * 5


async def test_one_that_hangs_does_not_hold_up_what_is_told_of_another() -> None:
    stuck, well = await opened(), await opened()
    async with watched(stuck, well, timeout=ENDLESS) as watch:
        await watch.until(EnginePhase.READY)
        stuck.does = "silent"
        await watch.until(EnginePhase.HUNG)
        await well.close()
        told = await watch.poll()
        assert [one.phase for one in told] == [EnginePhase.HUNG, EnginePhase.DEAD]


async def test_slow_is_not_silent() -> None:
    """Byte after byte, over a poor link: it cannot be told in time, and nobody says that it hangs."""
    port = await opened()
    port.does = "trickles"
    async with watched(port, timeout=1.0) as watch:
        told = [(await watch.poll())[0] for _ in range(3)]
    assert {one.phase for one in told} == {EnginePhase.UNKNOWN} and "too slowly" in told[-1].reason


async def test_a_port_that_closes_each_connection() -> None:
    """A container's published port takes connections though nobody listens in the container."""
    port = await opened()
    port.does = "closes"
    async with watched(port) as watch:
        (told,) = await watch.poll()
        assert told.phase is EnginePhase.UNKNOWN and "closes each connection" in told.reason
        port.does = "answers"
        await watch.until(EnginePhase.READY)
        port.does = "closes"
        await port.close()
        await port.open()
        phases = [(await watch.poll())[0].phase for _ in range(2)]
        assert phases == [EnginePhase.UNKNOWN, EnginePhase.DEAD]


async def test_somebody_elses_port() -> None:
    port = await opened()
    port.does = "speaks-ssh"
    async with watched(port) as watch:
        (told,) = await watch.poll()
    assert told.phase is EnginePhase.WRONG_MODEL and "something else answers" in told.reason


async def test_one_that_has_just_begun_to_listen_is_starting_and_one_found_silent_hangs() -> None:
    port = await opened()
    async with watched(port) as watch:
        await port.close()
        await watch.until(EnginePhase.ABSENT)
        port.does = "silent"
        await port.open()
        (told,) = await watch.poll()
        assert told.phase is EnginePhase.STARTING and "a moment ago" in told.reason
    await port.open()
    async with watched(port) as watch:  # nobody has seen it begin
        assert (await watch.poll())[0].phase is EnginePhase.HUNG


async def test_one_whose_queue_of_connections_is_full_hangs() -> None:
    """Stopped long ago: the kernel neither takes nor refuses a connection any more."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        waiting.append(one)
    port = Port()
    port.number = full.getsockname()[1]
    try:
        async with watched(port, timeout=3) as watch:
            assert (await watch.poll())[0].phase is EnginePhase.HUNG
        async with watched(port, timeout=3, kind="ssh") as watch:
            assert (await watch.poll())[0].phase is EnginePhase.UNKNOWN, "it may be the link"
            later = RealClock().now() + timedelta(seconds=3)
            watch.put(Samples("here", (Sample("cpu.use_ratio", fresh(0.5, later, "probe")),)))
            assert (await watch.poll())[0].phase is EnginePhase.HUNG, "the link has brought other news since"
    finally:
        for one in (*waiting, full):
            one.close()


async def test_while_its_key_is_being_fetched_it_does_not_hang() -> None:
    port = await opened()
    async with watched(port) as watch:
        login = Login("host.here: m0", EngineLogin(bearer=Secret(command=("sleep", "30"))), RealClock(), optional=True)
        base = watch.modes[0].url
        watch.source._watched[0].client = http = client(None, base_url=base, timeout_seconds=1.0, login=login)
        (told,) = await watch.poll()
        await http.aclose()
    assert told.phase is EnginePhase.UNKNOWN and "has not finished" in told.denied


async def test_figures_that_take_long_do_not_hold_up_the_state() -> None:
    """In the middle of a long prompt an engine may say at once that it is well, and its figures much later."""
    port = await opened()
    async with watched(port, timeout=ENDLESS) as watch:
        await watch.until(EnginePhase.READY)
        watch.vllm.late = True
        await watch.until(EnginePhase.READY)
        port.does = "silent"
        await port.close()
        await port.open()
        await watch.until(EnginePhase.HUNG)
