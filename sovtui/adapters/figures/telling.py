"""From Prometheus' series to events about a host: for now, and for any moment of the past. Asks nobody."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sovtui.adapters.engines.base import EngineAdapter
from sovtui.adapters.figures.answers import HostAnswer, Series, machine_of, mine, take_disks, take_gpus, take_memory, take_units
from sovtui.adapters.figures.questions import MEMORY, Question
from sovtui.config.schema import Config, HostConfig
from sovtui.config.specs import names_of, others_of, with_engines
from sovtui.core.events import BackupsSeen, Sample, Samples, ServicesSeen
from sovtui.core.model import Backup, Service
from sovtui.core.outside import is_time
from sovtui.core.reading import Reading, Status, fresh, unknown, unsupported
from sovtui.core.state import Host
from sovtui.core.text import moment, size
from sovtui.ports.source import Emit

SOURCE = "prometheus"
PROBE_IS_FRESH_SECONDS = 8.0
"""More than the probe's beat: unchanged is not old."""
TOGETHER_SECONDS = 3.0
"""Two readings so close in time should say the same of something that moves."""
APART = "memory.apart_ratio"
AHEAD = timedelta(minutes=5)
"""Clocks are never so far apart once both are known: what is further in the future has not happened."""
NOT_LOADED = "not loaded"
_MISSING = "Prometheus has no such series"
_HOST_FIGURES = (*MEMORY.values(), "memory.cached_bytes", "memory.droppable_bytes", "memory.swap_used_bytes", "cpu.use_ratio")


class Teller:
    """One per source: `told` is when it last had samples of a mode's engine, by (host, mode)."""

    def __init__(self, config: Config, adapters: Mapping[str, EngineAdapter], at: Callable[[float], datetime]) -> None:
        """`at`: a time of the server by this machine's clock."""
        self._config, self._adapters, self._at = config, adapters, at
        self._bad: Mapping[str, str] = {}
        self.told: dict[tuple[str, str], datetime] = {}
        self.gpus_told: dict[str, datetime] = {}
        """When there were figures of a host's GPUs, by host."""
        self._units: set[tuple[str, str]] = set()
        """(host, unit) of which it has told a state."""
        self._known: set[str] = set()
        """Hosts that Prometheus has told of."""

    def tell(
        self,
        host: Host,
        asked: Sequence[Question],
        by_tag: Mapping[str, list[Series]],
        now: datetime,
        emit: Emit,
        bad: Mapping[str, str] | None = None,
    ) -> None:
        """Emit what the answers to `asked` say of a host. `bad`: why an expression was refused, by expression."""
        self._bad = bad or {}
        name = host.spec.name
        answer = self._host_answer(self._config.host[name], name, asked, by_tag)
        node_at = now if answer.host_time is None else self._at(answer.host_time)
        gpu_at = node_at if answer.gpu_time is None else self._at(answer.gpu_time)
        readings: dict[tuple[str, str], Reading] = {
            key: fresh(value, gpu_at if key[0].startswith("gpu.") else node_at, SOURCE) for key, value in answer.figures.items()
        }
        readings.update({key: unsupported(reason, SOURCE) for key, reason in answer.unsupported.items()})
        if answer.figures:
            self._known.add(name)
        if any(key.startswith("gpu.") for key, _ in answer.figures):
            self.gpus_told[name] = now
        silent = not answer.figures and name in self._known  # its last values are the last there are: they stay, as old ones
        reason = f"Prometheus has no newer sample of {name}" if silent else answer.reason or f"{_MISSING} for {name}"
        since = None if silent else now
        kinds = {q.kind for q in asked}
        for figure in _HOST_FIGURES if "memory" in kinds else ():
            readings.setdefault((figure, ""), unknown(reason, SOURCE, since))
        if (apart := _apart(host, readings, now)) is not None:
            readings[APART, ""] = apart
        for q in asked:
            if q.kind == "engine-time":
                told = self._engine(name, q.subject, asked, by_tag, now)
                readings.update(
                    {key: unknown(reason, SOURCE) if silent and r.status is Status.UNKNOWN else r for key, r in told.items()}
                )
            if q.expression in self._bad:
                self._mark(readings, q, now)
        for key, old in host.figures.items():  # a GPU, or an engine, that Prometheus no longer tells of
            if old.source == SOURCE and old.known and key not in readings and key[0] not in (APART, *_HOST_FIGURES):
                gone = "its services do not run" if key[0].startswith("engine.") and not silent else reason
                readings[key] = unknown(gone, SOURCE, since)
        samples = [Sample(k, r, subject) for (k, subject), r in readings.items() if _news(host, k, subject, r)]
        if samples:
            emit(Samples(name, tuple(samples)))
        if services := self._services(host, answer, node_at, now):
            emit(ServicesSeen(name, services))
        if backups := tuple(b for q in asked if q.kind == "backup" and (b := self._backup(host, q, by_tag, now))):
            emit(BackupsSeen(name, backups))

    def _host_answer(
        self, host: HostConfig, name: str, asked: Sequence[Question], by_tag: Mapping[str, list[Series]]
    ) -> HostAnswer:
        answer = HostAnswer()
        per_kind = {q.kind: by_tag.get(q.tag, []) for q in asked if not q.subject}
        machines, answer.reason = mine(
            [s for rows in per_kind.values() for s in rows], names_of(name, host), others_of(self._config, name)
        )

        def own(kind: str) -> list[Series]:
            return [s for s in per_kind.get(kind, []) if machine_of(s.instance) in machines]

        take_memory(answer, own("memory"))
        take_gpus(answer, own("gpu"))
        take_units(answer, own("units"))
        take_disks(answer, own("disk"))
        if load := own("load"):
            answer.figures["cpu.load_mean", ""] = load[0].value
        if cpu := own("cpu"):
            use = cpu[0].value
            answer.figures["cpu.use_ratio", ""] = use if math.isnan(use) else min(1.0, max(0.0, use))
        answer.host_time = _newest(own("host-time"))
        answer.gpu_time = _newest(own("gpu-time"))
        return answer

    def _engine(
        self, host: str, mode: str, asked: Sequence[Question], by_tag: Mapping[str, list[Series]], now: datetime
    ) -> dict[tuple[str, str], Reading]:
        mine_ = [q for q in asked if q.subject == mode and q.kind in ("engine", "engine-time")]
        sampled = _newest(s for q in mine_ if q.kind == "engine-time" for s in by_tag.get(q.tag, ()))
        at = now if sampled is None else self._at(sampled)
        adapter = self._adapters[next(m.engine for m in with_engines(self._config.host[host]) if m.name == mode)]
        found: dict[tuple[str, str], Reading] = {}
        for q in mine_:
            if q.kind != "engine":
                continue
            rows = by_tag.get(q.tag, ())
            if rows:
                found[q.figure, mode] = fresh(rows[0].value, at, SOURCE)
            elif sampled is not None and (why := adapter.absent(q.figure)):
                found[q.figure, mode] = unsupported(why, SOURCE)
            else:
                reason = "no data in the window yet" if sampled is not None else f"{_MISSING} for {mode}"
                found[q.figure, mode] = unknown(reason, SOURCE, now)
        if sampled is not None:
            self.told[host, mode] = at
        return found

    def _mark(self, readings: dict[tuple[str, str], Reading], q: Question, now: datetime) -> None:
        reason = self._bad[q.expression]
        if q.figure:
            readings[q.figure, q.subject] = unknown(reason, SOURCE, now)
        for figure in {"memory": _HOST_FIGURES[:-1], "cpu": _HOST_FIGURES[-1:]}.get(q.kind, ()):
            readings[figure, ""] = unknown(reason, SOURCE, now)

    def _services(self, host: Host, answer: HostAnswer, at: datetime, now: datetime) -> tuple[Service, ...]:
        """Only for what the probe has not told lately: it is the better witness.

        Of a unit that is stopped and that nothing refers to every state ends, while the host goes on telling: it is not loaded any more.
        """
        found, mine = [], host.spec.name
        self._units.update((mine, name) for name in (*answer.units, *answer.units_seen))
        words = dict(answer.units)
        if answer.units_told and answer.host_time is not None:
            words.update({name: NOT_LOADED for name in host.services if (mine, name) in self._units and name not in words})
        for name, word in words.items():
            old = host.services.get(name)
            if old is None:
                continue
            if old.at is not None:
                limit = PROBE_IS_FRESH_SECONDS if old.source != SOURCE else -math.inf
                if (now - old.at).total_seconds() <= limit or old.at >= at:
                    continue
            if word == NOT_LOADED:
                known = old if old.active == "inactive" else Service(name, "inactive", description=old.description)
                found.append(replace(known, sub=NOT_LOADED, at=at, source=SOURCE, reason=""))
            elif old.active == word and old.sub != NOT_LOADED:
                found.append(replace(old, at=at, source=SOURCE, reason=""))
            else:
                found.append(Service(name, word, at=at, source=SOURCE, description=old.description))
        return tuple(found)

    def _by_its_clock(self, host: Host, value: float) -> datetime:
        """A moment that a program on the host wrote down. Until the host has told its own time it is taken for Prometheus'."""
        if host.skew_seconds is None:
            return self._at(value)
        return datetime.fromtimestamp(value + host.skew_seconds, UTC)

    def _backup(self, host: Host, q: Question, by_tag: Mapping[str, list[Series]], now: datetime) -> Backup | None:
        old = host.backups.get(q.subject)
        if old is None:
            return None
        rows = by_tag.get(q.tag, ())
        value = rows[0].value if rows else math.nan
        if q.expression in self._bad:
            new = replace(old, reason=self._bad[q.expression])
        elif math.isnan(value):
            new = replace(old, reason=f"{_MISSING}: look at its metric")
        elif not 1e9 < value < 1e11:
            new = replace(old, reason=f"its metric gives {value:g}, which is not a unix time")
        elif (done := self._by_its_clock(host, value)) > now + AHEAD:
            new = replace(old, reason=f"its metric gives {moment(done)}, which is in the future")
        else:
            new = replace(old, last_success_at=done, at=now, source=SOURCE, reason="")
        same = replace(new, at=old.at) == old and old.at is not None and (now - old.at).total_seconds() < 30
        return None if same else new


def _newest(series: Iterable[Series]) -> float | None:
    """The latest of the times that they tell."""
    return max((s.value for s in series if is_time(s.value)), default=None)


def _apart(host: Host, readings: Mapping[tuple[str, str], Reading], now: datetime) -> Reading | None:
    """How far Prometheus and the host itself are apart about its memory, as a share of it; 0 where they agree, None if not both tell.

    Nothing is averaged: what the host tells is shown, and that they differ is said.
    """
    total = host.reading("memory.total_bytes").fresh_value
    if not total:
        return None
    found, worst, words = False, 0.0, ""
    for figure, name, bound in (("memory.total_bytes", "memory", 0.02), ("memory.available_bytes", "available memory", 0.1)):
        here, there = host.reading(figure), readings.get((figure, ""), Reading())
        if here.fresh_value is None or here.source in ("", SOURCE) or there.value is None or here.at is None or there.at is None:
            continue
        if abs((here.at - there.at).total_seconds()) > TOGETHER_SECONDS and figure != "memory.total_bytes":
            continue
        found, apart = True, abs(here.fresh_value - there.value) / total
        if apart > max(bound, worst):
            worst, words = apart, f"Prometheus: {size(there.value)} of {name}; {host.spec.name} itself: {size(here.fresh_value)}"
    return replace(fresh(worst, now, SOURCE), reason=words) if found else None


def _news(host: Host, figure: str, subject: str, new: Reading) -> bool:
    """That there is still nothing is no news, nor that there is nothing newer."""
    old = host.reading(figure, subject)
    if new.at is None and (old.status, old.reason, old.source) == (Status.STALE, new.reason, new.source):
        return False
    return new.value is not None or (old.status, old.reason, old.source) != (new.status, new.reason, new.source)
