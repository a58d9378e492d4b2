"""What has come from a stream and is not read yet: bounded, by holding the sender when it is too much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_HIGH_WATER = 1 << 18


def _nothing() -> None:
    """Nobody is there to be held."""


class Inflow:
    """`hold` and `go_on` stop the one who sends and let him send again."""

    def __init__(self, hold: Callable[[], None], go_on: Callable[[], None]) -> None:
        self._hold, self._go_on = hold, go_on
        self._buffer = bytearray()
        self._wake = asyncio.Event()
        self._held = False
        self.ended = False
        """Nothing more comes."""

    def __bool__(self) -> bool:
        """Whether there is something to read."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data
        self._wake.set()
        if len(self._buffer) > _HIGH_WATER and not self._held:
            self._held = True
            self._hold()

    def end(self) -> None:
        self.ended = True
        self._hold = self._go_on = _nothing  # nobody sends any more, and whoever did is let go of
        self._wake.set()

    async def read(self, max_bytes: int) -> bytes:
        """At least one byte; none at the end."""
        while not self._buffer:
            if self.ended:
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = bytes(memoryview(self._buffer)[:max_bytes])
        del self._buffer[:max_bytes]
        if len(self._buffer) < _HIGH_WATER // 2:
            self._release()
        return data

    def drop(self) -> None:
        """Forget what has come, so that the sender is held no longer."""
        self._buffer.clear()
        self._release()

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._go_on()
