"""The demo on the real hub: `runtime.control.Control` over the ports of the simulated estate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from sovtui.config.specs import host_specs
from sovtui.core.marks import Mark
from sovtui.core.model import LinkPhase
from sovtui.core.record import Record
from sovtui.core.state import State
from sovtui.demo.earlier import recording
from sovtui.demo.feed import stage_of
from sovtui.demo.ports import DemoAlerts, DemoAlertsSource, DemoDialer, DemoSource, Theatre
from sovtui.demo.scripted import ONE_HOUR
from sovtui.demo.world import World
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Unsupported
from sovtui.ports.past import Stretch
from sovtui.ports.source import Source
from sovtui.runtime.clock import RealClock
from sovtui.runtime.control import Control, Equipment
from sovtui.runtime.links import Links
from sovtui.runtime.store import FOR_A_SCREEN_SECONDS


class DemoPast:
    """Implements `ports.past.Past`: waits until the hour before the demo has been played, and knows no more than that."""

    def __init__(self, control: DemoControl) -> None:
        self._control = control

    async def stretch(self, state: State, begin: datetime, end: datetime) -> Stretch:
        await self._control.remembered()
        oldest = self._control.record.oldest
        if oldest is None or end <= oldest:
            raise Unsupported(ONE_HOUR)
        return DemoStretch(self._control.record, max(begin, oldest), end)


@dataclass(frozen=True, slots=True)
class DemoStretch:
    """Implements `ports.past.Stretch` on a record."""

    record: Record
    begin: datetime
    end: datetime
    marks: tuple[Mark, ...] = ()

    def heard(self, host: str) -> datetime | None:
        """As far as the record tells: the last moment before the link was lost."""
        for seconds in range(0, int((self.end - self.begin).total_seconds()), 10):
            moment = self.end - timedelta(seconds=seconds)
            state = self.record.at(moment)
            if state is not None and host in state.hosts and state.hosts[host].link.phase is LinkPhase.UP:
                return moment
        return None

    def at(self, moment: datetime) -> State:
        found = self.record.at(moment)
        if found is None:
            raise Unsupported(ONE_HOUR)
        return found


class DemoControl(Control):
    """A control room on a simulated estate. `theatre` is for tests and pictures."""

    theatre: Theatre
    before: Callable[[Record], Iterator[None]]
    """Plays the hour before the demo into a record, in small steps."""
    _remembering: asyncio.Task[None] | None = None

    @property
    def record(self) -> Record:
        """Whoever looks at it first has the hour before played."""
        if self._remembering is None:
            self._remembering = asyncio.create_task(self._remember(), name="demo record")
        return self._record

    async def remembered(self) -> None:
        """Wait until the hour before is in the record."""
        assert self.record is not None
        if self._remembering is not None:
            await asyncio.shield(self._remembering)

    async def _remember(self) -> None:
        earlier = Record()
        for _ in self.before(earlier):
            await asyncio.sleep(0)  # keys are answered meanwhile
        self._record.prepend(earlier)

    async def aclose(self) -> None:
        if self._remembering is not None:
            self._remembering.cancel()
            await asyncio.gather(self._remembering, return_exceptions=True)
        await super().aclose()

    @property
    def world(self) -> World:
        return self.theatre.world

    def unplug(self, host: str, reason: str) -> None:
        """Break a host's link, as a bad network would; `reconnect` makes it again."""
        self.theatre.unplug(host, reason)

    def reconnect(self, host: str = "") -> None:
        """A link that was cut in the demo can be made again as soon as somebody asks for it."""
        for name in tuple(self.theatre.world.down):
            if host in ("", name):
                self.theatre.plug(name)
        super().reconnect(host)


def build_control(name: str, clock: Clock | None, speed: float, scenario: str, *, read_only: bool = False) -> DemoControl:
    """A control room whose estate stands in the middle of a scenario; its links are still to be made."""
    base = clock or RealClock()
    began = base.now()
    stage = stage_of(name, scenario, began).stage
    theatre = Theatre(stage, base, speed)
    config = stage.world.estate.config
    if scenario in ("healthy", "troubled", "hostile"):
        stage.world.release_requests()
    if scenario == "empty":
        stage.world.down.update({host: f"{host}: no answer for 10 s" for host in config.host})
    links = Links({host: DemoDialer(theatre, host) for host in config.host}, theatre.clock)

    async def equip() -> Equipment:
        sources: list[Source] = [DemoSource(theatre, host, links.get) for host in config.host]
        if config.alertmanager is None:
            return Equipment(sources, past=DemoPast(control))
        via = config.alertmanager.via
        alerts = DemoAlerts(theatre, via)
        return Equipment([*sources, DemoAlertsSource(theatre, alerts, via, links.get)], alerts=alerts, past=DemoPast(control))

    specs = tuple(replace(spec, kind="demo") for spec in host_specs(config))
    control = DemoControl(
        config,
        specs,
        links,
        theatre.clock,
        equip,
        demo=True,
        read_only=read_only,
        routine_every_seconds=FOR_A_SCREEN_SECONDS if clock is None else 0.0,
    )
    control.theatre = theatre
    control.before = partial(recording, name=name, scenario=scenario, now=began)
    return control
