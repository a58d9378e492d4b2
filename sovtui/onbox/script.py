"""The owner's own switch command: no terminal, no input, its lines one by one, ended with all it started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from sovtui.onbox import box
from sovtui.onbox.deadline import within
from sovtui.onbox.hiding import Hider
from sovtui.onbox.words import Command

_COLOUR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|[\x00-\x08\x0b-\x1f\x7f]")
PATIENCE = 5.0
"""Between asking it to end and ending it."""
MAX_LINE = 4000


def plain(text: str) -> str:
    """Without colour and control characters."""
    return _COLOUR.sub("", text).rstrip()


class Script:
    """One run of it. `wait` returns how it ended; `end` may be called from anywhere."""

    def __init__(self, command: Command, tell: Callable[[str], None], hide: Hider | None = None) -> None:
        self._command = command
        self._tell = tell
        self._hide = hide or Hider(value for _, value in command.env)
        self._ended = ""
        env = {**box.environment(), "TERM": "dumb", "NO_COLOR": "1", **dict(command.env)}
        self._process = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd="/",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        rest, passed = b"", False
        with contextlib.suppress(OSError, ValueError):
            while True:
                data = os.read(self._process.stdout.fileno(), 65536)
                if not data:
                    break
                *whole, rest = re.split(rb"[\r\n]+", rest + data)
                for raw in whole[passed:]:
                    self._say(raw)
                passed = passed and not whole
                if len(rest) > 2 * MAX_LINE:  # the rest of such a line is left out
                    if not passed:
                        self._say(rest)
                    rest, passed = b"", True
        if not passed:
            self._say(rest)
        with contextlib.suppress(OSError):
            self._process.stdout.close()

    def _say(self, raw: bytes) -> None:
        text = self._hide(plain(raw[: 4 * MAX_LINE].decode("utf-8", "replace")))
        if len(raw) > 2 * MAX_LINE:
            text = text[: max(0, len(text) - 6 * self._hide.longest)]  # it may end in a part of what is hidden
        if text.strip():
            self._tell(text[:MAX_LINE])

    def wait(self) -> tuple[bool, str]:
        """Its end, at the latest at the timeout. What it left in the background does not hold this up."""
        try:
            status = self._process.wait(self._command.timeout)
        except subprocess.TimeoutExpired:
            self.end(f"did not end within {self._command.timeout:g} s and was ended, with all it started")
            status = self._process.wait()
        with contextlib.suppress(TimeoutError):
            within(1.0, self._reader.join)
        if self._ended:
            return False, self._ended
        if status < 0:
            with contextlib.suppress(ValueError):
                return False, f"was ended by {signal.Signals(-status).name}"
        return status == 0, "" if status == 0 else f"ended with {status}"

    def end(self, why: str = "was ended") -> None:
        """Its whole process group: asked first, then killed."""
        self._ended = self._ended or why
        for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 1.0)):
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, number)
            limit = time.monotonic() + patience
            while time.monotonic() < limit and self._group_lives():
                time.sleep(0.05)
            if not self._group_lives():
                return

    def _group_lives(self) -> bool:
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except OSError:
            return False
        return True
