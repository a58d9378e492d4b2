"""A widget that shows rows and repaints only the cells that changed. Knows nothing of sovtui's data."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from sovtui.tui.inert import inert
from sovtui.tui.present import BLANK, ROLES, Row, cell_len, fit

LOOKS = frozenset(f"lines--{role}" for role in (*ROLES, "cursor", "chosen"))
"""Component classes, kept once per screen: on every widget they would double the cost of a start."""


WHOLE = ("then", "qr")
"""Roles whose blanks are part of what they say."""


class Lines(Widget):
    """Rows of spans. `show` is the only way to change them. Its screen must have `LOOKS` among its component classes."""

    ALLOW_SELECT = False

    def __init__(self, rows: Sequence[Row] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = [safe(line) for line in rows]
        self._looks: dict[tuple[str, str], Style] = {}
        self.repaints = 0
        """Rows handed to the screen as changed; read by tests."""

    @property
    def shown(self) -> tuple[Row, ...]:
        return tuple(self._rows)

    @property
    def plain(self) -> str:
        """What is shown, as text."""
        return "\n".join(line.plain for line in self._rows)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows from now on."""
        wide = self.size.width
        new = [fit(safe(line), wide) for line in rows] if wide else [safe(line) for line in rows]
        old = self._rows
        if new == old:
            return
        self._rows = new
        regions = []
        for y in range(min(max(len(new), len(old)), self.size.height)):
            before, after = (lines[y] if y < len(lines) else BLANK for lines in (old, new))
            if before != after:
                start, end = _changed(before, after, wide)
                regions.append(Region(start, y, max(1, end - start), 1))
        self.repaints += len(regions)
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        wide = self.size.width
        base = self._look("", "")
        if y >= len(self._rows):
            return Strip.blank(wide, base)
        line = self._rows[y]
        if line.mark:
            base = self._look("", line.mark)
        segments: list[Segment] = []
        for words, role in line.spans:
            look = self._look(role, line.mark)
            segments += (
                _trimmed(words, look, base)
                if look.reverse and not base.reverse and role not in WHOLE
                else (Segment(words, look),)
            )
        return Strip(segments).adjust_cell_length(wide, base)

    def _look(self, role: str, mark: str) -> Style:
        found = self._looks.get((role, mark))
        if found is None:
            found = self.rich_style
            for part in (role, mark):
                if part:
                    found += self.screen.get_component_rich_style(f"lines--{part}", partial=True)
            self._looks[role, mark] = found
        return found

    def notify_style_update(self) -> None:
        self._looks.clear()
        super().notify_style_update()


def _trimmed(words: str, look: Style, base: Style) -> list[Segment]:
    """Blanks that only keep columns apart are not part of what is set off."""
    inner = words.strip(" ")
    left = len(words) - len(words.lstrip(" "))
    parts = ((words[:left], base), (inner, look), (words[left + len(inner) :], base))
    return [Segment(part, style) for part, style in parts if part]


def safe(line: Row) -> Row:
    """The row, each text in it inert; the same object where there is nothing to do."""
    spans = tuple((inert(words), role) for words, role in line.spans)
    return line if all(new[0] is old[0] for new, old in zip(spans, line.spans, strict=True)) else Row(spans, line.mark)


def _changed(before: Row, after: Row, wide: int) -> tuple[int, int]:
    """The columns between which two rows differ."""
    if before.mark != after.mark:
        return 0, wide
    old, new = _characters(before), _characters(after)
    same = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        same += 1
    start = _cells(new[:same])
    end = max(before.cells, after.cells)
    if before.cells == after.cells:
        rest = min(len(old), len(new)) - same
        alike = 0
        while alike < rest and old[-1 - alike] == new[-1 - alike]:
            alike += 1
        end -= _cells(new[len(new) - alike :])
    return start, max(end, start + 1)


def _characters(line: Row) -> list[tuple[str, str]]:
    return [(char, role) for words, role in line.spans for char in words]


def _cells(characters: Sequence[tuple[str, str]]) -> int:
    return cell_len("".join(char for char, _ in characters))


class Sheet(Lines):
    """Rows as high as they are, for a scrolling container; `write` makes them for the width it gets."""

    DEFAULT_CSS = "Sheet { height: auto; }"

    def write(self, wide: int) -> list[Row]:
        """The rows at this width."""
        return self._rows

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return max(1, len(self.write(width)))

    def on_resize(self) -> None:
        self.show(self.write(self.size.width))
