"""Rows of the table for states: how soon the right word came on a real llama.cpp server. For `make engines`."""

from __future__ import annotations

from pathlib import Path

from tests.engines.row import Row
from tests.engines.states import life, loading


async def rows(folder: Path, what: str) -> list[Row]:
    """Seconds from each event to the word that is right from then on, and every word on the way."""
    seen = [*await life(folder), await loading(folder)]
    return [Row(what, f"state: {one.event}", "s", one.seconds, "5 s at most", " → ".join(one.words)) for one in seen]
