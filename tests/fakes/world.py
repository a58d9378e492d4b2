"""Fakes of the ports: a clock that tests move, a link that answers from a table, a dialer that fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

from sovtui.ports.errors import PortError, Unreachable
from sovtui.ports.link import Ask, ByteStream, Completed, LineStream, Link, Patience
from sovtui.runtime import bundle


class FakeClock:
    """Time stands still unless somebody sleeps: then it jumps there."""

    def __init__(self, start: datetime = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)) -> None:
        self.start = start
        self.passed = 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        await asyncio.sleep(0)


MARK = b"(mark)"
"""Stands for the marker of the run in a line that a script frames itself."""
Script = Callable[[Sequence[str], bytes], tuple[list[bytes], int]]
"""argv and standard input to lines and exit status; may raise a PortError. `LOST`: the link dies; `CUT`: the command ends there."""


class _Lines:
    """A command; one of `runtime.bundle` says that it is there, waits for its request and frames its lines."""

    def __init__(self, script: Script, argv: Sequence[str], stdin: bytes) -> None:
        self._script, self._argv, self._given = script, argv, stdin
        self._asked = asyncio.Event()
        self._status = 0

    async def lines(self) -> AsyncIterator[bytes]:
        called = bundle.heard(self._argv)
        mark = called[1] if called is not None else b""
        if called is not None:
            yield b""
            yield mark + b'{"t":"ready"}'
            await self._asked.wait()
        lines, self._status = self._script(self._argv, self._given)
        for line in lines:
            if line == b"LOST":
                raise Unreachable("the connection was lost")
            if line == b"CUT":
                return
            yield line.replace(MARK, mark) if MARK in line else mark + line
        if called is not None:
            yield mark + b'{"t":"over","status":%d}' % self._status

    async def write(self, data: bytes) -> None:
        self._given += data
        if bundle.request_in(self._given) is not None:
            self._asked.set()

    async def result(self) -> Completed:
        return Completed(self._status, b"", b"")


class FakeLink:
    """Implements `ports.link.Link`."""

    kind = "ssh"
    latency_seconds: float | None = 0.04

    def __init__(self, host: str = "spark", script: Script | None = None) -> None:
        self.host = host
        self.script = script or (lambda argv, stdin: ([], 0))
        self.calls: list[Sequence[str]] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float) -> Completed:
        self.calls.append(argv)
        lines, status = self.script(argv, stdin)
        return Completed(status, b"\n".join(lines), b"")

    def stream(
        self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE
    ) -> AbstractAsyncContextManager[LineStream]:
        @asynccontextmanager
        async def run() -> AsyncIterator[LineStream]:
            self.calls.append(argv)
            yield _Lines(self.script, argv, stdin)

        return run()

    async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
        raise Unreachable(f"nothing listens on {host}:{port}")

    async def wait_lost(self) -> str:
        return await asyncio.shield(self.lost)

    async def aclose(self) -> None:
        self.closed = True


class FakeDialer:
    """Implements `ports.link.Dialer`: each dial takes the next of `answers`; the last one repeats."""

    kind = "ssh"
    address = "ops@spark"

    def __init__(self, *answers: Callable[[], Link] | PortError) -> None:
        self.answers = list(answers)
        self.dials = 0

    async def dial(self, ask: Ask | None) -> Link:
        self.dials += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, PortError):
            raise answer
        return answer()
