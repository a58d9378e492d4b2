"""Of a changed line only the changed cells are sent, and what the terminal then shows is the same."""

from __future__ import annotations

import itertools
import random

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.strip import Strip

from sovtui.tui.narrow import narrow
from sovtui.tui.present import Row, cell_len
from sovtui.tui.widgets.lines import _changed

PLAIN = Style(color="white")


def test_only_the_changed_columns_are_sent():
    frame, words = Strip([Segment("│", PLAIN)]), Strip([Segment("unit.service   active  49s", PLAIN)])
    update = ChopsUpdate([{0: frame, 1: words}], [(0, 24, 27)], [[1, 27]])
    found = narrow(update)
    assert isinstance(found, ChopsUpdate)
    sent = found.render_segments(Console(force_terminal=True, color_system="standard"))
    assert sent.startswith("\x1b[1;25H") and "49s" in sent and "active" not in sent and "│" not in sent


def test_what_is_no_partial_update_is_left_alone():
    assert narrow(None) is None and narrow("text") == "text"


def test_textual_still_displays_through_the_method_that_is_overridden():
    assert callable(getattr(App, "_display", None)), "the room would work, and send three times the bytes"


@pytest.mark.parametrize(
    ("before", "after", "columns"),
    [
        ("age 49s", "age 50s", (4, 6)),
        ("age 49s", "age 59s", (4, 5)),
        ("▄▄▄ 1", "▄▄▄ 2", (4, 5)),
        ("日本 1x", "日本 2x", (5, 6)),
        ("short", "shorter", (5, 7)),
        ("gone", "", (0, 4)),
        ("same", "same", (4, 5)),
    ],
)
def test_the_changed_columns_of_a_row(before, after, columns):
    assert _changed(Row(((before, "plain"),)), Row(((after, "plain"),)), 40) == columns


def test_another_role_is_a_change():
    assert _changed(Row((("ab", "plain"), ("cd", "ok"))), Row((("ab", "plain"), ("cd", "bad"))), 40) == (2, 4)


def test_what_is_outside_the_changed_columns_is_the_same():
    pieces = [(words, role) for words in ("a", "ab", "日", "1.0 ", "1.1 ", "  ") for role in ("plain", "ok")]
    rows = [Row(spans) for n in range(4) for spans in itertools.product(pieces[::2] if n == 3 else pieces, repeat=n)]
    choose = random.Random(1)
    for _ in range(3000):
        before, after = choose.choice(rows), choose.choice(rows)
        start, end = _changed(before, after, 40)
        old, new = _cells_of(before), _cells_of(after)
        assert old[:start] == new[:start] and old[end:] == new[end:], (before, after)


def _cells_of(line: Row) -> list[tuple[str, str]]:
    """What is in each of forty columns."""
    found = [(char if n == 0 else "", role) for words, role in line.spans for char in words for n in range(cell_len(char))]
    return found + [(" ", "")] * (40 - len(found))
