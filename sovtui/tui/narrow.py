"""Sends only the cells that changed, and makes only those anew.

Textual makes every row of every widget between the first change and the last, cuts them at every edge there is, and sends a changed
line from the widget's left edge on with all of its style at each word. A second of the room costs a third of that here, and leaves no
garbage. Uses names of Textual that are not public; tests say when they are gone, and that what is seen stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from sovtui.tui.widgets.lines import Lines

Piece = tuple[int, int, Sequence[Segment]]
"""(line, column, what is there from that column on)."""


class Pieces(CompositorUpdate):
    """Parts of lines, from the top left on."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.pieces = list(pieces)

    def render_segments(self, console: Console) -> str:
        """For the terminal; it is left without any style."""
        system = getattr(console, "_color_system", None) or ColorSystem.TRUECOLOR
        parts: list[str] = []
        pen, line = _NO_CODES, -1
        for y, x, segments in self.pieces:
            parts.append(f"\x1b[{x + 1}G" if y == line else f"\x1b[{y + 1};{x + 1}H")
            line = y
            for words, style, control in segments:
                if control or not words:
                    continue
                codes = _codes(style, system) if style is not None else _NO_CODES
                if codes != pen:
                    parts.append(_change(pen, codes))
                    pen = codes
                parts.append(words)
        if pen != _NO_CODES:
            parts.append("\x1b[0m")
        return "".join(parts)


class NarrowCompositor(Compositor):
    """A screen's compositor whose partial updates hold only what changed."""

    def render_partial_update(self) -> Pieces | None:  # type: ignore[override]  # Textual says ChopsUpdate, and only displays it
        whole = self.size.region
        dirty = [found for region in self._dirty_regions if (found := region.intersection(whole))]
        self._dirty_regions.clear()
        return Pieces(self._pieces(dirty)) if dirty else None

    def _pieces(self, dirty: Iterable[Region]) -> list[Piece]:
        pieces: list[Piece] = []
        others: dict[Widget, tuple[Region, list[tuple[int, int, int]]]] = {}
        filters = self.root.app.get_line_filters() if self.root is not None else ()
        for y, x1, x2 in self._regions_to_spans(dirty):
            for widget, region, start, end in self._owners(y, x1, x2):
                if isinstance(widget, Lines) and (inner := widget.inner(region)).contains_region(
                    Region(start, y, end - start, 1)
                ):
                    segments = widget.part(y - inner.y, start - inner.x, end - inner.x)
                    for one in filters:
                        segments = one.apply(segments, widget.ground)
                    pieces.append((y, start, segments))
                else:
                    others.setdefault(widget, (region, []))[1].append((y, start, end))
        for widget, (region, spans) in others.items():
            top, bottom = spans[0][0], spans[-1][0] + 1
            strips = widget.render_lines(Region(0, top - region.y, region.width, bottom - top))
            pieces += ((y, start, list(strips[y - top].crop(start - region.x, end - region.x))) for y, start, end in spans)
        return sorted(pieces, key=lambda piece: piece[:2])

    def _owners(self, y: int, x1: int, x2: int) -> Iterable[tuple[Widget, Region, int, int]]:
        """Which widget is seen on which columns of a line between two columns."""
        free = [(x1, x2)]
        for widget, shown, region in self.layers_visible[y]:
            left: list[tuple[int, int]] = []
            for start, end in free:
                first, last = max(start, shown.x), min(end, shown.right)
                if first >= last:
                    left.append((start, end))
                    continue
                yield widget, region, first, last
                left += [part for part in ((start, first), (last, end)) if part[0] < part[1]]
            free = left
            if not free:
                return


class NarrowUpdate(ChopsUpdate):
    """Textual's own partial update, each line cropped to its changed columns on both sides: for screens with a usual compositor."""

    def render_segments(self, console: Console) -> str:
        return Pieces(self._pieces()).render_segments(console)

    def _pieces(self) -> Iterable[Piece]:
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                start, stop = max(x, x1), min(end, x2)
                if strip is not None and start < stop:
                    yield y, start, list(strip.crop(start - x, stop - x))


def narrow(renderable: RenderableType | None) -> RenderableType | None:
    """What to display in its place."""
    if isinstance(renderable, ChopsUpdate):
        return NarrowUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
    return renderable


_Codes = tuple[str, str, str]
"""What SGR is told for attributes, foreground and background; empty where nothing is."""
_NO_CODES: _Codes = ("", "", "")


@lru_cache(maxsize=1024)
def _codes(style: Style, system: ColorSystem) -> _Codes:
    colours = (
        ";".join(colour.downgrade(system).get_ansi_codes(foreground=foreground)) if colour is not None else ""
        for colour, foreground in ((style.color, True), (style.bgcolor, False))
    )
    return (Strip.render_ansi(style.without_color, system), *colours)  # type: ignore[return-value]


@lru_cache(maxsize=4096)
def _change(old: _Codes, new: _Codes) -> str:
    """From one style to another: in full where something has to be taken off, else only what is another."""
    if old[0] != new[0] or any(before and not after for before, after in zip(old, new, strict=True)):
        codes = [] if old == _NO_CODES else ["0"]
        codes += [part for part in new if part]
    else:
        codes = [after for before, after in zip(old, new, strict=True) if after != before]
    return f"\x1b[{';'.join(codes) or '0'}m"
