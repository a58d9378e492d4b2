"""Time, passed in so that tests can move it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time, UTC-aware: for display and receipts only."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps: for durations."""
        ...

    async def sleep(self, seconds: float) -> None: ...
