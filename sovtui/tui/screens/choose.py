"""One of several: a backup, a host, or any command. Rows are high enough for a thumb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from sovtui.tui.inert import inert
from sovtui.tui.keymap import matches
from sovtui.tui.screens.dialog import Dialog


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry."""

    id: str
    title: str
    note: str = ""
    key: str = ""
    enabled: bool = True


class ChooseScreen(Dialog[str]):
    """Answers the id of what was chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "OptionList"

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        super().__init__(classes="-choose")
        self._heading = title
        self.choices = tuple(choices)

    def heading(self) -> str:
        return self._heading

    def fields(self) -> ComposeResult:
        yield OptionList(*(Option(_prompt(choice), id=f"c{index}") for index, choice in enumerate(self.choices)))

    @on(OptionList.OptionSelected)
    def _selected(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.dismiss(self.choices[message.option_index].id)

    def on_key(self, event: events.Key) -> None:
        for choice in self.choices:
            if choice.key and matches(choice.key, event.key, event.character):
                event.stop()
                self.dismiss(choice.id)
                return


def _prompt(choice: Choice) -> Content:
    """Key, title and note; a refused one says why instead of being hidden."""
    key = f"{choice.key:>3}  " if choice.key else "     "
    title = Content(f"{key}{inert(choice.title)}")
    title = title if choice.enabled else title.stylize("dim")
    note = Content(f"\n     {inert(choice.note)}" if choice.note else "\n").stylize("dim")
    return title + note
