"""The simulated time: a grid of small steps since a beginning. Only the world moves it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

GRID_SECONDS = 0.25
"""The world moves in steps of this size, whatever `advance` is asked for: how it is called changes nothing."""


class Moment:
    """Now, as every part of the world sees it."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.now = start
        self.seconds = 0.0
        """Since the beginning."""
        self.steps = 0
        self._rest = 0.0

    def pass_by(self, seconds: float) -> Iterator[float]:
        """Let time pass step by step, and yield the length of each. Fractions of a step are kept for the next call."""
        self._rest += seconds
        while self._rest >= GRID_SECONDS - 1e-9:
            self._rest -= GRID_SECONDS
            self.steps += 1
            self.seconds = self.steps * GRID_SECONDS
            self.now = self.start + timedelta(seconds=self.seconds)
            yield GRID_SECONDS
