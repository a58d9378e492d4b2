"""A figure with its age and origin, and the four kinds of nothing.

Must not read a clock: the caller passes the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What is known about a figure. Zero is not here: zero is a FRESH reading with value 0."""

    FRESH = "fresh"
    STALE = "stale"
    """A value is known, but it is older than the figure's limit, or its source has failed since."""
    UNKNOWN = "unknown"
    """No value: the source did not answer, or has no such series."""
    UNSUPPORTED = "unsupported"
    """The hardware, engine or exporter says that it does not have this figure, ever."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure as last told by a source."""

    value: float | None = None
    """In the figure's unit (see `catalog`); None unless FRESH or STALE. Never NaN or infinite."""
    status: Status = Status.UNKNOWN
    at: datetime | None = None
    """When the source measured it (UTC), not when it was fetched."""
    source: str = ""
    """`prometheus`, `probe`, `engine`, `psutil`, `nvml`, `demo`."""
    reason: str = ""
    """Why there is no fresh value, as a sentence part for the user."""

    def age_seconds(self, now: datetime) -> float | None:
        """Seconds since the source measured the value; None where there is none."""
        return None if self.at is None else max(0.0, (now - self.at).total_seconds())

    @property
    def known(self) -> bool:
        """Whether there is a value to show, fresh or stale."""
        return self.value is not None

    @property
    def fresh_value(self) -> float | None:
        """The value if it may be used for a decision, else None."""
        return self.value if self.status is Status.FRESH else None


UNKNOWN = Reading()


def fresh(value: float, at: datetime, source: str) -> Reading:
    """A fresh reading, or an unknown one where the value is NaN or infinite (0/0: no traffic)."""
    if math.isnan(value) or math.isinf(value):
        return Reading(None, Status.UNKNOWN, at, source, "no data in the window")
    return Reading(value, Status.FRESH, at, source)


def unknown(reason: str, source: str = "", at: datetime | None = None) -> Reading:
    """No value, and why."""
    return Reading(None, Status.UNKNOWN, at, source, reason)


def unsupported(reason: str, source: str = "") -> Reading:
    """The source says it never has this figure."""
    return Reading(None, Status.UNSUPPORTED, None, source, reason)


def merge(old: Reading, new: Reading) -> Reading:
    """Which of two readings of one figure is kept: the newest value; what one source does not know hides no value of another."""
    if new.value is not None:
        if old.value is not None and old.status is Status.FRESH and old.at and new.at and new.at < old.at:
            return old
        return new
    if old.value is not None and new.status is Status.UNKNOWN and old.source != new.source:
        return old  # what one has told and another knows nothing of was told all the same; fresh or not, its age is its own
    if old.status is Status.FRESH and old.source != new.source:
        return old
    if old.value is not None and new.status is Status.UNKNOWN and new.at is None:
        # The source failed (no time of its own): the last value stays, as stale, with the reason.
        return replace(old, status=Status.STALE, reason=new.reason)
    return new


def grow_old(reading: Reading, now: datetime, stale_after_seconds: float) -> Reading:
    """The reading as it is at `now`: FRESH turns STALE past its limit. Same object if nothing changes."""
    if reading.status is not Status.FRESH or reading.at is None:
        return reading
    age = (now - reading.at).total_seconds()
    if age <= stale_after_seconds:
        return reading
    return replace(reading, status=Status.STALE, reason=reading.reason or "no newer value")
