"""Servers of tests on loopback, which leave nothing open behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from ssl import SSLContext

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handle: Handler, address: str = "127.0.0.1", *, ssl: SSLContext | None = None) -> AsyncIterator[int]:
    """Its port. At the end every connection is cut, and what answers there has ended.

    `asyncio.Server` waits for neither: what a test leaves to its closed loop, the collector complains of in some later test.
    """
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.append(writer)
        try:
            await handle(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, address, 0, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
        await server.wait_closed()


async def close_pipes(process: asyncio.subprocess.Process) -> int:
    """Close its pipes and wait for its end, which must be near: its exit status.

    `wait` alone waits for the end of pipes that nobody reads any more: for ever, if there is more in them than fits.
    """
    process._transport.close()  # type: ignore[attr-defined]
    status = await process.wait()
    for _ in range(3):  # the pipes are closed by calls that wait for their turn
        await asyncio.sleep(0)
    return status
