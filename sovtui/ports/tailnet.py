"""This machine's own tailnet daemon, if it has one that can be asked. Nothing needs it: without one a path is unknown."""

from __future__ import annotations

import socket
from typing import Protocol

from sovtui.core.tailnet import Pong, Tailnet


class TailnetDaemon(Protocol):
    """Asks the daemon on this machine. Every question has a time limit of its own; nothing is kept between two."""

    @property
    def told_by(self) -> str:
        """Who answered last: `localapi`, `cli`, or empty."""
        ...

    async def status(self) -> Tailnet:
        """The tailnet now. Raises `Absent` (none here that can be asked), `Unreachable` (it does not run), `TimedOut`, `Malformed`."""
        ...

    async def ping(self, address: str) -> Pong:
        """One disco ping to a tailnet address. Raises as `status` does; a peer that is silent is a `Pong` with an error."""
        ...

    async def dial(self, address: str, port: int) -> socket.socket | tuple[str, ...]:
        """A stream into the tailnet made by the daemon (userspace networking): a connected socket, or a command that is one.

        Raises `Unreachable`, `TimedOut`; `ConnectionRefusedError` where the peer said no; `Absent` where the daemon makes none.
        """
        ...
