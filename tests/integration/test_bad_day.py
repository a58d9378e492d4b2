"""What goes wrong, each with its sentence, its exit code, and the rest alive."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.box.box import Box, wait_for
from tests.integration.operator import CONFIG, Operator, loaded, ready


def test_nobody_listens(box: Box, tmp_path: Path) -> None:
    operator = Operator.at(box, tmp_path)
    (operator.home / ".ssh" / "config").write_text("Host testbox\n HostName 127.0.0.1\n Port 9\n User ops\n")
    done = operator.run("status", "--json")
    assert done.returncode == 3
    host = json.loads(done.stdout)["hosts"][0]
    assert host["link"]["phase"] == "down" and "refused" in host["link"]["reason"].lower()
    assert all(r["value"] is None for r in host["memory"].values())
    assert operator.run("switch", "qwen", "--yes").returncode == 3


def test_changed_host_key_stops_everything(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    operator.ok("status")
    fresh_box.root(
        "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh"
    )
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 3
    text = " ".join(done.stderr.split())
    assert "SHA256:" in text and "known_hosts" in text and "changed" in text.lower()


def test_unknown_host_key_is_never_accepted_headless(box: Box, tmp_path: Path) -> None:
    operator = Operator.at(box, tmp_path)
    known = operator.home / ".ssh" / "known_hosts"
    known.write_text("")
    done = operator.run("status")
    assert done.returncode == 3 and "SHA256:" in done.stderr + done.stdout
    assert known.read_text() == ""


def test_no_key_is_accepted(box: Box, tmp_path: Path) -> None:
    operator = Operator.at(box, tmp_path)
    config = operator.home / ".ssh" / "config"
    config.write_text(config.read_text().replace("User ops", "User nobody"))
    done = operator.run("status")
    assert done.returncode == 3
    assert "nobody" in done.stderr + done.stdout


def test_somebody_without_rights(box: Box, tmp_path: Path) -> None:
    operator = Operator.at(box, tmp_path, user="viewer")
    assert operator.host()["memory"]["memory.total_bytes"]["value"]  # reading needs no rights
    done = operator.run("drop-caches")
    assert done.returncode in (1, 4)
    assert re.search(r"#\d+ ALL=\(root\) NOPASSWD: /usr/bin/tee /proc/sys/vm/drop_caches", done.stderr), done.stderr


def test_no_python_on_the_box(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    fresh_box.root("mv /usr/bin/python3 /usr/bin/python3.away")
    done = operator.run("drop-caches")
    assert done.returncode == 1 and "python3 was not found" in done.stderr
    host = operator.json("status")
    assert any("python3" in source["reason"] for source in host["sources"])


def test_metric_that_does_not_exist_is_not_zero(box: Box, tmp_path: Path) -> None:
    config = CONFIG.replace('{job_name="nas"}', '{job_name="never"}')
    (backup,) = Operator.at(box, tmp_path, config=config).host()["backups"]
    assert backup["last_success_at"] is None and backup["reason"]


def test_alertmanager_down(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    fresh_box.systemctl("stop", "prometheus-alertmanager")
    done = operator.run("alerts")
    assert done.returncode == 3 and "9093" in done.stderr


def test_wrong_configuration_names_line_and_key(box: Box, tmp_path: Path) -> None:
    operator = Operator.at(
        box, tmp_path, config=CONFIG.replace("ready_timeout", "ready_timout").replace('key = "2"', 'key = "1"')
    )
    done = operator.run("status")
    assert done.returncode == 2
    assert "config.toml:" in done.stderr and "ready_timout" in done.stderr and "ready_timeout" in done.stderr


def test_reboot_in_the_middle_is_told_truthfully(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    fresh_box.tune("vllm-qwen36", load_seconds=30)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(fresh_box) == ["qwen"], 60, "the engine's start")
    fresh_box.reboot()
    client.wait(150)
    client.communicate()
    assert client.returncode == 1
    newest = operator.json("actions")[0]
    # Shut down in order the runner still has time to say so; otherwise its silence is told as what it is.
    assert newest["outcome"] in ("cancelled", "rollback-failed", "lost")
    assert "rebooted" in newest["reason"], newest
    assert loaded(fresh_box) == []
    operator.ok("switch", "mistral", "--yes")


def test_killed_runner_is_told_as_lost_and_the_next_switch_repairs(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    operator.ok("switch", "mistral", "--yes")
    fresh_box.tune("vllm-qwen36", load_seconds=8)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(fresh_box) == ["qwen"], 60, "qwen's start")
    fresh_box.root("pkill -9 -u ops -f runner.py")
    client.wait(60)
    client.communicate()
    assert client.returncode == 1
    assert operator.json("actions")[0]["outcome"] == "lost"
    assert loaded(fresh_box) == ["qwen"]
    operator.ok("switch", "mistral", "--yes")
    assert loaded(fresh_box) == ["mistral"] and ready(fresh_box, "mistral")


def test_help_and_version_without_anything(tmp_path: Path) -> None:
    for word in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-m", "sovtui", word],
            capture_output=True,
            text=True,
            env={"HOME": str(tmp_path)},
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and done.stdout and not done.stderr


def test_only_the_sudoers_lines_that_doctor_names(fresh_box: Box, tmp_path: Path) -> None:
    config = CONFIG.replace('address = "testbox"', 'address = "ops@testbox"')
    operator = Operator.at(fresh_box, tmp_path, config=config)
    assert "lacks" in operator.run("doctor").stdout  # the box's own drop-in knows nothing of ssh.service
    lines = operator.ok("doctor", "--sudoers").stdout
    assert "*" not in lines and "ALL=(root) NOPASSWD: ALL" not in lines
    fresh_box.write("/etc/sudoers.d/sovtui", lines, mode="440")
    fresh_box.root(["visudo", "-cq"])
    assert "ops may run all" in operator.ok("doctor").stdout
    for words in (["switch", "qwen"], ["switch", "mistral"], ["switch", "none"], ["drop-caches"], ["backup", "nas"]):
        operator.ok(*words, "--yes")
    operator.ok("restart", "restartme.service", "--yes")
