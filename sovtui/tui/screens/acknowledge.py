"""Why an alert is acknowledged, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Input

from sovtui.actions.spec import Plan
from sovtui.tui.present import Row, paragraph
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.widgets.keybar import KeyBar, Touch

COMMENT = "seen, being looked at"
THUMBS_FROM = 30
"""From this many rows on the durations are as high as a thumb."""
CHOICES = ("30m", "2h", "8h", "1d")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(words: str) -> float | None:
    """`90`, `30m`, `2h30m`, `1d` in seconds; None for anything else."""
    words = words.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", words)
    if parts and "".join(n + u for n, u in parts) == words.replace(" ", ""):
        return sum(float(n) * _UNITS[u] for n, u in parts) or None
    return float(words) if re.fullmatch(r"[1-9]\d*", words) else None


def short_duration(seconds: float) -> str:
    """The shortest word that `parse_duration` reads back."""
    for unit, each in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= each and seconds % each == 0:
            return f"{seconds / each:.0f}{unit}"
    return f"{seconds:.0f}s"


class Choices(KeyBar):
    """Durations to tap: all of them fit on a phone."""

    LEAST_CELLS = 8


class AcknowledgeScreen(Dialog[Mapping[str, str]]):
    """Answers the options `comment` and `for` (seconds), or None."""

    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "#comment"

    def __init__(self, plan: Plan, seconds: float, summary: str = "") -> None:
        super().__init__()
        self.plan = plan
        self._seconds = seconds
        self._summary = summary
        self._trouble = ""

    def heading(self) -> str:
        return self.plan.title

    def body(self, width: int) -> Sequence[Row]:
        rows = paragraph(self._summary, width, "label") if self._summary else []
        return [*rows, *paragraph(self.plan.reason, width)]

    def fields(self) -> ComposeResult:
        comment = Input(COMMENT, placeholder="why, for the next reader", id="comment")
        comment.border_title = "comment"
        until = Input(short_duration(self._seconds), placeholder="30m, 2h, 1d", id="for")
        until.border_title = "for"
        for field in (comment, until):
            field.cursor_blink = False
            yield field
        yield Choices(id="choices")

    @property
    def made(self) -> bool:
        return super().made and bool(self.query("#choices"))

    def reoffer(self) -> None:
        super().reoffer()
        tall = self.size.height >= THUMBS_FROM
        choices = self.query_one("#choices", KeyBar)
        choices.styles.height = 3 if tall else 1
        choices.offer([Touch(c, "for", c) for c in CHOICES], tall=tall)

    @on(KeyBar.Touched, "#choices")
    def _choice(self, message: KeyBar.Touched) -> None:
        message.stop()
        self.query_one("#for", Input).value = message.id

    def touches(self) -> Sequence[Touch]:
        return (Touch("yes", "enter", "Acknowledge", current=True), Touch("leave", "esc", "Back"))

    def answer(self, id: str) -> None:
        if id == "yes":
            self.submit()
        elif id not in CHOICES:
            super().answer(id)

    @on(Input.Submitted)
    def submit(self) -> None:
        comment = self.query_one("#comment", Input)
        until = self.query_one("#for", Input)
        seconds = parse_duration(until.value)
        if not comment.value.strip():
            self.notify("A comment is needed: say why, for the next reader.", severity="warning", markup=False)
            comment.focus()
        elif seconds is None:
            self.notify("For how long? 30m, 2h, 1d or a number of seconds.", severity="warning", markup=False)
            until.focus()
        else:
            self.dismiss({"comment": comment.value.strip(), "for": f"{seconds:g}"})
