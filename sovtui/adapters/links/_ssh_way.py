"""How the byte stream to one server is made: by TCP, through a jump host, by a command, over a socket that is handed to us.

What ssh speaks over it is the same for all of them, and none of them knows it: this module imports no asyncssh.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sovtui.adapters import children
from sovtui.adapters.links._ssh_knock import Progress, knock
from sovtui.core.clean import Clean, clean
from sovtui.core.reach import Stage
from sovtui.ports.errors import PortError, Refused, Unreachable

END_SECONDS = 1.0
"""What a command gets to end by itself after it was told to; then it is killed."""
_MAX_SAID_BYTES = 8192
_NOT_FOUND = (126, 127)
"""Exit statuses with which a shell says that there is no such program, or that it may not be run."""


@dataclass(slots=True)
class Road:
    """A stream that is being made, or is made."""

    words: dict[str, Any] = field(default_factory=dict)
    """For `asyncssh.connect`: `sock`, `tunnel`, `family`, `local_addr`, or nothing."""
    address: str | None = None
    """Dialled instead of the server's name."""
    end: Callable[[], None] = lambda: None
    """The connection is lost, closed or was never made: leave nothing behind. May be called twice."""
    settle: Callable[[], Awaitable[None]] | None = None
    """There is no connection: wait a moment until it can be told why."""
    why: Callable[[str], PortError | None] = lambda label: None
    """Given the label of the place: what went wrong on the way itself, if that is why there is no connection."""


class Way(Protocol):
    """How to get to one server. Used once."""

    async def open(self) -> Road:
        """Raises `PortError` or `OSError`. Cancellable; whatever it has begun is ended then."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody knows of a server before it is dialled."""

    way: Way | None = None
    """None: TCP, as always."""
    called: str = ""
    """The name under which its host key is remembered, where all there is otherwise is an address."""
    host_keys: tuple[str, ...] = ()
    """Its host keys (`algorithm base64`): exactly these are accepted then. Empty: known_hosts, as always."""
    told_by: str = ""
    """Who tells the keys, for messages: `the tailnet`."""


Choose = Callable[[str, int], Awaitable[Known | None]]
"""Somebody who may know a way to this name and port. None: he knows nothing, and it is done as always."""


class Plain:
    """TCP, to the name or to an address that somebody has found for it."""

    def __init__(self, address: str | None = None, *, family: int = 0, local_address: str | None = None) -> None:
        self._address, self._family, self._local = address, family, local_address
        self._host, self._port, self._seconds = "", 22, 0.0
        self.progress = Progress()

    def lead(self, host: str, port: int, seconds: float) -> None:
        """To this name (unless an address was found for it) and port, within so many seconds each for the name and the connection."""
        self._host, self._port, self._seconds = host, port, seconds

    async def open(self) -> Road:
        place = self._address or self._host
        words = {"family": self._family, "local_address": self._local}
        sock = await knock(place, self._port, self.progress, self._seconds, **words)  # type: ignore[arg-type]
        return Road({"sock": sock}, end=sock.close)


class Through:
    """A channel of the connection to the jump host before it."""

    def __init__(self, tunnel: Any) -> None:
        self._tunnel = tunnel

    async def open(self) -> Road:
        return Road({"tunnel": self._tunnel})


class Given:
    """A connected socket that somebody makes. It is ours then, and closed with the connection."""

    def __init__(self, make: Callable[[], Awaitable[socket.socket]], progress: Progress | None = None) -> None:
        """`progress`: where `make` tells how far it is."""
        self._make = make
        self.progress = progress or Progress(Stage.CONNECT)

    async def open(self) -> Road:
        made = await self._make()
        made.setblocking(False)
        return Road({"sock": made}, end=made.close)


class Command:
    """A command whose standard input and output are the stream (ProxyCommand).

    It has no terminal, so that it cannot ask over the screen, and everything that it starts ends with the connection.
    """

    def __init__(self, argv: Sequence[str], name: str = "") -> None:
        """`name`: what it is called in messages, else the command itself."""
        self._argv = list(argv)
        self._name = clean(name or argv[0], 120)

    @classmethod
    def of_shell(cls, line: str) -> Command:
        """As ssh runs a ProxyCommand: the user's shell, which gives its place to the command."""
        return cls([os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {line}"], f"ProxyCommand `{line}`")

    async def open(self) -> Road:
        ours, theirs = socket.socketpair()

        async def start() -> asyncio.subprocess.Process:
            pipe = asyncio.subprocess.PIPE
            with theirs:
                return await asyncio.create_subprocess_exec(
                    *self._argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=pipe, start_new_session=True
                )

        async def end(process: asyncio.subprocess.Process) -> None:
            _Running(process, ours, self._name).end()

        try:
            process = await children.begun(start(), end)
        except (OSError, ValueError) as error:
            ours.close()
            reason = clean(str(getattr(error, "strerror", None) or error), 200)
            raise Refused(f"the {self._name} cannot be started: {reason}", "Correct it in ssh_config.") from None
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        running = _Running(process, ours, self._name)
        return Road({"sock": ours}, end=running.end, settle=running.settle, why=running.why)


class _Running:
    """A command that carries a connection."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket, name: str) -> None:
        self._process, self._sock, self._name = process, sock, name
        self._errors: deque[bytes] = deque()
        self._hearing = _hold(asyncio.create_task(self._hear()))
        self._ended = False
        self._status: int | None = None
        """How it ended, if it did before it was told to."""

    async def settle(self) -> None:
        """It has seen the end of the stream, or has ended itself: let it say so."""
        self._sock.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
                await asyncio.shield(self._hearing)

    def why(self, label: str) -> PortError | None:
        """If the command ended, or complains, that is the reason and not what ssh made of it."""
        status, said = self._status if self._ended else self._process.returncode, self._said()
        heard = f": {said}" if said else ""
        if status in _NOT_FOUND:
            return Refused(f"the {self._name} of {label} cannot be run{heard}", "Correct it in ssh_config.")
        if status:
            how = f"ended with status {status}" if status > 0 else f"was ended by a signal ({-status})"
            advice = "Run it in a shell to see more; it has no terminal here and cannot ask."
            return Unreachable(f"the {self._name} of {label} {how}{heard}", advice)
        return Unreachable(f"the {self._name} of {label} gave no connection{heard}") if said else None

    def end(self) -> None:
        """Told to end now, with all that it started; killed after a moment."""
        if not self._ended:
            self._ended, self._status = True, self._process.returncode
            self._sock.close()
            self._signal(signal.SIGHUP)
            _hold(asyncio.create_task(self._reap()))

    async def _reap(self) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:  # also where the program ends meanwhile: it waits for this
            self._hearing.cancel()
            await children.end(self._process)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _said(self) -> Clean:
        """The last lines of its standard error, as one."""
        lines = b"".join(self._errors)[-_MAX_SAID_BYTES:].decode("utf-8", "replace").splitlines()
        return clean("; ".join([line.strip() for line in lines if line.strip()][-3:]), 400)

    async def _hear(self) -> None:
        """Read all that it says, so that it never waits for us, and keep the end."""
        assert self._process.stderr is not None
        size = 0
        while part := await self._process.stderr.read(_MAX_SAID_BYTES):
            self._errors.append(part)
            size += len(part)
            while size - len(self._errors[0]) >= _MAX_SAID_BYTES:
                size -= len(self._errors.popleft())


_tasks: set[asyncio.Task[Any]] = set()


def _hold(task: asyncio.Task[None]) -> asyncio.Task[None]:
    """Tasks that outlive whoever began them are kept from the garbage collector here."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
