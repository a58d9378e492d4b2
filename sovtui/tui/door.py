"""Who may hold a connection to `sovtui serve`, and for how long, until its page has shown the key.

Whoever is on this machine can connect, and hold on by sending slowly or nothing. So a connection has a deadline for each thing
that it owes; each user of this machine has so many connections without the key, and all other users together; one more is always
let in, and the most idle one of the same user's goes. A page that has shown the key is outside of all this: nothing ends it here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import cast


@dataclass(frozen=True, slots=True)
class Limits:
    """Of connections whose page has not shown the key. Times in seconds."""

    head: float = 10.0
    """From the connection to the end of the request's head, all of it."""
    answer: float = 300.0
    """From there to the end of the answer: half a megabyte over a bad mobile link."""
    hello: float = 20.0
    """From the opened WebSocket to its first message, which holds the key."""
    patience: float = 1.0
    """So long a request's head is on its way before its connection is the first to go when there are too many."""
    octets: int = 1 << 20
    """Received in all. Browsers send the cookies of every port of the machine along."""
    each: int = 24
    """Connections of one user of this machine at once."""
    others: int = 48
    """Of all users together that are neither this one nor root, through whom a proxy on this machine comes."""


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
        self._serve = serve
        self._user_of = user_of
        self._ours = {os.getuid(), 0, None}

    async def run(self, listening: socket.socket) -> None:
        """Until it is cancelled. `listening` does not block."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # no descriptor is left, or the peer is gone again
                await asyncio.sleep(0.05)
                continue
            door = Door(self, self._serve(), self._user_of(connection))
            self._make_room(door.user)
            self.waiting[door] = None
            try:
                await loop.connect_accepted_socket(partial(_same, door), connection)
            except OSError:
                door.end()
                connection.close()

    def _make_room(self, user: int | None) -> None:
        same = [door for door in self.waiting if door.user == user]
        if len(same) >= self.limits.each:
            self._most_idle(same).end()
            return
        others = [door for door in self.waiting if door.user not in self._ours]
        if user not in self._ours and len(others) >= self.limits.others:
            self._most_idle(others).end()

    def _most_idle(self, doors: list[Door]) -> Door:
        """The oldest of those that owe most. A head that may well be on its way is not owed yet."""
        late = asyncio.get_running_loop().time() - self.limits.patience
        return min(doors, key=lambda door: _Owes.ANSWER if door.owes is _Owes.HEAD and door.since > late else door.owes)


def _same(door: Door) -> Door:
    return door
