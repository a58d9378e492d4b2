"""One entry in full: why a unit failed, every step of an action, all labels of an alert. It scrolls; its keys act on the entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from sovtui.tui.keymap import Key, matches
from sovtui.tui.present import Row
from sovtui.tui.screens.dialog import Answers, Dialog, Written
from sovtui.tui.widgets.keybar import Touch

LABEL_CELLS = 9
FRAME_CELLS = 4
"""Beside the answers: the frame and what keeps off it."""


class NarrowAnswers(Answers):
    """Narrow enough that closing is always among them on a phone."""

    LEAST_CELLS = 8


class DetailScreen(Dialog[str]):
    """Answers the name of the key that was pressed, or None. `make` gives the rows for a width, as they are now."""

    ANSWERS = NarrowAnswers
    FILLS_PHONE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,o", "leave", "leave", show=False),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
        Binding("space", "scroll(10)", "page down", show=False),
        Binding("home", "scroll(-9999)", "first", show=False),
        Binding("end,G", "scroll(9999)", "last", show=False),
    ]

    def __init__(self, title: str, make: Callable[[int], Sequence[Row]], keys: Sequence[Key] = ()) -> None:
        super().__init__(classes="-detail")
        self._title = title
        self._make_rows = make
        self._keys = tuple(keys)

    def heading(self) -> str:
        return self._title

    def body(self, width: int) -> Sequence[Row]:
        return self._make_rows(width)

    def renew(self) -> None:
        """What is told has changed. Where the reader is stays."""
        if not self.is_mounted or not self.made:
            return
        written = self.query_one(Written)
        if written.size.width:
            rows = written.write(written.size.width)
            grown = len(rows) != len(written.shown)
            written.show(rows)
            if grown:
                written.refresh(layout=True)
        self.reoffer()

    def touches(self) -> Sequence[Touch]:
        acts = [Touch(key.name, key.key, key.title.lower()[:LABEL_CELLS], not key.refused) for key in self._keys]
        scroll = self.query_one("#text", VerticalScroll)
        more, back = scroll.max_scroll_y > scroll.scroll_y, scroll.scroll_y > 0
        page = Touch("up", "↑", "back") if back and not more else Touch("down", "↓", "more", enabled=more)  # always in its place
        room = max(1, (self.size.width - FRAME_CELLS) // NarrowAnswers.LEAST_CELLS)
        return (*[page, *acts][: room - 1], Touch("leave", "esc", "close", current=True))

    def answer(self, id: str) -> None:
        if id in ("down", "up"):
            self.action_scroll((1 if id == "down" else -1) * max(3, self.query_one("#text").size.height - 2))
        elif id == "leave":
            self.action_leave()
        else:
            self.dismiss(id)

    def action_scroll(self, by: int) -> None:
        self.scroll_text(by)
        self.call_after_refresh(self.reoffer)

    def on_key(self, event: events.Key) -> None:
        for key in self._keys:
            if matches(key.key, event.key, event.character):
                event.stop()
                self.dismiss(key.name)
                return
