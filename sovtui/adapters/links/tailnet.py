"""The way to a host through the tailnet: which address a name means, who vouches for its host keys, why it cannot be reached.

Without a daemon that can be asked all of this comes down to an address and known_hosts, as for any other host.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sovtui.adapters.links import ssh
from sovtui.adapters.links._ssh_knock import Progress, knock
from sovtui.adapters.links._ssh_way import Command, Given, Known, Road, Way
from sovtui.adapters.tailnet import socks
from sovtui.adapters.tailnet.cache import NAME, Cache
from sovtui.core import tailnet_words, text
from sovtui.core.addresses import is_address
from sovtui.core.reach import Evidence, Fault, Stage
from sovtui.core.reach import Tailnet as Sight
from sovtui.core.tailnet import NoSuchPeer, Peer, Tailnet, find
from sovtui.core.tailnet_words import Knock
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Absent, PortError, Refused, TimedOut, Unreachable
from sovtui.ports.link import Ask, Link
from sovtui.ports.tailnet import TailnetDaemon

EACH_SECONDS = 5.0
"""How long one address may take: by then five tries have been made."""
CONFIGURED = "using the address in the configuration"


class Guide:
    """Knows the way to one host. Asked before every dial; asked for a reason after one that failed."""

    def __init__(self, host: str, wanted: str, daemon: TailnetDaemon, cache: Cache, clock: Clock, *, socks5: str = "") -> None:
        """`host`: what the configuration calls it; `wanted`: its name, address or stable id in the tailnet."""
        self.host = host
        self.wanted = wanted
        self.daemon = daemon
        self._cache = cache
        self._clock = clock
        self.socks5 = socks5
        self._port = 0
        self.got_through = False
        self.progress = Progress(Stage.CONNECT)
        self._vouched = False
        self.way = ""
        """How it was last dialled: `tailnet`, `cache` (an address of earlier), `address` (of the configuration), or not yet."""
        self.reason = ""
        """Why not by the tailnet as it is now."""
        self.verified = False
        """The tailnet told the host keys that the link now up was verified by."""

    async def choose(self, name: str, port: int) -> Known:
        """The way to the host for ssh. Raises `Unreachable` where the tailnet says that there is none, `Refused` for several."""
        self._port, self.got_through, self._vouched, self.verified = port, False, False, False
        self.progress = Progress(Stage.CONNECT)
        self.way, self.reason = "", ""
        try:
            net = await self.daemon.status()
        except PortError as error:
            # Where the daemon does not run nothing is routed to tailnet addresses; where it cannot be asked they may well work.
            stopped = isinstance(error, Unreachable) and not isinstance(error, TimedOut)
            return await self._without(str(error), name, use_cache=not stopped)
        if not net.running:
            return await self._without(tailnet_words.about_state(net), name, use_cache=False)
        peer = self._find(net)
        if peer.expired:
            raise Unreachable(tailnet_words.about_peer(net, peer, self.host, self._clock.now()))
        if not peer.addresses:
            raise Unreachable(f"the tailnet knows no address of {self.host}")
        await asyncio.to_thread(self._cache.put, self.wanted, peer.addresses, net.at)
        self.way = "tailnet"
        self._vouched = bool(peer.ssh_host_keys)
        way: Way = Given(partial(self._connect, peer.addresses, port), self.progress)
        if net.tun is False:  # no device on this machine leads into the tailnet: the daemon itself must make the connection
            way = _Userspace(self, peer.addresses[0], port)
        return Known(way, self.host, peer.ssh_host_keys, "the tailnet")

    def connected(self) -> None:
        """The link is up."""
        self.verified = self._vouched

    async def sight(self, seen: Evidence) -> Sight | None:
        """What the tailnet has to say to a dial that fails so; None for nothing."""
        if self.got_through or not self.way:
            return None
        silent = seen.fault in (Fault.SILENCE, Fault.UNREACHABLE)
        knock = Knock.REFUSED if seen.fault is Fault.REFUSED else Knock.TIMED_OUT if seen.fault is Fault.SILENCE else None
        try:
            net = await self.daemon.status()
            answered = await self._answers(net) if silent else None
        except Absent:
            return Sight(words=self.reason) if self.way == "cache" else None
        except PortError as problem:
            stopped = isinstance(problem, Unreachable) and not isinstance(problem, TimedOut)
            return Sight(False if stopped else None, words=str(problem))
        words = tailnet_words.why_down(
            net, self.wanted, self.host, self._clock.now(), answered=answered, knock=knock, port=self._port
        )
        try:
            online = find(net, self.wanted).online if net.running else None
        except NoSuchPeer:
            online = None
        return Sight(net.running, online, answered, words)

    async def _answers(self, net: Tailnet) -> bool | None:
        if not net.running:
            return None
        try:
            peer = find(net, self.wanted)
        except NoSuchPeer:
            return None
        return (await self.daemon.ping(peer.addresses[0])).answered if peer.addresses else None

    def _find(self, net: Tailnet) -> Peer:
        try:
            return find(net, self.wanted)
        except NoSuchPeer as error:
            said = tailnet_words.about_missing(net, error)
            raise (Refused if error.several else Unreachable)(said, "") from None

    async def _without(self, reason: str, name: str, *, use_cache: bool) -> Known:
        """Nobody tells: the address that it is, or had, else the one in the configuration."""
        addresses: tuple[str, ...] = ()
        said = reason if CONFIGURED in reason else f"{reason}; {CONFIGURED}"
        if is_address(self.wanted):
            addresses, said = (self.wanted,), reason.removesuffix(f"; {CONFIGURED}")
        elif use_cache and (known := await asyncio.to_thread(self._cache.get, self.wanted)) is not None:
            addresses = known.addresses
            said = f"{reason.removesuffix(f'; {CONFIGURED}')}; using the address that it had on {text.moment(known.at)}"
        self.reason = said
        self.way = "cache" if addresses else "address"
        way = Given(partial(self._connect, addresses, self._port, name), self.progress) if addresses else None
        return Known(way, self.host, (), "")

    async def _connect(self, addresses: Sequence[str], port: int, name: str = "") -> socket.socket:
        """TCP to the first that answers; then to the configured name, if one is given. Raises what the first one said."""
        first: BaseException | None = None
        places = [*addresses, *([name] if name and name not in addresses else [])]
        for place in places:
            try:
                made = await self._dial(place, port)
            except (OSError, TimeoutError) as error:
                first = first or error
            else:
                self.got_through = True
                return made
        assert first is not None
        raise first

    async def _dial(self, place: str, port: int) -> socket.socket:
        return await knock(place, port, self.progress, EACH_SECONDS)


class _Userspace:
    """A stream made by the daemon, its command or its proxy, in this order."""

    def __init__(self, guide: Guide, address: str, port: int) -> None:
        self._guide, self._address, self._port = guide, address, port

    async def open(self) -> Road:
        try:
            made = await self._guide.daemon.dial(self._address, self._port)
        except Absent as error:
            if not self._guide.socks5:
                advice = "Tailscale runs here in userspace mode: name its proxy with `socks5` in [tailnet]."
                raise Unreachable(str(error), advice) from None
            made = await socks.connect(self._guide.socks5, self._address, self._port)
        if isinstance(made, tuple):
            return await Command(made, f"command `{made[0]} nc`").open()
        self._guide.got_through = True
        return Road({"sock": made}, end=made.close)


class Guided(ssh.Dialer):
    """An ssh dialer whose way is known by a guide. Says of a dial that failed what the tailnet knows of it."""

    def __init__(self, guide: Guide, address: str, **words: Any) -> None:
        super().__init__(guide.host, address, choose=guide.choose, **words)
        self._guide = guide

    async def dial(self, ask: Ask | None) -> Link:
        try:
            link = await super().dial(ask)
        except Unreachable as error:
            told = await self._guide.sight(error.evidence) if error.evidence is not None else None
            if error.evidence is None or told is None or not told.words:
                raise
            from sovtui.adapters.links._ssh_errors import of_way  # imports asyncssh, which is here by now

            raise of_way(replace(error.evidence, tailnet=told)) from error
        self._guide.connected()
        return link


def guided(
    host: str, address: str, wanted: str, daemon: TailnetDaemon, folder: Path, clock: Clock, *, socks5: str = "", **words: Any
) -> tuple[Guided, Guide]:
    """An ssh dialer that goes through the tailnet, and its guide. `folder` holds the memory of addresses; nothing is read yet."""
    guide = Guide(host, wanted, daemon, Cache(folder / NAME), clock, socks5=socks5)
    return Guided(guide, address, **words), guide
