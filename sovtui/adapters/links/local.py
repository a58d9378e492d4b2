"""This machine: commands as its own processes, in their own session, never through a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import cast

from sovtui.adapters import children
from sovtui.adapters.links._inflow import Inflow
from sovtui.adapters.links._lines import MAX_STDERR_BYTES, split_lines
from sovtui.adapters.links._tcp import open_tcp
from sovtui.core.clean import clean
from sovtui.ports.errors import Malformed, TimedOut, Unreachable
from sovtui.ports.link import Ask, ByteStream, Completed, LineStream, Link, Patience
from sovtui.runtime.pace import Pace

MAX_OUTPUT_BYTES = 8 << 20
_GRACE_SECONDS = 0.5
"""How long a followed command may take to see that its standard input has ended."""


class Dialer:
    """Makes the link to this machine."""

    kind = "local"

    def __init__(self, host: str, address: str = "") -> None:
        self.host = host
        self.address = address or "this machine"

    async def dial(self, ask: Ask | None) -> Link:
        """Always there."""
        return LocalLink(self.host)


class LocalLink:
    """This machine."""

    kind = "local"
    latency_seconds = 0.0
    compressed = False

    def __init__(self, host: str) -> None:
        self.host = host
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float) -> Completed:
        process = await self._start(argv)
        if isinstance(process, Completed):
            return process
        output: list[bytes] = []
        size, pace = 0, Pace()
        try:
            async with asyncio.timeout(timeout_seconds):
                process.write(stdin)
                process.write_eof()
                while part := await process.read(1 << 16):
                    output.append(part)
                    size += len(part)
                    await pace.turn(len(part))
                    if size > MAX_OUTPUT_BYTES:
                        raise Malformed(f"`{clean(argv[0], 60)}` wrote more than {MAX_OUTPUT_BYTES >> 20} MiB")
                status = await process.wait()
        except TimeoutError:
            raise TimedOut(f"`{clean(argv[0], 60)}` took longer than {timeout_seconds:g} s, it was ended") from None
        finally:
            process.kill()
            await process.wait_closed()
        if self._closed.done():
            raise Unreachable(f"`{clean(argv[0], 60)}` was cut off: the link was closed")
        return Completed(status, b"".join(output), process.errors(MAX_OUTPUT_BYTES))

    @contextlib.asynccontextmanager
    async def stream(
        self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE
    ) -> AsyncIterator[LineStream]:
        process = await self._start(argv)
        if isinstance(process, Completed):
            yield _Stillborn(process)
            return
        process.keep_errors = MAX_STDERR_BYTES
        process.write(stdin)
        if ends:
            process.write_eof()
        try:
            yield _Follower(process)
        finally:
            process.write_eof()
            process.drop_output()
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GRACE_SECONDS):
                        await process.wait()
            finally:  # cancelled once more, it does not wait
                process.kill()
                await process.wait_closed()

    async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
        if self._closed.done():
            raise Unreachable(f"the link to {self.host} is closed")
        return await open_tcp(host, port, timeout_seconds=timeout_seconds)

    async def wait_lost(self) -> str:
        await asyncio.shield(self._closed)
        return "the link to this machine was closed here"

    async def aclose(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    async def _start(self, argv: Sequence[str]) -> _Process | Completed:
        """Start it, or say as a shell would that it cannot be."""
        if self._closed.done():
            raise Unreachable(f"the link to {self.host} is closed")
        loop = asyncio.get_running_loop()
        try:
            _, process = await children.begun(
                loop.subprocess_exec(_Process, *argv, start_new_session=True), lambda made: made[1].abandon()
            )
        except FileNotFoundError:
            return Completed(127, b"", f"{argv[0]}: command not found\n".encode(errors="replace"))
        except OSError as error:
            return Completed(126, b"", f"{argv[0]}: {error.strerror}\n".encode(errors="replace"))
        return process


class _Process(asyncio.SubprocessProtocol):
    """A child process whose whole group ends with it."""

    def __init__(self) -> None:
        self.keep_errors = MAX_OUTPUT_BYTES
        self._transport: asyncio.SubprocessTransport | None = None
        self._came = Inflow(lambda: self._output().pause_reading(), lambda: self._output().resume_reading())
        self._errors = bytearray()
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()
        self._dropping = False
        self._pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._errors += data
            if len(self._errors) > 2 * self.keep_errors:
                del self._errors[: -self.keep_errors]
        elif not self._dropping:
            self._came.feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._came.end()

    def process_exited(self) -> None:
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came.end()
        self._closed.set()

    async def read(self, max_bytes: int) -> bytes:
        return await self._came.read(max_bytes)

    def write(self, data: bytes) -> None:
        pipe = self._input()
        if data and not pipe.is_closing():
            pipe.write(data)

    def write_eof(self) -> None:
        pipe = self._input()
        if not pipe.is_closing():
            pipe.write_eof()

    def drop_output(self) -> None:
        """Nobody reads any more: a full pipe must not keep it from ending."""
        self._dropping = True
        self._came.drop()

    def errors(self, limit: int) -> bytes:
        return bytes(self._errors[-limit:])

    async def wait(self) -> int:
        """The exit status, once it has ended; a killed one has a negative signal number."""
        await self._exited.wait()
        if not self._closed.is_set():  # a child of it may hold the pipes: do not wait for that one
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_SECONDS):
                    await self._closed.wait()
        assert self._transport is not None
        status = self._transport.get_returncode()
        return -1 if status is None else status

    def kill(self) -> None:
        """End the whole group, now. One that has ended by itself may leave children behind, as over ssh."""
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    async def abandon(self) -> None:
        """Nobody wants it any more."""
        self.kill()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        assert self._transport is not None
        try:
            await self._exited.wait()
        finally:
            self._transport.close()
        await self._closed.wait()

    def _input(self) -> asyncio.WriteTransport:
        assert self._transport is not None
        return cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def _output(self) -> asyncio.ReadTransport:
        assert self._transport is not None
        return cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))


class _Follower:
    """The output of a running child."""

    def __init__(self, process: _Process) -> None:
        self._process = process

    async def lines(self) -> AsyncIterator[bytes]:
        async for line in split_lines(self._process.read):
            yield line

    async def write(self, data: bytes) -> None:
        self._process.write(data)

    async def result(self) -> Completed:
        status = await self._process.wait()
        return Completed(status, b"", self._process.errors(MAX_STDERR_BYTES))


class _Stillborn:
    """A command that could not be started."""

    def __init__(self, completed: Completed) -> None:
        self._completed = completed

    async def lines(self) -> AsyncIterator[bytes]:
        return
        yield b""

    async def write(self, data: bytes) -> None:
        raise Unreachable("the command could not be started")

    async def result(self) -> Completed:
        return self._completed
