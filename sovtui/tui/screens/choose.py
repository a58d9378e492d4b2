"""One of several: a backup, a host, or any command. Rows are high enough for a thumb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from sovtui.tui.inert import inert
from sovtui.tui.keymap import matches
from sovtui.tui.present import cell_len, wrap
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.steady import Steady
from sovtui.tui.widgets.keybar import Touch

INDENT = 5
"""Cells before a title: its key."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry."""

    id: str
    title: str
    note: str = ""
    key: str = ""
    enabled: bool = True


class Listed(OptionList):
    """A list whose entries a tap only takes where they have been for a moment."""

    class TooSoon(Message):
        """An entry was tapped that was not there a moment ago."""

    def __init__(self, *options: Option) -> None:
        super().__init__(*options)
        self.steady = Steady()

    def on_mouse_down(self) -> None:
        self.steady.press()

    async def _on_click(self, event: events.Click) -> None:
        if not self.steady.holds(event.style.meta.get("option")):
            event.prevent_default()
            self.post_message(self.TooSoon())


class ChooseScreen(Dialog[str]):
    """Answers the id of what was chosen, or None. `make` gives the choices anew when what is told has changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "down", show=False),
        Binding("k", "move(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, title: str, choices: Sequence[Choice], make: Callable[[], Sequence[Choice]] | None = None) -> None:
        super().__init__(classes="-choose")
        self._heading = title
        self.choices = tuple(choices)
        self._make = make
        self._keys = Steady()
        """What its keys stand for: an entry that comes while it is open moves them on."""
        self._cells = 0
        """Cells of a line, once they are known: then what is longer goes on below itself."""

    def heading(self) -> str:
        return self._heading

    def fields(self) -> ComposeResult:
        yield Listed(*_options(self.choices))

    def touches(self) -> Sequence[Touch]:
        return (Touch("leave", "q", "Leave"),)

    def on_mount(self) -> None:
        if self.made:
            self.query_one(Listed).steady.moved()
            self._steady()

    @property
    def made(self) -> bool:
        return super().made and bool(self.query(Listed))

    def _steady(self) -> None:
        """Note what each entry and each key stands for."""
        self.query_one(Listed).steady.show({index: choice.id for index, choice in enumerate(self.choices)})
        self._keys.show({choice.key: choice.id for choice in self.choices if choice.key})

    @on(Listed.TooSoon)
    def _entry_too_soon(self, message: Listed.TooSoon) -> None:
        message.stop()
        self.too_soon()

    def renew(self) -> None:
        """Show what is told now. The highlight stays on its entry."""
        new = tuple(self._make()) if self._make is not None else self.choices
        if new == self.choices or not self.is_mounted or not self.made:
            return
        listed = self.query_one(OptionList)
        at = listed.highlighted
        chosen = self.choices[at].id if at is not None else ""
        old, self.choices = self.choices, new
        self._steady()
        if [choice.id for choice in old] == [choice.id for choice in new]:
            for index, (before, after) in enumerate(zip(old, new, strict=True)):
                if before != after:
                    listed.replace_option_prompt_at_index(index, _prompt(after, self._cells))
            return
        listed.clear_options()
        listed.add_options(_options(new, self._cells))
        listed.highlighted = next((i for i, choice in enumerate(new) if choice.id == chosen), 0 if new else None)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        if not self.made:
            return
        listed = self.query_one(OptionList)
        cells = listed.scrollable_content_region.width - 2
        if cells == self._cells or cells <= INDENT:
            return
        self._cells = cells
        for index, choice in enumerate(self.choices):
            if INDENT + max(cell_len(choice.title), cell_len(choice.note)) > cells:
                listed.replace_option_prompt_at_index(index, _prompt(choice, cells))

    def action_move(self, by: int) -> None:
        listed = self.query_one(OptionList)
        if by > 0:
            listed.action_cursor_down()
        else:
            listed.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _selected(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        if (id := self.choices[message.option_index].id) != "":
            self.dismiss(id)

    def on_key(self, event: events.Key) -> None:
        for choice in self.choices:
            if choice.key and choice.enabled and matches(choice.key, event.key, event.character):
                event.stop()
                if self._keys.holds(choice.key):
                    self.dismiss(choice.id)
                else:
                    self.too_soon()
                return


def _options(choices: Sequence[Choice], cells: int = 0) -> list[Option]:
    return [Option(_prompt(choice, cells), id=f"c{index}") for index, choice in enumerate(choices)]


def _prompt(choice: Choice, cells: int = 0) -> Content:
    """Key, title and note, each wrapped below itself; a refused one says why instead of being hidden."""
    key = f"{choice.key:>3}  " if choice.key else " " * INDENT
    title = Content(f"{key}{_below(inert(choice.title), cells)}")
    title = title if choice.enabled else title.stylize("dim")
    note = Content(f"\n{' ' * INDENT}{_below(inert(choice.note), cells)}" if choice.note else "\n").stylize("dim")
    return title + note


def _below(words: str, cells: int) -> str:
    return f"\n{' ' * INDENT}".join(wrap(words, cells - INDENT)) if cells > INDENT else words
