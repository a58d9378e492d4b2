"""QR codes as cells: what is drawn is the code, whichever way it is drawn."""

from __future__ import annotations

import pytest
import segno

from sovtui.core import qr

URL = "https://login.tailscale.com/a/c2e8ee2fe1cf"


def read_back(lines: list[str], marked: bool) -> list[list[bool]]:
    """The modules that are drawn, True where dark."""
    known = {cell: pair for pair, cell in qr.HALVES.items()}
    grid: list[list[bool]] = []
    for line in lines:
        pairs = [known[cell] for cell in line]
        grid += [[top is marked for top, _ in pairs], [bottom is marked for _, bottom in pairs]]
    return grid


@pytest.mark.parametrize("border", [0, 1, 2])
@pytest.mark.parametrize("light", [False, True])
def test_half_blocks_hold_every_module(border: int, light: bool) -> None:
    grid = qr.modules(URL, border)
    told = [[bool(m) for m in row] for row in segno.make(URL, error="l", micro=False, boost_error=False).matrix]
    assert [row[border : len(row) - border] for row in grid[border : len(grid) - border]] == told
    lines = qr.half_blocks(grid, light=light)
    assert len({len(line) for line in lines}) == 1 and len(lines) == (len(grid) + 1) // 2
    assert read_back(lines, not light)[: len(grid)] == grid


def test_spaces_hold_every_module() -> None:
    grid = qr.modules(URL)
    drawn = [[dark for words, dark in line for _ in range(len(words) // 2)] for line in qr.spaces(grid)]
    assert drawn == grid


def test_a_text_that_no_code_holds() -> None:
    with pytest.raises(ValueError):
        qr.modules("https://x/" + "a" * 4000)
