"""A trivial program beside the screen, which shows what the machine itself costs at that moment: `python -m tests.hostile.pulse`.

An event loop that answers each byte with a byte, after about as much work as a key needs.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

WORK = 200_000
"""Turns of a loop: some milliseconds."""
BUSY_SECONDS = 0.015
"""So much longer than on its best time: the machine has other work."""


class Pulse:
    """`beat` when a key is pressed; `waited` says how long the longest took since it was last asked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.pulse"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self._sent: deque[float] = deque()
        self._longest = 0.0
        self.best = float("inf")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def beat(self) -> None:
        assert self._process.stdin is not None
        self._sent.append(time.monotonic())
        os.write(self._process.stdin.fileno(), b".")

    def _read(self) -> None:
        assert self._process.stdout is not None
        while os.read(self._process.stdout.fileno(), 1):
            took = time.monotonic() - self._sent.popleft()
            self._longest, self.best = max(self._longest, took), min(self.best, took)

    def waited(self) -> float:
        found, self._longest = self._longest, 0.0
        return found

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join(60)
        self._process.stdout.close()


async def _answer() -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def answer() -> None:
        data = os.read(0, 64)
        if not data:
            loop.remove_reader(0)
            over.set_result(None)
        for _ in data:
            for _ in range(WORK):
                pass
            os.write(1, b".")

    loop.add_reader(0, answer)
    await over


if __name__ == "__main__":
    asyncio.run(_answer())
