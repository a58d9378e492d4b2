"""The source `engines` of one host: is each mode's engine ready, and its own figures where Prometheus tells none.

An engine whose services do not run is not asked at all. Keeps no timers: the poller calls `poll`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import httpx

from sovtui.adapters.engines.base import RESTARTED, EngineAdapter, Past, progress, wrong_model
from sovtui.adapters.engines.scrape import Scrape
from sovtui.adapters.links.http import request
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.events import EngineSeen, Sample, Samples
from sovtui.core.model import SERVING, Engine, EnginePhase, LinkPhase, Mode, Service
from sovtui.core.modes import RUNNING
from sovtui.core.reading import Reading, Status, unknown
from sovtui.core.state import Host, State
from sovtui.ports.clock import Clock
from sovtui.ports.errors import PortError, TimedOut, Unreachable
from sovtui.ports.source import Emit

REFUSALS_UNTIL_DEAD = 2
"""One refusal may be a stop that we have not heard of yet."""
TIMEOUTS_UNTIL_HUNG = 4
"""A burst of requests can keep an engine from answering for seconds."""
KEEP_SECONDS = 300.0
"""Scrapes are kept as long as the longest window."""
SPACING_SECONDS = 10.0
LINK_SECONDS = 20.0
"""So long a link may be dead before it is noticed, metered ones included: an engine's silence in that time was the link's."""
LATENCY_SECONDS = 60.0

_UP = (*SERVING, EnginePhase.ASLEEP)
_SILENT = (EnginePhase.UNKNOWN, EnginePhase.DEAD, EnginePhase.HUNG)
_TOLD_BY_PROMETHEUS = ("engine.running", "engine.decode_tok_s")

MakeClient = Callable[[str, str], httpx.AsyncClient]
"""Base address as seen from the host and the mode's name, to a client that goes through the host's link and logs in as configured."""


@dataclass(slots=True)
class _Watched:
    """What is remembered of one mode's engine between two polls."""

    mode: Mode
    adapter: EngineAdapter | None
    client: httpx.AsyncClient
    past: Past = field(default_factory=Past)
    pids: dict[str, tuple[int | None, datetime | None]] = field(default_factory=dict)
    """Main process and start of each service, as last known: a change is a new life."""
    scrapes: deque[Scrape] = field(default_factory=deque)
    """At most one in ten seconds, besides the newest."""
    last: Engine = field(default_factory=Engine)
    heard: Engine | None = None
    """What it last answered, with the time; None once what was told of it since is not for want of an answer."""


class EnginesSource:
    """Implements `ports.source.Source`."""

    name = "engines"
    interval_seconds = 2.0
    timeout_seconds = 12.0

    def __init__(
        self,
        host: str,
        modes: Sequence[Mode],
        adapters: Mapping[str, EngineAdapter],
        make_client: MakeClient,
        clock: Clock,
        *,
        told_elsewhere: Callable[[str, str], bool] | None = None,
    ) -> None:
        """`adapters` by engine name; a mode whose engine has none is asked for `/v1/models` only.

        `told_elsewhere(host, mode)`: whether Prometheus has fresh figures of that engine; by default the state is looked at.
        """
        self.host = host
        self._clock = clock
        self._told_elsewhere = told_elsewhere
        clients: dict[str, httpx.AsyncClient] = {}
        self._watched = []
        for mode in modes:
            if mode.url:
                base = mode.url.rstrip("/").removesuffix("/v1")
                if base not in clients:
                    clients[base] = make_client(base, mode.name)
                self._watched.append(_Watched(mode, adapters.get(mode.engine), clients[base]))
        self._clients = tuple(clients.values())

    async def poll(self, state: State, emit: Emit) -> str:
        host = state.hosts.get(self.host)
        if host is None:
            return ""
        if host.link.phase is not LinkPhase.UP:
            self._take_back(emit)
        if host.link.phase in (LinkPhase.DOWN, LinkPhase.REFUSED):
            raise Unreachable(
                f"{self.host} is not reached: {host.link.reason or host.link.phase}"
            )  # nothing is known of its engines
        async with asyncio.TaskGroup() as group:
            for watched in self._watched:
                group.create_task(self._look(watched, host, emit), name=f"engine {watched.mode.name}")
        alive = [w.mode.name for w in self._watched if w.last.phase in _UP]
        return ", ".join(alive)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

    def _take_back(self, emit: Emit) -> None:
        """Engines that fell silent with the link: of them is known what they last answered, not that they are dead or hung."""
        for watched in self._watched:
            heard, watched.heard = watched.heard, None
            if heard is None or heard.at is None or watched.last.phase not in _SILENT:
                continue
            if (self._clock.now() - heard.at).total_seconds() <= LINK_SECONDS:
                watched.past.failures, watched.last = 0, heard
                emit(EngineSeen(self.host, watched.mode.name, replace(heard, reason="the link is down")))

    async def _look(self, watched: _Watched, host: Host, emit: Emit) -> None:
        old = host.engines.get(watched.mode.name, Engine())
        services = [host.services[name] for name in watched.mode.services if name in host.services]
        stopped = [s.name for s in services if s.active not in (*RUNNING, "unknown")]
        if _began_anew(watched.pids, services) or stopped:
            watched.past = Past()
            watched.scrapes.clear()
        if stopped:
            engine = Engine(EnginePhase.ABSENT, reason=f"{stopped[0]} does not run")
        else:
            watched.past.due, watched.past.page = self._due(watched, host), None
            try:
                engine = await self._ask(watched, services, host.link.phase)
            except PortError as error:
                if old.phase is EnginePhase.UNKNOWN:
                    emit(EngineSeen(self.host, watched.mode.name, replace(old, reason=str(error))))
                return
        now = self._clock.now()
        readings: dict[str, Reading] = {}
        if engine.phase in (*_UP, EnginePhase.WARMING):
            if watched.past.due:
                readings = await self._figures(watched)
            engine = _asleep(engine, host, watched.mode, readings)
        else:
            readings = self._gone(host, watched.mode, engine, now)
        if engine.phase in (EnginePhase.STARTING, EnginePhase.WARMING):
            engine = replace(engine, progress=engine.progress or _told_by_action(host, watched.mode) or old.progress)
        watched.last = engine
        engine = replace(engine, at=now)
        if not watched.past.failures:
            watched.heard = engine
        emit(EngineSeen(self.host, watched.mode.name, engine))
        if readings:
            emit(Samples(self.host, tuple(Sample(key, r, watched.mode.name) for key, r in readings.items())))

    async def _ask(self, watched: _Watched, services: list[Service], link: LinkPhase) -> Engine:
        """Raises `PortError` where the link does not stand: that says nothing of the engine."""
        past, mode = watched.past, watched.mode
        past.at = self._clock.now()
        try:
            if watched.adapter is None:
                engine = await _models_only(watched.client, mode.model)
            else:
                engine = await watched.adapter.probe(watched.client, mode.model, past, self._clock.monotonic())
        except PortError as error:
            if link is not LinkPhase.UP:
                raise
            past.failures += 1
            patience = TIMEOUTS_UNTIL_HUNG if isinstance(error, TimedOut) else REFUSALS_UNTIL_DEAD
            return self._silent(past, services, watched.last, str(error), patience)
        past.failures = 0
        past.ready = past.ready or engine.phase in _UP
        return engine

    @staticmethod
    def _silent(past: Past, services: list[Service], last: Engine, what: str, patience: int) -> Engine:
        """Nobody answers: what that means depends on the units and on whether it was ready since they started."""
        if not services:
            return Engine(EnginePhase.ABSENT, reason=what)
        if any(s.active == "unknown" for s in services):
            return Engine(EnginePhase.UNKNOWN, reason=f"{what}; its services are not known yet")
        if any(s.active == "deactivating" for s in services):
            return Engine(EnginePhase.ABSENT, reason="it is stopping")
        if not past.ready:
            return Engine(EnginePhase.STARTING, reason=what)
        if past.failures >= patience:
            phase = EnginePhase.HUNG if patience == TIMEOUTS_UNTIL_HUNG else EnginePhase.DEAD
            return Engine(phase, last.models, reason=f"it was ready and no longer answers: {what}")
        return Engine(
            EnginePhase.UNKNOWN, last.models, last.context_tokens, last.version, reason=f"it has just stopped answering: {what}"
        )

    def _due(self, watched: _Watched, host: Host) -> bool:
        """Whether its own figures are to be read now: not where Prometheus has them, unless it tells more than Prometheus."""
        adapter, scrapes = watched.adapter, watched.scrapes
        if adapter is None or (not adapter.live and self._told(host, watched.mode)):
            return False
        return not (adapter.every_seconds and scrapes and self._clock.monotonic() - scrapes[-1].monotonic < adapter.every_seconds)

    def _told(self, host: Host, mode: Mode) -> bool:
        if self._told_elsewhere is not None:
            return self._told_elsewhere(self.host, mode.name)
        readings = [host.reading(figure, mode.name) for figure in _TOLD_BY_PROMETHEUS]
        return any(r.status is Status.FRESH and r.source == "prometheus" for r in readings)

    async def _figures(self, watched: _Watched) -> dict[str, Reading]:
        adapter, scrapes = watched.adapter, watched.scrapes
        assert adapter is not None
        try:
            after = await adapter.scrape(watched.client, watched.past, self._clock.now(), self._clock.monotonic())
        except PortError as error:
            after = unknown(str(error), "engine")
        if after is None:
            return {}
        if isinstance(after, Reading):
            return dict.fromkeys(ENGINE_FIGURES, after)
        if not isinstance(after, Scrape):
            return dict(after)
        before = scrapes[-1] if scrapes else None
        readings = adapter.parse(
            before,
            after,
            latency_before=_since(scrapes, after, LATENCY_SECONDS),
            hits_before=_since(scrapes, after, KEEP_SECONDS),
        )
        if before is not None and any(r.reason == RESTARTED for r in readings.values()):
            scrapes.clear()
        if len(scrapes) >= 2 and scrapes[-1].monotonic - scrapes[-2].monotonic < SPACING_SECONDS:
            scrapes.pop()
        scrapes.append(after)
        while after.monotonic - scrapes[0].monotonic > KEEP_SECONDS + SPACING_SECONDS:
            scrapes.popleft()
        return readings

    def _gone(self, host: Host, mode: Mode, engine: Engine, now: datetime) -> dict[str, Reading]:
        """Figures that the engine itself told are over when it is; those of Prometheus are Prometheus' to end."""
        if engine.phase is EnginePhase.UNKNOWN:
            return {}  # it has just stopped answering: its figures grow old by themselves
        return {
            figure: unknown(engine.reason or "it does not run", "engine", now)
            for (figure, subject), reading in host.figures.items()
            if subject == mode.name and figure.startswith("engine.") and reading.source == "engine" and reading.known
        }


def _began_anew(known: dict[str, tuple[int | None, datetime | None]], services: list[Service]) -> bool:
    """Whether a service has another main process (or, where none is told, another start) than before; what is not told is no change."""
    anew = False
    for service in services:
        pid, since = known.get(service.name, (None, None))
        if pid is not None and service.main_pid is not None:
            anew = anew or pid != service.main_pid
        elif pid is None and service.main_pid is None and since is not None and service.since is not None:
            anew = anew or since != service.since
        known[service.name] = (service.main_pid or pid, service.since or since)
    return anew


def _since(scrapes: deque[Scrape], after: Scrape, seconds: float) -> Scrape | None:
    """The oldest scrape within the window, so that the window is as full as can be."""
    return next((scrape for scrape in scrapes if after.monotonic - scrape.monotonic <= seconds), None)


def _asleep(engine: Engine, host: Host, mode: Mode, readings: Mapping[str, Reading]) -> Engine:
    """`/is_sleeping` exists in development mode only; else the metric says that requests would hang."""
    reading = readings.get("engine.asleep") or host.reading("engine.asleep", mode.name)
    if engine.phase is EnginePhase.READY and reading.fresh_value == 1.0:
        return replace(engine, phase=EnginePhase.ASLEEP)
    return engine


def _told_by_action(host: Host, mode: Mode) -> str:
    """How far the start is, from the engine's journal, which a running action follows."""
    run = host.action
    if run is None or not run.running or run.target not in (mode.name, *mode.services):
        return ""
    return next((said for line in reversed(run.lines) if (said := progress(line))), "")


async def _models_only(client: httpx.AsyncClient, expected: str) -> Engine:
    """For an engine that nobody knows: it is ready when it lists the model."""
    from sovtui.adapters.engines.vllm import take_models

    past = Past()
    if wrong := take_models(await request(client, "GET", "/v1/models"), past, 0.0):
        return Engine(EnginePhase.WRONG_MODEL, reason=wrong)
    if expected and past.models and expected not in past.models:
        return Engine(EnginePhase.WRONG_MODEL, past.models, reason=wrong_model(past.models, expected))
    return Engine(EnginePhase.READY, past.models, past.context_tokens, reason=past.note)
