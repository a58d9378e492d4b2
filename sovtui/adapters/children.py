"""Programs started here: in a session of their own, and nothing that they start stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

Started = TypeVar("Started")
_END_SECONDS = 1.0
_undoing: set[asyncio.Task[None]] = set()


async def begun(start: Coroutine[Any, Any, Started], unwanted: Callable[[Started], Awaitable[None]]) -> Started:
    """Wait for a start. Cancelled meanwhile, what was started is given to `unwanted`, and that is waited for.

    asyncio, cancelled in the middle of a start, ends the child alone and then waits for whoever holds its pipes:
    a child of that child, for as long as it lives.
    """
    starting = asyncio.ensure_future(start)

    async def undo() -> None:
        with contextlib.suppress(Exception):
            await unwanted(await starting)

    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        undoing = asyncio.create_task(undo())
        _undoing.add(undoing)
        undoing.add_done_callback(_undoing.discard)
        await asyncio.wait([undoing])  # cancelled once more, it goes on by itself
        raise


async def start(
    argv: Sequence[str], *, stdin: int, stdout: int, stderr: int, env: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """A program in a session of its own. Raises what `subprocess` does; a cancel leaves nothing behind."""
    return await begun(
        asyncio.create_subprocess_exec(*argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True), end
    )


def kill(process: asyncio.subprocess.Process) -> None:
    """End it with everything in its session, now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def end(process: asyncio.subprocess.Process) -> None:
    """`kill`, and wait a moment: what has left the session may hold the pipes for as long as it likes."""
    kill(process)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    process._transport.close()  # type: ignore[attr-defined]  # else the end of a pipe waits for its end
