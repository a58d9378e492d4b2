"""Asks, of a host that fell silent, what others still know: its last sample, last known figures, what happened before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sovtui.core.issues import lost
from sovtui.core.marks import Mark, MarkKind, marks
from sovtui.core.model import LinkPhase
from sovtui.core.state import Host, State
from sovtui.ports.errors import PortError
from sovtui.ports.past import Stretch
from sovtui.runtime.hub import Hub
from sovtui.tui.panes.base import View
from sovtui.tui.panes.host import Last, silent

BEFORE, AFTER = timedelta(minutes=25), timedelta(minutes=5)
"""What is asked for around the last sample."""
LOOK_BACK = (timedelta(hours=6), timedelta(days=7))
"""Where the last sample is looked for if it is not among the newest."""
AGAIN_SECONDS = 60.0
"""After a failure, and while the host may yet be heard of."""


class Silence:
    """One per screen: about the host that is looked at."""

    def __init__(self, hub: Hub, changed: Callable[[], None]) -> None:
        self._hub, self._changed = hub, changed
        self._about: tuple[str, datetime | None] = ("", None)
        self._task: asyncio.Task[None] | None = None
        self._asked_at: datetime | None = None
        self.last = Last()
        self.stretch: Stretch | None = None

    def see(self, view: View) -> Last:
        """Take the newest view: what is known, and where nothing is yet, ask for it."""
        host = view.host
        if host is None or not lost(host.link):
            self._forget(("", None))
            return self.last
        about = (host.spec.name, host.link.since)
        if about != self._about:
            self._forget(about)
        old = self._asked_at is not None and (view.state.now - self._asked_at).total_seconds() > AGAIN_SECONDS
        if silent(view) and self._task is None and self.last.at is None and (self._asked_at is None or old):
            self._ask(view)
        return self.last

    def last_alive(self, state: State, host: str) -> datetime | None:
        """The newest moment at which the host was heard of, for somebody who wants to see what was before; None while it is there."""
        known = state.hosts.get(host)
        if known is None or not lost(known.link):
            return None
        told = self.last.at if self._about[0] == host else None
        lost_at = known.link.since if known.receipts or known.figures else None
        seen = [reading.at for reading in known.figures.values() if reading.at is not None and reading.value is not None]
        return max((at for at in (told, *seen) if at is not None), default=told or lost_at)

    def _forget(self, about: tuple[str, datetime | None]) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if about != self._about or self.last != Last():
            self._about, self._asked_at, self.last, self.stretch = about, None, Last(), None

    def _ask(self, view: View) -> None:
        self._asked_at = view.state.now
        if view.config.prometheus is None:
            self.last = Last(note="No Prometheus is configured that could show what happened before")
            return
        via = view.config.prometheus.via
        if via == view.host_name:
            self.last = Last(note="Prometheus runs on this host itself: nothing else knows what happened before")
            return
        there = f" on {via}" if via else ""
        self.last = Last(note=f"asking Prometheus{there} what happened before …")
        self._task = asyncio.create_task(self._look(view.state, view.host_name), name="silence")

    async def _look(self, state: State, name: str) -> None:
        try:
            heard = await self._last_heard(state, name)
            if heard is None:
                self.last = Last(note=f"Prometheus has no sample of {name} of the last {LOOK_BACK[-1].days} days")
            else:
                self.stretch = stretch = await self._hub.past(heard - BEFORE, min(heard + AFTER, state.now))
                heard = stretch.heard(name) or heard
                then = stretch.at(heard)
                self.last = Last(then.hosts.get(name), heard, _before(state, stretch, name, heard))
        except PortError as error:
            self.last = Last(note=error.sentence())
        finally:
            self._task = None
        self._changed()

    async def _last_heard(self, state: State, name: str) -> datetime | None:
        for span in (BEFORE, *LOOK_BACK):
            heard = (await self._hub.past(state.now - span, state.now)).heard(name)
            if heard is not None:
                return heard
        return None


def _before(state: State, stretch: Stretch, name: str, until: datetime) -> tuple[Mark, ...]:
    host: Host = state.hosts[name]
    past = replace(state, hosts={name: replace(host, link=replace(host.link, phase=LinkPhase.UP))})
    mine = [mark for mark in marks(past, stretch.marks) if mark.host in ("", name) and mark.kind is not MarkKind.BACK]
    return tuple(mark for mark in mine if stretch.begin <= mark.at <= until + AFTER)
