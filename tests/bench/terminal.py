"""A process in a pseudo-terminal: when which bytes came, and what the process has used."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ALTERNATE_SCREEN = b"\x1b[?1049h"


_AS_INSTALLED = """
import sys
sys.modules["click"] = None  # a development tool brings it, and then httpx imports its own command line: 5 MiB
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the developer's own: a fresh home, true colour, and no module that only development brings."""
    site = home / ".site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_AS_INSTALLED)
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "USER": "operator",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(site),
        **more,
    }


def reference_seconds() -> float:
    """Processor time of importing Textual, now: on a busy machine the same work takes up to twice as much, so look at both."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Terminal:
    """`with Terminal([...], env) as t:`; the process is ended at the end. Times are `time.monotonic()`."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], *, columns: int = 120, rows: int = 40, folder: Path | None = None
    ) -> None:
        self.rows = rows
        self.chunks: list[tuple[float, bytes]] = []
        """(when, what), as it came."""
        self.usage: resource.struct_rusage | None = None
        """What the process used over its life; set when it has ended."""
        self.status: int | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.began_at = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            if folder is not None:
                os.chdir(folder)
            os.execvpe(argv[0], list(argv), dict(env))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def python(cls, words: Sequence[str], env: Mapping[str, str], **size: int) -> Terminal:
        """`python WORDS`, with this checkout first on the path."""
        return cls([sys.executable, *words], env, folder=Path(__file__).parents[2], **size)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def _read(self) -> None:
        while not self._closed:
            if not select.select([self._fd], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                data = b""
            with self._changed:
                if data:
                    self.chunks.append((time.monotonic(), data))
                else:
                    self._closed = True
                self._changed.notify_all()

    # looking

    def output(self, since: float = 0.0, until: float = float("inf")) -> bytes:
        """What came between two times."""
        with self._changed:
            return b"".join(data for at, data in self.chunks if since <= at < until)

    def wait(self, pattern: bytes, seconds: float = 20.0, since: float = 0.0) -> float:
        """When output since `since` first matched. Raises AssertionError with the last output if it never did."""
        end = time.monotonic() + seconds
        expression = re.compile(pattern)
        seen, done = b"", 0
        with self._changed:
            while True:
                for at, data in self.chunks[done:]:
                    done += 1
                    if at < since:
                        continue
                    seen += data
                    if expression.search(seen):
                        return at
                left = end - time.monotonic()
                if left <= 0 or self._closed:
                    raise AssertionError(f"{pattern!r} did not come within {seconds} s; the last output: {seen[-2000:]!r}")
                self._changed.wait(left)

    def first_bytes(self, since: float, seconds: float) -> float | None:
        """When the first bytes came after `since`; None: none came."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                found = next((at for at, _ in self.chunks if at >= since), None)
                left = end - time.monotonic()
                if found is not None or left <= 0:
                    return found
                self._changed.wait(left)

    def quiet(self, seconds: float, within: float = 10.0) -> None:
        """Wait until nothing has come for a while, at most `within`."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            with self._changed:
                last = self.chunks[-1][0] if self.chunks else self.began_at
            left = last + seconds - time.monotonic()
            if left <= 0:
                return
            time.sleep(left)

    def first_frame(self, seconds: float = 20.0) -> float:
        """Seconds from the start until the last row of the alternate screen had been painted."""
        last_row = re.escape(ALTERNATE_SCREEN) + rb"[\s\S]*\x1b\[" + str(self.rows).encode() + rb";1H"
        return self.wait(last_row, seconds) - self.began_at

    # acting

    def press(self, keys: bytes) -> float:
        """Send keys; returns when they were sent."""
        at = time.monotonic()
        os.write(self._fd, keys)
        return at

    def cpu_seconds(self) -> float:
        """User and system time so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def running_seconds(self) -> float:
        """The same in nanoseconds' precision, of the threads that live now: for what is shorter than a clock tick."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident_mib(self) -> float:
        line = next(x for x in Path(f"/proc/{self.pid}/status").read_text().splitlines() if x.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def end(self) -> None:
        """End the process and wait for it."""
        if self.status is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        self.status, self.usage = os.waitstatus_to_exitcode(status), usage
        self._closed = True
        self._reader.join(2)
        os.close(self._fd)
