"""What the process holds without need is let go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cached_cell_len, cell_len
from rich.segment import Segment
from textual.geometry import Region

from sovtui.demo import scenario
from sovtui.tui import heap
from sovtui.tui.widgets.lines import Lines

from .conftest import SIZES


def test_caches_that_a_log_would_fill_are_emptied():
    cell_len("a line that comes once")
    Segment("a wide 字 line that comes once").split_cells(8)
    Region(0, 0, 9, 9).intersection(Region(3, 3, 9, 9))
    caches = (cached_cell_len, Segment._split_cells, Region.intersection)
    assert all(cache.cache_info().currsize for cache in caches)
    heap.forget()
    assert not any(cache.cache_info().currsize for cache in caches)


@pytest.mark.screen
async def test_a_room_that_changes_for_hours_does_not_remember_where(stage):
    healthy = scenario("healthy")
    async with stage(size=SIZES["wide"]) as s:
        for number in range(12):
            s.hub.put(replace(scenario(("alerting", "failed")[number % 2]), now=healthy.now + timedelta(seconds=number)))
            await s.pilot.pause(0.05)
        assert any(widget._dirty_regions for widget in s.room.query(Lines)), "nothing was noted: this test shows nothing"
        shown = s.text("services")
        s.app.give_back()
        assert not any(widget._dirty_regions for widget in s.room.query(Lines))
        assert s.text("services") == shown
