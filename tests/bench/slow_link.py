"""A TCP proxy that delivers every byte late: a link with a round trip of one's choice. Hides packet loss, unlike a real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def slow_link(address: str, port: int, round_trip_seconds: float) -> AsyncIterator[int]:
    """The loopback port that leads to `address:port`, half the round trip late each way."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                queue.put_nowait((loop.time() + round_trip_seconds / 2, data))
        queue.put_nowait((loop.time() + round_trip_seconds / 2, b""))
        await asyncio.gather(task, return_exceptions=True)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(address, port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
