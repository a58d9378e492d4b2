"""Moments worth going back to: when an alert began, an action started, a link was lost, a service failed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sovtui.core.issues import host_of
from sovtui.core.model import ActionRun, AlertState, EnginePhase, LinkPhase, PathKind, TailnetPath
from sovtui.core.receipts import outcome_word
from sovtui.core.state import Host, State

LOST = (LinkPhase.DOWN, LinkPhase.REFUSED)
UNHAPPY = ("failed", "missing")
SAME_WITHIN = timedelta(seconds=30)
"""The same again so soon is one happening: two witnesses tell it seconds apart."""


class MarkKind(StrEnum):
    ALERT = "alert"
    ACTION = "action"
    LINK = "link"
    SERVICE = "service"
    ENGINE = "engine"
    BACK = "back"
    """Something is well again, or has ended."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One moment and what happened then."""

    at: datetime
    kind: MarkKind
    words: str
    """Clean, for the operator: `DiskFull fires`."""
    host: str = ""
    """Empty for what concerns no single host."""
    key: str = ""
    """The same for the same happening, however it was heard of."""


def marks(state: State, noted: Iterable[Mark] = ()) -> tuple[Mark, ...]:
    """All that the state tells and what was noted on the way, each once, newest first, nothing later than the state."""
    found: dict[str, Mark] = {}
    for mark in (*told(state), *noted):
        if mark.at <= state.now:
            found.setdefault(mark.key, mark)
    kept: list[Mark] = []
    last: dict[tuple[MarkKind, str, str], datetime] = {}
    for mark in sorted(found.values(), key=lambda mark: mark.at):
        what = (mark.kind, mark.host, mark.words)
        if what in last and mark.at - last[what] < SAME_WITHIN:
            continue
        last[what] = mark.at
        kept.append(mark)
    return tuple(reversed(kept))


def told(state: State) -> Iterator[Mark]:
    """What one state tells of when things began."""
    for alert in state.alerts:
        if alert.since is not None:
            about = host_of(alert, state.hosts)
            yield Mark(alert.since, MarkKind.ALERT, f"{alert.name} fires", about, _alert(alert.fingerprint, alert.since))
    for name, host in state.hosts.items():
        for run in (*((host.action,) if host.action is not None else ()), *host.receipts):
            yield _began(name, run)
        if host.link.phase in LOST and host.link.since is not None:
            yield _lost(name, host.link.since)
        for service in host.services.values():
            if service.active in UNHAPPY and service.since is not None:
                yield _failed(name, service.name, service.active, service.since)


def turns(old: State, new: State) -> tuple[Mark, ...]:
    """What has happened between two states, one soon after the other."""
    found: list[Mark] = []
    before = {a.fingerprint: a for a in old.alerts if a.state is AlertState.ACTIVE}
    after = {a.fingerprint: a for a in new.alerts if a.state is AlertState.ACTIVE}
    if old.alerts_at is not None and before.keys() != after.keys():
        for fingerprint in after.keys() - {a.fingerprint for a in old.alerts}:
            alert = after[fingerprint]
            since = alert.since or new.now
            about = host_of(alert, new.hosts)
            found.append(Mark(since, MarkKind.ALERT, f"{alert.name} fires", about, _alert(fingerprint, since)))
        for fingerprint in before.keys() - {a.fingerprint for a in new.alerts}:
            about, words = host_of(before[fingerprint], new.hosts), f"{before[fingerprint].name} has ended"
            found.append(Mark(new.now, MarkKind.BACK, words, about, f"ended {fingerprint} {_second(new.now)}"))
    for name, host in new.hosts.items():
        was = old.hosts.get(name)
        if was is not None and was is not host:
            found += _host_turns(name, was, host, new.now)
    return tuple(found)


def _host_turns(name: str, old: Host, new: Host, now: datetime) -> Iterator[Mark]:
    if old.link.phase is LinkPhase.UP and new.link.phase in LOST:
        yield _lost(name, new.link.since or now)
    elif old.link.phase is not LinkPhase.UP and new.link.phase is LinkPhase.UP and old.link.attempt > 0 and old.link.since:
        yield Mark(now, MarkKind.BACK, f"the link to {name} is back", name, f"link back {name} {_second(now)}")
    if old.path is not new.path and old.path is not None and new.path is not None:
        yield from _path_turns(name, old.path, new.path, now)
    if old.services is not new.services:
        for service in new.services.values():
            was = old.services.get(service.name)
            if was is None or was.active == service.active or was.active == "unknown":
                continue
            if service.active in UNHAPPY:
                yield _failed(name, service.name, service.active, service.since or now)
            elif was.active in UNHAPPY and service.active == "active":
                yield Mark(now, MarkKind.BACK, f"{service.name} runs again", name, f"runs {name} {service.name} {_second(now)}")
    for mode, engine in new.engines.items():
        before = old.engines.get(mode)
        if before is None or before.phase is engine.phase:
            continue
        if engine.phase in (EnginePhase.DEAD, EnginePhase.WRONG_MODEL):
            yield Mark(
                now, MarkKind.ENGINE, f"the engine of {mode} is {engine.phase}", name, f"engine {name} {mode} {_second(now)}"
            )
        elif engine.phase is EnginePhase.READY and before.phase is not EnginePhase.UNKNOWN:
            yield Mark(now, MarkKind.BACK, f"the engine of {mode} is ready", name, f"ready {name} {mode} {_second(now)}")
    run, was_run = new.action, old.action
    if run is not None and (was_run is None or was_run.id != run.id):
        yield _began(name, run)
    if run is not None and was_run is not None and was_run.id == run.id and was_run.running and not run.running:
        words = f"{run.kind} {run.target}".strip()
        kind = MarkKind.BACK if run.outcome in ("done", "warned") else MarkKind.ACTION
        yield Mark(now, kind, f"{words} ended: {outcome_word(run)}", name, f"end {run.id}")


def _path_turns(host: str, old: TailnetPath, new: TailnetPath, now: datetime) -> Iterator[Mark]:
    """Direct to relayed and back: the one change of a path that somebody feels."""
    if old.kind is PathKind.DIRECT and new.relayed:
        by = "a peer" if new.kind is PathKind.PEER_RELAY else new.via or "the tailnet"
        yield Mark(
            now, MarkKind.LINK, f"the link to {host} is no longer direct: relayed by {by}", host, f"path {host} {_second(now)}"
        )
    elif old.relayed and new.kind is PathKind.DIRECT:
        yield Mark(now, MarkKind.BACK, f"the link to {host} is direct again", host, f"path {host} {_second(now)}")


def _alert(fingerprint: str, since: datetime) -> str:
    return f"alert {fingerprint} {_second(since)}"


def _lost(host: str, at: datetime) -> Mark:
    return Mark(at, MarkKind.LINK, f"the link to {host} was lost", host, f"link {host} {_second(at)}")


def _failed(host: str, service: str, active: str, at: datetime) -> Mark:
    words = f"{service} {'failed' if active == 'failed' else 'is missing'}"
    return Mark(at, MarkKind.SERVICE, words, host, f"service {host} {service} {_second(at)}")


def _began(host: str, run: ActionRun) -> Mark:
    words = f"{run.kind} {run.target}".strip()
    return Mark(run.began_at, MarkKind.ACTION, f"{words} begins", host, f"action {run.id}")


def _second(at: datetime) -> int:
    return int(at.timestamp())
