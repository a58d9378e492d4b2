"""Every key, made from the same declarations that the keys come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from sovtui.actions.spec import Spec
from sovtui.core.glossary import GLOSSARY
from sovtui.tui.keymap import LOCAL, MOVES, SCREEN, key_of
from sovtui.tui.present import BLANK, Row, pad, paragraph, row
from sovtui.tui.screens.dialog import Dialog, Written
from sovtui.tui.widgets.keybar import Touch

MORE = "≡"
"""In the place of a key, for what is in the menu and the palette only."""
WIDE = 70
"""Cells from which on keys, titles and sentences stand in columns."""
LONGEST = 20
"""Cells of a name in the glossary that still has its meaning on the same line."""
SIGNS = (
    ("?", "nothing", "unknown: no answer"),
    ("12.3 ~42s", "stale", "stale: the last value, 42 s old"),
    ("n/a", "nothing", "not supported by this hardware or engine"),
    ("0", "plain", "zero"),
    ("● ◐ ✖ ○", "plain", "up · in progress · failed · off"),
    ("▲ ◌", "plain", "up, but spilled, thrashing or hung · asleep"),
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
    rows += [BLANK, row(("navigation", "title"))]
    for keys, words in MOVES:
        rows += _entry(keys, "", words, width, columns)
    rows += [BLANK, row(("signs", "title"))]
    for sign, role, words in SIGNS:
        first, *rest = paragraph(words, width - 13, "label")
        rows += [row((pad(sign, 11), role), "  ", *first.spans), *(row(" " * 13, *line.spans) for line in rest)]
    return rows


def glossary_rows(width: int) -> list[Row]:
    """What every word and abbreviation on the screen means."""
    rows: list[Row] = []
    column = 2 + max(len(term.title) for _, terms in GLOSSARY for term in terms if len(term.title) <= LONGEST)
    for heading, terms in GLOSSARY:
        rows += [*([BLANK] if rows else []), row((heading, "title"))]
        for term in terms:
            if width < WIDE or len(term.title) > LONGEST:
                rows += [row((term.title, "strong")), *paragraph(term.words, width, "label", indent=2)]
                continue
            first, *rest = paragraph(term.words, width - column, "label")
            rows += [row((pad(term.title, column), "strong"), *first.spans), *(row(" " * column, *r.spans) for r in rest)]
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
    """Escape, `?` or `q` closes it; `g` turns to the glossary and back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1,q,enter", "leave", "leave", show=False),
        Binding("g", "turn", "glossary", show=False),
        Binding("j", "down(1)", "down", show=False),
        Binding("k", "down(-1)", "up", show=False),
    ]
    TITLE = "Help"
    FILLS_PHONE = True

    def __init__(
        self,
        specs: Mapping[str, Spec],
        overrides: Mapping[str, str],
        mode_keys: str,
        *,
        read_only: bool,
        glossary: bool = False,
    ) -> None:
        super().__init__(classes="-help")
        self._glossary = glossary
        self._specs = specs
        self._overrides = overrides
        self._mode_keys = mode_keys
        self._read_only = read_only

    def heading(self) -> str:
        return "Glossary" if self._glossary else "Help"

    def body(self, width: int) -> Sequence[Row]:
        if self._glossary:
            return glossary_rows(width)
        return help_rows(self._specs, self._overrides, width, mode_keys=self._mode_keys, read_only=self._read_only)

    def touches(self) -> Sequence[Touch]:
        other = "Keys" if self._glossary else "Glossary"
        return (Touch("down", "↓", "More"), Touch("turn", "g", other), Touch("leave", "esc", "Close", current=True))

    def answer(self, id: str) -> None:
        if id == "down":
            self.scroll_text(10)
        elif id == "turn":
            self.action_turn()
        else:
            super().answer(id)

    def action_turn(self) -> None:
        """From the keys to the glossary, or back."""
        self._glossary = not self._glossary
        self.query_one("#box").border_title = Content(self.heading())
        written = self.query_one(Written)
        written.show(written.write(written.size.width))
        written.refresh(layout=True)
        self.query_one("#text").scroll_home(animate=False)
        self.reoffer()

    def action_down(self, by: int) -> None:
        self.scroll_text(by)
