"""A phone: 44×80, 256 colours, and an operating system that stops the program for as long as it likes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, Terminal

PLAIN = "TERM=xterm-256color"


def programs(terminal: Terminal) -> list[int]:
    """sovtui and what it started, inside of the terminal."""
    pane = terminal._tmux("list-panes", "-t", "t", "-F", "#{pane_pid}").strip()
    found, todo = [], [pane]
    while todo:
        told = subprocess.run(["pgrep", "-P", todo.pop()], capture_output=True, text=True, check=False).stdout.split()
        found += [int(pid) for pid in told]
        todo += told
    return found


def minute(screen: str) -> str:
    found = re.search(r"(\d\d:\d\d)\s*$", screen.splitlines()[0])
    assert found, screen
    return found[1]


def test_an_app_that_was_stopped_for_longer_than_its_link_lives_comes_back_by_itself(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    terminal = Terminal(operator, tmp_path, 44, 80, term=PLAIN)
    stopped: list[int] = []
    try:
        terminal.wait(r"testbox .*up")
        terminal.wait(r"restartme +active")
        escapes = terminal._tmux("capture-pane", "-e", "-p", "-t", "t")
        assert "38;5;" in escapes and "38;2;" not in escapes, "256 colours are sent, and no others"
        stopped = programs(terminal)
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        fresh_box.kill_sessions()
        fresh_box.systemctl("stop", "restartme.service")
        time.sleep(8)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        terminal.wait(r"restartme +inactive")
        terminal.wait(r"testbox .*up")
        terminal.wait(r"inactive ~", absent=True)  # the probe is back too: nothing is only as last seen
        wait_for(lambda: minute(terminal.screen()) == time.strftime("%H:%M"), 60, "the clock")
        terminal.press("n")  # the keyboard works, and the link tells of two connections
        terminal.wait(r"received")
        terminal.press("q")
        terminal.wait(r"received", absent=True)
        terminal.press("q")
        terminal.wait("EXIT 0")
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        terminal.close()
