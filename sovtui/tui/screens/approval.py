"""A login that waits until it was approved elsewhere: where, to be copied or photographed. It goes away by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType

from sovtui.core import qr
from sovtui.ports.link import Question
from sovtui.tui.present import BLANK, Row, paragraph, row
from sovtui.tui.screens.dialog import Dialog, Written, text_rows
from sovtui.tui.widgets.keybar import Touch


class ApprovalScreen(Dialog[str]):
    """Never answers: whoever asked takes it away. Escape gives up the login."""

    BINDINGS: ClassVar[list[BindingType]] = []
    UNASKED = True
    FILLS_PHONE: ClassVar[bool] = True

    def __init__(self, question: Question, ascii_only: bool = False) -> None:
        super().__init__()
        self.question = question
        self._ascii = ascii_only
        self._shows_code = False

    def heading(self) -> str:
        return self.question.title

    def body(self, width: int) -> Sequence[Row]:
        if self._shows_code:
            return self._code(width)
        said = [
            paragraph(line, width, "strong" if line == self.question.url else "plain") for line in self.question.text.split("\n")
        ]
        return [*(one for lines in said for one in lines), BLANK, row(("waiting …", "label"))]

    def _code(self, width: int) -> list[Row]:
        """The code, if all of it can be seen at once: half of one is of no use."""
        height = text_rows(self.size)
        for border in (2, 1):
            try:
                grid = qr.modules(self.question.url, border)
            except ValueError:
                return paragraph("This address is too long for a QR code.", width)
            rows = self._draw(grid)
            if len(rows) <= height and rows[0].cells <= width:
                return rows
        cells, lines = rows[0].cells + 4, len(rows) + 9
        return paragraph(f"The QR code does not fit here: it needs {cells} columns and {lines} rows.", width)

    def _draw(self, grid: list[list[bool]]) -> list[Row]:
        if self._ascii:
            return [row(*((words, "qr-dark" if dark else "qr") for words, dark in line)) for line in qr.spaces(grid)]
        return [row((line, "qr")) for line in qr.half_blocks(grid)]

    def touches(self) -> Sequence[Touch]:
        shown = "Address" if self._shows_code else "QR code"
        return (Touch("copy", "y", "Copy"), Touch("code", "r", shown), Touch("leave", "esc", "Give up"))

    def answer(self, id: str) -> None:
        if id == "copy":
            self.app.copy_to_clipboard(self.question.url)
            self.notify("The address is on the clipboard.", markup=False)
        elif id == "code":
            self._shows_code = not self._shows_code
            written = self.query_one(Written)
            written.show(written.write(written.size.width))
            written.refresh(layout=True)
            self.reoffer()
        else:
            super().answer(id)

    def on_key(self, event: events.Key) -> None:
        if event.character in ("y", "r"):
            event.stop()
            self.answer("copy" if event.character == "y" else "code")
            return
        super().on_key(event)
