"""Every key, made from the same declarations that the keys come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from sovtui.actions.spec import Spec
from sovtui.tui.keymap import LOCAL, MOVES, SCREEN, key_of
from sovtui.tui.present import BLANK, Row, cut, pad, paragraph, row
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.widgets.keybar import Touch

MORE = "≡"
"""In the place of a key, for what is in the menu and the palette only."""
SIGNS = (
    ("?", "nothing", "not known: nobody answered"),
    ("12.3 ~42s", "stale", "the last value, that long ago"),
    ("n/a", "nothing", "this hardware or engine does not have it"),
    ("0", "plain", "really zero"),
    ("● ◐ ✖ ○", "plain", "up · on its way · failed · off"),
    ("▲ ◌", "plain", "up, but spilled, thrashing or hung · its model is asleep"),
)


def help_rows(
    specs: Mapping[str, Spec], overrides: Mapping[str, str], width: int, *, mode_keys: str = "1–9, 0", read_only: bool = False
) -> list[Row]:
    """All of it at this width."""
    rows: list[Row] = [row(("actions", "title"))]
    for spec in specs.values():
        keys = key_of(spec.id, spec.key, overrides) or (mode_keys if spec.target == "mode" else MORE)
        off = "  (off: read-only)" if read_only and spec.dangerous else ""
        rows += _entry(keys, f"{spec.title}{off}", spec.help, width)
    rows += [BLANK, row(("screen", "title"))]
    for id, key, title, help in SCREEN:
        rows += _entry(key_of(id, key, overrides), title, help, width)
    for pane in dict.fromkeys(entry[0] for entry in LOCAL):
        rows += [BLANK, row((f"in the {pane}", "title"))]
        for _, id, key, title, help in (entry for entry in LOCAL if entry[0] == pane):
            rows += _entry(key_of(id, key, overrides), title, help, width)
    rows += [BLANK, row(("moving", "title"))]
    for keys, words in MOVES:
        rows += _entry(keys, "", words, width)
    rows += [BLANK, row(("signs", "title"))]
    for sign, role, words in SIGNS:
        first, *rest = paragraph(words, width - 13, "label")
        rows += [row((pad(sign, 11), role), "  ", *first.spans), *(row(" " * 13, *line.spans) for line in rest)]
    return rows


def _entry(keys: str, title: str, help: str, width: int) -> list[Row]:
    if width >= 70:
        wide = 27 if not title else 10
        head = row((pad(cut(keys, wide - 1), wide), "key"), (pad(title, 16) if title else "", "strong"))
        first, *rest = paragraph(help, width - head.cells, "label")
        return [row(*head.spans, *first.spans), *(row(" " * head.cells, *line.spans) for line in rest)]
    first_row = row((pad(keys, 8) if title else keys, "key"), (title, "strong"))
    return [first_row, *paragraph(help, width, "label", indent=8 if width >= 40 else 2)]


class HelpScreen(Dialog[None]):
    """Escape, `?` or `q` closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter", "leave", "leave", show=False),
        Binding("j", "down(1)", "down", show=False),
        Binding("k", "down(-1)", "up", show=False),
    ]
    TITLE = "Help"
    FILLS_PHONE = True

    def __init__(self, specs: Mapping[str, Spec], overrides: Mapping[str, str], mode_keys: str, *, read_only: bool) -> None:
        super().__init__(classes="-help")
        self._specs = specs
        self._overrides = overrides
        self._mode_keys = mode_keys
        self._read_only = read_only

    def body(self, width: int) -> Sequence[Row]:
        return help_rows(self._specs, self._overrides, width, mode_keys=self._mode_keys, read_only=self._read_only)

    def touches(self) -> Sequence[Touch]:
        return (Touch("down", "↓", "More"), Touch("leave", "esc", "Close", current=True))

    def answer(self, id: str) -> None:
        if id == "down":
            self.scroll_text(10)
        else:
            super().answer(id)

    def action_down(self, by: int) -> None:
        self.scroll_text(by)
