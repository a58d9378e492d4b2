"""HTTP through a link: keep-alive and its races, caps, TLS, replaced links, and errors in words."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from sovtui.adapters.links import dialer_for
from sovtui.adapters.links._http_transport import MAX_CONNECTIONS
from sovtui.adapters.links.http import client, get_json, request
from sovtui.adapters.links.local import LocalLink
from sovtui.adapters.links.sync_http import LinkAdapter
from sovtui.ports.errors import Malformed, PortError, Refused, TimedOut, Unreachable, Unsupported
from sovtui.ports.link import ByteStream, Link

from .certificates import Authority, server_context
from .conftest import ServerMaker, linked, until

Handler = Callable[["Web", str, dict[str, str], bytes, asyncio.StreamWriter], Awaitable[bool]]


class Web:
    """A small HTTP server that does exactly what a test wants."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.close_after_reply = asyncio.Event()
        self.pause = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.drop_next = 0
        self.closing = False

    async def start(self, tls: ssl.SSLContext | None = None) -> Web:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split()
        self.requests.append((f"{method} {path}", headers, body))
        if self.drop_next:
            self.drop_next -= 1
            return False
        what = path.split("?")[0]
        if what == "/slow":
            await self.pause.wait()
        if what == "/cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            await writer.drain()
            return False
        if what == "/garbage":
            writer.write(b"SSH-2.0-nope\r\n\r\n")
            await writer.drain()
            return False
        if what == "/huge":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
        data, kind, status = json.dumps({"path": path, "body": body.decode()}).encode(), "application/json", "200 OK"
        if what == "/html":
            data, kind = b"<!DOCTYPE html><title>Sign in</title>", "text/html"
        if what == "/text":
            data, kind = b"\x1b[31mnot json", "text/plain"
        if what.startswith("/status/"):
            data, kind, status = b"why \x1b[1mnot", "text/plain", f"{what[8:]} Word"
        extra = ""
        if "gzip" in headers.get("accept-encoding", ""):
            data, extra = gzip.compress(data), "Content-Encoding: gzip\r\n"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        await writer.drain()
        return not self.closing


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    made = await Web().start()
    yield made
    await made.stop()


@pytest.fixture(params=["direct", "local", "ssh"])
async def http(request: pytest.FixtureRequest, web: Web, serve: ServerMaker) -> AsyncIterator[httpx.AsyncClient]:
    """The same client over every way."""
    base = f"http://127.0.0.1:{web.port}"
    if request.param == "direct":
        async with client(None, base_url=base, timeout_seconds=60) as made:
            yield made
        return
    server = await serve()
    server.trust()
    async with linked(server.dialer() if request.param == "ssh" else dialer_for("local", "spark")) as link:

        async def get_link() -> Link:
            return link

        async with client(get_link, base_url=base, timeout_seconds=60) as made:
            yield made


async def test_head_and_body_go_together(web: Web):
    """Over ssh each is two packets otherwise."""
    written: list[bytes] = []

    async def get_link() -> Link:
        return link

    async with linked(dialer_for("local", "spark")) as link:
        usual = link.open_tcp

        async def watched(host: str, port: int, *, timeout_seconds: float) -> Any:
            stream = await usual(host, port, timeout_seconds=timeout_seconds)
            write = stream.write

            async def noting(data: bytes) -> None:
                written.append(data)
                await write(data)

            stream.write = noting  # type: ignore[method-assign]
            return stream

        link.open_tcp = watched  # type: ignore[method-assign]
        async with client(get_link, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
            await request(http, "POST", "/small", content=b"x" * 100)
            assert len(written) == 1 and written[0].endswith(b"x" * 100)
            await request(http, "POST", "/large", content=b"y" * 100_000)
            assert web.requests[-1][2] == b"y" * 100_000


async def test_forty_at_once_and_then_one_connection_is_used_again(http: httpx.AsyncClient, web: Web):
    replies = await asyncio.gather(*(get_json(http, f"/n?{n}") for n in range(40)))
    assert [reply["path"] for reply in replies] == [f"/n?{n}" for n in range(40)]
    before = web.connections
    assert 1 < before <= 32
    for _ in range(5):
        await get_json(http, "/again")
    assert web.connections == before


async def test_a_post_carries_its_body(http: httpx.AsyncClient, web: Web):
    assert (await get_json(http, "/q", method="POST", data={"query": "up{}"}))["body"] == "query=up%7B%7D"


async def test_a_connection_that_the_server_closed_is_not_used_again(http: httpx.AsyncClient, web: Web):
    web.closing = True
    for _ in range(4):
        await get_json(http, "/x")
    assert len(web.requests) == 4


async def test_a_request_that_meets_a_closing_connection_is_sent_once_more(http: httpx.AsyncClient, web: Web):
    await get_json(http, "/first")
    web.drop_next = 1
    assert (await get_json(http, "/second"))["path"] == "/second"
    assert (web.connections, len(web.requests)) == (2, 3)
    web.drop_next = 1
    assert (await get_json(http, "/third", method="POST", idempotent=True))["path"] == "/third"


async def test_a_post_that_acts_is_never_sent_twice(http: httpx.AsyncClient, web: Web):
    await get_json(http, "/first")
    web.drop_next = 1
    with pytest.raises(Unreachable, match="closed the connection without an answer"):
        await get_json(http, "/act", method="POST", content=b"x")
    assert [line for line, _, _ in web.requests].count("POST /act") == 1


async def test_a_fresh_connection_is_not_tried_again(http: httpx.AsyncClient, web: Web):
    web.drop_next = 1
    with pytest.raises(Unreachable, match="without an answer"):
        await get_json(http, "/x")
    assert len(web.requests) == 1


async def test_a_huge_body_is_cut_off(http: httpx.AsyncClient):
    with pytest.raises(Malformed, match="sends more than 2 MiB"):
        await get_json(http, "/huge")
    assert (await get_json(http, "/after"))["path"] == "/after"


async def test_a_cut_reply_is_malformed(http: httpx.AsyncClient):
    with pytest.raises(Malformed, match="in the middle of its reply"):
        await get_json(http, "/cut")


async def test_a_web_page_is_not_json(http: httpx.AsyncClient, web: Web):
    with pytest.raises(Malformed, match=rf"GET http://127\.0\.0\.1:{web.port}/html.*answers with a web page") as caught:
        await get_json(http, "/html?secret=1")
    assert "secret" not in str(caught.value) and "path prefix" in caught.value.advice


async def test_text_is_shown_clean(http: httpx.AsyncClient):
    with pytest.raises(Malformed, match=r"does not answer in JSON: not json$"):
        await get_json(http, "/text")


async def test_what_is_not_http_is_said_so(http: httpx.AsyncClient):
    with pytest.raises(Malformed, match="does not answer in HTTP"):
        await get_json(http, "/garbage")


@pytest.mark.parametrize(
    ("status", "error"), [(401, Refused), (403, Refused), (404, Unsupported), (503, Unreachable), (500, Malformed)]
)
async def test_a_status_is_an_error_with_its_text(http: httpx.AsyncClient, status: int, error: type[PortError]):
    with pytest.raises(error, match=f"answers {status}: why not"):
        await get_json(http, f"/status/{status}")
    assert (await request(http, "GET", f"/status/{status}")).status_code == status


async def test_silence_times_out(http: httpx.AsyncClient, web: Web):
    with pytest.raises(TimedOut, match=r"gave no answer within 0\.1 s"):
        await get_json(http, "/slow", timeout_seconds=0.1)
    web.pause.set()
    assert (await get_json(http, "/slow"))["path"] == "/slow"


async def test_what_is_still_being_connected_is_closed_with_the_client(web: Web):
    """One of two queries fails and the client is closed: the other one's connection is not left to the garbage collector."""
    late, begun = asyncio.Event(), asyncio.Event()
    opened: list[ByteStream] = []

    class Slow(LocalLink):
        async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
            opened.append(await super().open_tcp(host, port, timeout_seconds=timeout_seconds))
            begun.set()
            await late.wait()
            return opened[-1]

    link = Slow("spark")

    async def get_link() -> Link:
        return link

    http = client(get_link, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60)
    asking = asyncio.create_task(get_json(http, "/x"))
    await begun.wait()
    await http.aclose()
    late.set()
    with pytest.raises(Unreachable, match="closed"):
        await asking
    assert opened[0].readable_or_closed()
    assert not web.requests


async def test_what_is_being_connected_over_a_link_that_is_replaced_goes_over_the_new_one(web: Web):
    begun, late = asyncio.Event(), asyncio.Event()

    class Slow(LocalLink):
        async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
            begun.set()
            await late.wait()
            return await super().open_tcp(host, port, timeout_seconds=timeout_seconds)

    links: list[Link] = [Slow("spark")]

    async def get_link() -> Link:
        return links[-1]

    async with client(get_link, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
        asking = asyncio.create_task(request(http, "POST", "/act"))
        await begun.wait()
        links.append(LocalLink("spark"))
        await get_json(http, "/beside")
        late.set()
        await asking
    assert sorted(what for what, *_ in web.requests) == ["GET /beside", "POST /act"]


async def test_nothing_listening_is_named(http: httpx.AsyncClient):
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(Unreachable, match=rf"nothing listens on 127\.0\.0\.1:{port}"):
        await get_json(http, f"http://127.0.0.1:{port}/x")


@pytest.mark.parametrize(("kind", "asked"), [("ssh", "identity"), ("local", "gzip")])
async def test_gzip_only_where_ssh_does_not_compress(web: Web, serve: ServerMaker, kind: str, asked: str):
    server = await serve()
    server.trust()
    async with linked(server.dialer() if kind == "ssh" else dialer_for("local", "spark")) as link:

        async def get_link() -> Link:
            return link

        async with client(get_link, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
            assert (await get_json(http, "/z"))["path"] == "/z"
    assert web.requests[0][1]["accept-encoding"] == asked


async def test_a_replaced_link_takes_its_connections_along(web: Web, serve: ServerMaker):
    server = await serve()
    server.trust()
    dialer = server.dialer()
    links = [await dialer.dial(None)]

    async def get_link() -> Link:
        return links[-1]

    async with client(get_link, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
        await get_json(http, "/one")
        server.connections[0].abort()
        await links[0].wait_lost()
        with pytest.raises(Unreachable, match=r"GET http.* via spark: .*clos|lost"):
            await get_json(http, "/lost")
        links.append(await dialer.dial(None))
        assert (await get_json(http, "/two"))["path"] == "/two"
        assert web.connections == 2
    for link in links:
        await link.aclose()


async def test_a_link_lost_during_a_request_is_said_so(web: Web, serve: ServerMaker):
    server = await serve()
    server.trust()
    async with linked(server.dialer()) as link:

        async def get_link() -> Link:
            return link

        async with client(get_link, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
            asking = asyncio.create_task(get_json(http, "/slow"))
            await until(lambda: bool(web.requests))
            server.connections[0].abort()
            with pytest.raises(Unreachable, match="via spark"):
                await asking


@pytest.mark.parametrize("kind", ["direct", "ssh"])
async def test_https_goes_over_a_link_and_checks_the_certificate(
    serve: ServerMaker, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cert = Authority(tmp_path).sign(alone=True)
    web = await Web().start(server_context(cert))
    server = await serve()
    server.trust()
    async with linked(server.dialer()) as link:

        async def get_link() -> Link:
            return link

        base = f"https://127.0.0.1:{web.port}"
        way = get_link if kind == "ssh" else None
        async with client(way, base_url=base, timeout_seconds=60) as http:
            with pytest.raises(Refused, match="certificate of 127"):
                await get_json(http, "/x")
        monkeypatch.setenv("SSL_CERT_FILE", str(cert[0]))
        async with client(way, base_url=base, timeout_seconds=60) as http:
            big = "y" * 300_000
            assert (await get_json(http, "/x", method="POST", content=big))["body"] == big
            assert (await get_json(http, "/x"))["path"] == "/x"
        async with client(way, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
            with pytest.raises((Unreachable, Malformed)):
                await get_json(http, "/x")
    await web.stop()


def session_of(adapter: LinkAdapter) -> requests.Session:
    session = requests.Session()
    session.mount("http://", adapter)
    return session


async def test_a_synchronous_library_goes_over_the_same_client(http: httpx.AsyncClient, web: Web):
    adapter = LinkAdapter(asyncio.get_running_loop(), http, timeout_seconds=60)

    def work() -> Any:
        with session_of(adapter) as session:
            reply = session.post(f"{http.base_url}/api", data={"query": "up"}, params={"a": "b c"})
            return reply.ok, reply.json(), reply.headers["content-type"], reply.elapsed.total_seconds() > 0

    ok, body, kind, took = await asyncio.to_thread(work)
    assert (ok, body, kind, took) == (True, {"path": "/api?a=b+c", "body": "query=up"}, "application/json", True)


async def test_a_synchronous_request_always_ends(http: httpx.AsyncClient, web: Web):
    loop = asyncio.get_running_loop()
    with pytest.raises(TimedOut):
        await asyncio.to_thread(session_of(LinkAdapter(loop, http, timeout_seconds=0.1)).get, f"{http.base_url}/slow")
    with pytest.raises(TimedOut):
        await asyncio.to_thread(
            session_of(LinkAdapter(loop, http, timeout_seconds=9)).get, f"{http.base_url}/slow", timeout=(0.1, 0.1)
        )


async def test_a_synchronous_request_can_be_given_up(http: httpx.AsyncClient, web: Web):
    adapter = LinkAdapter(asyncio.get_running_loop(), http, timeout_seconds=60)
    working = asyncio.create_task(asyncio.to_thread(session_of(adapter).get, f"{http.base_url}/slow"))
    await until(lambda: bool(web.requests))
    adapter.close()
    with pytest.raises(TimedOut, match="given up"):
        await working
    with pytest.raises(TimedOut, match="given up"):
        await asyncio.to_thread(session_of(adapter).get, f"{http.base_url}/slow")


async def test_the_loop_itself_must_not_wait(http: httpx.AsyncClient):
    with pytest.raises(RuntimeError, match="thread"):
        session_of(LinkAdapter(asyncio.get_running_loop(), http, timeout_seconds=60)).get(f"{http.base_url}/x")


async def test_head_and_body_of_a_request_go_in_one_piece(serve: ServerMaker, web: Web):
    """Each piece is a packet of ssh, and asyncssh sends an empty one before each."""
    server = await serve()
    server.trust()
    async with linked(server.dialer()) as link:
        pieces: list[int] = []

        class Noting:
            def __init__(self, stream: Any) -> None:
                self._stream = stream

            def __getattr__(self, name: str) -> Any:
                return getattr(self._stream, name)

            async def write(self, data: bytes) -> None:
                pieces.append(len(data))
                await self._stream.write(data)

        opened = link.open_tcp

        async def open_tcp(host: str, port: int, *, timeout_seconds: float) -> Any:
            return Noting(await opened(host, port, timeout_seconds=timeout_seconds))

        link.open_tcp = open_tcp  # type: ignore[method-assign]

        async def get() -> Link:
            return link

        async with client(get, base_url=f"http://127.0.0.1:{web.port}", timeout_seconds=60) as http:
            await http.post("/json", content=b"query=1" * 100)
            assert len(pieces) == 1
            await http.post("/json", content=b"x" * 100_000)
        assert len(web.requests[1][2]) == 100_000


async def test_more_requests_than_connections_wait_their_turn_and_can_be_given_up(http: httpx.AsyncClient, web: Web):
    asking = [asyncio.create_task(get_json(http, "/slow")) for _ in range(MAX_CONNECTIONS)]
    await until(lambda: len(web.requests) == MAX_CONNECTIONS)
    waiting = [asyncio.create_task(get_json(http, "/x")) for _ in range(3)]
    with pytest.raises(TimedOut):
        await get_json(http, "/x", timeout_seconds=0.1)
    waiting[0].cancel()
    web.pause.set()
    assert [answer["path"] for answer in await asyncio.gather(*asking)] == ["/slow"] * MAX_CONNECTIONS
    assert [answer["path"] for answer in await asyncio.gather(*waiting[1:])] == ["/x", "/x"]
    assert waiting[0].cancelled()


def test_asking_needs_no_anyio():
    """httpcore brings it only for its locks: more than a MiB that stays for as long as somebody looks."""
    asks = (
        "import asyncio, sys\n"
        "from sovtui.adapters.links.http import client, get_json\n"
        "from sovtui.ports.errors import Unreachable\n"
        "async def main():\n"
        "    async with client(None, base_url='http://127.0.0.1:1', timeout_seconds=5) as http:\n"
        "        try:\n"
        "            await get_json(http, '/x')\n"
        "        except Unreachable as error:\n"
        "            print(error)\n"
        "asyncio.run(main())\n"
        "print(sorted(n for n in sys.modules if n.startswith('anyio.')))\n"
        "async def by_itself():\n"
        "    import httpx\n"
        "    async with httpx.AsyncClient(trust_env=False) as http:\n"
        "        try:\n"
        "            await http.get('http://127.0.0.1:1/x')\n"
        "        except httpx.ConnectError as error:\n"
        "            print(type(error).__name__, 'anyio.abc' in sys.modules)\n"
        "asyncio.run(by_itself())\n"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, timeout=60, check=True)
    said, loaded, own = done.stdout.splitlines()
    assert "nothing listens on 127.0.0.1:1" in said and loaded == "[]"
    assert own == "ConnectError True", "with a network of its own httpx gets the real one"
