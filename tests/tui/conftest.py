"""The screen on still states: no network, no clock, no sleep longer than a frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from textual.pilot import Pilot

from sovtui.actions.spec import Plan
from sovtui.config.schema import Config
from sovtui.core.state import State
from sovtui.demo import build, scenario
from sovtui.ports.link import Ask
from sovtui.runtime.hub import LogLine, Outcome, Progress
from sovtui.tui.app import ControlRoom
from sovtui.tui.pictures import Still
from sovtui.tui.steady import STEADY_SECONDS
from sovtui.tui.widgets.lines import Lines
from tests.fakes.looptime import loop_time

T = TypeVar("T")
SIZES = {"wide": (120, 40), "normal": (80, 24), "phone": (44, 80)}


class Scripted(Still):
    """A still hub whose state a test can change, and which notes what was asked of it."""

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self.executed: list[Plan] = []
        self.outcome = Outcome(0, "done as asked")
        self.log_lines: list[LogLine] = []
        self.followed: list[tuple[str, str]] = []
        self.asked_until: list[tuple[str, str, float]] = []
        self.reconnected: list[str] = []
        self.ask: Ask | None = None
        self._notify: list[Callable[[], None]] = []

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        def mine() -> None:
            notify(select(self._state))

        self._notify.append(mine)
        super().subscribe(select, notify)
        return lambda: self._notify.remove(mine)

    def set_ask(self, ask: Ask | None) -> None:
        self.ask = ask

    def put(self, state: State) -> None:
        self._state = state
        for notify in self._notify:
            notify()

    async def execute(self, plan: Plan, progress: Progress | None = None, *, wait: bool = True) -> Outcome:
        self.executed.append(plan)
        return self.outcome

    async def logs(
        self, host: str, service: str, *, lines: int = 200, since: str = "", follow: bool = True, until: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        if until:
            self.asked_until.append((host, service, float(until)))
            for line in self.log_lines:
                if line.at is None or line.at.timestamp() <= float(until):
                    yield line
            return
        self.followed.append((host, service))
        for line in self.log_lines:
            yield line
        if follow:
            await asyncio.Event().wait()

    def reconnect(self, host: str = "") -> None:
        self.reconnected.append(host)


class Stage:
    """A running app with its hub."""

    def __init__(self, app: ControlRoom, hub: Scripted, pilot: Pilot[Any]) -> None:
        self.app, self.hub, self.pilot = app, hub, pilot
        self.room = app.room

    async def read(self) -> None:
        """So long that what is pressed now is meant for what is there."""
        await self.pilot.pause(STEADY_SECONDS + 0.1)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    def pane(self, name: str) -> Any:
        return self.room.pane(name)

    def text(self, name: str) -> str:
        return str(self.pane(name).plain)

    def bar(self, id: str) -> str:
        return str(self.room.query_one(f"#{id}", Lines).plain)

    @property
    def screen(self) -> Any:
        return self.app.screen

    def toasts(self) -> list[str]:
        return [note.message for note in self.app._notifications]

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            await self.pilot.pause(0.02)
        raise AssertionError("it never came to hold")


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(autouse=True)
def _loop_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual times itself by the machine's clock, and takes a processor that does nothing for a sign that it is done: here by the loop's."""
    monkeypatch.setattr("textual._time.get_time", loop_time)
    monkeypatch.setattr("textual._parser.get_time", loop_time)
    monkeypatch.setattr("textual._wait.monotonic", loop_time)
    monkeypatch.setattr("textual._wait.process_time", lambda: 0.0)


@pytest.fixture(scope="session")
def states() -> Callable[..., State]:
    cache: dict[tuple[str, str], State] = {}

    def get(name: str = "troubled", estate: str = "spark") -> State:
        if (name, estate) not in cache:
            cache[name, estate] = scenario(name, estate)
        return cache[name, estate]

    return get


@pytest.fixture(scope="session")
def configs() -> Callable[[str], Config]:
    cache: dict[str, Config] = {}

    def get(estate: str = "spark") -> Config:
        return cache.setdefault(estate, build(estate).config)

    return get


OpenStage = Callable[..., Any]


@pytest.fixture
def stage(states: Callable[..., State], configs: Callable[[str], Config]) -> OpenStage:
    """`async with stage(...) as s`: the control room on a scenario, at a size."""

    @asynccontextmanager
    async def opened(
        name: str | State = "troubled",
        size: tuple[int, int] = SIZES["wide"],
        *,
        estate: str = "spark",
        keys: dict[str, str] | None = None,
        lines: Sequence[LogLine] = (),
        theme: str | None = None,
        read_only: bool = False,
    ) -> AsyncIterator[Stage]:
        state = states(name, estate) if isinstance(name, str) else name
        config = configs(estate)
        if keys is not None:
            config = replace(config, screen=replace(config.screen, keys=keys))
        hub = Scripted(replace(state, read_only=read_only), config)
        hub.log_lines = list(lines)
        app = ControlRoom(hub, theme)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            yield Stage(app, hub, pilot)

    return opened
