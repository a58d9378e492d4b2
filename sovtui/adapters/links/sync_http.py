"""HTTP over a link for a synchronous library: a `requests` adapter that asks the event loop's client.

Used inside a worker thread. Errors are `ports.errors`, as everywhere.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from sovtui.adapters.links.http import request as ask
from sovtui.core.outside import Most, TooMuch, weigh
from sovtui.ports.errors import Malformed, TimedOut

MOST = Most(bytes=8 << 20, items=1_000_000)
"""Of one answer: some hundred series over 240 steps are a tenth of it."""
_HOP_HEADERS = frozenset(("accept-encoding", "connection", "content-length", "host", "transfer-encoding"))


class LinkAdapter(BaseAdapter):
    """Mount it on a session for `http://` and `https://`. `close` ends what is still running, from any thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient, *, timeout_seconds: float, most: Most = MOST
    ) -> None:
        super().__init__()
        self._loop = loop
        self._client = client
        self._timeout, self._most = timeout_seconds, most
        self._running: set[concurrent.futures.Future[httpx.Response]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send it through the client and wait. The library's own timeout is taken if it is shorter than ours."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise RuntimeError("a LinkAdapter waits for the event loop: use it in a thread")
        seconds = min([self._timeout, *_numbers(timeout)])
        coroutine = self._ask(request, seconds)
        with self._lock:
            if self._closed:
                coroutine.close()
                raise TimedOut("the request was given up")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._running.add(future)
        try:
            reply = future.result(seconds + 1.0)
        except concurrent.futures.CancelledError:
            raise TimedOut(f"the request to {_place(request)} was given up") from None
        except TimeoutError:
            raise TimedOut(f"{_place(request)} gave no answer within {seconds:g} s") from None
        finally:
            future.cancel()
            with self._lock:
                self._running.discard(future)
        return self._reply(request, reply)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            running = list(self._running)
        for future in running:
            future.cancel()

    async def _ask(self, request: requests.PreparedRequest, seconds: float) -> httpx.Response:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_HEADERS}
        reply = await ask(
            self._client,
            request.method or "GET",
            request.url or "",
            timeout_seconds=seconds,
            headers=headers,
            content=request.body,
            max_bytes=self._most.bytes,
        )
        try:  # the library makes objects of it in one go, and nothing else happens meanwhile
            weigh(reply.content, self._most)
        except TooMuch as error:
            raise Malformed(f"{_place(request)} tells too much: {error}") from None
        return reply

    def _reply(self, request: requests.PreparedRequest, reply: httpx.Response) -> requests.Response:
        made = requests.Response()
        made.status_code = reply.status_code
        made.headers = CaseInsensitiveDict(reply.headers.items())
        made.encoding = "utf-8"
        made.reason = reply.reason_phrase
        made.url = request.url or ""
        made.request = request
        made.raw = _Raw(reply.content)
        return made


class _Raw:
    """The body, already here, as `requests` reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, chunk_size: int, decode_content: bool = False) -> Any:
        yield self._content

    def read(self, size: int | None = None, **words: Any) -> bytes:
        taken, self._content = self._content[:size], self._content[len(self._content) if size is None else size :]
        return taken

    def close(self) -> None: ...

    def release_conn(self) -> None: ...


def _place(request: requests.PreparedRequest) -> str:
    """Its address without the query, which may be pages long."""
    return (request.url or "").partition("?")[0]


def _numbers(timeout: float | tuple[float | None, float | None] | None) -> list[float]:
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    return [float(part) for part in parts if part]
