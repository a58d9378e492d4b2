"""TCP to a server over a way that may come and go: looked up, tried each second anew, and remembered.

A packet that is lost is sent again by the kernel after 1, 3 and 7 seconds; a link that is back in between would wait for that. So a new
try is begun each second beside the old ones, and the first that gets through is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from dataclasses import dataclass

from sovtui.core.reach import Stage

AGAIN_SECONDS = 1.0
"""A new try beside the old ones."""
NEXT_SECONDS = 0.25
"""Until the next address of the same name is tried beside the first."""
NAME_SECONDS = 2.0
"""How long a name is looked up before the addresses that it had are taken."""
_REFUSED = (errno.ECONNREFUSED,)

Address = tuple[socket.AddressFamily, str, tuple[str, int] | tuple[str, int, int, int]]
"""Family, the address as text, what a socket takes."""

_remembered: dict[tuple[str, int, int], list[Address]] = {}
_asking: dict[tuple[str, int, int], asyncio.Task[list[Address]]] = {}


class NoName(OSError):
    """The name leads nowhere. `known`: a name server said that there is no such name."""

    def __init__(self, text: str, known: bool) -> None:
        super().__init__(text)
        self.known = known


@dataclass(slots=True)
class Progress:
    """How far it has come; whoever waits may look."""

    stage: Stage = Stage.NAME
    addresses: tuple[str, ...] = ()
    since: float = 0.0
    """Loop time at which the stage began."""
    connect_seconds: float = 0.0
    """How long the try that got through took: a round trip."""

    def reach(self, stage: Stage, at: float | None = None) -> None:
        if self.stage is not stage or not self.since:
            self.stage, self.since = stage, asyncio.get_running_loop().time() if at is None else at


async def knock(
    host: str, port: int, progress: Progress, seconds: float, *, family: int = 0, local_address: str | None = None
) -> socket.socket:
    """A connected socket. Raises `NoName`, `TimeoutError`, or the OSError that every address gave."""
    progress.reach(Stage.NAME)
    async with asyncio.timeout(seconds):
        found = await _look_up(host, port, family)
    progress.addresses = tuple(dict.fromkeys(text for _, text, _ in found))
    progress.reach(Stage.CONNECT)
    loop = asyncio.get_running_loop()
    tries: dict[asyncio.Task[socket.socket], float] = {}
    failed: dict[str, OSError] = {}
    turn, round_ = 0, 0
    end = loop.time() + seconds
    try:
        while True:
            _, text, _ = one = found[turn]
            if text not in failed:
                tries[asyncio.create_task(_try(one, local_address))] = loop.time()
            turn += 1
            if turn == len(found):
                turn, round_ = 0, round_ + 1
            wait = NEXT_SECONDS if turn else max(NEXT_SECONDS, AGAIN_SECONDS - NEXT_SECONDS * (len(found) - 1))
            until = min(end, loop.time() + wait)
            while tries and (left := until - loop.time()) > 0:
                done, _ = await asyncio.wait(tries, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    began = tries.pop(task)
                    error = task.exception()
                    if error is None:
                        progress.connect_seconds = loop.time() - began
                        return task.result()
                    assert isinstance(error, _Failed)
                    failed[error.text] = error.error
                if len(failed) == len(progress.addresses):
                    raise _worst(list(failed.values()))
                if done and turn:
                    break  # the next address need not wait
            if loop.time() >= end:
                raise TimeoutError
    finally:
        for task in tries:
            task.cancel()
        for late in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


def _worst(errors: list[OSError]) -> OSError:
    """The one to tell: a refusal says more than a missing route."""
    return next((error for error in errors if error.errno in _REFUSED), errors[0])


class _Failed(Exception):
    def __init__(self, text: str, error: OSError) -> None:
        super().__init__(text)
        self.text, self.error = text, error


async def _try(address: Address, local_address: str | None) -> socket.socket:
    family, text, place = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if local_address:
            sock.bind((local_address, 0))
        await asyncio.get_running_loop().sock_connect(sock, place)
    except OSError as error:
        sock.close()
        raise _Failed(text, error) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _look_up(host: str, port: int, family: int) -> list[Address]:
    """Addresses of a name. One question per name at a time: a thread that waits for a name server cannot be ended."""
    key = (host, port, family)
    with contextlib.suppress(OSError):
        return _read(await _resolve(host, port, family, socket.AI_NUMERICHOST))
    task = _asking.get(key)
    if task is None or task.get_loop() is not asyncio.get_running_loop():
        task = _asking[key] = asyncio.create_task(_ask(host, port, family))
        task.add_done_callback(lambda done: _forget(key, done))
    kept = _remembered.get(key)
    try:
        async with asyncio.timeout(NAME_SECONDS if kept else None):
            found = await asyncio.shield(task)
    except (TimeoutError, NoName) as error:
        # On a phone names fail for a while after each change of network; the addresses of a box seldom change.
        if kept and not (isinstance(error, NoName) and error.known):
            return kept
        raise
    _remembered[key] = found
    return found


def _forget(key: tuple[str, int, int], done: asyncio.Task[list[Address]]) -> None:
    if _asking.get(key) is done:
        del _asking[key]
    if not done.cancelled():
        done.exception()  # looked at, whoever still waits


async def _ask(host: str, port: int, family: int) -> list[Address]:
    try:
        return _read(await _resolve(host, port, family, 0))
    except socket.gaierror as error:
        known = error.errno not in (socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_FAIL)
        raise NoName(str(error.strerror or error), known) from None
    except UnicodeError:
        raise NoName("it cannot be a name", True) from None


async def _resolve(host: str, port: int, family: int, flags: int) -> list[tuple[object, ...]]:
    loop = asyncio.get_running_loop()
    return list(await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags))


def _read(found: list[tuple[object, ...]]) -> list[Address]:
    addresses: list[Address] = []
    for family, _, _, _, place in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            addresses.append((family, place[0], place))  # type: ignore[arg-type, index]
    if not addresses:
        raise NoName("it has no address", True)
    return addresses
