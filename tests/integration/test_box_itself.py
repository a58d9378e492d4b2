"""The test box is what it claims to be: a real Debian with the services and rights the other tests rely on."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for

VLLM, SGLANG = "vllm-qwen36.service", "sglang-mistral4.service"


def start(box: Box, unit: str, port: int, model: str) -> None:
    done = box.ssh(f"sudo -n systemctl start {unit}")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: box.http(port, "/health")[0] == 200, 60, f"{unit} to be ready")
    assert [m["id"] for m in json.loads(box.http(port, "/v1/models")[1])["data"]] == [model]


def stop(box: Box, unit: str) -> None:
    assert box.ssh(f"sudo -n systemctl stop {unit}").returncode == 0
    assert box.show(unit, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}


def test_systemd_is_running(box: Box) -> None:
    assert box.ssh("systemctl is-system-running").stdout.strip() == "running"
    assert box.ssh("hostname").stdout.strip() == "testbox"
    assert box.root(["ps", "-o", "comm=", "-p", "1"]).stdout.strip() == "systemd"


def test_nobody_answers_where_a_box_was(box_factory: Callable[..., Box]) -> None:
    """A test that looks at a dead box must not meet the next one there."""
    dead = box_factory()
    dead.down()
    assert box_factory().number != dead.number


def test_ops_has_a_user_manager_over_ssh(box: Box) -> None:
    assert box.ssh("systemctl --user is-system-running --wait").stdout.strip() == "running"
    assert box.ssh("echo $XDG_RUNTIME_DIR").stdout.strip() == "/run/user/1000"
    done = box.ssh("systemd-run --user --collect --wait --pipe -q -- echo from a unit")
    assert (done.returncode, done.stdout) == (0, "from a unit\n")


def test_sudo_allows_the_listed_commands_and_nothing_else(box: Box) -> None:
    assert box.ssh("sudo -n systemctl restart restartme.service").returncode == 0
    for line in (
        "sudo -n systemctl restart ssh.service",
        "sudo -n systemctl restart restartme",
        "sudo -n systemctl --no-block restart restartme.service",
        "sudo -n tee /etc/passwd",
        "sudo -n sh",
    ):
        done = box.ssh(line)
        assert (done.returncode, "a password is required" in done.stderr) == (1, True), line
    refused = box.ssh("systemctl --no-ask-password restart restartme.service")
    assert refused.returncode == 1
    assert "authentication required" in refused.stderr
    assert box.ssh("sudo -n systemctl restart restartme.service", user="viewer").returncode == 1


def test_the_page_cache_can_be_dropped(box: Box) -> None:
    with box.real_caches():
        done = box.ssh("sync && echo 1 | sudo -n /usr/bin/tee /proc/sys/vm/drop_caches")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert box.root("echo 1 > /proc/sys/vm/swappiness", check=False).returncode != 0


def test_the_journal_is_ops_business_not_viewers(box: Box) -> None:
    box.systemctl("restart", "restartme.service")
    line = "journalctl -q -u restartme.service -n 1 -o cat"
    wait_for(lambda: "restart" in box.ssh(line).stdout, 60, "a journal line")
    assert box.ssh(line, user="viewer").stdout == ""


def test_prometheus_scrapes_and_node_exporter_knows_the_units(box: Box) -> None:
    wait_for(lambda: len(box.query("up")) == 4 and len(box.query("up == 1")) == 2, 60, "two of four targets up")
    jobs = {r["metric"]["job"]: r["value"][1] for r in box.query("up")}
    assert {"node", "alertmanager", "vllm", "sglang"} == set(jobs)
    assert jobs["node"] == jobs["alertmanager"] == "1"
    query = 'node_systemd_unit_state{name="restartme.service",state="active"}'
    assert [r["value"][1] for r in box.query(query)] == ["1"]
    assert box.query('node_systemd_service_restart_total{name="restartme.service"}')
    assert box.query('node_systemd_unit_start_time_seconds{name="restartme.service"}')
    assert box.query('node_systemd_timer_last_trigger_seconds{name="backup-nas.timer"}')
    assert float(box.query("node_memory_MemAvailable_bytes")[0]["value"][1]) > 1e8
    wait_for(lambda: [a["labels"]["alertname"] for a in box.alerts()] == ["Watchdog"], 60, "the watchdog alert")


@pytest.mark.parametrize(("unit", "port", "model"), [(VLLM, 30001, "qwen36"), (SGLANG, 30000, "mistral4")])
def test_an_engine_loads_serves_counts_and_stops(box: Box, unit: str, port: int, model: str) -> None:
    assert box.http(port, "/health")[0] == 0
    start(box, unit, port, model)
    try:
        memory = int(box.show(unit, "MemoryCurrent")["MemoryCurrent"])
        assert memory > 150 * 2**20
        ask = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 60}
        begun = time.monotonic()
        status, body = box.http(port, "/v1/chat/completions", ask)
        took = time.monotonic() - begun
        assert status == 200
        assert json.loads(body)["usage"]["completion_tokens"] == 60
        assert took > 0.9  # 60 tokens at 60 tok/s
        assert box.http(port, "/v1/chat/completions", ask | {"model": "nope"})[0] == 404
        counter = "vllm:generation_tokens_total" if unit == VLLM else "sglang:generation_tokens_total"
        wanted = 60 if unit == VLLM else 68  # SGLang counts its own warm-up
        wait_for(lambda: [float(r["value"][1]) for r in box.query(counter)] == [wanted], 60, f"{counter} in prometheus")
        journal = box.ssh(f"journalctl -q -a -o cat -u {unit}").stdout
        assert re.search(r"shards:\s+40% Completed \| 2/5", journal)
        ready = "Application startup complete." if unit == VLLM else "The server is fired up and ready to roll!"
        assert ready in journal
    finally:
        stop(box, unit)
    assert box.http(port, "/health")[0] == 0


def test_a_stream_arrives_token_by_token(box: Box) -> None:
    start(box, VLLM, 30001, "qwen36")
    try:
        ask = {"model": "qwen36", "prompt": "hello", "max_tokens": 20, "stream": True}
        ask["stream_options"] = {"include_usage": True}
        status, body = box.http(30001, "/v1/completions", ask)
        events = [json.loads(e[6:]) for e in body.split("\n\n") if e.startswith("data: {")]
        assert status == 200
        assert body.rstrip().endswith("data: [DONE]")
        assert sum(1 for e in events if e["choices"]) == 20
        assert events[-1]["usage"]["completion_tokens"] == 20
    finally:
        stop(box, VLLM)


def test_more_requests_than_slots_wait(box: Box) -> None:
    box.tune("vllm-qwen36", max_seqs=2, load_seconds=0.5)
    start(box, VLLM, 30001, "qwen36")
    try:
        ask = """curl -s localhost:30001/v1/completions -d '{"prompt":"x","max_tokens":300}' > /dev/null"""
        box.root(f"for i in 1 2 3 4 5; do ({ask}) > /dev/null 2>&1 & done")
        wait_for(lambda: gauges(box) == (2.0, 3.0), 60, "two running and three waiting")
    finally:
        box.tune("vllm-qwen36")
        stop(box, VLLM)


def gauges(box: Box) -> tuple[float, ...]:
    text = box.http(30001, "/metrics")[1]
    found = (re.search(rf"^vllm:num_requests_{name}{{.*}} (\S+)$", text, re.M) for name in ("running", "waiting"))
    return tuple(float(m[1]) for m in found if m)


def test_sglang_is_up_before_it_is_ready(box: Box) -> None:
    box.tune("sglang-mistral4", warmup_seconds=3, load_seconds=0.5)
    try:
        assert box.ssh(f"sudo -n systemctl start {SGLANG}").returncode == 0
        wait_for(lambda: box.http(30000, "/health")[0] != 0, 60, "the port")
        assert box.http(30000, "/health")[0] == 503
        assert box.http(30000, "/v1/models")[0] == box.http(30000, "/metrics")[0] == 200
        wait_for(lambda: box.http(30000, "/health")[0] == 200, 60, "the end of the warm-up")
    finally:
        box.tune("sglang-mistral4")
        stop(box, SGLANG)


def test_the_other_pretend_failures(box: Box) -> None:
    box.tune("vllm-qwen36", load_seconds=0.2)
    try:
        box.fail("vllm-qwen36", "wrong-model")
        assert box.ssh(f"sudo -n systemctl start {VLLM}").returncode == 0
        wait_for(lambda: box.http(30001, "/health")[0] == 200, 60, "the wrong model")
        assert json.loads(box.http(30001, "/v1/models")[1])["data"][0]["id"] != "qwen36"
        stop(box, VLLM)
        box.fail("vllm-qwen36", "hang")
        assert box.ssh(f"sudo -n systemctl start {VLLM}").returncode == 0
        time.sleep(1.5)
        assert box.http(30001, "/health")[0] == 0
        assert box.show(VLLM, "ActiveState")["ActiveState"] == "active"
        stop(box, VLLM)
        box.fail("vllm-qwen36", "ignore-term")
        assert box.ssh(f"sudo -n systemctl start {VLLM}").returncode == 0
        wait_for(lambda: box.http(30001, "/health")[0] == 200, 60, "the stubborn engine")
        begun = time.monotonic()
        box.ssh(f"sudo -n systemctl stop {VLLM}")
        assert time.monotonic() - begun > 9
        assert box.show(VLLM, "ActiveState", "Result") == {"ActiveState": "failed", "Result": "timeout"}
    finally:
        box.fail("vllm-qwen36")
        box.tune("vllm-qwen36")
        box.ssh(f"sudo -n systemctl stop {VLLM}; sudo -n systemctl reset-failed {VLLM}")


@pytest.mark.parametrize(
    ("word", "text", "status"),
    [
        ("oom", "Free memory on device cuda:0", "1"),
        ("badflag", "unrecognized arguments", "2"),
        ("port", "Address already in use", "1"),
        ("missing-weights", "Weight files referenced in index but missing", "1"),
        ("crash-after-load", "EngineDeadError", "0"),
    ],
)
def test_an_engine_fails_on_demand(box: Box, word: str, text: str, status: str) -> None:
    box.fail("qwen36", word)
    box.tune("vllm-qwen36", load_seconds=0.5)
    try:
        box.ssh(f"sudo -n systemctl start {VLLM}")
        wait_for(lambda: box.show(VLLM, "ActiveState")["ActiveState"] in ("failed", "inactive"), 60, "the failure")
        if status != "0":  # a unit that ended well is forgotten, its status and invocation id with it
            assert box.show(VLLM, "ExecMainStatus")["ExecMainStatus"] == status
        assert text in box.ssh(f"journalctl -q -a -o cat -u {VLLM} -n 12").stdout
    finally:
        box.fail("qwen36")
        box.tune("vllm-qwen36")
        box.ssh(f"sudo -n systemctl reset-failed {VLLM}")
    assert box.show(VLLM, "ActiveState")["ActiveState"] == "inactive"


def test_a_backup_makes_a_snapshot_and_a_metric(box: Box) -> None:
    assert box.ssh("sudo -n systemctl start backup-nas.service", check=True).returncode == 0
    listing = "restic -q --no-cache -r /srv/restic --password-file /etc/restic/password snapshots --json"
    snapshots = json.loads(box.root(listing).stdout)
    assert snapshots[-1]["paths"] == ["/etc"]
    metric = 'box_backup_last_success_timestamp_seconds{job_name="nas"}'
    wait_for(lambda: bool(box.query(metric)), 60, "the backup's metric")
    assert abs(float(box.query(metric)[0]["value"][1]) - time.time()) < 60
    assert box.systemctl("start", "backup-broken.service", check=False).returncode == 1
    box.systemctl("reset-failed", "backup-broken.service")


def test_alerts_fire_and_resolve(box: Box) -> None:
    box.raise_alert('disk "x"', "critical")
    box.raise_hostile_alert()
    wait_for(lambda: {a["labels"]["alertname"] for a in box.alerts()} == {"Watchdog", "MyAlert", "Hostile"}, 60, "alerts")
    mine = next(a for a in box.alerts() if a["labels"]["alertname"] == "MyAlert")
    assert (mine["labels"]["severity"], mine["labels"]["what"]) == ("critical", 'disk "x"')
    hostile = next(a for a in box.alerts() if a["labels"]["alertname"] == "Hostile")
    assert "\x1b[2J" in hostile["annotations"]["summary"]
    box.clear_alerts()
    wait_for(lambda: [a["labels"]["alertname"] for a in box.alerts()] == ["Watchdog"], 60, "the alerts to resolve")


def test_a_home_for_a_subprocess(box: Box, tmp_path: Path) -> None:
    home = box.home(tmp_path)
    done = subprocess.run(
        ["ssh", "-F", str(home / ".ssh/config"), "-o", "BatchMode=yes", "testbox", "id -un"],
        capture_output=True, text=True, timeout=60, env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ops\n"), done.stderr


def test_what_runs_inside_never_stops_a_reboot(fresh_box: Box) -> None:
    """A machine that shuts down stops and continues every process in it; the one outside that waits for it must not stay stopped."""
    before = fresh_box.boot_id()
    with subprocess.Popen([*fresh_box.inside(), "sleep", "600"]) as outside:
        wait_for(lambda: fresh_box.root("pkill -STOP -x sleep", check=False).returncode == 0, 60, "the sleeper")
        time.sleep(0.2)
        fresh_box.root("pkill -CONT -x sleep")
        fresh_box.root(["systemctl", "reboot"], check=False)
        wait_for(lambda: fresh_box.boot_id(missing="") not in ("", before), 60, "the box to reboot")
        assert outside.wait(60)
    fresh_box.wait_up()


def test_faults(fresh_box: Box) -> None:
    box = fresh_box
    stream = subprocess.Popen(box.ssh_argv("sleep 600"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "sleep" in box.root("pgrep -a -u ops sleep", check=False).stdout, 60, "a session")
        box.kill_sessions()
        assert stream.wait(timeout=60) == 255
    finally:
        stream.kill()
    quick = ["ssh", "-o", "ConnectTimeout=1", *box.ssh_argv("true")[1:]]  # ssh takes the first value it meets
    box.cut_network()
    assert subprocess.run(quick, capture_output=True, timeout=60).returncode == 255
    box.restore_network()
    box.freeze()
    assert subprocess.run(quick, capture_output=True, timeout=60).returncode == 255
    box.thaw()
    box.wait_for_ssh()
    before, machine = box.boot_id(), box.read("/etc/machine-id")
    box.reboot()
    assert box.boot_id() != before
    assert box.read("/etc/machine-id") == machine
    assert box.ssh("systemctl is-system-running").stdout.strip() == "running"
    assert len(box.ssh("journalctl --list-boots -q").stdout.splitlines()) == 2
