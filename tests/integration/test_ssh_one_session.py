"""A box whose sshd gives one session at a time: a switch is started, followed and cancelled all the same, on the screen too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, Terminal, busy, empty, loaded, ready

ONE = "/etc/ssh/sshd_config.d/one-session.conf"


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    box.write(ONE, "MaxSessions 1\n")
    box.systemctl("reload", "ssh")
    assert "maxsessions 1\n" in box.root("sshd -T").stdout
    try:
        yield Operator.at(box, tmp_path)
        wait_for(lambda: not busy(box), 60, "the action's end")
    finally:
        box.root(["rm", "-f", ONE])
        box.systemctl("reload", "ssh")
        empty(box)


def probed(screen: str) -> bool:
    """Whether the services are told, and nothing says that the probe is silent."""
    return bool(re.search(r"restartme.service +active", screen)) and "probe: " not in screen


def test_commands(operator: Operator, box: Box) -> None:
    told = operator.ok("switch", "qwen", "--yes")
    assert loaded(box) == ["qwen"] and ready(box, "qwen")
    assert "verify" in told.stderr, "its steps are followed"
    host = operator.host()
    assert host["link"]["phase"] == "up"
    assert "active" in [service["active"] for service in host["services"]], "the probe tells them"
    assert operator.ok("logs", "vllm-qwen36.service").stdout


def test_the_screen_switches_and_cancels(operator: Operator, box: Box, tmp_path: Path) -> None:
    box.tune("sglang-mistral4", load_seconds=120.0)  # nobody waits for it: it must not be hot before the cancel comes
    terminal = Terminal(operator, tmp_path, 120, 40)
    try:
        terminal.wait(r"restartme.service +active")
        terminal.act("2", lambda: re.search(r"(?i)switch.* mistral", terminal.screen()) is not None, "the switch")
        terminal.until(lambda: loaded(box) == ["mistral"], 60, "the engine's start")
        terminal.wait("x cancel")
        terminal.act("x", lambda: "Cancel switch mistral on testbox" in terminal.screen(), "the question")
        terminal.act("x", lambda: "Cancel switch mistral on testbox" not in terminal.screen(), "the cancel")
        terminal.until(lambda: not busy(box), 60, "the end of what was cancelled")
        end = operator.newest_receipt()[-1]
        assert (end.get("outcome"), loaded(box)) == ("cancelled", []), end
        terminal.until(lambda: probed(terminal.screen()), 60, "the probe's return")
    finally:
        terminal.close()
