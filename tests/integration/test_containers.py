"""Modes in containers and in a compose project, run by real podman on the booted box, beside a mode of a unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, boot, wait_for
from tests.integration import containers
from tests.integration.operator import Operator, busy

MODES = """\
[host.testbox]
address = "testbox"
memory = "unified"
watch = ["container:aside"]

[[host.testbox.mode]]
name = "qwen"
engine = "vllm"
url = "http://127.0.0.1:30001"
model = "qwen36"
services = ["vllm-qwen36.service"]

[[host.testbox.mode]]
name = "mistral"
engine = "sglang"
url = "http://127.0.0.1:30000"
model = "mistral-4"
services = ["container:sglang-mistral-4"]

[[host.testbox.mode]]
name = "chat"
engine = "vllm"
url = "http://127.0.0.1:8000"
model = "chat-8b"
services = ["compose:chat"]

[host.testbox.switch]
ready_timeout = "30s"
stop_timeout = "30s"
floor = ["container:floor"]
"""
EVERY = ("sglang-mistral-4", "chat_engine_1", "chat_db_1")


QUICK = {"load_seconds": 0.8, "warmup_seconds": 0.2, "memory_mb": 60}


@pytest.fixture(scope="module")
def machine(box_tree: Path) -> Iterator[Box]:
    """A box for this file: what is hot at the end of a test is hot at the beginning of the next."""
    box = boot()
    try:
        containers.image(box)
        box.tune("vllm-qwen36", load_seconds=0.8, memory_mb=60)
        containers.engine(box, "sglang-mistral-4", "sglang", "mistral-4", 30000, QUICK)
        containers.project(box, "chat", containers.engine_words("vllm", "chat-8b", 8000, "chat", QUICK))
        for name in ("floor", "aside"):
            containers.create(box, name, *containers.SLEEP)
        box.root(["podman", "start", "floor", "aside"])
        yield box
    finally:
        box.down()


@pytest.fixture
def operator(machine: Box, tmp_path: Path) -> Iterator[Operator]:
    """With the unit's mode hot."""
    one = Operator.at(machine, tmp_path, config=MODES)
    if hot(machine) != ["qwen"]:
        one.ok("switch", "qwen", "--yes")
    untouched = [containers.told(machine, name)["Pid"] for name in ("floor", "aside")]
    yield one
    wait_for(lambda: not busy(machine), 90, "the action's end")
    for name in ("vllm-qwen36", "mistral-4", "chat-8b"):
        machine.fail(name)
    assert [containers.told(machine, name)["Pid"] for name in ("floor", "aside")] == untouched, "what is not its own was touched"


def hot(box: Box) -> list[str]:
    """What has a living process, as the kernel says."""
    found = ["qwen"] if box.show("vllm-qwen36.service", "MainPID")["MainPID"] != "0" else []
    running = containers.runs(box, *EVERY)
    found += ["mistral"] if "sglang-mistral-4" in running else []
    return [*found, *(["chat"] if {"chat_engine_1", "chat_db_1"} & set(running) else [])]


def serves(box: Box, port: int) -> str:
    return "".join(re.findall(r'"id": "([^"]*)"', box.http(port, "/v1/models")[1])[:1])


def kill(box: Box, container: str) -> None:
    box.root(["kill", "-9", str(containers.told(box, container)["Pid"])])
    wait_for(lambda: containers.runs(box, container) == [], 60, "the crash")


def test_unit_container_and_project_in_turn(operator: Operator, machine: Box) -> None:
    ports = {"mistral": (30000, "mistral-4"), "chat": (8000, "chat-8b"), "qwen": (30001, "qwen36")}
    for turn, mode in enumerate(("mistral", "chat", "mistral")):  # the other ways round: in the tests below
        operator.ok("switch", mode, "--yes")
        assert hot(machine) == [mode], f"turn {turn}"
        assert {m: serves(machine, port) for m, (port, _) in ports.items()} == {**dict.fromkeys(ports, ""), mode: ports[mode][1]}
        if turn == 0:
            lines = [line["text"] for line in operator.newest_receipt() if line["t"] == "line"]
            assert any("Load weight begin" in line for line in lines), "its log was not followed"
        if turn == 1:
            services = {s["name"]: s for s in operator.host()["services"]}
            assert services["container:sglang-mistral-4"]["active"] == "inactive"
            project = services["compose:chat"]
            assert (project["active"], project["sub"]) == ("active", "2 of 3 up")  # the job has done its part
            assert project["memory_bytes"] > 60 << 20
            assert re.search(r"engine \| .*Application startup complete", operator.ok("logs", "compose:chat").stdout)


def test_project_that_fails_is_rolled_back_with_its_reason(operator: Operator, machine: Box) -> None:
    machine.fail("chat-8b", "oom")
    done = operator.run("switch", "chat", "--yes")
    assert done.returncode == 1, done.stderr
    assert "Free memory on device" in done.stderr, done.stderr
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back"
    assert hot(machine) == ["qwen"]


def test_way_back_to_a_container_and_its_crash(operator: Operator, machine: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    machine.fail("vllm-qwen36", "badflag")
    assert operator.run("switch", "qwen", "--yes").returncode == 1
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back"
    assert hot(machine) == ["mistral"] and serves(machine, 30000) == "mistral-4"
    machine.fail("vllm-qwen36")
    kill(machine, "sglang-mistral-4")
    operator.ok("switch", "qwen", "--yes")
    assert hot(machine) == ["qwen"]


def test_container_that_its_restart_policy_revives_while_loading_is_a_failure(operator: Operator, machine: Box) -> None:
    machine.root(["podman", "rm", "sglang-mistral-4"])
    containers.engine(machine, "sglang-mistral-4", "sglang", "mistral-4", 30000, QUICK, restart="always")
    machine.fail("mistral-4", "missing-weights")
    done = operator.run("switch", "mistral", "--yes")
    assert done.returncode == 1
    assert "Weight files referenced in index but missing" in done.stderr, done.stderr
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back", done.stderr
    assert hot(machine) == ["qwen"]


def test_half_a_project_is_stopped_whole_and_never_takes_the_floor_along(operator: Operator, machine: Box) -> None:
    operator.ok("switch", "chat", "--yes")
    kill(machine, "chat_engine_1")
    config = operator.config_path.read_text()
    operator.config_path.write_text(config.replace('floor = ["container:floor"]', 'floor = ["container:chat_db_1"]'))
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert "container:chat_db_1 must always run, but belongs to compose:chat" in done.stderr
    assert containers.runs(machine, *EVERY) == ["chat_db_1"]
    operator.config_path.write_text(config)
    operator.ok("switch", "qwen", "--yes")
    assert hot(machine) == ["qwen"]


def test_podman_that_does_not_answer_stops_nothing(operator: Operator, machine: Box) -> None:
    machine.systemctl("stop", "podman.socket", "podman.service")
    try:
        done = operator.run("switch", "mistral", "--yes")
    finally:
        machine.systemctl("start", "podman.socket")
    assert done.returncode in (1, 4)
    assert "podman does not answer ops" in done.stderr, done.stderr
    assert hot(machine) == ["qwen"]


def test_container_said_to_have_ended_whose_process_lives_is_not_gone(operator: Operator, machine: Box) -> None:
    """Without its runtime podman cannot kill, and yet says `exited`: the control group tells the truth."""
    operator.config_path.write_text(operator.config_path.read_text().replace('stop_timeout = "30s"', 'stop_timeout = "8s"'))
    operator.ok("switch", "mistral", "--yes")
    engine = containers.told(machine, "sglang-mistral-4")["Pid"]
    machine.root("mv /usr/bin/crun /usr/bin/crun.away")
    try:
        done = operator.run("switch", "qwen", "--yes")
        assert done.returncode == 1
        assert "container:sglang-mistral-4 still has processes" in done.stderr, done.stderr
        assert "Running now: container:sglang-mistral-4" in done.stderr, done.stderr
        assert machine.show("vllm-qwen36.service", "MainPID")["MainPID"] == "0"
        assert serves(machine, 30000) == "mistral-4"
    finally:
        machine.root("mv /usr/bin/crun.away /usr/bin/crun")
        machine.root(["kill", "-9", str(engine)], check=False)
        machine.root(["podman", "rm", "--force", "--time", "0", "sglang-mistral-4"])
        containers.engine(machine, "sglang-mistral-4", "sglang", "mistral-4", 30000, QUICK)


def test_container_and_project_that_do_not_exist(operator: Operator, machine: Box) -> None:
    machine.root(["podman", "rm", "sglang-mistral-4", "chat_engine_1", "chat_migrate_1", "chat_db_1"])
    done = operator.run("switch", "mistral", "--yes")
    assert done.returncode == 1 and "container sglang-mistral-4 does not exist" in done.stderr
    done = operator.run("switch", "chat", "--yes")
    assert done.returncode == 1 and "compose project chat has no containers" in done.stderr
    containers.engine(machine, "sglang-mistral-4", "sglang", "mistral-4", 30000, QUICK)
    containers.project(machine, "chat", containers.engine_words("vllm", "chat-8b", 8000, "chat", QUICK))
    assert serves(machine, 30001) == "qwen36"
