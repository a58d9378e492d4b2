"""This machine's network, as its kernel tells it: standard library only, no packet is ever sent.

Which way a packet would take is asked by connecting an UDP socket, which only looks at the routes. Changes are told by the route socket
of Linux (netlink); Android forbids it and other systems have none, there the answer of the first question is compared again and again.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence

from sovtui.core.reach import Here

_ANYWHERE = ("192.0.2.1", "2001:db8::1")
"""Addresses that nobody has (RFC 5737, RFC 3849): only the way to them is looked at."""
_PORT = 9
_ROUTE_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE."""
SETTLE_SECONDS = 0.3
"""A change of network comes as a dozen messages: told once, so long after the first."""


class KernelNetwork:
    """Implements `ports.network.Network`."""

    def toward(self, addresses: Sequence[str]) -> Here:
        source = next(filter(None, map(_source, addresses)), "")
        return Here(source, bool(source) or any(_source(address) for address in _ANYWHERE))

    def has(self, address: str) -> bool:
        """Asked by binding to it."""
        family = _family(address)
        if family is None:
            return False
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.bind((address, 0))
        except OSError:
            return False
        return True

    def watch(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        except (AttributeError, OSError):
            return None
        try:
            sock.bind((0, _ROUTE_GROUPS))
        except OSError:
            sock.close()
            return None
        loop = asyncio.get_running_loop()
        due: asyncio.TimerHandle | None = None

        def read() -> None:
            nonlocal due
            try:
                while sock.recv(1 << 16):
                    pass
            except BlockingIOError:
                pass
            except OSError:  # more came than its buffer holds: something has changed, that is all that is asked
                pass
            if due is None or due.when() <= loop.time():
                due = loop.call_later(SETTLE_SECONDS, changed)

        def end() -> None:
            if due is not None:
                due.cancel()
            loop.remove_reader(sock)
            sock.close()

        loop.add_reader(sock, read)
        return end

    def asleep_seconds(self) -> float:
        """CLOCK_BOOTTIME goes on while the machine sleeps; where there is none the wall clock does, and is set now and then too."""
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        now = time.clock_gettime(boottime) if boottime is not None else time.time()
        return now - time.monotonic()


def _family(address: str) -> socket.AddressFamily | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address.partition("%")[0])
        except OSError:
            continue
        return family
    return None


def _source(address: str) -> str:
    """The address that a packet to `address` would leave from; empty if it would not leave."""
    family = _family(address)
    if family is None:
        return ""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, _PORT))
            return str(sock.getsockname()[0])
    except OSError:
        return ""
