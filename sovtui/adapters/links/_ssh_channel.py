"""A TCP stream on the host, through a channel of the connection."""

from __future__ import annotations

import asyncio

import asyncssh

from sovtui.adapters.links._inflow import Inflow
from sovtui.core.clean import clean
from sovtui.ports.errors import Unreachable


class Channel(asyncssh.SSHTCPSession[bytes]):
    """One stream. Implements `ports.link.ByteStream`."""

    def __init__(self) -> None:
        self.name = ""
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._came = Inflow(lambda: self._pause(True), lambda: self._pause(False))
        self._room = asyncio.Event()
        self._room.set()
        self._error: Exception | None = None

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._came.feed(data)

    def _pause(self, on: bool) -> None:
        if self._channel is not None:
            self._channel.pause_reading() if on else self._channel.resume_reading()

    def eof_received(self) -> bool:
        self._came.end()
        return True  # keeps our half open, as a TCP socket does

    def connection_lost(self, exc: Exception | None) -> None:
        self._error, self._channel = exc, None
        self._came.end()
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    async def read(self, max_bytes: int) -> bytes:
        data = await self._came.read(max_bytes)
        if not data and self._error is not None:
            raise Unreachable(f"the connection to {self.name} was lost: {clean(str(self._error), 200)}")
        return data

    async def write(self, data: bytes) -> None:
        try:
            if self._channel is not None:
                self._channel.write(data)
                await self._room.wait()
        except (OSError, asyncssh.Error) as error:
            raise Unreachable(f"the connection to {self.name} was closed: {clean(str(error), 200)}") from error
        if self._channel is None:
            raise Unreachable(f"the connection to {self.name} was closed")

    def readable_or_closed(self) -> bool:
        return bool(self._came) or self._came.ended or self._channel is None or self._channel.is_closing()

    async def aclose(self) -> None:
        if self._channel is not None:
            self._channel.close() if self._came.ended else self._channel.abort()
