"""Keeps one link per host alive: connects, notices loss, tries again with backoff, tells the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sovtui.core.clean import Clean
from sovtui.core.events import Event, LinkChanged
from sovtui.core.model import Link as LinkValue
from sovtui.core.model import LinkPhase
from sovtui.ports.clock import Clock
from sovtui.ports.errors import PortError, Refused, Unreachable
from sovtui.ports.link import Ask, Dialer, Link, Question, Telling

BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
MAX_SAID = 40
"""Lines that are kept of what was said during a login."""


class LinkKeeper:
    """One host's link. `run` is its task; `get` is how everybody else reaches the host."""

    def __init__(
        self, host: str, dialer: Dialer, put: Callable[[Event], None], clock: Clock, ask: Callable[[], Ask | None]
    ) -> None:
        self.host = host
        self._dialer = dialer
        self._put = put
        self._clock = clock
        self._ask = ask
        self._link: Link | None = None
        self._value = LinkValue(kind=dialer.kind, address=dialer.address)
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._down_since: datetime | None = None
        if isinstance(dialer, Telling):
            dialer.on_banner = self._heard

    @property
    def link(self) -> Link | None:
        """The live link, if there is one now."""
        return self._link

    async def get(self) -> Link:
        """The live link. Waits while it is being made; raises `Unreachable` or `Refused` with the reason while it is down."""
        while True:
            if self._link is not None:
                return self._link
            if self._value.phase is LinkPhase.DOWN:
                raise Unreachable(self._value.reason)
            if self._value.phase is LinkPhase.REFUSED:
                raise Refused(self._value.reason)
            await self._changed.wait()

    async def when_up(self) -> Link:
        """The live link, however long that takes."""
        while self._link is None:
            await self._changed.wait()
        return self._link

    def retry_now(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Keep the link until cancelled."""
        attempt = 0
        try:
            while True:
                attempt += 1
                self._tell(replace(self._value, phase=LinkPhase.CONNECTING, attempt=attempt, retry_at=None, said=()))
                self._wake.clear()
                try:
                    link = await self._dialer.dial(self._asker())
                except Refused as error:
                    self._tell(self._down(LinkPhase.REFUSED, error.sentence()))
                    await self._wake.wait()  # a wrong key does not get better by trying
                    continue
                except PortError as error:
                    await self._pause(attempt, error.sentence())
                    continue
                self._link = link
                attempt = 0
                up = LinkValue(LinkPhase.UP, self._dialer.kind, self._dialer.address, self._clock.now())
                self._tell(replace(up, latency_seconds=link.latency_seconds, said=self._value.said))
                try:
                    reason = await self._watch(link)
                finally:
                    self._link = None
                    await link.aclose()
                await self._pause(1, reason or "the connection was lost")
        finally:
            self._link = None

    async def _watch(self, link: Link) -> str:
        """Wait for the loss; meanwhile keep the latency current."""
        lost = asyncio.ensure_future(link.wait_lost())
        try:
            while True:
                known = self._value.latency_seconds
                done, _ = await asyncio.wait({lost}, timeout=0.5 if known is None else 5.0)
                if done:
                    return lost.result()
                latency = link.latency_seconds
                if latency is not None and known is not None and abs(latency - known) < 0.1 * known + 0.001:
                    continue  # a tenth of a millisecond more or less is no news: nothing repaints for it
                if latency != self._value.latency_seconds:
                    self._tell(replace(self._value, latency_seconds=latency))
        finally:
            lost.cancel()

    async def _pause(self, attempt: int, reason: str) -> None:
        seconds = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        down = self._down(LinkPhase.DOWN, reason)
        self._tell(replace(down, retry_at=self._clock.now() + timedelta(seconds=seconds), attempt=attempt))
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _down(self, phase: LinkPhase, reason: str) -> LinkValue:
        """Down since the first loss, not since the last try."""
        since = self._down_since or self._clock.now()
        return LinkValue(phase, self._dialer.kind, self._dialer.address, since, reason, said=self._value.said)

    def _tell(self, value: LinkValue) -> None:
        if value.phase is LinkPhase.UP:
            self._down_since = None
        elif value.phase in (LinkPhase.DOWN, LinkPhase.REFUSED):
            self._down_since = value.since
        self._value = value
        self._put(LinkChanged(self.host, value))
        self._changed.set()
        self._changed = asyncio.Event()

    def _heard(self, line: Clean) -> None:
        """Something is said while the link is being made."""
        if self._link is None and line.strip():
            self._tell(replace(self._value, said=(*self._value.said, line)[-MAX_SAID:]))

    def _asker(self) -> Ask | None:
        ask = self._ask()
        if ask is None:
            return None

        async def asking(question: Question) -> str | None:
            self._tell(replace(self._value, phase=LinkPhase.ASKING))
            try:
                return await ask(question)
            finally:
                self._tell(replace(self._value, phase=LinkPhase.CONNECTING))

        return asking


class Links:
    """All hosts' keepers by name."""

    def __init__(self, dialers: Mapping[str, Dialer], clock: Clock) -> None:
        self._clock = clock
        self._dialers = dialers
        self._put: Callable[[Event], None] = lambda event: None
        self.ask: Ask | None = None
        """Set by a front end that has an operator in front of it; None in headless use."""
        self.keepers = {
            host: LinkKeeper(host, dialer, lambda event: self._put(event), clock, lambda: self.ask)
            for host, dialer in dialers.items()
        }

    def connect_store(self, put: Callable[[Event], None]) -> None:
        """Where to tell changes. Called once, before the keepers run."""
        self._put = put

    async def get(self, host: str) -> Link:
        """The live link of a host. Raises `Unreachable`, `Refused`; KeyError for a host that is not configured."""
        return await self.keepers[host].get()

    def retry_now(self, host: str = "") -> None:
        for name, keeper in self.keepers.items():
            if host in ("", name):
                keeper.retry_now()
