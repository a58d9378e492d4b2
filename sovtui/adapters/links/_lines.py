"""Bytes to lines, bounded, and no faster than the loop bears: see `runtime.pace`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from sovtui.runtime.pace import Pace

MAX_LINE_BYTES = 1 << 20
"""What is longer is cut: the rest of that line is dropped."""
MAX_STDERR_BYTES = 8 << 10
_CHUNK = 1 << 16


async def split_lines(read: Callable[[int], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """Yield the lines of what `read` gives until it gives nothing; the last one need not end in a line break."""
    held: list[bytes] = []
    size = 0
    pace = Pace()
    while part := await read(_CHUNK):
        pace.resume()
        *ends, rest = part.split(b"\n")
        for end in ends:
            held.append(end[: MAX_LINE_BYTES - size])
            yield b"".join(held)
            held, size = [], 0
            await pace.turn(len(end))
        await pace.turn(len(rest), 0)
        if rest and size < MAX_LINE_BYTES:
            held.append(rest[: MAX_LINE_BYTES - size])
            size += len(held[-1])
    if held:
        yield b"".join(held)
