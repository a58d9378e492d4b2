"""A TCP stream on the host, through a channel of the connection."""

from __future__ import annotations

import asyncio

import asyncssh

from sovtui.core.clean import clean
from sovtui.ports.errors import Unreachable

_HIGH_WATER = 1 << 18


class Channel(asyncssh.SSHTCPSession[bytes]):
    """One stream. Implements `ports.link.ByteStream`."""

    def __init__(self) -> None:
        self.name = ""
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._buffer = bytearray()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._error: Exception | None = None
        self._paused = False

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._buffer += data
        self._wake.set()
        if len(self._buffer) > _HIGH_WATER and not self._paused and self._channel is not None:
            self._paused = True
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake.set()
        return True  # keeps our half open, as a TCP socket does

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error, self._channel = True, exc, None
        self._wake.set()
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    async def read(self, max_bytes: int) -> bytes:
        while not self._buffer:
            if self._error is not None:
                raise Unreachable(f"the connection to {self.name} was lost: {clean(str(self._error), 200)}")
            if self._ended:
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = bytes(memoryview(self._buffer)[:max_bytes])
        del self._buffer[:max_bytes]
        if self._paused and len(self._buffer) < _HIGH_WATER // 2 and self._channel is not None:
            self._paused = False
            self._channel.resume_reading()
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
        return bool(self._buffer) or self._ended or self._channel is None or self._channel.is_closing()

    async def aclose(self) -> None:
        if self._channel is not None:
            self._channel.close() if self._ended else self._channel.abort()
