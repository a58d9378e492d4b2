"""The link over one asyncssh connection: commands, followed commands, TCP streams.

Latency is measured without traffic of its own: opening a session takes two round trips, opening a TCP stream one. Only a
link on which neither has happened for `LATENCY_EVERY_SECONDS` runs `true` for it (about 0.7 kB).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import asyncssh

from sovtui.adapters.links._shell import line as shell_line
from sovtui.adapters.links._ssh_channel import Channel
from sovtui.adapters.links._ssh_client import Client
from sovtui.adapters.links._ssh_errors import detail_of, fault_of
from sovtui.adapters.links._ssh_follower import CLOSE_SECONDS, Follower
from sovtui.adapters.links._ssh_process import MAX_OUTPUT_BYTES, Process, TooMuch, end, read_all
from sovtui.adapters.links._ssh_sessions import AGAIN_SECONDS, FREED_SECONDS, Crowded, Sessions
from sovtui.adapters.links._traffic import counted
from sovtui.core.clean import clean
from sovtui.core.metered import KEEPALIVE_SECONDS
from sovtui.core.reach import Evidence, Fault, Stage, judge
from sovtui.ports.errors import Malformed, NobodyListens, Refused, TimedOut, Unreachable
from sovtui.ports.link import ByteStream, Completed, LineStream, Patience, Tell

T = TypeVar("T")

LATENCY_EVERY_SECONDS = 30.0
LONG_LATENCY_SECONDS = 300.0
"""The same of a link that is used sparingly."""
SESSION_WINDOW_BYTES = 1 << 16
STREAM_WINDOW_BYTES = 1 << 17
"""How much may be under way to us in one channel. asyncssh opens the whole window again as soon as a reader that was too slow takes up
anything: with its usual 2 MiB it buffers thirty times what is read, without end. No larger than what is read at once, it is bounded."""
CHECK_SECONDS = 0.6
"""Between the keepalives that look whether a link still lives; three unanswered ones say that it does not."""


class SshLink:
    """One ssh connection. Made by `_ssh_login`."""

    kind = "ssh"

    def __init__(
        self,
        host: str,
        label: str,
        connection: asyncssh.SSHClientConnection,
        hops: list[asyncssh.SSHClientConnection],
        lost: asyncio.Future[Exception | None],
        seen: Evidence,
        hop_clients: Sequence[tuple[Client, str]] = (),
        keepalive: tuple[float, int] = (1.5, 2),
    ) -> None:
        """`seen`: what was known at the end of the login; `hop_clients`: who tells that a hop is lost, with its label."""
        self._host = host
        self._label = label
        self._connection = connection
        self._hops = hops
        self._lost = lost
        self._seen = seen
        self._hop_clients = hop_clients
        self._keepalive = self._usual = keepalive
        self._loss: Evidence | None = None
        self._calm: asyncio.TimerHandle | None = None
        self._closed_here = False
        self._latency_every = LATENCY_EVERY_SECONDS
        self._traffic: tuple[int, int] | None = None
        self._latency: float | None = None
        self._measured = float("-inf")
        self._sessions = Sessions()
        self._strays: set[asyncio.Task[Any]] = set()
        self._measuring: asyncio.Task[None] | None = None
        self.on_banner: Tell | None = None
        """Gets what a login shell writes beside the answers of commands."""
        lost.add_done_callback(self._on_lost)

    @property
    def host(self) -> str:
        return self._host

    @property
    def latency_seconds(self) -> float | None:
        return self._latency

    @property
    def compressed(self) -> bool:
        """Whether what comes is compressed by ssh: then HTTP need not be."""
        return str(self._connection.get_extra_info("recv_compression", "none")) != "none"

    @property
    def traffic_bytes(self) -> tuple[int, int] | None:
        """(sent, received) since it was made, TCP payload; None where nobody counts (a ProxyCommand, some systems)."""
        first = self._hops[0] if self._hops else self._connection
        self._traffic = counted(first.get_extra_info("socket")) or self._traffic
        return self._traffic

    def spare(self, on: bool) -> None:
        """Use the link sparingly, or as usual again: fewer signs of life and measurements of its own."""
        self._latency_every = LONG_LATENCY_SECONDS if on else LATENCY_EVERY_SECONDS
        seconds, count = self._usual
        self._keepalive = (max(seconds, KEEPALIVE_SECONDS), count) if on else self._usual
        if self._calm is None:  # else it is being looked whether the link lives; then it goes on like this
            self._calm_down()

    def start(self) -> None:
        """Keep the latency current. Whoever opens a session or a channel tells it too: the first one does at once."""
        self._measuring = asyncio.create_task(self._measure())

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float) -> Completed:
        process: asyncssh.SSHClientProcess[bytes] | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                process = await self._begun(argv, stdin, ends=True)
                output, errors = await asyncio.gather(read_all(process.stdout), read_all(process.stderr))
                await process.wait_closed()
        except TimeoutError:
            what = f"{self.called(argv)} took longer than {timeout_seconds:g} s on {self._label}, it was told to end"
            if process is None and self._sessions.few:
                what = f"{self.called(argv)} had no turn within {timeout_seconds:g} s: {self._label} {self._sessions.few}"
            raise TimedOut(what) from None
        except (asyncssh.Error, OSError) as error:
            raise self.gone(f"{self.called(argv)} was cut off", error) from error
        except TooMuch:
            raise Malformed(f"{self.called(argv)} wrote more than {MAX_OUTPUT_BYTES >> 20} MiB on {self._label}") from None
        finally:
            if process is not None:
                if process.exit_status is None and process.exit_signal is None:
                    end(process)
                self._sessions.give_back()
        return Completed(self.status(process, argv), output, errors)

    @contextlib.asynccontextmanager
    async def stream(
        self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE
    ) -> AsyncIterator[LineStream]:
        try:
            process = await self._begun(argv, stdin, patience, ends)
        except (asyncssh.Error, OSError) as error:
            raise self.gone(f"{self.called(argv)} was not started", error) from error
        follower = Follower(self, process, argv)
        leaving: asyncio.Task[None] | None = None

        async def close() -> None:
            await follower.aclose()
            self._sessions.left(patience, leave)
            self._sessions.give_back()

        def leave() -> None:
            nonlocal leaving
            follower.made_way = True
            leaving = asyncio.create_task(close())

        self._sessions.hold(patience, leave)
        try:
            yield follower
        finally:
            leaving = leaving or asyncio.create_task(close())
            await asyncio.shield(leaving)

    async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(timeout_seconds):
                opening = self._connection.create_connection(Channel, host, port, window=STREAM_WINDOW_BYTES)
                _, made = await self._kept(opening, lambda pair: pair[0].abort())
        except TimeoutError:
            raise TimedOut(f"{host}:{port} on {self._label} was not reached within {timeout_seconds:g} s") from None
        except asyncssh.ChannelOpenError as error:
            if self._is_lost():
                raise self.gone(f"{host}:{port} cannot be reached", error) from error
            reason = clean(error.reason, 200)
            if error.code == 1:
                advice = "Allow it there: AllowTcpForwarding (sshd) or AllowLocalPortForwarding (Tailscale)."
                raise Refused(f"{self._label} forbids connections to {host}:{port}: {reason}", advice) from error
            raise NobodyListens(
                f"nothing listens on {host}:{port} on {self._label}: {reason}", "Is the service running?"
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise self.gone(f"{host}:{port} cannot be reached", error) from error
        if host in ("127.0.0.1", "::1", "localhost"):
            self._note_latency(loop.time() - began)
        session = cast(Channel, made)
        session.name = f"{host}:{port} on {self._label}"
        return session

    async def wait_lost(self) -> str:
        await asyncio.shield(self._lost)
        return self._why()

    @property
    def loss(self) -> Evidence | None:
        return self._loss

    @property
    def own_address(self) -> str:
        name = (self._hops or [self._connection])[0].get_extra_info("sockname")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    def check(self) -> None:
        """With keepalives in quick succession for a moment."""
        if self._is_lost() or self._calm is not None:
            return
        seconds = max(CHECK_SECONDS, 1.5 * (self._latency or 0.0))
        for connection in [*self._hops, self._connection]:
            connection.set_keepalive(seconds, 2)
        self._calm = asyncio.get_running_loop().call_later(4 * seconds, self._calm_down)

    def _calm_down(self) -> None:
        self._calm = None
        if not self._is_lost():
            for connection in [*self._hops, self._connection]:
                connection.set_keepalive(*self._keepalive)

    def abandon(self) -> None:
        if not self._is_lost():
            self._loss = replace(self._seen, stage=Stage.UP, fault=Fault.MOVED)
            for connection in [self._connection, *reversed(self._hops)]:
                connection.abort()

    async def aclose(self) -> None:
        if self._calm is not None:
            self._calm.cancel()
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)
        lost = self._is_lost()
        self._closed_here = self._closed_here or not lost
        for connection in [self._connection, *reversed(self._hops)]:
            connection.abort() if lost else connection.close()
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.wait_closed()
            except TimeoutError:
                connection.abort()
                await connection.wait_closed()
        for stray in list(self._strays):
            stray.cancel()
        await asyncio.gather(*self._strays, return_exceptions=True)

    def _on_lost(self, lost: asyncio.Future[Exception | None]) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
        self._loss = self._loss or self._end_of(lost.result())
        for hop in self._hops:
            hop.close()

    def _end_of(self, error: Exception | None) -> Evidence:
        """What the end says; that of a jump host comes first, for what goes through it ends with it."""
        for client, label in self._hop_clients:
            if client.lost.done():
                error, where = client.lost.result(), replace(self._seen, label=label, target=self._label, host="", addresses=())
                break
        else:
            where = self._seen
        detail = detail_of(error) if error is not None else ""
        fault = fault_of(error, Stage.UP) or Fault.CLOSED
        return replace(where, stage=Stage.UP, fault=fault, detail=detail, seconds=0.0, via="")

    def _why(self) -> str:
        """The reason why there is no connection any more."""
        if self._closed_here:
            return f"the connection to {self._label} was closed here"
        return judge(self._loss or self._end_of(None)).sentence

    def _is_lost(self) -> bool:
        return self._lost.done() or self._connection.is_closed()

    def gone(self, what: str, error: Exception) -> Unreachable | Refused:
        if self._is_lost():
            return Unreachable(f"{what}: {self._why()}")
        if isinstance(error, asyncssh.ChannelOpenError):
            return Refused(
                f"{what}: {self._label} gives no session: {clean(error.reason, 200)}", "Look at MaxSessions in its sshd_config."
            )
        return Unreachable(f"{what} on {self._label}: {clean(str(error), 200) or 'no reason given'}")

    def status(self, process: asyncssh.SSHClientProcess[bytes], argv: Sequence[str]) -> int:
        if process.exit_status is None and process.exit_signal is None:
            what = f"{self.called(argv)} was cut off"
            if self._is_lost():
                raise Unreachable(f"{what}: {self._why()}")
            raise Unreachable(f"{what}: {self._label} closed its session without an exit status")
        return process.returncode if process.returncode is not None else -1

    @staticmethod
    def called(argv: Sequence[str]) -> str:
        return f"`{clean(argv[0] if argv else '', 60)}`"

    async def _begun(
        self, argv: Sequence[str], stdin: bytes, patience: Patience = Patience.NONE, ends: bool = False
    ) -> asyncssh.SSHClientProcess[bytes]:
        """A session with this command, in its turn, which is to be given back. Raises `Unreachable` if there is none."""
        loop = asyncio.get_running_loop()
        until = None
        while True:
            try:
                await self._sessions.take(patience)
            except Crowded:
                what = f"there is no session for {self.called(argv)}: {self._label} {self._sessions.few}"
                raise Unreachable(what, "It waits until another has ended; more are better.") from None
            try:
                process = await self._session(shell_line(argv), stdin, ends)
                self._sessions.granted += 1
                return process
            except BaseException as error:
                refused = isinstance(error, asyncssh.ChannelOpenError) and not self._is_lost()
                fewer = refused and self._sessions.refused()
                freed_soon = refused and not fewer and self._sessions.granted > 0
                self._sessions.give_back()
                until = until or (loop.time() + FREED_SECONDS if freed_soon else None)
                if not fewer and not (freed_soon and until is not None and loop.time() < until):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)

    def way_made(self, argv: Sequence[str]) -> Unreachable:
        return Unreachable(f"{self.called(argv)} made way for something that is waited for: {self._label} {self._sessions.few}")

    async def _session(self, command: str, stdin: bytes, ends: bool = False) -> asyncssh.SSHClientProcess[bytes]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        opening = self._connection.create_session(
            lambda: Process(stdin, ends), command, encoding=None, window=SESSION_WINDOW_BYTES
        )
        _, made = await self._kept(opening, lambda pair: end(pair[1]))
        process = cast(Process, made)
        self._note_latency((loop.time() - began) / 2)
        return process

    async def _kept(self, opening: Awaitable[T], give_back: Any) -> T:
        """Await `opening`; if we are cancelled meanwhile, what it opens later is given back instead of leaking."""
        task = asyncio.ensure_future(opening)
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: None if done.cancelled() or done.exception() else give_back(done.result()))
            raise

    def _note_latency(self, seconds: float) -> None:
        self._latency = seconds
        self._measured = asyncio.get_running_loop().time()

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._lost.done():
            await asyncio.sleep(max(1.0, self._measured + LATENCY_EVERY_SECONDS - loop.time()))
            if not self._sessions.free:
                await asyncio.sleep(1.0)
            elif self._latency is None or loop.time() - self._measured >= self._latency_every:
                self._measured = loop.time()
                with contextlib.suppress(Unreachable, Refused, Malformed):  # a login that may only forward has no session
                    await self.run(["true"], timeout_seconds=LATENCY_EVERY_SECONDS)
