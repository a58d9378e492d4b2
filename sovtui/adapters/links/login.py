"""Who asks: the headers of a configured login. Its secrets are fetched when a request first needs them and again after a 401.

What was fetched stays in here: it is in no request object, message, log line or `repr`. Imports no HTTP library.
An engine tells some things to everybody: it is asked without its key too, where that is not available (`optional`).
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from sovtui.adapters import children
from sovtui.config.login import LoginConfig, secrets_of
from sovtui.config.schema import Secret
from sovtui.core.clean import clean
from sovtui.onbox.hiding import SHORT, Hider
from sovtui.ports.clock import Clock
from sovtui.ports.errors import PortError, Refused

COMMAND_SECONDS = 10.0
AGAIN_SECONDS = 60.0
"""A login that was refused, and a command that failed, are fetched once more after this long."""
LOOK_AGAIN_SECONDS = 5.0
"""The same for one that is asked without its login meanwhile, where no command has to be run for it."""
MAX_BYTES = 1 << 16
_HIDDEN = "[hidden]"
MOST_DECODED = 1 << 16
"""Bytes of a reply in which every way to write a secret is looked for; in a longer one, only the secret as it is."""


class Login:
    """The login of one source. `headers` waits for its secrets; the rest answers at once."""

    def __init__(
        self,
        place: str,
        settings: LoginConfig,
        clock: Clock,
        environment: Mapping[str, str] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        """`place` is the table of the configuration, for messages. `optional`: without its secrets it is asked all the same."""
        self._place, self._settings, self._clock = place, settings, clock
        self._optional = optional
        self.trouble: PortError | None = None
        """Of an optional one: why its secrets are not available."""
        self.turn = 0
        """Counts the logins that were fetched: what was said to an earlier one says nothing of this one."""
        self._looked_at = -math.inf
        self._environment = os.environ if environment is None else environment
        self._fetching: asyncio.Task[_Carried] | None = None
        self._carried: _Carried | None = None
        self._renewed_at: float | None = None
        self._failed: tuple[float, PortError] | None = None
        """When fetching failed, and how: a command is not run again at every poll."""

    def __str__(self) -> str:
        """What is carried, in words: `user `ops` with the password from the file ~/x`. Empty: nothing secret."""
        settings, parts = self._settings, []
        if settings.password is not None:
            parts.append(f"user `{settings.user}` with the password from {settings.password}")
        if settings.bearer is not None:
            parts.append(f"the token from {settings.bearer}")
        parts += [f"the header {name} from {v}" for name, v in settings.headers.items() if isinstance(v, Secret)]
        return clean(" and ".join(parts), 200)

    def __repr__(self) -> str:
        return f"<Login of [{self._place}]>"

    @property
    def waiting(self) -> str:
        """What is being waited for, in words; empty: nothing."""
        slow = ", ".join(str(secret) for _, secret in secrets_of(self._settings) if secret.command)
        running = self._fetching is not None and not self._fetching.done()
        return clean(f"{slow}, which provides the login of [{self._place}], has not finished", 300) if running and slow else ""

    async def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers to send. Raises `Refused` where a secret is not available, naming the reference; an optional login is none then."""
        if not self._optional:
            return await self._headers()
        if self.trouble is not None and self._clock.monotonic() - self._looked_at < LOOK_AGAIN_SECONDS:
            return ()
        self._looked_at = self._clock.monotonic()
        try:
            found = await self._headers()
        except PortError as error:
            self.trouble = error
            return ()
        self.trouble = None
        return found

    async def _headers(self) -> tuple[tuple[bytes, bytes], ...]:
        if self._carried is None:
            if self._failed is not None and self._clock.monotonic() - self._failed[0] < AGAIN_SECONDS:
                raise type(self._failed[1])(str(self._failed[1]), self._failed[1].advice)
            await self._fetch()
        assert self._carried is not None
        return self._carried.headers

    async def renew(self, refused: tuple[tuple[bytes, bytes], ...]) -> bool:
        """After a 401 for these headers: whether there are others now. Looks at most once in `AGAIN_SECONDS`."""
        if self._carried is not None and self._carried.headers != refused:
            return True  # another request has renewed them meanwhile
        now = self._clock.monotonic()
        if not str(self) or self.trouble is not None:
            return False
        if self._renewed_at is not None and now - self._renewed_at < self._again_seconds:
            return False
        self._renewed_at = now
        try:
            await self._fetch()
        except PortError:
            if not self._optional:
                raise
            return False
        assert self._carried is not None
        return self._carried.headers != refused

    @property
    def _again_seconds(self) -> float:
        costly = any(secret.command for _, secret in secrets_of(self._settings))
        return LOOK_AGAIN_SECONDS if self._optional and not costly else AGAIN_SECONDS

    def hide(self, text: str) -> str:
        """`text` without the secrets, should a server send them back, however it writes them."""
        return self._carried.hide(text) if self._carried is not None else text

    def hide_bytes(self, body: bytes, encoding: str = "utf-8") -> bytes:
        """The same of a body or a header; where something is hidden the result is in UTF-8."""
        if self._carried is None:
            return body
        if len(body) > MOST_DECODED:
            for word in self._carried.secrets:
                body = body.replace(word, _HIDDEN.encode())
            return body
        try:
            text = body.decode(encoding, "surrogateescape")
        except (LookupError, ValueError):
            text = body.decode("utf-8", "surrogateescape")
        hidden = self._carried.hide(text)
        return body if hidden == text else hidden.encode("utf-8", "surrogateescape")

    @property
    def longest(self) -> int:
        """Of the longest secret, in characters."""
        return self._carried.hide.longest if self._carried is not None else 0

    async def aclose(self) -> None:
        task, self._fetching = self._fetching, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _fetch(self) -> None:
        """Once for all that wait, and to its end though a request that waits is given up: the next one finds it."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._all())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    def _fetched(self, task: asyncio.Task[_Carried]) -> None:
        self._fetching = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            found, old = task.result(), self._carried
            self.turn += old is None or old.headers != found.headers
            self._carried, self._failed = found, None
        elif isinstance(error, PortError) and any(secret.command for _, secret in secrets_of(self._settings)):
            self._failed = (self._clock.monotonic(), error)

    async def _all(self) -> _Carried:
        settings = self._settings
        headers = [(name, value) for name, value in settings.headers.items() if isinstance(value, str)]
        found = {what: await self._one(what, secret) for what, secret in secrets_of(settings)}
        hidden = list(found.values())
        for name, value in settings.headers.items():
            if isinstance(value, Secret):
                headers.append((name, _header_text(self._said(f"headers.{name}", value), found[f"headers.{name}"])))
        if settings.bearer is not None:
            headers.append(("Authorization", f"Bearer {_header_text(self._said('bearer', settings.bearer), found['bearer'])}"))
        if settings.password is not None:
            basic = base64.b64encode(f"{settings.user}:{found['password']}".encode()).decode()
            headers.append(("Authorization", f"Basic {basic}"))
            hidden.append(basic)
        return _Carried(tuple((name.encode(), value.encode()) for name, value in headers), hidden)

    def _said(self, what: str, secret: Secret) -> str:
        return clean(f"the {what} of [{self._place}] from {secret}", 300)

    async def _one(self, what: str, secret: Secret) -> str:
        """The first line of what a reference leads to."""
        said = self._said(what, secret)
        if secret.command:
            text = await _run(secret.command, said, self._environment)
        elif secret.file:
            text = await asyncio.to_thread(_read, secret.file, said)
        else:
            told = self._environment.get(secret.env)
            if told is None:
                raise Refused(f"{said} is not available: it is not set", "Set it where sovtui is started.")
            text = told
        line = (text.splitlines() or [""])[0].strip()
        if not line:
            raise Refused(f"{said} is empty")
        return line


class _Carried:
    """Headers and the words in them that must not be seen. Says nothing of itself."""

    __slots__ = ("headers", "hide", "secrets")

    def __init__(self, headers: tuple[tuple[bytes, bytes], ...], secrets: Sequence[str]) -> None:
        self.headers, self.hide = headers, Hider(secrets, _HIDDEN)
        self.secrets = sorted((word.encode() for word in secrets if len(word) > SHORT), key=len, reverse=True)

    def __repr__(self) -> str:
        return "<hidden>"


def _header_text(said: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise Refused(f"{said} holds characters that no header can carry")
    return text


def _read(file: str, said: str) -> str:
    try:
        path = Path(file).expanduser()
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refused(f"{said} is not available: it is not a plain file")
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise Refused(f"{said} is not available: no such file") from None
    except UnicodeDecodeError:
        raise Refused(f"{said} is not text") from None
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{said} is not available: {clean(str(why).lower(), 100)}") from None


def _program(word: str) -> str:
    return str(Path(word).expanduser()) if word.startswith("~") else word


async def _run(argv: tuple[str, ...], said: str, environment: Mapping[str, str]) -> str:
    """What a command prints. It has no terminal to ask on, and all it started ends with it."""
    quiet = {name: value for name, value in environment.items() if name != "GPG_TTY"}  # or it would ask over the screen
    try:
        none, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        process = await children.start((_program(argv[0]), *argv[1:]), stdin=none, stdout=pipe, stderr=none, env=quiet)
    except FileNotFoundError:
        raise Refused(f"{said} is not available: there is no such program") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise Refused(f"{said} is not available: {clean(str(getattr(error, 'strerror', '') or error).lower(), 100)}") from None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            told = await _first_bytes(process.stdout)
            code = await process.wait()
    except TimeoutError:
        raise Refused(
            f"{said} is not available: it did not finish within {COMMAND_SECONDS:g} s", "It has no terminal: it must not ask."
        ) from None
    finally:
        await children.end(process)
    if code:
        how = f"it ended with {code}" if code > 0 else f"a signal ended it ({-code})"
        raise Refused(f"{said} is not available: {how}", "Run it in a shell to see why; it has no terminal here.")
    return told.decode("utf-8", "replace")


async def _first_bytes(stream: asyncio.StreamReader) -> bytes:
    """To its end, of which only the first part is kept."""
    told = b""
    while part := await stream.read(MAX_BYTES):
        told = (told + part)[:MAX_BYTES]
    return told
