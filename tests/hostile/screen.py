"""The screen in a terminal, watched: how long keys wait, how much memory it holds, what it shows, and that nothing of it is raw."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

from sovtui.tui.screens.frame import FILTER_HINT
from tests.bench.terminal import Terminal
from tests.hostile.pulse import Pulse

LETTERS = "abcdefghijklmnoprstuvwxy"
END = r" *(?:▌.*)?$"
"""Of a line; a notice may lie over it."""
WAIT_SECONDS = 60.0
"""A key that nothing answers for so long is not answered."""
_TOKEN = re.compile(
    r"\x1b\[([0-9;:?<>=]*)([ -/]*)([@-~])|\x1b[()][A-Z0-9]|\x1b[=>78]|\x1bP[^\x1b]*\x1b\\|\x1b\]22;[a-z-]*(?:\x07|\x1b\\)|([^\x1b]+)|(\x1b)"
)
_RAW = re.compile(
    "[\x00-\x06\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
)


class Picture:
    """What the terminal shows, as text: as much of a terminal as Textual needs."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._cells = [[" "] * columns for _ in range(rows)]
        self._x = self._y = 0
        self._rest = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self.raw: list[str] = []
        """What came that no terminal should be sent."""

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        cut = data.rfind(b"\x1b")
        whole = cut < 0 or re.match(
            rb"\x1b(?:\[[0-9;:?<>=]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78]|P[^\x1b]*\x1b\\|\]22;[a-z-]*(?:\x07|\x1b\\))", data[cut:]
        )
        self._rest = b"" if whole else data[cut:]
        text = self._decoder.decode(data if whole else data[:cut])
        for found in _TOKEN.finditer(text):
            if found[5]:
                self.raw.append(f"an escape: {text[found.start() : found.start() + 20]!r}")
            elif found[4]:
                self._write(found[4])
            elif found[3]:
                self._control(found[1] or "", found[3])

    def _control(self, words: str, final: str) -> None:
        numbers = [int(word) for word in re.findall(r"\d+", words)]
        if final in "Hf":
            self._y, self._x = (numbers[0] if numbers else 1) - 1, (numbers[1] if len(numbers) > 1 else 1) - 1
        elif final == "G":
            self._x = (numbers[0] if numbers else 1) - 1
        elif final in "ABCD":
            by = numbers[0] if numbers else 1
            self._y += by * {"A": -1, "B": 1}.get(final, 0)
            self._x += by * {"C": 1, "D": -1}.get(final, 0)

    def _write(self, text: str) -> None:
        if bad := _RAW.search(text):
            self.raw.append(f"{bad[0]!r} in {text[max(0, bad.start() - 10) : bad.start() + 10]!r}")
        for char in text:
            if char == "\r":
                self._x = 0
            elif char == "\n":
                self._y += 1
            else:
                wide = cell_len(char)
                if 0 <= self._y < self._rows and 0 <= self._x < self._columns and wide:
                    self._cells[self._y][self._x] = char
                    if wide == 2 and self._x + 1 < self._columns:
                        self._cells[self._y][self._x + 1] = ""
                self._x += wide

    def cells(self) -> list[list[str]]:
        return self._cells

    def lines(self) -> list[str]:
        return ["".join(row) for row in self._cells]

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True, slots=True, order=True)
class Wait:
    """How long a key was not answered, in seconds."""

    own: float
    """Without the time for which there was no processor for the screen, or for us who read it: that is the machine's."""
    clock: float


class Screen:
    """One process of the screen. `type` types letters into the filter and waits for each to be shown."""

    COLUMNS, ROWS = 150, 46

    def __init__(self, env: dict[str, str], home: Path, before: Sequence[str] = ()) -> None:
        """`before`: words of a command that runs the screen."""
        argv = [*before, sys.executable, "-m", "sovtui"]
        self.terminal = Terminal(argv, env, columns=self.COLUMNS, rows=self.ROWS, folder=Path(__file__).parents[2])
        self.pulse = Pulse()
        self.picture = Picture(self.COLUMNS, self.ROWS)
        self.log = home / ".local" / "state" / "sovtui" / "sovtui.log"
        self._fed = 0
        self._typed = ""
        self._peak, self._watching = 0.0, True
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while self._watching:
            with contextlib.suppress(OSError, StopIteration):
                self._peak = max(self._peak, self.terminal.resident_mib())
            time.sleep(0.03)

    def close(self) -> None:
        self._watching = False
        self._watcher.join(1)
        self.terminal.end()
        self.pulse.close()

    @property
    def alive(self) -> bool:
        return Path(f"/proc/{self.terminal.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    def resident(self) -> float:
        return self.terminal.resident_mib()

    def peak(self) -> float:
        """The most since it was last asked for."""
        found, self._peak = self._peak, 0.0
        return max(found, self.resident())

    def look(self) -> Picture:
        while self._feed() is not None:
            pass
        return self.picture

    def _feed(self) -> float | None:
        """Take in the next piece of what came: when it came. None: there is no more."""
        chunks = self.terminal.chunks
        if self._fed == len(chunks):
            return None
        at, data = chunks[self._fed]
        chunks[self._fed] = (at, b"")
        self._fed += 1
        self.picture.feed(data)
        return at

    def until(self, pattern: str, seconds: float) -> bool:
        """Wait until the screen shows something; whether it did."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if re.search(pattern, str(self.look()), re.MULTILINE):
                return True
            time.sleep(0.02)
        return False

    def key(self, keys: bytes, shown: str) -> Wait:
        """Press, and wait until it is shown; `WAIT_SECONDS` where it never was."""
        self.look()
        before = self._scheduled()
        self.pulse.beat()
        at = self.terminal.press(keys)
        while True:
            came = self._feed()
            if came is not None and re.search(shown, str(self.picture), re.MULTILINE):
                break
            if time.monotonic() - at > WAIT_SECONDS:
                return Wait(WAIT_SECONDS, WAIT_SECONDS)
            if came is None:
                time.sleep(0.002)
        took = came - at
        ran, starved = (now - then for now, then in zip(self._scheduled(), before, strict=True))
        return Wait(max(min(ran, took), took - starved), took)

    def _scheduled(self) -> tuple[float, float]:
        """Seconds that all threads of the screen ran so far, and that they and ours waited for a processor."""
        ran = starved = 0.0
        for process in (self.terminal.pid, os.getpid()):
            for task in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(OSError):
                    running, waiting, _ = (int(word) for word in (task / "schedstat").read_text().split())
                    starved += waiting / 1e9
                    ran += running / 1e9 if process == self.terminal.pid else 0.0
        return ran, starved

    def begin_typing(self) -> Wait:
        self._typed = ""
        return self.key(b"/", rf"^ {re.escape(FILTER_HINT)}{END}")

    def type(self) -> Wait:
        """One letter more, or all of them away again."""
        self._typed += LETTERS[len(self._typed) % len(LETTERS)]
        waited = self.key(self._typed[-1].encode(), rf"^ {re.escape(self._typed)}{END}")
        if len(self._typed) >= 8:
            self.terminal.press(b"\x7f" * len(self._typed))
            self._typed = ""
            time.sleep(0.1)
        return waited

    def end_typing(self) -> None:
        """Close the filter and go back; the filter is seen to be closed first, as a key sent before goes into the field that closes."""
        self.key(b"\x1b", rf"\A(?!(?s:.*)^ (?:{re.escape(FILTER_HINT)}|{re.escape(self._typed)}){END})")
        self.terminal.press(b"\x1b")
        time.sleep(0.2)  # a lone Escape is due after half of it: the next key's wait is its own

    def logged(self) -> str:
        """What went wrong inside since it was last asked for; empty: nothing."""
        try:
            told = self.log.read_text(errors="replace")
        except OSError:
            return ""
        seen, self._seen = getattr(self, "_seen", 0), len(told)
        return told[seen:].strip()
