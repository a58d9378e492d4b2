"""How much of the event loop those get who read what others send: slices of work with a rest after each, all readers together.

What comes faster than it can be looked at waits with its sender. An honest sender never fills a slice.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Generator
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

SLICE_ITEMS = 64
SLICE_BYTES = 1 << 16
SLICE_SECONDS = 0.004
REST_SHARE = 2.0
"""So many times as long as a slice took the loop is left to others: keys, above all."""
_SUSPENDED_SECONDS = 0.001
"""A reader that was away for longer has waited: nothing is owed for that time."""

_free_at: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, float] = weakref.WeakKeyDictionary()
"""When the next slice of any reader may begin, by its loop."""


class Pace:
    """One per reader: `turn` after each thing that it has taken, and `resume` after each wait for more."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin(self._loop.time())

    def _begin(self, now: float) -> None:
        self._began = self._seen = now
        self._worked = time.thread_time()
        self._items = self._bytes = 0

    def resume(self) -> None:
        """More has come."""
        now = self._loop.time()
        if now - self._seen > _SUSPENDED_SECONDS:
            self._begin(now)
        self._seen = now

    async def turn(self, size: int = 0, items: int = 1) -> None:
        """So many things of so many bytes together were taken and worked on. Rests where the slice is over."""
        self._items += items
        self._bytes += size
        now = self._seen = self._loop.time()
        took = now - self._began
        if took >= SLICE_SECONDS:  # a busy machine takes its time, too: that is not ours
            took = min(took, time.thread_time() - self._worked)
        if self._items < SLICE_ITEMS and self._bytes < SLICE_BYTES and took < SLICE_SECONDS:
            return
        free_at = max(now, _free_at.get(self._loop, 0.0)) + REST_SHARE * min(took, 10 * SLICE_SECONDS)
        _free_at[self._loop] = free_at
        await asyncio.sleep(free_at - now)
        self._begin(self._loop.time())


async def paced(rows: Generator[T, None, R], take: Callable[[T], None]) -> R:
    """`take` each of them, with rests in between; what the generator returns at its end."""
    pace = Pace()
    while True:
        try:
            take(next(rows))
        except StopIteration as end:
            return cast(R, end.value)
        await pace.turn()


class Tap:
    """Lets through so many things at once and so many a second after that; who gives more waits."""

    def __init__(self, at_once: int, per_second: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._room, self._most, self._per_second = float(at_once), at_once, per_second
        self._seen = self._loop.time()

    async def one(self) -> None:
        """Wait until one more may pass."""
        now = self._loop.time()
        self._room = min(self._most, self._room + (now - self._seen) * self._per_second) - 1.0
        self._seen = now
        if self._room < 0:
            await asyncio.sleep(-self._room / self._per_second)
