"""Bytes to the terminal: the demo's steady box, and a state in which nothing changes but the time."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.row import Row
from tests.bench.terminal import Terminal, environment

BAR = 1000.0
SETTLE_SECONDS = 20.0
UNCHANGED_SECONDS = 30


def measure(seconds: float) -> list[Row]:
    with TemporaryDirectory() as folder:
        env = environment(Path(folder))
        with Terminal.python(["-m", "sovtui", "demo", "spark"], env) as terminal:
            steady = _per_second(terminal, seconds)
        with Terminal.python(["-m", "tests.bench.unchanged"], env) as terminal:
            time.sleep(SETTLE_SECONDS)  # ages below a minute count seconds: until then they do change
            unchanged = _per_second(terminal, UNCHANGED_SECONDS)
    mean = statistics.fmean(steady)
    silent = sum(1 for count in unchanged if count == 0)
    return [
        Row(
            "quiet",
            "bytes to the terminal, 120 x 40, all panes live at 1 Hz",
            f"<= {BAR:,.0f} B/s",
            f"{mean:.0f} B/s (median second {statistics.median(steady):.0f})",
            mean <= BAR,
            {"bytes_per_second": steady},
        ),
        Row(
            "quiet",
            "the same while nothing changes",
            "0 B between ticks",
            f"{statistics.median(unchanged):.0f} B; {silent} of {len(unchanged)} s silent, {sum(unchanged)} B in all",
            statistics.median(unchanged) == 0 and silent >= 0.9 * len(unchanged),
            {"bytes_per_second": unchanged},
        ),
    ]


def _per_second(terminal: Terminal, seconds: float) -> list[int]:
    terminal.wait("╭".encode())
    time.sleep(SETTLE_SECONDS)
    began = time.monotonic()
    time.sleep(seconds)
    return [len(terminal.output(began + second, began + second + 1)) for second in range(int(seconds))]
