"""The demo on the real hub: `runtime.control.Control` over the ports of the simulated estate."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from sovtui.config.specs import host_specs
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


class NoPast:
    """Implements `ports.past.Past`."""

    async def stretch(self, state: State, begin: datetime, end: datetime) -> Stretch:
        raise Unsupported(ONE_HOUR)


class DemoControl(Control):
    """A control room on a simulated estate. `theatre` is for tests and pictures."""

    theatre: Theatre

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
    if scenario == "healthy":
        stage.world.release_requests()
    if scenario == "empty":
        stage.world.down.update({host: f"{host}: no answer for 10 s" for host in config.host})
    links = Links({host: DemoDialer(theatre, host) for host in config.host}, theatre.clock)

    async def remember() -> None:
        """The hour before, a little at a time: keys are answered meanwhile."""
        earlier = Record()
        for _ in recording(earlier, name, scenario, began):
            await asyncio.sleep(0.001)
        control.record.prepend(earlier)

    async def equip() -> Equipment:
        remembering = asyncio.create_task(remember(), name="demo record")

        async def forget() -> None:
            remembering.cancel()
            await asyncio.gather(remembering, return_exceptions=True)

        sources: list[Source] = [DemoSource(theatre, host, links.get) for host in config.host]
        if config.alertmanager is None:
            return Equipment(sources, past=NoPast(), closers=[forget])
        via = config.alertmanager.via
        alerts = DemoAlerts(theatre, via)
        return Equipment(
            [*sources, DemoAlertsSource(theatre, alerts, via, links.get)], alerts=alerts, past=NoPast(), closers=[forget]
        )

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
    return control
