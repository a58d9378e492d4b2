"""A client whose clock is far off: every age is what the box says, and that the clocks differ is said. Against the booted box."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import CONFIG, Operator, empty

OFF_BY = """
import sys
from datetime import timedelta
from sovtui.runtime import clock
now, hours = clock.RealClock.now, float(sys.argv.pop(1))
clock.RealClock.now = lambda self: now(self) + timedelta(hours=hours)
from sovtui.__main__ import main
sys.exit(main())
"""
PLAIN = """
[[host.testbox.backup]]
name = "plain"
service = "backup-plain.service"
max_age = "26h"
"""


@pytest.fixture(scope="module")
def operator(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """With a backup that only its unit tells of, one that only a metric does, a receipt and an alert."""
    empty(box)
    box.write("/run/systemd/system/backup-plain.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")
    box.systemctl("daemon-reload")
    box.systemctl("start", "backup-plain.service")
    operator = Operator.at(box, tmp_path_factory.mktemp("clock"), config=CONFIG + PLAIN)
    operator.ok("backup", "nas", "--yes")
    wait_for(lambda: any(a["labels"]["alertname"] == "Watchdog" for a in box.alerts()), 60, "an alert")
    metric = 'box_backup_last_success_timestamp_seconds{job_name="nas"}'
    wait_for(lambda: bool(box.query(metric)), 60, "the backup's metric")
    yield operator
    box.remove("/run/systemd/system/backup-plain.service")
    box.systemctl("daemon-reload")
    empty(box)


def told(operator: Operator, hours: float, *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", OFF_BY, str(hours), *words, "--json"],
        env=operator.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def known(operator: Operator, hours: float) -> Any:
    """Once every backup's age is: who looks once gives a box half a minute, which a busy one may not keep to."""
    found: list[Any] = []

    def looked() -> bool:
        found.append(told(operator, hours, "status"))
        return all(one["age_seconds"] is not None for one in found[-1]["hosts"][0]["backups"])

    wait_for(looked, 120, "the age of every backup")
    return found[-1]


@pytest.mark.parametrize("hours", [0, 30, -30])
def test_ages_do_not_depend_on_this_machines_clock(operator: Operator, hours: float) -> None:
    whole = known(operator, hours)
    (host,) = whole["hosts"]
    now = datetime.fromisoformat(whole["at"])

    def age(moment: str) -> float:
        return (now - datetime.fromisoformat(moment)).total_seconds()

    ages = {f"backup {one['name']}": one["age_seconds"] for one in host["backups"]}
    ages |= {one["name"]: age(one["since"]) for one in host["services"] if one["name"] == "backup-plain.service"}
    ages |= {one["name"]: age(one["since"]) for one in whole["alerts"] if one["name"] == "Watchdog"}
    (newest, *_) = told(operator, hours, "actions")
    ages["receipt"] = age(newest["began_at"])
    # The box may have been up for long: that a clock is off by 30 hours would be seen all the same.
    assert len(ages) == 5 and all(-2.0 <= seconds < 7200.0 for seconds in ages.values()), ages
    assert not any(one["late"] for one in host["backups"]), host["backups"]
    assert abs(host["link"]["clock_skew_seconds"] - hours * 3600) < 3.0
    said = [issue["title"] for issue in whole["issues"] if "clock" in issue["title"]]
    words = {
        0: [],
        30: ["this machine's clock is 1 d 6 h ahead of its own"],
        -30: ["this machine's clock is 1 d 6 h behind its own"],
    }
    assert said == words[int(hours)]
