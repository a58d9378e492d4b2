"""Two machines: a box, and a management machine whose Prometheus and Alertmanager watch it. The box dies; the other one explains."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, Terminal
from tests.integration.test_travel import moment

CONFIG = """\
[host.spark]
address = "spark"
memory = "unified"
watch = ["restartme.service", "ssh.service"]

[[host.spark.mode]]
name = "qwen"
key = "1"
engine = "vllm"
url = "http://127.0.0.1:30001"
model = "qwen36"
services = ["vllm-qwen36.service"]

[host.mgmt]
address = "mgmt"
role = "management"
watch = ["prometheus.service", "prometheus-alertmanager.service"]

[prometheus]
url = "http://127.0.0.1:9090"
via = "mgmt"

[alertmanager]
url = "http://127.0.0.1:9093"
via = "mgmt"
interval = "1s"
"""
PROMETHEUS = """\
global:
  scrape_interval: 2s
  scrape_timeout: 1500ms
  evaluation_interval: 2s
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["127.0.0.1:9093"]
rule_files:
  - /etc/prometheus/estate.yml
scrape_configs:
  - job_name: mgmt
    static_configs:
      - targets: ["127.0.0.1:9100"]
        labels: {instance: "mgmt:9100"}
  - job_name: spark
    static_configs:
      - targets: ["198.19.255.2:9100"]
        labels: {instance: "spark:9100"}
"""
RULES = """\
groups:
  - name: estate
    rules:
      - alert: HostSilent
        expr: up{job="spark"} == 0
        labels: {severity: critical}
        annotations: {summary: "spark has not answered its scrape"}
"""
STOPPED_SECONDS = 22.0


@pytest.fixture
def pair(box_factory: Callable[..., Box]) -> Iterator[tuple[Box, Box]]:
    """(spark, mgmt), with a cable between them that leads nowhere else."""
    spark, mgmt = box_factory("spark"), box_factory("mgmt")
    ends = (("cable", mgmt, "198.19.255.1/30"), ("cable", spark, "198.19.255.2/30"))
    ip(f"link add name cable netns {mgmt.netns} type veth peer name cable netns {spark.netns}")
    for name, box, address in ends:
        ip(f"-n {box.netns} addr add {address} dev {name}")
        ip(f"-n {box.netns} link set {name} up")
    words = spark.read("/etc/default/prometheus-node-exporter").replace("127.0.0.1:9100", ":9100")
    spark.write("/etc/default/prometheus-node-exporter", words)
    spark.systemctl("restart", "prometheus-node-exporter.service")
    mgmt.write("/etc/prometheus/estate.yml", RULES)
    mgmt.write("/etc/prometheus/prometheus.yml", PROMETHEUS)
    mgmt.systemctl("restart", "prometheus.service")
    wait_for(lambda: mgmt.http(9090, "/-/ready")[0] == 200, 30, "Prometheus")
    wait_for(lambda: bool(mgmt.query('up{job="spark"} == 1')), 30, "the first sample of spark on mgmt")
    yield spark, mgmt


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True, timeout=10)


def operator_of(spark: Box, mgmt: Box, folder: Path) -> Operator:
    folder.mkdir(exist_ok=True)
    home = spark.home(folder, "spark")
    ssh = home / ".ssh"
    with (ssh / "known_hosts").open("a") as known:
        known.write(mgmt.known_hosts_path.read_text())
    with (ssh / "config").open("a") as config:
        config.write(
            f"Host mgmt\n HostName {mgmt.address}\n User {mgmt.user}\n IdentityFile {ssh / 'id_ed25519'}\n IdentitiesOnly yes\n"
        )
        config.write(f" UserKnownHostsFile {ssh / 'known_hosts'}\n StrictHostKeyChecking yes\n")
    target = home / ".config" / "sovtui" / "config.toml"
    target.parent.mkdir(parents=True)
    target.write_text(CONFIG)
    return Operator(spark, home)


def test_a_dead_box_is_explained_from_the_management_host(pair: tuple[Box, Box], tmp_path: Path) -> None:
    spark, mgmt = pair
    spark.systemctl("start", "restartme.service")
    history = 'count_over_time(node_systemd_unit_state{instance="spark:9100",name="restartme.service",state="active"}[40s]) > 9'
    wait_for(lambda: bool(mgmt.query(history)), 60, "twenty seconds of history")
    stopped = time.time()
    spark.systemctl("stop", "restartme.service")
    time.sleep(STOPPED_SECONDS)
    spark.systemctl("start", "restartme.service")
    time.sleep(12)
    operator, newcomer = (operator_of(spark, mgmt, tmp_path / name) for name in ("first", "late"))
    terminal = Terminal(operator, tmp_path / "first", 44, 80)
    try:
        terminal.wait(r"spark 1 of 2 .*up", 40)
        terminal.wait(r"restartme +active", 30)
        time.sleep(6)  # as somebody who looks at it for a while: the room has a past of its own, and goes further back than that
        assert "what it last did" not in terminal.screen()
        died = time.time()
        spark.down()
        terminal.wait(r"link down|silent", 15)
        terminal.wait(r"what it last did", 90)
        screen = terminal.wait(r"HostSilent", 30)
        assert re.search(r"HostSilent\s+critical since \d+:\d+:\d+", screen), screen
        screen = terminal.wait(r"last sample \d+:\d+:\d+", 30)
        assert re.search(r"available \d[\d.]* [GM]iB ~", screen), screen  # its last figures, with the sign of their age

        terminal.press("t")
        screen = terminal.wait(r"THEN \d+:\d+:\d+", 5)
        assert died - 15 < moment(screen, died) <= died + 5, "shortly before it fell silent"
        terminal.wait(r"restartme +active", 15)
        while moment(terminal.screen(), died) > stopped + STOPPED_SECONDS - 4:
            terminal.press("Left")
            time.sleep(0.25)
        assert moment(terminal.screen(), died) > stopped + 3, "the step is shorter than what is looked for"
        screen = terminal.wait(r"restartme +inactive", 20)
        assert "from Prometheus" in screen, screen
        assert re.search(r"total +\d", screen), screen

        # what is wrong anywhere begins with it, and the other host is as quick as ever
        terminal.press("Escape")
        terminal.press("i")
        screen = terminal.wait(r"What is wrong anywhere", 5)
        assert re.search(r"1  ✖ spark: cannot be reached", screen), screen
        terminal.press("q")
        terminal.press("h")
        screen = terminal.wait(r"Which host", 5)
        assert re.search(r"spark  ✖ silent", screen) and re.search(r"mgmt  . \w+", screen), screen
        terminal.press("2")
        terminal.wait(r"mgmt 2 of 2", 5)
        terminal.wait(r"load \d", 10)
    finally:
        terminal.close()

    # somebody who opens sovtui only now is told the same
    late = Terminal(newcomer, tmp_path / "late", 80, 40)
    try:
        screen = late.wait(r"last sample \d+:\d+:\d+", 90)
        assert "what it last did" in screen and "HostSilent" in screen, screen
        late.press("t")
        late.wait(r"THEN \d+:\d+:\d+", 5)
        screen = late.wait(r"from Prometheus", 15)
        assert died - 15 < moment(screen, died) <= died + 5, screen
        late.wait(r"restartme(.service)? +active", 10)
        screen = late.screen()
        assert re.search(r"total +\d", screen), screen
    finally:
        late.close()
    status = operator.run("status")
    assert status.returncode == 3
    assert re.match(r"wrong   now  spark: cannot be reached", status.stdout), status.stdout
