"""One run of the on-box part over a link: its lines are told from everything else that comes, and that is shown.

A login shell, its start-up files and a forced command write to the same standard output: before our lines, between them, after them,
with or without a line break. Each of ours begins with a marker of its run that nobody can guess, and counts wherever it stands. Nothing
is sent before the on-box part has said that it is there, so that no start-up file reads it; where one waits for input, standard
input is closed at once and the request goes with the command. Without the last line that says so, no answer is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sovtui.core import outside
from sovtui.core.clean import clean
from sovtui.onbox.plan import without_values
from sovtui.ports.errors import AnswerLost, PortError, TimedOut, Unreachable, Unsupported
from sovtui.ports.link import Completed, LineStream, Link, Patience, Telling
from sovtui.runtime import bundle

READY_SECONDS = 3.0
"""How long a login shell and Python may take to start, beside the link's own time, before it is tried without standard input."""
ENCLOSED_SECONDS = 25.0
"""The same without standard input: the second and last try."""
AFTERWARDS_SECONDS = 0.2
"""How long it is listened to what comes after our last line."""
MAX_SHOWN = 20
"""Lines of a login shell that are shown per link."""
MAX_SHOWN_CHARACTERS = 200
MOST = outside.Most(bytes=1 << 20, items=60_000)
"""Of one line of ours."""
RESULT_SECONDS = 5.0
"""How long a command whose output has ended may take to say how it ended."""
_ECHOED = 40
_IN_ERRORS = 3
_NO_PYTHON = re.compile(r"python3\b.*(not found|no such file)|unknown command.*python3|not found: python3", re.IGNORECASE)


class NotBegun(TimedOut):
    """No command begins there: a start-up file waits for something. Nothing was sent."""


class _Deaf(AnswerLost):
    """Nothing was read, so nothing was done."""


@dataclass
class _Shell:
    """What is known of a link's login shell."""

    reads_input: bool = False
    shown: set[str] = field(default_factory=set)


_shells: weakref.WeakKeyDictionary[Link, _Shell] = weakref.WeakKeyDictionary()


def _shell(link: Link) -> _Shell:
    return _shells.setdefault(link, _Shell())


def python_for(link: Link) -> str:
    """The Python that runs the on-box part there."""
    return sys.executable if link.kind == "local" else "python3"


class Frames:
    """Tells our lines from the others, which are the banner."""

    def __init__(self, link: Link, marker: bytes) -> None:
        self._link, self._marker, self._word = link, marker, marker[1:]
        self.began = False
        """It runs: one line of ours has come."""
        self.deaf = False
        """It runs, but its standard input was closed before anything could be sent."""
        self.status: int | None = None
        """Of the on-box part, once it has said its last line."""
        self.broken = False
        """A line of ours came that cannot be read: something was written into the middle of it."""
        self.banner: list[str] = []
        self.unread = 0
        """Lines that are not ours and were not even looked at: enough of them is known."""

    def take(self, raw: bytes) -> dict[str, Any] | None:
        """One line of standard output: what the on-box part says in it, if anything."""
        before, found, after = raw.partition(self._marker)
        self.hear(before)
        if not found:
            return None
        self.began = True
        try:
            line = outside.document(after, MOST)
            kind = line["t"]
            status = line["status"] if kind == "over" else 0
        except (ValueError, TypeError, LookupError):
            self.broken = True
            return None
        if not isinstance(line, dict) or not isinstance(kind, str) or not isinstance(status, int):
            self.broken = True
            return None
        if kind == "over":
            self.status = status
        self.deaf = self.deaf or kind == "deaf"
        return line if kind not in ("ready", "deaf", "over") else None

    def hear(self, written: bytes) -> None:
        """Something that is not ours."""
        if len(self.banner) >= MAX_SHOWN:
            self.unread += bool(written)
            return
        if self._word in written:
            written = written[:_ECHOED] + "…".encode()  # our own command, as somebody prints it
        text = clean(written[: 16 * MAX_SHOWN_CHARACTERS].decode("utf-8", "replace").strip(), MAX_SHOWN_CHARACTERS)
        if not text:
            return
        self.banner.append(text)
        # Every command starts the login shell anew: the same is said again and again, perhaps with another time in it.
        shown, gist = _shell(self._link).shown, re.sub(r"\d+", "0", text)
        if gist not in shown and len(shown) < MAX_SHOWN and isinstance(self._link, Telling) and self._link.on_banner:
            shown.add(gist)
            self._link.on_banner(text)


class Exchange:
    """One run that has said that it is there. `lines` is to be read once."""

    def __init__(self, link: Link, stream: LineStream, call: bundle.Call, verb: str) -> None:
        self._host, self._verb, self._stream = link.host, verb, stream
        self._frames = Frames(link, call.marker)
        self._raw = stream.lines()
        self._first: list[dict[str, Any]] = []
        self.takes_input = bool(call.head)

    @property
    def unread(self) -> int:
        """Lines of somebody else that nobody looked at."""
        return self._frames.unread

    async def ready(self, seconds: float) -> bool:
        """Wait for its first word. False where none comes in time or it cannot hear us. Raises `Unsupported`, `PortError` if it does not run."""
        frames = self._frames
        try:
            async with asyncio.timeout(seconds):
                while not frames.began:
                    try:
                        line = frames.take(await anext(self._raw))
                    except StopAsyncIteration:
                        raise await self._not_run() from None
                    if line is not None:
                        self._first.append(line)
        except TimeoutError:
            return False
        return not frames.deaf

    async def give(self, data: bytes) -> None:
        """To its standard input."""
        await self._stream.write(data)

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """What it says, to the end. Raises `AnswerLost` where that does not come, `PortError` with its own words."""
        for line in self._first:
            yield self._checked(line)
        frames = self._frames
        async for raw in self._raw:
            said = frames.take(raw)
            if said is not None:
                yield self._checked(said)
            if frames.status is not None:
                break
        if frames.deaf:
            raise _Deaf(f"standard input was closed before the on-box part on {self._host} could read it")
        if frames.status is None:
            raise await self._cut_off()
        with contextlib.suppress(TimeoutError, PortError):
            async with asyncio.timeout(AFTERWARDS_SECONDS):
                async for raw in self._raw:
                    frames.take(raw)
        if frames.broken:
            raise AnswerLost(f"a part of the answer of {self._host} to `{self._verb}` cannot be read")
        if frames.status:
            raise PortError(f"the on-box part ended with status {frames.status} on {self._host}")

    @staticmethod
    def _checked(line: dict[str, Any]) -> dict[str, Any]:
        if line["t"] == "error":
            raise PortError(clean(outside.text(line.get("reason")) or "the box gave no reason"))
        return line

    async def _result(self) -> Completed:
        """How it ended, as far as that is told: its output has ended, but it may hold the rest open for ever."""
        try:
            async with asyncio.timeout(RESULT_SECONDS):
                return await self._stream.result()
        except TimeoutError:
            raise AnswerLost(f"`{self._verb}` on {self._host} closed its output and does not end") from None

    async def _cut_off(self) -> PortError:
        result = await self._result()
        why = last_words(result.stderr) or f"the command ended with status {result.exit_status}"
        return AnswerLost(f"the answer of {self._host} to `{self._verb}` broke off: {why}")

    async def _not_run(self) -> PortError:
        """Something stands between the login and the command: a forced command, a restricted shell, no Python."""
        result = await self._result()
        told = last_words(result.stderr)
        if result.exit_status == 127 or _NO_PYTHON.search(told):
            return Unsupported(f"python3 was not found on {self._host}", "Install it there: nothing else is needed")
        how = f"it ended with status {result.exit_status}" if result.exit_status else "something else answered"
        said = "; ".join(word for word in (told, *self._frames.banner[:_IN_ERRORS]) if word) or "no message"
        advice = (
            "Does its sshd let this login run commands? Look at ForceCommand, command= in authorized_keys and the login shell."
        )
        return PortError(f"the on-box part does not run on {self._host}: {how}: {said}", advice)

    def silent(self, seconds: float) -> NotBegun:
        said = "; ".join(self._frames.banner[:_IN_ERRORS])
        advice = "Does a start-up file of its login shell wait for something? `ssh` with a command must come to an end there."
        return NotBegun(f"no command begins on {self._host} within {seconds:g} s{f': {said}' if said else ''}", advice)


def last_words(errors: bytes) -> str:
    """The end of what a command wrote to standard error, clean; of a Python that died its last line only."""
    text = errors.decode("utf-8", "replace").strip()
    if "Traceback (most recent call last)" in text:
        text = text.rpartition("\n")[2]
    return clean(text[-300:])


@asynccontextmanager
async def exchange(
    link: Link, verb: str, request: Mapping[str, Any] | None, patience: Patience = Patience.NONE
) -> AsyncIterator[Exchange]:
    """Begin a run and give it its request; without one (None) it is ready for it, and `give` gives it.

    Raises `Unreachable` if the link dies, `NotBegun` if no command begins there, `Unsupported` without python3 there, `PortError` where it
    does not run. In none of these cases has anything been sent.
    """
    python, shell = python_for(link), _shell(link)
    if not shell.reads_input:
        call = await asyncio.to_thread(bundle.call, verb, python)
        async with link.stream(call.argv, patience=patience) as stream:
            run = Exchange(link, stream, call, verb)
            if await run.ready(READY_SECONDS + 4 * (link.latency_seconds or 0.0)):
                with contextlib.suppress(Unreachable):  # it may have ended already: what it says then tells more
                    await run.give(call.head + (bundle.request_line(request) if request is not None else b""))
                yield run
                return
    if request is None or without_values(request) != request:
        what = "values of `switch_env` are not sent: others there could read them" if request is not None else "nothing stands by"
        advice = "Let its start-up files leave standard input alone when no terminal is there."
        raise PortError(f"the login shell on {link.host} reads standard input before a command begins; {what}", advice)
    call = await asyncio.to_thread(bundle.enclosed, verb, request, python)
    async with link.stream(call.argv, patience=patience, ends=True) as stream:
        run = Exchange(link, stream, call, verb)
        if not await run.ready(ENCLOSED_SECONDS):
            raise run.silent(ENCLOSED_SECONDS)
        shell.reads_input = True
        yield run


async def lines(
    link: Link,
    verb: str,
    request: Mapping[str, Any],
    patience: Patience = Patience.NONE,
    opened: Callable[[Exchange], None] | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """The lines of one run, until it ends or the generator is closed. `opened` gets the run.

    Raises what `exchange` and `Exchange.lines` raise.
    """
    for last in (False, True):
        try:
            async with exchange(link, verb, request, patience) as run, aclosing(run.lines()) as told:
                if opened is not None:
                    opened(run)
                async for line in told:
                    yield line
            return
        except _Deaf:
            if last:
                raise
            _shell(link).reads_input = True
