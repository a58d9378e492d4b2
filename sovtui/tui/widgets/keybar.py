"""Keys as touch targets: one row of words, or thumb-sized tiles. Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.geometry import Region
from textual.message import Message

from sovtui.tui.present import Row, Span, cell_len, cut, pad, row
from sovtui.tui.steady import Steady
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
    cells: int = 0
    """On a bar of one row it takes so many whatever it says; 0: as many as it needs."""

    @property
    def blank(self) -> bool:
        """A place that is kept free."""
        return not self.id and not self.label


class KeyBar(Lines):
    """Shows targets, of one row or, where it is `tall`, of three each; as many as fit, or where `columns` says exactly those.

    A tap on a place that meant something else a moment ago does nothing but say so.
    """

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

    class TooSoon(Message):
        """A target was tapped that was something else a moment ago."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.touches: tuple[Touch, ...] = ()
        self.tall = False
        self.columns = 0
        self.steady = Steady()
        self._places: list[tuple[Region, str]] = []

    def offer(self, touches: Sequence[Touch], *, tall: bool, columns: int = 0, own: bool = False) -> None:
        """Show these from now on. `columns`: places on a row of tiles. `own`: that another thing was chosen is known to who chose it."""
        offered = (tuple(touches), tall, columns)
        if offered != (self.touches, self.tall, self.columns):
            self.touches, self.tall, self.columns = offered
            self._draw(own)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self, own: bool = False) -> None:
        wide = self.size.width
        if not wide or not self.touches:
            self._places = []
            self.show([])
            return
        self.show(self._tiles(wide) if self.tall else self._line(wide))
        self.steady.show(dict(self._places), own=own)

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
            parts, cells = _key(touch), self._cells(touch)
            if not touch.blank:
                self._places.append((Region(x, 0, cells, 1), touch.id))
            spans += parts
            rest = cells - sum(cell_len(words) for words, _ in parts)
            spans.append((" " * rest, "plain"))
            x += cells
        return [row(*spans)]

    def _cells(self, touch: Touch) -> int:
        return touch.cells or cell_len(touch.key) + cell_len(touch.label) + 2

    def _line_cells(self, touches: Sequence[Touch]) -> int:
        return sum(self._cells(touch) for touch in touches)

    def _tiles(self, wide: int) -> list[Row]:
        touches = list(self.touches)
        if not self.columns and self.LEAST_CELLS:
            touches = touches[: max(1, wide // self.LEAST_CELLS)]
        columns = self.columns or len(touches)
        rows: list[Row] = []
        self._places = []
        for start in range(0, len(touches), columns):
            rows += self._tile_row(touches[start : start + columns], wide, columns, len(rows))
        return rows

    def _tile_row(self, line: Sequence[Touch], wide: int, columns: int, y: int) -> list[Row]:
        upper: list[Span] = []
        middle: list[Span] = []
        lower: list[Span] = []
        for index, touch in enumerate(line):
            x = wide * index // columns
            cells = wide * (index + 1) // columns - x
            if not touch.blank:
                self._places.append((Region(x, y, cells, 3), touch.id))
            edge = ("▏", "label")
            role = "off" if not touch.enabled else "strong" if touch.current else "plain"
            key = touch.key if touch.enabled or not touch.key else f"({touch.key})"
            sign, sign_role = touch.badge if touch.badge[0] else (key, "key" if touch.enabled else "off")
            upper += [edge, (_middle(sign, cells - 1), sign_role)]
            middle += [edge, (_middle(touch.label, cells - 1), role)]
            lower += [edge, (_middle("▔" * (cells - 3) if touch.current else "", cells - 1), "accent")]
        return [Row(tuple(upper)), Row(tuple(middle)), Row(tuple(lower))]

    def on_mouse_down(self) -> None:
        self.steady.press()

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        if place is None:
            return
        for region, id in self._places:
            if region.contains(place.x, place.y):
                event.stop()
                self.post_message(self.Touched(self, id) if self.steady.holds(region) else self.TooSoon())
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


def _key(touch: Touch) -> list[Span]:
    """` c drop`, or `(c)drop` where it is off: as wide, so that nothing beside it moves."""
    if touch.blank:
        return []
    if not touch.enabled:
        return [(f"({touch.key})", "off"), (touch.label, "off")]
    return [(f" {touch.key}", "key"), (f" {touch.label}", "strong" if touch.current else "plain")]


def _middle(words: str, cells: int) -> str:
    words = cut(words, cells)
    left = (cells - cell_len(words)) // 2
    return pad(" " * left + words, cells)
