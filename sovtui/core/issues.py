"""All that is wrong anywhere, and how bad it is, the worst first: the one place that decides it. Pure; the clock is the state's.

What is only as last seen of a host that cannot be reached is not told here: that it cannot be reached is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from sovtui.core import alerting, text
from sovtui.core.clean import clean
from sovtui.core.model import Alert, AlertState, Backup, Engine, HostSpec, Link, LinkPhase, Service
from sovtui.core.modes import Heat, beside_views, mode_views
from sovtui.core.reading import Status
from sovtui.core.state import Host, State

SEVERITIES = {"critical": 0, "page": 0, "error": 1, "high": 1, "warning": 2, "info": 4, "none": 5}
"""What severities are worth; 3 for one that is not here."""
LOOPS_FROM = 3
"""Restarted so often without being started by hand, a service restarts in a loop."""
RESTARTED_LATELY_SECONDS = 3600.0
FULL_RATIO = 0.98
"""From here on a disk is as good as full, whatever is configured."""
TIMER_LATE_SECONDS = 60.0
ROLES = ("box", "management", "edge", "nas")
HOST_LABELS = ("host", "hostname", "nodename", "node", "instance", "exported_instance", "machine", "server")
"""Labels of an alert that name a machine."""


class Grade(IntEnum):
    """How bad it is."""

    NOW = 0
    """Something does not work."""
    SOON = 1
    """Something will not work, or would not help when it is needed."""
    LOOK = 2
    """Worth a look."""

    @property
    def word(self) -> str:
        """As alerts call it: `critical`, `warning`, `info`."""
        return ("critical", "warning", "info")[self]


KINDS = ("link", "engine", "floor", "service", "alert", "disk", "backup", "source", "timer")
"""In the order in which they matter within a grade."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong."""

    grade: Grade
    kind: str
    """One of `KINDS`."""
    host: str
    """Empty for what concerns no single host."""
    title: str
    """`nas backup is late`."""
    detail: str = ""
    since: datetime | None = None
    target: str = ""
    """The entry that it is about: a service, a backup, an alert's fingerprint."""

    @property
    def key(self) -> str:
        """The same for the same trouble."""
        return f"{self.kind} {self.host} {self.target}"


_judged: list[tuple[State, tuple[Issue, ...]]] = []
"""The newest state and what was found in it: several parts of one screen ask the same."""


def issues(state: State) -> tuple[Issue, ...]:
    """Of all hosts, the worst first."""
    if not _judged or _judged[0][0] is not state:
        _judged[:] = [(state, _judge(state))]
    return _judged[0][1]


def _judge(state: State) -> tuple[Issue, ...]:
    found = [*_alerts(state), *_sources(state), *_keys(state)]
    for host in state.hosts.values():
        found += _of_host(host, state.now)
    roles = {name: ROLES.index(host.spec.role) if host.spec.role in ROLES else len(ROLES) for name, host in state.hosts.items()}

    def place(issue: Issue) -> tuple[int, int, int, float, str]:
        since = issue.since.timestamp() if issue.since is not None else 0.0
        return issue.grade, KINDS.index(issue.kind), roles.get(issue.host, len(ROLES)), -since, issue.key

    return tuple(sorted(found, key=place))


def of_host(found: tuple[Issue, ...], host: str) -> tuple[Issue, ...]:
    """Those of one host."""
    return tuple(issue for issue in found if issue.host == host)


def lost(link: Link) -> bool:
    """Whether the host cannot be reached; also while it is tried again after a loss."""
    return link.phase in (LinkPhase.DOWN, LinkPhase.REFUSED) or (link.phase is LinkPhase.CONNECTING and bool(link.reason))


def _of_host(host: Host, now: datetime) -> Iterator[Issue]:
    if lost(host.link):
        title = "denies access" if host.link.phase is LinkPhase.REFUSED else "cannot be reached"
        yield Issue(Grade.NOW, "link", host.spec.name, title, host.link.reason, host.link.since)
    elif host.link.phase is LinkPhase.UP:
        apart = host.reading("memory.apart_ratio")
        if apart.fresh_value:
            title = "Prometheus and the host disagree on its memory"
            yield Issue(Grade.LOOK, "source", host.spec.name, title, f"{apart.reason}. Is `instance` that of another machine?")
        if (words := clock_words(host)) is not None:
            yield Issue(Grade.LOOK, "source", host.spec.name, words, CLOCK_DETAIL, target="clock")
        yield from _engines(host)
        yield from _services(host, now)
        yield from _disks(host)
    yield from _backups(host, now)


SKEW_SECONDS = 5.0
"""Clocks that are so far apart are no longer the same."""
CLOCK_DETAIL = "Ages are still right; times are by this machine's clock. Is time synchronised on both?"


def clock_words(host: Host) -> str | None:
    """That this machine's clock and the host's differ, and by how much; None where they do not, or the host has not told its time."""
    skew = host.skew_seconds
    if skew is None or abs(skew) < SKEW_SECONDS:
        return None
    return f"this machine's clock is {text.duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} its own"


def _keys(state: State) -> Iterator[Issue]:
    """Tailnet keys that expire soon, and take the link with them. This machine's own is told of every host: it is told once."""
    hosts: dict[str, list[str]] = {}
    for name, host in state.hosts.items():
        if host.path is not None and host.link.phase is LinkPhase.UP:
            for note in host.path.notes:
                hosts.setdefault(note, []).append(name)
    for note, names in hosts.items():
        whose = names[0] if len(names) == 1 else ""
        yield Issue(
            Grade.SOON, "link", whose, note, "Renew it on that machine itself, not over a link of the tailnet.", target=note
        )


def _engines(host: Host) -> Iterator[Issue]:
    name = host.spec.name
    views = mode_views(host)
    hot = [view.mode.name for view in views if view.heat is Heat.HOT]
    if len(hot) > 1:
        yield Issue(Grade.NOW, "engine", name, f"{len(hot)} modes are hot at once", ", ".join(hot), target="modes")
    for view in (*views, *beside_views(host)):
        if view.heat is Heat.BROKEN:
            phase = host.engines[view.mode.name].phase if view.mode.name in host.engines else ""
            word = str(phase) if phase in ("dead", "hung", "wrong-model", "asleep") else "broken"
            yield Issue(Grade.NOW, "engine", name, f"{view.mode.name} is {word}", view.reason, target=view.mode.name)
        elif view.strain is not None:
            grade = Grade.NOW if view.strain.word == "hung" else Grade.SOON
            yield Issue(
                grade, "engine", name, f"{view.mode.name} is {view.strain.word}", view.strain.sentence, target=view.mode.name
            )
        elif closed := host.engines.get(view.mode.name, Engine()).denied:
            yield Issue(
                Grade.SOON, "engine", name, f"{view.mode.name} denies access to part of its API", closed, target=view.mode.name
            )


def service_word(service: Service, now: datetime) -> str:
    """`failed`, `missing`, `restarting`, `loops`, `late` or `spent` (a timer), or nothing where nothing is wrong with it."""
    if service.active in ("failed", "missing"):
        return service.active
    if service.restarting:
        return "restarting"
    if service.next_run_at is not None and (now - service.next_run_at).total_seconds() > TIMER_LATE_SECONDS:
        return "late"
    if service.name.endswith(".timer") and (service.active, service.sub) == ("active", "elapsed") and not service.once:
        return "" if service.next_run_at else "spent"
    if service.active == "active" and (service.restarts or 0) >= LOOPS_FROM and service.since is not None:
        return "loops" if (now - service.since).total_seconds() < RESTARTED_LATELY_SECONDS else ""
    return ""


def _services(host: Host, now: datetime) -> Iterator[Issue]:
    name = host.spec.name
    past = {unit for view in mode_views(host) if view.past for unit in view.mode.services}
    for service in host.services.values():
        floor = service.name in host.spec.floor
        word = service_word(service, now)
        if floor and service.active not in ("active", "activating", "reloading", "unknown"):
            detail = f"{service.active}: it is part of the floor and must always run"
            yield Issue(Grade.NOW, "floor", name, f"{service.name} does not run", detail, service.since, service.name)
        elif word in ("failed", "missing"):
            detail = service.result if service.result not in ("", "success", "failed") else ""
            title = f"{service.name} failed" if word == "failed" else f"{service.name} is missing"
            grade = Grade.SOON
            if word == "failed" and service.name in past:
                grade, detail = Grade.LOOK, f"{detail or 'failed'}, but its mode is not wanted now: the next start ends it"
            yield Issue(grade, "service", name, title, detail, service.since, service.name)
        elif word in ("restarting", "loops"):
            times = f"{service.restarts} times since the last manual start" if service.restarts else ""
            grade = Grade.SOON if word == "restarting" else Grade.LOOK
            yield Issue(grade, "service", name, f"{service.name} is in a restart loop", times, None, service.name)
        elif word == "spent":
            detail = "it is active, but elapsed: it has no next time"
            yield Issue(Grade.SOON, "timer", name, f"{service.name} will not fire again", detail, service.since, service.name)
        elif word == "late" and service.next_run_at is not None:
            ago = text.age((now - service.next_run_at).total_seconds())
            yield Issue(
                Grade.LOOK, "timer", name, f"{service.name} is late", f"it was due {ago} ago", service.next_run_at, service.name
            )


def disk_use(host: Host, mount: str) -> float | None:
    """Share of a disk in use, 0 to 1; None where it is not freshly known."""
    total, free = (host.reading(f"disk.{word}_bytes", mount) for word in ("total", "free"))
    if total.value is None or free.value is None or free.status is not Status.FRESH or total.value <= 0:
        return None
    return min(1.0, max(0.0, 1 - free.value / total.value))


def disk_grade(host: Host, mount: str) -> Grade | None:
    """How bad it is that a disk is so full; None where it is not."""
    used = disk_use(host, mount)
    if used is None or used < min(host.spec.disk_full_ratio, FULL_RATIO):
        return None
    return Grade.NOW if used >= FULL_RATIO else Grade.SOON


def _disks(host: Host) -> Iterator[Issue]:
    for mount in host.subjects("disk.free_bytes"):
        grade = disk_grade(host, mount)
        if grade is not None:
            used, free = disk_use(host, mount) or 0.0, host.reading("disk.free_bytes", mount).value or 0.0
            yield Issue(
                grade, "disk", host.spec.name, f"{mount} is {used * 100:.0f} % full", f"{text.size(free)} left", target=mount
            )


def backup_word(backup: Backup, now: datetime) -> str:
    """`ok`, `late`, `running`, `failed` or `skipped` (the last run, in time as yet) or `unknown`."""
    if backup.last_result == "running":
        return "running"
    bad = backup.last_result if backup.last_result in ("failed", "skipped") else ""
    if backup.last_success_at is None:
        return bad or "unknown"
    if backup.max_age_seconds is not None and (now - backup.last_success_at).total_seconds() > backup.max_age_seconds:
        return "late"
    return bad or "ok"


def _backups(host: Host, now: datetime) -> Iterator[Issue]:
    name = host.spec.name
    for backup in host.backups.values():
        word, last = backup_word(backup, now), backup.last_success_at
        if word == "late" and last is not None:
            limit = f", limit {text.age(backup.max_age_seconds)}" if backup.max_age_seconds else ""
            why = f"; its last start was skipped, because {backup.skipped}" if backup.last_result == "skipped" else ""
            detail = f"last success {text.age((now - last).total_seconds())} ago{limit}{why}"
            yield Issue(Grade.SOON, "backup", name, f"backup {backup.name} is late", detail, last, backup.name)
        elif word == "failed":
            grade = Grade.SOON if last is None else Grade.LOOK
            yield Issue(grade, "backup", name, f"backup {backup.name} failed", backup.reason, last, backup.name)
        elif word == "skipped":
            grade = Grade.SOON if last is None else Grade.LOOK
            detail = f"skipped, because {backup.skipped or 'a condition was not met'}: it did not run"
            yield Issue(grade, "backup", name, f"backup {backup.name} was skipped", detail, last, backup.name)
        elif word == "unknown" and backup.at is not None:
            detail = backup.reason or "no success is known"
            yield Issue(Grade.LOOK, "backup", name, f"backup {backup.name} has no known success", detail, None, backup.name)


def actionable(state: State) -> list[Alert]:
    """Those that fire and nobody has acknowledged."""
    return [alert for alert in state.alerts if alert.state is AlertState.ACTIVE and not alert.pulse]


def severity_rank(alert: Alert) -> int:
    """0 is the worst."""
    return SEVERITIES.get(alert.severity.lower(), 3)


PULSE_DETAIL = "It always fires while alerting works: other alerts may not arrive either"


def host_of(alert: Alert, hosts: Mapping[str, Host]) -> str:
    """The configured host that an alert is about, by its labels; empty where it names none."""
    return about(hosts)(alert)


def about(hosts: Mapping[str, Host]) -> Callable[[Alert], str]:
    """`host_of` for many alerts: what hosts are called is looked up once."""
    if len(hosts) == 1:
        (only,) = hosts
        return lambda alert: only
    names = _names(hosts)
    return lambda alert: _host_of(alert, names)


def _names(hosts: Mapping[str, Host]) -> dict[str, str]:
    """Which host each name means; the first of those that share one."""
    found: dict[str, str] = {}
    for name, host in hosts.items():
        for called in _called(host.spec):
            found.setdefault(called, name)
    return found


def _host_of(alert: Alert, names: Mapping[str, str]) -> str:
    for label in HOST_LABELS:
        machine = _machine(alert.label(label))
        if not machine:
            continue
        for wanted in (machine, machine.partition(".")[0]):
            if wanted in names:
                return names[wanted]
    return ""


def alerts_of(state: State, host: str) -> list[Alert]:
    """All alerts about a host, acknowledged ones included; not those that always fire: they are about alerting."""
    host_of = about(state.hosts)
    return [alert for alert in state.alerts if not alert.pulse and host_of(alert) == host]


def _machine(instance: str) -> str:
    """Without the port; an address in brackets without them."""
    instance = instance.casefold()
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    head, _, port = instance.rpartition(":")
    return head if head and port.isdigit() and ":" not in head else instance


def _called(spec: HostSpec) -> set[str]:
    return {name.casefold() for name in (spec.name, *spec.names)}


def missing_pulses(state: State) -> tuple[tuple[str, datetime | None], ...]:
    """Alerts that always fire and do not, with when each was last there; empty while nobody can tell."""
    source = state.sources.get(("alertmanager", ""))
    told = state.alerts_at is not None and (state.now - state.alerts_at).total_seconds() <= alerting.GONE_AFTER_SECONDS
    if not told or state.alerts_untold or (source is not None and source.ok is False):
        return ()
    return alerting.missing(state.alerts, state.pulses)


def _alerts(state: State) -> Iterator[Issue]:
    for name, last in missing_pulses(state):
        title = f"{name} is missing in Alertmanager"
        yield Issue(Grade.SOON, "alert", "", title, PULSE_DETAIL, last, f"pulse {name}")
    host_of = about(state.hosts)
    for alert in actionable(state):
        rank = severity_rank(alert)
        grade = Grade.NOW if rank <= 1 else Grade.SOON if rank <= 3 else Grade.LOOK
        told = clean(alert.severity, 40) or "no severity"
        host = host_of(alert)
        yield Issue(grade, "alert", host, f"{alert.name} ({told})", alert.summary, alert.since, alert.fingerprint)


def _sources(state: State) -> Iterator[Issue]:
    """What is asked for all hosts and does not answer. What is asked on one host says so there: its link, or its engine."""
    for source in state.sources.values():
        if source.ok is False and not source.host:
            yield Issue(Grade.SOON, "source", "", f"{source.name} does not answer", source.reason, source.last_ok_at, source.name)
        elif source.ok and source.left_out:
            title = f"a part of what {source.name} tells is left out"
            yield Issue(Grade.LOOK, "source", source.host, title, source.left_out, None, source.name)
