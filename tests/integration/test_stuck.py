"""A mode that hangs, on the booted box: it is named, and its key brings it back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, Terminal, busy, empty, loaded, ready

UNIT = "vllm-qwen36.service"
DROP_IN = f"/run/systemd/system/{UNIT}.d"


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    yield Operator.at(box, tmp_path)
    wait_for(lambda: not busy(box), 90, "the action's end")
    box.root(f"systemctl kill --signal=SIGKILL {UNIT} || true; rm -rf {DROP_IN}")
    box.systemctl("daemon-reload")
    empty(box)


DRIPS = """\
import contextlib, socket, threading, time
def answer(one):
    with contextlib.suppress(OSError):
        one.recv(65536)
        one.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 99999\\r\\n\\r\\n")
        while True:
            one.sendall(b" ")
            time.sleep(1)
server = socket.create_server(("127.0.0.1", 30001))
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""
"""An engine whose answers never end, one byte a second."""


def steps(operator: Operator) -> list[tuple[str, str, str]]:
    return [(x["name"], x["state"], x.get("detail", "")) for x in operator.newest_receipt() if x["t"] == "step"]


def main_pid(box: Box) -> str:
    return box.show(UNIT, "MainPID")["MainPID"]


def test_a_stopped_process_is_named_and_comes_back_headless(operator: Operator, box: Box) -> None:
    """SIGSTOP: its port takes connections and nothing is answered."""
    operator.ok("switch", "qwen", "--yes")
    before = main_pid(box)
    box.systemctl("kill", "--signal=SIGSTOP", UNIT)
    told = " ".join(operator.run("status").stdout.split())
    assert re.search(r"1 qwen (hung|starting) .*its port takes connections", told), told  # it is young: nobody has watched it
    refused = operator.run("switch", "qwen")
    assert refused.returncode == 4 and "its port takes connections" in refused.stderr, refused.stderr
    assert main_pid(box) == before, "nothing is done before somebody has said yes"
    operator.ok("switch", "qwen", "--yes")
    assert main_pid(box) != before and ready(box, "qwen") and loaded(box) == ["qwen"]
    done = [name for name, state, _ in steps(operator) if state == "done"]
    assert done.index("stop") < done.index("start") < done.index("proof") < done.index("verify")


def test_the_key_of_a_mode_whose_core_is_stuck_ends_it_and_brings_it_back(operator: Operator, box: Box, tmp_path: Path) -> None:
    """Its health check says that all is well, it gives no token, and heeds no stop."""
    box.root(f"mkdir -p {DROP_IN}")
    box.write(f"{DROP_IN}/patient.conf", "[Service]\nTimeoutStopSec=infinity\n")
    box.systemctl("daemon-reload")
    operator.ok("switch", "qwen", "--yes")
    before = main_pid(box)
    screen = Terminal(operator, tmp_path, 100, 34)
    try:
        screen.wait("qwen resident")
        box.systemctl("kill", "--signal=SIGUSR2", UNIT)
        screen.wait("qwen hung")
        assert box.http(30001, "/health")[0] == 200
        screen.act("1", lambda: "Start Qwen 3.6 on testbox again" in screen.screen(), "the question")
        screen.wait("hangs: it was ready and no longer answers")
        screen.act("1", lambda: "Start Qwen 3.6 on testbox again" not in screen.screen(), "the start")
        screen.until(lambda: main_pid(box) not in (before, "0") and ready(box, "qwen"), 120, "the mode's new life")
        screen.wait("qwen (resident|hot|busy)")
    finally:
        screen.close()
    wait_for(lambda: not busy(box), 60, "the action's end")
    assert operator.newest_receipt()[-1]["outcome"] == "done"
    assert any(name == "stop" and "SIGKILL" in detail for name, _, detail in steps(operator))
    assert ("proof", "done") in [(name, state) for name, state, _ in steps(operator)]


def test_an_engine_that_drips_holds_neither_the_preflight_nor_readiness_nor_a_cancel(
    operator: Operator, box: Box, tmp_path: Path
) -> None:
    box.tune("sglang-mistral4", load_seconds=0.2)
    box.write("/run/drips.py", DRIPS)
    box.root(f"mkdir -p {DROP_IN}")
    box.write(f"{DROP_IN}/drips.conf", "[Service]\nType=exec\nExecStart=\nExecStart=/usr/bin/python3 /run/drips.py\n")
    box.systemctl("daemon-reload")
    config = operator.config_path.read_text()
    box.systemctl("start", UNIT)
    operator.ok("switch", "mistral", "--yes")
    assert loaded(box) == ["mistral"]

    operator.config_path.write_text(config.replace('ready_timeout = "60s"', 'ready_timeout = "4s"'))
    failed = operator.run("switch", "qwen", "--yes")
    assert failed.returncode == 1 and "was not ready within 4 s" in failed.stderr, failed.stderr
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back" and loaded(box) == ["mistral"] and ready(box, "mistral")

    operator.config_path.write_text(config.replace('ready_timeout = "60s"', 'ready_timeout = "10h"'))
    before = operator.newest_receipt()[0]["id"]
    switching = operator.start("switch", "qwen", "--yes")
    try:
        wait_for(lambda: operator.newest_receipt()[0]["id"] != before, 60, "the action's begin")
        wait_for(lambda: ("ready", "running") in [(name, state) for name, state, _ in steps(operator)], 60, "the engine's start")
        cancelled = operator.ok("cancel")
        assert "and Mistral 4 is brought back" in cancelled.stderr, cancelled.stderr
        switching.communicate(timeout=120)
    finally:
        switching.kill()
    end = operator.newest_receipt()[-1]
    assert end["t"] == "end" and end["outcome"] == "cancelled", end
    assert loaded(box) == ["mistral"] and not busy(box)
