"""From start to the first remote figure, beside `ssh HOST true` over the same link: `python -m tests.bench --only first`.

Boots a box and puts a delay in front of its sshd. The time after the handshake is counted in round trips, as the difference of two
delays: what the machines need is the same in both. Steady traffic is counted at the same place, where all bytes pass.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from sovtui.core.model import LinkPhase
from sovtui.core.state import Host, State
from tests.bench.row import Row
from tests.bench.slow_link import FAR_SECONDS, NEAR_SECONDS, round_trips, slow_login, ssh_true
from tests.box.box import boot, why_not
from tests.integration.operator import CONFIG, Operator

REPEATS = 5
BAR_OF_SSH, BAR_ROUND_TRIPS = 1.3, 2.0
FIRST_FIGURE = "start to the first remote figure at 80 ms, against ssh HOST true"
FIRST = ("memory.total_bytes", "")


async def measure(operator: Operator, round_trip_seconds: float) -> tuple[float, float, float]:
    """Seconds: `ssh HOST true`; from start to the first figure; of that, after the link was up."""
    async with slow_login(operator, round_trip_seconds) as ssh:
        by_ssh = await ssh_true(ssh)
        up: list[float] = []
        figure: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        def look(state: State) -> None:
            host: Host = state.hosts["testbox"]
            if host.link.phase is LinkPhase.UP and not up:
                up.append(time.monotonic())
            if FIRST in host.figures and not figure.done():
                figure.set_result(time.monotonic())

        began = time.monotonic()
        hub = build_hub(loads(CONFIG), interactive=True)
        hub.subscribe(lambda state: state, look)
        await hub.start()
        try:
            seen = await asyncio.wait_for(figure, 60)
        finally:
            await hub.aclose()
    return by_ssh, seen - began, seen - up[0]


def rows() -> list[Row]:
    """Boots a box; what is missing for one is said in the row."""
    if reason := why_not():
        return [Row("first", FIRST_FIGURE, f"{BAR_OF_SSH}x", f"not measured: {reason}", None)]
    took: dict[float, list[tuple[float, float, float]]] = {NEAR_SECONDS: [], FAR_SECONDS: []}
    with tempfile.TemporaryDirectory() as folder:
        box = boot()
        try:
            operator = Operator.at(box, Path(folder))
            os.environ["HOME"] = str(operator.home)
            for round_trip in (NEAR_SECONDS, FAR_SECONDS) * REPEATS:
                took[round_trip].append(asyncio.run(measure(operator, round_trip)))
        finally:
            box.down()
    ssh, first, after = (statistics.median(column) for column in zip(*took[NEAR_SECONDS], strict=True))
    far = statistics.median(x[2] for x in took[FAR_SECONDS])
    trips = round_trips(after, far)
    told = f"{first / ssh:.2f}x; {first:.2f} s, ssh {ssh:.2f} s"
    counted = f"{trips:.2f} round trips; {after:.2f} s at 80 ms, {far:.2f} s at 480 ms"
    details = {"near_s": took[NEAR_SECONDS], "far_s": took[FAR_SECONDS]}
    return [
        Row("first", FIRST_FIGURE, f"{BAR_OF_SSH}x", told, first / ssh <= BAR_OF_SSH, details),
        # the median of five still moves by a tenth of a round trip
        Row(
            "first",
            "first figures after the handshake",
            f"{BAR_ROUND_TRIPS:g}",
            counted,
            round(trips, 1) <= BAR_ROUND_TRIPS,
            details,
        ),
    ]
