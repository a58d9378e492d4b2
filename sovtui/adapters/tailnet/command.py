"""The command `tailscale`, where LocalAPI cannot be asked. Its exit status tells nothing: what it printed does."""

from __future__ import annotations

import asyncio
import contextlib

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
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise Unreachable(f"`{called}` cannot be run: {clean(str(error.strerror or error), 100)}") from None
    try:
        async with asyncio.timeout(seconds):
            out, errors = await process.communicate()
    except TimeoutError:
        raise TimedOut(f"`{called}` did not answer within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    said = errors[:8192].decode("utf-8", "replace")
    if _NOBODY in said.lower():
        raise NotRunning(clean(said.strip(), 300))
    return out[:MAX_BYTES].decode("utf-8", "replace"), said
