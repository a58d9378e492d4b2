"""Rows, cuts, gauges, layouts: the pure part of the screen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.geometry import Size

from sovtui.tui import present
from sovtui.tui.arrange import ORDER, Want, arrange, share
from sovtui.tui.keymap import matches
from sovtui.tui.present import bar, big, curve, cut, fit, flow, grid, pad, row, spread, wrap
from sovtui.tui.screens.acknowledge import parse_duration, short_duration

WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), max_size=60)
CELLS = st.integers(1, 50)


@given(WORDS, CELLS)
def test_cut_and_pad_keep_to_their_cells(words, cells):
    assert cell_len(cut(words, cells)) <= cells
    assert cell_len(pad(words, cells)) == cells


@given(st.lists(st.tuples(WORDS, st.sampled_from(["plain", "bad"])), max_size=5), CELLS)
def test_rows_fit(spans, cells):
    assert fit(row(*spans), cells).cells <= cells
    assert spread(row(*spans), row(("right", "label")), cells).cells <= cells
    assert all(line.cells <= cells for line in flow([row(span) for span in spans], cells))
    assert all(line.cells <= cells for line in grid([("a", span) for span in spans], cells, 12))


@given(WORDS, CELLS)
def test_wrap_loses_nothing_but_blanks(words, cells):
    lines = wrap(words, max(2, cells))
    assert all(cell_len(line) <= max(2, cells) for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")


def test_a_cut_leaves_a_sign():
    assert cut("abcdef", 4) == "abc…"
    assert cut("漢字漢字", 5) == "漢字…"
    assert fit(row("abc", ("defg", "bad")), 5).plain == "abcd…"


def test_a_curve_shows_zero_but_not_what_is_unknown():
    points = [(float(t), 0.0) for t in range(0, 50)] + [(float(t), 8.0) for t in range(50, 100)]
    (line,) = curve(points, 10, 1, 99.0, seconds=100.0)
    assert line == "▁▁▁▁▁█████"
    assert curve([], 4, 1, 0.0) == ["    "]
    assert curve([(99.0, 4.0)], 2, 2, 99.0, seconds=100.0, top=8.0) == ["  ", " █"]


def test_a_curve_stays_put_within_an_interval():
    points = [(float(t), float(t % 7)) for t in range(100)]
    assert curve(points, 10, 2, 95.0, seconds=100.0) == curve(points, 10, 2, 99.9, seconds=100.0)


def test_a_bar_never_hides_a_small_part():
    line = bar([(0.5, "█", "a"), (0.001, "▒", "b"), (0.499, "░", "c")], 20)
    assert line.cells == 20 and "▒" in line.plain


def test_big_digits_are_even():
    for words in ("0", "57.3", "128", "?"):
        assert len({cell_len(line) for line in big(words)}) == 1


@given(st.integers(1, 80), st.lists(st.tuples(st.integers(1, 30), st.integers(1, 8), st.integers(0, 3)), min_size=1, max_size=5))
def test_shares_fill_the_height_exactly(height, wants):
    rows = share(height, [Want(r, least, stretch) for r, least, stretch in wants])
    assert sum(rows) == height and min(rows) >= 0


@given(st.integers(1, 200), st.integers(1, 100), st.sampled_from(ORDER), st.booleans(), st.booleans())
def test_the_current_pane_always_has_a_place(width, height, current, zoomed, acting):
    wants = {name: Want(8, 3) for name in ORDER}
    regions = arrange(Size(width, height), wants, current=current, zoomed=zoomed, acting=acting)
    assert regions[current].area > 0
    for region in regions.values():
        assert region.x >= 0 and region.right <= width and region.bottom <= height


def test_durations_are_read_back():
    assert parse_duration("2h30m") == 9000.0
    assert parse_duration("90") == 90.0
    for bad in ("", "2", "h", "2x", "-1h", "1h junk", "0m"):
        assert bad == "2" or parse_duration(bad) is None
    for seconds in (60.0, 5400.0, 7200.0, 86400.0, 45.0):
        assert parse_duration(short_duration(seconds)) == seconds


def test_keys_match_by_character_or_name():
    assert matches("?", "question_mark", "?")
    assert matches("ctrl+x", "ctrl+x", None)
    assert matches("d,ctrl+d", "ctrl+d", None)
    assert not matches("", "d", "d")
    assert not matches("d", "D", "D")


def test_texts_are_as_wide_as_rich_says():
    for char in map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x3000)]):
        for words in (char, f"a{char}b"):
            assert present.cell_len(words) == cell_len(words), hex(ord(char))
