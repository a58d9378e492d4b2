"""Values that must not be seen are found however they are written."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import urllib.parse
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sovtui.onbox.hiding import COMMON, MARK, Hider

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=4, max_size=24).filter(
    lambda value: re.search(r"[^\W\d_]{3}", value) is not None and value.strip().lower() not in COMMON
)
WAYS: list[Callable[[str], str]] = [
    str,
    shlex.quote,
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False),
    lambda value: json.dumps(json.dumps({"token": value})),
    urllib.parse.quote,
    urllib.parse.quote_plus,
    lambda value: re.sub("%..", lambda code: code.group(0).lower(), urllib.parse.quote(value, safe="")),
    lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    html.escape,
    lambda value: "".join(f"&#x{ord(char):x};" for char in value),
    lambda value: re.sub(r"(\W)", r"\\\1", value),
    lambda value: base64.b64encode(value.encode()).decode(),
    lambda value: base64.urlsafe_b64encode(f"me:{value}".encode()).decode(),
    lambda value: urllib.parse.quote(urllib.parse.quote(value, safe=""), safe=""),
    lambda value: value.encode().hex(),
    lambda value: f"0x{value.encode().hex().upper()}",
]


@settings(max_examples=30, deadline=None)
@given(value=VALUES)
def test_a_value_is_found_however_it_is_written(value: str) -> None:
    hide = Hider([value])
    for written in (way(value) for way in WAYS):
        seen = hide(f"before={written};after")
        assert MARK in seen and "before=" in seen
        assert written.strip("'\"") not in seen and value not in seen


def test_nothing_of_its_encoding_is_left_over() -> None:
    assert Hider(["pass %"])("pass%20%25") == Hider(["pass &"])("pass &amp;") == MARK


def test_a_short_value_counts_where_it_stands_alone_and_a_common_answer_never() -> None:
    hide = Hider(["k3y", "7", "yes", "1"])
    assert hide("k3y k3yboard 'k3y' %6b3y 7 17") == "… k3yboard '…' … … 17"
    assert hide("yes, it ended with 1") == "yes, it ended with 1"


def test_a_short_value_is_found_in_base64_too() -> None:
    hide = Hider(["k3y", "ab"])
    for told in ("ab", "ab\n", "k3y", "me:ab", "me:k3y", '{"pin": "ab"}'):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert hide(f"Basic {encode(told.encode()).decode()}, and more") == "Basic …, and more"
    for other in ("about", "cab", "nothing at all", "xaby"):
        word = base64.b64encode(other.encode()).decode()
        assert hide(f"{word} {other}") == f"{word} {other}"


def test_each_line_of_a_value_is_one_and_the_longest_goes_first() -> None:
    assert Hider(["-----BEGIN\nabcdefgh\n"])("x -----BEGIN y\tabcdefgh") == "x … y\t…"
    assert Hider(["horse", "correcthorse"])("correcthorse horse") == "… …"
    assert "horse" not in repr(Hider(["horse"])) and Hider([])("a%20b") == "a%20b"
