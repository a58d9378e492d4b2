"""Who may hold a connection to `sovtui serve`, and for how long, until its page has shown the key.

Whoever is on this machine can connect, and hold on by sending slowly or nothing. So a connection has a deadline for each thing
that it owes. Each user of this machine has so many connections without the key, and all strangers together; one more is let in where
the most idle one of theirs can go. None goes within its first moments, so that who does what is due is always served: others wait for
that, strangers are turned away. A page that has shown the key is outside of all this: nothing ends it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import cast

log = logging.getLogger("sovtui.serve")


_KEPT = 120
"""Descriptors for the pages and their processes, and for ourselves."""
_FEWEST = 8


@dataclass(frozen=True)
class Limits:
    """Of connections whose page has not shown the key. Times in seconds."""

    head: float = 10.0
    """From the connection to the end of the request's head, all of it."""
    answer: float = 300.0
    """From there to the end of the answer: half a megabyte over a bad mobile link."""
    hello: float = 20.0
    """From the opened WebSocket to its first message, which holds the key."""
    patience: float = 0.5
    """So long a connection stays, whatever it owes, also when there are too many."""
    octets: int = 1 << 20
    """Received in all. Browsers send the cookies of every port of the machine along."""
    each: int = 96
    """Connections of one user of this machine at once."""
    others: int = 48
    """Of all users together that are neither this one nor root, through whom a proxy on this machine comes."""


def limits_within(descriptors: int) -> Limits:
    """The usual limits where this process may open so many files, else so few connections that the open pages have theirs."""
    each = min(Limits.each, max(_FEWEST, (descriptors - _KEPT) // 4))
    return Limits(each=each, others=each // 2)


class _Owes(IntEnum):
    """What comes next, the first to go first."""

    HEAD = 0
    HELLO = 1
    ANSWER = 2


class Door(asyncio.Protocol):
    """One connection: counts what it owes, and is otherwise the protocol `inner`, which speaks HTTP."""

    def __init__(self, doorway: Doorway, inner: asyncio.Protocol, user: int | None) -> None:
        self._doorway = doorway
        self._inner = inner
        self.user = user
        self.owes = _Owes.HEAD
        self.since = asyncio.get_running_loop().time()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._left: int | None = doorway.limits.octets
        """Octets that may still come; None once the key has been shown."""

    def asked(self) -> None:
        """The head of a request is here."""
        self._now(_Owes.ANSWER, self._doorway.limits.answer)

    def opened(self) -> None:
        """A WebSocket is answered; its first message is due."""
        self._now(_Owes.HELLO, self._doorway.limits.hello)

    def admit(self) -> None:
        """The key was right: from here on only the page or the server ends it."""
        self._left = None
        self._forget()

    def end(self) -> None:
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _now(self, owes: _Owes, seconds: float) -> None:
        self.owes = owes
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.end)

    def _forget(self) -> None:
        self._doorway.waiting.pop(self, None)
        self._doorway.left.set()
        if self._deadline is not None:
            self._deadline.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._now(_Owes.HEAD, self._doorway.limits.head)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.end()
                return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class Doorway:
    """Lets connections of a listening socket in, one in each turn of the loop."""

    def __init__(
        self, serve: Callable[[], asyncio.Protocol], limits: Limits, user_of: Callable[[socket.socket], int | None]
    ) -> None:
        self.limits = limits
        self.waiting: dict[Door, None] = {}
        """Connections that have not shown the key, the oldest first."""
        self.left = asyncio.Event()
        """One of them is gone."""
        self._serve = serve
        self._user_of = user_of
        self._ours = {os.getuid(), 0, None}

    async def run(self, listening: socket.socket) -> None:
        """Until it is cancelled. `listening` does not block."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # the peer is gone again, or no descriptor is left: then somebody has to go
                self._send_away(self.waiting)
                await asyncio.sleep(0.05)
                continue
            try:
                await self._let_in(connection)
            except OSError:
                connection.close()
            except Exception:
                log.exception("a connection could not be let in")
                connection.close()

    async def _let_in(self, connection: socket.socket) -> None:
        user = self._user_of(connection)
        if not await self._room(user):
            connection.close()
            return
        door = Door(self, self._serve(), user)
        self.waiting[door] = None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(partial(_same, door), connection)
        except BaseException:
            door.end()
            raise

    async def _room(self, user: int | None) -> bool:
        """Make room for one more of `user`. False: a stranger, and there is none."""
        while crowd := self._crowd(user):
            if self._send_away(crowd):
                return True
            if user not in self._ours:
                return False
            self.left.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next(iter(crowd)).since + self.limits.patience):
                    await self.left.wait()
        return True

    def _crowd(self, user: int | None) -> list[Door]:
        """Those of whom one has to go for one more of `user`, the oldest first."""
        same = [door for door in self.waiting if door.user == user]
        if len(same) >= self.limits.each:
            return same
        others = [door for door in self.waiting if door.user not in self._ours]
        return others if user not in self._ours and len(others) >= self.limits.others else []

    def _send_away(self, crowd: Iterable[Door]) -> bool:
        """The oldest of those that owe most, if any has had its first moments."""
        late = asyncio.get_running_loop().time() - self.limits.patience
        found = min((door for door in crowd if door.since <= late), key=lambda door: door.owes, default=None)
        if found is not None:
            found.end()
        return found is not None


def _same(door: Door) -> Door:
    return door
