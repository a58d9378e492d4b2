"""The control room in a browser: one process of sovtui per page, on this machine's loopback alone.

textual-serve starts and feeds those processes and brings the terminal that the browser draws; the web application around it
is ours, because it has to be closed: a key that the page has to show, no other host name than this machine's, no page of somebody
else's that opens the socket, nothing from elsewhere in the page.

The key is behind the # of the address, so it is in no request, `Referer` or log. The page takes it out of the address, shows it as
the socket's first message, and gets a token for its own origin, which its tab keeps for a reload. A cookie would go to every port of
the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import re
import resource
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from importlib.resources import files
from pathlib import Path
from typing import cast

import textual_serve
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from sovtui.adapters.neighbours import user_of
from sovtui.core.addresses import authority
from sovtui.tui.door import Door, Doorway, Limits, limits_within

LOOPBACK = "127.0.0.1"
OURS = ("127.0.0.1", "localhost", "::1")
MOST_PAGES = 8
"""Each is a process with a connection of its own."""
MOST_TOKENS = 8 * MOST_PAGES
"""Pages that may be reloaded; an older one needs the key again."""
QUEUE = 4096
"""Connections that the kernel keeps until it is their turn."""
LINGER_SECONDS = 1.0
"""For a body that nobody has asked for: without reading it the answer may be lost."""
END_SECONDS = 2.0
"""How long a page's process may take to end with it."""
_PORTS = {"http": 80, "https": 443}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The web application. Knows its key; `serve` listens for it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        allow: Collection[str] = (),
        key: str | None = None,
        limits: Limits | None = None,
        user_of: Callable[[socket.socket], int | None] = lambda connection: None,
    ) -> None:
        """`command`: what is run for each page. `allow`: names beside this machine's own under which it may be asked for.
        `user_of`: which user of this machine is at the other end of a connection; None where that cannot be told."""
        self.key = key or secrets.token_urlsafe(9)
        self._names = {*OURS, *(found[0] for name in allow if (found := authority(name)))}
        self._command = f"exec {shlex.join(command)}"
        self._limits = limits or Limits()
        self._user_of = user_of
        self._downloads = DownloadManager()
        self._tokens: dict[str, str] = {}
        """Of pages that have shown the key, the last used last; each with the origin that it was given to."""
        self._open: set[asyncio.Task[object]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._doorway: Doorway | None = None
        self._page = files("sovtui.tui").joinpath("page.html").read_text(encoding="utf-8")

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/ws", self._socket),
                web.static("/static", Path(textual_serve.__file__).parent / "static"),
            ]
        )
        app.on_response_prepare.append(_close_after)
        app.on_shutdown.append(self._end_all)
        return app

    def url(self, port: int) -> str:
        """With the key behind the #: browsers keep that part to themselves."""
        return f"http://{LOOPBACK}:{port}/#key={self.key}"

    @property
    def waiting(self) -> int:
        """Connections whose page has not shown the key."""
        return len(self._doorway.waiting) if self._doorway is not None else 0

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[int]:
        """Answers as long as this lasts, on the port that it gives. Raises OSError if the port is not available."""
        log = logging.getLogger("sovtui.serve")
        log.addFilter(_of_ours)
        # Each field of a head may be as long as a browser's cookies of all ports of the machine together; Door counts them.
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            logger=log,
            shutdown_timeout=0.5,
            lingering_time=LINGER_SECONDS,
            max_field_size=self._limits.octets,
        )
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as entry:
            entry.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            entry.bind((LOOPBACK, port))
            entry.listen(QUEUE)
            entry.setblocking(False)
            await runner.setup()
            server = runner.server
            assert server is not None
            self._doorway = Doorway(server, self._limits, self._user_of)
            letting_in = asyncio.create_task(self._doorway.run(entry), name="connections of serve")
            try:
                yield entry.getsockname()[1]
            finally:
                letting_in.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await letting_in
                await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        _door(request).asked()
        asked = _asked_for(request)
        if asked is None:
            raise web.HTTPBadRequest(text="The request must say once which host it is for, as NAME or NAME:PORT.\n")
        if asked[0] not in self._names:
            raise web.HTTPForbidden(text="This page is not served under that name. If it should be: sovtui serve --allow NAME\n")
        origins = request.headers.getall("Origin", [])
        if origins and not (len(origins) == 1 and _same_place(origins[0], asked)):
            raise web.HTTPForbidden(text="Another site's page may not do this.\n")
        return await handler(request)

    async def _index(self, request: web.Request) -> web.Response:
        """Holds no secret: whoever may connect may have it. What it shows comes through the socket, for the key."""
        nonce = secrets.token_urlsafe(12)
        response = web.Response(text=self._page.replace("NONCE", nonce), content_type="text/html")
        host = request.headers["Host"]
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            f"font-src 'self'; connect-src 'self' ws://{host} wss://{host}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None:
            raise web.HTTPForbidden(text="Only a browser's page opens this.\n")
        door = _door(request)
        door.opened()
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=1 << 20)
        await socket.prepare(request)
        token = self._token_for(await socket.receive(), origin)
        if token is None:
            await _refuse(socket, "key", "This page needs the key: open the address that sovtui serve prints.")
            return socket
        if len(self._open) >= MOST_PAGES:
            await _refuse(socket, "pages", f"{MOST_PAGES} pages are open already. Close one, then reload this one.")
            return socket
        door.admit()
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await socket.send_json(["token", token])
            await self._show(socket, _cells(request, "width", 80), _cells(request, "height", 24))
            return socket
        finally:
            self._open.discard(task)

    def _token_for(self, first: WSMessage, origin: str) -> str | None:
        """The page's own key, for the first thing that it says: `["hello", {"key": …}]`, or `{"token": …}` after a reload."""
        if first.type is not WSMsgType.TEXT:
            return None
        try:
            match json.loads(first.data):
                case ["hello", {"key": str(key)}] if _equal(key, self.key):
                    token = secrets.token_urlsafe(24)
                case ["hello", {"token": str(token)}] if _equal(self._tokens.get(token, ""), origin):
                    del self._tokens[token]
                case _:
                    return None
        except (ValueError, RecursionError):
            return None
        self._tokens[token] = origin
        while len(self._tokens) > MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        return token

    async def _show(self, socket: web.WebSocketResponse, width: int, height: int) -> None:
        """One page from its beginning to its end."""
        room = _Process(
            self._command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=lambda: _close(socket),
            download_manager=self._downloads,
        )
        try:
            await room.start(width, height)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await _pass_on(message.data, room, socket)
        finally:
            ending = asyncio.create_task(room.end(), name="end of a page")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)  # whatever cancels the page once more, its process ends
            await _close(socket)

    async def _end_all(self, _app: web.Application) -> None:
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=2 * END_SECONDS)
        if self._ending:
            await asyncio.wait(self._ending, timeout=5 * END_SECONDS)


class _Process(AppService):
    """The process behind a page. It ends with the page, also where it does not listen."""

    async def end(self) -> None:
        try:
            with contextlib.suppress(TimeoutError, OSError):
                await asyncio.wait_for(self.stop(), END_SECONDS)
        finally:
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                if self._process.stdin is not None:
                    self._process.stdin.close()
                await self._process.wait()


async def _close(socket: web.WebSocketResponse) -> None:
    await socket.close()


async def _refuse(socket: web.WebSocketResponse, what: str, words: str) -> None:
    await socket.send_json(["refused", what, words])
    await socket.close(code=WSCloseCode.POLICY_VIOLATION)


async def _close_after(_request: web.Request, response: web.StreamResponse) -> None:
    """For every answer, errors too: one connection is one request, so that its deadlines are those of a request."""
    if not isinstance(response, web.WebSocketResponse):
        response.force_close()
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Referrer-Policy"] = "no-referrer"


def _of_ours(record: logging.LogRecord) -> bool:
    """What a neighbour sends that is no HTTP is no fault of ours, and nothing that may fill our log."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def _door(request: web.Request) -> Door:
    assert request.transport is not None
    return cast(Door, request.transport.get_protocol())


def _asked_for(request: web.Request) -> tuple[str, int | None] | None:
    """Name and port of the request's one `Host`, which a whole address in its first line may only repeat (RFC 9112 §3.2)."""
    fields = request.headers.getall("Host", [])
    asked = authority(fields[0]) if len(fields) == 1 else None
    target = request.raw_path
    if target.startswith("/"):
        return asked
    scheme, mark, rest = target.partition("://")
    named = authority(re.split("[/?#]", rest, maxsplit=1)[0]) if mark and scheme.lower() in _PORTS else None
    return asked if named == asked else None


def _same_place(origin: str, asked: tuple[str, int | None]) -> bool:
    """Whether a page of `origin` is one of ours. A port that its scheme implies may be left out."""
    scheme, mark, rest = origin.partition("://")
    found = authority(rest) if mark else None
    if found is None or scheme not in _PORTS:
        return False
    usual = _PORTS[scheme]
    return (found[0], found[1] or usual) == (asked[0], asked[1] or usual)


def _equal(said: str, wanted: str) -> bool:
    return hmac.compare_digest(said.encode("utf-8", "replace"), wanted.encode())


def _cells(request: web.Request, name: str, usual: int) -> int:
    with contextlib.suppress(ValueError):
        return min(1000, max(1, int(request.query.get(name, usual))))
    return usual


async def _pass_on(said: str, room: AppService, socket: web.WebSocketResponse) -> None:
    """What the page says, to the process. What it cannot have said is passed over."""
    try:
        match json.loads(said):
            case ["stdin", str(keys)]:
                await room.send_bytes(keys.encode("utf-8", "replace"))
            case ["resize", {"width": int(width), "height": int(height)}]:
                await room.set_terminal_size(min(1000, max(1, width)), min(1000, max(1, height)))
            case ["ping", str(mark)]:
                await socket.send_json(["pong", mark])
            case ["focus"]:
                await room.focus()
            case ["blur"]:
                await room.blur()
    except ValueError:
        return


async def serve(pages: Pages, port: int, tell: Callable[[str], None]) -> None:
    """Serve until a signal ends it. `tell` gets the address once it answers. Raises OSError if the port is not available."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with pages.listening(port) as found:
        tell(pages.url(found))
        await stop.wait()


def run(command: Sequence[str], port: int, allow: Collection[str], tell: Callable[[str], None]) -> None:
    """`serve` as a whole program. What a page's process says on standard error comes on ours."""
    ours = sys.stdout

    def told(url: str) -> None:
        with contextlib.redirect_stdout(ours):
            tell(url)

    files_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limits = Limits() if files_open == resource.RLIM_INFINITY else limits_within(files_open)
    with contextlib.redirect_stdout(sys.stderr):
        asyncio.run(serve(Pages(command, allow=allow, limits=limits, user_of=user_of), port, told))
