"""The source `prometheus`: everything about every host in one query per poll. Keeps no timers, retries nothing."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from sovtui.adapters.engines.base import EngineAdapter, Windows, windows
from sovtui.adapters.figures import questions as ask
from sovtui.adapters.figures.answers import HostAnswer, Series, machine_of, mine, take_gpus, take_memory, take_units
from sovtui.adapters.figures.api import BadQuery, get, query
from sovtui.adapters.figures.questions import MEMORY, Question
from sovtui.config.schema import Config, HostConfig, ModeConfig
from sovtui.core.catalog import stale_after
from sovtui.core.clean import clean
from sovtui.core.events import BackupsSeen, Sample, Samples, ServicesSeen
from sovtui.core.model import Backup, Service
from sovtui.core.modes import RUNNING
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.core.state import Host, State
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Malformed
from sovtui.ports.source import Emit

SOURCE = "prometheus"
PROBE_IS_FRESH_SECONDS = 5.0
BAD_FOR_SECONDS = 300.0
"""An expression that was refused is left out this long."""
LEARN_EVERY_SECONDS = 600.0
AT_ONCE = 6
MOST_PARTS = 8
_NOW = Question("now", "now", "", "vector(time())")
_MISSING = "Prometheus has no such series"
_HOST_FIGURES = (*MEMORY.values(), "memory.cached_bytes", "memory.droppable_bytes", "memory.swap_used_bytes", "cpu.use_ratio")


class PrometheusSource:
    """Implements `ports.source.Source`."""

    name = SOURCE
    host = ""

    def __init__(self, config: Config, adapters: Mapping[str, EngineAdapter], client: httpx.AsyncClient, clock: Clock) -> None:
        """`client` has the url of `[prometheus]` as its base address; `adapters` by engine name."""
        assert config.prometheus is not None
        self._config, self._adapters, self._client, self._clock = config, dict(adapters), client, clock
        self.interval_seconds = float(config.prometheus.interval)
        self.timeout_seconds = 2 * float(config.prometheus.timeout) + 1
        self.offset_seconds: float | None = None
        """This clock minus Prometheus'; None before the first answer."""
        self.last_query_chars = self.last_reply_bytes = 0
        self._intervals: dict[int, float] = {}
        """Scrape interval by port."""
        self._usual: float | None = None
        self._learned_at = -math.inf
        self._version = ""
        self._bad: dict[str, tuple[float, str]] = {}
        """Until when and why an expression is left out."""
        self._parts = 1
        self._told: dict[tuple[str, str], datetime] = {}

    async def poll(self, state: State, emit: Emit) -> str:
        if self._clock.monotonic() - self._learned_at > LEARN_EVERY_SECONDS:
            await self._learn()
        asked = self.questions(state)
        sent_at = self._clock.now()
        series = await self._ask([q for q in asked if q.expression not in self._bad])
        self._set_offset(sent_at, series)
        by_tag: dict[str, list[Series]] = {}
        for s in series:
            by_tag.setdefault(s.labels.get("k", ""), []).append(s)
        for name in self._config.host:
            if name in state.hosts:
                self._tell(state.hosts[name], [q for q in asked if q.host == name], by_tag, sent_at, emit)
        return f"{self._version} {self._client.base_url}".strip()

    async def aclose(self) -> None:
        await self._client.aclose()

    def tells(self, host: str, mode: str) -> bool:
        """Whether the figures of that engine are from here and fresh: nobody else need ask it."""
        at = self._told.get((host, mode))
        return at is not None and (self._clock.now() - at).total_seconds() <= stale_after("engine.running")

    def windows_for(self, port: int | None = None) -> Windows:
        """Windows for what is scraped at a port."""
        return windows(self._intervals.get(port, self._usual) if port is not None else self._usual)

    def at(self, server_time: float) -> datetime:
        """A time of the server by this machine's clock: ages stay right though the clocks differ."""
        return datetime.fromtimestamp(server_time + (self.offset_seconds or 0.0), UTC)

    def questions(self, state: State | None) -> list[Question]:
        """All expressions for now: engines whose units do not run are not asked for. Without a state: all."""
        found = ask.host_questions(self._config, self.windows_for(9100))
        for h, (name, host) in enumerate(self._config.host.items()):
            for m, mode in enumerate(host.mode):
                adapter = self._adapters.get(mode.engine)
                if adapter is not None and mode.url and (state is None or _may_run(state.hosts.get(name), mode)):
                    span = self.windows_for(ask.port_of(mode.url))
                    found += ask.engine_questions(self._config, name, mode, adapter, span, f"e{h}_{m}")
        return found

    # One query, and what to do when it is refused

    async def _ask(self, asked: Sequence[Question]) -> list[Series]:
        now = self._clock.monotonic()
        self._bad = {expression: bad for expression, bad in self._bad.items() if bad[0] > now}
        size = math.ceil(len(asked) / self._parts) or 1
        parts = [(_NOW, *asked[i : i + size]) for i in range(0, len(asked), size)] or [(_NOW,)]
        try:
            replies = await asyncio.gather(*(query(self._client, ask.joined(part)) for part in parts))
        except BadQuery as error:
            return await self._ask_singly(asked, error)
        self.last_query_chars = sum(len(ask.joined(part)) for part in parts)
        self.last_reply_bytes = sum(reply.size for reply in replies)
        return [s for reply in replies for s in reply.series]

    async def _ask_singly(self, asked: Sequence[Question], error: BadQuery) -> list[Series]:
        """One refused expression refuses all: find it once, leave it out, say why."""
        gate = asyncio.Semaphore(AT_ONCE)
        until = self._clock.monotonic() + BAD_FOR_SECONDS
        bad: dict[str, tuple[float, str]] = {}

        async def single(question: Question) -> tuple[Series, ...]:
            async with gate:
                try:
                    return (await query(self._client, question.tagged)).series
                except BadQuery as why:
                    bad[question.expression] = (until, str(why))
                    return ()

        found = [s for part in await asyncio.gather(*(single(q) for q in (_NOW, *asked))) for s in part]
        if len(bad) > len(asked):
            raise Malformed(str(error), "It is not Prometheus that answers, or not one that we can ask")
        if not bad:  # each alone is fine: it is too much at once
            self._parts = min(self._parts * 2, MOST_PARTS)
        self._bad.update(bad)
        return found

    async def _learn(self) -> None:
        """Scrape intervals and version, once in a while. Not every store tells them: longer windows are used then."""
        targets, build = await asyncio.gather(
            self._perhaps("/api/v1/targets", state="active"), self._perhaps("/api/v1/status/buildinfo")
        )
        active = targets.get("activeTargets")
        usual: Counter[float] = Counter()
        for target in active if isinstance(active, list) else ():
            seconds = _duration(str(target.get("scrapeInterval", "")))
            if seconds:
                self._intervals[ask.port_of(str(target.get("scrapeUrl", "")))] = seconds
                usual[seconds] += 1
        self._usual = usual.most_common(1)[0][0] if usual else None
        self._version = clean(str(build.get("version", "")), 30)
        self._learned_at = self._clock.monotonic()

    async def _perhaps(self, path: str, **params: str) -> dict[str, Any]:
        try:
            return await get(self._client, path, **params)
        except Malformed:
            return {}

    def _set_offset(self, sent_at: datetime, series: Iterable[Series]) -> None:
        """Kept as it is unless it becomes better or a clock is set: otherwise one sample would get a new time at every poll."""
        evaluated = max((s.value for s in series if s.labels.get("k") == _NOW.tag), default=None)
        if evaluated is None:
            return
        found = sent_at.timestamp() - evaluated
        kept = self.offset_seconds
        # The true difference is never below what a request shows: it was evaluated after it was sent.
        if kept is None or found > kept + 0.02 or found < kept - 5.0:
            self.offset_seconds = found

    # From series to events

    def _tell(self, host: Host, asked: Sequence[Question], by_tag: Mapping[str, list[Series]], now: datetime, emit: Emit) -> None:
        name = host.spec.name
        answer = self._host_answer(self._config.host[name], name, asked, by_tag)
        node_at = now if answer.host_time is None else self.at(answer.host_time)
        gpu_at = node_at if answer.gpu_time is None else self.at(answer.gpu_time)
        readings: dict[tuple[str, str], Reading] = {
            key: fresh(value, gpu_at if key[0].startswith("gpu.") else node_at, SOURCE) for key, value in answer.figures.items()
        }
        readings.update({key: unsupported(reason, SOURCE) for key, reason in answer.unsupported.items()})
        reason = answer.reason or f"{_MISSING} for {name}"
        for figure in _HOST_FIGURES:
            readings.setdefault((figure, ""), unknown(reason, SOURCE, now))
        for q in asked:
            if q.kind == "engine-time":
                readings.update(self._engine(name, q.subject, asked, by_tag, now))
            if q.expression in self._bad:
                self._mark(readings, q, now)
        for key, old in host.figures.items():  # a GPU, or an engine, that Prometheus no longer tells of
            if old.source == SOURCE and old.known and key not in readings:
                readings[key] = unknown("its services do not run" if key[0].startswith("engine.") else reason, SOURCE, now)
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
        machines, answer.reason = mine([s for rows in per_kind.values() for s in rows], ask.names_of(name, host))

        def own(kind: str) -> list[Series]:
            return [s for s in per_kind.get(kind, []) if machine_of(s.instance) in machines]

        take_memory(answer, own("memory"))
        take_gpus(answer, own("gpu"))
        take_units(answer, own("units"))
        if cpu := own("cpu"):
            use = cpu[0].value
            answer.figures["cpu.use_ratio", ""] = use if math.isnan(use) else min(1.0, max(0.0, use))
        answer.host_time = max((s.value for s in own("host-time")), default=None)
        answer.gpu_time = max((s.value for s in own("gpu-time")), default=None)
        return answer

    def _engine(
        self, host: str, mode: str, asked: Sequence[Question], by_tag: Mapping[str, list[Series]], now: datetime
    ) -> dict[tuple[str, str], Reading]:
        mine_ = [q for q in asked if q.subject == mode and q.kind in ("engine", "engine-time")]
        sampled = next((s.value for q in mine_ if q.kind == "engine-time" for s in by_tag.get(q.tag, ())), None)
        at = now if sampled is None else self.at(sampled)
        adapter = self._adapters[next(m.engine for m in self._config.host[host].mode if m.name == mode)]
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
            self._told[host, mode] = at
        return found

    def _mark(self, readings: dict[tuple[str, str], Reading], q: Question, now: datetime) -> None:
        reason = self._bad[q.expression][1]
        if q.figure:
            readings[q.figure, q.subject] = unknown(reason, SOURCE, now)
        for figure in {"memory": _HOST_FIGURES[:-1], "cpu": _HOST_FIGURES[-1:]}.get(q.kind, ()):
            readings[figure, ""] = unknown(reason, SOURCE, now)

    def _services(self, host: Host, answer: HostAnswer, at: datetime, now: datetime) -> tuple[Service, ...]:
        """Only for what the probe has not told lately: it is the better witness."""
        found = []
        for name, word in answer.units.items():
            old = host.services.get(name)
            if old is None:
                continue
            if old.at is not None:
                limit = PROBE_IS_FRESH_SECONDS if old.source != SOURCE else -math.inf
                if (now - old.at).total_seconds() <= limit or old.at >= at:
                    continue
            if old.active == word:
                found.append(replace(old, at=at, source=SOURCE, reason=""))
            else:
                found.append(Service(name, word, at=at, source=SOURCE, description=old.description))
        return tuple(found)

    def _backup(self, host: Host, q: Question, by_tag: Mapping[str, list[Series]], now: datetime) -> Backup | None:
        old = host.backups.get(q.subject)
        if old is None:
            return None
        rows = by_tag.get(q.tag, ())
        value = rows[0].value if rows else math.nan
        if q.expression in self._bad:
            new = replace(old, reason=self._bad[q.expression][1])
        elif math.isnan(value):
            new = replace(old, reason=f"{_MISSING}: look at its metric")
        elif not 1e9 < value < 1e11:
            new = replace(old, reason=f"its metric gives {value:g}, which is not a unix time")
        else:
            new = replace(old, last_success_at=self.at(value), at=now, source=SOURCE, reason="")
        same = replace(new, at=old.at) == old and old.at is not None and (now - old.at).total_seconds() < 30
        return None if same else new


def _may_run(host: Host | None, mode: ModeConfig) -> bool:
    services = [] if host is None else [host.services[n] for n in mode.services if n in host.services]
    return all(s.active in (*RUNNING, "unknown") for s in services)


def _news(host: Host, figure: str, subject: str, new: Reading) -> bool:
    """That there is still nothing is no news."""
    old = host.reading(figure, subject)
    return new.value is not None or (old.status, old.reason, old.source) != (new.status, new.reason, new.source)


def _duration(text: str) -> float:
    """Prometheus' durations: `15s`, `1m30s`, `500ms`."""

    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", text))
