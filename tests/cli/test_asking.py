"""What a login asks, on a real terminal (a pty), whatever standard input and output are."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sovtui.cli.asking import can_ask, read_line
from sovtui.core import qr

ASK = """\
import asyncio, os, sys
from sovtui.cli.asking import ask_operator, can_ask
from sovtui.ports.link import Question
async def ask(kind):
    url = "https://login.example/a/1" if kind == "approval" else ""
    asked = asyncio.ensure_future(ask_operator(Question(kind, f"{kind} of a\\x1b[31m host", "line", url)))
    while url and not os.path.exists("approved"):
        await asyncio.sleep(0.02)
    if url:
        asked.cancel()
    return (await asyncio.gather(asked, return_exceptions=True))[0]
async def main():
    assert can_ask()
    both = [ask(kind) for kind in sys.argv[1:]]
    print("ANSWERS", await asyncio.gather(*both), file=open("answers", "w"))
asyncio.run(main())
"""


class Seat:
    """Somebody at a terminal, with a program in its foreground whose standard streams are all elsewhere."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        pid, self._terminal = pty.fork()
        if pid == 0:  # the child: a session of its own, the pty its terminal
            os.chdir(folder)
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open("err", os.O_WRONLY | os.O_CREAT)
            for fd, to in ((0, null), (1, null), (2, log)):
                os.dup2(to, fd)
            os.execv(sys.executable, [sys.executable, "-c", ASK, *words])
        self.pid = pid
        self.seen = ""

    def until(self, pattern: str, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, (self.seen, (self.folder / "err").read_text())
            if select.select([self._terminal], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._terminal, 4096).decode()
                except OSError:  # nobody has it open
                    time.sleep(0.02)

    def type(self, line: str) -> None:
        os.write(self._terminal, f"{line}\n".encode())

    def end(self) -> str:
        assert os.waitpid(self.pid, 0)[1] == 0, (self.folder / "err").read_text()
        os.close(self._terminal)
        return (self.folder / "answers").read_text()


@pytest.fixture
def sit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seat]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return lambda *words: Seat(tmp_path, *words)


def test_a_secret_is_not_echoed_and_a_code_may_be(sit: Callable[..., Seat]) -> None:
    seat = sit("secret", "shown", "host-key")
    seat.until(r"secret of a.* host\r\n  line\r\nsecret \(not shown\): ")
    seat.type("geheim")
    seat.until(r"answer: ")  # one question after the other
    seat.type("123456")
    seat.until(r"123456")
    seat.until(r'type "yes" to trust it: ')
    seat.type("yes")
    assert seat.end() == "ANSWERS ['geheim', '123456', 'yes']\n"
    assert "geheim" not in seat.seen and "\x1b[31m" not in seat.seen


async def test_echo_is_off_before_a_secret_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who pastes an answer is quicker than a program."""
    ours, terminal = pty.openpty()
    echoed: list[bool] = []
    write = os.write

    def look(to: int, data: bytes) -> int:
        echoed.append(bool(termios.tcgetattr(terminal)[3] & termios.ECHO))
        return write(to, data)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", look)
            reading = asyncio.ensure_future(read_line("secret: ", terminal, terminal, echo=False))
            await asyncio.sleep(0)
            write(ours, b"geheim\n")
            assert await reading == "geheim"
        assert echoed == [False, True], "the prompt, and the end of the line after the answer"
    finally:
        os.close(ours)
        os.close(terminal)


def test_an_approval_is_shown_until_it_is_given_and_enter_shows_a_code(sit: Callable[..., Seat], tmp_path: Path) -> None:
    seat = sit("approval")
    seat.until(r"line\r\n  Enter shows it as a QR code, Ctrl\+C gives up: ")
    seat.type("")
    seat.until("(?:[█▀▄ ]{20,}\r\n){10}")
    lines = qr.half_blocks(qr.modules("https://login.example/a/1"), light=True)
    assert "\r\n".join(lines) in seat.seen
    (tmp_path / "approved").touch()
    assert "CancelledError" in seat.end()


@pytest.mark.parametrize("answer", ["", "y", "no"])
def test_only_yes_trusts_a_key(sit: Callable[..., Seat], answer: str) -> None:
    seat = sit("host-key")
    seat.until("trust it: ")
    seat.type(answer)
    assert seat.end() == "ANSWERS [None]\n"


def test_without_a_terminal_nobody_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from sovtui.cli.asking import can_ask; print(can_ask())"],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "False\n"


def test_in_the_background_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading there would stop the program."""
    lead, follow = pty.openpty()
    try:
        monkeypatch.setattr("sovtui.cli.asking.TERMINAL", os.ttyname(follow))
        assert can_ask() is False  # it is not the terminal of this process's group
    finally:
        os.close(lead)
        os.close(follow)
