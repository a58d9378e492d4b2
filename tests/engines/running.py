"""One real server as a process: started on a free port of loopback, waited for, ended by its own pid."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

START_SECONDS = 180.0
"""A machine with a load of 15 needs long for a start."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answer(url: str, key: str = "", seconds: float = 10.0) -> tuple[int, bytes]:
    """Status and body of a GET; 0 where nobody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=seconds) as got:
            return int(got.status), got.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


class Running:
    """A server of this test. `log` is what it said."""

    def __init__(self, argv: Sequence[str], log: Path, url: str, env: Mapping[str, str] | None = None) -> None:
        self.argv, self.log, self.url = list(argv), log, url
        self._env = {**os.environ, **(env or {})}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as out:
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, path: str, *statuses: int, key: str = "", seconds: float = START_SECONDS) -> None:
        """Until `path` answers with one of `statuses` (200)."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if answer(self.url + path, key)[0] in (statuses or (200,)):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"{self.argv[:3]} is not up (exit {self.process.poll()}):\n{self.said()[-3000:]}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def again(self) -> None:
        """Start it anew, as a supervisor would."""
        self.end()
        self.process = self._start()

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """SIGCONT, SIGTERM, and after ten seconds SIGKILL, to the process group that this made."""
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            if number is signal.SIGCONT:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                break
        self.signal(signal.SIGKILL)  # what it started and left
        self.process.wait()
