"""Keys as touch targets: one row of words, or thumb-sized tiles. Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.geometry import Region
from textual.message import Message

from sovtui.tui.present import Row, Span, cell_len, cut, pad, row
from sovtui.tui.widgets.lines import Lines


@dataclass(frozen=True, slots=True)
class Touch:
    """One target."""

    id: str
    key: str
    label: str
    enabled: bool = True
    current: bool = False
    badge: Span = ("", "label")
    weight: int = 5
    """Where room is short, those of least weight are left out."""


class KeyBar(Lines):
    """Shows as many targets as fit. `thumbs`: rows per target, 1 or 3. `tiles`: rows of targets."""

    LEAST_CELLS = 10
    GAP_CELLS = 0
    """Between targets on one row, where all of them have room for it."""

    class Touched(Message):
        """A target was tapped."""

        def __init__(self, bar: KeyBar, id: str) -> None:
            super().__init__()
            self.bar = bar
            self.id = id

        @property
        def control(self) -> KeyBar:
            return self.bar

    def __init__(self, *, id: str | None = None, more: Touch | None = None) -> None:
        super().__init__(id=id)
        self.touches: tuple[Touch, ...] = ()
        self.tall = False
        self.tiles = 1
        self._more = more
        self._places: list[tuple[Region, str]] = []

    def offer(self, touches: Sequence[Touch], *, tall: bool, tiles: int = 1) -> None:
        """Show these from now on."""
        offered = (tuple(touches), tall, tiles)
        if offered != (self.touches, self.tall, self.tiles):
            self.touches, self.tall, self.tiles = offered
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        wide = self.size.width
        if not wide or not self.touches:
            self._places = []
            self.show([])
            return
        self.show(self._tiles(wide) if self.tall else self._line(wide))

    def _line(self, wide: int) -> list[Row]:
        """One row; what does not fit is left out, the least weight first."""
        touches = list(self.touches)
        while len(touches) > 1 and self._line_cells(touches) > wide:
            touches.remove(min(reversed(touches), key=lambda touch: touch.weight))
        gap = self.GAP_CELLS if self._line_cells(touches) + self.GAP_CELLS * (len(touches) - 1) <= wide else 0
        spans: list[Span] = []
        self._places = []
        x = 0
        for touch in touches:
            if x and gap:
                spans.append((" " * gap, "plain"))
                x += gap
            role = "off" if not touch.enabled else "strong" if touch.current else "plain"
            parts: list[Span] = [(f" {touch.key}", "key" if touch.enabled else "off"), (f" {touch.label}", role)]
            cells = sum(cell_len(words) for words, _ in parts)
            self._places.append((Region(x, 0, cells, 1), touch.id))
            spans += parts
            x += cells
        return [Row(tuple(spans))]

    def _line_cells(self, touches: Sequence[Touch]) -> int:
        return sum(cell_len(t.key) + cell_len(t.label) + 2 for t in touches)

    def _tiles(self, wide: int) -> list[Row]:
        each = max(1, wide // self.LEAST_CELLS) if self.LEAST_CELLS else len(self.touches)
        touches = list(self.touches)
        if self.LEAST_CELLS and len(touches) > each * self.tiles:
            keep = each * self.tiles - (1 if self._more else 0)
            touches = [t for t in touches if t != self._more][:keep] + ([self._more] if self._more else [])
        elif not self.LEAST_CELLS:
            each = len(touches)
        rows: list[Row] = []
        self._places = []
        for start in range(0, len(touches), each):
            line = touches[start : start + each]
            columns = len(line) if start == 0 else min(each, len(touches))
            rows += self._tile_row(line, wide, columns, len(rows))
        return rows

    def _tile_row(self, line: Sequence[Touch], wide: int, columns: int, y: int) -> list[Row]:
        upper: list[Span] = []
        middle: list[Span] = []
        lower: list[Span] = []
        for index, touch in enumerate(line):
            x = wide * index // columns
            cells = wide * (index + 1) // columns - x
            self._places.append((Region(x, y, cells, 3), touch.id))
            edge = ("▏", "label")
            role = "off" if not touch.enabled else "strong" if touch.current else "plain"
            sign, sign_role = touch.badge if touch.badge[0] else (touch.key, "key" if touch.enabled else "off")
            upper += [edge, (_middle(sign, cells - 1), sign_role)]
            middle += [edge, (_middle(touch.label, cells - 1), role)]
            lower += [edge, (_middle("▔" * (cells - 3) if touch.current else "", cells - 1), "accent")]
        return [Row(tuple(upper)), Row(tuple(middle)), Row(tuple(lower))]

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        if place is None:
            return
        for region, id in self._places:
            if region.contains(place.x, place.y):
                event.stop()
                self.post_message(self.Touched(self, id))
                return


class TabBar(KeyBar):
    """Every target is always there, however narrow."""

    LEAST_CELLS = 0

    def _line(self, wide: int) -> list[Row]:
        spans: list[Span] = []
        self._places = []
        count = len(self.touches)
        for index, touch in enumerate(self.touches):
            x = wide * index // count
            cells = wide * (index + 1) // count - x
            self._places.append((Region(x, 0, cells, 1), touch.id))
            label = f"{touch.key or ('▸' if touch.current else ' ')}{touch.label}"
            if cell_len(label) > cells and not touch.key:  # too narrow for a sign: the current one is in capitals
                label = touch.label.upper() if touch.current else touch.label
            spans.append((pad(label, cells), "strong" if touch.current else "plain"))
        return [row(*spans)]


def _middle(words: str, cells: int) -> str:
    words = cut(words, cells)
    left = (cells - cell_len(words)) // 2
    return pad(" " * left + words, cells)
