"""What some store still knows of a time before the record: range queries, for one stretch at once."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sovtui.core.marks import Mark
from sovtui.core.state import State


class Stretch(Protocol):
    """A piece of the past, held here: going about in it asks nobody."""

    @property
    def begin(self) -> datetime: ...

    @property
    def end(self) -> datetime: ...

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What happened in it, as far as the store tells."""
        ...

    def heard(self, host: str) -> datetime | None:
        """When the host gave its last sample in it; None where it gave none."""
        ...

    def at(self, moment: datetime) -> State:
        """The state as it was then; what has no sample near that moment is unknown."""
        ...


class Past(Protocol):
    """Prometheus, or what speaks its API."""

    async def stretch(self, state: State, begin: datetime, end: datetime) -> Stretch:
        """Ask for everything between two moments at once. `state`: the present one, for its specs. Raises `PortError`."""
        ...
