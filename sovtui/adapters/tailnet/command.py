"""The command `tailscale`, where LocalAPI cannot be asked. Its exit status tells nothing: what it printed does."""

from __future__ import annotations

from sovtui.adapters.links.local import LocalLink
from sovtui.core.clean import clean
from sovtui.ports.errors import TimedOut, Unreachable

_NOBODY = "failed to connect to local tailscale"


class NotRunning(Unreachable):
    """The command is there and says that no daemon runs."""


async def run(argv: tuple[str, ...], seconds: float) -> tuple[str, str]:
    """Standard output and error, whatever the exit status. Raises `NotRunning`, `TimedOut`, `Unreachable`."""
    called = clean(" ".join(argv[:2]), 100)
    try:
        done = await LocalLink("this machine").run(argv, timeout_seconds=seconds)
    except TimedOut:
        raise TimedOut(f"`{called}` did not answer within {seconds:g} s") from None
    said = done.stderr[:8192].decode("utf-8", "replace")
    if done.exit_status in (126, 127) and not done.stdout:
        raise Unreachable(f"`{called}` cannot be run: {clean(said.strip(), 100)}")
    if _NOBODY in said.lower():
        raise NotRunning(clean(said.strip(), 300))
    return done.stdout.decode("utf-8", "replace"), said
