"""State: frozen slices, one per question on the screen, and the one function that changes it.

`reduce` is pure: same state and event, same result. Slices that do not change stay the same object, so a
subscriber can compare by identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from sovtui.core.activity import Activity, address_of
from sovtui.core.alerting import merged
from sovtui.core.bounds import MOST_FIGURES, as_known, thin
from sovtui.core.catalog import CATALOG, stale_after
from sovtui.core.events import (
    ActionChanged,
    ActionNoticed,
    ActivitySeen,
    AlertsSeen,
    BackupsSeen,
    CancelAsked,
    ClockSeen,
    Curve,
    EngineSeen,
    Event,
    FiringSeen,
    HostEvent,
    LinkChanged,
    MeteredSeen,
    PathSeen,
    PulsesSeen,
    ReceiptsSeen,
    ReceiptsUnread,
    Sample,
    Samples,
    ServicesSeen,
    SourceChanged,
    SpecChanged,
    Tick,
    TrafficSeen,
)
from sovtui.core.model import (
    ActionRun,
    Alert,
    Backup,
    Engine,
    EnginePhase,
    HostSpec,
    Hush,
    Link,
    LinkPhase,
    Service,
    Source,
    TailnetPath,
    Traffic,
)
from sovtui.core.plausible import checked, of_size, possible, weighed
from sovtui.core.reading import UNKNOWN, Reading, Status, grow_old, merge, unknown
from sovtui.core.serving import ASKED_AT_WORK

FigureKey = tuple[str, str]
"""(figure key, subject)."""

CURVE_POINTS = 600
"""Points kept per curve; at one a second that is ten minutes."""
RECEIPTS = 50
"""Receipts kept per host."""
AWAY = (LinkPhase.CONNECTING, LinkPhase.ASKING, LinkPhase.DOWN, LinkPhase.REFUSED)
"""Nothing reaches a host whose link is so."""
NO_ANSWER = (EnginePhase.UNKNOWN, EnginePhase.DEAD, EnginePhase.HUNG)
"""What an engine is called that gives no answer."""
LOSS_NOTICED_SECONDS = 20.0
"""So long a link may be dead before it is noticed, metered ones included: an engine's silence in that time was the link's."""


@dataclass(frozen=True, slots=True)
class Host:
    """All that is known of one host."""

    spec: HostSpec
    link: Link = field(default_factory=Link)
    figures: Mapping[FigureKey, Reading] = field(default_factory=dict)
    curves: Mapping[FigureKey, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """(unix seconds, value), oldest first."""
    services: Mapping[str, Service] = field(default_factory=dict)
    engines: Mapping[str, Engine] = field(default_factory=dict)
    """By mode name."""
    backups: Mapping[str, Backup] = field(default_factory=dict)
    action: ActionRun | None = None
    """The running action, or the last one that this client followed to its end."""
    noticed: str = ""
    """Id of the action that holds the box's lock, as the probe tells it; empty for none."""
    receipts: tuple[ActionRun, ...] = ()
    metered: str = ""
    """Why its link is used sparingly; empty where it is not."""
    traffic: Traffic | None = None
    """None where nobody counts."""
    path: TailnetPath | None = None
    """How its link goes through the tailnet; None where it is not reached by one, and until it was asked."""
    activity: Mapping[str, Activity] = field(default_factory=dict)
    """Of servers, by the address (`host:port`) that each is asked at."""
    skew_seconds: float | None = None
    """How far this machine's clock is ahead of its own; 0 where they are the same, None until it has told its time."""
    receipts_told: bool = False
    """They have been read once, or it is known that they cannot be."""
    fell_silent: Mapping[str, tuple[Engine, datetime]] = field(default_factory=dict)
    """By mode name, of an engine that gives no answer now: what it last answered, and when it was first found silent."""
    cancelling: str = ""
    """Id of the action that this client has last asked to end."""

    def reading(self, figure: str, subject: str = "") -> Reading:
        """The figure, or an unknown one: never None, never zero for nothing."""
        return self.figures.get((figure, subject), UNKNOWN)

    def subjects(self, figure: str) -> tuple[str, ...]:
        """All subjects that have this figure, in order."""
        return tuple(sorted(subject for key, subject in self.figures if key == figure))


@dataclass(frozen=True, slots=True)
class State:
    """The whole of it."""

    now: datetime
    hosts: Mapping[str, Host] = field(default_factory=dict)
    sources: Mapping[tuple[str, str], Source] = field(default_factory=dict)
    """By (source name, host)."""
    alerts: tuple[Alert, ...] = ()
    """All that is known, also while Alertmanager is told them again after a restart: see `alerting.merged`."""
    alerts_at: datetime | None = None
    demo: bool = False
    read_only: bool = False
    notes: tuple[str, ...] = ()
    """Sentences for somebody who has configured nothing yet: what was looked for, what to do next."""
    alerts_untold: str = ""
    """Why alerts may be missing in Alertmanager's list now; empty where none is."""
    alerts_told: tuple[Alert, ...] = ()
    """Alertmanager's own list."""
    firing: tuple[Alert, ...] | None = None
    """Prometheus' own list while alerts may be missing; None where it has not told."""
    hushes: tuple[Hush, ...] = ()
    pulses: Mapping[str, datetime | None] = field(default_factory=dict)
    """Alerts that should always fire, by name, with when each was last seen firing; None where it never was."""


def initial(
    specs: tuple[HostSpec, ...], now: datetime, *, demo: bool = False, read_only: bool = False, notes: tuple[str, ...] = ()
) -> State:
    """The state before anything answered: everything unknown."""
    hosts = {
        spec.name: Host(
            spec,
            Link(kind=spec.kind, address=spec.address),
            services={name: Service(name) for name in spec.services},
            backups={backup.name: backup for backup in spec.backups},
        )
        for spec in specs
    }
    return State(now, hosts, demo=demo, read_only=read_only, notes=notes)


def reduce(state: State, event: Event) -> State:
    """The state after `event`. Events about hosts that are not configured change nothing."""
    match event:
        case Tick(now):
            return _tick(state, now)
        case SourceChanged(source):
            old = state.sources.get((source.name, source.host))
            if old is not None and source.last_ok_at is None:
                source = replace(source, last_ok_at=old.last_ok_at)
            if old == source:
                return state
            sources = {**state.sources, (source.name, source.host): source}
            known = state.hosts.get(source.host)
            if source.name != "probe" or source.ok is not False or known is None or not known.activity:
                return replace(state, sources=sources)
            blind = replace(known, activity={})  # who told whether its engines work tells nothing any more
            return replace(state, sources=sources, hosts={**state.hosts, source.host: blind})
        case SpecChanged(spec, notes):
            known = state.hosts.get(spec.name)
            if known is None:
                return state
            return replace(state, hosts={**state.hosts, spec.name: _with_spec(known, spec)}, notes=notes)
        case AlertsSeen():
            return _take_alerts(state, event)
        case FiringSeen(firing):
            if not state.alerts_untold or firing == state.firing:
                return state
            state = replace(state, firing=firing)
            return replace(state, alerts=merged(state.alerts_told, state.alerts, firing, state.hushes))
        case PulsesSeen(pulses):
            expected = {**state.pulses, **{n: max(at, state.pulses.get(n) or at) for n, at in pulses.items()}}
            return state if expected == state.pulses else replace(state, pulses=expected)
        case _:
            host = state.hosts.get(event.host)
            if host is None:
                return state
            new = _reduce_host(host, event)
            return state if new is host else replace(state, hosts={**state.hosts, event.host: new})


def at_work(host: Host) -> frozenset[tuple[str, bool, bool]]:
    """Address, whether it works, and whether nobody is connected, of all servers of which that is news as soon as it changes.

    Of other engines it is not: who asks them how they are has them work a little, again and again.
    """
    engines = (*host.spec.modes, *host.spec.beside)
    others = {address_of(one.url) for one in engines if one.engine not in ASKED_AT_WORK}
    return frozenset((at, one.works, one.free) for at, one in host.activity.items() if at not in others)


def is_routine(state: State, event: Event) -> bool:
    """Whether `event` brings only newer figures, times and ages: nothing that somebody in front of a screen waits for."""
    match event:
        case Tick() | Samples() | Curve() | BackupsSeen() | TrafficSeen():
            return True
        case SourceChanged(source):
            known = state.sources.get((source.name, source.host))
            return known is not None and known.ok is source.ok
        case AlertsSeen(alerts, _, untold):
            return state.alerts_at is not None and alerts == state.alerts_told and untold == state.alerts_untold
        case PulsesSeen():
            return True
        case ServicesSeen(name, services) if name in state.hosts:
            before = state.hosts[name].services
            return all(s.name in before and before[s.name].active == s.active for s in services)
        case PathSeen(name, path) if name in state.hosts:
            known_path = state.hosts[name].path
            return known_path is not None and (known_path.kind, known_path.reason) == (path.kind, path.reason)
        case LinkChanged(name, link) if name in state.hosts:  # its latency alone
            return replace(state.hosts[name].link, latency_seconds=link.latency_seconds) == link
        case ActivitySeen(name) if name in state.hosts:
            return at_work(state.hosts[name]) == at_work(_reduce_host(state.hosts[name], event))
        case EngineSeen(name, mode, engine) if name in state.hosts:
            last = state.hosts[name].engines.get(mode)
            return last is not None and last.phase is engine.phase
        case _:
            return False


def _take_alerts(state: State, event: AlertsSeen) -> State:
    alerts = state.alerts_told if event.alerts == state.alerts_told else as_known(event.alerts, state.alerts_told)
    there = {alert.name: event.at for alert in alerts if alert.pulse}
    pulses = {**dict.fromkeys(event.pulses), **state.pulses, **there}
    new = replace(
        state,
        alerts=alerts,
        alerts_at=event.at,
        alerts_untold=event.untold,
        alerts_told=alerts,
        firing=state.firing if event.untold else None,
        hushes=event.hushes,
        pulses=pulses,
    )
    return replace(new, alerts=merged(alerts, state.alerts, new.firing, event.hushes)) if event.untold else new


def _reduce_host(host: Host, event: HostEvent) -> Host:
    match event:
        case Samples(_, samples):
            return _take_samples(host, samples)
        case Curve(_, figure, subject, points):
            key = (figure, subject)
            if not all(possible(figure, value) for _, value in points):
                points = tuple(point for point in points if possible(figure, point[1]))
            newer = tuple(p for p in host.curves.get(key, ()) if not points or p[0] > points[-1][0])
            return replace(host, curves={**host.curves, key: (points + newer)[-CURVE_POINTS:]})
        case LinkChanged(_, link):
            return _take_link(host, link)
        case MeteredSeen(_, why):
            return host if host.metered == why else replace(host, metered=why)
        case TrafficSeen(_, traffic):
            return replace(host, traffic=traffic)
        case PathSeen(_, path):
            if host.path is not None and host.path == replace(path, at=host.path.at):
                return host  # asked again and nothing new: no state for a time alone
            return replace(host, path=path)
        case ClockSeen(_, skew_seconds):
            return host if host.skew_seconds == skew_seconds else replace(host, skew_seconds=skew_seconds)
        case ServicesSeen(_, services):
            merged = {**host.services, **{service.name: weighed(service) for service in services}}
            return host if merged == host.services else replace(host, services=merged)
        case ActivitySeen(_, servers):
            return replace(host, activity={**host.activity, **dict(servers)})
        case EngineSeen(_, mode, engine):
            return _take_engine(host, mode, of_size(engine))
        case BackupsSeen(_, backups):
            return replace(host, backups={**host.backups, **{backup.name: backup for backup in backups}})
        case ActionChanged(_, run):
            if host.action == run:
                return host
            if host.action is not None and host.action.running and not run.running and host.action.id != run.id:
                return host  # an older receipt does not hide what is running
            rest = tuple(r for r in host.receipts if r.id != run.id)
            receipts = (
                host.receipts if run.running else tuple(sorted((run, *rest), key=lambda r: r.began_at, reverse=True))[:RECEIPTS]
            )
            return replace(host, action=run, receipts=receipts)
        case CancelAsked(_, run_id):
            return replace(host, cancelling=run_id)
        case ActionNoticed(_, run_id):
            return host if host.noticed == run_id else replace(host, noticed=run_id)
        case ReceiptsSeen(_, runs):
            return replace(host, action=_ended_meanwhile(host.action, runs), receipts=runs[:RECEIPTS], receipts_told=True)
        case ReceiptsUnread():
            return host if host.receipts_told else replace(host, receipts_told=True)
        case _:
            assert_never(event)


def _ended_meanwhile(action: ActionRun | None, runs: tuple[ActionRun, ...]) -> ActionRun | None:
    """What was followed until the link was lost may have ended before it came back."""
    if action is None or not action.running:
        return action
    return next((run for run in runs if run.id == action.id and not run.running), action)


def _take_samples(host: Host, samples: tuple[Sample, ...]) -> Host:
    figures = dict(host.figures)
    curves: dict[FigureKey, tuple[tuple[float, float], ...]] | None = None
    changed = False
    stamps: dict[datetime, float] = {}
    """What was measured at one time has one number for it: a quarter of a curve's memory."""
    for sample in checked(samples):
        key = (sample.figure, sample.subject)
        old = figures.get(key, UNKNOWN)
        new = merge(old, sample.reading)
        if new == old and key in figures:
            continue
        figures[key] = new
        changed = True
        spec = CATALOG.get(sample.figure)
        if spec and spec.curve and new is sample.reading and new.value is not None and new.at is not None:
            curves = dict(host.curves) if curves is None else curves
            points = curves.get(key, ())
            at = stamps.get(new.at) or stamps.setdefault(new.at, new.at.timestamp())
            if not points or at > points[-1][0]:
                curves[key] = (*points[-(CURVE_POINTS - 1) :], (at, new.value))
    if not changed:
        return host
    if len(figures) > MOST_FIGURES:
        curves = thin(figures, host.curves if curves is None else curves)
    return replace(host, figures=figures, curves=host.curves if curves is None else curves)


def _take_engine(host: Host, mode: str, engine: Engine) -> Host:
    """What an engine is found to be. While nothing reaches the host, that it gives no answer says nothing of it."""
    known = host.engines.get(mode)
    if known == engine:
        return host
    if engine.phase not in NO_ANSWER:
        silent = {name: told for name, told in host.fell_silent.items() if name != mode}
        return replace(host, engines={**host.engines, mode: engine}, fell_silent=silent)
    heard = known is not None and known.phase not in NO_ANSWER
    if heard and host.link.phase in AWAY:
        return host
    if heard and known is not None and engine.at is not None:
        return replace(host, engines={**host.engines, mode: engine}, fell_silent={**host.fell_silent, mode: (known, engine.at)})
    return replace(host, engines={**host.engines, mode: engine})


def _before_the_loss(host: Host, link: Link) -> Mapping[str, Engine]:
    """The engines as they were when the link still stood: those that fell silent shortly before it was found lost did so with it."""
    engines = dict(host.engines)
    for mode, (heard, silent_at) in host.fell_silent.items():
        if mode in engines and link.since is not None and (link.since - silent_at).total_seconds() <= LOSS_NOTICED_SECONDS:
            engines[mode] = heard
    return engines


def _take_link(host: Host, link: Link) -> Host:
    if link == host.link:
        return host
    new = replace(host, link=link)
    if link.phase is LinkPhase.UP or host.link.phase is not LinkPhase.UP:
        return new
    # The link went down: what came straight from the host keeps its value and age, and says so.
    reason = "the link is down"
    services = {name: replace(s, reason=reason) if s.active != "unknown" else s for name, s in host.services.items()}
    figures = {
        key: replace(reading, status=Status.STALE, reason=reason)
        if reading.status is Status.FRESH and reading.source in ("probe", "engine")
        else reading
        for key, reading in host.figures.items()
    }
    engines = {mode: replace(engine, reason=engine.reason or reason) for mode, engine in _before_the_loss(host, link).items()}
    return replace(new, services=services, figures=figures, engines=engines, fell_silent={}, activity={})


def _with_spec(host: Host, spec: HostSpec) -> Host:
    """What is still looked at keeps what is known of it; of what is not, nothing stays."""
    names = {mode.name for mode in (*spec.modes, *spec.beside)}
    gone = {mode.name for mode in (*host.spec.modes, *host.spec.beside)} - names
    return replace(
        host,
        spec=spec,
        services={name: host.services.get(name, Service(name)) for name in spec.services},
        engines={name: engine for name, engine in host.engines.items() if name not in gone},
        fell_silent={name: silence for name, silence in host.fell_silent.items() if name not in gone},
        figures={key: reading for key, reading in host.figures.items() if key[1] not in gone},
        curves={key: points for key, points in host.curves.items() if key[1] not in gone},
    )


def _tick(state: State, now: datetime) -> State:
    hosts: dict[str, Host] | None = None
    for name, host in state.hosts.items():
        old = {k: r for k, r in host.figures.items() if r.status is Status.FRESH}
        grown = {k: g for k, r in old.items() if (g := grow_old(r, now, stale_after(k[0]))) is not r}
        if grown:
            hosts = dict(state.hosts) if hosts is None else hosts
            hosts[name] = replace(host, figures={**host.figures, **grown})
    return replace(state, now=now) if hosts is None else replace(state, now=now, hosts=hosts)


def source_failed(host: Host, source: str, reason: str) -> Samples:
    """The event that says a source no longer answers: its fresh figures keep their value as stale."""
    samples = tuple(
        Sample(figure, unknown(reason, source), subject)
        for (figure, subject), reading in host.figures.items()
        if reading.source == source and reading.status is Status.FRESH
    )
    return Samples(host.spec.name, samples)
