"""From a key press to the first stop command on the box, in round trips of the link: `python -m tests.bench.press_to_stop`.

Boots a box and puts a delay in front of its sshd, once 80 ms of round trip and once 480 ms. What the machines need is the same in
both, so the difference counts the round trips, however busy this machine is. Warm is the control room, which keeps a process waiting
on the box; cold is a headless command that has just connected.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from sovtui.actions.spec import Wish
from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from tests.bench.slow_link import slow_link
from tests.box.box import boot
from tests.integration.operator import CONFIG, Operator

NEAR_SECONDS, FAR_SECONDS = 0.08, 0.48
REPEATS = 3
BAR_ROUND_TRIPS = 2.0


async def measure(operator: Operator, warm: bool, round_trip_seconds: float) -> float:
    """Seconds from the press to the step `stop`, by the box's clock, which is this machine's."""
    async with slow_link(operator.box.address, 22, round_trip_seconds) as port:
        ssh = operator.home / ".ssh"
        config = f"Host testbox\n HostName 127.0.0.1\n Port {port}\n User ops\n HostKeyAlias {operator.box.address}\n"
        (ssh / "config").write_text(config + f" IdentityFile {ssh / 'id_ed25519'}\n IdentitiesOnly yes\n")
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


def main() -> int:
    bad = False
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
                trips = (far - near) / (FAR_SECONDS - NEAR_SECONDS)
                bad = bad or (warm and trips > BAR_ROUND_TRIPS)
                how, bar = ("warm", f"bar {BAR_ROUND_TRIPS:g}") if warm else ("cold", "no bar: there is no key yet")
                print(f"{how}: {trips:.2f} round trips from the key to the first stop ({bar}); {near:.2f} s at 80 ms,"
                      f" {far:.2f} s at 480 ms, medians of {REPEATS}")  # fmt: skip
        finally:
            box.down()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
