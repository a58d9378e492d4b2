"""A TCP stream of this machine, as a `ports.link.ByteStream`."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket

from sovtui.core.clean import clean
from sovtui.ports.errors import NobodyListens, TimedOut, Unreachable

_CLOSE_SECONDS = 0.5


async def open_tcp(host: str, port: int, *, timeout_seconds: float) -> TcpStream:
    """Connect. Raises `Unreachable`, `TimedOut`."""
    name = f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=1 << 17)
    except TimeoutError:
        raise TimedOut(f"{name} was not reached within {timeout_seconds:g} s") from None
    except socket.gaierror as error:
        raise Unreachable(f"cannot resolve the name {host}", "Check the name, the DNS or the tailnet.") from error
    except ConnectionRefusedError as error:
        raise NobodyListens(f"nothing listens on {name}", "Is the service running?") from error
    except OSError as error:
        raise Unreachable(f"{name} cannot be reached: {clean(str(error), 200)}") from error
    return TcpStream(reader, writer, name)


async def over(sock: socket.socket, name: str) -> TcpStream:
    """A stream over a socket that is connected; `name` is for messages. The socket is its own from here on."""
    try:
        return TcpStream(*await asyncio.open_connection(sock=sock, limit=1 << 17), name)
    except BaseException:
        sock.close()
        raise


class TcpStream:
    """One connection, both ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self._reader = reader
        self._writer = writer
        self._name = name

    async def read(self, max_bytes: int) -> bytes:
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise Unreachable(f"the connection to {self._name} was lost: {clean(str(error), 200)}") from error

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Unreachable(f"the connection to {self._name} was closed: {clean(str(error), 200)}") from error

    def readable_or_closed(self) -> bool:
        # Asked of the socket, not of the reader: a close that the event loop has not seen yet counts too.
        sock = self._writer.get_extra_info("socket")
        if self._writer.is_closing() or self._reader.at_eof() or self._reader.exception() is not None or sock is None:
            return True
        return _is_readable(sock.fileno())

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()
        if not self._writer.transport.is_closing():
            self._writer.transport.abort()


def _is_readable(file: int) -> bool:
    if file < 0:
        return True
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))
