"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")
START = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


class FakeClock:
    """Implements `ports.clock.Clock`. `sleep` returns when `advance` has moved time past its end."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time; everybody whose sleep ends on the way wakes at its own moment, in order."""
        await turn()
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end + 1e-9:
            due, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self._elapsed = max(self._elapsed, due)
            future.set_result(None)
            await turn()
        self._elapsed = end
        await turn()

    async def run(self, what: Awaitable[T], *, step: float = 0.25, limit: float = 3600.0) -> T:
        """Await something while time passes by itself. TimeoutError if it takes longer than `limit` of this clock's seconds."""
        task = asyncio.ensure_future(what)
        spent = 0.0
        while not task.done():
            if spent > limit:
                task.cancel()
                raise TimeoutError(f"not done after {limit} s of the fake clock")
            await self.advance(step)
            spent += step
        return await task


async def turn(times: int = 8) -> None:
    """Let every task that can run, run."""
    for _ in range(times):
        await asyncio.sleep(0)
