"""What the process holds without need is let go."""

from __future__ import annotations

from rich.cells import cached_cell_len, cell_len
from rich.segment import Segment
from textual.geometry import Region

from sovtui.tui import heap


def test_caches_that_a_log_would_fill_are_emptied():
    cell_len("a line that comes once")
    Segment("a wide 字 line that comes once").split_cells(8)
    Region(0, 0, 9, 9).intersection(Region(3, 3, 9, 9))
    caches = (cached_cell_len, Segment._split_cells, Region.intersection)
    assert all(cache.cache_info().currsize for cache in caches)
    heap.forget()
    assert not any(cache.cache_info().currsize for cache in caches)
