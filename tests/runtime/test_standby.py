"""A warm start answers once, is used up, and its absence is no harm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sovtui.ports.errors import Unreachable
from sovtui.ports.link import Patience
from sovtui.runtime import bundle
from sovtui.runtime.standby import Standby
from tests.fakes.world import FakeLink


class _Waiting:
    """The far side of one standby: answers the first request it is given."""

    def __init__(self, marker: bytes, dies: bool) -> None:
        self.marker, self.dies = marker, dies
        self.given = b""

    async def write(self, data: bytes) -> None:
        if self.dies and self.given:
            raise Unreachable("gone")
        self.given += data

    async def lines(self) -> AsyncIterator[bytes]:
        yield b"a login banner"
        yield self.marker + b'{"t":"ready"}'
        while (request := bundle.request_in(self.given)) is None:
            await asyncio.sleep(0)
        yield self.marker + json.dumps({"t": "started", "id": request["id"]}).encode()


class _Link(FakeLink):
    def __init__(self, dies: bool = False) -> None:
        super().__init__()
        self.opened: list[_Waiting] = []
        self.dies = dies

    def stream(self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE) -> Any:
        @asynccontextmanager
        async def run() -> AsyncIterator[_Waiting]:
            verb, marker = bundle.heard(argv) or ("", b"")
            self.opened.append(_Waiting(marker, self.dies))
            assert verb == "start" and not stdin
            yield self.opened[-1]

        return run()


async def _kept(standby: Standby, link: _Link) -> asyncio.Task[None]:
    task = asyncio.create_task(standby.keep(link))
    async with asyncio.timeout(60):
        while not link.opened:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    return task


async def test_it_answers_once() -> None:
    standby, link = Standby(), _Link()
    task = await _kept(standby, link)
    assert await standby.ask({"id": "x"}) == {"t": "started", "id": "x"}
    assert await standby.ask({"id": "y"}) is None  # the next one is not ready yet: the caller starts cold
    assert link.opened[0].given.endswith(b'{"id":"x"}\n')
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await standby.ask({"id": "z"}) is None


async def test_one_that_died_in_the_meantime_is_no_answer() -> None:
    standby = Standby()
    task = await _kept(standby, _Link(dies=True))
    assert await standby.ask({"id": "x"}) is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
