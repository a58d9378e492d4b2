"""Readers that others feed: how much they do in one turn of the loop, counted in things and bytes."""

from __future__ import annotations

import asyncio

from sovtui.adapters.links._lines import split_lines
from sovtui.runtime.pace import SLICE_BYTES, SLICE_ITEMS, Tap


async def test_lines_that_never_end_leave_the_loop_to_others() -> None:
    """Everything is there at once: nobody would ever wait."""
    left, seen, largest = 40, 0, 0

    async def read(size: int) -> bytes:
        nonlocal left
        left -= 1
        return b"junk\n" * 1000 if left >= 0 else b""

    async def lines() -> None:
        nonlocal seen
        async for _ in split_lines(read):
            seen += 1

    work = asyncio.create_task(lines())
    before = 0
    while not work.done():
        await asyncio.sleep(0)
        largest, before = max(largest, seen - before), seen
    assert seen == 40_000 and largest <= SLICE_ITEMS


async def test_long_lines_count_by_their_bytes() -> None:
    left, longest, since = 50, 0, 0

    async def read(size: int) -> bytes:
        nonlocal left
        left -= 1
        return b"x" * size if left >= 0 else b""

    async def lines() -> None:
        async for _ in split_lines(read):
            pass

    work = asyncio.create_task(lines())
    before = left
    while not work.done():
        await asyncio.sleep(0)
        since, before = before - left, left
        longest = max(longest, since)
    assert longest * (1 << 16) <= 2 * SLICE_BYTES


async def test_a_tap_lets_a_burst_through_and_then_so_many_a_second() -> None:
    tap, passed = Tap(10, 5.0), 0

    async def flow() -> None:
        nonlocal passed
        while True:
            await tap.one()
            passed += 1

    flowing = asyncio.create_task(flow())
    await asyncio.sleep(0.1)
    assert passed == 10
    await asyncio.sleep(4.0)
    assert passed == 30
    flowing.cancel()
