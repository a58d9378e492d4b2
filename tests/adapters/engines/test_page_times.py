"""A page of figures is as of its answer, whatever is read, imported or asked after it: what is between two pages is their speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from sovtui.adapters.engines import scrape
from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.links.http import client
from sovtui.adapters.registry import load_engine
from sovtui.core.events import LinkChanged
from sovtui.core.model import HostSpec, Link, LinkPhase, Mode
from sovtui.core.state import initial, reduce
from tests.adapters.engines.pretend import MODELS, Room, Server
from tests.adapters.engines.test_probe import moved

BETWEEN_SECONDS, TOKENS, LATE_SECONDS = 61.0, 6100, 30.0


@asynccontextmanager
async def served(room: Room, server: Server, late: set[str]) -> AsyncIterator[int]:
    """`server` on a port of loopback; the clock passes while it answers what is in `late`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
                if path in late:
                    room.clock.passed += LATE_SECONDS
                answer = server(httpx.Request("GET", f"http://localhost{path}"))
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (answer.status_code, len(answer.content)))
                writer.write(answer.content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    port = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with port:
        yield port.sockets[0].getsockname()[1]


@pytest.mark.parametrize("late_at", ["/v1/models", "its reading"])
async def test_the_speed_is_that_between_two_answers(late_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(health=200, v1__models=MODELS, metrics=moved(0))
    room = Room(server)
    late: set[str] = set()
    async with served(room, server, late) as port:
        mode = Mode("qwen", engine="vllm", url=f"http://127.0.0.1:{port}")
        room.state = reduce(
            initial((HostSpec("spark", modes=(mode,)),), room.clock.now()), LinkChanged("spark", Link(LinkPhase.UP, "local"))
        )
        made = client(None, base_url=mode.url, timeout_seconds=60)
        room.source = EnginesSource("spark", (mode,), {"vllm": load_engine("vllm")}, lambda *_: made, room.clock)
        try:
            await room.poll()
            server.routes["/metrics"] = moved(TOKENS)
            if late_at == "its reading":
                reads = scrape.read_scrape

                def slowly(*words: Any) -> scrape.Scrape:
                    room.clock.passed += LATE_SECONDS
                    return reads(*words)

                monkeypatch.setattr(scrape, "read_scrape", slowly)
            late.add(late_at)
            await room.poll(BETWEEN_SECONDS)
        finally:
            await made.aclose()
    told = room.state.hosts["spark"].reading("engine.decode_tok_s", "qwen").fresh_value
    assert told == pytest.approx(TOKENS / BETWEEN_SECONDS, rel=0.02)
