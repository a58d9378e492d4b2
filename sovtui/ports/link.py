"""How a host is reached. Everything to a host goes through its one link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

from sovtui.core.clean import Clean
from sovtui.core.reach import Evidence


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command. A lost connection is never a Completed: it raises `Unreachable`."""

    exit_status: int
    """As a shell tells it: negative signal numbers for a killed one."""
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """Something only the operator can answer while a link is being made."""

    kind: str
    """`host-key` (answer yes or no), `secret` (a passphrase or password), `shown` (an answer that may be seen while it is typed),
    `approval` (no answer: it is cancelled once the login was approved at `url`; None ends the login)."""
    title: str
    text: str
    """Clean; may have several lines."""
    url: str = ""
    """Where a login is approved: to be opened in a browser, anywhere."""


Ask = Callable[[Question], Awaitable[str | None]]
"""Answers a question: `yes`, the secret, or None to refuse. Headless use passes None instead of a callable: never asked."""


Tell = Callable[[Clean], None]
"""Takes one line that the operator should see."""


class Patience(IntEnum):
    """Who makes way where a host gives few sessions: the higher before the lower."""

    NONE = 0
    """Somebody waits for it: it never makes way."""
    FOLLOWS = 1
    """Shows an action as it goes on; it is followed again."""
    WATCHES = 2
    """Live figures."""
    READS = 3
    """A log beside other things."""
    STANDS_BY = 4


class ByteStream(Protocol):
    """A two-way byte stream to a port on the host."""

    async def read(self, max_bytes: int) -> bytes:
        """Up to `max_bytes`; empty at the end. Raises `Unreachable` if the link dies."""
        ...

    async def write(self, data: bytes) -> None: ...

    def readable_or_closed(self) -> bool:
        """True if a kept-open stream must not be reused: the other side has closed it or sent something unasked."""
        ...

    async def aclose(self) -> None: ...


class LineStream(Protocol):
    """The standard output of a running command, line by line (without the line break)."""

    def lines(self) -> AsyncIterator[bytes]:
        """Ends when the command ends; raises `Unreachable` if the link dies. A line over 1 MiB is cut."""
        ...

    async def write(self, data: bytes) -> None:
        """More for its standard input. Raises `Unreachable` if the link or the command is gone."""
        ...

    async def result(self) -> Completed:
        """Exit status and standard error (last 8 KiB) after `lines` has ended; `stdout` is empty."""
        ...


class Link(Protocol):
    """One connection to one host. Not reusable after it is closed or lost: the supervisor makes a new one."""

    @property
    def host(self) -> str: ...

    @property
    def kind(self) -> str:
        """`ssh`, `local` or `demo`."""
        ...

    @property
    def latency_seconds(self) -> float | None:
        """Round trip of the last keepalive or command, if measured."""
        ...

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float) -> Completed:
        """Run one command. `argv` is quoted here and nowhere else. Raises `Unreachable`, `TimedOut`."""
        ...

    def stream(
        self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE
    ) -> AbstractAsyncContextManager[LineStream]:
        """Run a command and follow its output.

        Where the host gives few sessions, one with `patience` may be ended for the sake of another, and may get none: it
        raises `Unreachable`, which says so, and may be begun again.

        Its standard input stays open after `stdin` was written, unless it `ends` there, and is closed on leaving the context: the
        command must watch it and end (see `onbox.main`), because closing a channel does not kill a remote command.
        """
        ...

    async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
        """Connect to `host:port` as seen from this host. Raises `Unreachable` (refused, no such name), `TimedOut`."""
        ...

    async def wait_lost(self) -> str:
        """Return the reason once the connection is lost or closed."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Fragile(Protocol):
    """What a link over a network can do besides."""

    @property
    def loss(self) -> Evidence | None:
        """How it was lost; None while it is not."""
        ...

    @property
    def own_address(self) -> str:
        """This machine's address that the connection was made from; empty if that is not known."""
        ...

    def check(self) -> None:
        """Ask now whether the other side is still there: if not, `wait_lost` says so within some two seconds."""
        ...

    def abandon(self) -> None:
        """The connection cannot live any more, its own address is gone: lost at once."""
        ...


@runtime_checkable
class Underway(Protocol):
    """What a dialer over a network can do besides."""

    @property
    def seen(self) -> Evidence | None:
        """How far the dial under way has come and how long it has been waiting there; None while none is, or somebody is asked."""
        ...


class Dialer(Protocol):
    """Makes links to one host. One per host; found by the `link` word of the configuration."""

    @property
    def kind(self) -> str: ...

    @property
    def address(self) -> str:
        """What the operator calls the place, for messages."""
        ...

    async def dial(self, ask: Ask | None) -> Link:
        """Connect. Raises `Unreachable`, `Refused`, `HostKeyError`. Cancellable."""
        ...


@runtime_checkable
class Telling(Protocol):
    """Passes on what is said: a dialer while it logs in (banners of the server, what it could not take into account), a link
    what a login shell writes beside the answers of commands."""

    on_banner: Tell | None
