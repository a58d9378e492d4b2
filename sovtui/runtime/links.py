"""Keeps one link per host alive: connects, notices loss, tries again with backoff, tells the store.

A link that was lost is dialled again at once, then ever more rarely, and at once again when something has happened that may have mended
it: the network has changed, the machine has slept, somebody has pressed a key. What is wrong is judged by `core.reach`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sovtui.core.clean import Clean
from sovtui.core.events import Event, LinkChanged
from sovtui.core.model import Link as LinkValue
from sovtui.core.model import LinkPhase
from sovtui.core.reach import Evidence, Fault, Finding, Here, Stage, Verdict, is_slow, judge, slow_words
from sovtui.ports.clock import Clock
from sovtui.ports.errors import PortError, Refused, Unreachable
from sovtui.ports.link import Ask, Dialer, Fragile, Link, Question, Telling, Underway
from sovtui.ports.network import Network, Sight
from sovtui.runtime.skews import Skews

log = logging.getLogger(__name__)
TOLD_AFTER_SECONDS = 3.0
"""A dial that has been waiting for so long says what for, and goes on."""
TOLD_AT_LAST_SECONDS = 5.0
"""The same on a slow link, whose answers may take that long."""
SIGHT_SECONDS = 2.0
"""What the tailnet's own program gets to answer."""
MAX_SAID = 40
"""Lines that are kept of what was said during a login."""
_LOOK_SECONDS = 0.5
_CHECK_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a link is tried."""

    shortest_seconds: float = 1.0
    longest_seconds: float = 15.0
    grows: float = 30.0
    """The pause is this part of the time since the loss, within the two."""
    steady_seconds: float = 5.0
    """A link that has stood for so long is dialled again without a pause."""

    def pause_seconds(self, down_seconds: float) -> float:
        return min(self.longest_seconds, max(self.shortest_seconds, down_seconds / self.grows))


class LinkKeeper:
    """One host's link. `run` is its task; `get` is how everybody else reaches the host."""

    def __init__(
        self,
        host: str,
        dialer: Dialer,
        put: Callable[[Event], None],
        clock: Clock,
        ask: Callable[[], Ask | None],
        *,
        network: Network | None = None,
        sight: Sight | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.host = host
        self._dialer = dialer
        self._put = put
        self._clock = clock
        self._ask = ask
        self._network = network
        self._sight = sight
        self._pace = pace or Pace()
        self._link: Link | None = None
        self._dialing: asyncio.Task[Link] | None = None
        self._again = self._wanted = False
        self._checked = float("-inf")
        self._value = LinkValue(kind=dialer.kind, address=dialer.address)
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._down_since: datetime | None = None
        self._lost_at: float | None = None
        """The same as monotonic time: how long is waited must not depend on a clock that somebody sets."""
        self.addresses: tuple[str, ...] = ()
        """Of the host, as the last dial found them."""
        self._round_trip_seconds = 0.0
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
        """Somebody wants it now."""
        self._wanted = True
        self._wake.set()

    def stir(self) -> None:
        """Something has happened that may have broken or mended the link: look at once instead of in a while."""
        link = self._link
        if link is not None:
            if not isinstance(link, Fragile):
                return
            if self._network is not None and link.own_address and not self._network.has(link.own_address):
                link.abandon()
            elif self._clock.monotonic() - self._checked >= _CHECK_EVERY_SECONDS:
                self._checked = self._clock.monotonic()
                link.check()
        elif self._dialing is not None:
            seen = self._seen()
            if seen is not None and seen.stage in (Stage.GREETING, Stage.LOGIN) and seen.seconds > 1.0:
                self._again = True
                self._dialing.cancel()
        elif self._value.phase is LinkPhase.DOWN:
            self._wake.set()

    async def run(self) -> None:
        """Keep the link until cancelled."""
        attempt = 0
        try:
            while True:
                attempt += 1
                self._tell(replace(self._value, phase=LinkPhase.CONNECTING, attempt=attempt, retry_at=None, said=()))
                self._wake.clear()
                self._wanted = False
                try:
                    link = await self._dial()
                except _Again:
                    continue
                except PortError as error:
                    found = await self._found(error)
                    if isinstance(error, Refused):
                        self._tell(self._down(LinkPhase.REFUSED, found))
                        await self._wake.wait()  # a wrong key does not get better by trying
                    else:
                        await self._pause(attempt, found)
                    continue
                except Exception as error:
                    log.exception("dial of %s", self.host)
                    reason = f"broke inside sovtui ({type(error).__name__}); sovtui.log in the state directory says where"
                    await self._pause(attempt, Finding(Verdict.UNUSABLE, reason))
                    continue
                began = self._clock.monotonic()
                reason, loss = await self._keep(link)
                if self._clock.monotonic() - began >= self._pace.steady_seconds:
                    attempt = 0
                found = Finding(Verdict.LOST, reason or "the connection was lost")
                if loss is not None:
                    found = judge(replace(loss, here=self._here(loss)))
                if attempt == 0 and found.verdict is not Verdict.OFFLINE:
                    self._tell(replace(self._down(LinkPhase.DOWN, found), retry_at=self._clock.now()))
                else:
                    await self._pause(max(1, attempt), found)
        finally:
            self._link = None

    async def _keep(self, link: Link) -> tuple[str, Evidence | None]:
        """The link, until it is lost: why, and what was seen of it."""
        self._link = link
        up = LinkValue(LinkPhase.UP, self._dialer.kind, self._dialer.address, self._clock.now())
        self._tell(replace(up, latency_seconds=link.latency_seconds, said=self._value.said))
        if isinstance(link, Telling):
            link.on_banner = self._heard_there
        try:
            reason = await self._watch(link)
        finally:
            self._link = None
            self._round_trip_seconds = link.latency_seconds or 0.0
            await link.aclose()
        return reason, link.loss if isinstance(link, Fragile) else None

    async def _dial(self) -> Link:
        """One dial; what it waits for is told meanwhile. Raises `_Again` if it was ended because the network has changed."""
        task = self._dialing = asyncio.create_task(self._dialer.dial(self._asker()), name=f"dial {self.host}")
        told = Stage.UP
        try:
            while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
                seen = self._seen()
                patience = min(TOLD_AT_LAST_SECONDS, max(TOLD_AFTER_SECONDS, 4 * self._round_trip_seconds))
                if seen is not None and seen.seconds >= patience and seen.stage is not told:
                    told = seen.stage
                    found = await self._judged(replace(seen, fault=Fault.SILENCE))
                    if not task.done() and self._value.phase is LinkPhase.CONNECTING:
                        since = self._down_since or self._clock.now()
                        self._down_since = since
                        self._tell(replace(self._value, reason=found.text(), verdict=found.verdict, since=since))
        finally:
            self._dialing = None
            if not task.done():
                task.cancel()
                (made,) = await asyncio.gather(task, return_exceptions=True)
                if not isinstance(made, BaseException):
                    await made.aclose()
        if task.cancelled() and self._again:
            self._again = False
            raise _Again
        return task.result()

    def _seen(self) -> Evidence | None:
        seen = self._dialer.seen if isinstance(self._dialer, Underway) else None
        if seen is not None and seen.addresses and not seen.target:
            self.addresses = seen.addresses
        return seen

    def _here(self, seen: Evidence) -> Here | None:
        return self._network.toward(seen.addresses or self.addresses) if self._network is not None else None

    async def _judged(self, seen: Evidence) -> Finding:
        """With what this machine and the tailnet know of the way."""
        seen = replace(seen, here=self._here(seen))
        if self._sight is not None and seen.tailnet is None and seen.stage in (Stage.NAME, Stage.CONNECT) and not seen.via:
            try:
                async with asyncio.timeout(SIGHT_SECONDS):
                    seen = replace(seen, tailnet=await self._sight(seen))
            except (TimeoutError, PortError):
                pass
        return judge(seen)

    async def _found(self, error: PortError) -> Finding:
        """What a dial that has failed tells."""
        if error.evidence is None:
            return Finding(error.verdict, str(error), error.advice)
        if error.evidence.addresses and not error.evidence.target:
            self.addresses = error.evidence.addresses
        return await self._judged(error.evidence)

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
                if latency is None or (known is not None and abs(latency - known) < 0.1 * known + 0.001):
                    continue  # a tenth of a millisecond more or less is no news: nothing repaints for it
                slow = is_slow(latency)
                reason = slow_words(self.host, latency) if slow else ""
                verdict = Verdict.SLOW if slow else Verdict.NONE
                self._tell(replace(self._value, latency_seconds=latency, verdict=verdict, reason=reason))
        finally:
            lost.cancel()

    async def _pause(self, attempt: int, found: Finding) -> None:
        """Until it is worth to try again. While this machine is offline nothing is sent, it is only looked for a way."""
        began = self._clock.monotonic()
        down = replace(self._down(LinkPhase.DOWN, found), attempt=attempt)
        if found.verdict is Verdict.OFFLINE and self._network is not None:
            self._tell(down)
            while not await self._woken(self._pace.shortest_seconds):
                if self._network.toward(self.addresses).online:
                    return
            return
        seconds = self._pace.pause_seconds(began - (began if self._lost_at is None else self._lost_at))
        seconds *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._tell(replace(down, retry_at=self._clock.now() + timedelta(seconds=seconds)))
        if await self._woken(seconds) and not self._wanted:  # a network that changes all the time makes no storm of dials
            await asyncio.sleep(max(0.0, self._pace.shortest_seconds / 2 - (self._clock.monotonic() - began)))

    async def _woken(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _down(self, phase: LinkPhase, found: Finding) -> LinkValue:
        """Down since the first loss, not since the last try."""
        since = self._down_since or self._clock.now()
        return LinkValue(
            phase, self._dialer.kind, self._dialer.address, since, found.text(), found.verdict, said=self._value.said
        )

    def _tell(self, value: LinkValue) -> None:
        if value.phase is LinkPhase.UP:
            self._down_since = self._lost_at = None
        elif value.phase in (LinkPhase.DOWN, LinkPhase.REFUSED):
            self._down_since = value.since
            self._lost_at = self._clock.monotonic() if self._lost_at is None else self._lost_at
        self._value = value
        self._put(LinkChanged(self.host, value))
        self._changed.set()
        self._changed = asyncio.Event()

    def _heard(self, line: Clean) -> None:
        """Something is said while the link is being made."""
        if self._link is None and line.strip():
            self._tell(replace(self._value, said=(*self._value.said, line)[-MAX_SAID:]))

    def _heard_there(self, line: Clean) -> None:
        """The login shell says something, now that the link is up."""
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


class _Again(Exception):
    """This dial was ended so that another one can begin."""


class Links:
    """All hosts' keepers by name."""

    def __init__(
        self,
        dialers: Mapping[str, Dialer],
        clock: Clock,
        *,
        network: Network | None = None,
        sights: Mapping[str, Sight] | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`network`: this machine's own; `sights`: by host, who knows what the tailnet knows of it."""
        self._clock = clock
        self._dialers = dialers
        self.network = network
        self._put: Callable[[Event], None] = lambda event: None
        self.skews = Skews()
        """What is known of the hosts' clocks."""
        self.ask: Ask | None = None
        """Set by a front end that has an operator in front of it; None in headless use."""
        self.keepers = {
            host: LinkKeeper(
                *(host, dialer, lambda event: self._put(event), clock, lambda: self.ask),
                network=network,
                sight=(sights or {}).get(host),
                pace=pace,
            )
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

    async def stir(self) -> None:
        """The network has changed, or this machine was away."""
        for keeper in self.keepers.values():
            keeper.stir()

    def addresses(self) -> tuple[str, ...]:
        """Of all hosts, as far as they are known."""
        return tuple(address for keeper in self.keepers.values() for address in keeper.addresses)
