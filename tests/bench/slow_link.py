"""A TCP proxy that delivers every byte late: a link with a round trip of one's choice. Hides packet loss, unlike a real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.integration.operator import Operator

NEAR_SECONDS, FAR_SECONDS = 0.08, 0.48
"""Two round trips. What the machines need is the same over both, so the difference counts the round trips."""


def round_trips(near_seconds: float, far_seconds: float) -> float:
    """How many, from what the same thing took over both."""
    return (far_seconds - near_seconds) / (FAR_SECONDS - NEAR_SECONDS)


@contextlib.asynccontextmanager
async def slow_login(operator: Operator, round_trip_seconds: float) -> AsyncIterator[Path]:
    """The operator's ssh reaches the box over a slow link. Gives the directory with its files."""
    async with slow_link(operator.box.address, 22, round_trip_seconds) as port:
        ssh = operator.home / ".ssh"
        config = f"Host testbox\n HostName 127.0.0.1\n Port {port}\n User ops\n HostKeyAlias {operator.box.address}\n"
        (ssh / "config").write_text(config + f" IdentityFile {ssh / 'id_ed25519'}\n IdentitiesOnly yes\n")
        yield ssh


@contextlib.asynccontextmanager
async def slow_link(
    address: str, port: int, round_trip_seconds: float, passed: Callable[[bool, int], None] = lambda up, size: None
) -> AsyncIterator[int]:
    """The loopback port that leads to `address:port`, half the round trip late each way.

    `passed` hears of all bytes: whether they go up, to the address, and how many.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)

        task = asyncio.create_task(deliver())
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                passed(up, len(data))
                queue.put_nowait((loop.time() + round_trip_seconds / 2, data))
        queue.put_nowait((loop.time() + round_trip_seconds / 2, b""))
        await asyncio.gather(task, return_exceptions=True)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(address, port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, far_writer, True), pump(far_reader, writer, False))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
