"""The switch on the booted box: both ways, failing, and with the client killed at any moment."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import ENGINES, Operator, busy, empty, loaded, ready


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    yield Operator.at(box, tmp_path)
    wait_for(lambda: not busy(box), 60, "the action's end")
    empty(box)


STEPS = ["preflight", "stop", "gone", "memory", "drop-caches", "start", "ready", "verify"]


@pytest.mark.truth(of="systemd")
def test_switches_both_ways_leave_exactly_one(operator: Operator, box: Box) -> None:
    for name in ENGINES.values():
        box.tune(name.removesuffix(".service"), load_seconds=0.6, warmup_seconds=0.2)
    for turn in range(2):
        for mode in ("qwen", "mistral"):
            operator.ok("switch", mode, "--yes")
            assert loaded(box) == [mode], f"turn {turn}"
            assert ready(box, mode), f"turn {turn}"
            steps = [line for line in operator.newest_receipt() if line["t"] == "step" and line["state"] != "running"]
            assert [s["name"] for s in steps] == STEPS
            assert all(isinstance(s["seconds"], (int, float)) for s in steps)
            assert operator.newest_receipt()[-1]["outcome"] == "done"


def test_switch_to_none_and_back(operator: Operator, box: Box) -> None:
    operator.ok("switch", "qwen", "--yes")
    operator.ok("switch", "none", "--yes")
    assert loaded(box) == []
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 0 and ready(box, "qwen")
    again = operator.ok("switch", "qwen", "--yes")
    assert "already" in (again.stdout + again.stderr)


# Moments in seconds after the start: while connecting, while stopping, while loading, near the end.
@pytest.mark.parametrize("moment", [0.7, 2.0, 3.5])
@pytest.mark.truth("a switch goes on without the client that began it", of="systemd")
def test_client_killed_in_the_middle(operator: Operator, box: Box, moment: float) -> None:
    operator.ok("switch", "qwen", "--yes")
    client = operator.start("switch", "mistral", "--yes")
    time.sleep(moment)
    client.send_signal(signal.SIGKILL)
    client.communicate(timeout=60)
    samples = 0
    while samples < 5 or busy(box):
        assert len(loaded(box)) <= 1
        samples += 1
        time.sleep(0.1)
    (mode,) = loaded(box)
    assert mode in ("qwen", "mistral")  # killed before it could ask, or carried out whole
    wait_for(lambda: ready(box, mode), 60, f"{mode} ready")
    newest = operator.json("actions")[0]
    if newest["target"] == "mistral":
        assert mode == "mistral" and newest["outcome"] == "done"


@pytest.mark.parametrize(
    ("word", "shows"),
    [
        ("oom", "Free memory on device"),
        ("badflag", "unrecognized arguments"),
        ("missing-weights", "(?i)weight|repo"),
        ("crash-after-load", ""),
    ],
)
@pytest.mark.truth(of="systemd")
def test_engine_that_fails_is_rolled_back(operator: Operator, box: Box, word: str, shows: str) -> None:
    operator.ok("switch", "mistral", "--yes")
    box.fail("vllm-qwen36", word)
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1, done.stderr
    assert re.search(shows, done.stdout + done.stderr), done.stderr
    assert loaded(box) == ["mistral"] and ready(box, "mistral")
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back"
    if word == "badflag":  # systemd goes on calling its unit failed: that is the past, not a mode that is broken now
        assert box.show("vllm-qwen36.service", "ActiveState")["ActiveState"] == "failed"
        status = operator.json("status")
        qwen = next(one for one in status["hosts"][0]["modes"] if one["name"] == "qwen")
        assert qwen["heat"] == "cold" and "mistral is hot since" in qwen["reason"], qwen
        assert not [issue for issue in status["issues"] if issue["kind"] == "engine"], status["issues"]


def test_wrong_model_on_the_port_is_no_success(operator: Operator, box: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    operator.config_path.write_text(operator.config_path.read_text().replace('"60s"', '"6s"', 1))
    box.fail("vllm-qwen36", "wrong-model")
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert loaded(box) == ["mistral"]


def test_second_operator_is_told_and_may_follow(operator: Operator, box: Box) -> None:
    box.tune("vllm-qwen36", load_seconds=4)
    first = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: busy(box), 60, "the first switch")
    second = operator.run("switch", "mistral", "--yes")
    assert second.returncode == 4, second.stderr
    assert "operator" in second.stderr and "switch" in second.stderr
    followed = operator.run("follow")
    assert followed.returncode == 0, followed.stderr
    assert "ready" in followed.stderr
    assert first.wait(60) == 0
    first.communicate()
    assert loaded(box) == ["qwen"]


@pytest.mark.truth(of="sudo, polkit, users")
def test_missing_right_stops_nothing(operator: Operator, box: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    with box.rights(lambda sudoers: "".join(x for x in sudoers.splitlines(True) if "start vllm-qwen36" not in x)):
        done = operator.run("switch", "qwen", "--yes")
    assert done.returncode in (1, 4)
    assert "ops may not run `systemctl start vllm-qwen36.service`" in done.stderr
    assert "#1000 ALL=(root) NOPASSWD: /usr/bin/systemctl start vllm-qwen36.service" in done.stderr
    assert loaded(box) == ["mistral"] and ready(box, "mistral")


def test_unit_that_does_not_exist(operator: Operator, box: Box) -> None:
    operator.config_path.write_text(operator.config_path.read_text().replace('"vllm-qwen36.service"', '"no-such.service"'))
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert "no-such.service" in done.stderr and "exist" in done.stderr


def test_dry_run_changes_nothing(operator: Operator, box: Box) -> None:
    done = operator.ok("switch", "qwen", "--dry-run")
    assert "start vllm-qwen36.service" in done.stdout
    assert loaded(box) == []
    assert json.loads(operator.run("actions", "--json").stdout or "[]") is not None
