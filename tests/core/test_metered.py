"""When a link is used sparingly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.core.metered import FOR_SECONDS, INTERVAL_SECONDS, Judge, Wish, interval
from sovtui.core.model import HostSpec, Link, LinkPhase, PathKind, TailnetPath
from sovtui.core.state import Host

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


def host(latency: float | None, path: TailnetPath | None = None, phase: LinkPhase = LinkPhase.UP, kind: str = "ssh") -> Host:
    return Host(HostSpec("box"), Link(phase, kind, latency_seconds=latency), path=path)


def play(judge: Judge, *course: tuple[float, Host]) -> list[bool]:
    """Looked at once a second for so many seconds at each; what was said at the end of each."""
    at, said = NOW, []
    for seconds, seen in course:
        told = ""
        for _ in range(round(seconds)):
            at += timedelta(seconds=1)
            told = judge.why(seen, at)
        said.append(bool(told))
    return said


def test_slow_round_trips_for_a_while_make_it_metered_and_quick_ones_for_a_while_end_it() -> None:
    slow, middling, quick = host(0.5), host(0.2), host(0.05)
    course = (
        (60, quick),
        (FOR_SECONDS - 5, slow),
        (5, quick),
        (FOR_SECONDS - 5, slow),
        (10, slow),
        (99, middling),
        (5, quick),
        (40, quick),
    )
    assert play(Judge(), *course) == [False, False, False, False, True, True, True, False]


def test_a_relay_is_enough_and_a_path_nobody_knows_is_not() -> None:
    relay = TailnetPath(PathKind.RELAY, via="fra")
    judge = Judge()
    assert play(judge, (40, host(0.04, relay))) == [True]
    assert judge.why(host(0.04, relay), NOW + timedelta(minutes=5)) == "its path is a relay"
    assert play(Judge(), (90, host(0.04, TailnetPath())), (90, host(None))) == [False, False]


def test_what_it_was_it_stays_while_the_link_is_away() -> None:
    down = host(None, phase=LinkPhase.DOWN)
    assert play(Judge(), (40, host(0.5)), (300, down), (3, host(0.05)), (40, host(0.05))) == [True, True, True, False]


def test_a_wish_goes_before_what_seems_fit_and_this_machine_is_never_metered_by_itself() -> None:
    assert Judge(Wish.ON).why(host(0.01), NOW) == "as configured"
    assert Judge(Wish.ON, told=True).why(host(0.01), NOW) == "as you chose"
    assert play(Judge(Wish.OFF), (99, host(2.0))) == [False]
    assert play(Judge(), (99, replace(host(2.0), link=Link(LinkPhase.UP, "local", latency_seconds=2.0)))) == [False]


@pytest.mark.parametrize(
    ("usual", "expected"), [(1.0, INTERVAL_SECONDS), (2.0, 10.0), (5.0, 25.0), (60.0, 300.0), (600.0, 600.0)]
)
def test_what_is_asked_rarely_is_asked_still_more_rarely(usual: float, expected: float) -> None:
    assert interval(usual, metered=False) == usual
    assert interval(usual, metered=True) == expected
