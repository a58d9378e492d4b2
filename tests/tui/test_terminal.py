"""The process in a real terminal: it gives it back, it ends with it, and it sends no colour where none is wanted."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time

import pytest

pytestmark = pytest.mark.integration  # real processes and terminals, seconds each

PROGRAM = """
import sys
from sovtui.demo import build, scenario
from sovtui.tui.app import run
from sovtui.tui.pictures import Still

sys.exit(run(Still(scenario("healthy"), build("spark").config)))
"""
COLOUR = re.compile(rb"(?:^|;)(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;|$)")


def start(**env: str) -> tuple[int, int]:
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", **env})
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    return pid, fd


def read_until(fd: int, wanted: bytes, seconds: float = 20.0) -> bytes:
    out = b""
    end = time.monotonic() + seconds
    while wanted not in out and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                out += os.read(fd, 65536)
            except OSError:
                break
    return out


def ended(pid: int, seconds: float = 20.0) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("it did not end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(number):
    pid, fd = start(NO_COLOR="1")
    out = read_until(fd, b"PrismaQuant")
    time.sleep(0.3)
    os.kill(pid, number)
    out += read_until(fd, b"\x1b[?1006l\x1b[?1006l", 3.0)
    assert ended(pid) == 128 + number
    for back in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l"):
        assert back in out
    codes = re.findall(rb"\x1b\[([\d;]*)m", out)
    assert codes and not [code for code in codes if COLOUR.search(code)], "NO_COLOR: no colour code at all"
    os.close(fd)


def test_it_ends_when_its_terminal_is_gone():
    pid, fd = start()
    read_until(fd, b"PrismaQuant")
    os.close(fd)
    assert ended(pid) in (128 + signal.SIGHUP, 1)
