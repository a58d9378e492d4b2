"""Rows of the table for states: how soon the right word came on a real llama.cpp server. For `make engines`."""

from __future__ import annotations

from pathlib import Path

from tests.engines.row import Row
from tests.engines.states import life, loading

WHAT = "llama.cpp"


async def rows(folder: Path) -> list[Row]:
    """Seconds from each event to the word that is right from then on; counted is the bar."""
    seen = [*await life(folder), await loading(folder)]
    return [
        Row(
            WHAT,
            f"state: {one.event}",
            "s",
            None if one.seconds is None else round(one.seconds, 1),
            5.0,
            f"{' → '.join(one.words)}",
        )
        for one in seen
    ]
