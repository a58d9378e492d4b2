"""The process in a real terminal: it gives it back, it ends with it, and it sends no colour where none is wanted."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sovtui.tui import ending
from tests.fakes.terminal import PATIENCE_SECONDS, Terminal

pytestmark = pytest.mark.integration  # real processes and terminals, seconds each

PROGRAM = """
import sys
from sovtui.demo import build, scenario
from sovtui.tui.app import run
from sovtui.tui.pictures import Still
{more}
sys.exit(run(Still(scenario("healthy"), build("spark").config)))
"""
READY = b"PrismaQuant"
COLOUR = re.compile(rb"(?:^|;)(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])(?:;|$)")
GIVEN_BACK = (
    b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?1006l", b"\x1b[?1016l", b"\x1b[?2004l", b"\x1b[?1004l",
    b"\x1b[<u", b"\x1b[?7h",
)  # fmt: skip


def test_what_holds_the_screen_has_less_than_a_second() -> None:
    """The tests below show that nothing else than this time is waited for: what they make it wait for never comes."""
    assert ending.GRACE_SECONDS + ending._FLUSH_SECONDS < 1.0


def opened(more: str = "", **env: str) -> Terminal:
    terminal = Terminal([sys.executable, "-c", PROGRAM.format(more=more)], (120, 40), **env)
    terminal.until(READY)
    terminal.read(seconds=0.4)
    return terminal


def given_back(terminal: Terminal) -> None:
    for code in GIVEN_BACK:
        assert code in terminal.all, code
    assert terminal.all.rindex(b"\x1b[?1049l") > terminal.all.rindex(b"\x1b[?1049h")
    assert terminal.cooked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(number: signal.Signals) -> None:
    with opened() as terminal:
        assert not terminal.cooked
        os.kill(terminal.pid, number)
        assert terminal.ended() == 128 + number
        given_back(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_while_nobody_reads_what_it_writes(number: signal.Signals) -> None:
    with opened() as terminal:
        for _ in range(200):
            terminal.press(b"\t")  # each draws anew; nobody reads: the event loop comes to stand in a write
        time.sleep(1.5)
        os.kill(terminal.pid, number)
        assert terminal.ended(unread=True) == 128 + number
        given_back(terminal)


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("deaf", [False, True])
def test_it_ends_when_its_terminal_is_gone(blocked: bool, deaf: bool) -> None:
    """Also where nobody sends SIGHUP, or it is ignored: it looks for itself."""
    more = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})" if deaf else ""
    with opened(more) as terminal:
        if blocked:
            for _ in range(200):
                terminal.press(b"\t")
            time.sleep(1.5)
        terminal.close()
        assert terminal.ended(unread=True) == 128 + signal.SIGHUP


@pytest.mark.parametrize(
    "crash",
    [
        # while a pane draws
        "import sovtui.tui.panes.memory as m; m.MemoryPane.rows = lambda *a: 1 / 0",
        # in a worker, once all is drawn
        "from sovtui.tui.screens.room import Room\nasync def fail(self): raise ZeroDivisionError\n"
        "Room.run_screen = lambda self, id: self.run_worker(fail(self))",
        # in the thread that reads keys
        "from textual.drivers.linux_driver import LinuxDriver\n"
        "LinuxDriver.process_message = lambda *a: 1 / 0",
    ],
    ids=["pane", "worker", "input"],
)  # fmt: skip
def test_a_crash_is_one_sentence_and_a_file(crash: str, tmp_path: Path) -> None:
    program = f"""
import sys
import sovtui.__main__ as program
from sovtui.demo import still
program._demo = lambda name, scenario: still(scenario)
{crash}
sys.exit(program.main(["demo"]))
"""
    with Terminal([sys.executable, "-c", program], HOME=str(tmp_path)) as terminal:
        terminal.read(READY)
        terminal.read(seconds=0.4)
        with contextlib.suppress(OSError):  # it may be gone by now
            terminal.press(b"?")
        assert terminal.ended() == 1
        given_back(terminal)
        after = terminal.all[terminal.all.rindex(b"\x1b[?1049l") :].decode()
        (file,) = (tmp_path / ".local" / "state" / "sovtui").glob("crash-*.txt")
        assert after.count("sovtui: something unexpected happened") == 1 and str(file) in after.replace("\r\n", "")
        assert "Traceback" not in after and "Traceback" in file.read_text() and "ZeroDivisionError" in file.read_text()


@pytest.mark.parametrize("before", [b"", b"?", b"/ab", b":", b"2"])
@pytest.mark.parametrize("key", [b"\x03", b"\x11"])
def test_ctrl_c_quits_wherever_one_is(before: bytes, key: bytes) -> None:
    with opened() as terminal:
        for char in before:
            terminal.press(bytes([char]))
            terminal.read(seconds=0.3)
        terminal.press(key)
        assert terminal.ended() == 0
        given_back(terminal)


def shell() -> Terminal:
    terminal = Terminal(["sh", "-i"], PS1="at the prompt$ ", ENV="")
    terminal.until(b"at the prompt$ ")
    return terminal


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ctrl_z_stops_it_and_fg_brings_it_back_whole(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(PROGRAM.format(more=""))
    with shell() as terminal:
        # A shell between the terminal's and the program, as `make run` has one.
        terminal.press(f"sh -c '{sys.executable} {tmp_path}/room.py; exit 7'\n".encode())
        terminal.until(READY)
        terminal.read(seconds=0.4)
        for _ in range(2):
            terminal.press(b"\x1a")
            out = terminal.until(b"at the prompt$ ")
            assert b"\x1b[?1049l" in out and b"topped" in out and terminal.cooked
            terminal.press(b"fg\n")
            out = terminal.until(READY)
            assert b"\x1b[?1049h" in out
            terminal.until(b"Backups", before=out, least=10_000)  # a full repaint
            assert not terminal.cooked
        terminal.press(b"q")
        terminal.until(b"at the prompt$ ")
        terminal.press(b"echo status $?\n")
        terminal.until(b"status 7")


def test_stopped_by_somebody_else_and_continued_it_draws_anew(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(PROGRAM.format(more=""))
    with shell() as terminal:
        terminal.press(f"{sys.executable} {tmp_path}/room.py\n".encode())
        terminal.until(READY)
        terminal.read(seconds=0.4)
        (child,) = children(terminal.pid)
        os.kill(child, signal.SIGSTOP)
        terminal.until(b"at the prompt$ ")
        terminal.press(b"fg\n")
        terminal.until(READY)
        terminal.read(seconds=0.4)
        terminal.press(b"q")
        terminal.until(b"at the prompt$ ")
        assert terminal.cooked, "what it gives back is what it found, not what it had made of it"


def test_no_stopped_orphan_stays_when_the_terminal_goes(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(PROGRAM.format(more=""))
    with shell() as terminal:
        terminal.press(f"{sys.executable} {tmp_path}/room.py\n".encode())
        terminal.until(READY)
        terminal.read(seconds=0.4)
        (child,) = children(terminal.pid)
        terminal.press(b"\x1a")
        terminal.until(b"at the prompt$ ")
        terminal.close()
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and Path(f"/proc/{child}").exists() and state(child) != "Z":
            time.sleep(0.02)
        assert not Path(f"/proc/{child}").exists() or state(child) == "Z"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_no_colour_code_is_sent_where_none_is_wanted() -> None:
    with opened(NO_COLOR="1") as terminal:
        for keys in (b"?", b"\x1b", b":", b"theme"):
            terminal.press(keys)
            terminal.read(seconds=0.4)
        codes = re.findall(rb"\x1b\[([\d;:]*)m", terminal.all)
        assert codes and not [code for code in codes if COLOUR.search(code)]
        assert b"1" in {part for code in codes for part in code.split(b";")}, "bold is no colour"


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"TERM": "linux"}, {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "NO_COLOR": "1"}]
)
def test_a_terminal_with_ascii_alone_gets_nothing_else(env: dict[str, str]) -> None:
    with Terminal([sys.executable, "-c", PROGRAM.format(more="")], (120, 40), **env) as terminal:
        terminal.until(b"PrismaQuant")
        for keys in (b"?", b"\x1b", b":", b"\x1b", b"\t", b"z"):
            terminal.press(keys)
            terminal.read(seconds=0.3)
        words = re.sub(rb"\x1b\[[\d;]*m", b"", terminal.all)
        assert words.isascii() and b"+- Inference - Qwen" in words and b"* direct" in words
        terminal.press(b"q")
        assert terminal.ended() == 0


def test_what_cannot_be_encoded_is_no_error() -> None:
    """A lone surrogate in a text of the screen's own must not stop the thread that writes."""
    more = "import sovtui.tui.panes.memory as m; m.MemoryPane.heading = lambda *a: 'x\\ud800y'"
    with opened(more) as terminal:
        assert b"xy" in terminal.all
        terminal.press(b"q")
        assert terminal.ended() == 0


@pytest.mark.parametrize("size", [(30, 12), (10, 3), (1, 1), (400, 120)])
def test_no_size_is_too_small_or_too_large(size: tuple[int, int]) -> None:
    with Terminal([sys.executable, "-c", PROGRAM.format(more="")], size) as terminal:
        terminal.until(b"\x1b[?1049h")
        terminal.read(seconds=0.6)
        terminal.press(b"?")
        terminal.read(seconds=0.3)
        terminal.press(b"\x03")
        assert terminal.ended() == 0


def test_resizing_in_quick_succession() -> None:
    with opened() as terminal:
        for columns, rows in [(44, 80), (1, 1), (30, 12), (120, 40), (10, 3), (80, 24), (200, 60), (38, 14)] * 5:
            terminal.resize(columns, rows)
            terminal.read(seconds=0.01)
        terminal.read(seconds=1.0)
        terminal.resize(120, 40)
        terminal.until(b"Backups")
        terminal.read(seconds=1.0)
        terminal.resize(60, 20)  # and back before it is seen: the terminal has lost what was beyond
        terminal.resize(120, 40)
        terminal.until(b"Backups")
        terminal.press(b"q")
        assert terminal.ended() == 0


def test_the_screen_goes_to_the_terminal_also_without_standard_error(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(PROGRAM.format(more=""))
    with Terminal(["sh", "-c", f"exec {sys.executable} {tmp_path}/room.py 2>{tmp_path}/err"]) as terminal:
        terminal.until(READY)
        terminal.press(b"q")
        assert terminal.ended() == 0
    assert (tmp_path / "err").read_text() == ""


def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run([sys.executable, "-m", "sovtui", "demo"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and "needs a terminal" in done.stderr
