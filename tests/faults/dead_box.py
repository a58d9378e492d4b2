"""What a box did before it died, told by another machine's Prometheus: each minute of the last ten beside what was so.

python -m tests.faults.dead_box [--minutes N] [--picture FILE]

Boots a box and a management machine that watches it, lets the box do something every minute, opens the room, kills the box, and goes
back in the room minute by minute. Beside what the screen shows stand the unit's state as it was ordered and the memory that the
management machine's Prometheus holds for that moment. Exit 1 if the two differ anywhere.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.box.box import Box, boot, sweep, wait_for, why_not
from tests.integration.estate import operator_of, watched_pair
from tests.integration.operator import Terminal
from tests.integration.test_travel import moment

UNIT = "restartme.service"
EVERY_SECONDS = 50.0
"""No whole part of a minute, so that the minutes fall on both states."""
BLUR_SECONDS = 13.0
"""So near to a change the screen's step and the scrape's interval decide which of both is shown."""
MEMORY = "node_memory_MemAvailable_bytes"
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.dead_box", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=10, help="how far back it goes (10)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where the last screen is written, as text")
    args = parser.parse_args(argv)
    if reason := why_not():
        print(f"no test box: {reason}", file=sys.stderr)
        return 2
    sweep()
    with ExitStack() as stack:

        def make(name: str) -> Box:
            box = boot(hostname=name)
            stack.callback(box.down)
            return box

        spark, mgmt = watched_pair(make)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sovtui-dead-")))
        return drill(spark, mgmt, folder, args.minutes, args.picture)


def drill(spark: Box, mgmt: Box, folder: Path, minutes: int, picture: Path | None) -> int:
    changes = live(spark, minutes * 60 + 40)
    terminal = Terminal(operator_of(spark, mgmt, folder / "home"), folder, 120, 40)
    try:
        terminal.wait(r"restartme\S* +\w+")
        time.sleep(10)
        died = time.time()
        spark.down()
        terminal.wait(r"last known state", 90)
        print(f"killed; {time.time() - died:.0f} s later the room tells last known state")
        print(terminal.wait(r"HostSilent"))
        terminal.press("t")
        terminal.wait(r"THEN \d+:\d+:\d+")
        wrong = 0
        for minute in range(minutes + 1):
            wrong += not compare(terminal, mgmt, died, changes)
            if minute == minutes // 2:
                print(terminal.screen())
            before = moment(terminal.screen(), died)
            if minute < minutes:
                terminal.press("[")
                wait_for(lambda before=before: moment(terminal.screen(), died) < before, 60, "an earlier moment")  # type: ignore[misc]
        if picture:
            picture.write_text(terminal.screen())
        print(f"{minutes + 1} moments, {wrong} told wrongly")
        return 1 if wrong else 0
    finally:
        terminal.close()


def live(spark: Box, seconds: float) -> list[tuple[float, str]]:
    """Let the box do things for so long. Gives when its unit changed, and to what."""
    changes: list[tuple[float, str]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = "inactive" if changes and changes[-1][1] == "active" else "active"
        spark.systemctl("start" if state == "active" else "stop", UNIT)
        if len(changes) % 4 == 2:  # an engine takes memory, and gives it back
            spark.systemctl("start" if len(changes) % 8 == 2 else "stop", "vllm-qwen36.service")
        changes.append((time.time(), state))
        time.sleep(min(EVERY_SECONDS, max(0.0, end - time.monotonic())))
    return changes


def compare(terminal: Terminal, mgmt: Box, died: float, changes: list[tuple[float, str]]) -> bool:
    """What the screen shows of its moment beside what was so. Prints a line."""
    shown = moment(terminal.screen(), died)
    screen = terminal.wait(r"available +[\d.]+ [KMG]iB")
    state = next((state for at, state in reversed(changes) if at <= shown), "unknown")
    near = min(abs(at - shown) for at, _ in changes) < BLUR_SECONDS
    found = re.search(r"restartme\S* +(\w+)", screen)
    told = found.group(1) if found else "nothing"
    amount = re.search(r"available +([\d.]+) ([KMG]iB)", screen)
    told_bytes = float(amount.group(1)) * UNITS[amount.group(2)] if amount else 0.0
    rows = mgmt.query(f'{MEMORY}{{instance="spark:9100"}} @ {shown:.0f}')
    true_bytes = float(rows[0]["value"][1]) if rows else float("nan")
    right = (told == state or near) and abs(told_bytes - true_bytes) <= 0.03 * true_bytes
    print(
        f"{died - shown:6.0f} s before: {UNIT} {told} (was {state}{', changing' if near else ''}), "
        f"available {told_bytes / 2**30:.2f} GiB (was {true_bytes / 2**30:.2f})  {'' if right else 'WRONG'}"
    )
    return right


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
