"""Since when each place on the screen stands for what it stands for: what has only just changed is not what was aimed at."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any

STEADY_SECONDS = 1.0
"""So long a place must have meant the same before a tap or a key there counts."""
CHANGED = "That has just changed: look, then once more."


def moment() -> float:
    """By the event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


class Steady:
    """What each place means, and since when. What is there from the very first has always been there."""

    def __init__(self) -> None:
        self._meant: dict[Hashable, tuple[str, float]] | None = None
        self._pressed: float | None = None

    def show(self, meant: Mapping[Any, str], *, own: bool = False) -> None:
        """From now on places mean this. `own`: the operator has made the change, and knows of it."""
        before = self._meant
        since = moment() if before is not None and not own else float("-inf")
        old = before or {}
        self._meant = {
            place: old[place] if place in old and old[place][0] == what else (what, since) for place, what in meant.items()
        }

    def moved(self) -> None:
        """All of it is somewhere else on the screen, or is there all of a sudden."""
        now = moment()
        self._meant = {place: (what, now) for place, (what, _) in (self._meant or {}).items()}

    def trust(self) -> None:
        """The operator has moved it, and knows where everything is; also what is shown next."""
        self._meant = None

    def press(self) -> None:
        """A finger, a button or a key has gone down."""
        self._pressed = moment()

    def holds(self, place: Hashable) -> bool:
        """Whether a place means what it meant when whoever pressed it aimed at it."""
        pressed, self._pressed = self._pressed, None
        known = (self._meant or {}).get(place)
        return known is None or known[1] <= (moment() if pressed is None else pressed) - STEADY_SECONDS
