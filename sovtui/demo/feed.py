"""From the world to events, and the scenarios as frozen states. No asyncio, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sovtui.actions.request import box_plan
from sovtui.config.specs import host_specs
from sovtui.core.clean import clean
from sovtui.core.events import (
    ActionChanged,
    AlertsSeen,
    Event,
    LinkChanged,
    PathSeen,
    ReceiptsSeen,
    SourceChanged,
    Tick,
)
from sovtui.core.model import Alert, Link, LinkPhase, PathKind, Source, TailnetPath
from sovtui.core.state import RECEIPTS, Host, State, initial, reduce, source_failed
from sovtui.core.tailnet import steady
from sovtui.demo.estate import SOURCE, Estate, estate, troubled
from sovtui.demo.hostile import hostile
from sovtui.demo.stage import Stage
from sovtui.demo.world import World

PICTURE_TIME = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
"""The moment of every frozen scenario."""
WARM_UP_SECONDS = 600.0
"""How long the world has run before: fills the curves."""
DOWN_SECONDS = 42.0
DOWN_REASON = "no answer for 15 s. The connection is lost; sovtui tries again by itself"
OPERATOR = "ops@demo"

SCENARIOS = ("healthy", "idle", "troubled", "switching", "failed", "link-down", "alerting", "hostile", "empty")
TROUBLED = ("troubled", "alerting", "hostile")
"""Those in which the estate has a bad day; in the others nothing is wrong but what they are about."""


def estate_in(name: str, scenario: str) -> Estate:
    """The estate as it is in a scenario. ValueError for names that do not exist."""
    if scenario not in SCENARIOS:
        raise ValueError(f"no demo scenario is called {scenario!r}; there are: {', '.join(SCENARIOS)}")
    of = troubled(name) if scenario in TROUBLED else estate(name)
    return hostile(of) if scenario == "hostile" else of


def link_value(world: World, host: str, since: datetime) -> Link:
    """The link of a host that is up."""
    address = world.estate.config.host[host].address
    return Link(LinkPhase.UP, "demo", address, since, latency_seconds=round(world.latency_seconds(host), 4))


def path_seen(world: World, host: str, known: Host | None = None) -> Iterator[Event]:
    """How the link goes through the tailnet, of a host that has a name there. `known`: what was told of it before."""
    if world.estate.config.host[host].tailnet:
        relay, took = world.estate.hosts[host].relay, round(world.latency_seconds(host) * 0.9, 3)
        kind = PathKind.RELAY if relay else PathKind.DIRECT
        path = TailnetPath(kind, took, relay, at=world.now, source="demo", verified=True)
        yield PathSeen(host, steady(known.path if known is not None else None, path))


def clean_alerts(alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """As an adapter gives them: text inert, labels as they are."""
    return tuple(
        replace(
            a,
            name=clean(a.name),
            summary=clean(a.summary),
            silences=tuple(replace(s, author=clean(s.author), comment=clean(s.comment)) for s in a.silences),
        )
        for a in alerts
    )


class Feed:
    """Turns a stage into a state, one `pull` at a time."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world = stage.world
        specs = tuple(replace(s, kind="demo") for s in host_specs(self.world.estate.config))
        self.state = initial(specs, self.world.now, demo=True)
        self.since = self.world.start

    def put(self, event: Event) -> None:
        self.state = reduce(self.state, event)

    def connect(self) -> None:
        """All links come up and the history is known."""
        for event in connected(self.world):
            self.put(event)

    def pull(self) -> None:
        """One look at everything that can be reached."""
        for event in looked(self.stage, self.state):
            self.put(event)


def connected(world: World) -> Iterator[Event]:
    """What is told once when the links have come up: links and history."""
    for host in world.estate.hosts:
        if host not in world.down:
            yield LinkChanged(host, link_value(world, host, world.start))
            yield from path_seen(world, host)
            yield from world.curves(host)


def looked(stage: Stage, state: State) -> Iterator[Event]:
    """What one look at the estate tells, of the hosts that are not down; links and receipts only where there is news."""
    world = stage.world
    yield Tick(world.now)
    for host in world.estate.hosts:
        if host in world.down:
            continue
        known = state.hosts[host]
        link = link_value(world, host, world.start)
        if known.link.phase is not LinkPhase.UP or abs((known.link.latency_seconds or 0) - world.latency_seconds(host)) > 0.005:
            yield LinkChanged(host, link)
            yield from path_seen(world, host, known)
        yield from world.events(host)
        yield SourceChanged(Source(SOURCE, host, True, "", world.now, "scripted estate"))
        run = stage.current(host)
        if run is not None:
            yield ActionChanged(host, run)
        if known.receipts != stage.receipts[host][:RECEIPTS]:
            yield ReceiptsSeen(host, stage.receipts[host])
    watcher = world.estate.config.alertmanager
    if watcher is not None and watcher.via not in world.down:
        yield AlertsSeen(clean_alerts(world.alerts.firing), world.now)
        yield SourceChanged(Source("alertmanager", "", True, "", world.now, "scripted estate"))


def lost(world: World, state: State, host: str, reason: str, attempt: int = 1) -> Iterator[Event]:
    """What is told when a host's link breaks now."""
    address = world.estate.config.host[host].address
    link = Link(LinkPhase.DOWN, "demo", address, world.now, reason, retry_at=world.now + timedelta(seconds=15), attempt=attempt)
    yield LinkChanged(host, link)
    if world.estate.config.host[host].tailnet:
        yield PathSeen(host, TailnetPath(PathKind.OFFLINE, since=world.now, at=world.now, source="demo"))
    if host in state.hosts:
        yield source_failed(state.hosts[host], SOURCE, reason)
    yield SourceChanged(Source(SOURCE, host, False, reason))


def stage_of(name: str, scenario: str, now: datetime) -> Feed:
    """A feed whose world stands at `now` in the middle of `scenario`. ValueError for names that do not exist."""
    *_, feed = staging(name, scenario, now)
    return feed


def staging(name: str, scenario: str, now: datetime, step: Callable[[float], float] | None = None) -> Iterator[Feed]:
    """The same, on its way: yields at every `step` (how long, by the seconds that are left) and at the end."""
    world = World(estate_in(name, scenario), now - timedelta(seconds=WARM_UP_SECONDS))
    stage = Stage(world)
    feed = Feed(stage)
    box = world.estate.box
    if step is not None and scenario != "empty":
        feed.connect()

    def until(seconds_before: float) -> Iterator[Feed]:
        while step is not None and (left := WARM_UP_SECONDS - world.seconds) - step(left) > seconds_before:
            stage.advance(step(left))
            feed.pull()
            yield feed
        stage.advance(WARM_UP_SECONDS - seconds_before - world.seconds)

    def begin(target: str) -> None:
        world.release_requests()
        plan = box_plan(world.estate.config.host[box], target)
        stage.start(box, {"kind": "switch", "target": target, "plan": plan}, "ops@thinclient")

    match scenario:
        case "empty":
            yield from until(0)
            feed.put(Tick(world.now))
            yield feed
            return
        case "switching":
            yield from until(world.estate.switching_seconds)
            begin(world.estate.next_mode)
        case "failed":
            yield from until(70)
            world.engines.fails_to_load.add(world.estate.failing_mode)
            begin(world.estate.failing_mode)
        case "link-down":
            yield from until(DOWN_SECONDS + 30)
            world.hold_requests(1)
            yield from until(DOWN_SECONDS)
            feed.connect()
            feed.pull()
            for event in lost(world, feed.state, box, f"{box}: {DOWN_REASON}"):
                feed.put(event)
            world.down[box] = f"{box}: {DOWN_REASON}"
        case "alerting":
            yield from until(360)
            for mode in world.loaded():
                world.kill_engine(mode, "nothing answers on its port although its unit is active")
            yield from until(240)
            remote = world.estate.remote
            if remote:
                reason = f"{remote}: connection timed out after 10 s. Is the host up? sovtui tries again by itself"
                for event in lost(world, feed.state, remote, reason):
                    feed.put(event)
                world.down[remote] = reason
            world.alerts.firing = (*world.estate.more_alerts(now), *world.alerts.firing)
        case "idle":
            yield from until(30)
            world.hold_requests(0)
        case _:
            yield from until(30)
            world.hold_requests(1)
    yield from until(0)
    for host in world.down:
        link = feed.state.hosts[host].link
        feed.put(LinkChanged(host, replace(link, retry_at=world.now + timedelta(seconds=9), attempt=4)))
    if scenario != "link-down":
        feed.connect()
    feed.pull()
    yield feed


def scenario(name: str, estate_name: str = "spark") -> State:
    """The state of a scenario at a fixed moment: the same every time."""
    return stage_of(estate_name, name, PICTURE_TIME).state
