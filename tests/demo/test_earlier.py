"""The hour before a demo: played when somebody looks, the same every time, and it ends where the demo begins."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sovtui.core.marks import MarkKind
from sovtui.core.modes import hot_modes
from sovtui.demo import PICTURE_TIME, build, scenario
from sovtui.demo.earlier import record_of
from sovtui.ports.errors import Unsupported


@pytest.mark.parametrize(("estate", "name"), [("spark", "failed"), ("mesh", "alerting")])
def test_it_leads_to_where_the_scenario_stands(estate: str, name: str) -> None:
    record, state = record_of(estate, name, PICTURE_TIME), scenario(name, estate)
    assert record.oldest is not None and PICTURE_TIME - record.oldest > timedelta(minutes=59)
    last = record.at(PICTURE_TIME - timedelta(seconds=1))
    assert last is not None
    for host, then in last.hosts.items():
        now = state.hosts[host]
        assert [run.id for run in then.receipts] == [run.id for run in now.receipts]
        assert {s.name: s.active for s in then.services.values()} == {s.name: s.active for s in now.services.values()}
        assert [mode.name for mode in hot_modes(then)] == [mode.name for mode in hot_modes(now)]
        assert then.link.phase is now.link.phase
    assert {mark.kind for mark in record.noted} >= {MarkKind.LINK, MarkKind.BACK}


async def test_a_demo_plays_it_only_for_whoever_looks() -> None:
    control = build()
    await control.start()
    try:
        await control.settle(20)
        assert control._remembering is None
        now = control.state.now
        stretch = await control.past(now - timedelta(minutes=40), now)
        assert control.record.oldest is not None and now - control.record.oldest > timedelta(minutes=58)
        assert stretch.at(now - timedelta(minutes=30)).hosts.keys() == control.state.hosts.keys()
        with pytest.raises(Unsupported, match="one hour"):
            await control.past(now - timedelta(hours=5), now - timedelta(hours=4))
    finally:
        await control.aclose()


async def test_it_can_be_left_while_it_is_played() -> None:
    control = build()
    await control.start()
    assert len(control.record) == 0
    await control.aclose()
    assert control._remembering is not None and control._remembering.done()
