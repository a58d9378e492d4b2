"""When a backup last worked: unit, receipts, metric."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sovtui.adapters.backups.units import BackupsSource, judge
from sovtui.config.schema import BackupConfig
from sovtui.core.events import BackupsSeen, Event, LinkChanged, ReceiptsSeen, ReceiptsUnread, ServicesSeen, SourceChanged
from sovtui.core.issues import backup_word
from sovtui.core.model import ActionRun, Backup, Link, LinkPhase, Service, Source
from sovtui.ports.errors import NotYet, Unreachable
from tests.adapters.figures.estate import NOW, Room, config, spark
from tests.fakes.world import FakeClock

pytestmark = pytest.mark.truth(of="one-shot commands and states")

NAS = BackupConfig(name="nas", service="backup-nas.service")
BEFORE = NOW - timedelta(hours=3)


def told(
    active: str, result: str = "success", since: datetime | None = BEFORE, sub: str = "", old: Backup | None = None
) -> Backup:
    ended = since if result == "success" and (active == "inactive" or sub == "exited") else None
    service = Service("backup-nas.service", active, sub, result, since, source="probe", ended_at=ended)
    return judge(NAS, old or Backup("nas"), service, (), NOW)


def test_a_oneshot_that_worked() -> None:
    backup = told("inactive")
    assert (backup.last_result, backup.last_success_at, backup.source, backup.reason) == ("success", BEFORE, "probe", "")


def test_no_record_is_not_never() -> None:
    backup = told("inactive", since=None)
    assert backup.last_result == "" and backup.last_success_at is None
    gone = Service("backup-nas.service", "inactive", "dead", "success", NOW, source="probe", kept=False)
    backup = judge(NAS, Backup("nas"), gone, (), NOW)
    assert (backup.last_result, backup.last_success_at) == ("", None), "that it was loaded just now is no run"
    assert backup.reason == "systemd keeps no record of its runs, nor does its journal tell of one: a metric would"
    dumb = judge(NAS, Backup("nas"), replace(gone, mute="ops may not read the journal"), (), NOW)
    assert dumb.reason == "systemd keeps no record of its runs, and ops may not read the journal: a metric would"
    run = ActionRun("1", "backup", "nas", "me", BEFORE, outcome="done", seconds=60.0)
    assert judge(NAS, Backup("nas"), gone, (run,), NOW).source == "receipt"
    told_by = judge(NAS, Backup("nas"), replace(gone, ended_at=BEFORE, ended_by="journal"), (), NOW)
    assert (told_by.last_success_at, told_by.source, told_by.last_result) == (BEFORE, "journal", "success")


def test_a_start_that_was_skipped_is_no_run_and_the_success_before_stays() -> None:
    why = "of an unmet condition check (ConditionACPower=true)"
    service = Service("backup-nas.service", "inactive", "dead", "success", BEFORE, source="probe", skipped=why, skipped_at=NOW)
    for skipped in (
        replace(service, ended_at=BEFORE),
        replace(service, ended_at=BEFORE, ended_by="journal", kept=False),
        replace(service, result="exec-condition", since=NOW, ended_at=BEFORE),
    ):
        backup = judge(NAS, Backup("nas", max_age_seconds=86400.0), skipped, (), NOW)
        assert (backup.last_result, backup.skipped, backup.last_success_at) == ("skipped", why, BEFORE)
        assert backup_word(backup, NOW) == "skipped"
        assert backup_word(backup, NOW + timedelta(days=2)) == "late"
    ran = judge(NAS, Backup("nas"), replace(service, skipped_at=BEFORE, ended_at=NOW), (), NOW)
    assert (ran.last_result, ran.skipped, backup_word(ran, NOW)) == ("success", "", "ok")
    failed = judge(NAS, Backup("nas"), replace(service, active="failed", result="exit-code"), (), NOW)
    assert failed.last_result == "failed", "that its last run failed is worse than that its last start was skipped"
    receipts = [
        ActionRun("1", "backup", "nas", "me", BEFORE, outcome="done", seconds=0.0),
        ActionRun("2", "backup", "nas", "me", NOW, outcome="skipped", reason=f"skipped, because {why}"),
        ActionRun("3", "backup", "nas", "me", NOW + timedelta(hours=1), outcome="warned", seconds=1.0),
    ]
    gone = Service("backup-nas.service", "inactive", "dead", "success", source="probe", kept=False)
    backup = judge(NAS, Backup("nas"), gone, receipts[:2], NOW)
    assert (backup.last_result, backup.skipped, backup.last_success_at) == ("skipped", why, BEFORE)
    later = replace(gone, ended_at=BEFORE, ended_by="journal")
    assert judge(NAS, Backup("nas"), later, receipts[:2], NOW).last_result == "skipped", "the journal was asked before"
    again = replace(gone, ended_at=NOW + timedelta(minutes=1), ended_by="journal")
    assert judge(NAS, Backup("nas"), again, receipts[:2], NOW).last_result == "success", "its timer came after"
    kept = replace(again, kept=True, ended_by="", ended_at=BEFORE)
    assert judge(NAS, Backup("nas"), kept, receipts[:2], NOW).last_result == "success", "systemd has a record, and so the word"
    assert judge(NAS, Backup("nas"), gone, receipts, NOW).last_success_at == BEFORE, "not proved to have run is no success"


def test_a_failure_does_not_tell_when_it_last_worked() -> None:
    backup = told("failed", "exit-code")
    assert backup.last_result == "failed" and backup.last_success_at is None and "metric" in backup.reason
    kept = told("failed", "exit-code", old=Backup("nas", last_success_at=BEFORE, source="probe"))
    assert kept.last_result == "failed" and kept.last_success_at == BEFORE and kept.reason == ""


def test_running_and_remaining_after_exit() -> None:
    assert told("activating").last_result == "running"
    assert told("activating").last_success_at is None
    done = told("active", sub="exited")
    assert done.last_result == "success" and done.last_success_at == BEFORE


def test_a_receipt_is_a_witness_too() -> None:
    runs = (
        ActionRun("1", "backup", "nas", "me", BEFORE, outcome="done", seconds=60.0),
        ActionRun("2", "backup", "nas", "me", NOW, outcome="failed", seconds=60.0),
        ActionRun("3", "backup", "cloud", "me", NOW, outcome="done", seconds=60.0),
    )
    backup = judge(NAS, Backup("nas"), Service("backup-nas.service", "failed", result="exit-code"), runs, NOW)
    assert backup.last_success_at == BEFORE + timedelta(minutes=1) and backup.source == "receipt"


def test_with_a_metric_the_unit_tells_only_the_result() -> None:
    metric = BackupConfig(name="nas", service="backup-nas.service", metric="m")
    service = Service("backup-nas.service", "failed", result="exit-code", since=NOW)
    old = Backup("nas", last_success_at=BEFORE, source="prometheus")
    backup = judge(metric, old, service, (), NOW)
    assert (backup.last_success_at, backup.source, backup.last_result) == (BEFORE, "prometheus", "failed")
    assert "has not reported" in judge(metric, Backup("nas"), service, (), NOW).reason


def test_while_prometheus_is_silent_the_box_itself_tells_and_it_is_said_who() -> None:
    metric = BackupConfig(name="nas", service="backup-nas.service", metric="m")
    later = Service("backup-nas.service", source="probe", active="inactive", ended_at=NOW - timedelta(minutes=5))
    old = Backup("nas", last_success_at=BEFORE, source="prometheus")
    backup = judge(metric, old, later, (), NOW, silent=True)
    assert (backup.last_success_at, backup.source) == (later.ended_at, "probe")
    assert backup.reason == "from its unit: Prometheus, which has its metric, does not answer"
    earlier = replace(later, ended_at=BEFORE - timedelta(hours=9))
    backup = judge(metric, old, earlier, (), NOW, silent=True)
    assert (backup.last_success_at, backup.source) == (BEFORE, "prometheus")
    assert backup.reason == "as last reported by Prometheus, which does not answer now; the box knows of no later one"
    assert judge(metric, old, None, (), NOW, silent=True).reason == "as last reported by Prometheus, which does not answer now"
    run = ActionRun("1", "backup", "nas", "me", NOW - timedelta(minutes=1), outcome="done", seconds=6.0)
    assert judge(metric, old, earlier, (run,), NOW, silent=True).reason.startswith("from its receipt: ")
    unknown = judge(metric, Backup("nas"), Service("backup-nas.service", "failed", result="exit-code"), (), NOW, silent=True)
    assert unknown.last_success_at is None and unknown.reason.startswith("Prometheus does not answer; its last run failed")


async def test_one_answer_that_is_late_is_no_silence() -> None:
    metric = BackupConfig(name="nas", service="backup-nas.service", metric="m")
    room = reached(ReceiptsSeen("spark", ()))
    source = BackupsSource("spark", (metric,), FakeClock())
    room.put(BackupsSeen("spark", (Backup("nas", last_success_at=BEFORE, source="prometheus"),)))
    room.put(ServicesSeen("spark", (Service("backup-nas.service", "inactive", source="probe", ended_at=NOW),)))
    for seconds, who in ((5, "prometheus"), (30, "probe")):
        room.put(
            SourceChanged(
                Source("prometheus", ok=False, reason="gone", last_ok_at=FakeClock().now() - timedelta(seconds=seconds))
            )
        )
        await source.poll(room.state, room.put)
        assert room.state.hosts["spark"].backups["nas"].source == who


def test_missing_and_unknown_units() -> None:
    assert judge(NAS, Backup("nas"), None, (), NOW).reason == "backup-nas.service is not known yet"
    assert told("missing", since=None).reason == "there is no backup-nas.service"


def reached(*events: Event) -> Room:
    """A host whose link is up, with what it has told."""
    room = Room(config(spark=spark()))
    for event in (LinkChanged("spark", Link(LinkPhase.UP)), *events):
        room.put(event)
    room.events.clear()
    return room


NEVER = ServicesSeen("spark", (Service("backup-nas.service", "inactive", "dead", source="probe"),))


async def test_nothing_is_said_before_units_receipts_and_prometheus_have_told() -> None:
    asked = SourceChanged(Source("prometheus"))
    metric = BackupConfig(name="nas", service="backup-nas.service", metric="m")
    for told, missing, backup in (
        ((), "services of its backups are not known", NAS),
        ((NEVER,), "receipts have not been read", NAS),
        ((NEVER, ReceiptsUnread("spark")), "", NAS),
        ((NEVER, ReceiptsSeen("spark", ())), "", NAS),
        ((NEVER, ReceiptsSeen("spark", ()), asked), "Prometheus has not answered", metric),
        ((NEVER, ReceiptsSeen("spark", ()), asked), "", NAS),
        ((SourceChanged(Source("probe", "spark", False, "no python3 there")), ReceiptsSeen("spark", ())), "", NAS),
    ):
        room = Room(config(spark=spark(watch=("backup-nas.service",))))
        room.put(LinkChanged("spark", Link(LinkPhase.UP)))
        for event in told:
            room.put(event)
        source = BackupsSource("spark", (backup,), FakeClock())
        room.events.clear()
        if missing:
            with pytest.raises(NotYet, match=missing):
                await source.poll(room.state, room.put)
            assert not room.events, "that it is not known yet is no news of a backup"
        else:
            await source.poll(room.state, room.put)


async def test_a_host_that_is_not_reached_has_told_nothing_of_its_backups() -> None:
    room = reached(NEVER, ReceiptsSeen("spark", ()))
    room.put(BackupsSeen("spark", (Backup("nas", last_success_at=BEFORE, source="probe"), Backup("cloud"))))
    room.put(LinkChanged("spark", Link(LinkPhase.DOWN, reason="no route")))
    cloud = BackupConfig(name="cloud", service="cloud.service")
    with pytest.raises(Unreachable, match="spark is not reached: no route"):
        await BackupsSource("spark", (NAS, cloud), FakeClock()).poll(room.state, room.put)
    backups = room.state.hosts["spark"].backups
    assert backups["nas"].last_success_at == BEFORE and backups["cloud"].reason == "spark is not reached"


async def test_the_source_tells_only_news() -> None:
    room = reached(NEVER, ReceiptsSeen("spark", ()))
    source = BackupsSource("spark", (NAS,), FakeClock())
    await source.poll(room.state, room.put)
    assert isinstance(room.events[0], BackupsSeen)
    room.events.clear()
    await source.poll(room.state, room.put)
    assert not room.events
