"""From a key press to the first stop command on the box, in round trips of the link: `python -m tests.bench --only press`.

Boots a box and puts a delay in front of its sshd, once 80 ms of round trip and once 480 ms. What the machines need is the same in
both, so the difference counts the round trips, however busy this machine is. Warm is the control room, which keeps a process waiting
on the box; cold is a headless command that has just connected.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from datetime import datetime
from pathlib import Path

from sovtui.actions.spec import Wish
from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from tests.bench.row import Row
from tests.bench.slow_link import FAR_SECONDS, NEAR_SECONDS, round_trips, slow_login
from tests.box.box import boot, why_not
from tests.integration.operator import CONFIG, Operator

REPEATS = 3
BAR_ROUND_TRIPS = 2.0
FIGURE = "key press to the first stop command on the box"
BAR = f"<= {BAR_ROUND_TRIPS:g} round trips"


async def measure(operator: Operator, warm: bool, round_trip_seconds: float) -> float:
    """Seconds from the press to the step `stop`, by the box's clock, which is this machine's."""
    async with slow_login(operator, round_trip_seconds):
        hub = build_hub(loads(CONFIG), interactive=warm)
        await hub.start()
        try:
            await hub.settle(30)
            await asyncio.sleep(3)
            plan = hub.plan("switch", Wish("testbox", "mistral"))
            pressed = datetime.now().astimezone()
            await hub.execute(plan)
        finally:
            await hub.aclose()
    steps = [x for x in operator.newest_receipt() if x["t"] == "step" and x["state"] == "running"]
    stop = next(x for x in steps if x["name"] == "stop")
    return _since(pressed, stop["at"])


def _since(pressed: datetime, at: str) -> float:
    return round((datetime.fromisoformat(at) - pressed).total_seconds(), 3)


def rows() -> list[Row]:
    """Boots a box; what is missing for one is said in the row."""
    if reason := why_not():
        return [Row("press", FIGURE, BAR, f"not measured: {reason}", None)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        box = boot()
        try:
            operator = Operator.at(box, Path(folder))
            os.environ["HOME"] = str(operator.home)
            for warm in (True, False):
                took: dict[float, list[float]] = {NEAR_SECONDS: [], FAR_SECONDS: []}
                for round_trip in (NEAR_SECONDS, FAR_SECONDS) * REPEATS:
                    operator.box.ssh_config(operator.home / ".ssh" / "config")
                    operator.ok("switch", "qwen", "--yes")
                    took[round_trip].append(asyncio.run(measure(operator, warm, round_trip)))
                near, far = (statistics.median(took[x]) for x in (NEAR_SECONDS, FAR_SECONDS))
                trips = round_trips(near, far)
                measured = f"{trips:.2f} round trips; {near:.2f} s at 80 ms, {far:.2f} s at 480 ms"
                details = {"warm": warm, "round_trips": trips, "near_s": took[NEAR_SECONDS], "far_s": took[FAR_SECONDS]}
                if warm:
                    found.append(Row("press", FIGURE, BAR, measured, trips <= BAR_ROUND_TRIPS, details))
                else:
                    found.append(Row("press", "the same from a headless command, just connected", "", measured, None, details))
        finally:
            box.down()
    return found
