"""The paths of all hosts that are reached through the tailnet: one status and one ping per connected host, every ten seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol

from sovtui.core import tailnet_words
from sovtui.core.events import PathSeen
from sovtui.core.model import LinkPhase, TailnetPath
from sovtui.core.state import State
from sovtui.core.tailnet import NoSuchPeer, Peer, Tailnet, find, one_way, steady, with_pong
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Absent, PortError, TimedOut, Unreachable
from sovtui.ports.source import Emit
from sovtui.ports.tailnet import TailnetDaemon

FIRST_SECONDS = 4.0
"""How long the first round waits for a link that is being made: whoever asks once wants to hear of its path."""
ELSEWHERE = "ssh_config leads to it by another way than the tailnet"


class Guided(Protocol):
    """What a link's guide tells of it."""

    host: str
    wanted: str
    way: str
    reason: str
    verified: bool


class PathSource:
    """Implements `ports.source.Source`. A tailnet that cannot be asked is no failure: its paths are unknown then."""

    name = "tailnet"
    host = ""
    interval_seconds = 10.0
    timeout_seconds = 12.0

    def __init__(
        self,
        guides: Mapping[str, Guided],
        daemon: TailnetDaemon,
        clock: Clock,
        when_up: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self._guides = guides
        self._daemon = daemon
        self._clock = clock
        self._when_up = when_up
        self._before: dict[str, Peer] = {}
        self._waited: set[str] = set()

    async def poll(self, state: State, emit: Emit) -> str:
        try:
            net = await self._daemon.status()
        except PortError as error:
            self._nobody(state, emit, str(error))
            if isinstance(error, Unreachable) and not isinstance(error, TimedOut):
                raise Absent(str(error)) from error  # it does not run: said of the link, if that needs it
            raise
        hosts = [name for name in self._guides if name in state.hosts]
        await asyncio.gather(*(self._look(name, net, state, emit) for name in hosts))
        return f"{net.version or net.state}, {self._daemon.told_by}"

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def _look(self, name: str, net: Tailnet, state: State, emit: Emit) -> None:
        guide, was = self._guides[name], state.hosts[name].path
        path, peer = self._judge(guide, net)
        up = state.hosts[name].link.phase is LinkPhase.UP
        if not up:
            emit(PathSeen(name, steady(was, path)))
            up = await self._comes_up(name)
        if not up:
            return
        if guide.way not in ("tailnet", "cache"):
            reason = guide.reason if guide.way else ELSEWHERE
            path = TailnetPath(reason=reason, notes=path.notes, at=path.at)
        elif peer is not None and peer.addresses:
            path = with_pong(path, await self._daemon.ping(peer.addresses[0]))
        emit(PathSeen(name, steady(was, replace(path, verified=guide.verified))))

    def _judge(self, guide: Guided, net: Tailnet) -> tuple[TailnetPath, Peer | None]:
        now, told_by = self._clock.now(), self._daemon.told_by
        if not net.running:
            return TailnetPath(reason=tailnet_words.about_state(net), at=net.at, source=told_by), None
        try:
            peer = find(net, guide.wanted)
        except NoSuchPeer as error:
            return TailnetPath(reason=tailnet_words.about_missing(net, error), at=net.at, source=told_by), None
        path = replace(tailnet_words.judge(net, peer, guide.host, now), source=told_by)
        before = self._before.get(guide.host)
        self._before[guide.host] = peer
        if before is not None and not path.reason and one_way(before, peer, now):
            path = replace(path, reason=f"packets go out to {guide.host} and nothing comes back")
        return path, peer

    async def _comes_up(self, name: str) -> bool:
        """Whether the link comes up soon; waited for once only."""
        if self._when_up is None or name in self._waited:
            return False
        self._waited.add(name)
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._when_up(name)
        except TimeoutError:
            return False
        return True

    def _nobody(self, state: State, emit: Emit, reason: str) -> None:
        for name, guide in self._guides.items():
            if name in state.hosts:
                emit(PathSeen(name, TailnetPath(reason=guide.reason or reason, at=self._clock.now())))
