"""The output of a command that runs on, over one session of an ssh connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import asyncssh

from sovtui.adapters.links._lines import MAX_STDERR_BYTES, split_lines
from sovtui.ports.errors import Refused, Unreachable
from sovtui.ports.link import Completed

CLOSE_SECONDS = 1.0
"""How long it may take to say goodbye."""
_CHUNK = 1 << 16


class Telling(Protocol):
    """The link, as far as it says what became of a command."""

    def called(self, argv: Sequence[str]) -> str: ...

    def gone(self, what: str, error: Exception) -> Unreachable | Refused: ...

    def status(self, process: asyncssh.SSHClientProcess[bytes], argv: Sequence[str]) -> int:
        """Of a command that ended. Raises `Unreachable` if nobody told it."""
        ...

    def way_made(self, argv: Sequence[str]) -> Unreachable: ...


class Follower:
    """Its lines, its input, and how it ended."""

    def __init__(self, link: Telling, process: asyncssh.SSHClientProcess[bytes], argv: Sequence[str]) -> None:
        self._link = link
        self._process = process
        self._argv = argv
        self._errors: deque[bytes] = deque()
        self.made_way = False
        """It was ended for the sake of something less patient."""
        self._watching = asyncio.create_task(self._keep_errors())

    async def lines(self) -> AsyncIterator[bytes]:
        try:
            async for line in split_lines(self._process.stdout.read):
                yield line
        except (asyncssh.Error, OSError) as error:
            raise self._link.gone(f"{self._link.called(self._argv)} was cut off", error) from error
        await self._ended()

    async def write(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (asyncssh.Error, OSError) as error:
            raise self._link.gone(f"{self._link.called(self._argv)} takes no more input", error) from error

    async def result(self) -> Completed:
        status = await self._ended()
        return Completed(status, b"", b"".join(self._errors)[-MAX_STDERR_BYTES:])

    async def aclose(self) -> None:
        process = self._process
        if not process.is_closing():
            with contextlib.suppress(OSError, asyncssh.Error):
                process.stdin.write_eof()
        process.close()
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await process.wait_closed()
        except TimeoutError:
            process.channel.abort()  # it never read its input

    async def _ended(self) -> int:
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._process.wait_closed()
        if self.made_way:
            raise self._link.way_made(self._argv)
        return self._link.status(self._process, self._argv)

    async def _keep_errors(self) -> None:
        size = 0
        while part := await self._process.stderr.read(_CHUNK):
            self._errors.append(part)
            size += len(part)
            while size - len(self._errors[0]) >= MAX_STDERR_BYTES:
                size -= len(self._errors.popleft())
