"""Cache drop, backup, restart, acknowledge: each seen in the box itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    yield Operator.at(box, tmp_path)


def _cached_bytes(file: Path) -> int:
    """How much of a file the kernel holds: box and machine share one."""
    return int(subprocess.run(["fincore", "-nbo", "RES", str(file)], capture_output=True, text=True, check=True).stdout)


def test_drop_caches_frees_page_cache(operator: Operator, box: Box, tmp_path: Path) -> None:
    file = tmp_path / "filler"
    with file.open("wb") as filler:
        filler.write(bytes(300 << 20))
        filler.flush()
        os.fsync(filler.fileno())
    assert _cached_bytes(file) > 200 << 20
    with box.real_caches():
        operator.ok("drop-caches")
        assert _cached_bytes(file) < 10 << 20
    figures = {line["when"]: line["values"] for line in operator.newest_receipt() if line["t"] == "figures"}
    assert figures["after"]["memory.cached_bytes"] < figures["before"]["memory.cached_bytes"]


def test_backup_makes_a_snapshot(operator: Operator, box: Box) -> None:
    count = "RESTIC_PASSWORD_FILE=/etc/restic/password restic -r /srv/restic snapshots --json"
    before = len(json.loads(box.root(count).stdout or "[]") or [])
    operator.ok("backup", "nas")
    assert len(json.loads(box.root(count).stdout)) == before + 1
    wait_for(lambda: bool(box.query("box_backup_last_success_timestamp_seconds")), 60, "the backup's metric")
    (backup,) = operator.host()["backups"]
    assert backup["last_success_at"] is not None and backup["late"] is False


def test_backup_that_fails_says_so(operator: Operator, box: Box) -> None:
    box.fail("backup-nas", "disk")
    try:
        done = operator.run("backup", "nas")
    finally:
        box.fail("backup-nas")
        box.systemctl("reset-failed", "backup-nas.service", check=False)
    assert done.returncode == 1
    assert "backup-nas.service" in done.stderr


def test_restart_gives_the_unit_a_new_process(operator: Operator, box: Box) -> None:
    before = box.show("restartme.service", "MainPID")["MainPID"]
    refused = operator.run("restart", "restartme.service")
    assert refused.returncode == 4 and "--yes" in refused.stderr
    operator.ok("restart", "restartme.service", "--yes")
    after = box.show("restartme.service", "MainPID", "ActiveState")
    assert after["ActiveState"] == "active" and after["MainPID"] != before


def test_acknowledge_and_back(operator: Operator, box: Box) -> None:
    box.raise_alert("disk")
    try:
        wait_for(lambda: any(a["labels"].get("what") == "disk" for a in box.alerts()), 60, "the alert")
        no_comment = operator.run("ack", "MyAlert", "--comment", " ")
        assert no_comment.returncode == 2
        operator.ok("ack", "MyAlert", "--comment", "new disk is ordered", "--for", "1h")
        alert = next(a for a in box.alerts() if a["labels"].get("what") == "disk")
        assert alert["status"]["state"] == "suppressed" and alert["status"]["silencedBy"]
        told = next(a for a in operator.json("alerts") if a["name"] == "MyAlert")
        assert told["state"] == "acknowledged"
        assert told["silences"][0]["comment"].endswith("new disk is ordered")
        operator.ok("unack", "MyAlert", "--yes")
        alert = next(a for a in box.alerts() if a["labels"].get("what") == "disk")
        assert alert["status"]["state"] == "active"
    finally:
        box.clear_alerts()


def test_hostile_alert_text_is_inert(operator: Operator, box: Box) -> None:
    box.raise_hostile_alert()
    try:
        wait_for(lambda: any(a["labels"].get("alertname") == "Hostile" for a in box.alerts()), 60, "the alert")
        done = operator.ok("alerts")
        assert "Hostile" in done.stdout
        assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066\u200b" for c in done.stdout)
    finally:
        box.clear_alerts()


def test_logs_of_a_service(operator: Operator, box: Box) -> None:
    box.root("systemd-cat -t restartme true; systemctl restart restartme.service")
    done = operator.ok("logs", "restartme.service", "--since", "5m")
    assert "restartme" in done.stdout
    assert "\x1b" not in done.stdout
