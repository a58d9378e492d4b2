"""The source `prometheus`: everything about every host in one query per poll. Keeps no timers, retries nothing."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from sovtui.adapters.engines.base import EngineAdapter, Windows, windows
from sovtui.adapters.figures import questions as ask
from sovtui.adapters.figures.answers import Series
from sovtui.adapters.figures.api import BadQuery, get, query
from sovtui.adapters.figures.firing import FIRING, firing, pulse_question, seen_pulses
from sovtui.adapters.figures.questions import Question
from sovtui.adapters.figures.telling import PROBE_IS_FRESH_SECONDS, SOURCE, Teller
from sovtui.config.schema import Config, EngineConfig, ModeConfig
from sovtui.config.specs import with_engines
from sovtui.core.catalog import stale_after
from sovtui.core.clean import clean
from sovtui.core.events import FiringSeen, PulsesSeen
from sovtui.core.modes import RUNNING
from sovtui.core.outside import is_time, left_out, rows, table, text, unix
from sovtui.core.reading import UNKNOWN, Status
from sovtui.core.state import Host, State
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Malformed, Refused
from sovtui.ports.source import Emit

COMPARE_EVERY_SECONDS = 15.0
"""What the host itself tells every second is only asked this often, to compare."""
LONGEST_INTERVAL_SECONDS = 3.0
GPUS_SECONDS = 60.0
"""So long after last known figures a GPU exporter is still there: a scrape may fail."""
BAD_FOR_SECONDS = 300.0
"""An expression that was refused is left out this long."""
LEARN_EVERY_SECONDS = 600.0
AT_ONCE = 6
MOST_TARGETS = 5000
LONGEST_SCRAPE_SECONDS = 86_400.0
MOST_PARTS = 8
_NOW = Question("now", "now", "", "vector(time())")


class PrometheusSource:
    """Implements `ports.source.Source`."""

    name = SOURCE
    host = ""

    def __init__(self, config: Config, adapters: Mapping[str, EngineAdapter], client: httpx.AsyncClient, clock: Clock) -> None:
        """`client` has the url of `[prometheus]` as its base address; `adapters` by engine name."""
        assert config.prometheus is not None
        self._config, self._adapters, self._client, self._clock = config, dict(adapters), client, clock
        self._interval = float(config.prometheus.interval)
        self.timeout_seconds = 2 * float(config.prometheus.timeout) + 1
        self.offset_seconds: float | None = None
        """This clock minus Prometheus'; None before the first answer."""
        self.last_query_chars = self.last_reply_bytes = 0
        self._intervals: dict[int, float] = {}
        """Scrape interval by port."""
        self._usual: float | None = None
        self._learned_at = self._compared_at = -math.inf
        self.version = ""
        """As it says itself; empty: not told, or not asked yet."""
        self._bad: dict[str, tuple[float, str]] = {}
        """Until when and why an expression is left out."""
        self._asked = False
        self.left_out = ""
        """See `ports.source.Source`."""
        self._parts = 1
        self._shape: tuple[object, ...] = ()
        self._shaped: list[Question] = []
        """What is asked while the engines that run, and what the probe tells, stay the same."""
        self._teller = Teller(config, self._adapters, self.at)
        self._pulses = config.alertmanager.pulse if config.alertmanager is not None else ()
        self._pulse_question = pulse_question(self._pulses)

    @property
    def interval_seconds(self) -> float:
        """As configured; rarer where nothing is scraped so often: a quarter of the shortest scrape interval, three seconds at most."""
        shortest = min((*self._intervals.values(), *([self._usual] if self._usual else [])), default=0.0)
        return max(self._interval, min(LONGEST_INTERVAL_SECONDS, shortest / 4))

    async def poll(self, state: State, emit: Emit) -> str:
        try:
            return await self._poll(state, emit)
        finally:
            self._asked = True

    async def _poll(self, state: State, emit: Emit) -> str:
        if self._clock.monotonic() - self._learned_at > LEARN_EVERY_SECONDS:
            await self._learn()
        compare = self._clock.monotonic() - self._compared_at >= COMPARE_EVERY_SECONDS
        if compare:
            self._compared_at = self._clock.monotonic()
        asked = [*self.questions(state, compare=compare), *self._of_alerts(state, compare)]
        sent_at = self._clock.now()
        series = await self._ask([q for q in asked if q.expression not in self._bad])
        self._set_offset(sent_at, series)
        by_tag: dict[str, list[Series]] = {}
        for s in series:
            by_tag.setdefault(s.labels.get("k", ""), []).append(s)
        bad = {expression: why for expression, (_, why) in self._bad.items()}
        for name in self._config.host:
            if name in state.hosts:
                mine = [q for q in asked if q.host == name]
                self._teller.tell(state.hosts[name], mine, by_tag, sent_at, emit, bad)
        if any(q is FIRING for q in asked) and FIRING.expression not in bad:
            emit(FiringSeen(firing(by_tag.get(FIRING.tag, ()), self.at, self._pulses)))
        if pulses := seen_pulses(by_tag.get("pu", ()), self.at, self._pulses):
            emit(PulsesSeen(pulses))
        return f"{self.version} {self._client.base_url}".strip()

    def _of_alerts(self, state: State, compare: bool) -> list[Question]:
        """What fires, while Alertmanager may not know; and now and then, what should."""
        if self._config.alertmanager is None:
            return []
        return [*([FIRING] if state.alerts_untold else []), *([self._pulse_question] if compare else [])]

    async def aclose(self) -> None:
        await self._client.aclose()

    def tells_gpus(self, host: str) -> bool | None:
        """Whether a host's GPUs are told from here; None before the first answer or failure."""
        at = self._teller.gpus_told.get(host)
        if at is not None and (self._clock.now() - at).total_seconds() <= GPUS_SECONDS:
            return True
        return False if self._asked else None

    def tells(self, host: str, mode: str) -> bool:
        """Whether the figures of that engine are from here and fresh: nobody else need ask it."""
        at = self._teller.told.get((host, mode))
        return at is not None and (self._clock.now() - at).total_seconds() <= stale_after("engine.running")

    def windows_for(self, port: int | None = None) -> Windows:
        """Windows for what is scraped at a port."""
        return windows(self._intervals.get(port, self._usual) if port is not None else self._usual)

    def at(self, server_time: float) -> datetime:
        """A time of the server by this machine's clock: ages stay right though the clocks differ."""
        return unix(server_time + (self.offset_seconds or 0.0)) or self._clock.now()

    def questions(self, state: State | None, *, compare: bool = True) -> list[Question]:
        """All expressions for now: engines whose units do not run are not asked for. Without a state: all.

        `compare`: also for memory and processor where the host tells them itself.
        """
        hosts = self._config.host
        probed: frozenset[str] = frozenset()
        measured: frozenset[str] = frozenset()
        if state is not None:  # forty units are half of the reply, and nobody would look at them
            probed = frozenset(name for name in hosts if self._probed(state.hosts.get(name)))
            measured = frozenset(name for name in hosts if self._measured(state.hosts.get(name)))
        engines = tuple(
            (h, m, name, mode)
            for h, (name, host) in enumerate(hosts.items())
            for m, mode in enumerate(with_engines(host))
            if mode.engine in self._adapters and mode.url and (state is None or _may_run(state.hosts.get(name), mode))
        )
        told = frozenset() if compare else measured
        shape = (self._learned_at, probed, measured, told, tuple((h, m) for h, m, *_ in engines))
        if shape != self._shape:  # the same is asked every second for hours
            found = ask.host_questions(self._config, self.windows_for(9100))
            found = [q for q in found if q.kind != "units" or q.host not in probed]
            found = [q for q in found if q.kind not in ("disk", "load") or q.host not in measured]
            found = [q for q in found if q.kind not in ("memory", "cpu") or q.host not in told]
            found = [q for q in found if q.kind != "host-time" or q.host not in told & probed]
            for h, m, name, mode in engines:
                span = self.windows_for(ask.port_of(mode.url))
                found += ask.engine_questions(self._config, name, mode, self._adapters[mode.engine], span, f"e{h}_{m}")
            self._shape, self._shaped = shape, found
        return self._shaped

    def _probed(self, host: Host | None) -> bool:
        """Whether the probe has just told all services of this host: it is the better witness."""
        if host is None or not host.services:
            return False
        now = self._clock.now()
        return all(
            s.at is not None and s.source != SOURCE and (now - s.at).total_seconds() <= PROBE_IS_FRESH_SECONDS
            for s in host.services.values()
        )

    def _measured(self, host: Host | None) -> bool:
        """Whether the probe tells load and disks of this host."""
        told = host.reading("cpu.load_mean") if host is not None else UNKNOWN
        return told.source not in ("", SOURCE) and told.status is Status.FRESH

    # One query, and what to do when it is refused

    async def _ask(self, asked: Sequence[Question]) -> list[Series]:
        now = self._clock.monotonic()
        self._bad = {expression: bad for expression, bad in self._bad.items() if bad[0] > now}
        parts = [(_NOW, *part) for part in ask.split(asked, parts=self._parts)] or [(_NOW,)]
        try:
            replies = await asyncio.gather(*(query(self._client, ask.joined(part), {q.tag for q in part}) for part in parts))
        except BadQuery as error:
            return await self._ask_singly(asked, error)
        self.last_query_chars = sum(len(ask.joined(part)) for part in parts)
        self.last_reply_bytes = sum(reply.size for reply in replies)
        unread, beyond = (sum(counts) for counts in zip(*((reply.unread, reply.beyond) for reply in replies), strict=True))
        self.left_out = left_out([(unread, "series that cannot be read"), (beyond, "series beyond two thousand of one question")])
        return [s for reply in replies for s in reply.series]

    async def _ask_singly(self, asked: Sequence[Question], error: BadQuery) -> list[Series]:
        """One refused expression refuses all: find it once, leave it out, say why."""
        gate = asyncio.Semaphore(AT_ONCE)
        until = self._clock.monotonic() + BAD_FOR_SECONDS
        bad: dict[str, tuple[float, str]] = {}

        async def single(question: Question) -> tuple[Series, ...]:
            async with gate:
                try:
                    return (await query(self._client, question.tagged, (question.tag,))).series
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
        usual: Counter[float] = Counter()
        intervals: dict[int, float] = {}
        for target in rows(targets.get("activeTargets"))[:MOST_TARGETS]:
            label = table(target.get("discoveredLabels")).get("__scrape_interval__")  # VictoriaMetrics tells it only there
            seconds = _duration(text(target.get("scrapeInterval") or label)[:40])
            if 0 < seconds <= LONGEST_SCRAPE_SECONDS:
                with contextlib.suppress(ValueError):  # no address
                    intervals[ask.port_of(text(target.get("scrapeUrl")))] = seconds
                usual[seconds] += 1
        self._intervals = intervals or self._intervals
        self._usual = usual.most_common(1)[0][0] if usual else None
        self.version = clean(text(build.get("version")), 30)
        self._learned_at = self._clock.monotonic()

    async def _perhaps(self, path: str, **params: str) -> dict[str, Any]:
        try:
            return await get(self._client, path, **params)
        except (Malformed, Refused):  # a proxy for one tenant lets queries pass and nothing else
            return {}

    def _set_offset(self, sent_at: datetime, series: Iterable[Series]) -> None:
        """Kept as it is unless it becomes better or a clock is set: otherwise one sample would get a new time at every poll."""
        evaluated = max((s.value for s in series if s.labels.get("k") == _NOW.tag and is_time(s.value)), default=None)
        if evaluated is None:
            return
        # VictoriaMetrics cuts its time to the second: it was anywhere within that one.
        found = sent_at.timestamp() - (evaluated + 0.999 if evaluated.is_integer() else evaluated)
        kept = self.offset_seconds
        # The true difference is never below what a request shows: it was evaluated after it was sent.
        if kept is None or found > kept + 0.02 or found < kept - 5.0:
            self.offset_seconds = found


def _may_run(host: Host | None, mode: ModeConfig | EngineConfig) -> bool:
    services = [] if host is None else [host.services[n] for n in mode.services if n in host.services]
    return all(s.active in (*RUNNING, "unknown") for s in services)


def _duration(text: str) -> float:
    """Prometheus' durations: `15s`, `1m30s`, `500ms`."""

    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", text))
