"""The first frame: the bars in the theme's colours, while the rest is imported and the configuration is read.

Must import nothing but Textual, or it would no longer be first.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


class Bars(Widget):
    """A status line above, the one key that works already below, nothing between."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"bars--name", "bars--words", "bars--key"}
    DEFAULT_CSS = """
    Bars { background: $background; width: 100%; height: 100%; }
    Bars .bars--name { color: $accent; background: $panel; text-style: bold; }
    Bars .bars--words { color: $foreground-muted; background: $panel; }
    Bars .bars--key { color: $accent; background: $panel; text-style: bold; }
    """

    def render_line(self, y: int) -> Strip:
        wide = self.size.width
        if y == 0:
            first, second = ("sovtui", "bars--name"), ("  starting", "bars--words")
        elif y == self.size.height - 1:
            first, second = (" q", "bars--key"), (" quit", "bars--words")
        else:
            return Strip.blank(wide, self.rich_style)
        segments = [Segment(words, self.get_component_rich_style(look)) for words, look in (first, second)]
        return Strip(segments).adjust_cell_length(wide, segments[-1].style)


class Opening(Screen[None]):
    """Keeps the keys that are pressed meanwhile: the room gets them."""

    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+c", "app.quit", "quit", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self.pressed: list[events.Key] = []

    def compose(self) -> ComposeResult:
        yield Bars()

    def on_key(self, event: events.Key) -> None:
        self.pressed.append(event)
