"""From a key press to the first byte on the terminal: while the link is dead, and while a thousand log lines a second come."""

from __future__ import annotations

import re
import statistics
import time

from tests.bench.remote import Remote, remote
from tests.bench.row import Row
from tests.bench.terminal import Terminal

DEAD_BAR_SECONDS = 0.020
FLOOD_BAR_SECONDS = 0.050
LINES_PER_SECOND = 1000
PRESSES = 40
APART_SECONDS = 0.21
"""Not a divisor of a second: presses meet the ticks at every phase."""


def measure() -> list[Row]:
    with remote() as box:
        return [_dead(box), *_flood(box)]


def _open(box: Remote) -> Terminal:
    terminal = Terminal.python(["-m", "sovtui"], box.env)
    terminal.wait(b"link up", 30)
    terminal.wait(b"bench-model", 30)
    time.sleep(3)
    return terminal


def _dead(box: Remote) -> Row:
    """Tab moves the focus: two frames are drawn anew. The link dies unnoticed first, then it is known to be down."""
    with _open(box) as terminal:
        box.freeze()
        try:
            times, cpu = _presses(terminal, b"\t")
        finally:
            box.thaw()
        noticed = b"link down" in terminal.output() or b"link connecting" in terminal.output()
    middle, worst = statistics.median(times), max(times)
    return Row(
        "keys",
        "key press to visible reaction, dead link",
        f"<= {DEAD_BAR_SECONDS * 1000:.0f} ms",
        f"{middle * 1000:.1f} ms, worst of {len(times)} {worst * 1000:.0f} ms, processor {statistics.median(cpu) * 1000:.1f} ms"
        + ("" if noticed else "; the loss was never shown"),
        middle <= DEAD_BAR_SECONDS and noticed,
        {"reaction_s": times, "processor_s": cpu},
    )


def _flood(box: Remote) -> list[Row]:
    with _open(box) as terminal:
        terminal.press(b"l")  # the log in front
        terminal.press(b"\r")  # zoomed: it says how many lines it no longer keeps
        time.sleep(1)
        box.log_rate(LINES_PER_SECOND)
        began, before = time.monotonic(), terminal.cpu_seconds()
        time.sleep(4)
        times, _ = _presses(terminal, b"wp")
        took = time.monotonic() - began
        percent = (terminal.cpu_seconds() - before) / took * 100
        box.log_rate(0)
        time.sleep(2)
        told = re.findall(rb"(\d+) older lines", terminal.output(began))
    middle, worst = statistics.median(times), max(times)
    dropped = max((int(words) for words in told), default=0)
    came = took * LINES_PER_SECOND
    return [
        Row(
            "keys",
            f"the same, {LINES_PER_SECOND:,} log lines a second",
            f"<= {FLOOD_BAR_SECONDS * 1000:.0f} ms",
            f"{middle * 1000:.1f} ms, worst of {len(times)} {worst * 1000:.0f} ms",
            middle <= FLOOD_BAR_SECONDS,
            {"reaction_s": times, "cpu_percent": percent},
        ),
        Row(
            "keys",
            "lines dropped meanwhile are counted",
            "counted on the screen",
            f"{dropped} of about {came:.0f}; processor {percent:.0f} %",
            dropped > 0,
        ),
    ]


def _presses(terminal: Terminal, keys: bytes) -> tuple[list[float], list[float]]:
    """Seconds from each press to the next byte, and processor seconds until then. What nothing answers within a second counts as one."""
    times, cpu = [], []
    for number in range(PRESSES):
        used = terminal.running_seconds()
        at = terminal.press(keys[number % len(keys) :][:1])
        first = terminal.first_bytes(at, 1.0)
        cpu.append(terminal.running_seconds() - used)
        times.append(1.0 if first is None else first - at)
        time.sleep(APART_SECONDS)
    return times, cpu
