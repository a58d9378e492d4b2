"""Whether engines work, as the probe tells it and as the state keeps it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from sovtui.adapters.services.probe import Probe
from sovtui.core.activity import Activity
from sovtui.core.events import ActivitySeen, LinkChanged, SourceChanged
from sovtui.core.model import HostSpec, Link, LinkPhase, Mode, Source
from sovtui.core.state import State, initial, is_routine, reduce
from sovtui.ports.link import Link as Way
from tests.fakes.world import FakeClock, FakeLink

ENGINES = (
    Mode("a", url="http://127.0.0.1:8080/v1", services=("a.service",)),
    Mode("b", url="http://127.0.0.1:8080", services=("b.service",)),
    Mode("c", engine="llamacpp", url="http://127.0.0.1:9000"),
    Mode("d"),
)
AT = "127.0.0.1:8080"


async def told(monkeypatch: pytest.MonkeyPatch, *said: dict[str, Any]) -> tuple[State, list[Any], dict[str, Any]]:
    """The state after each of these lines, a second apart; the requests that were made."""
    clock, asked = FakeClock(), dict[str, Any]()
    state, states = initial((HostSpec("spark", modes=ENGINES),), clock.now()), []

    async def lines(_link: Way, _verb: str, request: Mapping[str, Any], *_: object) -> AsyncGenerator[dict[str, Any], None]:
        asked.update(request)
        for line in said:
            yield line
            clock.passed += 1.0

    monkeypatch.setattr("sovtui.adapters.services.probe.lines", lines)
    async for batch in Probe("spark", ("a.service",), clock, engines=ENGINES).events(FakeLink()):
        for event in batch:
            state = reduce(state, event)
        states.append(state.hosts["spark"].activity.get(AT))
    return state, states, asked


def of(**words: Any) -> dict[str, Any]:
    return {"t": "activity", "of": [{"at": AT, **words}]}


async def test_every_address_is_asked_for_once_with_the_services_of_all_that_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, asked = await told(monkeypatch)
    assert asked["engines"] == [
        {"at": AT, "services": ["a.service", "b.service"], "fine": False},
        {"at": "127.0.0.1:9000", "services": [], "fine": True},
    ]


async def test_a_beat_renews_what_was_told_and_says_for_how_long_it_has_rested(monkeypatch: pytest.MonkeyPatch) -> None:
    beat = {"t": "beat", "now": 0}
    _, seen, _ = await told(
        monkeypatch, of(open=1, sleeps=15, shared=True), of(cores=0.8), beat, of(cores=0.0, open=0), beat, beat
    )
    assert [one.cores for one in seen] == [None, 0.8, 0.8, 0.0, 0.0, 0.0]
    assert [one.connections for one in seen] == [1, None, None, 0, 0, 0]
    assert (seen[0].sleeps_after_seconds, seen[0].shared_cache) == (15, True)
    assert [one.works for one in seen] == [False, True, True, False, False, False]
    assert [one.still_seconds() for one in seen] == [0, 0, 0, 1, 2, 3]
    worked = [one.worked_at and (seen[-1].at - one.worked_at).total_seconds() for one in seen]
    assert worked == [None, 4, 3, 2, 2, 2]  # what is not told to have changed went on until it is


async def test_a_little_work_is_none_that_a_hang_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    _, seen, _ = await told(monkeypatch, of(cores=0.9), of(cores=0.02), of(cores=0.03))
    assert [one.still_seconds() for one in seen] == [0, 1, 2] and all(one.works for one in seen)


@pytest.mark.parametrize("rubbish", [{"cores": "much", "open": -1, "sleeps": True, "shared": 7}, {"cores": None}, {"cores": -1}])
async def test_rubbish_is_not_known(monkeypatch: pytest.MonkeyPatch, rubbish: dict[str, Any]) -> None:
    _, seen, _ = await told(monkeypatch, of(**rubbish), {"t": "activity", "of": [{}]})
    assert (seen[0].cores, seen[0].sleeps_after_seconds, seen[0].shared_cache, seen[0].works) == (None, None, None, False)
    assert seen[0].connections != 0


async def test_why_nothing_is_known_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    _, seen, _ = await told(monkeypatch, of(why="it runs on\x1b[31m another machine"))
    assert "\x1b" not in seen[0].reason and "another machine" in seen[0].reason


@pytest.mark.parametrize(
    "lost", [LinkChanged("spark", Link(LinkPhase.DOWN)), SourceChanged(Source("probe", "spark", False, "it ended"))]
)
async def test_what_is_told_no_more_is_not_known_any_more(monkeypatch: pytest.MonkeyPatch, lost: Any) -> None:
    state, _, _ = await told(monkeypatch, of(cores=1.0))
    state = reduce(state, LinkChanged("spark", Link(LinkPhase.UP)))
    assert state.hosts["spark"].activity and not reduce(state, lost).hosts["spark"].activity


def test_that_work_begins_and_ends_is_told_at_once_and_the_rest_with_the_rest() -> None:
    now = FakeClock().now()
    other = Mode("vllm", engine="vllm", url="http://127.0.0.1:8000")
    spec = HostSpec("spark", modes=(Mode("a", engine="llamacpp", url=f"http://{AT}"), other))
    state = initial((spec,), now)

    def seen(cores: float, connections: int | None, seconds: float = 0.0, at: str = AT) -> ActivitySeen:
        return ActivitySeen("spark", ((at, Activity(cores, connections, at=now + timedelta(seconds=seconds))),))

    state = reduce(state, seen(0.0, 1))
    assert is_routine(state, seen(0.0, 2)) and is_routine(state, seen(0.0, 1, 5.0))
    assert not is_routine(state, seen(0.5, None)) and not is_routine(state, seen(0.0, 0))
    assert not is_routine(initial((spec,), now), seen(0.0, 0))
    assert is_routine(state, seen(0.5, None, at="127.0.0.1:8000"))  # each question has that one work a little
