"""How much of what the room costs is the libraries' that it is built on: all run in the same minute, beside each other."""

from __future__ import annotations

import contextlib
import time

from tests.bench.remote import remote
from tests.bench.row import Row
from tests.bench.terminal import Terminal

SETTLE_SECONDS = 20.0
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("an empty application of Textual", ()),
    ("the same, and the other libraries loaded", ("libraries",)),
    ("the same, an ssh connection, two lines a second", ("libraries", "link")),
    ("the same, a question a second by httpx", ("libraries", "link", "ask")),
    ("the same, as much plain text repainted as the room does", ("libraries", "link", "ask", "paint")),
)


def measure(seconds: float) -> list[Row]:
    """Each step's processor time and memory, and the room's with what is its own."""
    with remote() as box, contextlib.ExitStack() as stack:
        env = {**box.env, "BENCH_WEB": f"http://127.0.0.1:{box.web}"}
        programs = [["-m", "tests.bench.nothing", *words] for _, words in STEPS] + [["-m", "sovtui"]]
        terminals = [stack.enter_context(Terminal.python(program, env)) for program in programs]
        for terminal in terminals[:-1]:
            terminal.wait(b"ready", 60)
        terminals[-1].wait(b"bench-model", 60)
        time.sleep(SETTLE_SECONDS)
        began, before = time.monotonic(), [terminal.cpu_seconds() for terminal in terminals]
        time.sleep(seconds)
        took = time.monotonic() - began
        percents = [(t.cpu_seconds() - b) / took * 100 for t, b in zip(terminals, before, strict=True)]
        mibs = [terminal.resident_mib() for terminal in terminals]
    names = [name for name, _ in STEPS] + ["the room"]
    rows = [
        Row("floor", name, "", f"{percent:.2f} % of one core, {mib:.1f} MiB", None, {"cpu_percent": percent, "resident_mib": mib})
        for name, percent, mib in zip(names, percents, mibs, strict=True)
    ]
    own = f"{percents[-1] - percents[-2]:+.2f} % of one core, {mibs[-1] - mibs[-2]:+.1f} MiB"
    return [*rows, Row("floor", "what the room has on top of the last of these", "", own, None)]
