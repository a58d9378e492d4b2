"""The command `tailscale`, where LocalAPI cannot be asked. Its exit status tells nothing: what it printed does."""

from __future__ import annotations

import asyncio

from sovtui.adapters import children
from sovtui.core.clean import clean
from sovtui.ports.errors import TimedOut, Unreachable

MAX_BYTES = 32 << 20
_NOBODY = "failed to connect to local tailscale"


class NotRunning(Unreachable):
    """The command is there and says that no daemon runs."""


async def run(argv: tuple[str, ...], seconds: float) -> tuple[str, str]:
    """Standard output and error, whatever the exit status. Raises `NotRunning`, `TimedOut`, `Unreachable`."""
    called = clean(" ".join(argv[:2]), 100)
    try:
        pipe = asyncio.subprocess.PIPE
        process = await children.start(argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise Unreachable(f"`{called}` cannot be run: {clean(str(error.strerror or error), 100)}") from None
    try:
        async with asyncio.timeout(seconds):
            out, errors = await process.communicate()
    except TimeoutError:
        raise TimedOut(f"`{called}` did not answer within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            await children.end(process)
    said = errors[:8192].decode("utf-8", "replace")
    if _NOBODY in said.lower():
        raise NotRunning(clean(said.strip(), 300))
    return out[:MAX_BYTES].decode("utf-8", "replace"), said
