"""The end of the process: in time, and with the terminal given back, whatever holds the event loop. Draws nothing."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

GRACE_SECONDS = 0.6
"""After a signal or a hang-up, how long the screen may take to end by itself."""
QUIT_SECONDS = 3.0
"""How long the rest may take once the screen is gone: links to close, threads to end."""
_STEP_SECONDS = 0.02
_FLUSH_SECONDS = 0.2
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_NUDGE = signal.SIGURG
_WRITER = "textual-output"
RESTORE = (
    "\x18\x1b[?2026l\x1b[?2048l\x1b[?1016l\x1b[?1015l\x1b[?1006l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1004l\x1b[?2004l"
    "\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"
)


class Ending:
    """One thread that sleeps until a signal comes or the other end of the terminal is closed, then sees to the end.

    It costs nothing meanwhile: no interval. Use as a context around the whole run of the screen.
    """

    def __init__(self, leave: Callable[[int], bool]) -> None:
        """`leave`: called with the exit status, from the thread; false if it is too early to be asked."""
        self._leave = leave
        self.status: int | None = None
        self._until = float("inf")
        self._screen_is_gone = False
        self._done = threading.Event()
        self._read, self._wake = os.pipe()
        self._before = _attributes()
        self._old: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._run, name="sovtui-ending", daemon=True)

    def __enter__(self) -> Ending:
        self._old = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        self._old[_NUDGE] = signal.signal(_NUDGE, lambda *_: None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._screen_is_gone = True
        if self.status is None:  # else the thread sees to it that the process really ends
            self._done.set()
            self._poke()

    def end(self, status: int, seconds: float = GRACE_SECONDS) -> None:
        """The process ends within `seconds`, with the status of the first call. From a handler or any thread."""
        self._until = min(self._until, time.monotonic() + seconds)
        if self.status is None:
            self.status = status
            self._poke()

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.end(128 + number)

    def _poke(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake, b".")

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_SIGNALS, signal.SIGTTOU})  # signals are for the main thread
        self._sleep()
        if self._done.is_set():
            return
        status, asked = self.status or 0, False
        while time.monotonic() < self._until:
            asked = asked or self._leave(status)
            time.sleep(_STEP_SECONDS)
        if not self._screen_is_gone:
            with contextlib.suppress(Exception):
                give_back(self._before)
        os._exit(status)

    def _sleep(self) -> None:
        """Until there is something to do."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.register(0, 0)  # hang-up and error are always told
        while self.status is None and not self._done.is_set():
            for fd, mask in poll.poll():
                if fd != 0:
                    continue
                if mask & select.POLLNVAL and not mask & (select.POLLHUP | select.POLLERR):
                    poll.unregister(0)  # a system that cannot poll a terminal: SIGHUP has to do
                else:
                    self.end(128 + signal.SIGHUP)


def give_back(attributes: Any) -> None:
    """The terminal as it was, although it may take no output: what waits to be written is thrown away."""
    out = os.open(os.ttyname(0), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)  # its own: the shell's must stay blocking
    until = time.monotonic() + _FLUSH_SECONDS
    left = RESTORE.encode("ascii")
    while left and time.monotonic() < until:
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(out, left) :]
        if left:
            termios.tcflush(0, termios.TCOFLUSH)
            for thread in threading.enumerate():
                if thread.name == _WRITER and thread.ident is not None:
                    signal.pthread_kill(thread.ident, _NUDGE)  # it sleeps in a write and would not see that there is room
            time.sleep(0.002)
    if attributes is not None:
        termios.tcsetattr(0, termios.TCSANOW, attributes)


def _attributes() -> Any:
    try:
        return termios.tcgetattr(sys.__stdin__.fileno()) if sys.__stdin__ else None
    except (OSError, ValueError, termios.error):
        return None
