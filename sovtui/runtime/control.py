"""The hub's one implementation: store, links, sources and dispatcher under one roof and one task group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sovtui.actions import all_specs
from sovtui.actions.spec import Plan, Wish
from sovtui.config.schema import Config
from sovtui.core.events import ReceiptsUnread, SourceChanged, SpecChanged, Tick
from sovtui.core.metered import Wish as Metered
from sovtui.core.model import ActionRun, HostSpec, LinkPhase
from sovtui.core.model import Source as SourceValue
from sovtui.core.record import Record
from sovtui.core.state import State, initial
from sovtui.core.told import untold
from sovtui.ports.alerts import Alerts
from sovtui.ports.clock import Clock
from sovtui.ports.errors import AnswerLost, PortError, Unreachable, Unsupported
from sovtui.ports.link import Ask, Patience
from sovtui.ports.past import Past, Stretch
from sovtui.ports.source import Source, StreamSource
from sovtui.runtime import box, bundle, waking
from sovtui.runtime.dispatcher import LOST_ANSWERS, Dispatcher
from sovtui.runtime.exchange import NotBegun
from sovtui.runtime.hub import LogLine, Outcome, Progress, Rehearsal, Rights, TailnetView
from sovtui.runtime.links import Links
from sovtui.runtime.poller import Tried, poll_forever, stream_forever
from sovtui.runtime.standby import Standby
from sovtui.runtime.store import Store
from sovtui.runtime.thrift import Thrift

log = logging.getLogger(__name__)
T = TypeVar("T")
SPARE_THREADS, THREADS_PER_HOST = 8, 3
"""Threads are made when they are needed, so many at most."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What speaks with the world. Made after the first paint: importing it takes as long as drawing the screen."""

    sources: Sequence[Source] = ()
    streams: Sequence[StreamSource] = ()
    alerts: Alerts | None = None
    past: Past | None = None
    vias: Mapping[str, str] = field(default_factory=dict)
    """The host through whose link a source that tells of all hosts is reached, by the source's name."""
    closers: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()


Equip = Callable[[], Coroutine[Any, Any, Equipment]]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is looked at from now on, where nobody has configured it. The hosts stay the same."""

    config: Config
    specs: tuple[HostSpec, ...]
    notes: tuple[str, ...]
    equip: Equip


Renewals = Callable[[], AsyncGenerator[Renewal, None]]


class Control:
    """Implements `runtime.hub.Hub`. Everything it needs is passed in; it opens nothing before `start`."""

    def __init__(
        self,
        config: Config,
        specs: tuple[HostSpec, ...],
        links: Links,
        clock: Clock,
        equip: Equip,
        *,
        demo: bool = False,
        read_only: bool = False,
        notes: tuple[str, ...] = (),
        stand_by: bool = False,
        routine_every_seconds: float = 0.0,
        renewals: Renewals | None = None,
    ) -> None:
        """`stand_by`: keep a warm start ready on every host with modes, for somebody who sits in front of the screen.

        `renewals`: where there is no configuration, what is to be looked at instead, each time that it is something else.
        `routine_every_seconds`: how often subscribers hear of mere figures; see `runtime.store`.
        """
        self._config = config
        self._links = links
        self._clock = clock
        self._equip = equip
        self._equipment: Equipment | None = None
        state = initial(specs, clock.now(), demo=demo, read_only=read_only, notes=notes)
        self.store = Store(state, routine_every_seconds=routine_every_seconds)
        self._record = Record()
        self._recording = stand_by or demo
        links.connect_store(self.store.put)
        self._vias: dict[str, str] = {}
        self._thrift = Thrift(config, links.keepers, self.store.put, clock, self._vias)
        self._dispatcher = Dispatcher(config, links, self.store, clock)
        if stand_by:
            self._dispatcher.standbys = {spec.name: Standby() for spec in specs if spec.modes}
        self._renewals = renewals
        self._tasks: list[asyncio.Task[object]] = []
        self._asking: list[asyncio.Task[object]] = []
        """Those of the sources."""
        self._tried: list[tuple[str, str, Tried]] = []
        """Name and host of every source, and how far it has come."""
        self._wakes: list[asyncio.Event] = []
        self._stirring: list[Callable[[], None]] = []
        """What ends it that a source is asked as soon as there is news for it."""

    @property
    def config(self) -> Config:
        return self._config

    @property
    def state(self) -> State:
        return self.store.state

    @property
    def record(self) -> Record:
        return self._record

    def set_ask(self, ask: Ask | None) -> None:
        """Who answers questions of links being made; None in headless use."""
        self._links.ask = ask

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        return self.store.subscribe(select, notify)

    async def start(self) -> None:
        # A name that nobody answers for blocks a thread; those of one host must not be missing to another.
        threads = ThreadPoolExecutor(SPARE_THREADS + THREADS_PER_HOST * len(self._links.keepers), "sovtui")
        asyncio.get_running_loop().set_default_executor(threads)
        self._spawn(self._tick(), "tick")
        if self._links.network is not None:
            self._spawn(waking.watch(self._links.network, self._clock, self._links.addresses, self._links.stir), "waking")
        for name, keeper in self._links.keepers.items():
            self._spawn(keeper.run(), f"link {name}")
            self._spawn(self._greet(name), f"greet {name}")
        self._spawn(asyncio.to_thread(bundle.payload, "probe"), "bundle")  # it is ready when the first link is
        self._spawn(self._open_and_renew(), "equip")

    async def _open_and_renew(self) -> None:
        await self._open_sources()
        if self._renewals is None:
            return
        try:
            async with aclosing(self._renewals()) as renewals:
                async for renewal in renewals:
                    await self._renew(renewal)
        except Exception:
            log.exception("looking again failed")  # what is known goes on being looked at

    async def _renew(self, renewal: Renewal) -> None:
        await self._close_sources()
        self._config, self._equip = renewal.config, renewal.equip
        self._dispatcher.config = renewal.config
        for spec in renewal.specs:
            self.store.put(SpecChanged(spec, renewal.notes))
        await self._open_sources()

    async def _close_sources(self) -> None:
        equipment, self._equipment = self._equipment, None
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        for unsubscribe in self._stirring:
            unsubscribe()
        for known in (self._asking, self._tried, self._wakes, self._stirring):
            known.clear()
        self._thrift.streams = ()
        if equipment is not None:
            for source in equipment.sources:
                with contextlib.suppress(PortError):
                    await source.aclose()
            for close in equipment.closers:
                await close()

    async def _open_sources(self) -> None:
        equipment = self._equipment = await self._equip()
        self._dispatcher.alerts = equipment.alerts
        self._vias.update(equipment.vias)
        self._thrift.streams = equipment.streams
        for source in equipment.sources:
            wake, tried = asyncio.Event(), Tried()
            self._wakes.append(wake)
            self._tried.append((source.name, source.host, tried))
            if (stirred_by := getattr(source, "stirred_by", None)) is not None:
                self._stirring.append(self.store.subscribe(stirred_by, lambda _, wake=wake: wake.set()))  # type: ignore[misc]
            asking = poll_forever(source, self.store, self._clock, tried, wake, self._thrift.interval)
            self._asking.append(asyncio.create_task(asking, name=f"poll {source.name} {source.host}"))
        for stream in equipment.streams:
            tried = Tried()
            self._tried.append((stream.name, stream.host, tried))
            keeper = self._links.keepers[stream.host]
            hearing = stream_forever(stream, keeper, self.store, self._clock, tried)
            self._asking.append(asyncio.create_task(hearing, name=f"stream {stream.name} {stream.host}"))

    def _spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            self.store.put(Tick(self._clock.now()))
            if self._thrift.look(self.store.state):
                self._wake()
            if self._recording:
                self._record.keep(self.store.state)

    async def _greet(self, host: str) -> None:
        """On every new link: read the receipts, and follow what runs already."""
        keeper = self._links.keepers[host]
        while True:
            link = await keeper.when_up()
            self._wake()  # who asked in vain while there was none asks again
            try:
                for run in await self._dispatcher.receipts(host):
                    if run.running:
                        self._dispatcher.follow_quietly(host, run.id)
            except (PortError, TimeoutError):
                self.store.put(ReceiptsUnread(host))
            unsubscribe = self.store.subscribe(lambda state: state.hosts[host].noticed, lambda run_id: self._notice(host, run_id))
            standby = self._dispatcher.standbys.get(host)
            ready = asyncio.create_task(standby.keep(link), name=f"standby {host}") if standby else None
            try:
                await link.wait_lost()
            finally:
                unsubscribe()
                if ready is not None:
                    ready.cancel()
                    await asyncio.gather(ready, return_exceptions=True)
            await self._clock.sleep(0.2)

    def _notice(self, host: str, run_id: str) -> None:
        known = self.state.hosts[host].action
        if run_id and (known is None or known.id != run_id or known.running):
            self._dispatcher.follow_quietly(host, run_id)

    async def settle(self, seconds: float, *, whole: bool = False) -> tuple[str, ...]:
        """What a host pushes is not waited for while its link is down: it cannot come. Sources given up say so as their reason."""
        try:
            async with asyncio.timeout(seconds):
                while self._equipment is None or self._awaited(whole):
                    await self._clock.sleep(0.02)
        except TimeoutError:
            for name, host in self._silent(whole=False):
                self.store.put(SourceChanged(SourceValue(name, host, None, f"no answer within {seconds:g} s")))
        self._thrift.look(self.store.state)
        self._thrift.count()
        await asyncio.sleep(0)
        return self._awaited(whole)

    def _awaited(self, whole: bool) -> tuple[str, ...]:
        """Everybody who has not reported yet, in words."""
        state = self.state
        links = [n for n, host in state.hosts.items() if host.link.phase in (LinkPhase.IDLE, LinkPhase.CONNECTING)]
        return (
            *(f"the link to {name}" for name in links),
            *(f"{name} of {host}" if host else name for name, host in self._silent(whole=whole) if host not in links),
            *(untold(state) if whole else ()),
        )

    def _silent(self, *, whole: bool) -> list[tuple[str, str]]:
        """Name and host of the sources that have not been asked, or with `whole` not told all; without those that cannot."""
        pushed = {(stream.name, stream.host) for stream in self._equipment.streams} if self._equipment is not None else set()
        return [
            (name, host)
            for name, host, tried in self._tried
            if not (tried.whole if whole else tried.event).is_set()
            and not (self._down(host) and (not whole or (name, host) in pushed))
        ]

    def _down(self, host: str) -> bool:
        known = self.state.hosts.get(host)
        return known is not None and known.link.phase in (LinkPhase.DOWN, LinkPhase.REFUSED)

    async def aclose(self) -> None:
        await self._dispatcher.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_sources()

    def plan(self, action: str, wish: Wish) -> Plan:
        return all_specs()[action].plan(self.state, self._config, wish)

    async def past(self, begin: datetime, end: datetime) -> Stretch:
        equipment = self._equipment
        if equipment is None:
            raise Unreachable("sovtui is still starting", "Try again in a moment")
        if equipment.past is None:
            raise Unsupported(
                "sovtui itself remembers the last hour at most, and no Prometheus is configured to ask for more",
                "sovtui config example shows the section [prometheus]",
            )
        return await equipment.past.stretch(self.state, begin, end)

    async def execute(self, plan: Plan, progress: Progress | None = None, *, wait: bool = True) -> Outcome:
        outcome = await self._dispatcher.execute(plan, progress, wait)
        self._wake()  # what has changed is shown at once
        return outcome

    async def rehearse(self, plan: Plan) -> Rehearsal:
        return await self._dispatcher.rehearse(plan)

    async def follow(self, host: str, run_id: str = "", progress: Progress | None = None) -> Outcome:
        return await self._dispatcher.follow(host, run_id, progress)

    async def cancel(self, host: str, run_id: str) -> Outcome:
        return await self._dispatcher.cancel(host, run_id)

    async def receipts(self, host: str) -> tuple[ActionRun, ...]:
        return await self._dispatcher.receipts(host)

    async def rights(self, host: str, commands: Sequence[Sequence[str]]) -> Rights:
        link = await self._links.get(host)
        async with asyncio.timeout(box.ANSWER_SECONDS):
            return await box.rights(link, commands)

    async def tailnet(self, host: str) -> TailnetView:
        link = await self._links.get(host)
        return await box.tailnet(link, self._clock.now())

    async def logs(
        self, host: str, service: str, *, lines: int = 200, since: str = "", follow: bool = True, until: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        link, place = await self._links.get(host), box.LogPlace()
        lost = 0
        beside = Patience.READS if follow and self._recording else Patience.NONE  # a command that follows a log does only that
        while True:
            told = box.logs(
                *(link, service, lines, since, follow, until),
                place=place,
                patience=beside,
                skews=self._links.skews,
                clock=self._clock,
            )
            try:
                async with aclosing(told):
                    async for line in told:
                        lost = 0
                        yield line
                return
            except Unreachable as error:
                lost += isinstance(error, AnswerLost)
                if not follow or (place.lines and not place.cursor) or lost > LOST_ANSWERS or isinstance(error, NotBegun):
                    raise
            await self._clock.sleep(0.2)
            link = await self._links.keepers[host].when_up()  # and on where it ended

    def reconnect(self, host: str = "") -> None:
        self._links.retry_now(host)
        self._wake()

    def meter(self, host: str, wish: Metered) -> None:
        self._thrift.wish(host, wish)
        if self._thrift.look(self.store.state):
            self._wake()

    def _wake(self) -> None:
        """Whoever waits for its time looks now."""
        for wake in self._wakes:
            wake.set()
