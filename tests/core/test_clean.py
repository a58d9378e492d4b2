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
        ("Braille\u2800blank", "Braille blank"),
        ("日本 ok é", "日本 ok é"),
    ],
)
def test_known_tricks(raw: str, inert: str) -> None:
    assert clean(raw) == inert


IGNORABLE = frozenset(
    (
        *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0),
        *(*range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10)),
        *(*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
    )
)
"""Unicode's property Default_Ignorable_Code_Point, which the standard library does not tell."""
BLANK = frozenset((0x2800, 0x13441, 0x13442, 0x16FE4, 0x1D159))
"""Letters, marks and signs that are drawn as nothing."""


def test_no_code_point_that_moves_or_hides_is_let_through() -> None:
    gone = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    gone |= set(map(chr, IGNORABLE | BLANK))
    left = sorted(ascii(char) for char in gone if char in clean(f"a{char}b"))
    assert left == []


def test_every_letter_mark_sign_and_digit_is_let_through() -> None:
    for start in range(0, 0x110000, 256):
        seen = map(chr, sorted(set(range(start, start + 256)).difference(IGNORABLE | BLANK)))
        shown = "".join(char for char in seen if unicodedata.category(char)[0] in "LMNPS" or char == " ")
        assert clean(shown) == shown


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Ll"])))
def test_nothing_that_moves_or_hides_survives_in_company(raw: str) -> None:
    assert {unicodedata.category(char) for char in clean(raw)} <= {"Ll", "Zs"}


@given(st.text())
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    assert clean(clean(raw)) == clean(raw)


def test_a_megabyte_on_one_line_is_cut_with_a_sign() -> None:
    out = clean("x" * 1_000_000)
    assert len(out) == MAX_CHARS and out.endswith("…")


def test_invalid_utf8() -> None:
    assert clean_bytes(b"a\xff\xfeb") == "a\ufffd\ufffdb"
