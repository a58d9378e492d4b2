"""A widget that shows rows and repaints only the cells that changed. Knows nothing of sovtui's data."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region, Size
from textual.messages import Update
from textual.strip import Strip
from textual.widget import Widget

from sovtui.tui.inert import inert
from sovtui.tui.present import BLANK, ROLES, Row, Span, cell_len, fit

LOOKS = frozenset(f"lines--{role}" for role in (*ROLES, "cursor", "chosen"))
"""Component classes, kept once per screen: on every widget they would double the cost of a start."""


class Lines(Widget):
    """Rows of spans. `show` is the only way to change them. Its screen must have `LOOKS` among its component classes."""

    ALLOW_SELECT = False

    def __init__(self, rows: Sequence[Row] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = [safe(line) for line in rows]
        self._given: list[Row] = []
        """What the rows were made of, at `_given_wide`: most come again as they were."""
        self._given_wide = -1
        self._looks: dict[tuple[str, str], Style] = {}
        self._ground: Color | None = None
        self.repaints = 0
        """Rows handed to the screen as changed; read by tests."""

    @property
    def shown(self) -> tuple[Row, ...]:
        return tuple(self._rows)

    @property
    def plain(self) -> str:
        """What is shown, as text."""
        return "\n".join(line.plain for line in self._rows)

    @property
    def size(self) -> Size:
        """What is inside the frame; Textual's own looks for the widget on the screen each time."""
        gutter, (width, height) = self.styles.gutter, self.outer_size
        return Size(max(0, width - gutter.width), max(0, height - gutter.height))

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows from now on."""
        wide, height = self.size
        given, old = list(rows), self._rows
        if wide == self._given_wide and given == self._given:
            return
        before_given = self._given if wide == self._given_wide else []
        new = [
            old[y] if y < len(before_given) and line == before_given[y] else fit(safe(line), wide) if wide else safe(line)
            for y, line in enumerate(given)
        ]
        self._given, self._given_wide = given, wide
        if new == old:
            return
        self._rows = new
        regions = []
        for y in range(min(max(len(new), len(old)), height)):
            before, after = (lines[y] if y < len(lines) else BLANK for lines in (old, new))
            if before != after:
                start, end = _changed(before, after, wide)
                regions.append(Region(start, y, max(1, end - start), 1))
        self.repaints += len(regions)
        if regions:
            self._repaint(regions)

    def _repaint(self, regions: Sequence[Region]) -> None:
        """As `refresh`, without a turn of its own for each widget, and without forgetting what only another size or style changes."""
        if not self.is_mounted or not self.display:
            self.refresh(*regions)
            return
        self._set_dirty(*regions)
        self.screen.post_message(Update(self))

    def render_line(self, y: int) -> Strip:
        wide = self.size.width
        return Strip(self.part(y, 0, wide), wide)

    def part(self, y: int, start: int, end: int) -> list[Segment]:
        """What is between two columns of a line."""
        line = self._rows[y] if 0 <= y < len(self._rows) else BLANK
        base = self._look("", line.mark)
        found: list[Segment] = []
        at = 0
        for words, role in line.spans:
            if at >= end:
                break
            before, at = at, at + cell_len(words)
            if at <= start:
                continue
            look = self._look(role, line.mark)
            set_off = look.reverse and not base.reverse and role != "then"
            parts = _trimmed(words, look, base) if set_off else [Segment(words, look)]
            found += parts if before >= start and at <= end else _cropped(parts, start - before, end - before)
        if at < end:
            found.append(Segment(" " * (end - max(at, start)), base))
        return found

    def forget(self) -> None:
        """Drop what was painted: it is needed again when all is painted anew, which makes it then."""
        self._styles_cache.clear()
        self._dirty_regions.clear()  # of those widgets only that paint in one piece; nobody else empties it

    def inner(self, region: Region) -> Region:
        """Of the region that it takes, the one without its frame."""
        return region.shrink(self.styles.gutter)

    @property
    def ground(self) -> Color:
        """The colour behind everything."""
        if self._ground is None:
            self._ground = self.background_colors[1]
        return self._ground

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
        self._ground = None
        super().notify_style_update()


def _trimmed(words: str, look: Style, base: Style) -> list[Segment]:
    """Blanks that only keep columns apart are not part of what is set off."""
    inner = words.strip(" ")
    left = len(words) - len(words.lstrip(" "))
    parts = ((words[:left], base), (inner, look), (words[left + len(inner) :], base))
    return [Segment(part, style) for part, style in parts if part]


def _cropped(segments: Sequence[Segment], start: int, end: int) -> list[Segment]:
    """Of these segments what is between two columns."""
    found: list[Segment] = []
    at = 0
    for segment in segments:
        before, at = at, at + cell_len(segment.text)
        if before >= end or at <= start:
            continue
        if at > end:
            segment = segment.split_cells(end - before)[0]
        found.append(segment.split_cells(start - before)[1] if before < start else segment)
    return found


def safe(line: Row) -> Row:
    """The row, each text in it inert; the same object where there is nothing to do."""
    spans = tuple((inert(words), role) for words, role in line.spans)
    return line if all(new[0] is old[0] for new, old in zip(spans, line.spans, strict=True)) else Row(spans, line.mark)


def _changed(before: Row, after: Row, wide: int) -> tuple[int, int]:
    """The columns between which two rows differ."""
    if before.mark != after.mark:
        return 0, wide
    old, new = list(before.spans), list(after.spans)
    cells, end = before.cells, after.cells
    start = 0
    while old and new and old[0] == new[0]:  # whole spans first: nearly always the same ones come again
        start += cell_len(new[0][0])
        del old[0], new[0]
    if cells != end:
        return start + _common(old, new), max(cells, end, start + 1)
    while old and new and old[-1] == new[-1]:
        end -= cell_len(new[-1][0])
        del old[-1], new[-1]
    head = _common(old, new)
    if len(old) == len(new) == 1 and old[0][1] == new[0][1]:
        one, other = old[0][0], new[0][0]
        least = min(len(one), len(other)) - _alike(one, other)
        least = min(least, len(one.lstrip(" ")), len(other.lstrip(" ")))  # blanks at an edge may look otherwise: see `_trimmed`
        tail = 0
        while tail < least and one[-1 - tail] == other[-1 - tail]:
            tail += 1
        end -= cell_len(other[len(other) - tail :])
    return start + head, max(end, start + head + 1)


def _common(old: Sequence[Span], new: Sequence[Span]) -> int:
    """How many cells at the beginning of the first two spans are the same."""
    if not old or not new or old[0][1] != new[0][1]:
        return 0
    before, words = old[0][0], new[0][0]
    return cell_len(words[: min(_alike(before, words), len(before.rstrip(" ")), len(words.rstrip(" ")))])


def _alike(one: str, other: str) -> int:
    """How many characters at the beginning are the same."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


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
