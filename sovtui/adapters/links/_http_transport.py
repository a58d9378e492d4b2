"""httpx over a link: a pool of httpcore that belongs to the link of now, and one more try where that is safe.

Must not say what went wrong in words: `http` does.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Protocol, cast

import httpcore
import httpx

from sovtui.adapters.links import _http_locks
from sovtui.adapters.links._http_network import OPENED, LinkNetwork, Superseded
from sovtui.adapters.links._tcp import open_tcp
from sovtui.adapters.links._tls import Untrusted, context_for
from sovtui.adapters.links.login import Login
from sovtui.ports.errors import TimedOut, Unreachable
from sovtui.ports.link import Link

MAX_CONNECTIONS = 32
KEEPALIVE_SECONDS = 300.0
_CLOSED = "this client was closed"
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS"))

_http_locks.take_over()

GetLink = Callable[[], Awaitable[Link]]
_Headers = tuple[tuple[bytes, bytes], ...]


class LinkTransport(httpx.AsyncBaseTransport):
    """Sends requests through the link of now. A pool belongs to one link and goes with it."""

    def __init__(self, get_link: GetLink | None, base_url: str, *, login: Login | None = None, ca_file: str = "") -> None:
        """`login` goes to `base_url` only; `ca_file` is the CA to trust, empty for those this machine trusts."""
        self._get_link = get_link
        self._base = httpx.URL(base_url)
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self.login = login
        self._link: Link | None = None
        self._pool: _Pool | None = None
        self._retired: set[_Pool] = set()
        """Those whose CA was not the right one, until nobody asks through them any more."""
        self._closed = False

    @property
    def via(self) -> str:
        """The host whose link was used last; empty: directly."""
        return self._link.host if self._link is not None else ""

    @property
    def heard_at(self) -> float:
        """Monotonic time when anything last came over a connection of now; minus infinity if nothing did."""
        return self._pool.heard_at if self._pool is not None else -math.inf

    async def reach(self, seconds: float) -> None:
        """Wait for the link. Raises `Unreachable`, `Refused` where it is down, `TimedOut`."""
        try:
            async with asyncio.timeout(seconds):
                if self._get_link is not None:
                    await self._get_link()
        except TimeoutError:
            raise TimedOut(f"the link was not there within {seconds:g} s") from None

    async def knock(self, seconds: float) -> None:
        """Open a connection to the address and close it. Raises `NobodyListens` where it is refused, and the other errors of links."""
        async with asyncio.timeout(seconds) as limit:
            link = await self._get_link() if self._get_link is not None else None
            left = max(0.01, (limit.when() or 0.0) - asyncio.get_running_loop().time())
            _, host, port = _origin(self._base)
            opener = link.open_tcp if link is not None else open_tcp
            stream = await opener(host.strip("[]"), port, timeout_seconds=left)
        await stream.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        login = self.login if self.login is not None and _origin(request.url) == _origin(self._base) else None
        if login is None:
            return await self._ask(request, ())
        carried = await login.headers()
        reply = await self._ask(request, carried)
        if reply.status_code == 401:
            try:
                renewed = await login.renew(carried)
            except BaseException:
                await reply.aclose()
                raise
            if renewed:
                await reply.aclose()
                return await self._ask(request, await login.headers())
        return reply

    async def _ask(self, request: httpx.Request, carried: _Headers) -> httpx.Response:
        idempotent = bool(request.extensions.get("idempotent", request.method in _IDEMPOTENT))
        while True:
            if self._closed:
                raise Unreachable(_CLOSED)
            pool = await self._current()
            OPENED.set(False)
            pool.asking += 1
            try:
                return await self._send(pool.http, request, carried)
            except Superseded:
                continue  # on the pool of now; there is none if the client was closed
            except (httpcore.NetworkError, httpcore.RemoteProtocolError, Unreachable) as error:
                # A kept connection may be closed by the server just when we use it: once more, on a new one.
                if idempotent and not OPENED.get() and not isinstance(error, TimedOut):
                    idempotent = False
                    continue
                raise _as_httpx(error, request) from error
            except Untrusted:
                self._retire(pool)
                raise
            except (httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol) as error:
                raise _as_httpx(error, request) from error
            finally:
                pool.asking -= 1
                if not pool.asking and pool in self._retired:
                    self._retired.discard(pool)
                    await pool.aclose()

    async def aclose(self) -> None:
        self._closed = True
        if self.login is not None:
            await self.login.aclose()
        left = [*self._retired, *([self._pool] if self._pool is not None else [])]
        self._pool, self._tls = None, None
        self._retired.clear()
        for pool in left:
            await pool.aclose()

    def _retire(self, pool: _Pool) -> None:
        """The next request reads the CA file again, should somebody put it right. Who asks beside this one hears its own reason."""
        if pool is self._pool:
            self._pool, self._tls = None, None
            self._retired.add(pool)

    async def _current(self) -> _Pool:
        link = await self._get_link() if self._get_link is not None else None
        if self._tls is None and self._base.scheme == "https":
            self._tls = await asyncio.to_thread(context_for, self._ca_file)
        if self._closed:  # while the link was waited for
            raise Unreachable(_CLOSED)
        if self._pool is None or link is not self._link:
            old, self._link = self._pool, link
            self._pool = made = _Pool(LinkNetwork(link.open_tcp if link is not None else open_tcp), self._tls)
            if old is not None:
                await old.aclose()
            return made
        return self._pool

    async def _send(self, pool: httpcore.AsyncConnectionPool, request: httpx.Request, carried: _Headers) -> httpx.Response:
        headers = [*request.headers.raw, *carried]
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
            extensions=request.extensions,
        )
        reply = await pool.handle_async_request(sent)
        assert isinstance(reply.stream, AsyncIterable)
        return httpx.Response(
            status_code=reply.status,
            headers=reply.headers,
            stream=_Body(cast(_Closable, reply.stream), request),
            extensions=reply.extensions,
        )


class _Pool:
    """Connections over one link, with one idea of whom to trust."""

    def __init__(self, network: LinkNetwork, tls: ssl.SSLContext | None) -> None:
        self.asking = 0
        """Requests that have no reply yet."""
        self._network = network
        self.http = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=network,
        )

    @property
    def heard_at(self) -> float:
        return self._network.heard_at

    async def aclose(self) -> None:
        await self.http.aclose()
        await self._network.aclose()


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


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


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
