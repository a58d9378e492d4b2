"""A box reached over a slow link, and what ssh itself takes over it. Hides packet loss, unlike a real one."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.faults.link.proxy import Proxy
from tests.integration.operator import Operator

NEAR_SECONDS, FAR_SECONDS = 0.08, 0.48
"""Two round trips. What the machines need is the same over both, so the difference counts the round trips."""


def round_trips(near_seconds: float, far_seconds: float) -> float:
    """How many, from what the same thing took over both."""
    return (far_seconds - near_seconds) / (FAR_SECONDS - NEAR_SECONDS)


def lead_through(operator: Operator, port: int) -> Path:
    """The operator's ssh reaches the box through this loopback port. Gives the directory with its files."""
    ssh = operator.home / ".ssh"
    config = f"Host testbox\n HostName 127.0.0.1\n Port {port}\n User ops\n HostKeyAlias {operator.box.address}\n"
    (ssh / "config").write_text(config + f" IdentityFile {ssh / 'id_ed25519'}\n IdentitiesOnly yes\n")
    return ssh


async def ssh_true(ssh: Path) -> float:
    """Seconds of `ssh HOST true`, by OpenSSH with the files of this directory."""
    plain = ["ssh", "-F", str(ssh / "config"), "-o", f"UserKnownHostsFile={ssh / 'known_hosts'}", "testbox", "true"]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*plain, stdin=subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit("ssh itself does not get there")
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def slow_login(operator: Operator, round_trip_seconds: float) -> AsyncIterator[Path]:
    """The operator's ssh reaches the box over a slow link. Gives the directory with its files."""
    async with slow_link(operator.box.address, 22, round_trip_seconds) as port:
        yield lead_through(operator, port)


@contextlib.asynccontextmanager
async def slow_link(
    address: str, port: int, round_trip_seconds: float, passed: Callable[[bool, int], None] = lambda up, size: None
) -> AsyncIterator[int]:
    """The loopback port that leads to `address:port`, half the round trip late each way.

    `passed` hears of all bytes: whether they go up, to the address, and how many.
    """
    proxy = Proxy(address, port, passed)
    proxy.way.latency_seconds = round_trip_seconds / 2
    await proxy.open()
    try:
        yield proxy.port
    finally:
        await proxy.close()
