"""The store tells once per loop turn, and only who asked for what changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sovtui.core.events import LinkChanged, Sample, Samples, Tick
from sovtui.core.model import HostSpec, Link, LinkPhase
from sovtui.core.reading import fresh
from sovtui.core.state import initial
from sovtui.runtime.store import Store

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


async def test_a_burst_is_told_once() -> None:
    store = Store(initial((HostSpec("spark"),), NOW))
    heard: list[float | None] = []
    store.subscribe(lambda s: s.hosts["spark"].reading("cpu.use_ratio").value, heard.append)
    for i in range(100):
        store.put(Samples("spark", (Sample("cpu.use_ratio", fresh(i / 100, NOW + timedelta(seconds=i), "probe")),)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heard == [None, 0.99]


async def test_who_asked_for_something_else_hears_nothing() -> None:
    store = Store(initial((HostSpec("spark"),), NOW))
    heard: list[object] = []
    end = store.subscribe(lambda s: s.alerts, heard.append)
    store.put(LinkChanged("spark", Link(LinkPhase.UP)))
    store.put(Tick(NOW + timedelta(seconds=1)))
    await asyncio.sleep(0.01)
    assert len(heard) == 1
    end()
    end()
