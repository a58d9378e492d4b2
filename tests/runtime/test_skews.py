"""Clocks that differ: ages are what the host itself would say, and that they differ is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import pytest

from sovtui.adapters.services.probe import Probe
from sovtui.cli import documents
from sovtui.cli.doctor import host_checks
from sovtui.config.schema import HostConfig
from sovtui.core.events import ClockSeen, LinkChanged, ServicesSeen
from sovtui.core.issues import issues
from sovtui.core.model import HostSpec, Link, LinkPhase
from sovtui.core.state import State, initial, reduce
from sovtui.runtime import box
from sovtui.runtime.skews import Skews
from tests.fakes.world import FakeClock, FakeLink

pytestmark = pytest.mark.truth(of="one-shot commands and states")

CLOCK = FakeClock()
NOW = CLOCK.now()
DAY = 30 * 3600.0
"""What a client whose clock is far ahead is ahead by."""


def link(*lines: dict[str, Any]) -> FakeLink:
    def script(argv: Sequence[str], stdin: bytes) -> tuple[list[bytes], int]:
        return [json.dumps(line).encode() for line in lines], 0

    made = FakeLink(script=script)
    made.latency_seconds = None
    return made


def there(ahead: float, ago: float = 0.0) -> float:
    """The host's time `ago` seconds ago, for a client that is so far ahead."""
    return NOW.timestamp() - ahead - ago


@pytest.mark.parametrize("ahead", [DAY, -DAY, 40.0, -3.0])
def test_what_the_host_says_is_the_skew(ahead: float) -> None:
    skews = Skews()
    assert skews.told("spark") is None and not skews.of("spark")
    assert skews.hear("spark", there(ahead) - 0.4, NOW, 0.4)
    assert skews.told("spark") == pytest.approx(ahead)


@pytest.mark.parametrize("ahead", [0.0, 1.5, -1.9])
def test_clocks_that_are_near_are_the_same(ahead: float) -> None:
    skews = Skews()
    skews.hear("spark", there(ahead), NOW)
    assert skews.told("spark") == 0.0


def test_an_answer_that_was_held_up_changes_nothing_and_a_clock_that_was_set_does() -> None:
    skews = Skews()
    skews.hear("spark", there(DAY), NOW)
    for late in (8.0, 0.3, 5.0, 4.0, 0.2):
        assert not skews.hear("spark", there(DAY, late), NOW)
    assert skews.told("spark") == pytest.approx(DAY)
    assert [skews.hear("spark", there(DAY + 60.0), NOW) for _ in range(3)] == [False, False, True], "never less: it was set"
    assert skews.hear("spark", there(0.0), NOW), "less than any delay explains"
    assert skews.told("spark") == 0.0


@pytest.mark.parametrize("words", [None, "12", True, [1], float("nan"), 1e300])
def test_what_is_no_time_is_none(words: object) -> None:
    skews = Skews()
    assert not skews.hear("spark", words, NOW) and skews.told("spark") is None


def test_moments_that_are_asked_for_are_by_the_hosts_clock_and_ages_stay() -> None:
    skews = Skews()
    skews.hear("spark", there(DAY), NOW)
    assert skews.there("spark", "10m") == "10m" and skews.there("spark", "") == "" and skews.there("nas", "5.0") == "5.0"
    assert float(skews.there("spark", f"{NOW.timestamp():.3f}")) == pytest.approx(NOW.timestamp() - DAY)
    assert datetime.fromisoformat(skews.there("spark", NOW.isoformat())) == NOW - timedelta(seconds=DAY)


def _row(name: str, since: float, until: float | None = None) -> dict[str, Any]:
    return {"name": name, "active": "inactive", "sub": "dead", "result": "success", "since": since, "next": until}


async def _probed(*lines: dict[str, Any]) -> State:
    state = reduce(
        initial((HostSpec("spark", services=("nas.service", "x.timer")),), NOW), LinkChanged("spark", Link(LinkPhase.UP))
    )
    probe = Probe("spark", ("nas.service", "x.timer"), CLOCK, skews=Skews())
    async with aclosing(probe.events(link(*lines))) as batches:
        async for events in batches:
            assert not all(isinstance(event, ClockSeen) for event in events), "a time alone is no answer"
            for event in events:
                state = reduce(state, event)
    return state


@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_a_service_is_as_old_as_its_host_says(ahead: float) -> None:
    state = await _probed(
        {"t": "hello", "now": there(ahead)},
        {"t": "services", "services": [_row("nas.service", there(ahead, 3600.0)), _row("x.timer", 0, there(ahead, -90.0))]},
    )
    host = state.hosts["spark"]
    assert host.services["nas.service"].since == NOW - timedelta(hours=1)
    assert host.services["x.timer"].next_run_at == NOW + timedelta(seconds=90)
    assert host.skew_seconds == pytest.approx(ahead)


async def test_a_clock_that_is_set_while_it_is_looked_at_carries_all_along() -> None:
    ahead = {"t": "services", "services": [_row("nas.service", there(DAY, 3600.0))]}
    state = await _probed({"t": "hello", "now": there(DAY)}, ahead, {"t": "beat", "now": there(0.0)})
    assert state.hosts["spark"].services["nas.service"].since == NOW - timedelta(hours=1) - timedelta(seconds=DAY)
    assert state.hosts["spark"].skew_seconds == 0.0


async def test_receipts_and_log_lines_are_carried_over_too() -> None:
    skews = Skews()
    began = datetime.fromtimestamp(there(DAY, 600.0), NOW.tzinfo).isoformat()
    lines = [
        {"t": "begin", "id": "one", "kind": "backup", "target": "nas", "who": "me", "at": began},
        {"t": "step", "name": "run", "state": "running", "at": began},
    ]
    listed = {"t": "action", "id": "one", "running": True, "lines": lines, "now": there(DAY)}
    (run,) = await box.list_runs(link(listed), skews=skews, clock=CLOCK)
    assert run.began_at == run.steps[0].began_at == NOW - timedelta(minutes=10)
    told = box.logs(
        *(link({"t": "line", "text": "a", "at": there(DAY, 5.0), "now": there(DAY)}), "x.service", 5, "", False),
        skews=Skews(),
        clock=CLOCK,
    )
    assert [line.at async for line in told] == [NOW - timedelta(seconds=5)]


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0.0, ""),
        (4.0, ""),
        (6.0, "this machine's clock is 6.0 s ahead of its own"),
        (DAY, "this machine's clock is 1 d 6 h ahead of its own"),
        (-90.0, "this machine's clock is 1 min 30 s behind its own"),
    ],
)
def test_clocks_that_differ_are_said_to(ahead: float, words: str) -> None:
    state = reduce(initial((HostSpec("spark"),), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
    state = reduce(reduce(state, ClockSeen("spark", ahead)), ServicesSeen("spark", ()))
    assert [issue.title for issue in issues(state)] == ([words] if words else [])
    checks = {check.what: check.detail for check in host_checks(state.hosts["spark"], HostConfig())}
    assert checks.get("spark: clock", "") == words
    assert documents.host(state.hosts["spark"], NOW)["link"]["clock_skew_seconds"] == ahead
