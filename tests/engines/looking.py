"""sovtui's own look at one real engine, as the control room has it every two seconds: no link, no units, the real HTTP client."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.links.http import client
from sovtui.adapters.links.login import Login
from sovtui.adapters.registry import load_engine
from sovtui.config.login import EngineLogin
from sovtui.config.schema import Secret
from sovtui.core.events import Event, LinkChanged
from sovtui.core.model import Engine, HostSpec, Link, LinkPhase, Mode
from sovtui.core.modes import ModeView, mode_view
from sovtui.core.reading import Reading
from sovtui.core.state import State, initial, reduce
from sovtui.runtime.clock import RealClock

NAME = "one"
LOOK_SECONDS = 2.0
KEY_VARIABLE = "SOVTUI_TESTS_ENGINE_KEY"


class Looking:
    """One engine without services, and what is known of it."""

    def __init__(self, kind: str, url: str, model: str = "", key: str | None = None) -> None:
        """`key`: None is no login at all; an empty one is a login whose variable is not set."""
        clock = RealClock()
        mode = Mode(NAME, title=NAME, engine=kind, url=url, model=model)
        self.state: State = initial((HostSpec("box", modes=(mode,)),), clock.now())
        self._emit(LinkChanged("box", Link(LinkPhase.UP)))
        secret = EngineLogin(bearer=Secret(env=KEY_VARIABLE)) if key is not None else None
        environment = {**os.environ, **({KEY_VARIABLE: key} if key else {})}

        def make(base: str, mode: str) -> httpx.AsyncClient:
            login = Login(f"host.box: {mode}", secret, clock, environment, optional=True) if secret is not None else None
            made = client(None, base_url=base, timeout_seconds=5.0, login=login)
            self._count(made)
            return made

        self._source = EnginesSource("box", (mode,), {kind: load_engine(kind)}, make, clock, told_elsewhere=lambda *_: False)
        self.history: list[tuple[float, State]] = []
        """Every look: monotonic seconds, and what was known after it."""
        self.asked: list[tuple[float, str]] = []
        """Every question: monotonic seconds and path. An access log would tell of others' too: whoever looks around on this machine."""

    def _count(self, made: Any) -> None:
        transport = made.link_transport
        ask = transport.handle_async_request

        async def counted(request: httpx.Request) -> httpx.Response:
            self.asked.append((time.monotonic(), request.url.path))
            answer: httpx.Response = await ask(request)
            return answer

        transport.handle_async_request = counted

    def a_minute(self, since: float, until: float) -> dict[str, float]:
        """Questions a minute, by path."""
        paths = [path for at, path in self.asked if since < at <= until]
        return {path: paths.count(path) * 60.0 / (until - since) for path in sorted(set(paths))}

    def _emit(self, event: Event) -> None:
        self.state = reduce(self.state, event)

    async def aclose(self) -> None:
        await self._source.aclose()

    async def look(self) -> Engine:
        await self._source.poll(self.state, self._emit)
        self.history.append((time.monotonic(), self.state))
        return self.engine

    @property
    def engine(self) -> Engine:
        return self.state.hosts["box"].engines.get(NAME, Engine())

    @property
    def view(self) -> ModeView:
        """What the room says of it."""
        host = self.state.hosts["box"]
        return mode_view(host, host.spec.modes[0])

    def reading(self, figure: str) -> Reading:
        return self.state.hosts["box"].reading(f"engine.{figure}", NAME)

    def mean(self, figure: str, since: float, until: float) -> float | None:
        """Mean over that time of what was shown, each value for as long as it was of; None where there was none."""
        spans = self._spans(figure, since, until)
        whole = sum(seconds for seconds, _ in spans)
        return sum(seconds * value for seconds, value in spans) / whole if whole else None

    def total(self, figure: str, since: float, until: float) -> float:
        """What a speed that was shown comes to over that time; before and after it, it has to be nothing."""
        return sum(seconds * value for seconds, value in self._spans(figure, since, until))

    def _spans(self, figure: str, since: float, until: float) -> list[tuple[float, float]]:
        told: list[tuple[float, Reading]] = []
        for at, state in self.history:
            reading = state.hosts["box"].reading(f"engine.{figure}", NAME)
            if not told or told[-1][1].at != reading.at:
                told.append((at, reading))
        pairs = [(at - before, at, r.value) for (before, _), (at, r) in itertools.pairwise(told)]
        return [(seconds, value) for seconds, at, value in pairs if since < at <= until and value is not None]

    @asynccontextmanager
    async def watching(self, every: float = LOOK_SECONDS) -> AsyncIterator[None]:
        """Looks again and again meanwhile."""

        async def go_on() -> None:
            while True:
                began = time.monotonic()
                await self.look()
                await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def looking(kind: str, url: str, **words: Any) -> AsyncIterator[Looking]:
    one = Looking(kind, url, **words)
    try:
        yield one
    finally:
        await one.aclose()


def now() -> datetime:
    return datetime.now(UTC)
