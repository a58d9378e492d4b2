"""What steady watching costs the link and the box: one box with three engines and forty units, at 1 Hz.

Bytes are those of the ssh connection's TCP stream, both ways, counted by a proxy in front of sshd; no headers of TCP and IP, and no
journal that grows. The box of the bytes is the pretended one of `tests.bench.remote`. The probe's processor time, what it starts
included, is measured there too, and in a booted box with its real systemd where one can be booted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.remote import family, remote
from tests.bench.row import Row
from tests.bench.slow_link import slow_link
from tests.bench.terminal import Terminal
from tests.box.box import boot, why_not

ENGINES = 3
BYTES_BAR = 700.0
PROBE_BAR_PERCENT = 1.0
SETTLE_SECONDS = 20.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Meter:
    """Bytes so far."""

    port: int = 0
    up: int = 0
    down: int = 0

    def passed(self, up: bool, size: int) -> None:
        if up:
            self.up += size
        else:
            self.down += size


@contextlib.contextmanager
def metered(port: int) -> Iterator[Meter]:
    """A loopback port that leads to `port`, at once, and counts."""
    meter, ready, end = Meter(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with slow_link("127.0.0.1", port, 0.0, meter.passed) as meter.port:
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield meter
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(5)


def measure(seconds: float) -> list[Row]:
    """The bar is for what is steady: services and figures that stay as they are; what moves comes on top."""
    return [_bytes_row(seconds, still=True), _bytes_row(seconds, still=False), _in_a_box(seconds)]


def _bytes_row(seconds: float, *, still: bool) -> Row:
    with remote(engines=ENGINES, still=still) as box, metered(box.port) as meter:
        box.log_rate(0)
        box.through(meter.port)
        with Terminal.python(["-m", "sovtui"], box.env) as terminal:
            terminal.wait(b"link up", 30)
            terminal.wait(b"bench-model", 30)
            time.sleep(SETTLE_SECONDS)
            up, down, used, began = meter.up, meter.down, probe_seconds(box.sshd.pid), time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            up, down, used = meter.up - up, meter.down - down, probe_seconds(box.sshd.pid) - used
    total = (up + down) / took
    probe = f"the probe takes {used / took * 100:.2f} % of a core there"
    return Row(
        "wire",
        f"bytes over the link, one box, {ENGINES} engines, 40 units at 1 Hz, scraped every 5 s, "
        + ("steady" if still else "every figure moving"),
        f"<= {BYTES_BAR:.0f} B/s" if still else "",
        f"{total:.0f} B/s ({up / took:.0f} up, {down / took:.0f} down); {probe}",
        total <= BYTES_BAR if still else None,
        {"up_bytes": up, "down_bytes": down, "probe_cpu_s": used, "seconds": took},
    )


def _in_a_box(seconds: float) -> Row:
    """The same in a booted box: its own systemd, its own units, 40 of them watched."""
    figure = "processor of the probe in a booted box, 40 units of its systemd"
    bar = f"<= {PROBE_BAR_PERCENT:.0f} % of one core"
    if reason := why_not():
        return Row("wire", figure, bar, f"not measured: {reason}", None)
    with tempfile.TemporaryDirectory() as folder:
        box = boot()
        try:
            listed = box.root(
                "systemctl list-units --all --plain --no-legend --type=service | awk '{print $1}' | head -40"
            ).stdout
            home = box.home(Path(folder))
            config = home / ".config" / "sovtui" / "config.toml"
            config.parent.mkdir(parents=True)
            watched = ", ".join(f'"{name}"' for name in listed.split())
            config.write_text(f'[host.testbox]\nlink = "ssh"\naddress = "testbox"\nwatch = [{watched}]\n')
            words = [sys.executable, "-m", "sovtui", "status", "--watch"]
            env = {**os.environ, "HOME": str(home)}
            watcher = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                time.sleep(SETTLE_SECONDS)
                used, began = probe_seconds(box.pid), time.monotonic()
                time.sleep(seconds)
                took = time.monotonic() - began
                used = probe_seconds(box.pid) - used
            finally:
                watcher.terminate()
                watcher.wait(10)
        finally:
            box.down()
    percent = used / took * 100
    details = {"probe_cpu_s": used, "seconds": took, "units": len(listed.split())}
    return Row("wire", figure, bar, f"{percent:.2f} %, {len(listed.split())} units", percent <= PROBE_BAR_PERCENT, details)


def probe_seconds(of: int) -> float:
    """Processor time so far of the probes among a process' descendants, and of what they have started and waited for.

    Raises RuntimeError if there is none: nothing would look like nothing used.
    """
    total, found = 0, False
    for pid in family(of):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if words[-1] == b"probe" and b"-c" in words and not words[0].endswith(b"sh"):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(int(field) for field in fields[11:15])
                found = True
    if not found:
        raise RuntimeError("no probe runs there")
    return total / _TICKS_PER_SECOND
