"""The lines of one log, bounded: what it says, what came while it was held, and apart from both the questions of health checks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge

from sovtui.onbox import logforms
from sovtui.runtime.hub import LogLine
from sovtui.tui.loglines import SKIPPED

RING = 2000
LATER = 1500
"""Lines kept of those that come while it is held: fewer than the ring, so that what was looked at and what was skipped stay in it."""
QUESTIONS = 500
"""Questions of health checks that are kept for whoever wants to see them. They take no line's place: an idle engine's log is full of them."""
WELL = 400
"""A question that was answered with this status or a higher one is no mere question: it tells that something is wrong."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A line with what was read in it once."""

    line: LogLine
    number: int
    """In the order of coming."""
    head: int
    """So many characters at its beginning say no more than when, who and where."""
    asks: bool
    """It only shows that somebody asked how the engine is, and was answered well."""
    asked: int
    """How many such lines came before it."""


class Ring:
    """Lines in the order of coming. `engine`: whose log it is, where that is known."""

    def __init__(self, engine: str = "") -> None:
        self.engine = engine
        self.lines: deque[Kept] = deque(maxlen=RING)
        """All but questions."""
        self.dropped = 0
        """How many of them fell off the far end."""
        self.asked = 0
        """Questions so far."""
        self.asked_at: datetime | None = None
        """When the last of them was written."""
        self._questions: deque[Kept] = deque(maxlen=QUESTIONS)
        self._later: deque[LogLine] = deque(maxlen=LATER)
        self._skipped = 0
        """How many of those there were too many of."""
        self._number = 0

    @classmethod
    def of(cls, lines: Iterable[LogLine], engine: str) -> Ring:
        """Lines that are there already."""
        made = cls(engine)
        for line in lines:
            made.add(line)
        return made

    def add(self, line: LogLine) -> Kept:
        """Take in one more."""
        status = logforms.asked(line.text, self.engine)
        asks = status is not None and status < WELL and line.level in ("", "info", "debug")
        self._number += 1
        kept = Kept(line, self._number, logforms.head(line.text, self.engine), asks, self.asked)
        if asks:
            self.asked += 1
            self.asked_at = line.at or self.asked_at
            self._questions.append(kept)
        else:
            self.dropped += len(self.lines) == RING
            self.lines.append(kept)
        return kept

    def put_aside(self, line: LogLine) -> None:
        """Keep one for later: nothing that is looked at moves."""
        self._skipped += len(self._later) == LATER
        self._later.append(line)

    @property
    def waiting(self) -> int:
        """Lines that were put aside, those that could not be kept included."""
        return len(self._later) + self._skipped

    def catch_up(self) -> list[Kept]:
        """Take in what was put aside; a line says how many of it could not be kept."""
        news = list(self._later)
        if self._skipped:
            news.insert(0, LogLine(None, f"{self._skipped:,} lines skipped", SKIPPED))
        self._later.clear()
        self._skipped = 0
        return [self.add(line) for line in news]

    def newest_first(self, whole: bool) -> Iterator[Kept]:
        """All lines from the end; without `whole` those that say something."""
        if not whole:
            return reversed(self.lines)
        return merge(reversed(self.lines), reversed(self._questions), key=lambda kept: -kept.number)
