"""The hour before a demo begins: the same simulated estate, played again up to now, with a bad half hour in it.

The last ten minutes are those of the scenario itself, step by step; what was before has left no trace in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sovtui.core.record import FINE_SECONDS, SPAN_SECONDS, Record
from sovtui.demo.estate import Estate, alert
from sovtui.demo.feed import WARM_UP_SECONDS, Feed, estate_in, lost, staging
from sovtui.demo.stage import Stage
from sovtui.demo.world import World

COARSE_SECONDS = 10.0
BEFORE_SECONDS = SPAN_SECONDS - WARM_UP_SECONDS


def record_of(name: str, scenario: str, now: datetime) -> Record:
    """The record of the hour before `now`, at which `scenario` stands. ValueError for names that do not exist."""
    record = Record()
    for _ in recording(record, name, scenario, now):
        pass
    return record


def recording(record: Record, name: str, scenario: str, now: datetime) -> Iterator[None]:
    """The same into `record`, in small steps: it takes a second or so."""
    if scenario == "empty":
        return
    until = now - timedelta(seconds=WARM_UP_SECONDS)
    for feed in _before(estate_in(name, scenario), until):
        if feed.world.now < until:
            record.keep(feed.state)
            yield
    for feed in staging(name, scenario, now, lambda left: 1.0 if left <= FINE_SECONDS else COARSE_SECONDS):
        if feed.world.now < now:
            record.keep(feed.state)
            yield


def _before(of: Estate, until: datetime) -> Iterator[Feed]:
    """Fifty minutes: an engine that hangs and comes back, a link that breaks, a rush of requests."""
    world = World(of, until - timedelta(seconds=BEFORE_SECONDS))
    usual = world.estate.usual_alerts(until)
    world.alerts.firing = ()
    stage = Stage(world)
    feed = Feed(stage)
    box, hot = world.estate.box, world.estate.hot
    feed.connect()

    def go(seconds: float, step: float = COARSE_SECONDS) -> Iterator[Feed]:
        end = world.seconds + seconds
        while world.seconds < end - 1e-6:
            stage.advance(min(step, end - world.seconds))
            known = {one.fingerprint for one in world.alerts.firing}
            begun = tuple(a for a in usual if a.since is not None and a.since <= world.now and a.fingerprint not in known)
            world.alerts.firing = (*begun, *world.alerts.firing)
            feed.pull()
            yield feed

    yield from go(18 * 60)
    if hot:
        world.kill_engine(hot, "nothing answers on its port although its unit is active")
        yield from go(40, 2.0)
        words = f"The engine of {hot} has failed its health check twice in a row."
        unhealthy = alert(world.now, "7be04d1193ac5f28", "EngineUnhealthy", "critical", 0.6, words, {"mode": hot})
        world.alerts.firing = (unhealthy, *world.alerts.firing)
        yield from go(80, 2.0)
        world.engines.revive(hot)
        yield from go(30, 2.0)
        world.alerts.resolve(lambda one: one.name == "EngineUnhealthy")
    yield from go(11 * 60)
    reason = f"{box}: no answer for 15 s. The connection is lost; sovtui tries again by itself"
    for event in lost(world, feed.state, box, reason):
        feed.put(event)
    world.down[box] = reason
    yield from go(50, 5.0)
    del world.down[box]
    yield from go(7 * 60)
    world.hold_requests(3, 2)
    yield from go(3 * 60)
    world.release_requests()
    yield from go(BEFORE_SECONDS - world.seconds)
