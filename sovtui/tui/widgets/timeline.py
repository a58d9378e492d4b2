"""A line of time to tap on. Knows nothing of what happened on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from sovtui.tui.present import Row
from sovtui.tui.widgets.lines import Lines


@dataclass(frozen=True, slots=True)
class Axis:
    """Where on the row which time is: unix seconds from `begin` to `end` over `cells` columns from column `left` on."""

    begin: float
    end: float
    left: int
    cells: int
    first_row: int = 0
    """Rows above it are no part of the line."""
    rows: int = 1
    """Rows from `first_row` on that can be tapped."""
    stops: tuple[tuple[int, float], ...] = ()
    """(column, time) of what is worth stopping at exactly."""

    def column(self, at: float) -> int:
        """The column of a time, -1 if it is not on the line."""
        if not self.begin <= at <= self.end or self.cells <= 0:
            return -1
        return self.left + min(self.cells - 1, int((at - self.begin) / (self.end - self.begin) * self.cells))

    def time(self, column: int) -> float:
        """What a tap on this column means: the stop there, or the middle of the column."""
        for stop, at in self.stops:
            if stop == column:
                return at
        place = max(0, min(self.cells - 1, column - self.left))
        return self.begin + (place + 0.5) / self.cells * (self.end - self.begin)


class TimelineBar(Lines):
    """Rows of which one is the line."""

    class Touched(Message):
        """A time was tapped, in unix seconds."""

        def __init__(self, at: float) -> None:
            super().__init__()
            self.at = at

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.axis: Axis | None = None

    def tell(self, rows: Sequence[Row], axis: Axis | None) -> None:
        """Show these from now on."""
        self.axis = axis
        self.show(rows)

    def on_click(self, event: events.Click) -> None:
        place, axis = event.get_content_offset(self), self.axis
        if place is not None and axis is not None and axis.first_row <= place.y < axis.first_row + axis.rows:
            event.stop()
            self.post_message(self.Touched(axis.time(place.x)))
