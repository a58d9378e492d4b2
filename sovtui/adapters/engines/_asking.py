"""One engine asked without waiting for it longer than it takes to tell that it is silent. Knows no engine by name.

A question that gets no answer goes on until its own deadline: an engine that is stuck is asked once in that time, not at every look.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import httpx

from sovtui.adapters.engines._silence import Silence
from sovtui.adapters.engines.base import EngineAdapter, Past
from sovtui.adapters.engines.scrape import Scrape
from sovtui.adapters.links import http
from sovtui.core.model import Engine, EnginePhase, Mode
from sovtui.core.reading import Reading
from sovtui.ports.errors import OtherProtocol, PortError, Refused, TimedOut

QUIET_SECONDS = 2.5
"""Nothing at all for so long, at a port that takes connections, is silence; the time over the link is added."""
STILL_SECONDS = 0.5
"""One that is known to hang is given so long at each look."""
KNOCK_SECONDS = 1.0

T = TypeVar("T")


@dataclass(slots=True)
class Watched:
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
    up_at: float = -1e9
    """Monotonic time when it last came up."""
    silent_at: float = -1e9
    """Monotonic time when it last fell silent."""
    silent_since: datetime | None = None
    """The same by this machine's clock."""
    refused_at: float = -1e9
    """Monotonic time when nothing listened at its port."""
    asking: asyncio.Task[Engine] | None = None
    """The question about its state that is open."""
    asked_at: float = 0.0
    reading: asyncio.Task[dict[str, Reading]] | None = None
    """The question for its figures that is open."""

    def forget(self) -> None:
        """Another life: nothing of the one before holds."""
        self.past = Past()
        self.scrapes.clear()
        http.forget_denied(self.client)
        self.drop()

    def drop(self) -> None:
        """Nobody wants to know what was asked."""
        for task in (self.asking, self.reading):
            if task is not None:
                task.cancel()
                task.add_done_callback(_retrieved)
        self.asking = self.reading = None

    def begin(self, make: Callable[[], Coroutine[Any, Any, Engine]]) -> asyncio.Task[Engine]:
        """The open question; asked now if none is."""
        if self.asking is None:
            self.asked_at = time.monotonic()
            self.asking = asyncio.create_task(make(), name=f"ask {self.mode.name}")
        return self.asking

    async def heard_of(self, latency_seconds: float) -> tuple[Engine | None, Silence | None, str]:
        """The answer to the open question, or what came instead and its sentence."""
        task = self.asking
        assert task is not None
        silent = await self._is_silent(task, QUIET_SECONDS + 2 * latency_seconds)
        if silent and self.last.phase is EnginePhase.HUNG:
            return None, Silence.SILENT, ""
        if silent:
            found, why = await self._knocked(latency_seconds)
            if not task.done():
                if found is Silence.REFUSED:
                    self.drop()  # what is asked over the old connection will never be answered
                return None, found, why or f"within {QUIET_SECONDS:g} s"
        self.asking = None
        try:
            return task.result(), None, ""
        except TimedOut as error:
            return None, *await self._timed_out(error, latency_seconds)
        except Refused as error:
            return None, Silence.FORBIDDEN, error.sentence()
        except OtherProtocol as error:
            return None, Silence.FOREIGN, str(error)
        except PortError as error:
            found, _ = await self._knocked(latency_seconds, unknown=Silence.REFUSED)
            return None, Silence.CLOSED if found is Silence.SILENT else found, str(error)

    async def _is_silent(self, task: asyncio.Task[Engine], patience: float) -> bool:
        if self.last.phase is EnginePhase.HUNG:
            await asyncio.wait({task}, timeout=STILL_SECONDS)
            return not task.done()
        while not task.done():
            now = time.monotonic()
            since = now if http.waiting(self.client) else max(self.asked_at, http.heard_at(self.client))
            left = since + patience - now
            if left <= 0:
                return True
            await asyncio.wait({task}, timeout=left)
        return False

    async def _timed_out(self, error: TimedOut, latency_seconds: float) -> tuple[Silence, str]:
        if waiting := http.waiting(self.client):
            return Silence.FORBIDDEN, waiting
        if time.monotonic() - http.heard_at(self.client) < QUIET_SECONDS + 2 * latency_seconds:
            return Silence.SLOW, str(error)
        found, why = await self._knocked(latency_seconds)
        return found, why or f"within {self.client.timeout.read or QUIET_SECONDS:g} s"

    async def _knocked(self, latency_seconds: float, unknown: Silence = Silence.SILENT) -> tuple[Silence, str]:
        """Whether its port takes a connection now. `unknown`: what it is where that cannot be told by knocking."""
        try:
            taken = await http.knock(self.client, KNOCK_SECONDS + 2 * latency_seconds)
        except Refused as error:
            return Silence.FORBIDDEN, error.sentence()
        except PortError as error:
            return Silence.UNREACHED, str(error)
        return unknown if taken is None else Silence.SILENT if taken else Silence.REFUSED, ""


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Its error is nobody's business any more."""
    if not task.cancelled():
        task.exception()
