"""A process in a pseudo-terminal, as somebody in front of it sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from pathlib import Path

PATIENCE_SECONDS = 120.0
"""For what takes a moment, on a machine however busy."""
REPO = Path(__file__).resolve().parents[2]


class Terminal:
    """`Terminal(argv)` starts it; `read`, `press`, `ended` are what one can do with it."""

    def __init__(self, argv: list[str], size: tuple[int, int] = (120, 40), **env: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG", "TEXTUAL_DRIVER", "CI"):
                os.environ.pop(name, None)
            os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(REPO), **env})
            os.execvp(argv[0], argv)
        self.resize(*size)
        self.all = b""
        """Everything that came."""
        self.closed = False

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, wanted: bytes = b"", seconds: float = PATIENCE_SECONDS) -> bytes:
        """What comes until `wanted` came, or for so long."""
        out = b""
        end = time.monotonic() + seconds
        while (not wanted or wanted not in out) and (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
        self.all += out
        return out

    def until(self, wanted: bytes, seconds: float = PATIENCE_SECONDS, before: bytes = b"", least: int = 0) -> bytes:
        """What comes until `wanted` has come, and so many bytes; `before` is what came already."""
        out, end = before, time.monotonic() + seconds
        while (wanted not in out or len(out) < least) and time.monotonic() < end:
            came = self.read(wanted if wanted not in out else b"", seconds if wanted not in out else 0.1)
            if not came and wanted not in out:
                break
            out += came
        assert wanted in out and len(out) >= least, f"{wanted!r} never came; the last was {out[-600:]!r}"
        return out

    def press(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    @property
    def cooked(self) -> bool:
        """Whether the terminal reads lines, as before the program."""
        return bool(termios.tcgetattr(self.fd)[3] & termios.ICANON)

    def ended(self, seconds: float = PATIENCE_SECONDS, *, unread: bool = False) -> int:
        """Its exit status; `unread`: nobody reads meanwhile what it writes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid = 0
                if not self.closed:
                    self.read(seconds=0.05)
                return os.waitstatus_to_exitcode(status)
            if unread:
                time.sleep(0.01)
            else:
                self.read(seconds=0.02)
        raise AssertionError(f"it did not end; the last was {self.all[-600:]!r}")

    def close(self) -> None:
        """Close the other end, as when the window or the connection goes."""
        if not self.closed:
            self.closed = True
            os.close(self.fd)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.close()
