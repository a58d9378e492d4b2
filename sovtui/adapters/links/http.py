"""HTTP over a link: httpx on a pool of httpcore whose network is the link's TCP streams.

Must not be imported before the first paint: httpx takes a while.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, cast

import httpcore
import httpx

from sovtui.adapters.links._tcp import open_tcp
from sovtui.core.clean import clean, clean_bytes
from sovtui.ports.errors import HostKeyError, Malformed, PortError, Refused, TimedOut, Unreachable, Unsupported
from sovtui.ports.link import ByteStream, Link

MAX_BODY_BYTES = 16 << 20
MAX_CONNECTIONS = 32
KEEPALIVE_SECONDS = 300.0
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS"))

GetLink = Callable[[], Awaitable[Link]]


def client(
    get_link: GetLink | None, *, base_url: str, timeout_seconds: float, headers: Mapping[str, str] | None = None
) -> httpx.AsyncClient:
    """Make a client for one address. `get_link` gives the link of now, each time; None goes from this machine directly.

    Errors of the way there are `ports.errors`, whatever httpx would raise; use `request` and `get_json` for the rest.
    """
    return _Client(
        transport=LinkTransport(get_link, secure=base_url.startswith("https:")),
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
        async with asyncio.timeout(seconds), http.stream(method, path, extensions=extensions, timeout=None, **words) as reply:
            parts: list[bytes] = []
            size = 0
            async for part in reply.aiter_bytes():
                size += len(part)
                if size > max_bytes:
                    raise _TooBig
                parts.append(part)
            kept = [(k, v) for k, v in reply.headers.raw if k.lower() not in _ABOUT_THE_WIRE]
            return httpx.Response(reply.status_code, headers=kept, content=b"".join(parts), request=reply.request)
    except _TooBig:
        raise Malformed(f"{name}{_via(http)} sends more than {max_bytes >> 20} MiB") from None
    except HostKeyError:
        raise
    except PortError as error:
        raise type(error)(f"{name}{_via(http)}: {error}", error.advice) from error
    except (TimeoutError, httpx.TimeoutException):
        raise TimedOut(f"{name}{_via(http)} gave no answer within {seconds:g} s") from None
    except httpx.DecodingError as error:
        raise Malformed(f"{name}{_via(http)} sends a body that cannot be unpacked") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Unsupported(f"{name} is not an address that can be asked: {clean(str(error), 200)}") from error
    except httpx.RemoteProtocolError as error:
        text = clean(str(error), 200)
        if "without sending a response" in text:
            raise Unreachable(f"{name}{_via(http)} closed the connection without an answer") from error
        if "without sending complete message body" in text or "incomplete" in text:
            raise Malformed(f"{name}{_via(http)} ended in the middle of its reply") from error
        raise Malformed(f"{name}{_via(http)} does not answer in HTTP: {text}", "Is the port right?") from error
    except httpx.HTTPError as error:
        raise Unreachable(f"{name}{_via(http)} failed: {clean(str(error), 200) or type(error).__name__}") from error


async def get_json(http: httpx.AsyncClient, path: str, *, method: str = "GET", **words: Any) -> Any:
    """The JSON of a reply with status 2xx. Other statuses are errors too: 401 and 403 `Refused`, 404, 405 and 501
    `Unsupported`, 502 to 504 `Unreachable`, the rest `Malformed`.
    """
    reply = await request(http, method, path, **words)
    check(http, reply)
    return json_of(http, reply)


def check(http: httpx.AsyncClient, reply: httpx.Response) -> None:
    """Raise what `get_json` would for the status of `reply`."""
    if reply.is_success:
        return
    name = f"{reply.request.method} {clean(str(reply.request.url).split('?', 1)[0], 200)}{_via(http)}"
    body = "" if _is_html(reply) else clean_bytes(reply.content[:2000], 200)
    message = f"{name} answers {reply.status_code}{f': {body}' if body else ''}"
    if reply.status_code in (401, 403, 407):
        raise Refused(message, "It wants a login that was not given.")
    if reply.status_code in (404, 405, 501):
        raise Unsupported(message, "Is the address right, with its path prefix?")
    if reply.status_code in (502, 503, 504):
        raise Unreachable(message)
    if 300 <= reply.status_code < 400:
        where = clean(reply.headers.get("location", "elsewhere"), 200)
        raise Malformed(f"{name} sends us on to {where}", "Write that address in the configuration.")
    raise Malformed(message)


def json_of(http: httpx.AsyncClient, reply: httpx.Response) -> Any:
    """The JSON in `reply`, whatever its status. Raises `Malformed`."""
    try:
        return json.loads(reply.content)
    except (ValueError, RecursionError):
        name = f"{reply.request.method} {clean(str(reply.request.url).split('?', 1)[0], 200)}{_via(http)}"
        if _is_html(reply):
            raise Malformed(f"{name} answers with a web page, not JSON", "Is the address right, with its path prefix?") from None
        began = clean_bytes(reply.content[:400], 80) or "nothing"
        raise Malformed(f"{name} does not answer in JSON: {began}", "Is the address right?") from None


_ABOUT_THE_WIRE = frozenset((b"content-encoding", b"content-length", b"transfer-encoding"))


class LinkTransport(httpx.AsyncBaseTransport):
    """Sends requests through the link of now. A pool belongs to one link and goes with it."""

    def __init__(self, get_link: GetLink | None, *, secure: bool = False) -> None:
        self._get_link = get_link
        self._tls = ssl.create_default_context() if secure else None  # this machine's trust store
        self._link: Link | None = None
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._closed = False

    @property
    def via(self) -> str:
        """The host whose link was used last; empty: directly."""
        return self._link.host if self._link is not None else ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        idempotent = bool(request.extensions.get("idempotent", request.method in _IDEMPOTENT))
        while True:
            pool = await self._current()
            fresh = False

            async def watch(event: str, _info: Mapping[str, Any]) -> None:
                nonlocal fresh
                fresh = fresh or event == "connection.connect_tcp.started"

            try:
                return await self._send(pool, request, watch)
            except (httpcore.NetworkError, httpcore.RemoteProtocolError, Unreachable) as error:
                # A kept connection may be closed by the server just when we use it: once more, on a new one.
                if idempotent and not fresh and not isinstance(error, TimedOut):
                    idempotent = False
                    continue
                raise _as_httpx(error, request) from error
            except (httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol) as error:
                raise _as_httpx(error, request) from error

    async def aclose(self) -> None:
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def _current(self) -> httpcore.AsyncConnectionPool:
        if self._closed:
            raise Unreachable("this client was closed")
        link = await self._get_link() if self._get_link is not None else None
        if self._pool is None or link is not self._link:
            old, self._link = self._pool, link
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=KEEPALIVE_SECONDS,
                network_backend=_Backend(link.open_tcp if link is not None else open_tcp),
            )
            if old is not None:
                await old.aclose()
        return self._pool

    async def _send(self, pool: httpcore.AsyncConnectionPool, request: httpx.Request, watch: Any) -> httpx.Response:
        headers = request.headers.raw
        if getattr(self._link, "compressed", False):
            # ssh packs better than gzip: its window spans replies, and the same keys come every second.
            headers = [(k, b"identity" if k.lower() == b"accept-encoding" else v) for k, v in headers]
        assert isinstance(request.stream, AsyncIterable)
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=headers,
            content=request.stream,
            extensions={**request.extensions, "trace": watch},
        )
        reply = await pool.handle_async_request(sent)
        assert isinstance(reply.stream, AsyncIterable)
        return httpx.Response(
            status_code=reply.status,
            headers=reply.headers,
            stream=_Body(cast(_Closable, reply.stream), request),
            extensions=reply.extensions,
        )


class _TooBig(Exception):
    pass


class _Client(httpx.AsyncClient):
    def __init__(self, *, transport: LinkTransport, **words: Any) -> None:
        super().__init__(transport=transport, **words)
        self.link_transport = transport


class _Closable(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: _Closable, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise _as_httpx(error, self._request) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


_OpenTcp = Callable[..., Awaitable[ByteStream]]


class _Backend(httpcore.AsyncNetworkBackend):
    """The network, as httpcore sees it. Errors of the way are `ports.errors` and pass through httpcore as they are."""

    def __init__(self, opener: _OpenTcp) -> None:
        self._opener = opener

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._opener(host.strip("[]"), port, timeout_seconds=timeout or 60.0), f"{host}:{port}")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: ByteStream, name: str) -> None:
        self._stream = stream
        self._name = name

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._stream.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout(f"{self._name} sent nothing for {timeout:g} s") from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._stream.write(buffer)
        except TimeoutError:
            raise httpcore.WriteTimeout(f"{self._name} took nothing for {timeout:g} s") from None

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        secure = _Tls(self._stream, ssl_context, server_hostname, self._name)
        try:
            async with asyncio.timeout(timeout):
                await secure.handshake()
        except TimeoutError:
            await self._stream.aclose()
            raise httpcore.ConnectTimeout(f"{self._name} did not finish the TLS handshake") from None
        except BaseException:
            await self._stream.aclose()
            raise
        return _Stream(secure, self._name)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked before a kept connection is used again
            return self._stream.readable_or_closed()
        if info == "ssl_object" and isinstance(self._stream, _Tls):
            return self._stream.engine
        return None


class _Tls:
    """TLS over a byte stream: the engine of the standard library between two buffers."""

    def __init__(self, under: ByteStream, context: ssl.SSLContext, server_hostname: str | None, name: str) -> None:
        self._under = under
        self._name = name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._reading, self._writing = asyncio.Lock(), asyncio.Lock()
        self.engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def handshake(self) -> None:
        try:
            await self._pump(self.engine.do_handshake)
        except ssl.SSLCertVerificationError as error:
            advice = "Give its certificate to this machine's trust store, or use http over the link."
            raise Refused(
                f"the certificate of {self._name} is not trusted: {clean(error.verify_message, 200)}", advice
            ) from error
        except ssl.SSLError as error:
            raise Unreachable(
                f"{self._name} does not speak TLS: {clean(error.reason or str(error), 200)}", "Is it http?"
            ) from error

    async def read(self, max_bytes: int) -> bytes:
        try:
            return cast(bytes, await self._pump(self.engine.read, max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise Unreachable(f"the TLS connection to {self._name} broke: {clean(error.reason or str(error), 200)}") from error

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[cast(int, await self._pump(self.engine.write, view[: 1 << 16])) :]

    def readable_or_closed(self) -> bool:
        return self._incoming.pending > 0 or self.engine.pending() > 0 or self._under.readable_or_closed()

    async def aclose(self) -> None:
        await self._under.aclose()

    async def _pump(self, act: Callable[..., Any], *words: Any) -> Any:
        """Do `act`, moving bytes below until it is through."""
        while True:
            try:
                result = act(*words)
            except ssl.SSLWantReadError:
                await self._flush()
                async with self._reading:
                    data = await self._under.read(1 << 16)
                    self._incoming.write(data) if data else self._incoming.write_eof()
            except ssl.SSLError:
                await self._flush()  # an alert tells the other side
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        async with self._writing:
            if data := self._outgoing.read():
                await self._under.write(data)


_MAP: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.ConnectError, httpx.ConnectError),
)


def _as_httpx(error: Exception, request: httpx.Request) -> Exception:
    for theirs, ours in _MAP:
        if isinstance(error, theirs):
            return ours(str(error), request=request)
    return error


def _via(http: httpx.AsyncClient) -> str:
    via = http.link_transport.via if isinstance(http, _Client) else ""
    return f" via {via}" if via else ""


def _url(http: httpx.AsyncClient, path: str) -> str:
    return str(http.build_request("GET", path).url).split("?", 1)[0]


def _is_html(reply: httpx.Response) -> bool:
    return "html" in reply.headers.get("content-type", "") or reply.content[:64].lstrip().lower().startswith(
        (b"<!doctype", b"<html")
    )
