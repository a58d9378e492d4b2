"""A source may fail in any way; the room goes on and says so."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sovtui import bootstrap
from sovtui.core.events import Sample, Samples
from sovtui.core.model import HostSpec
from sovtui.core.reading import Status, fresh
from sovtui.core.state import State, initial
from sovtui.ports.errors import Absent, Unreachable
from sovtui.ports.source import Emit
from sovtui.runtime.clock import RealClock
from sovtui.runtime.poller import Tried, poll_forever
from sovtui.runtime.store import Store

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


@dataclass
class _Source:
    trouble: BaseException | None = None
    name: str = "prometheus"
    host: str = ""
    interval_seconds: float = 0.01
    timeout_seconds: float = 0.2
    hang: bool = False
    polls: int = 0

    async def poll(self, state: State, emit: Emit) -> str:
        self.polls += 1
        if self.hang:
            await asyncio.sleep(60)
        if self.trouble is not None and self.polls > 1:
            raise self.trouble
        emit(Samples("spark", (Sample("cpu.use_ratio", fresh(0.5, NOW, "prometheus")),)))
        return "2.42"

    async def aclose(self) -> None:
        """Nothing is open."""


async def _after(source: _Source, polls: int = 3) -> Store:
    store = Store(initial((HostSpec("spark"),), NOW))
    task = asyncio.create_task(poll_forever(source, store, RealClock(), Tried(), asyncio.Event()))
    async with asyncio.timeout(60):
        while source.polls < polls:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return store


async def test_one_that_answers() -> None:
    state = (await _after(_Source())).state
    assert state.sources["prometheus", ""].ok is True
    assert state.sources["prometheus", ""].detail == "2.42"


async def test_one_that_stops_answering_leaves_its_last_values_as_stale() -> None:
    state = (await _after(_Source(Unreachable("nobody listens on 9090", "Is Prometheus running?")))).state
    told = state.sources["prometheus", ""]
    assert told.ok is False and told.reason == "nobody listens on 9090. Is Prometheus running?"
    assert told.last_ok_at is not None
    reading = state.hosts["spark"].reading("cpu.use_ratio")
    assert reading.status is Status.STALE and reading.value == 0.5


async def test_one_that_hangs_is_given_up_in_time() -> None:
    state = (await _after(_Source(hang=True), polls=2)).state
    assert "did not answer within 0.2 s" in state.sources["prometheus", ""].reason


async def test_what_is_not_there_is_not_called_silent() -> None:
    state = (await _after(_Source(Absent("there is no NVIDIA driver here")))).state
    assert state.sources["prometheus", ""].ok is None


async def test_a_fault_of_ours_goes_to_the_file_and_not_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    bootstrap.log_to_file()
    handler = logging.getLogger().handlers[-1]
    try:
        state = (await _after(_Source(ZeroDivisionError("a bug")))).state
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert "broke inside sovtui (ZeroDivisionError)" in state.sources["prometheus", ""].reason
    assert "a bug" in (tmp_path / "sovtui" / "sovtui.log").read_text()
    assert capfd.readouterr().err == ""


async def test_one_that_failed_asks_again_at_once_when_it_is_woken() -> None:
    source = _Source(Unreachable("the link is down"))
    source.interval_seconds = 60.0
    store, wake = Store(initial((HostSpec("spark"),), NOW)), asyncio.Event()
    task = asyncio.create_task(poll_forever(source, store, RealClock(), Tried(), wake))
    async with asyncio.timeout(60):
        for polls in (1, 2, 3):
            while source.polls < polls:
                await asyncio.sleep(0.005)
            wake.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
