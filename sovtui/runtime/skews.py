"""How far each host's clock is from this machine's, and moments carried from one to the other.

A host tells times by its own clock; everything here is of this machine's. What was told is carried over where it comes in, so that an
age is what the host itself would say, whatever this machine's clock shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sovtui.core import outside
from sovtui.core.model import ActionRun

SAME_SECONDS = 2.0
"""Clocks that are so near are the same: the way takes some of it, and a moment must not shift by a tenth at each look."""
SURE_TIMES = 3
"""An answer may be late; so often in a row none is by as much: a clock was set."""


@dataclass(slots=True)
class _Known:
    skew: timedelta
    beyond: int = 0
    """How often in a row it was found to be more."""


class Skews:
    """One per hub."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def hear(self, host: str, there: object, here: datetime, way_seconds: float = 0.0) -> bool:
        """The host said that it is `there` (unix seconds), which came at `here`. Whether that changes what is known.

        An answer that was held up lets this machine seem ahead, never behind: the least that is found is the truth.
        """
        told = outside.unix(there)
        if told is None:
            return False
        found = here - told - timedelta(seconds=way_seconds)
        if abs(found.total_seconds()) < SAME_SECONDS:
            found = timedelta(0)
        known = self._known.get(host)
        if known is None:
            self._known[host] = _Known(found)
            return True
        more = (found - known.skew).total_seconds()
        known.beyond = known.beyond + 1 if more >= SAME_SECONDS else 0
        if more > -SAME_SECONDS and known.beyond < SURE_TIMES:
            return False
        known.skew, known.beyond = found, 0
        return True

    def told(self, host: str) -> float | None:
        """Seconds that this machine's clock is ahead of the host's; None until the host has told its time."""
        known = self._known.get(host)
        return None if known is None else known.skew.total_seconds()

    def of(self, host: str) -> timedelta:
        """The same, and nothing while it is not known."""
        known = self._known.get(host)
        return timedelta(0) if known is None else known.skew

    def there(self, host: str, words: str) -> str:
        """A moment of ours, as a unix time or a date with its zone, by the host's clock. An age stays what it is."""
        skew = self.of(host)
        if not skew or not words:
            return words
        try:
            return f"{float(words) - skew.total_seconds():.3f}"
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(words)
        except ValueError:
            return words
        return (moment - skew).isoformat() if moment.tzinfo else words


def carried(run: ActionRun, skew: timedelta) -> ActionRun:
    """A run as told by its host, by this machine's clock."""
    if not skew:
        return run
    steps = tuple(replace(step, began_at=step.began_at + skew) for step in run.steps)
    return replace(run, began_at=run.began_at + skew, steps=steps)
