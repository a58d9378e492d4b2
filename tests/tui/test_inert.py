"""The last gate: what passes it stays in its cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sovtui.core.clean import clean
from sovtui.tui import inert as gate
from sovtui.tui import present
from sovtui.tui.inert import MARKS, inert
from sovtui.tui.present import BLOCKS, wrap


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("plain ● ▸ █▒░ ✖ ÄÖ ж λ …", "plain ● ▸ █▒░ ✖ ÄÖ ж λ …"),
        ("\u0301\u0302lead", "lead"),
        ("Z\u0351\u036b\u0343\u036a\u0302!", "Z\u0351\u036b!"),
        ("e\u0301 \u20dd", "é "),
        ("\U0001f1e9\U0001f1ea", "DE"),
        ("\U0001f44d\U0001f3fd", "\U0001f44d"),
        ("a\xa0b\u3000c\u2003d", "a b  c d"),
        ("\x1b[31mred\x1b[0m\x00\x07", "red"),
        ("\ud800x\ue000\U000fffff", "x\ufffd\ufffd"),
        ("\u1100\u1161\u11a8\u1161", "각"),
        ("नमस्ते", "नमस्ते"),
    ],
)
def test_known_tricks(words: str, told: str) -> None:
    assert inert(words) == told


@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_keeps_its_cells_and_is_made_safe_once(words: str) -> None:
    told = inert(words)
    assert cell_len(told) == cell_len(clean(words))
    assert inert(told) == told
    assert not told or unicodedata.category(told[0]) not in ("Mn", "Me", "Mc")
    run = 0
    for char in told:
        category = unicodedata.category(char)
        assert category not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")
        run = run + 1 if category in ("Mn", "Me", "Mc") else 0
        assert run <= MARKS


def test_what_the_screen_draws_itself_is_left_alone() -> None:
    drawn = BLOCKS + "●◐◑○✖✔▲△▸‖↻↑↓←→…·×–—▏▔╭╮╰╯─│▓▒░▆▚≈"
    assert inert(drawn) is drawn


@pytest.mark.parametrize("part", ["x", "漢", "a ", "\u0301"])
def test_of_a_megabyte_no_more_is_looked_at_than_what_is_shown(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def count(look: Callable[[str], int]) -> Callable[[str], int]:
        def counting(words: str) -> int:
            nonlocal looked
            looked += len(words)
            return look(words)

        return counting

    for module, name in ((present, "cell_len"), (gate, "cell_len"), (unicodedata, "category")):
        monkeypatch.setattr(module, name, count(getattr(module, name)))
    words = part * (1_000_000 // len(part))
    lines = wrap(words, 40, 50)
    assert lines == wrap(words[:8_000], 40, 50) and len(lines) <= 50
    assert 0 < looked < 1_000_000, "as often as a line is tried with another word, but not of all that there is"
    looked = 0
    assert len(inert(words)) <= 4000
    assert looked < 20_000
