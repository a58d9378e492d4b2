"""Whatever yields events about the estate: figures, services, alerts, backups, engines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from sovtui.core.events import Event
from sovtui.core.state import State
from sovtui.ports.link import Link

Emit = Callable[[Event], None]
"""Puts an event into the store. Synchronous, never blocks."""

GetLink = Callable[[str], Awaitable[Link]]
"""The live link of a host; waits until it is up."""


class Source(Protocol):
    """One source, polled. `poll` does one round: it fetches, emits events, and raises a `PortError` if it could not.

    The poller owns interval, timeout, backoff and the `SourceChanged` events; a source keeps no timers of its own.
    """

    @property
    def name(self) -> str:
        """`prometheus`, `alertmanager`, `engines`, `psutil`, `nvml`."""
        ...

    @property
    def host(self) -> str:
        """The host whose figures it tells, empty if it tells of all; with `via`, the host it goes through is not this one."""
        ...

    @property
    def interval_seconds(self) -> float: ...

    @property
    def timeout_seconds(self) -> float: ...

    # Optional: `stirred_by(state) -> object`. Whenever that changes, the source is polled at once, whatever its interval.
    # Optional: `left_out`, what of the last answer could not be read, in words; a stream may have it too.

    async def poll(self, state: State, emit: Emit) -> str:
        """One round. Returns a detail for the operator (version, address) or an empty string."""
        ...

    async def aclose(self) -> None: ...


class StreamSource(Protocol):
    """A source that pushes by itself for as long as its link lives (the on-box probe)."""

    @property
    def name(self) -> str: ...

    @property
    def host(self) -> str: ...

    def spare(self, on: bool) -> None:
        """Push more rarely from now on, or as usual again: its link is poor."""
        ...

    def events(self, link: Link) -> AsyncGenerator[tuple[Event, ...], None]:
        """Events in batches until the link is lost (raises `Unreachable`) or the far side cannot do it (`Unsupported`)."""
        ...
