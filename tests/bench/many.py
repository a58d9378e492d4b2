"""Many boxes in one process: an ssh server that answers the on-box verbs as boxes do that are busy: `python -m tests.bench.many`.

Takes FOLDER (host_key, authorized_keys), how many boxes and services per box. Prints its port, then `all` once every box has a probe.
Real: ssh, compression, the lines and when they come (`onbox.probe`: what changed each second, a beat every five). Not real: the box.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh

from sovtui.onbox.probe import BEAT

MOVING = 3
"""Services per box and second whose memory changes so much that the probe tells it."""
INTERVAL_SECONDS = 1.0


def host(number: int) -> str:
    return f"box{number:02d}"


def service(number: int) -> str:
    return f"unit-{number:03d}.service"


class Boxes:
    """All of them: nothing is kept per box but its step."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._probed = 0

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        verb = [word.strip("'") for word in (process.command or "").split()[-1:]]  # it may be quoted once more
        try:
            await process.stdin.readexactly(int(await process.stdin.readexactly(8)))
            request = json.loads(await process.stdin.readline() or b"{}")
            match verb:
                case ["probe"]:
                    await self._probe(process, request)
                case ["logs"]:
                    await self._log(process)
                case _:
                    pass  # no receipts, no action
        except (asyncio.IncompleteReadError, asyncssh.Error, OSError, ValueError):
            pass
        process.exit(0)

    async def _probe(self, process: asyncssh.SSHServerProcess[bytes], request: dict[str, Any]) -> None:
        names = request["services"]
        self._probed += 1
        if self._probed == self._count:
            print("all", flush=True)
        interval = float(request.get("interval", INTERVAL_SECONDS))
        lines = told(names, random.Random(self._probed), interval)
        due = time.monotonic() + random.random() * interval
        while not process.stdin.at_eof() and not process.is_closing():
            process.stdout.write(b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in next(lines)))
            due += interval
            await asyncio.sleep(due - time.monotonic())

    async def _log(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        while not process.is_closing():
            line = {"t": "log", "at": time.time(), "text": f"served another request at {time.time():.0f}", "priority": 6}
            process.stdout.write(json.dumps(line).encode() + b"\n")
            await asyncio.sleep(1)


def told(names: list[str], chance: random.Random, interval: float) -> Iterator[list[dict[str, Any]]]:
    """What the probe of one box says at each of its steps."""

    def one(number: int, step: int) -> dict[str, Any]:
        return {
            **{"name": names[number], "active": "active", "sub": "running", "result": "success", "since": 1.79e9},
            **{"restarts": 0, "pid": 1000 + number, "memory": (200 + 40 * (step % 5) + number) << 20, "load": "loaded"},
            **{"description": f"Service number {number}", "status": 0, "next": None},
        }

    step, beaten = 0, 0.0
    while True:
        moving = range(len(names)) if step == 0 else {(step * MOVING + n) % len(names) for n in range(MOVING)}
        total, used = 128 << 30, int((60 + 4 * chance.random()) * (1 << 30))
        memory = {"total": total, "available": total - used, "cached": 20 << 30, "droppable": 15 << 30, "buffers": 1 << 30}
        lines: list[dict[str, Any]] = [
            {"t": "services", "services": [one(number, step) for number in moving]},
            {"t": "memory", **memory, "shared": 1 << 28, "swap_total": 8 << 30, "swap_used": 0},
            {"t": "cpu", "use_ratio": round(0.2 + 0.3 * chance.random(), 3)},
        ]
        beaten += interval
        if beaten >= BEAT:
            beaten = 0.0
            lines.append({"t": "beat", "now": time.time()})
        yield lines
        step += 1


async def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    boxes = Boxes(count)
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        process_factory=boxes.serve,
        encoding=None,
        login_timeout=300,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
