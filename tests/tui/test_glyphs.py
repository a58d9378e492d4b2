"""Terminals that only have ASCII, or no colours: every sign has its stand-in, as wide as itself, and stays different from others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.cells import cell_len

from sovtui.config.surroundings import look
from sovtui.core import text
from sovtui.tui.glyphs import SIGNS, to_ascii
from sovtui.tui.terminal import without_colour

ROOT = Path(__file__).resolve().parents[2] / "sovtui"


def literals() -> set[str]:
    """Every character beyond ASCII in a text that the screen may draw."""
    found: set[str] = set()
    drawing = [m for m in (ROOT / "tui").rglob("*.py") if m.name not in ("glyphs.py", "inert.py")]  # those only compare
    for module in [*drawing, ROOT / "core" / "text.py", *(ROOT / "actions").rglob("*.py")]:
        tree = ast.parse(module.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found |= {char for char in node.value if not char.isascii()}
    return found


def test_every_sign_that_is_drawn_has_a_stand_in() -> None:
    lacking = {char for char in literals() if char not in SIGNS and not "\u2500" <= char <= "\u257f"}
    assert not lacking


@pytest.mark.parametrize("char", sorted(SIGNS) + list("─│╭╮╰╯━┃┏┛═║▊▎é日😀\u0301\u200d"))
def test_a_stand_in_is_as_wide_as_what_it_stands_for(char: str) -> None:
    assert to_ascii(char).isascii() and len(to_ascii(char)) == cell_len(char)


@pytest.mark.parametrize(
    "together",
    [
        "●○◐◑✖✔▲△–?↻",  # states of modes, services, alerts, steps
        "█▓▆▚▒░",  # a gauge
        " ▁▂▃▄▅▆▇█",  # a curve
        "▲◆×✖○",  # marks on the line of time
        "▸ ",
        "▲◆✖×○━┄█",  # a line of time
    ],
)
def test_what_differs_stays_different(together: str) -> None:
    assert len(set(to_ascii(together))) == len(together)


def test_the_four_kinds_of_nothing_need_no_stand_in() -> None:
    signs = [text.UNKNOWN_SIGN, text.UNSUPPORTED_SIGN, text.STALE_SIGN, "0"]
    assert [to_ascii(sign) for sign in signs] == signs and len(set(signs)) == 4
    assert not {text.STALE_SIGN, text.UNKNOWN_SIGN} & {to_ascii(sign) for sign in SIGNS if sign != "≈"}


def test_escape_sequences_pass() -> None:
    assert to_ascii("\x1b[1m● größe\x1b[0m") == "\x1b[1m* groe\x1b[0m".replace("groe", "gro?e")


@pytest.mark.parametrize(
    ("environment", "ascii"),
    [
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "de_DE.utf8"}, False),
        ({}, False),  # nothing said: terminals without UTF-8 are rare, and Python takes it for UTF-8 too
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "", "LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # what Python makes of LANG=C
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"LANG": "en_US.UTF-8", "TERM": "linux"}, True),
        ({"LANG": "en_US.UTF-8", "TERM": "vt100"}, True),
        ({"LC_ALL": "C", "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, False),
    ],
)
def test_who_gets_ascii(environment: dict[str, str], ascii: bool) -> None:
    environment = {"TERM": "xterm-256color", **environment}
    assert look(environment).ascii is ascii
    assert look(environment, "ascii").ascii is True and look(environment, "unicode").ascii is False


@pytest.mark.parametrize(("said", "colour"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)])
def test_who_gets_colours(said: dict[str, str], colour: bool) -> None:
    assert look(said).colour is colour


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\x1b[1;38;2;1;2;3;48;5;7mx\x1b[0m", "\x1b[1mx\x1b[0m"),
        ("\x1b[31mx", "x"),
        ("\x1b[3;4;7;9;39;49mx", "\x1b[3;4;7;9mx"),
        ("\x1b[97;107;1mx\x1b[m", "\x1b[1mx\x1b[m"),
        ("\x1b[38:2::1:2:3;1mx", "\x1b[1mx"),
        ("\x1b[2J\x1b[3;4H", "\x1b[2J\x1b[3;4H"),
        ("\x1b[23;22m", "\x1b[23;22m"),
    ],
)
def test_without_colour(before: str, after: str) -> None:
    assert without_colour(before) == after
