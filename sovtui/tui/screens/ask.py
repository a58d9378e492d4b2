"""What only the operator can answer while a link is being made: a host key, a passphrase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Input

from sovtui.ports.link import Question
from sovtui.tui.present import Row, paragraph
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.widgets.keybar import Touch


class AskScreen(Dialog[str]):
    """Answers `yes`, the secret, or None. Enter alone never accepts a host key: `y` does."""

    BINDINGS: ClassVar[list[BindingType]] = []
    UNASKED = True
    AUTO_FOCUS = "Input"

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    @property
    def _typed(self) -> bool:
        """Whether something is typed. What is typed for `shown` may be seen."""
        return self.question.kind != "host-key"

    def heading(self) -> str:
        return self.question.title

    def body(self, width: int) -> Sequence[Row]:
        return paragraph(self.question.text, width)

    def fields(self) -> ComposeResult:
        if self._typed:
            field = Input(password=self.question.kind != "shown", id="secret")
            field.cursor_blink = False
            yield field

    def touches(self) -> Sequence[Touch]:
        leave = Touch("leave", "esc", "Refuse" if not self._typed else "Back")
        if self._typed:
            return (Touch("yes", "enter", "Continue", current=True), leave)
        return (Touch("yes", "y", "Yes, trust it"), leave)

    def answer(self, id: str) -> None:
        if id == "yes":
            self._answer(self.query_one("#secret", Input).value if self._typed else "yes")
        else:
            super().answer(id)

    def _answer(self, words: str) -> None:
        if self.settled:
            self.dismiss(words)
        else:
            self.too_soon()

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        self._answer(message.value)

    def on_key(self, event: events.Key) -> None:
        if not self._typed and event.character in ("y", "n"):
            event.stop()
            self.answer("yes" if event.character == "y" else "leave")
