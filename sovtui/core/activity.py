"""Whether an engine's process works, as its host's kernel tells it: what asks the engine nothing, so that it may fall asleep. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

VALID_SECONDS = 15.0
"""So long what was told holds; a beat of the probe renews it."""
NOT_TOLD_YET = "its host has not reported yet whether it works"
"""Why an engine's figures are not known for the first second: see `cli.session.figures_told`."""
IDLE_CORES = 0.05
"""Below this share of one processor nothing is computed: an engine that answers how it is needs less."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One server's, by the address that it is asked at."""

    cores: float | None = None
    """Processors used since the look before, 0 for none to speak of; None where that is not known."""
    connections: int | None = None
    """Open to its port, idle ones included; None where they were not counted: it works, or they cannot be seen."""
    sleeps_after_seconds: float | None = None
    """How long it may be idle before it sleeps by itself; 0: it never does; None: not known."""
    shared_cache: bool | None = None
    """Whether its slots share one KV cache; None: not known."""
    reason: str = ""
    """Why nothing is known."""
    at: datetime | None = None
    computed_at: datetime | None = None
    """When it last computed, as far as was seen; until it does: when it was first seen."""

    worked_at: datetime | None = None
    """When it was last seen to work at all."""

    @property
    def works(self) -> bool:
        return bool(self.cores)

    @property
    def free(self) -> bool:
        """Nobody is connected, so nothing runs."""
        return self.connections == 0

    def still_seconds(self) -> float:
        """For how long it has computed nothing, as last told; 0 where that is not known."""
        if self.at is None or self.computed_at is None or self.cores is None:
            return 0.0
        return (self.at - self.computed_at).total_seconds()


def address_of(url: str) -> str:
    """`host:port` of an engine's address; empty where there is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{port or (443 if parts.scheme == 'https' else 80)}" if host else ""
