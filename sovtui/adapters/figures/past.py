"""A stretch of the past out of range queries: the questions of the live figures, asked for every step at once.

What a step's answers mean is told by the same `Teller` as for now, so that then and now cannot disagree. What has no
sample at a step is unknown there, never zero.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from sovtui.adapters.engines.base import EngineAdapter
from sovtui.adapters.figures.answers import Series, machine_of, mine
from sovtui.adapters.figures.api import matrix
from sovtui.adapters.figures.firing import identity, own
from sovtui.adapters.figures.history import curves
from sovtui.adapters.figures.prometheus import PrometheusSource
from sovtui.adapters.figures.questions import Question
from sovtui.adapters.figures.ranges import Ranges, numbers
from sovtui.adapters.figures.telling import SOURCE, Teller
from sovtui.config.schema import Config
from sovtui.config.specs import names_of, others_of
from sovtui.core.alerting import is_pulse
from sovtui.core.clean import clean
from sovtui.core.events import AlertsSeen, Curve, EngineSeen, LinkChanged, ServicesSeen, SourceChanged, Tick
from sovtui.core.issues import host_of
from sovtui.core.marks import Mark, MarkKind
from sovtui.core.model import ActionRun, Alert, Engine, EnginePhase, Link, LinkPhase, Service, Source
from sovtui.core.outside import is_time
from sovtui.core.reading import Status
from sovtui.core.state import CURVE_POINTS, Host, State, initial, reduce
from sovtui.ports.clock import Clock

POINTS = 240
"""Steps of a stretch, about."""
SILENT_SECONDS = 60.0
"""A host whose newest sample is older by more was silent."""
LINK_KIND = "history"
_ALERTS = Question("al", "alerts", "", 'ALERTS{alertstate="firing"}')
Steps = Mapping[float, float]


@dataclass(frozen=True, slots=True)
class _Line:
    """One series over the steps."""

    labels: Mapping[str, str]
    steps: Steps
    """By the server's time of the step."""


class RangePast:
    """Implements `ports.past.Past`."""

    def __init__(
        self, config: Config, adapters: Mapping[str, EngineAdapter], prometheus: PrometheusSource, ranges: Ranges, clock: Clock
    ) -> None:
        self._config, self._adapters, self._prometheus, self._clock = config, adapters, prometheus, clock
        self._ranges = ranges

    async def stretch(self, state: State, begin: datetime, end: datetime) -> RangeStretch:
        prometheus = self._prometheus
        if prometheus.offset_seconds is None:
            await prometheus.poll(state, lambda _: None)  # its clock has to be known first
        offset = prometheus.offset_seconds or 0.0
        step = max(5, math.ceil((end - begin).total_seconds() / POINTS))
        first = math.floor((begin.timestamp() - offset) / step) * step
        last = min(math.ceil((end.timestamp() - offset) / step) * step, self._clock.now().timestamp() - offset)
        asked = [q for q in prometheus.questions(None) if q.host in state.hosts]
        rows = await self._ranges.ask_all([*asked, _ALERTS], first, last, step)
        return RangeStretch(self._config, self._adapters, prometheus, state, asked, rows, (first, last, step))

    async def aclose(self) -> None:
        self._ranges.close()


class RangeStretch:
    """Implements `ports.past.Stretch`. States are made when they are asked for."""

    def __init__(
        self,
        config: Config,
        adapters: Mapping[str, EngineAdapter],
        prometheus: PrometheusSource,
        present: State,
        asked: Sequence[Question],
        rows: Sequence[Any],
        steps: tuple[float, float, int],
    ) -> None:
        self._config, self._present, self._asked = config, present, asked
        self._first, last, self._step = steps
        self._to_here = prometheus.at
        self._offset = prometheus.offset_seconds or 0.0
        self._teller = Teller(config, adapters, prometheus.at)
        self._pulses = config.alertmanager.pulse if config.alertmanager is not None else ()
        self._lines: dict[str, list[_Line]] = {}
        for labels, values in matrix(rows):
            self._lines.setdefault(labels.get("k", ""), []).append(_Line(labels, dict(numbers(values))))
        self._curves = curves(config, {q.tag: q for q in asked}, rows, prometheus.at)
        self._heard = {name: self._samples(name) for name in present.hosts}
        self.begin = prometheus.at(self._first)
        self.end = prometheus.at(last)
        self.marks = tuple(sorted(self._marks(), key=lambda mark: mark.at, reverse=True))

    def _samples(self, name: str) -> list[float]:
        """The times of the host's samples, as the server tells them, oldest first."""
        lines = [line for q in self._asked if q.kind == "host-time" and q.host == name for line in self._lines.get(q.tag, ())]
        machines = {machine_of(line.labels.get("instance", "")) for line in lines}
        if machines:
            own_names, others = names_of(name, self._config.host[name]), others_of(self._config, name)
            machines, _ = mine([Series(line.labels, 0.0) for line in lines], own_names, others)
        own = [line for line in lines if machine_of(line.labels.get("instance", "")) in machines]
        return sorted({at for line in own for at in line.steps.values() if is_time(at)})

    def heard(self, host: str) -> datetime | None:
        heard = self._heard.get(host)
        return self._to_here(heard[-1]) if heard else None

    # one moment

    def at(self, moment: datetime) -> State:
        wanted = moment.timestamp() - self._offset
        step = self._first + math.floor((wanted - self._first) / self._step + 1e-6) * self._step
        series = {
            tag: [Series(line.labels, line.steps[step]) for line in lines if step in line.steps]
            for tag, lines in self._lines.items()
        }
        present = self._present
        specs = tuple(host.spec for host in present.hosts.values())
        state = initial(specs, moment, demo=present.demo, read_only=present.read_only)
        for curve in self._curves:
            if points := tuple(point for point in curve.points if point[0] <= moment.timestamp()):
                state = reduce(state, Curve(curve.host, curve.figure, curve.subject, points[-CURVE_POINTS:]))
        for name in state.hosts:
            state = self._host(state, name, series, wanted, moment)
        if self._awake(series, wanted):
            state = reduce(state, AlertsSeen(self._alerts(series, step), moment))
            state = reduce(state, SourceChanged(Source(SOURCE, "", True, "", moment)))
        else:
            reason = "Prometheus has nothing of this moment: it did not run, or scraped nothing"
            state = reduce(state, SourceChanged(Source(SOURCE, "", False, reason)))
            state = reduce(state, SourceChanged(Source("alertmanager", "", None, reason)))
        return reduce(state, Tick(moment))

    def _host(self, state: State, name: str, series: Mapping[str, Sequence[Series]], wanted: float, moment: datetime) -> State:
        def put(event: Any) -> None:
            nonlocal state
            state = reduce(state, event)

        asked = [q for q in self._asked if q.host == name]
        by_tag = {q.tag: list(series.get(q.tag, ())) for q in asked}
        put(LinkChanged(name, self._link(state.hosts[name], wanted)))
        self._teller.tell(state.hosts[name], asked, by_tag, moment, put)
        self._engines(state.hosts[name], asked, by_tag, moment, put)
        runs = tuple(as_of(run, moment) for run in self._present.hosts[name].receipts if run.began_at <= moment)
        host = replace(state.hosts[name], receipts=runs, action=runs[0] if runs else None)
        return replace(state, hosts={**state.hosts, name: host})

    def _link(self, host: Host, wanted: float) -> Link:
        heard = self._heard[host.spec.name]
        before = bisect_right(heard, wanted)
        if not heard:
            return Link(LinkPhase.IDLE, LINK_KIND, host.link.address, None, f"Prometheus has nothing of {host.spec.name} then")
        newest = heard[before - 1] if before else None
        if newest is not None and wanted - newest <= SILENT_SECONDS:
            return Link(LinkPhase.UP, LINK_KIND, host.link.address, None)
        since = self._to_here(newest) if newest is not None else None
        last = f": its last sample is of {since.astimezone():%H:%M:%S}" if since else ""
        return Link(LinkPhase.DOWN, LINK_KIND, host.link.address, since, f"{host.spec.name} gave Prometheus no samples{last}")

    def _engines(
        self, host: Host, asked: Sequence[Question], by_tag: Mapping[str, Sequence[Series]], moment: datetime, put: Any
    ) -> None:
        """An engine whose own figures were sampled then answered then; nothing else tells of it."""
        sampled = [q.subject for q in asked if q.kind == "engine-time" and by_tag.get(q.tag)]
        for mode in host.spec.modes:
            if mode.name not in sampled:
                ran = bool(mode.services) and all(host.services[s].active == "active" for s in mode.services)
                reason = f"{'its services ran, but ' if ran else ''}it gave Prometheus no figures then"
                put(EngineSeen(host.spec.name, mode.name, Engine(reason=reason)))
                continue
            asleep = host.reading("engine.asleep", mode.name)
            phase = EnginePhase.ASLEEP if asleep.status is Status.FRESH and asleep.value else EnginePhase.READY
            put(EngineSeen(host.spec.name, mode.name, Engine(phase, at=moment)))
            unknown = [s for s in mode.services if host.services[s].active == "unknown"]
            if unknown and len(sampled) == 1:  # its figures show that it ran, though nobody kept its units
                found = tuple(Service(s, "active", at=moment, source=SOURCE) for s in unknown)
                put(ServicesSeen(host.spec.name, found))

    def _awake(self, series: Mapping[str, Sequence[Series]], wanted: float) -> bool:
        """Whether the server itself ran then: an answer may be made of samples that are minutes old."""
        if series.get(_ALERTS.tag):
            return True
        times = [s.value for q in self._asked if q.kind.endswith("-time") for s in series.get(q.tag, ())]
        return any(wanted - at <= SILENT_SECONDS for at in times)

    # alerts

    def _alerts(self, series: Mapping[str, Sequence[Series]], step: float) -> tuple[Alert, ...]:
        lines = {identity(line.labels): line for line in self._lines.get(_ALERTS.tag, ())}
        found = []
        for s in series.get(_ALERTS.tag, ()):
            labels = own(s.labels)
            known = next((a for a in self._present.alerts if dict(a.labels) == labels), None)
            found.append(
                Alert(
                    known.fingerprint if known else identity(s.labels),
                    clean(labels.get("alertname", ""), 200),
                    clean(labels.get("severity", ""), 40),
                    since=self._since(lines[identity(s.labels)].steps, step),
                    summary=known.summary if known else "",
                    labels=tuple(sorted(labels.items())),
                    pulse=is_pulse(labels, dict(known.annotations) if known else None, self._pulses),
                )
            )
        return tuple(found)

    def _since(self, steps: Steps, step: float) -> datetime | None:
        """When it began, if that is in this stretch."""
        while step - self._step in steps:
            step -= self._step
        return None if step <= self._first else self._to_here(step)

    # what happened

    def _marks(self) -> Iterable[Mark]:
        for line in self._lines.get(_ALERTS.tag, ()):
            alert = clean(line.labels.get("alertname", ""), 200)
            for step in _starts(line.steps, self._step, self._first):
                at = self._to_here(step)
                about = host_of(Alert("", alert, labels=tuple(own(line.labels).items())), self._present.hosts)
                yield Mark(at, MarkKind.ALERT, f"{alert} fires", about, f"past {identity(line.labels)} {step:.0f}")
        for name, heard in self._heard.items():
            for one, other in pairwise([*heard, self.end.timestamp() - self._offset]):
                if other - one > SILENT_SECONDS + self._step:
                    at = self._to_here(one)
                    yield Mark(at, MarkKind.LINK, f"{name} gave its last sample", name, f"silent {name} {one:.0f}")
                    if other in heard:
                        yield Mark(
                            self._to_here(other), MarkKind.BACK, f"{name} answers again", name, f"heard {name} {other:.0f}"
                        )
        for q in self._asked:
            if q.kind != "units":
                continue
            for line in self._lines.get(q.tag, ()):
                unit = line.labels.get("name", "")
                if line.labels.get("state") == "failed" and unit in self._present.hosts[q.host].services:
                    for step in _starts(line.steps, self._step, self._first):
                        at = self._to_here(step)
                        yield Mark(at, MarkKind.SERVICE, f"{unit} failed", q.host, f"past {q.host} {unit} {step:.0f}")


def _starts(steps: Steps, each: float, first: float) -> list[float]:
    """The steps at which a series begins, without one that was there from the first."""
    return [step for step in sorted(steps) if step - each not in steps and step > first]


def as_of(run: ActionRun, moment: datetime) -> ActionRun:
    """An action as it stood then: still running if it ended later."""
    if run.seconds is None or run.began_at.timestamp() + run.seconds <= moment.timestamp():
        return run
    steps = []
    for step in run.steps:
        if step.began_at <= moment:
            over = step.seconds is not None and step.began_at.timestamp() + step.seconds <= moment.timestamp()
            steps.append(step if over else replace(step, state="running", seconds=None))
    return replace(run, outcome="", reason="", seconds=None, steps=tuple(steps), lines=())
