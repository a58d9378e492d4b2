"""Lines of a journal before a moment of the past, fetched once the moment stands still, and held for the moments around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from sovtui.core import text
from sovtui.ports.errors import PortError
from sovtui.runtime.hub import Hub, LogLine
from sovtui.tui.panes.base import View

LINES = 400
BEYOND = timedelta(minutes=5)
"""So much later than the moment is fetched too, for going on in small steps."""
CONTAINER_SPAN = timedelta(minutes=30)
"""A container's lines are fetched from so long before: there is no way to ask for the last ones of a time."""
LEAST = 20
"""Fewer lines than these before the moment: more are fetched."""
PAUSE_SECONDS = 0.5
WAIT_SECONDS = 15.0
HELD = 4


@dataclass(frozen=True, slots=True)
class _Held:
    host: str
    service: str
    until: datetime
    lines: tuple[LogLine, ...]
    whole: bool
    """There are no earlier ones."""

    def serves(self, host: str, service: str, moment: datetime) -> bool:
        if (host, service) != (self.host, self.service) or moment > self.until:
            return False
        return self.whole or sum(1 for line in self.lines if line.at is not None and line.at <= moment) >= LEAST


class Backlog:
    """One per log pane."""

    def __init__(self, hub: Hub, changed: Callable[[], None]) -> None:
        """`changed`: called when `lines` says something else than before."""
        self._hub, self._changed = hub, changed
        self._held: list[_Held] = []
        self._task: asyncio.Task[None] | None = None
        self._wanted: tuple[str, str, datetime] | None = None
        self._trouble = ""

    def drop(self) -> None:
        """It is now again."""
        self._cancel()
        self._held.clear()
        self._wanted = None

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def look(self, view: View, service: str) -> None:
        """This moment is shown: see that its lines come."""
        if view.then is None or not service or (view.host_name, service, view.then.moment) == self._wanted:
            return
        self._cancel()
        self._wanted = (view.host_name, service, view.then.moment)
        self._trouble = ""
        if self._find(*self._wanted) is None:
            self._task = asyncio.create_task(self._fetch(*self._wanted), name=f"backlog {service}")

    def lines(self, view: View, service: str) -> tuple[Sequence[LogLine], str]:
        """What is held for this moment, and a sentence where that is nothing."""
        if view.then is None:
            return (), ""
        found = self._find(view.host_name, service, view.then.moment)
        if found is not None:
            return [line for line in found.lines if line.at is None or line.at <= view.then.moment], ""
        if self._trouble:
            return (), self._trouble
        return (), f"asking {view.host_name} for the lines before {text.clock(view.then.moment)} …"

    def _find(self, host: str, service: str, moment: datetime) -> _Held | None:
        return next((held for held in self._held if held.serves(host, service, moment)), None)

    async def _fetch(self, host: str, service: str, moment: datetime) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        until = min(moment + BEYOND, self._hub.state.now)
        until = max(until, moment)
        since = f"{(moment - CONTAINER_SPAN).timestamp():.0f}" if service.startswith("container:") else ""
        found: list[LogLine] = []
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                told = self._hub.logs(host, service, lines=LINES, since=since, follow=False, until=f"{until.timestamp():.3f}")
                async with aclosing(told):
                    async for line in told:
                        found.append(line)
        except PortError as error:
            self._trouble = f"The lines of that moment are not available: {error.sentence()}"
        except TimeoutError:
            self._trouble = f"{host} did not return the lines of that moment within {WAIT_SECONDS:g} s"
        else:
            whole = len(found) < LINES and not since
            held = _Held(host, service, until, tuple(found), whole)
            if not held.serves(host, service, moment):
                held = _Held(host, service, until, held.lines, True)  # there are few, but no more to be had
            self._held = [held, *self._held][:HELD]
        self._task = None
        self._changed()
