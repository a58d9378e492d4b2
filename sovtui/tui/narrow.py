"""Sends only the cells that changed. Textual sends a changed line from the widget's left edge on: three times the bytes.

Uses two names of Textual that are not public; a test says when they are gone.
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.control import Control
from textual._compositor import ChopsUpdate


class NarrowUpdate(ChopsUpdate):
    """The same update, each line cropped to its changed columns on both sides."""

    def render_segments(self, console: Console) -> str:
        parts: list[str] = []
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                start, stop = max(x, x1), min(end, x2)
                if strip is None or start >= stop:
                    continue
                parts += [Control.move_to(start, y).segment.text, strip.crop(start - x, stop - x).render(console)]
        return "".join(parts)


def narrow(renderable: RenderableType | None) -> RenderableType | None:
    """What to display in its place."""
    if isinstance(renderable, ChopsUpdate):
        return NarrowUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
    return renderable
