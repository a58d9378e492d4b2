"""The pane of alerts: a pulse, one that is missing, and what Alertmanager has not been told yet."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from sovtui.config.schema import AlertmanagerConfig, Config, HostConfig
from sovtui.core.events import AlertsSeen, FiringSeen, PulsesSeen, SourceChanged
from sovtui.core.issues import issues
from sovtui.core.model import Source
from sovtui.core.state import State
from sovtui.tui.panes.alerts import AlertsPane, count_span
from sovtui.tui.panes.base import View
from tests.core.test_alerting import DISK, LATE, NOW, WATCHDOG, WHY, as_prometheus, play

CONFIG = Config(host={"spark": HostConfig()}, alertmanager=AlertmanagerConfig(url="http://am:9093"))


def shown(state: State, width: int = 60) -> list[str]:
    pane, view = AlertsPane(), View(state, "spark", CONFIG)
    rows = pane.rows(view, width, pane.want(view, width).rows - 2)
    assert not any("more" in row.plain for row in rows), "all that it wanted room for is there"
    return [row.plain.rstrip() for row in rows]


def count(state: State) -> tuple[str, str]:
    return count_span(View(state, "spark", CONFIG))


@pytest.mark.truth(of="screen")
def test_a_pulse_stands_last_and_counts_as_no_alert() -> None:
    state = play(AlertsSeen((WATCHDOG, DISK), NOW))
    rows = shown(state)
    assert rows[0].startswith("▸▲ DiskFull") and rows[2].startswith(" ● Watchdog") and "pulse" in rows[2]
    assert count(state) == ("▲ 1 alert", "warn")
    assert count(play(AlertsSeen((WATCHDOG,), NOW))) == ("0 alerts", "label")


@pytest.mark.truth(of="screen")
def test_a_pulse_that_is_missing_is_said_first() -> None:
    state = play(AlertsSeen((), NOW), PulsesSeen({"Watchdog": NOW}))
    rows = shown(state)
    assert rows[0].startswith("✖ Watchdog is missing") and rows[1] == "0 alerts firing"
    assert count(state) == ("0 alerts, no pulse", "warn")


@pytest.mark.truth(of="screen")
def test_what_is_not_told_yet_is_not_called_none() -> None:
    state = play(AlertsSeen((), NOW, WHY))
    assert shown(state, 120) == [f"? {WHY}"]
    assert count(state) == ("alerts ?", "nothing")
    state = play(AlertsSeen((DISK, LATE), NOW), AlertsSeen((LATE,), NOW, WHY))
    rows = shown(state)
    assert rows[1].startswith("▸▲ BackupLate") and rows[3].startswith(" ? DiskFull") and "not reported yet" in rows[3]
    assert count(state) == ("▲ 1+ alerts", "warn")
    assert AlertsPane().heading(View(state, "spark", CONFIG)) == "1 firing, 1 not reported yet"


@pytest.mark.parametrize("fingerprint", ["p-DiskFull"])
def test_who_says_so_is_in_its_story(fingerprint: str) -> None:
    state = play(AlertsSeen((), NOW, WHY), FiringSeen((as_prometheus(DISK),)))
    story = " ".join(row.plain for row in AlertsPane().story(View(state, "spark", CONFIG), fingerprint, 80))
    assert "Prometheus reports it; Alertmanager has not received it yet." in story


@pytest.mark.truth(of="screen")
def test_a_list_that_nobody_renews_is_old_at_once() -> None:
    state = play(AlertsSeen((DISK,), NOW), SourceChanged(Source("alertmanager", ok=False, reason="no answer")), seconds=20)
    assert count(state) == ("▲ 1 alert ~20s", "stale")


def test_a_thousand_alerts_cost_a_thousand_times_one() -> None:
    """Counted in calls, which no other load of the machine changes."""

    def calls(count: int) -> int:
        some = tuple(replace(DISK, fingerprint=f"{n:x}", name=f"Disk{n}") for n in range(count))
        pane, view = AlertsPane(), View(play(AlertsSeen(some, NOW)), "spark", CONFIG)
        made = 0

        def count_one(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(count_one)
        try:
            pane.rows(view, 60, 12)
            issues(replace(view.state))
        finally:
            sys.setprofile(None)
        return made

    few, many = calls(100), calls(1000)
    assert many < 15 * few, f"{few} for a hundred, {many} for a thousand"
