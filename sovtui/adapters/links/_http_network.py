"""The network as httpcore sees it: TCP streams of a link, with TLS over them where it is asked for.

Errors of the way are `ports.errors` and pass through httpcore as they are.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

import httpcore

from sovtui.adapters.links._tls import Tls
from sovtui.ports.errors import Unreachable
from sovtui.ports.link import ByteStream
from sovtui.runtime.pace import Pace

HELD_BYTES = 16_384
PIECE_BYTES = 1 << 12
"""A piece may hold hundreds of chunks or interim answers, and all of it is looked at in one turn of the loop."""
_OpenTcp = Callable[..., Awaitable[ByteStream]]


class Superseded(Unreachable):
    """This network was closed before anything was sent: another may have taken its place."""


OPENED: ContextVar[bool] = ContextVar("OPENED", default=False)
"""Whether a connection was begun for the request that this task is about."""


class LinkNetwork(httpcore.AsyncNetworkBackend):
    """Opens its streams with `opener`, and closes those that are left at its end.

    A pool forgets at its own end what is still being connected: a query beside one that failed would leave its connection open.
    """

    def __init__(self, opener: _OpenTcp) -> None:
        self._opener = opener
        self._open: set[ByteStream] = set()
        self._closed = False
        self.heard_at = -math.inf
        """Monotonic time when anything last came from the other side."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        OPENED.set(True)
        stream = await self._opener(host.strip("[]"), port, timeout_seconds=timeout or 60.0)
        if self._closed:
            await stream.aclose()
            raise Superseded("the connection was closed while it was made")
        self._open.add(stream)
        return _Stream(stream, f"{host}:{port}", lambda: self._open.discard(stream), self._heard)

    def _heard(self) -> None:
        self.heard_at = time.monotonic()

    async def aclose(self) -> None:
        self._closed = True
        left, self._open = self._open, set()
        await asyncio.gather(*(stream.aclose() for stream in left), return_exceptions=True)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: ByteStream, name: str, closed: Callable[[], None], heard: Callable[[], None]) -> None:
        self._stream = stream
        self._name = name
        self._note_closed, self._note_heard = closed, heard
        self._unsent = bytearray()
        """Head and body of a request are given one after the other, and sent in one piece: each piece costs a packet or two."""
        self._pace: Pace | None = None
        self._taken = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await self._send(timeout)
        if self._pace is None:
            self._pace = Pace()
        elif self._taken:
            await self._pace.turn(self._taken)
        try:
            async with asyncio.timeout(timeout):
                data = await self._stream.read(min(max_bytes, PIECE_BYTES))
        except TimeoutError:
            raise httpcore.ReadTimeout(f"{self._name} sent nothing for {timeout:g} s") from None
        self._pace.resume()
        self._taken = len(data)
        if data:
            self._note_heard()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent += buffer
        if len(self._unsent) > HELD_BYTES:
            await self._send(timeout)

    async def _send(self, timeout: float | None) -> None:
        if not self._unsent:
            return
        buffer, self._unsent = bytes(self._unsent), bytearray()
        try:
            async with asyncio.timeout(timeout):
                await self._stream.write(buffer)
        except TimeoutError:
            raise httpcore.WriteTimeout(f"{self._name} took nothing for {timeout:g} s") from None

    async def aclose(self) -> None:
        self._note_closed()
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        secure = Tls(self._stream, ssl_context, server_hostname, self._name)
        try:
            async with asyncio.timeout(timeout):
                await secure.handshake()
        except TimeoutError:
            await self.aclose()
            raise httpcore.ConnectTimeout(f"{self._name} did not finish the TLS handshake") from None
        except BaseException:
            await self.aclose()
            raise
        return _Stream(secure, self._name, self._note_closed, self._note_heard)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked before a kept connection is used again
            return self._stream.readable_or_closed()
        if info == "ssl_object" and isinstance(self._stream, Tls):
            return self._stream.engine
        return None
