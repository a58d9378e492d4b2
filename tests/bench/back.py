"""From a link that is back to figures that are live again, beside `ssh HOST true` over the same link: `python -m tests.bench --only back`.

Boots a box and puts a delay in front of its sshd; then the way is cut, nobody listens for a while, and it is there again.
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
from sovtui.core.reading import Status
from sovtui.runtime.control import Control
from tests.bench.row import Row
from tests.bench.slow_link import NEAR_SECONDS, lead_through, ssh_true
from tests.box.box import boot, why_not
from tests.faults.link.lane import BACK_OF_SSH, BACK_SECONDS, FIGURE
from tests.faults.link.proxy import Proxy
from tests.integration.operator import CONFIG, Operator

REPEATS = 7
AWAY_SECONDS = 4.0
NAME = "link back to live figures at 80 ms, against ssh HOST true"


async def measure(operator: Operator) -> list[tuple[float, float]]:
    """Seconds of `ssh HOST true` and of the way back, so many times."""
    proxy = Proxy(operator.box.address)
    proxy.way.latency_seconds = NEAR_SECONDS / 2
    await proxy.open()
    ssh = lead_through(operator, proxy.port)
    hub = build_hub(loads(CONFIG), interactive=True)
    await hub.start()
    took = []
    try:
        await _live(hub, 0.0)
        for _ in range(REPEATS):
            await asyncio.sleep(6.0)  # the link has stood for a while
            proxy.refuse()
            proxy.cut()
            await asyncio.sleep(AWAY_SECONDS)
            await proxy.open()
            back = await _live(hub, time.time())
            took.append((await ssh_true(ssh), back))
    finally:
        await hub.aclose()
        await proxy.close()
    return took


async def _live(hub: Control, since: float) -> float:
    """Seconds until the link is up and a figure that was read after `since` is there."""
    began = time.monotonic()
    async with asyncio.timeout(60):
        while True:
            host = hub.state.hosts["testbox"]
            reading = host.reading(*FIGURE)
            young = reading.at is not None and reading.at.timestamp() > since
            if host.link.phase is LinkPhase.UP and reading.status is Status.FRESH and young:
                return time.monotonic() - began
            await asyncio.sleep(0.01)


def rows() -> list[Row]:
    """Boots a box; what is missing for one is said in the row."""
    bar = f"{BACK_SECONDS:g} s + {BACK_OF_SSH}x"
    if reason := why_not():
        return [Row("back", NAME, bar, f"not measured: {reason}", None)]
    with tempfile.TemporaryDirectory() as folder:
        box = boot()
        try:
            operator = Operator.at(box, Path(folder))
            os.environ["HOME"] = str(operator.home)
            took = asyncio.run(measure(operator))
        finally:
            box.down()
    ssh, back = (statistics.median(column) for column in zip(*took, strict=True))
    worst = max(came - BACK_OF_SSH * plain for plain, came in took)
    told = f"{back:.2f} s, ssh {ssh:.2f} s; worst {worst:+.2f} s beside 1.3x"
    return [Row("back", NAME, bar, told, back <= BACK_SECONDS + BACK_OF_SSH * ssh, {"ssh_s, back_s": took})]
