"""When something happened: told by one state, or seen between two."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sovtui.core.events import ActionChanged, AlertsSeen, EngineSeen, Event, LinkChanged, PathSeen, ServicesSeen, Tick
from sovtui.core.marks import Mark, MarkKind, marks, told, turns
from sovtui.core.model import (
    ActionRun,
    Alert,
    AlertState,
    Engine,
    EnginePhase,
    HostSpec,
    Link,
    LinkPhase,
    PathKind,
    Service,
    TailnetPath,
)
from sovtui.core.state import State, initial, reduce

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
UP = Link(LinkPhase.UP, "ssh", "spark", NOW)
DOWN = Link(LinkPhase.DOWN, "ssh", "spark", NOW + timedelta(seconds=60), "no answer", attempt=1)
DISK = Alert("f1", "DiskFull", "warning", since=NOW - timedelta(minutes=5))
RUN = ActionRun("id-1", "switch", "qwen", "me@phone", NOW)


def states(*events: Event) -> list[State]:
    """One state a minute: before the first event, and after each."""
    state = reduce(initial((HostSpec("spark", services=("a.service",)),), NOW), LinkChanged("spark", UP))
    state = reduce(state, ServicesSeen("spark", (Service("a.service", "active"),)))
    state = reduce(reduce(state, EngineSeen("spark", "qwen", Engine(EnginePhase.READY))), AlertsSeen((), NOW))
    found = [state]
    for event in events:
        state = reduce(reduce(state, Tick(state.now + timedelta(minutes=1))), event)
        found.append(state)
    return found


def seen(*events: Event) -> list[str]:
    found = states(*events)
    return [mark.words for old, new in pairwise(found) for mark in turns(old, new)]


def test_a_link_that_is_lost_and_comes_back() -> None:
    again = Link(LinkPhase.CONNECTING, "ssh", "spark", attempt=2, since=DOWN.since)
    words = seen(LinkChanged("spark", DOWN), LinkChanged("spark", again), LinkChanged("spark", UP))
    assert words == ["the link to spark was lost", "the link to spark is back"]


def test_a_path_that_is_relayed_and_direct_again() -> None:
    def path(kind: PathKind, via: str = "") -> Event:
        return PathSeen("spark", TailnetPath(kind, via=via))

    direct, relay = path(PathKind.DIRECT), path(PathKind.RELAY, "fra")
    assert seen(path(PathKind.UNKNOWN), direct, relay, relay, direct, path(PathKind.IDLE), direct) == [
        "the link to spark is no longer direct: relayed by fra",
        "the link to spark is direct again",
    ]
    assert seen(direct, path(PathKind.PEER_RELAY, "203.0.113.7:40000:vni:12")) == [
        "the link to spark is no longer direct: relayed by a peer"
    ]


def test_a_service_that_fails_and_runs_again() -> None:
    def a(active: str) -> Event:
        return ServicesSeen("spark", (Service("a.service", active),))

    assert seen(a("failed"), a("failed"), a("activating"), a("active")) == ["a.service failed"]
    assert seen(a("missing"), a("active")) == ["a.service is missing", "a.service runs again"]
    assert seen(a("inactive"), a("active")) == []


def test_an_engine_that_dies_and_answers_again() -> None:
    def engine(phase: EnginePhase) -> Event:
        return EngineSeen("spark", "qwen", Engine(phase))

    assert seen(engine(EnginePhase.DEAD), engine(EnginePhase.READY)) == [
        "the engine of qwen is dead",
        "the engine of qwen is ready",
    ]
    assert seen(engine(EnginePhase.UNKNOWN), engine(EnginePhase.READY)) == [], "that is only that somebody asked"


def test_alerts_that_fire_and_end_but_not_those_that_are_acknowledged() -> None:
    hushed = replace(DISK, state=AlertState.ACKNOWLEDGED)
    assert seen(AlertsSeen((DISK,), NOW), AlertsSeen((hushed,), NOW), AlertsSeen((), NOW)) == ["DiskFull fires"]
    assert seen(AlertsSeen((DISK,), NOW), AlertsSeen((), NOW)) == ["DiskFull fires", "DiskFull has ended"]


def test_an_action_begins_and_ends() -> None:
    ended = replace(RUN, outcome="rolled-back", seconds=90.0)
    words = seen(ActionChanged("spark", RUN), ActionChanged("spark", ended))
    assert words == ["switch qwen begins", "switch qwen ended: rolled back"]


def test_the_same_happening_is_listed_once_however_it_was_heard_of() -> None:
    found = states(AlertsSeen((DISK,), NOW), LinkChanged("spark", DOWN), ActionChanged("spark", RUN))
    noted = [mark for old, new in pairwise(found) for mark in turns(old, new)]
    assert len(noted) == 3 and len(list(told(found[-1]))) == 3
    listed = marks(found[-1], noted)
    assert [mark.words for mark in listed] == [
        "the link to spark was lost",
        "switch qwen begins",
        "DiskFull fires",
    ]
    assert [mark.at for mark in listed] == sorted((mark.at for mark in listed), reverse=True)


def test_two_witnesses_seconds_apart_are_one_happening() -> None:
    state = states(AlertsSeen((DISK,), NOW))[-1]
    assert DISK.since is not None
    other = [Mark(DISK.since + timedelta(seconds=s), MarkKind.ALERT, "DiskFull fires", "spark", f"past {s}") for s in (-4, 9, 45)]
    assert [mark.key for mark in marks(state, other)] == ["past 45", "past -4"]


def test_nothing_is_listed_that_is_still_to_come() -> None:
    ahead = Mark(NOW + timedelta(hours=1), MarkKind.ALERT, "later", key="x")
    assert marks(states()[-1], [ahead]) == ()
