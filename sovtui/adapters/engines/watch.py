"""The source `engines` of one host: is each mode's engine ready, and its own figures where Prometheus tells none.

An engine whose services do not run is not asked at all. One that is silent is named within five seconds, and holds up neither
what is told of the others nor their figures. Keeps no timers: the poller calls `poll`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import httpx

from sovtui.adapters.engines._asking import Watched
from sovtui.adapters.engines._silence import Circumstances, Silence, name
from sovtui.adapters.engines.base import RESTARTED, EngineAdapter, Past, progress, wrong_model
from sovtui.adapters.engines.scrape import Scrape
from sovtui.adapters.links.http import denied, is_loopback, reach, request
from sovtui.core.activity import VALID_SECONDS, Activity, address_of
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.events import EngineSeen, Sample, Samples
from sovtui.core.issues import lost
from sovtui.core.model import SERVING, Engine, EnginePhase, LinkPhase, Mode, Service
from sovtui.core.modes import RUNNING
from sovtui.core.outside import left_out
from sovtui.core.reading import Reading, Status, unknown
from sovtui.core.state import Host, State, at_work
from sovtui.core.told import services_told
from sovtui.ports.clock import Clock
from sovtui.ports.errors import NotYet, PortError, Unreachable
from sovtui.ports.source import Emit

KEEP_SECONDS = 300.0
"""Scrapes are kept as long as the longest window."""
SPACING_SECONDS = 10.0
LINK_SECONDS = 20.0
"""So long a link may be dead before it is noticed, metered ones included: an engine's silence in that time was the link's."""
LATENCY_SECONDS = 60.0
FIGURES_SECONDS = 1.0
"""So long a look waits for figures; an engine in the middle of a long prompt may take longer to tell them than to say that it is well."""
FIRST_FIGURES_SECONDS = 5.0
LINKED_SECONDS = 5.0
"""So long a look waits for a link that is being made."""
BEGUN_SECONDS = 60.0
"""So long after nothing listened at its port an engine is just being started."""
SURE_LOOKS = 3
"""So many looks that nothing came of tell all that there is to tell."""
BUSY_EVERY_SHARE = 1 / 3
"""Of the time between two readings, where they are rare: while it works, so that the end of the work is seen."""

_UP = (*SERVING, EnginePhase.ASLEEP)
_SILENT = (EnginePhase.UNKNOWN, EnginePhase.DEAD, EnginePhase.HUNG)
_WORK = ("engine.running", "engine.waiting")
_TOLD_BY_PROMETHEUS = ("engine.running", "engine.decode_tok_s")

MakeClient = Callable[[str, str], httpx.AsyncClient]
"""Base address as seen from the host and the mode's name, to a client that goes through the host's link and logs in as configured."""


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
                self._watched.append(Watched(mode, adapters.get(mode.engine), clients[base]))
        self._clients = tuple(clients.values())
        self._activity: tuple[Mapping[str, Activity], str] = ({}, "")
        """See `Past`: `activity` and `blind`."""

    async def poll(self, state: State, emit: Emit) -> str:
        host = state.hosts.get(self.host)
        if host is None:
            return ""
        if host.link.phase is not LinkPhase.UP:
            self._take_back(emit)
        if lost(host.link):
            for watched in self._watched:
                watched.drop()  # over a link that is gone
            raise Unreachable(
                f"{self.host} is not reached: {host.link.reason or host.link.phase}"
            )  # nothing is known of its engines
        self._activity = _told_of(state, host, self._clock.now())
        async with asyncio.TaskGroup() as group:
            for watched in self._watched:
                group.create_task(self._look(watched, host, emit), name=f"engine {watched.mode.name}")
        if host.link.phase is not LinkPhase.UP:
            raise NotYet(f"{self.host} is not reached yet")
        if not services_told(state, self.host, [name for w in self._watched for name in w.mode.services]):
            raise NotYet("the services of its engines are not known yet")
        if again := [w.mode.name for w in self._watched if 0 < w.past.failures < SURE_LOOKS and _unsure(w.last)]:
            raise NotYet(f"{', '.join(again)} gives no answer: asked again", soon=False)
        alive = [w.mode.name for w in self._watched if w.last.phase in _UP]
        return ", ".join(alive)

    def stirred_by(self, state: State) -> object:
        """See `ports.source.Source`: work has begun or ended, as the host tells it."""
        known = state.hosts.get(self.host)
        return None if known is None else at_work(known)

    @property
    def left_out(self) -> str:
        """See `ports.source.Source`."""
        unread = [(w.mode.name, w.scrapes[-1].unread) for w in self._watched if w.scrapes and w.scrapes[-1].unread]
        return left_out((count, f"lines of {name}'s /metrics that cannot be read") for name, count in unread)

    async def aclose(self) -> None:
        open_tasks = [task for w in self._watched for task in (w.asking, w.reading) if task is not None]
        for watched in self._watched:
            watched.drop()
        await asyncio.gather(*open_tasks, return_exceptions=True)
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

    async def _look(self, watched: Watched, host: Host, emit: Emit) -> None:
        old = host.engines.get(watched.mode.name, Engine())
        services = [host.services[name] for name in watched.mode.services if name in host.services]
        stopped = [s.name for s in services if s.active not in (*RUNNING, "unknown")]
        if _began_anew(watched.pids, services) or stopped:
            watched.forget()
        if stopped:
            engine = Engine(EnginePhase.ABSENT, reason=f"{stopped[0]} does not run")
        else:
            if watched.asking is None:
                watched.past.due, watched.past.page = self._due(watched, host), None
            try:
                engine = await self._ask(watched, services, host)
            except PortError as error:
                if old.phase is EnginePhase.UNKNOWN:
                    emit(EngineSeen(self.host, watched.mode.name, replace(old, reason=str(error))))
                return
        if watched.last.phase not in _UP and engine.phase in _UP:
            watched.up_at = self._clock.monotonic()
        readings: dict[str, Reading] = {}
        if engine.phase in (*_UP, EnginePhase.WARMING):
            first = not watched.scrapes
            readings = await self._figures(watched, host, FIGURES_SECONDS)
            self._tell(watched, engine, host, readings, emit, old)
            if first and watched.reading is not None:  # whoever asks once waits for them
                readings = await self._figures(watched, host, FIRST_FIGURES_SECONDS)
                self._tell(watched, engine, host, readings, emit, old)
            return
        self._tell(watched, engine, host, self._gone(host, watched.mode, engine, self._clock.now()), emit, old)

    def _tell(
        self, watched: Watched, engine: Engine, host: Host, readings: Mapping[str, Reading], emit: Emit, old: Engine
    ) -> None:
        mode = watched.mode
        if engine.phase in _UP:
            engine = _asleep(engine, host, mode, readings)
            engine = watched.past.retell(engine) if watched.past.retell is not None else engine
        if engine.phase in (*_UP, EnginePhase.STARTING, EnginePhase.WARMING) and (closed := _closed(watched)):
            engine = replace(engine, denied=closed, reason=closed if engine.phase is EnginePhase.READY else engine.reason)
        if engine.phase in (EnginePhase.STARTING, EnginePhase.WARMING):
            engine = replace(engine, progress=engine.progress or _told_by_action(host, mode) or old.progress)
        watched.last = engine
        engine = replace(engine, at=self._clock.now())
        if not watched.past.failures:
            watched.heard = engine
        emit(EngineSeen(self.host, mode.name, engine))
        if readings:
            emit(Samples(self.host, tuple(Sample(key, r, mode.name) for key, r in readings.items())))

    async def _ask(self, watched: Watched, services: list[Service], host: Host) -> Engine:
        """Raises `PortError` where the link does not stand: that says nothing of the engine."""
        past, mode, adapter = watched.past, watched.mode, watched.adapter
        past.at = self._clock.now()
        past.address, (past.activity, past.blind) = address_of(mode.url), self._activity
        now, began = self._clock.monotonic(), time.monotonic()

        engine: Engine | None
        silence: Silence | None

        async def probe() -> Engine:
            if adapter is None:
                return await _models_only(watched.client, mode.model)
            engine = await adapter.probe(watched.client, mode.model, past, now)
            if isinstance(past.page, Scrape):
                past.page = _answered(past.page, began, self._clock.monotonic() - now)
            return engine

        if host.link.phase is not LinkPhase.UP and not await reach(watched.client, LINKED_SECONDS):
            engine, silence, what = await probe(), None, ""
        else:
            watched.begin(probe)
            engine, silence, what = await watched.heard_of(host.link.latency_seconds or 0.0)
        if engine is not None:
            past.failures = 0
            past.ready = past.ready or engine.phase in _UP
            return engine
        assert silence is not None
        past.failures += 1
        if past.failures == 1:
            watched.silent_at, watched.silent_since = now, past.at
        if silence is Silence.REFUSED:
            watched.refused_at = now
        if silence is Silence.UNREACHED and self._is_its_own_fault(watched, host):
            silence, what = Silence.SILENT, "to any of them: it does not take more"
        if silence is Silence.SILENT and watched.last.phase is EnginePhase.HUNG:
            return watched.last
        return name(silence, what, self._circumstances(watched, services, host))

    def _circumstances(self, watched: Watched, services: list[Service], host: Host) -> Circumstances:
        run, mode = host.action, watched.mode
        being_started = run is not None and run.running and run.target in (mode.name, *mode.services)
        lately = self._clock.monotonic() - watched.refused_at < BEGUN_SECONDS and not watched.past.ready
        modes = {m.name for m in host.spec.modes}
        others = [w for w in self._watched if w is not watched and w.mode.name in modes and mode.name in modes]
        after = [w.mode.name for w in others if w.last.phase in _UP and w.up_at > watched.silent_at]
        return Circumstances(
            services,
            watched.last,
            watched.past.ready,
            watched.past.failures,
            self._clock.now(),
            being_started or lately,
            after[0] if after else "",
            host.spec.ready_seconds,
        )

    def _is_its_own_fault(self, watched: Watched, host: Host) -> bool:
        """A port of the host itself takes a connection or refuses it at once, unless as many wait there as may: what else can it be
        but the engine, where the link has brought other news meanwhile, or has been silent longer than a lost one is."""
        if not is_loopback(watched.client):
            return False
        if host.link.kind != "ssh" or watched.silent_since is None:
            return host.link.kind != "ssh"
        since = watched.silent_since + timedelta(seconds=1.0)
        news = any(r.source == "probe" and r.at is not None and r.at > since for r in host.figures.values())
        return news or self._clock.monotonic() - watched.silent_at > LINK_SECONDS

    def _due(self, watched: Watched, host: Host) -> bool:
        """Whether its own figures are to be read now: not where Prometheus has them, unless it tells more than Prometheus, or works:
        what is scraped now and then would have it busy for seconds after its last request."""
        adapter, scrapes = watched.adapter, watched.scrapes
        works = any(host.reading(figure, watched.mode.name).fresh_value for figure in _WORK)
        if adapter is None or (not adapter.live and not works and self._told(host, watched.mode)):
            return False
        every = adapter.every_seconds * (BUSY_EVERY_SHARE if works else 1.0)
        return not (every and scrapes and self._clock.monotonic() - scrapes[-1].monotonic < every)

    def _told(self, host: Host, mode: Mode) -> bool:
        if self._told_elsewhere is not None:
            return self._told_elsewhere(self.host, mode.name)
        readings = [host.reading(figure, mode.name) for figure in _TOLD_BY_PROMETHEUS]
        return any(r.status is Status.FRESH and r.source == "prometheus" for r in readings)

    async def _figures(self, watched: Watched, host: Host, seconds: float) -> dict[str, Reading]:
        """Its figures, if they come within `seconds`; those that come later are told by a later look."""
        if watched.reading is None:
            if not watched.past.due:
                return {}
            watched.reading = asyncio.create_task(self._read(watched), name=f"figures {watched.mode.name}")
        await asyncio.wait({watched.reading}, timeout=seconds)
        if not watched.reading.done():
            return {}
        task, watched.reading = watched.reading, None
        return task.result()

    async def _read(self, watched: Watched) -> dict[str, Reading]:
        adapter, scrapes = watched.adapter, watched.scrapes
        assert adapter is not None
        asked, began = self._clock.monotonic(), time.monotonic()
        try:
            after = await adapter.scrape(watched.client, watched.past, self._clock.now(), asked)
        except PortError as error:
            after = unknown(str(error), "engine")
        if after is None:
            return {}
        if isinstance(after, Reading):
            return dict.fromkeys(ENGINE_FIGURES, after)
        if not isinstance(after, Scrape):
            return dict(after)
        after = _answered(after, began, self._clock.monotonic() - asked)
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


def _told_of(state: State, host: Host, now: datetime) -> tuple[Mapping[str, Activity], str]:
    """What the host tells of its engines without asking them, as far as it still holds; and why it tells nothing."""
    told = {
        at: one for at, one in host.activity.items() if one.at is not None and (now - one.at).total_seconds() <= VALID_SECONDS
    }
    source = state.sources.get(("probe", host.spec.name))
    silent = source is not None and source.ok is False
    return told, f"its host's probe does not run ({source.reason})" if silent and source is not None else ""


def _closed(watched: Watched) -> str:
    """What of it is closed to us; an engine's file may name a path that is never told without a key."""
    return denied(watched.client, getattr(watched.adapter, "key_opens", ""))


def _unsure(engine: Engine) -> bool:
    """Whether it may be found dead or hung at the next look."""
    return engine.phase is EnginePhase.UNKNOWN and not engine.denied


def _answered(page: Scrape, began: float, until_now: float) -> Scrape:
    """As of its answer: a first page comes later than its question by a whole connection, and is known later by what reads it and by
    what is asked beside it. `began`: this machine's monotonic time at the question; `until_now`: seconds since then, where no more is known.
    """
    seconds = page.heard - began if page.heard is not None and page.heard >= began else until_now
    return replace(page, at=page.at + timedelta(seconds=seconds), monotonic=page.monotonic + seconds)


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
