"""Every key, made from the same declarations that the keys come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from sovtui.actions.spec import Spec
from sovtui.tui.keymap import LOCAL, MOVES, SCREEN, key_of
from sovtui.tui.present import BLANK, Row, pad, paragraph, row
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.widgets.keybar import Touch

MORE = "≡"
"""In the place of a key, for what is in the menu and the palette only."""
WIDE = 70
"""Cells from which on keys, titles and sentences stand in columns."""
SIGNS = (
    ("?", "nothing", "not known: nobody answered"),
    ("12.3 ~42s", "stale", "the last value, that long ago"),
    ("n/a", "nothing", "this hardware or engine does not have it"),
    ("0", "plain", "really zero"),
    ("● ◐ ✖ ○", "plain", "up · on its way · failed · off"),
    ("▲ ◌", "plain", "up, but spilled, thrashing or hung · its model is asleep"),
)


def mode_keys(keys: Iterable[str]) -> str:
    """The keys that switch, in few cells: `1–4, 0`."""
    runs: list[list[int]] = []
    for number in sorted({int(key) for key in keys if key}):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join([*(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs), "0"])


def help_rows(
    specs: Mapping[str, Spec], overrides: Mapping[str, str], width: int, *, mode_keys: str = "1–9, 0", read_only: bool = False
) -> list[Row]:
    """All of it at this width."""
    parts: list[tuple[str, list[tuple[str, str, str]]]] = [("actions", []), ("screen", [])]
    for spec in specs.values():
        keys = key_of(spec.id, spec.key, overrides) or (mode_keys if spec.target == "mode" else MORE)
        off = "(off: read-only) " if read_only and spec.dangerous else ""
        parts[0][1].append((keys, spec.title, f"{off}{spec.help}"))
    parts[1][1].extend((key_of(id, key, overrides), title, help) for id, key, title, help in SCREEN)
    for pane in dict.fromkeys(entry[0] for entry in LOCAL):
        mine = [(key_of(id, key, overrides), title, help) for of, id, key, title, help in LOCAL if of == pane]
        parts.append((f"in the {pane}", mine))
    every = [entry for _, entries in parts for entry in entries]
    columns = (2 + max(len(keys) for keys, _, _ in every), 2 + max(len(title) for _, title, _ in every))
    rows: list[Row] = []
    for heading, entries in parts:
        rows += [*([BLANK] if rows else []), row((heading, "title"))]
        for entry in entries:
            rows += _entry(*entry, width, columns)
    rows += [BLANK, row(("moving", "title"))]
    for keys, words in MOVES:
        rows += _entry(keys, "", words, width, columns)
    rows += [BLANK, row(("signs", "title"))]
    for sign, role, words in SIGNS:
        first, *rest = paragraph(words, width - 13, "label")
        rows += [row((pad(sign, 11), role), "  ", *first.spans), *(row(" " * 13, *line.spans) for line in rest)]
    return rows


def _entry(keys: str, title: str, help: str, width: int, columns: tuple[int, int]) -> list[Row]:
    """`columns`: cells for keys and for titles, where there is room for columns."""
    if width >= WIDE:
        head = row((pad(keys, columns[0]), "key"), (pad(title, columns[1]), "strong")) if title else row((pad(keys, 27), "key"))
        first, *rest = paragraph(help, width - head.cells, "label")
        return [row(*head.spans, *first.spans), *(row(" " * head.cells, *line.spans) for line in rest)]
    first_row = row((pad(keys, max(8, columns[0])) if title else keys, "key"), (title, "strong"))
    return [first_row, *paragraph(help, width, "label", indent=8 if width >= 40 else 2)]


class HelpScreen(Dialog[None]):
    """Escape, `?` or `q` closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1,q,enter", "leave", "leave", show=False),
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
