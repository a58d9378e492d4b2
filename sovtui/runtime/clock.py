"""The real clock: the only place in the client that reads time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class RealClock:
    """Implements `ports.clock.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
