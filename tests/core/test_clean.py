"""Hostile text becomes inert, whatever it is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovtui.core.clean import MAX_CHARS, clean, clean_bytes


@pytest.mark.parametrize(
    ("raw", "inert"),
    [
        ("plain text", "plain text"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;aGFjaw==\x1b\\after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x9b31mb", "ab"),
        ("one\r10 %\r20 %", "20 %"),
        ("tab\there", "tab here"),
        ("line\nbreak", "line break"),
        ("rtl\u202eevil\u2066x", "rtlevilx"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("nul\x00l", "null"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
        ("日本 ok é", "日本 ok é"),
    ],
)
def test_known_tricks(raw: str, inert: str) -> None:
    assert clean(raw) == inert


@given(st.text())
def test_nothing_that_moves_or_hides_survives(raw: str) -> None:
    for char in clean(raw):
        assert unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
        assert char not in "\u200b\u200e\u200f\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u061c"


@given(st.text())
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    assert clean(clean(raw)) == clean(raw)


def test_a_megabyte_on_one_line_is_cut_with_a_sign() -> None:
    out = clean("x" * 1_000_000)
    assert len(out) == MAX_CHARS and out.endswith("…")


def test_invalid_utf8() -> None:
    assert clean_bytes(b"a\xff\xfeb") == "a\ufffd\ufffdb"
