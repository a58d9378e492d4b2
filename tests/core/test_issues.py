"""What is wrong anywhere, and what of it comes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.core.events import AlertsSeen, LinkChanged, PathSeen, Sample, Samples, ServicesSeen, SourceChanged
from sovtui.core.issues import Grade, host_of, issues, of_host
from sovtui.core.model import Alert, AlertState, Backup, HostSpec, Link, LinkPhase, PathKind, Service, Source, TailnetPath
from sovtui.core.reading import fresh
from sovtui.core.state import State, initial, reduce
from sovtui.demo import scenario
from sovtui.onbox.things import Unit

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
UP = Link(LinkPhase.UP, since=NOW)


def estate(*specs: HostSpec) -> State:
    state = initial(specs, NOW)
    for spec in specs:
        state = reduce(state, LinkChanged(spec.name, UP))
    return state


def alert(name: str, severity: str = "warning", **labels: str) -> Alert:
    return Alert(name, name, severity, since=NOW - timedelta(minutes=5), labels=tuple(labels.items()))


def disk(mount: str, used: float, at: datetime = NOW) -> tuple[Sample, ...]:
    total = 1e12
    return (
        Sample("disk.total_bytes", fresh(total, at, "probe"), mount),
        Sample("disk.free_bytes", fresh(total * (1 - used), at, "probe"), mount),
    )


def test_nothing_known_is_nothing_wrong() -> None:
    assert issues(initial((HostSpec("box", services=("a.service",)),), NOW)) == ()


def test_a_tailnet_key_that_expires_is_told_once() -> None:
    state, own = estate(HostSpec("box"), HostSpec("nas", role="nas")), "this machine's tailnet key expires in 2 days"
    mine = TailnetPath(PathKind.DIRECT, notes=("box's tailnet key expires in 3 days", own))
    state = reduce(reduce(state, PathSeen("box", mine)), PathSeen("nas", TailnetPath(PathKind.IDLE, notes=(own,))))
    assert {(i.grade, i.kind, i.host, i.title) for i in issues(state)} == {
        (Grade.SOON, "link", "box", "box's tailnet key expires in 3 days"),
        (Grade.SOON, "link", "", own),
    }


def test_the_worst_comes_first_over_all_hosts() -> None:
    nas = HostSpec("nas", role="nas", backups=(Backup("off", "off.service", 3600.0, NOW - timedelta(days=2), at=NOW),))
    box = HostSpec("box", services=("a.service", "floor.service"), floor=("floor.service",))
    mgmt = HostSpec("mgmt", role="management")
    state = estate(nas, box, mgmt)
    state = reduce(state, Samples("mgmt", disk("/", 0.93)))
    state = reduce(state, Samples("nas", disk("/volume1", 0.99)))
    state = reduce(
        state,
        ServicesSeen(
            "box", (Service("a.service", "failed", result="exit-code", since=NOW), Service("floor.service", "inactive"))
        ),
    )
    state = reduce(state, AlertsSeen((alert("Hot", "critical", instance="box:9100"), alert("Meh", "info"), alert("Warm")), NOW))
    state = reduce(state, LinkChanged("mgmt", Link(LinkPhase.DOWN, since=NOW, reason="mgmt does not answer")))
    assert [(i.grade, i.kind, i.host) for i in issues(state)] == [
        (Grade.NOW, "link", "mgmt"),
        (Grade.NOW, "floor", "box"),
        (Grade.NOW, "alert", "box"),
        (Grade.NOW, "disk", "nas"),
        (Grade.SOON, "service", "box"),
        (Grade.SOON, "alert", ""),
        (Grade.SOON, "backup", "nas"),
        (Grade.LOOK, "alert", ""),
    ]  # the disk of mgmt is only as last seen: that it cannot be reached is what is wrong


def test_a_host_tried_again_after_a_loss_is_still_lost_and_a_first_try_is_not() -> None:
    state = estate(HostSpec("box"))
    for link, expected in (
        (Link(LinkPhase.CONNECTING), 0),
        (Link(LinkPhase.CONNECTING, since=NOW, reason="it does not answer"), 1),
        (Link(LinkPhase.REFUSED, reason="wrong key"), 1),
        (UP, 0),
    ):
        assert len(issues(reduce(state, LinkChanged("box", link)))) == expected, link


@pytest.mark.parametrize(
    ("limit", "used", "grade"), [(0.9, 0.89, None), (0.9, 0.91, Grade.SOON), (0.5, 0.6, Grade.SOON), (1.0, 0.985, Grade.NOW)]
)
def test_how_full_is_full_is_configured_up_to_where_nothing_fits(limit: float, used: float, grade: Grade | None) -> None:
    state = reduce(estate(HostSpec("box", disk_full_ratio=limit)), Samples("box", disk("/", used)))
    assert [i.grade for i in issues(state)] == ([] if grade is None else [grade])


def test_a_failed_unit_is_told_once_and_one_that_loops_only_while_it_does() -> None:
    state = estate(HostSpec("box", services=("a.service", "b.service", "c.service")))
    looping = Service("b.service", "active", restarts=9, since=NOW - timedelta(minutes=1))
    calm = Service("c.service", "active", restarts=9, since=NOW - timedelta(days=3))
    state = reduce(state, ServicesSeen("box", (Service("a.service", "failed"), looping, calm)))
    assert [(i.grade, i.target) for i in issues(state)] == [(Grade.SOON, "a.service"), (Grade.LOOK, "b.service")]


@pytest.mark.parametrize("sub", ["auto-restart", "auto-restart-queued"])  # the latter from systemd 254 on
@pytest.mark.truth("a unit that waits for its restart is restarting, by the words of every systemd", of="systemd")
def test_a_unit_that_waits_for_its_restart_is_restarting(sub: str) -> None:
    state = reduce(
        estate(HostSpec("box", services=("a.service",))), ServicesSeen("box", (Service("a.service", "activating", sub),))
    )
    assert [(i.grade, i.target) for i in issues(state)] == [(Grade.SOON, "a.service")]
    assert Unit("a.service", "activating", sub).restarting
    assert not Unit("a.service", "activating", "start").restarting


def test_a_backup_without_any_known_success_is_not_in_order() -> None:
    never = Backup("off", "off.service", 3600.0, reason="no such metric", at=NOW)
    not_asked = replace(never, name="nas", at=None)
    assert [i.target for i in issues(estate(HostSpec("box", backups=(never, not_asked))))] == ["off"]


def test_acknowledged_alerts_are_not_wrong_any_more() -> None:
    state = reduce(estate(HostSpec("box")), AlertsSeen((replace(alert("A"), state=AlertState.ACKNOWLEDGED),), NOW))
    assert issues(state) == ()


def test_a_silent_source_for_all_is_told_and_one_of_a_host_is_not() -> None:
    state = estate(HostSpec("box"))
    state = reduce(state, SourceChanged(Source("alertmanager", "", False, "nothing listens")))
    state = reduce(state, SourceChanged(Source("probe", "box", False, "the link is down")))
    assert [i.target for i in issues(state)] == ["alertmanager"]


@pytest.mark.parametrize(
    ("labels", "host"),
    [
        ({"instance": "spark:9100"}, "spark"),
        ({"instance": "SPARK.tail1234.ts.net:9100"}, "spark"),
        ({"instance": "100.64.0.7:9100"}, "spark"),
        ({"instance": "localhost:9100"}, "mgmt"),
        ({"instance": "[::1]:9100"}, "mgmt"),
        ({"host": "nas", "instance": "localhost:9115"}, "nas"),
        ({"instance": "elsewhere:9100"}, ""),
        ({}, ""),
    ],
)
def test_which_host_an_alert_is_about(labels: dict[str, str], host: str) -> None:
    hosts = estate(
        HostSpec("spark", names=("100.64.0.7", "spark")),
        HostSpec("mgmt", role="management", names=("localhost", "127.0.0.1", "::1")),
        HostSpec("nas", role="nas"),
    ).hosts
    assert host_of(alert("A", **labels), hosts) == host


def test_with_one_host_everything_is_about_it() -> None:
    assert host_of(alert("A", instance="elsewhere:1"), estate(HostSpec("box")).hosts) == "box"


def test_the_scripted_estate_while_it_alerts() -> None:
    found = issues(scenario("alerting"))
    assert [(i.kind, i.host) for i in found[:2]] == [("link", "edge"), ("engine", "spark")]
    assert {i.target for i in of_host(found, "nas")} >= {"/volume1"}
    assert all(i.grade is Grade.NOW for i in found[:4])


def test_a_timer_that_will_not_fire_again() -> None:
    state = estate(HostSpec("box", services=("a.timer", "b.timer", "c.timer", "d.timer", "e.service")))
    spent = Service("a.timer", "active", "elapsed", "success", NOW)
    fine = (
        Service("b.timer", "active", "running", "success", NOW),  # what it starts runs: the next time comes after it
        Service("c.timer", "active", "waiting", "success", NOW, next_run_at=NOW + timedelta(hours=1)),
        replace(spent, name="d.timer", once=True),  # OnBootSec= alone: at the next boot again
        replace(spent, name="e.service"),
    )
    state = reduce(state, ServicesSeen("box", (spent, *fine)))
    assert [(i.grade, i.kind, i.title) for i in issues(state)] == [(Grade.SOON, "timer", "a.timer will not fire again")]


def test_a_backup_that_was_skipped() -> None:
    backup = Backup("nas", "nas.service", 3600.0, NOW, "skipped", at=NOW, skipped="ConditionACPower=true was not met")
    state = estate(HostSpec("box", backups=(backup, replace(backup, name="new", last_success_at=None))))
    found = {(i.grade, i.title): i.detail for i in issues(state)}
    assert found == {
        (Grade.SOON, "backup new was skipped"): "skipped, because ConditionACPower=true was not met: it did not run",
        (Grade.LOOK, "backup nas was skipped"): "skipped, because ConditionACPower=true was not met: it did not run",
    }
