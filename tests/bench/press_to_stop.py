"""How long from a key press to the first stop command on the box, on a slow link: `python -m tests.bench.press_to_stop`.

Boots a box, puts 80 ms of round trip in front of its sshd, and compares a warm start with a cold one.
"""

from __future__ import annotations

import asyncio
import json
import os
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

ROUND_TRIP_SECONDS = 0.08


async def measure(operator: Operator, warm: bool) -> float:
    async with slow_link(operator.box.address, 22, ROUND_TRIP_SECONDS) as port:
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
    begin = next(x for x in operator.newest_receipt() if x["t"] == "begin")
    stop = next(x for x in steps if x["name"] == "stop")
    print(json.dumps({"warm": warm, "begin_s": _since(pressed, begin["at"]), "stop_s": _since(pressed, stop["at"])}))
    return _since(pressed, stop["at"])


def _since(pressed: datetime, at: str) -> float:
    return round((datetime.fromisoformat(at) - pressed).total_seconds(), 3)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        box = boot()
        try:
            operator = Operator.at(box, Path(folder))
            os.environ["HOME"] = str(operator.home)
            for warm in (False, True, False, True):
                operator.ok("switch", "qwen", "--yes")
                asyncio.run(measure(operator, warm))
                operator.box.ssh_config(operator.home / ".ssh" / "config")
        finally:
            box.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
