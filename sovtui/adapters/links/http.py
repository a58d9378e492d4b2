"""HTTP over a link: make a client, ask, read the whole reply, and say in words what went wrong.

Must not be imported before the first paint: httpx takes a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import weakref
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from sovtui.adapters.links._http_transport import GetLink, LinkTransport
from sovtui.adapters.links.login import Login
from sovtui.core.clean import clean, clean_bytes
from sovtui.core.outside import USUAL, Most, TooMuch, document, in_words, unix
from sovtui.ports.errors import (
    HostKeyError,
    Malformed,
    NobodyListens,
    OtherProtocol,
    PortError,
    Refused,
    TimedOut,
    Unreachable,
    Unsupported,
)

MAX_BODY_BYTES = 4 << 20
"""More than any answer of an honest server to what is asked here; who asks for something larger or smaller says so."""
MAX_ADDRESSES = 100
DOORS_SHOWN = 3
DENIED_SECONDS = 90.0
"""What was denied is asked again sooner than that, or nobody wants to know it any more."""
_ABOUT_THE_WIRE = frozenset((b"content-encoding", b"content-length", b"transfer-encoding"))


def client(
    get_link: GetLink | None,
    *,
    base_url: str,
    timeout_seconds: float,
    headers: Mapping[str, str] | None = None,
    login: Login | None = None,
    ca_file: str = "",
) -> httpx.AsyncClient:
    """Make a client for one address. `get_link` gives the link of now, each time; None goes from this machine directly.

    `login` belongs to the client from here on. Redirects are not followed: nothing that is secret goes elsewhere.
    Errors of the way there are `ports.errors`, whatever httpx would raise; use `request` and `get_json` for the rest.
    """
    return _Client(
        transport=LinkTransport(get_link, base_url, login=login, ca_file=ca_file),
        base_url=base_url,
        timeout=timeout_seconds,
        headers={"accept-encoding": "gzip", **(headers or {})},
        trust_env=False,
        follow_redirects=False,
    )


async def request(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    idempotent: bool | None = None,
    timeout_seconds: float | None = None,
    max_bytes: int = MAX_BODY_BYTES,
    **words: Any,
) -> httpx.Response:
    """Ask once and read the whole reply, whatever its status. Raises `Unreachable`, `TimedOut`, `Malformed`, `Refused`.

    `timeout_seconds` is for everything together: link, connection, reply. A `POST` that only asks is `idempotent=True`.
    """
    seconds = timeout_seconds if timeout_seconds is not None else http.timeout.read or 30.0
    extensions = dict(words.pop("extensions", None) or {})
    if idempotent is not None:
        extensions["idempotent"] = idempotent
    name = f"{method} {clean(_url(http, path), 200)}"
    try:
        async with asyncio.timeout(seconds), _asked(http, method, path, extensions=extensions, timeout=None, **words) as reply:
            body = await _body(reply, max_bytes)
            login = _login(http)
            note_door(http, path, reply.status_code, reply.status_code in (401, 403))
            kept = [(k, v) for k, v in reply.headers.raw if k.lower() not in _ABOUT_THE_WIRE]
            if login is not None and not _is_answer(reply.status_code, body):
                kept = [(k, login.hide_bytes(v, "latin-1")) for k, v in kept]
                body = login.hide_bytes(body, reply.charset_encoding or "utf-8")
            return httpx.Response(
                reply.status_code,
                headers=kept,
                content=body,
                request=reply.request,
                extensions={"login": "" if login is None or login.trouble is not None else str(login)},
            )
    except _TooBig:
        raise Malformed(f"{name}{_via(http)} sends more than {in_words(max_bytes)}") from None
    except HostKeyError:
        raise
    except PortError as error:
        raise type(error)(f"{name}{_via(http)}: {error}", error.advice) from error
    except (TimeoutError, httpx.TimeoutException):
        if (login := _login(http)) is not None and login.waiting:
            raise TimedOut(f"{name}{_via(http)} was not asked: {login.waiting}") from None
        raise TimedOut(f"{name}{_via(http)} gave no answer within {seconds:g} s") from None
    except httpx.DecodingError as error:
        raise Malformed(f"{name}{_via(http)} sends a body that cannot be unpacked") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Unsupported(f"{name} is not an address that can be asked: {_quoted(http, str(error).encode(), 200)}") from error
    except httpx.RemoteProtocolError as error:
        text = _quoted(http, str(error).encode(), 200)
        if "without sending a response" in text:
            raise Unreachable(f"{name}{_via(http)} closed the connection without an answer") from error
        if "without sending complete message body" in text or "incomplete" in text:
            raise Malformed(f"{name}{_via(http)} ended in the middle of its reply") from error
        raise OtherProtocol(f"{name}{_via(http)} does not answer in HTTP: {text}", "Is the port right?") from error
    except httpx.HTTPError as error:
        raise Unreachable(
            f"{name}{_via(http)} failed: {_quoted(http, str(error).encode(), 200) or type(error).__name__}"
        ) from error


async def _body(reply: httpx.Response, max_bytes: int) -> bytes:
    """Unpacked here, a piece at a time: a few kilobytes may stand for gigabytes, and httpx would make them all before it tells."""
    if reply.is_stream_consumed:
        if len(reply.content) > max_bytes:
            raise _TooBig
        return reply.content
    packed = reply.headers.get("content-encoding", "identity").strip().lower()
    if packed not in _UNPACKED:
        raise httpx.DecodingError(f"it is packed as {packed}")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed != "identity" else None
    body = bytearray()
    try:
        async for part in reply.aiter_raw():
            body += part if unpack is None else unpack.decompress(part, max_bytes + 1 - len(body))
            if len(body) > max_bytes or (unpack is not None and unpack.unconsumed_tail):
                raise _TooBig
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error
    if unpack is not None and body and not unpack.eof:
        raise httpx.DecodingError("it ends in the middle")
    return bytes(body)


_UNPACKED = ("identity", "gzip", "x-gzip", "deflate")


async def get_json(http: httpx.AsyncClient, path: str, *, method: str = "GET", most: Most = USUAL, **words: Any) -> Any:
    """The JSON of a reply with status 2xx. Other statuses are errors too: 401 and 403 `Refused`, 404, 405 and 501
    `Unsupported`, 502 to 504 `Unreachable`, the rest `Malformed`.
    """
    reply = await request(http, method, path, max_bytes=most.bytes, **words)
    check(http, reply)
    return json_of(http, reply, most)


def check(http: httpx.AsyncClient, reply: httpx.Response) -> None:
    """Raise what `get_json` would for the status of `reply`."""
    if reply.is_success:
        return
    name = f"{reply.request.method} {clean(str(reply.request.url).split('?', 1)[0], 200)}{_via(http)}"
    body = "" if _is_html(reply) else _quoted(http, reply.content, 200)
    message = f"{name} answers {reply.status_code}{f': {body}' if body else ''}"
    if reply.status_code in (401, 403, 407):
        raise Refused(message, login_advice(reply))
    if reply.status_code in (404, 405, 501):
        raise Unsupported(message, "Is the address right, with its path prefix?")
    if reply.status_code in (502, 503, 504):
        raise Unreachable(message)
    if 300 <= reply.status_code < 400:
        where = _quoted(http, reply.headers.get("location", "elsewhere").encode(), 200)
        raise Malformed(f"{name} sends us on to {where}", "Write that address in the configuration.")
    raise Malformed(message)


def heard_at(http: httpx.AsyncClient) -> float:
    """Monotonic time when the last byte came from the one that is asked; minus infinity where that is not known."""
    return http.link_transport.heard_at if isinstance(http, _Client) else -math.inf


async def reach(http: httpx.AsyncClient, seconds: float) -> bool:
    """Wait until there is a link to ask over; False of a client that has none of ours. Raises the errors of the ports where it is down."""
    if not isinstance(http, _Client):
        return False
    await http.link_transport.reach(seconds)
    return True


def waiting(http: httpx.AsyncClient) -> str:
    """What has to be waited for before anything can be asked, in words: a command that tells its login. Empty: nothing."""
    login = _login(http)
    return login.waiting if login is not None else ""


async def knock(http: httpx.AsyncClient, seconds: float) -> bool | None:
    """Whether its port takes a connection now; nothing is asked. None of a client that has no way of its own to knock.

    Raises `Unreachable` where the connection is neither taken nor refused, `TimedOut` among them, `Refused` where we are not let through.
    """
    if not isinstance(http, _Client):
        return None
    try:
        await http.link_transport.knock(seconds)
    except NobodyListens:
        return False
    except TimeoutError:
        raise TimedOut(f"{http.base_url} took no connection within {seconds:g} s") from None
    return True


def is_loopback(http: httpx.AsyncClient) -> bool:
    """Whether what is asked runs on the host itself: there a connection is taken or refused at once, unless the queue is full."""
    host = http.base_url.host
    return host in ("localhost", "::1") or host.startswith("127.")


def denied(http: httpx.AsyncClient, key_opens: str = "") -> str:
    """What of the one that is asked is closed to us, and why, as a sentence with what to do; empty: nothing that was asked lately.

    `key_opens`: a path that nobody is told without a key. Where it is open the key is good, though it may not open everything.
    """
    login = _login(http)
    if login is not None and login.trouble is not None:
        return login.trouble.sentence()
    since = time.monotonic() - DENIED_SECONDS
    turn = login.turn if login is not None else 0
    told = {
        path: (status, shut) for path, (status, at, asked, shut) in _DOORS.get(http, {}).items() if at > since and asked == turn
    }
    some = sorted(path for path, (_, shut) in told.items() if shut)
    if not some or 200 <= told.get(key_opens, (0, False))[0] < 300:
        return ""
    status = told[some[0]][0]
    more = " and more" if len(some) > DOORS_SHOWN else ""
    where = f"{', '.join(some[:DOORS_SHOWN])}{more} {'answers' if len(some) == 1 else 'answer'} {status}"
    if login is not None and str(login):
        return f"its key is refused: {where} to {login}. Put the right key there"
    if status == 403:
        return f"it does not let us in: {where}. Give it a `bearer` if it wants a key"
    return f"it wants an API key: give it a `bearer` ({where})"


def forget_denied(http: httpx.AsyncClient) -> None:
    """It is another process now: what was closed may be open."""
    _DOORS.pop(http, None)


_DOORS: weakref.WeakKeyDictionary[httpx.AsyncClient, dict[str, tuple[int, float, int, bool]]] = weakref.WeakKeyDictionary()
"""What each path answered last: status, monotonic time, which login it was asked with, and whether that closes it; by who asks."""


def note_door(http: httpx.AsyncClient, path: str, status: int, is_closed: bool) -> None:
    """Remember whether this path is closed to us. 401 and 403 are noted by `request`; some engines say it with another status."""
    known = _DOORS.setdefault(http, {})
    path = path.split("?", 1)[0]
    if path not in known and len(known) >= MAX_ADDRESSES:
        known.clear()
    login = _login(http)
    known[path] = (status, time.monotonic(), login.turn if login is not None else 0, is_closed)


def date_of(header: str) -> datetime | None:
    """What the header `Date` says; None where it says nothing, or what no calendar has."""
    try:
        told = parsedate_to_datetime(header).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return unix(told.timestamp())


def login_advice(reply: httpx.Response) -> str:
    """What to do about a 401 or 403."""
    carried = reply.extensions.get("login", "")
    if carried:
        return f"It does not accept {carried}."
    return "It wants a login: set `user` and `password`, `bearer` or `headers` in the configuration."


def json_of(http: httpx.AsyncClient, reply: httpx.Response, most: Most = USUAL) -> Any:
    """The JSON in `reply`, whatever its status. Raises `Malformed`."""
    try:
        return document(reply.content, most)
    except TooMuch as error:
        raise Malformed(f"{_named(http, reply)} tells too much: {error}") from None
    except ValueError:
        name = _named(http, reply)
        if _is_html(reply):
            raise Malformed(f"{name} answers with a web page, not JSON", "Is the address right, with its path prefix?") from None
        began = _quoted(http, reply.content, 80) or "nothing"
        raise Malformed(f"{name} does not answer in JSON: {began}", "Is the address right?") from None


QUOTED_BYTES = 4000


def _named(http: httpx.AsyncClient, reply: httpx.Response) -> str:
    return f"{reply.request.method} {clean(str(reply.request.url).split('?', 1)[0], 200)}{_via(http)}"


class _TooBig(Exception):
    pass


class _Client(httpx.AsyncClient):
    def __init__(self, *, transport: LinkTransport, **words: Any) -> None:
        super().__init__(transport=transport, **words)
        self.link_transport = transport
        self.addresses: dict[str, str] = {}
        """What errors call the paths asked so far; the same few are asked every second."""
        self._requests: dict[object, httpx.Request] = {}
        """Those made so far, for the same reason: one can be sent any number of times."""

    @contextlib.asynccontextmanager
    async def ask(self, method: str, path: str, **words: Any) -> AsyncGenerator[httpx.Response, None]:
        """As `stream`, without what is none of ours and takes as long as the rest: cookies, redirects, other logins, hooks."""
        request = self._request(method, path, words)
        reply = await self.link_transport.handle_async_request(request)
        reply.request = request
        try:
            yield reply
        finally:
            await reply.aclose()

    def _request(self, method: str, path: str, words: Mapping[str, Any]) -> httpx.Request:
        parts = ((name, tuple(value.items()) if isinstance(value, Mapping) else value) for name, value in words.items())
        key = (method, path, *parts)
        try:
            found = self._requests.get(key)
        except TypeError:  # something in it may change
            return self.build_request(method, path, **words)
        if found is None:
            if len(self._requests) >= MAX_ADDRESSES:
                self._requests.clear()
            found = self._requests[key] = self.build_request(method, path, **words)
        return found


def _asked(http: httpx.AsyncClient, method: str, path: str, **words: Any) -> AbstractAsyncContextManager[httpx.Response]:
    return http.ask(method, path, **words) if isinstance(http, _Client) else http.stream(method, path, **words)


def _via(http: httpx.AsyncClient) -> str:
    via = http.link_transport.via if isinstance(http, _Client) else ""
    return f" via {via}" if via else ""


def _login(http: httpx.AsyncClient) -> Login | None:
    return http.link_transport.login if isinstance(http, _Client) else None


def _quoted(http: httpx.AsyncClient, data: bytes, limit: int) -> str:
    """What it says, for a message: secrets are looked for once more in what is shown, since cleaning may have put one together."""
    text, login = clean_bytes(data[:QUOTED_BYTES], QUOTED_BYTES), _login(http)
    if login is not None:
        text = clean(login.hide(text), QUOTED_BYTES)
        if len(data) > QUOTED_BYTES:
            text = clean(text[: max(0, len(text) - 6 * login.longest)], QUOTED_BYTES)  # its end may be a part of one
    return clean(text, limit)


def _is_answer(status: int, body: bytes) -> bool:
    """Whether this is data, not something that a message would quote."""
    return 200 <= status < 300 and body[:100].lstrip()[:1] in (b"{", b"[")


def _url(http: httpx.AsyncClient, path: str) -> str:
    known = http.addresses if isinstance(http, _Client) else {}
    if path not in known:
        if len(known) >= MAX_ADDRESSES:
            known.clear()
        known[path] = str(http.build_request("GET", path).url).split("?", 1)[0]
    return known[path]


def _is_html(reply: httpx.Response) -> bool:
    return "html" in reply.headers.get("content-type", "") or reply.content[:64].lstrip().lower().startswith(
        (b"<!doctype", b"<html")
    )
