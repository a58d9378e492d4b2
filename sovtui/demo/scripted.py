"""A hub on the simulated estate that moves with one given clock and nothing else: for pictures and pilot tests.

What a user sees is `control`: the real control room on the simulated estate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sovtui.actions import all_specs
from sovtui.actions.spec import Plan, Verdict, Where, Wish
from sovtui.config.schema import Config
from sovtui.core.clean import clean
from sovtui.core.events import CancelAsked, LinkChanged
from sovtui.core.metered import Wish as Metered
from sovtui.core.model import ActionRun, Link, LinkPhase
from sovtui.core.receipts import outcome_word, step_word
from sovtui.core.record import Record
from sovtui.core.state import State
from sovtui.core.text import duration
from sovtui.demo.earlier import record_of
from sovtui.demo.feed import OPERATOR, PICTURE_TIME, Feed, clean_alerts, connected, looked, lost, stage_of
from sovtui.demo.stage import Stage
from sovtui.demo.world import World
from sovtui.onbox.words import EXITS
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Unreachable, Unsupported
from sovtui.ports.link import Ask
from sovtui.ports.past import Stretch
from sovtui.runtime.hub import LogLine, Outcome, Progress, Rehearsal, Right, Rights, TailnetView
from sovtui.runtime.store import Store

T = TypeVar("T")
ONE_HOUR = "the demo remembers one hour, and has no Prometheus to ask for more"
CONNECT_SECONDS = 0.4
"""How long a link takes to come up."""


class DemoHub:
    """Implements `runtime.hub.Hub` on a simulated estate."""

    def __init__(
        self,
        feed: Feed,
        clock: Clock,
        *,
        speed: float = 1.0,
        known: bool = False,
        silent: bool = False,
        still: bool = False,
        earlier: Callable[[], Record] = Record,
    ) -> None:
        self._stage = feed.stage
        self._clock = clock
        self._speed = speed
        self._store = Store(feed.state)
        self._known = known
        """The links are up, or down, as the state tells it: nothing has to be connected first."""
        self._still = still
        self._silent = silent
        """Nobody ever answers."""
        self._record = Record()
        self._earlier: Callable[[], Record] | None = earlier
        """Makes the record of the hour before, when somebody wants to see it."""
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._moved = asyncio.Event()

    @property
    def world(self) -> World:
        """The simulated estate, for tests and pictures."""
        return self._stage.world

    @property
    def stage(self) -> Stage:
        return self._stage

    @property
    def config(self) -> Config:
        return self.world.estate.config

    @property
    def state(self) -> State:
        return self._store.state

    @property
    def record(self) -> Record:
        if self._earlier is not None:
            earlier, self._earlier = self._earlier, None
            self._record.prepend(earlier())
        return self._record

    async def past(self, begin: datetime, end: datetime) -> Stretch:
        raise Unsupported(ONE_HOUR)

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        return self._store.subscribe(select, notify)

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._live())

    async def settle(self, seconds: float, *, whole: bool = False) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(seconds):
                await self._first.wait()
        except TimeoutError:
            return ("the demo",)
        return ()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def plan(self, action: str, wish: Wish) -> Plan:
        return all_specs()[action].plan(self.state, self.config, wish)

    async def execute(self, plan: Plan, progress: Progress | None = None, *, wait: bool = True) -> Outcome:
        if plan.verdict is Verdict.NO:
            return Outcome(plan.exit_code, plan.reason)
        if plan.where is Where.ALERTS:
            return self._silence(plan)
        if plan.where is Where.RUNNING:
            return await self.cancel(plan.wish.host, plan.wish.target)
        host = plan.wish.host
        if host in self.world.down or self._silent:
            return Outcome(3, f"{host} cannot be reached. Nothing was started; try again when the link is up")
        running = self._stage.current(host)
        if running is not None and running.running:
            step = f", at step {step_word(running.steps[-1].name)}" if running.steps else ""
            return Outcome(
                4, f"{running.who} runs {running.kind} {running.target} on {host} since {running.began_at:%H:%M:%S}{step}"
            )
        run = self._stage.start(host, plan.request, OPERATOR)
        self._pull()
        if not wait:
            return Outcome(0, f"Started {run.id}. Follow it with: sovtui follow {run.id}", run)
        return await self.follow(host, run.id, progress)

    async def rehearse(self, plan: Plan) -> Rehearsal:
        self._reachable(plan.wish.host)
        return Rehearsal("go")

    async def follow(self, host: str, run_id: str = "", progress: Progress | None = None) -> Outcome:
        told: ActionRun | None = None
        while True:
            run = self._find(host, run_id)
            if run is None:
                return Outcome(2, f"no action {run_id} is known on {host}" if run_id else f"no action has run on {host}")
            if progress is not None and run != told:
                progress(run)
            told = run
            if not run.running:
                return ended(run, host)
            await self._move()

    async def cancel(self, host: str, run_id: str) -> Outcome:
        if not self._stage.cancel(host, run_id):
            return Outcome(4, f"{run_id} does not run")
        self._store.put(CancelAsked(host, run_id))
        return Outcome(0, f"{run_id} is being cancelled. `sovtui follow {run_id}` shows how it ends")

    async def receipts(self, host: str) -> tuple[ActionRun, ...]:
        self._reachable(host)
        return self._stage.receipts[host]

    async def rights(self, host: str, commands: Sequence[Sequence[str]]) -> Rights:
        self._reachable(host)
        return Rights("ops", True, True, asked=tuple(Right(tuple(argv), "sudo") for argv in commands))

    async def tailnet(self, host: str) -> TailnetView:
        raise Unsupported("no machine is there that could be asked")

    async def logs(
        self, host: str, service: str, *, lines: int = 200, since: str = "", follow: bool = True, until: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        self._reachable(host)
        if service not in self.world.units(host):
            raise Unsupported(f"{service} does not exist on {host}", "Look for its name in the services pane")
        journals = self.world.journals
        if until:
            for line in journals.before(host, service, float(until), lines):
                yield LogLine(line.at, clean(line.text), "error" if line.level == "fatal" else line.level)
            return
        seen = max(0, journals.written(host, service) - lines)
        while True:
            written = journals.written(host, service)
            fresh = journals.newest(host, service, written - seen)
            seen = written
            for line in fresh:
                level = "error" if line.level == "fatal" else line.level
                yield LogLine(line.at, clean(line.text), level)
            if not follow:
                return
            await self._move()
            self._reachable(host)

    def set_ask(self, ask: Ask | None) -> None:
        """Nothing is ever asked here: there are no keys."""

    def meter(self, host: str, wish: Metered) -> None:
        """There is no link."""

    def reconnect(self, host: str = "") -> None:
        """A host that is down comes back a moment later."""
        for name in tuple(self.world.down):
            if host in ("", name):
                del self.world.down[name]
                address = self.config.host[name].address
                self._store.put(LinkChanged(name, Link(LinkPhase.CONNECTING, "demo", address, self.world.now)))

    def unplug(self, host: str, reason: str) -> None:
        """Break a host's link, as a bad network would."""
        self.world.down[host] = reason
        for event in lost(self.world, self.state, host, reason):
            self._store.put(event)

    # Inside.

    async def _live(self) -> None:
        if self._still:
            self._first.set()
            return
        if self._silent:
            for name, host in self.config.host.items():
                self._store.put(LinkChanged(name, Link(LinkPhase.CONNECTING, "demo", host.address, self.world.now)))
        elif not self._known:
            for name, host in self.config.host.items():
                self._store.put(LinkChanged(name, Link(LinkPhase.CONNECTING, "demo", host.address, self.world.now)))
            await self._clock.sleep(CONNECT_SECONDS)
            for event in connected(self.world):
                self._store.put(event)
        last = self._clock.monotonic()
        while True:
            self._pull()
            self._first.set()
            await self._clock.sleep(0.25 if self._stage.busy else 1.0)
            now = self._clock.monotonic()
            self._stage.advance((now - last) * self._speed)
            last = now

    def _pull(self) -> None:
        if self._silent:
            return
        for event in looked(self._stage, self.state):
            self._store.put(event)
        self._record.keep(self.state)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _move(self) -> None:
        """Wait until the world has moved on."""
        await self._moved.wait()

    def _find(self, host: str, run_id: str) -> ActionRun | None:
        current = self._stage.current(host)
        if current is not None and run_id in ("", current.id):
            return current
        return next((r for r in self._stage.receipts[host] if run_id in ("", r.id)), None)

    def _reachable(self, host: str) -> None:
        if host in self.world.down or self._silent:
            raise Unreachable(f"{host} cannot be reached", "Try again when the link is up")

    def _silence(self, plan: Plan) -> Outcome:
        alert = next((a for a in clean_alerts(self.world.alerts.firing) if a.fingerprint == plan.wish.target), None)
        if alert is None:
            return Outcome(4, "that alert no longer fires")
        if plan.action == "unacknowledge":
            ids = self.world.alerts.unacknowledge(alert.fingerprint)
            message = f"{alert.name} is active again; {len(ids)} silence(s) ended"
        else:
            seconds = float(plan.wish.options.get("for", "") or self._acknowledge_for)
            comment = plan.wish.options.get("comment", "").strip()
            if not comment:
                return Outcome(2, "a comment is needed: say why, for the next reader")
            self.world.alerts.acknowledge(alert.fingerprint, OPERATOR, comment, timedelta(seconds=seconds))
            message = f"{alert.name} is acknowledged"
        self._pull()
        return Outcome(0, message)

    @property
    def _acknowledge_for(self) -> float:
        settings = self.config.alertmanager
        return float(settings.acknowledge_for) if settings else 7200.0


def ended(run: ActionRun, host: str) -> Outcome:
    """How an action that has ended is told."""
    what = f"{run.kind} {run.target}".strip()
    return Outcome(
        EXITS.get(run.outcome, 1), f"{what} on {host}: {outcome_word(run)} after {duration(run.seconds or 0)}. {run.reason}", run
    )


def build_scripted(name: str, clock: Clock, speed: float, scenario: str) -> DemoHub:
    """A hub that stands in the middle of a scenario; `healthy`, `idle`, `troubled` and `hostile` begin with links that still have to come up."""
    now = clock.now()
    feed = stage_of(name, scenario, now)
    earlier = partial(record_of, name, scenario, now)
    if scenario in ("healthy", "idle", "troubled", "hostile"):
        if scenario != "idle":
            feed.world.release_requests()
        return DemoHub(Feed(feed.stage), clock, speed=speed, earlier=earlier)
    return DemoHub(feed, clock, speed=speed, known=True, silent=scenario == "empty", earlier=earlier)


def build_still(name: str, scenario: str) -> DemoHub:
    """A hub that stands still in the middle of a scenario: for pictures."""
    feed, earlier = stage_of(name, scenario, PICTURE_TIME), partial(record_of, name, scenario, PICTURE_TIME)
    return DemoHub(feed, StillClock(), known=True, silent=scenario == "empty", still=True, earlier=earlier)


class StillClock:
    """It is always the same moment; who sleeps never wakes."""

    def now(self) -> datetime:
        return PICTURE_TIME

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()
