"""Of a changed line only the changed cells are sent, and what the terminal then shows is the same."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate
from textual.app import App
from textual.screen import Screen
from textual.strip import Strip

from sovtui.demo import scenario
from sovtui.runtime.hub import LogLine
from sovtui.tui.app import ControlRoom
from sovtui.tui.narrow import NarrowCompositor, Pieces, narrow
from sovtui.tui.present import Row, cell_len
from sovtui.tui.widgets.lines import Lines, _changed

from .conftest import SIZES

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


class Glass:
    """A terminal: in which cells which text was written last, and with which style."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}
        self._x = self._y = 0
        self._codes: list[str] = []

    def write(self, data: str) -> None:
        for move, column, sgr, newline, char in re.findall(
            r"\x1b\[(\d+;\d+)H|\x1b\[(\d+)G|\x1b\[([\d;]*)m|(\n)|([^\x1b\n])", data
        ):
            if move:
                self._y, self._x = (int(n) - 1 for n in move.split(";"))
            elif column:
                self._x = int(column) - 1
            elif newline:
                self._y += 1
            elif char:
                for n in range(cell_len(char)):
                    self.cells[self._y, self._x + n] = (char if n == 0 else "", ";".join(sorted(self._codes)))
                self._x += cell_len(char)
            else:
                self._style(sgr.split(";"))

    def _style(self, codes: list[str]) -> None:
        """Foreground and background replace each other; 0 and nothing end all."""
        while codes:
            code = codes.pop(0)
            if code in ("", "0"):
                self._codes = []
                continue
            kind = code
            if code in ("38", "48"):
                taken = 4 if codes[0] == "2" else 2
                code, codes = ";".join([code, *codes[:taken]]), codes[taken:]
            elif re.fullmatch(r"[34]\d|9[0-7]|10[0-7]", code):
                kind = "38" if code[0] in "39" else "48"
            self._codes = [c for c in self._codes if not (kind in ("38", "48") and c[:2] == kind)]
            self._codes.append(code if code[:2] == kind else f"{kind};{code}")


def test_a_change_of_style_says_all_that_has_to_be_taken_off():
    styles = ["", "bold", "red", "on blue", "bold red on blue", "#102030 on #405060", "#102030 on #405061", "reverse", "default"]
    choose = random.Random(2)
    for _ in range(300):
        pieces = [
            (y, x, [Segment(choose.choice(("ab", "日", " ")), Style.parse(choose.choice(styles))) for _ in range(3)])
            for y in range(3)
            for x in (0, 20)
        ]
        narrowly, plainly = Glass(), Glass()
        console = Console(force_terminal=True, color_system="truecolor")
        narrowly.write(Pieces(pieces).render_segments(console))
        for y, x, segments in pieces:
            plainly.write(f"\x1b[{y + 1};{x + 1}H" + Strip(segments).render(console))
        assert narrowly.cells == plainly.cells


@pytest.mark.screen
@pytest.mark.parametrize(("size", "theme"), [("wide", "sovtui-dark"), ("phone", "sovtui-ansi")])
async def test_what_is_sent_makes_the_terminal_show_the_whole_screen(stage, size, theme, monkeypatch):
    """The same as when everything is painted anew, after many changes, with notices above the panes and back in time."""
    glass, partial = Glass(), 0

    def display(app: ControlRoom, screen: Screen[Any], renderable: Any) -> None:
        nonlocal partial
        if renderable is not None:
            partial += isinstance(renderable, Pieces)
            found = narrow(renderable)
            assert isinstance(found, CompositorUpdate)
            glass.write(found.render_segments(app.console))

    monkeypatch.setattr(ControlRoom, "_display", display)
    healthy = scenario("healthy")
    async with stage(size=SIZES[size], theme=theme) as s:
        assert isinstance(s.room._compositor, NarrowCompositor)
        log = s.pane("log")
        for number, name in enumerate(("healthy", "alerting", "failed", "switching", "link-down", "healthy", "idle")):
            s.hub.put(replace(scenario(name), now=healthy.now + timedelta(seconds=number)))
            log.add(LogLine(healthy.now, f"line {number} 日本語 [not] *markup*", "warning"))
            if number == 2:
                s.room.tell("something to tell in front of the panes", "warning")
            await s.press("tab", *(["down"] if number % 2 else []))
            await s.pilot.pause(0.1)
            whole = Glass()
            s.room._compositor._dirty_regions.clear()
            whole.write(s.room._compositor.render_full_update().render_segments(s.app.console))
            apart = {at for at in whole.cells if glass.cells.get(at) != whole.cells[at]}
            assert not apart, (name, sorted(apart)[:5])
    assert partial > 5, "nothing was drawn in part"


def test_a_part_of_a_row_is_what_the_whole_row_has_there():
    class Some(Lines):
        def _look(self, role: str, mark: str) -> Style:
            return Style.parse({"bad": "reverse red", "ok": "green"}.get(role, "white"))

    rows = [Row((("  ab 日本 ", "bad"), ("cd", "ok"), ("日", "plain"), ("  e", "bad"))), Row()]
    lines = Some(rows)
    for y, wide in itertools.product((0, 1, 2), (10, 18, 24)):
        whole = Strip(lines.part(y, 0, wide))
        assert whole.cell_length == wide
        for start, end in itertools.combinations(range(wide + 1), 2):
            part = Strip(lines.part(y, start, end))
            assert part.cell_length == end - start
            assert _styled(part) == _styled(whole.crop(start, end)), (y, wide, start, end)


def _styled(strip: Strip) -> list[tuple[str, Style | None]]:
    return [(char, style) for words, style, _ in strip for char in words]


@pytest.mark.parametrize(
    ("before", "after", "columns"),
    [
        ("age 49s", "age 50s", (4, 6)),
        ("age 49s", "age 59s", (4, 5)),
        ("▄▄▄ 1", "▄▄▄ 2", (4, 5)),
        ("日本 1x", "日本 2x", (5, 6)),
        ("short", "shorter", (5, 7)),
        ("ab  ", "ab c", (2, 4)),
        ("  x", "a x", (0, 2)),
        ("  9", " 10", (1, 3)),
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
