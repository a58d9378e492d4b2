"""Turns on a connection whose host gives few sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sovtui.adapters.links import _ssh_sessions
from sovtui.adapters.links._ssh_sessions import MAX_SESSIONS, Crowded, Sessions


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def leaver(sessions: Sessions, patience: int, left: list[int]) -> Callable[[], None]:
    def leave() -> None:
        left.append(patience)
        sessions.left(patience, leave)
        sessions.give_back()

    return leave


async def test_what_is_less_patient_comes_first() -> None:
    order: list[int] = []
    sessions = Sessions(1)

    async def want(patience: int) -> None:
        await sessions.take(patience)
        order.append(patience)
        sessions.give_back()

    await sessions.take()
    tasks = [asyncio.create_task(want(patience)) for patience in (3, 0, 1, 0)]
    await soon()
    assert order == []
    sessions.give_back()
    await asyncio.gather(*tasks)
    assert order == [0, 0, 1, 3]


async def test_the_most_patient_makes_way_and_only_as_many_as_are_needed() -> None:
    left: list[int] = []
    sessions = Sessions(3)
    for patience in (2, 4, 3):
        await sessions.take(patience)
        sessions.hold(patience, leaver(sessions, patience, left))
    await asyncio.wait_for(sessions.take(0), 60)
    assert left == [4]
    await asyncio.wait_for(sessions.take(2), 60)
    assert left == [4, 3]
    third = asyncio.create_task(sessions.take(2))  # no one there is more patient than this
    await soon()
    assert left == [4, 3] and not third.done()
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    sessions.give_back()
    assert sessions.free


async def test_one_that_waits_when_something_patient_comes_in_is_not_forgotten() -> None:
    left: list[int] = []
    sessions = Sessions(1)
    await sessions.take(4)
    waiting = asyncio.create_task(sessions.take(0))
    await soon()
    sessions.hold(4, leaver(sessions, 4, left))  # its session is there only now
    await asyncio.wait_for(waiting, 60)
    assert left == [4]


async def test_a_patient_one_is_told_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ssh_sessions, "PATIENT_SECONDS", 0.01)
    sessions = Sessions()
    for _ in range(3):
        await sessions.take()
    assert sessions.few == "" and sessions.refused() and sessions.limit == 2
    sessions.give_back()
    assert "gives 2 sessions at a time" in sessions.few
    with pytest.raises(Crowded):
        await sessions.take(1)
    sessions.give_back()
    await sessions.take(1)


async def test_one_that_is_cancelled_in_its_turn_gives_it_back() -> None:
    sessions = Sessions(1)
    await sessions.take()
    waiting = asyncio.create_task(sessions.take())
    await soon()
    sessions.give_back()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert sessions.free


async def test_a_refusal_without_others_is_none_of_numbers() -> None:
    sessions = Sessions()
    await sessions.take()
    assert not sessions.refused() and sessions.limit == MAX_SESSIONS
