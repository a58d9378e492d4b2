"""What is known of alerts while Alertmanager is told them again, and the alert whose absence is the trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.cli import documents, output
from sovtui.core.alerting import hushed, is_pulse
from sovtui.core.events import AlertsSeen, Event, FiringSeen, PulsesSeen, SourceChanged, Tick
from sovtui.core.issues import actionable, issues
from sovtui.core.marks import MarkKind, turns
from sovtui.core.model import Alert, AlertState, HostSpec, Hush, Matcher, Silence, Source
from sovtui.core.state import State, initial, reduce
from sovtui.core.told import untold

pytestmark = pytest.mark.truth(of="one-shot commands and states")

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
WHY = "Alertmanager was started at 20:59:40: it receives what fires again within about a minute"


def alert(name: str, state: AlertState = AlertState.ACTIVE, severity: str = "warning", **labels: str) -> Alert:
    told = {"alertname": name, "severity": severity, "site": "home", **labels}  # `site` is an external label of Prometheus'
    return Alert(f"f-{name}", name, severity, state, NOW, f"{name}!", tuple(sorted(told.items())), pulse=is_pulse(told))


def as_prometheus(one: Alert) -> Alert:
    """The same as Prometheus' own series tell it: without external labels, and by another identity."""
    labels = tuple((name, value) for name, value in one.labels if name != "site")
    return Alert(f"p-{one.name}", one.name, one.severity, since=one.since, labels=labels, pulse=one.pulse)


DISK, LATE, DOWN = alert("DiskFull"), alert("BackupLate"), alert("EngineDown", severity="critical")
WATCHDOG = alert("Watchdog", severity="none")


def play(*events: Event, seconds: float = 0.0) -> State:
    state = initial((HostSpec("spark"),), NOW)
    for event in (SourceChanged(Source("alertmanager", ok=True)), SourceChanged(Source("prometheus", ok=True)), *events):
        state = reduce(state, event)
    return reduce(state, Tick(NOW + timedelta(seconds=seconds)))


def told(state: State) -> dict[str, str]:
    return {one.name: str(one.state) for one in state.alerts}


def test_what_fired_before_a_restart_is_not_over_but_not_told_yet() -> None:
    before = play(AlertsSeen((DISK, LATE), NOW))
    after = reduce(before, AlertsSeen((LATE,), NOW, WHY))
    assert told(after) == {"BackupLate": "active", "DiskFull": "untold"}
    assert [one.name for one in actionable(after)] == ["BackupLate"]
    assert not [mark for mark in turns(before, after) if mark.kind is MarkKind.BACK], "nothing has ended"
    again = reduce(after, AlertsSeen((LATE, DISK), NOW, WHY))
    assert told(again) == {"BackupLate": "active", "DiskFull": "active"}
    assert not turns(after, again), "and nothing begins anew"
    over = reduce(after, AlertsSeen((LATE,), NOW))
    assert told(over) == {"BackupLate": "active"}
    assert [mark.words for mark in turns(after, over)] == [], "when it ended nobody saw"


def test_prometheus_itself_fills_in_and_what_it_does_not_know_is_over() -> None:
    state = play(AlertsSeen((DISK, LATE), NOW), AlertsSeen((), NOW, WHY))
    state = reduce(state, FiringSeen((as_prometheus(DISK), as_prometheus(DOWN))))
    assert told(state) == {"DiskFull": "active", "EngineDown": "active"}
    disk, down = state.alerts
    assert (disk.fingerprint, disk.summary, disk.told_by) == ("f-DiskFull", "DiskFull!", "prometheus"), "as it was known before"
    assert (down.fingerprint, down.told_by) == ("p-EngineDown", "prometheus")
    assert [issue.title for issue in issues(state)] == ["EngineDown (critical)", "DiskFull (warning)"]
    state = reduce(state, AlertsSeen((DISK,), NOW, WHY))
    assert told(state) == {"DiskFull": "active", "EngineDown": "active"}, "each once"
    assert [one.told_by for one in state.alerts] == ["", "prometheus"]
    assert reduce(state, AlertsSeen((DISK,), NOW)).firing is None


def test_who_looks_once_waits_for_prometheus_and_says_what_is_missing() -> None:
    state = play(AlertsSeen((), NOW, WHY))
    assert untold(state) == ("what fires, of prometheus",)
    assert f"? {WHY}" in " ".join(output.status(state, ()).split()) and documents.status(state, ())["alerts_untold"] == WHY
    state = reduce(state, FiringSeen((as_prometheus(DOWN),)))
    assert untold(state) == () and "1 active" in output.status(state, ())
    assert documents.status(state, ())["alerts"][0]["told_by"] == "prometheus"


def test_an_acknowledgement_outlives_the_restart() -> None:
    silence = Silence("s", "tess", "ack: known", NOW + timedelta(hours=1))
    hush = Hush(silence, tuple(Matcher(name, value) for name, value in DISK.labels))
    state = play(AlertsSeen((), NOW, WHY, (hush,)), FiringSeen((as_prometheus(DISK), as_prometheus(LATE))))
    assert told(state) == {"DiskFull": "acknowledged", "BackupLate": "active"}
    assert state.alerts[0].silences == (silence,)


@pytest.mark.parametrize(
    ("matchers", "fits"),
    [
        ((Matcher("alertname", "DiskFull"),), True),
        ((Matcher("alertname", "DiskFull"), Matcher("site", "home")), True),  # an external label: Prometheus' series has it not
        ((Matcher("alertname", "Disk.*", True),), True),
        ((Matcher("alertname", "Disk", True),), False),  # anchored, as Alertmanager does it
        ((Matcher("alertname", "DiskFull"), Matcher("severity", "critical")), False),
        ((Matcher("severity", "critical", is_equal=False),), True),
        ((Matcher("alertname", "BackupLate", is_equal=False),), True),
        ((Matcher("alertname", "DiskFull", is_equal=False),), False),
        ((Matcher("mount", "/data", True),), False),
        ((Matcher("mount", "/data"),), False),
        ((Matcher("alertname", "("),), False),
        ((Matcher("alertname", "(", True),), False),
    ],
)
def test_what_a_silence_is_of(matchers: tuple[Matcher, ...], fits: bool) -> None:
    labels = {"alertname": "DiskFull", "severity": "warning"}
    assert hushed(labels, Hush(Silence("s", "", "", NOW), matchers)) is fits


@pytest.mark.parametrize(
    ("labels", "notes", "fires_by_design"),
    [
        ({"alertname": "Watchdog", "severity": "none"}, {}, True),
        ({"alertname": "Watchdog"}, {}, True),
        ({"alertname": "DeadMansSwitch", "severity": "info"}, {}, True),
        ({"alertname": "dead_mans_switch"}, {}, True),
        ({"alertname": "AlwaysFiring", "severity": "info"}, {}, True),
        ({"alertname": "Watchdog", "severity": "critical"}, {"summary": "the hardware watchdog has barked"}, False),
        ({"alertname": "Watchdog", "severity": "critical"}, {"description": "This alert is always firing"}, True),
        ({"alertname": "WatchdogFailed", "severity": "none"}, {}, False),
        ({"alertname": "NothingSpecial", "severity": "warning", "pulse": "true"}, {}, True),
        ({"alertname": "NothingSpecial", "severity": "warning"}, {"heartbeat": "yes"}, True),
        ({"alertname": "NothingSpecial", "pulse": "false"}, {}, False),
        ({"alertname": "Canary", "severity": "critical"}, {}, True),  # as configured below
    ],
)
def test_which_alerts_fire_by_design(labels: dict[str, str], notes: dict[str, str], fires_by_design: bool) -> None:
    assert is_pulse(labels, notes, ("Canary",)) is fires_by_design


def test_a_pulse_is_shown_as_such_and_is_nothing_to_act_on() -> None:
    state = play(AlertsSeen((WATCHDOG, LATE), NOW))
    assert [one.name for one in actionable(state)] == ["BackupLate"]
    assert [issue.title for issue in issues(state)] == ["BackupLate (warning)"]
    said = output.status(state, ())
    assert "1 active" in said and "Watchdog fires, as it always should" in said
    assert [one["pulse"] for one in documents.status(state, ())["alerts"]] == [True, False]
    silenced = replace(WATCHDOG, state=AlertState.ACKNOWLEDGED)
    assert not issues(play(AlertsSeen((silenced,), NOW), PulsesSeen({"Watchdog": NOW}))), "hushed it is there all the same"


@pytest.mark.parametrize(
    "expected",
    [
        (AlertsSeen((WATCHDOG,), NOW), AlertsSeen((), NOW)),
        (AlertsSeen((), NOW), PulsesSeen({"Watchdog": NOW})),
        (AlertsSeen((), NOW, pulses=("Watchdog",)),),
    ],
    ids=["seen before", "told by Prometheus", "configured"],
)
def test_a_pulse_that_is_missing_is_the_trouble(expected: tuple[Event, ...]) -> None:
    state = play(*expected)
    (issue,) = issues(state)
    assert (issue.title, issue.kind, issue.host) == ("Watchdog is missing in Alertmanager", "alert", "")
    assert "Watchdog is missing" in output.status(state, ())


def test_where_nobody_can_tell_no_pulse_is_missing() -> None:
    gone = (AlertsSeen((WATCHDOG,), NOW), AlertsSeen((), NOW, WHY))
    assert not issues(play(*gone)), "it is told again in a moment"
    assert issues(play(*gone, FiringSeen((as_prometheus(WATCHDOG),)), AlertsSeen((), NOW))), "it was not"
    silent = SourceChanged(Source("alertmanager", ok=False, reason="no answer"))
    assert [i.kind for i in issues(play(AlertsSeen((WATCHDOG,), NOW), AlertsSeen((), NOW), silent))] == ["source"]
    assert not issues(play(AlertsSeen((WATCHDOG,), NOW), AlertsSeen((), NOW), seconds=300)), "the list is old"
    assert not issues(play(PulsesSeen({"Watchdog": NOW}))), "there is no list yet"
