"""What would be lost, what will happen, and whether to do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from sovtui.actions.spec import Plan
from sovtui.tui.keymap import matches
from sovtui.tui.present import BLANK, Row, paragraph, row
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.steady import moment
from sovtui.tui.widgets.keybar import Touch

QUIET_SECONDS = 0.4
"""A key that is held down repeats within this, at first within two thirds of a second: it does not confirm however long it is held."""


def plan_rows(plan: Plan, width: int) -> list[Row]:
    """Reason, steps and privileged commands of a plan."""
    rows = paragraph(plan.reason, width, "warn") if plan.reason else []
    if plan.steps:
        rows += [BLANK, row(("what will happen", "label"))]
        for number, step in enumerate(plan.steps, 1):
            first, *rest = paragraph(step, width - 3)
            rows += [row((f"{number:>2} ", "label"), *first.spans), *(row("   ", *line.spans) for line in rest)]
    if plan.commands:
        rows += [BLANK, row(("commands that need rights on the host", "label"))]
        for command in plan.commands:
            rows += paragraph(command, width, "accent", indent=3)
    return rows


class ConfirmScreen(Dialog[bool]):
    """Enter or the same key again confirms."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "yes", "yes", show=False)]

    def __init__(self, plan: Plan, key: str = "") -> None:
        super().__init__()
        self.plan = plan
        self.key = key
        self._pressed = float("-inf")
        """When its key was last pressed and did not count."""

    def heading(self) -> str:
        return f"{self.plan.title}?"

    def body(self, width: int) -> Sequence[Row]:
        return plan_rows(self.plan, width)

    def touches(self) -> Sequence[Touch]:
        keys = f"{self.key} or enter" if len(self.key) == 1 else "enter"
        return (Touch("yes", keys, "Do it", current=True), Touch("leave", "esc", "Back"))

    def answer(self, id: str) -> None:
        if id == "yes":
            self.action_yes()
        else:
            super().answer(id)

    def action_yes(self) -> None:
        if self.settled and moment() - self._pressed >= QUIET_SECONDS:
            self.dismiss(True)
        else:
            self._pressed = moment()
            self.too_soon()

    def on_key(self, event: events.Key) -> None:
        if matches(self.key, event.key, event.character):
            event.stop()
            self.action_yes()
