"""Two machines: a box, and a management machine whose Prometheus and Alertmanager watch it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator

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


def watched_pair(make: Callable[..., Box]) -> tuple[Box, Box]:
    """(spark, mgmt), with a cable between them that leads nowhere else. `make` boots a machine of a name."""
    spark, mgmt = make("spark"), make("mgmt")
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
    wait_for(lambda: mgmt.http(9090, "/-/ready")[0] == 200, 60, "Prometheus")
    wait_for(lambda: bool(mgmt.query('up{job="spark"} == 1')), 60, "the first sample of spark on mgmt")
    return spark, mgmt


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True, timeout=60)


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
