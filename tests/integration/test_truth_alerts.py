"""Alertmanager is restarted, or loses its pulse: what is told meanwhile. Against the real ones on the booted box."""

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

MANAGER = "prometheus-alertmanager.service"
WITHOUT = CONFIG.replace('[prometheus]\nurl = "http://127.0.0.1:9090"\nvia = "testbox"\n', "").replace(
    """metric = 'box_backup_last_success_timestamp_seconds{job_name="nas"}'\n""", ""
)
ROUTE = "/etc/prometheus/prometheus.yml"


@pytest.fixture(scope="module")
def operator(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """On a box where an alert fires that is acknowledged, one that is not, and one that always does."""
    empty(box)
    operator = Operator.at(box, tmp_path_factory.mktemp("alerts"))
    for what in ("loud", "hushed"):
        box.raise_alert(what)
    wait_for(lambda: {"loud", "hushed"} <= {a["labels"].get("what") for a in box.alerts()}, 60, "both alerts")
    matcher = {"name": "what", "value": "hushed", "isRegex": False, "isEqual": True}
    until = "2099-01-01T00:00:00Z"
    silence = {"matchers": [matcher], "startsAt": "2020-01-01T00:00:00Z", "endsAt": until, "createdBy": "t", "comment": "ack: t"}
    status, body = box.http(9093, "/api/v2/silences", data=silence)
    assert status == 200, body
    yield operator
    identity = json.loads(body)["silenceID"]
    box.root(["curl", "-sS", "-X", "DELETE", f"http://127.0.0.1:9093/api/v2/silence/{identity}"])
    box.clear_alerts()
    empty(box)


def told(operator: Operator) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    whole = operator.json("status")
    return whole, {one["labels"].get("what", one["name"]): one for one in whole["alerts"]}


def cut(box: Box, alerts: str) -> None:
    """Prometheus goes on evaluating its rules and sends none of these alerts any more; Alertmanager is started anew."""
    drop = f"alerting:\n  alert_relabel_configs:\n    - {{source_labels: [alertname], regex: {alerts}, action: drop}}\n"
    box.write(ROUTE, box.read(ROUTE).replace("alerting:\n", drop, 1))
    box.systemctl("reload", "prometheus.service")
    wait_for(lambda: f"regex: {alerts}" in box.http(9090, "/api/v1/status/config")[1], 60, "Prometheus to have read that")
    wait_for(lambda: bool(box.query('ALERTS{alertname="Watchdog"}')), 60, "its rules to be evaluated again")
    box.systemctl("restart", MANAGER)
    wait_for(lambda: box.http(9093, "/-/ready")[0] == 200, 60, "Alertmanager")


@pytest.fixture
def route(box: Box) -> Iterator[None]:
    old = box.read(ROUTE)
    yield
    box.write(ROUTE, old)
    box.systemctl("reload", "prometheus.service")


def test_what_fires_is_known_though_alertmanager_has_just_been_restarted(operator: Operator, box: Box, route: None) -> None:
    whole, alerts = told(operator)
    assert {what: alerts[what]["state"] for what in ("loud", "hushed")} == {"loud": "active", "hushed": "acknowledged"}
    assert alerts["Watchdog"]["pulse"] and not any("Watchdog" in issue["title"] for issue in whole["issues"])
    began = alerts["loud"]["since"]
    cut(box, ".*")
    assert box.alerts() == []
    whole, alerts = told(operator)
    assert whole["alerts_untold"].startswith("Alertmanager was started at ")
    assert {what: alerts[what]["state"] for what in ("loud", "hushed")} == {"loud": "active", "hushed": "acknowledged"}
    assert {alerts[what]["told_by"] for what in ("loud", "hushed", "Watchdog")} == {"prometheus"}
    apart = datetime.fromisoformat(alerts["loud"]["since"]) - datetime.fromisoformat(began)
    assert abs(apart.total_seconds()) < 10
    assert not any("Watchdog" in issue["title"] for issue in whole["issues"]), "it is told again in a moment"
    config = operator.config_path.read_text()
    try:
        operator.config_path.write_text(WITHOUT)
        whole, alerts = told(operator)
        assert not alerts and whole["alerts_untold"], "not reported yet is not none"
        said = operator.run("alerts")
        assert "No alert is firing" not in said.stderr and "Some may be missing" in said.stderr
    finally:
        operator.config_path.write_text(config)


LATER = """
import sys
from sovtui.adapters.alerts import alertmanager
alertmanager.TOLD_AGAIN_SECONDS = 0.0
from sovtui.__main__ import main
sys.exit(main())
"""
"""As if the time were over in which Alertmanager is told again."""


def test_a_pulse_that_does_not_reach_alertmanager_is_an_issue(operator: Operator, box: Box, route: None) -> None:
    cut(box, "Watchdog")
    done = subprocess.run(
        [sys.executable, "-c", LATER, "status", "--json"],
        env=operator.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    whole = json.loads(done.stdout)
    assert "Watchdog" not in {alert["name"] for alert in whole["alerts"]} and not whole["alerts_untold"]
    titles = {issue["title"]: issue for issue in whole["issues"]}
    assert titles["Watchdog is missing in Alertmanager"]["grade"] == "soon", titles
