"""This machine's own network: whether there is a way out, and when that changes. Never sends a packet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sovtui.core.reach import Evidence, Here, Tailnet


class Network(Protocol):
    def toward(self, addresses: Sequence[str]) -> Here:
        """What the kernel would do with a packet to one of these; without any, whether it has a way to anywhere."""
        ...

    def has(self, address: str) -> bool:
        """Whether this is an address of this machine, now."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Have `changed` called in the event loop when addresses or routes change; returns what ends that.

        None: this system does not tell, so it has to be looked at again and again.
        """
        ...

    def asleep_seconds(self) -> float:
        """Seconds this machine has slept since some moment; only the difference of two answers means anything."""
        ...


Sight = Callable[[Evidence], Awaitable[Tailnet | None]]
"""Asks the tailnet's program on this machine for what it knows of a host; None: the host is not in it, or nobody can be asked."""
