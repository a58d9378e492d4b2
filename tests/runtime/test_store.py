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


async def test_figures_are_gathered_for_a_screen_and_all_else_is_told_at_once() -> None:
    store = Store(initial((HostSpec("spark"),), NOW), routine_every_seconds=0.2)
    heard: list[tuple[float | None, LinkPhase]] = []
    store.subscribe(lambda s: (s.hosts["spark"].reading("cpu.use_ratio").value, s.hosts["spark"].link.phase), heard.append)

    def figure(value: float) -> None:
        at = NOW + timedelta(seconds=value)
        store.put(Samples("spark", (Sample("cpu.use_ratio", fresh(value, at, "probe")),)))

    figure(0.1)
    await asyncio.sleep(0.1)
    assert heard[-1][0] == 0.1, "the first is not held back for long"
    figure(0.2)
    figure(0.3)
    await asyncio.sleep(0.05)
    assert heard[-1][0] == 0.1
    store.put(LinkChanged("spark", Link(LinkPhase.UP)))
    await asyncio.sleep(0.01)
    assert heard[-1] == (0.3, LinkPhase.UP), "and takes the waiting figures along"
    figure(0.4)
    await asyncio.sleep(0.25)
    assert [value for value, _ in heard] == [None, 0.1, 0.3, 0.4]


async def test_a_link_is_news_and_its_latency_is_not() -> None:
    store = Store(initial((HostSpec("spark"),), NOW), routine_every_seconds=5.0)
    heard: list[float | None] = []
    store.subscribe(lambda s: s.hosts["spark"].link, lambda link: heard.append(link.latency_seconds))
    store.put(LinkChanged("spark", Link(LinkPhase.UP, latency_seconds=0.1)))
    await asyncio.sleep(0.01)
    store.put(LinkChanged("spark", Link(LinkPhase.UP, latency_seconds=0.2)))
    await asyncio.sleep(0.1)
    assert heard == [None, 0.1]
    store.put(LinkChanged("spark", Link(LinkPhase.DOWN, latency_seconds=0.2)))
    await asyncio.sleep(0.01)
    assert heard == [None, 0.1, 0.2]


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
