"""The control room in a browser: one process of sovtui per page, on this machine's loopback alone.

textual-serve starts and feeds those processes and brings the terminal that the browser draws; the web application around it
is ours, because it has to be closed: a key in the address, no other host name than this machine's, no page of somebody
else's that opens the socket, nothing from elsewhere in the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import textual_serve
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

LOOPBACK = "127.0.0.1"
OURS = ("127.0.0.1", "localhost", "::1")
MOST_PAGES = 8
"""Each is a process with a connection of its own."""
END_SECONDS = 2.0
"""How long a page's process may take to end with it."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The web application. Knows its key; `run` serves it."""

    def __init__(self, command: Sequence[str], *, allow: Collection[str] = (), key: str | None = None) -> None:
        """`command`: what is run for each page. `allow`: names beside this machine's own under which it may be asked for."""
        self.key = key or secrets.token_urlsafe(9)
        self._names = {*OURS, *(name.lower() for name in allow)}
        self._command = f"exec {shlex.join(command)}"
        self._downloads = DownloadManager()
        self._open: set[asyncio.Task[object]] = set()
        self._ending: set[asyncio.Task[None]] = set()
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
        app.on_shutdown.append(self._end_all)
        return app

    def url(self, port: int) -> str:
        return f"http://{LOOPBACK}:{port}/?key={self.key}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        name = urlsplit(f"//{request.host}").hostname or ""
        if name not in self._names:
            raise web.HTTPForbidden(text="This page is not served under that name. If it should be: sovtui serve --allow NAME\n")
        said = request.query.get("key", "") or request.cookies.get(self._cookie(request), "")
        if not hmac.compare_digest(said.encode(), self.key.encode()):
            raise web.HTTPForbidden(text="The address that sovtui serve has printed ends with a key; it is needed once.\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="Another site's page may not do this.\n")
        return await handler(request)

    def _cookie(self, request: web.Request) -> str:
        """Browsers keep cookies per machine, not per port."""
        socket = request.transport.get_extra_info("sockname") if request.transport else None
        return f"sovtui-{socket[1] if socket else 0}"

    async def _index(self, request: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(12)
        response = web.Response(text=self._page.replace("NONCE", nonce), content_type="text/html")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            f"font-src 'self'; connect-src 'self' ws://{request.host} wss://{request.host}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(self._cookie(request), self.key, httponly=True, samesite="Strict")
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") is None:
            raise web.HTTPForbidden(text="Only a browser's page opens this.\n")
        if len(self._open) >= MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{MOST_PAGES} pages are open already.\n")
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            socket = web.WebSocketResponse(heartbeat=15, max_msg_size=1 << 20)
            await socket.prepare(request)
            await self._show(socket, _cells(request, "width", 80), _cells(request, "height", 24))
            return socket
        finally:
            self._open.discard(task)

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
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        tell(pages.url(runner.addresses[0][1]))
        await stop.wait()
    finally:
        await runner.cleanup()


def run(command: Sequence[str], port: int, allow: Collection[str], tell: Callable[[str], None]) -> None:
    """`serve` as a whole program. What a page's process says on standard error comes on ours."""
    ours = sys.stdout

    def told(url: str) -> None:
        with contextlib.redirect_stdout(ours):
            tell(url)

    with contextlib.redirect_stdout(sys.stderr):
        asyncio.run(serve(Pages(command, allow=allow), port, told))
