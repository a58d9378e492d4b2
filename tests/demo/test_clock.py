"""The fake clock wakes sleepers in order and at their own moment."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.clock import START, FakeClock


async def test_sleepers_wake_in_order_at_their_own_moment():
    clock, woken = FakeClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await clock.advance(2.5)
    assert woken == [(1, 1), (2, 2)]
    await clock.advance(0.5)
    assert woken[-1] == (3, 3)
    assert (clock.now() - START).total_seconds() == 3
    await asyncio.gather(*tasks)


async def test_run_passes_time_until_done_and_gives_up():
    clock = FakeClock()
    await clock.run(clock.sleep(10))
    assert clock.monotonic() == 10
    with pytest.raises(TimeoutError):
        await clock.run(clock.sleep(100), limit=5)
