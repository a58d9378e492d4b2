"""Processor time and memory at 1 Hz with 40 services and 20 series, every figure through one ssh connection."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import pairwise

from tests.bench.remote import remote
from tests.bench.row import Row
from tests.bench.terminal import Terminal, reference_seconds

CPU_BAR_PERCENT = 1.5
RESIDENT_BAR_MIB = 70.0
FLAT_BAR_MIB = 2.0
SETTLE_SECONDS = 20.0
WINDOW_SECONDS = 20.0
STEADY_FROM_SECONDS = 600.0
"""Memory is judged flat from here on, where the run is long enough; else over its second half."""


def measure(seconds: float) -> list[Row]:
    """Watch for this long after everything has answered."""
    with remote() as box, Terminal.python(["-m", "sovtui"], box.env) as terminal:
        terminal.wait(b"link up", 30)
        terminal.wait(b"bench-model", 30)
        time.sleep(SETTLE_SECONDS)
        began = time.monotonic()
        reference = [reference_seconds() for _ in range(3)]
        samples: list[tuple[float, float, float]] = []
        """(seconds, MiB, processor seconds)"""
        bytes_before = len(terminal.output())
        while True:
            at = time.monotonic() - began
            samples.append((at, terminal.resident_mib(), terminal.cpu_seconds()))
            if at >= seconds:
                break
            time.sleep(min(WINDOW_SECONDS, seconds - at + 0.01))
        reference += [reference_seconds() for _ in range(3)]
        sent = len(terminal.output()) - bytes_before
    took = samples[-1][0]
    windows = [(b[2] - a[2]) / (b[0] - a[0]) * 100 for a, b in pairwise(samples)]
    percent = (samples[-1][2] - samples[0][2]) / took * 100
    steady = [(at, mib) for at, mib, _ in samples if at >= min(STEADY_FROM_SECONDS, took / 2)]
    values = [mib for _, mib in steady]
    spread = max(values) - min(values)
    slope = _slope(steady) * 3600
    details = {
        "samples": [{"at_s": round(at, 1), "resident_mib": mib, "cpu_s": cpu} for at, mib, cpu in samples],
        "cpu_percent_per_window": windows,
        "cpu_percent": percent,
        "reference_cpu_s": reference,
        "resident_slope_mib_per_hour": slope,
        "resident_spread_mib": spread,
        "bytes_per_second": sent / took,
        "seconds": took,
    }
    last = values[-1]
    return [
        Row(
            "effort",
            "processor at 1 Hz, 40 services, 20 series, over ssh",
            f"<= {CPU_BAR_PERCENT} % of one core",
            f"{percent:.2f} % over {took:.0f} s; importing Textual took {statistics.median(reference) * 1000:.0f} ms meanwhile",
            percent <= CPU_BAR_PERCENT,
            details,
        ),
        Row(
            "effort",
            "resident memory, ssh link up",
            f"<= {RESIDENT_BAR_MIB:.0f} MiB",
            f"{last:.1f} MiB after {(took + SETTLE_SECONDS) / 60:.0f} min",
            last <= RESIDENT_BAR_MIB,
        ),
        Row(
            "effort",
            f"the same, flat from minute {steady[0][0] / 60:.0f} on",
            f"within {2 * FLAT_BAR_MIB:.0f} MiB",
            f"{spread:.1f} MiB apart, {slope:+.1f} MiB/h",
            spread <= 2 * FLAT_BAR_MIB if took >= 2 * STEADY_FROM_SECONDS else None,
        ),
        Row("effort", "bytes to the terminal meanwhile, every figure moving", "", f"{sent / took:.0f} B/s", None),
    ]


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares, per second."""
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression([at for at, _ in points], [mib for _, mib in points]).slope
