"""The control room in a browser: who gets it, what the page loads, and that keys and size go through. No browser is needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual_serve")

import textual_serve
from aiohttp import ClientSession, ClientWebSocketResponse

from sovtui.adapters.neighbours import user_of
from sovtui.tui.door import Limits, limits_within
from sovtui.tui.serve import MOST_PAGES, MOST_TOKENS, Pages

REPO = Path(__file__).resolve().parents[2]
ROOM = """
import sys
from sovtui.demo import build, scenario
from sovtui.tui.app import run
from sovtui.tui.pictures import Still
sys.exit(run(Still(scenario("healthy"), build("spark").config)))
"""
SLEEPER = ["sh", "-c", "echo __GANGLION__; exec head -c 1 > /dev/null"]
"""Ends with the first thing that it is told: here that it shall."""
KEY = ("hello", {"key": "k3y"})
ALLOWED = "Box.tail1234.ts.net"
PATIENT = Limits(head=3600, hello=3600, answer=3600)
"""Nothing ends because time passes."""
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Site:
    """What is served, as a neighbour and as a browser see it."""

    pages: Pages
    port: int
    http: ClientSession
    raw: list[Raw] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, said: bytes, address: str = "127.0.0.1") -> Raw:
        """A connection on which `said` has been sent, from `address` of the loopback."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.raw.append((reader, writer))
        writer.write(said)
        await writer.drain()
        return reader, writer

    async def answer(self, said: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        reader, _ = await self.connect(said)
        return await ended(reader)

    async def opened(self, address: str = "127.0.0.1") -> Raw:
        """A WebSocket that says nothing."""
        fields = (f"Host: 127.0.0.1:{self.port}", f"Origin: {self.origin}", *UPGRADE)
        reader, writer = await self.connect(get(*fields, target="/ws"), address)
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        return reader, writer

    async def fetched(self, path: str) -> bytes:
        async with self.http.get(self.origin + path) as answer:
            assert answer.status == 200
            return await answer.read()

    async def page(self, *hello: Any, origin: str = "", **words: Any) -> tuple[ClientWebSocketResponse, list[Any]]:
        """A page that says `hello` first, and what it hears."""
        base = origin or self.origin
        socket = await self.http.ws_connect(
            f"{self.origin}/ws", headers={"Origin": base, "Host": base.partition("//")[2]}, **words
        )
        await socket.send_str(json.dumps(hello))
        async with asyncio.timeout(60):
            return socket, json.loads((await socket.receive()).data)


async def ended(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@contextlib.asynccontextmanager
async def serving(limits: Limits = PATIENT, **words: Any) -> AsyncIterator[Site]:
    pages = Pages(SLEEPER, allow=[ALLOWED], key="k3y", limits=limits, **words)
    async with pages.listening(0) as port, ClientSession() as http:
        site = Site(pages, port, http)
        try:
            yield site
        finally:
            for _, writer in site.raw:
                writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def get(*fields: str, target: str = "/", version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", *fields, "", ""]).encode("latin-1")


HOSTS = {
    200: [
        "127.0.0.1", "127.0.0.1:8765", "localhost:9000", "LocalHost", "localhost.", "localhost.:8765", "localhost:", " localhost ",
        "[::1]:8765", "[::1]", "[0:0:0:0:0:0:0:1]", "box.tail1234.ts.net", "BOX.tail1234.ts.net:443", "box.tail1234.TS.net.",
    ],
    403: ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "[::2]", "127.0.0.2", "evil_.example", "127.1"],
    400: [
        "", " ", ":8765", ".", "localhost..", ".localhost", "local host", "localhost :8765", "localhost: 8765", "localhost\t1",
        "localhost, localhost", "localhost;", "me@localhost", "me:pass@localhost:8765", "@localhost", "localhost@evil.example",
        "localhost:http", "localhost:-1", "localhost:0", "localhost:65536", "localhost:123456", "localhost:1:2", "localhost:8765 ,",
        "::1", "::1:8765", "[::1", "::1]", "[]", "[::1]8765", "[::1%lo]", "[::1%25lo]", "[localhost]", "[127.0.0.1]", "[:::1]",
        "localhost/", "localhost/x", "localhost?x", "localhost#x", "local\\host", "http://localhost", "//localhost", "%6cocalhost",
        "l\xf6calhost", "localhost:\xb2", "*", "localhost\x01", '"localhost"', "a" * 64, ".".join(["a" * 63] * 4) + ".a",
    ],
}  # fmt: skip


@pytest.mark.parametrize("status", HOSTS)
async def test_a_host_is_one_of_ours_or_not_or_no_host_at_all(site: Site, status: int) -> None:
    for host in HOSTS[status]:
        answer = await site.answer(get(f"Host: {host}"))
        assert status_of(answer) == status, (host, answer[:200])
        assert b"evil" not in answer


@pytest.mark.parametrize(
    ("status", "request_line", "fields"),
    [
        (400, "GET / HTTP/1.1", []),
        (400, "GET / HTTP/1.0", []),
        (400, "GET / HTTP/1.1", ["Host: localhost", "Host: localhost"]),
        (400, "GET / HTTP/1.1", ["Host: localhost", "Host: evil.example"]),
        (400, "GET / HTTP/1.1", ["Host : localhost"]),
        (200, "GET http://localhost:8765/ HTTP/1.1", ["Host: LOCALHOST.:8765"]),
        (200, "GET HTTP://localhost/?fontsize=20 HTTP/1.1", ["Host: localhost"]),
        (404, "GET http://localhost HTTP/1.1", ["Host: localhost"]),
        (403, "GET http://evil.example/ HTTP/1.1", ["Host: evil.example"]),
        (400, "GET http://evil.example/ HTTP/1.1", ["Host: localhost"]),
        (400, "GET http://localhost/ HTTP/1.1", ["Host: evil.example"]),
        (400, "GET http://localhost:1/ HTTP/1.1", ["Host: localhost:2"]),
        (400, "GET http://localhost/ HTTP/1.1", []),
        (400, "GET http://me@localhost/ HTTP/1.1", ["Host: localhost"]),
        (400, "GET http:///x HTTP/1.1", ["Host: localhost"]),
        (400, "GET ftp://localhost/ HTTP/1.1", ["Host: localhost"]),
        (400, "GET localhost/ HTTP/1.1", ["Host: localhost"]),
        (400, "OPTIONS * HTTP/1.1", ["Host: localhost"]),
        (400, "CONNECT localhost:8765 HTTP/1.1", ["Host: localhost:8765"]),
        (403, "GET / HTTP/1.1", ["Host: localhost", "Origin: http://evil.example"]),
        (403, "GET / HTTP/1.1", ["Host: localhost:1", "Origin: http://localhost:2"]),
        (403, "GET / HTTP/1.1", ["Host: localhost", "Origin: null"]),
        (403, "GET / HTTP/1.1", ["Host: localhost", "Origin: http://me@localhost"]),
        (403, "GET / HTTP/1.1", ["Host: localhost", "Origin: http://localhost", "Origin: http://localhost"]),
        (200, "GET / HTTP/1.1", ["Host: localhost:443", "Origin: https://localhost"]),
        (200, "GET / HTTP/1.1", ["Host: localhost", f"Cookie: other={'x' * 200_000}"]),
        (404, "GET /static/../server.py HTTP/1.1", ["Host: localhost"]),
        (403, "GET /static/ HTTP/1.1", ["Host: localhost"]),
        (404, "GET /download/x HTTP/1.1", ["Host: localhost"]),
        (405, "POST / HTTP/1.1", ["Host: localhost"]),
    ],
)  # fmt: skip
async def test_requests_as_neighbours_word_them(site: Site, status: int, request_line: str, fields: list[str]) -> None:
    answer = await site.answer("\r\n".join([request_line, *fields, "", ""]).encode())
    assert status_of(answer) == status, answer[:200]


async def test_what_is_no_http_stays_out_of_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x1b[2J: b\r\n\r\n",
        b"\x1b]0;x\x07\r\n\r\n",
    ):
        assert b"\x1b" not in await site.answer(nonsense)
    assert not caplog.records


async def test_the_key_is_in_no_answer_and_nothing_is_kept_for_the_whole_machine(site: Site) -> None:
    """A cookie goes to every port of an address, whoever listens there."""
    for path in ("/", "/?key=k3y", "/static/js/textual.js", "/nothing"):
        answer = await site.answer(get(f"Host: 127.0.0.1:{site.port}", "Cookie: x=1", target=path))
        assert b"k3y" not in answer and b"set-cookie" not in answer.lower(), path
        assert b"no-referrer" in answer.partition(b"\r\n\r\n")[0], path
    pages = Pages(SLEEPER)
    assert pages.url(8765).partition("#")[2] == f"key={pages.key}", "what is behind # stays in the browser"


async def test_nothing_in_the_page_comes_from_elsewhere(site: Site) -> None:
    async with site.http.get(f"{site.origin}/") as answer:
        page = await answer.text()
    assert not re.findall(r"https?://|//[a-z]+\.", page.replace('"wss://"', "").replace('"ws://"', ""))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "https:" not in policy and "*" not in policy
    (nonce,) = re.findall(r"nonce-([\w-]+)", policy)
    assert f'nonce="{nonce}"' in page
    for path in re.findall(r'(?:src|href)="(/static[^"]+)"|url\("(/static[^"]+)"\)', page):
        assert await site.fetched("".join(path)), path


async def test_another_sites_page_cannot_open_the_socket(site: Site) -> None:
    for origin in ("Origin: http://evil.example", "Origin: null", f"Origin: http://127.0.0.1:{site.port + 1}", "X-Origin: none"):
        answer = await site.answer(get(f"Host: 127.0.0.1:{site.port}", origin, *UPGRADE, target="/ws"))
        assert status_of(answer) == 403


@pytest.mark.parametrize(
    "hello",
    [
        (), ("stdin", "q"), ("hello",), ("hello", {}), ("hello", {"key": "k3"}), ("hello", {"key": ""}), ("hello", {"key": "k3y "}),
        ("hello", {"key": None}), ("hello", {"key": ["k3y"]}), ("hello", {"key": "k\u00e4y"}), ("hello", {"key": "\ud800"}),
        ("hello", {"token": "k3y"}), ("hello", {"token": ""}), ("hello", "k3y"),
    ],
)  # fmt: skip
async def test_without_the_key_there_is_no_room(site: Site, hello: tuple[Any, ...]) -> None:
    socket, told = await site.page(*hello, params={"key": "k3y"})
    assert told[:2] == ["refused", "key"]
    async with asyncio.timeout(60):
        await socket.receive()
    assert socket.closed


async def test_a_reload_needs_no_key_and_a_token_is_good_for_its_own_page(site: Site) -> None:
    _, (kind, token) = await site.page(*KEY)
    assert kind == "token" and token != "k3y" and len(token) >= 32
    _, again = await site.page("hello", {"token": token})
    assert again == ["token", token]
    for elsewhere in (f"http://localhost:{site.port}", f"http://127.0.0.1:{site.port + 1}", f"https://127.0.0.1:{site.port}"):
        _, told = await site.page("hello", {"token": token}, origin=elsewhere)
        assert told[:2] == ["refused", "key"], elsewhere
    _, other = await site.page(*KEY)
    assert other[1] != token


async def test_the_oldest_token_goes_when_there_are_too_many(site: Site) -> None:
    tokens = []
    for _ in range(MOST_TOKENS + 1):
        socket, (_, token) = await site.page(*KEY)
        tokens.append(token)
        await socket.close()
    _, told = await site.page("hello", {"token": tokens[0]})
    assert told[0] == "refused"
    _, told = await site.page("hello", {"token": tokens[1]})
    assert told[0] == "token"


async def test_there_is_an_end_to_pages(site: Site) -> None:
    held = [await site.page(*KEY) for _ in range(MOST_PAGES)]
    assert all(told[0] == "token" for _, told in held)
    _, told = await site.page(*KEY)
    assert told[:2] == ["refused", "pages"]


async def test_a_head_that_drips_has_one_deadline_for_all_of_it() -> None:
    async with serving(Limits(head=0.3, hello=3600, answer=3600)) as site:
        reader, writer = await site.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"X: 1\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        silent, _ = await site.connect(b"")
        half, closing = await site.connect(b"GET / HT")
        closing.write_eof()
        assert [await ended(reader), await ended(silent), await ended(half)] == [b"", b"", b""]
        dripping.cancel()


async def test_a_socket_that_says_nothing_has_a_deadline() -> None:
    async with serving(Limits(head=3600, hello=0.3, answer=3600)) as site:
        reader, writer = await site.opened()
        writer.write(b"\x89\x80\x00\x00\x00\x00")  # a ping is no hello
        assert b"token" not in await ended(reader)


async def test_an_answer_that_is_not_fetched_has_a_deadline() -> None:
    def little_room(connection: socket.socket) -> None:
        """Else the kernel takes all of it."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    async with serving(Limits(head=3600, hello=3600, answer=0.3), user_of=little_room) as site:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", site.port))
            slow.send(get("Host: localhost", target="/static/js/textual.js"))
            slow.settimeout(60)
            assert await asyncio.to_thread(slow.recv, 1)
            async with asyncio.timeout(60):
                while site.pages.waiting:
                    await asyncio.sleep(0.02)
            size = (Path(textual_serve.__file__).parent / "static/js/textual.js").stat().st_size
            came = 0
            while part := await asyncio.to_thread(slow.recv, 1 << 16):
                came += len(part)
            assert 0 < came < size


async def test_a_head_without_end_is_cut() -> None:
    async with serving(replace(PATIENT, octets=20_000)) as site:
        reader, writer = await site.connect(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(30):
                writer.write(b"a" * 1000)
                await writer.drain()
        await ended(reader)


async def test_the_owner_gets_in_among_those_who_hold_every_place() -> None:
    """Slow heads, silent sockets, answers that nobody fetches: as many as there may be of each, and nothing of theirs ends by time."""
    async with serving(replace(PATIENT, each=6, patience=0.0)) as site:
        first, told = await site.page(*KEY)
        assert told[0] == "token"
        for hold in (
            partial(site.connect, b"GET / HT"),
            site.opened,
            partial(site.connect, b"GET / HTTP/1.1\r\nHost: localhost\r\n"),
        ):
            held = [await hold() for _ in range(6)]
            assert await site.fetched("/static/js/textual.js")
            page, told = await site.page(*KEY)
            assert told[0] == "token"
            await ended(held[0][0])  # the oldest had to go
            await page.close()
        await first.send_str(json.dumps(["ping", "still here"]))
        async with asyncio.timeout(60):
            while json.loads((await first.receive()).data) != ["pong", "still here"]:
                pass


async def test_other_users_of_the_machine_take_no_place_of_the_owners() -> None:
    users = {"127.0.0.1": os.getuid(), **{f"127.0.0.{number}": 60_000 + number for number in range(2, 20)}}
    limits = replace(PATIENT, each=3, others=5, patience=0.0)
    async with serving(limits, user_of=lambda connection: users[connection.getpeername()[0]]) as site:
        mine, mine_writer = await site.connect(b"GET / HTTP/1.1\r\nHost: ")
        theirs = [await site.connect(b"GET / HT", f"127.0.0.{number}") for number in range(2, 20)]
        await asyncio.gather(*(ended(reader) for reader, _ in theirs[:13]))  # so many more than five
        one = [await site.connect(b"GET / HT", "127.0.0.19") for _ in range(3)]
        await ended(theirs[-1][0])  # the oldest of the same user, nobody else's
        mine_writer.write(b"localhost\r\n\r\n")
        assert (await ended(mine)).startswith(b"HTTP/1.1 200 ") and len(one) == 3


def test_few_open_files_mean_few_connections_never_none_for_a_page() -> None:
    assert limits_within(1024) == limits_within(1 << 20) == Limits()
    for descriptors in (160, 256, 400):
        limits = limits_within(descriptors)
        assert 8 <= limits.each < Limits.each
        assert 3 * limits.each + limits.others + 8 * MOST_PAGES < descriptors  # this user, root, who cannot be told, others


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not here: sock_diag")
def test_the_kernel_tells_whose_the_other_end_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            connection, _ = server.accept()
            assert user_of(connection) == os.getuid()
        with connection:
            assert user_of(connection) is None, "who has gone is not taken for root"
    with socket.socket() as unconnected:
        assert user_of(unconnected) is None


class Page:
    """What a browser does with the socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.seen = b""

    async def until(self, wanted: bytes, seconds: float = 90.0) -> None:
        async with asyncio.timeout(seconds):
            while wanted not in self.seen:
                message = await self.socket.receive()
                assert isinstance(message.data, bytes | str), message
                self.seen += message.data if isinstance(message.data, bytes) else message.data.encode()

    async def send(self, *what: Any) -> None:
        await self.socket.send_str(json.dumps(what))


@pytest.mark.integration
async def test_keys_and_size_go_through_and_leaving_closes_the_page(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("TERM", "dumb")  # whatever the server was started from
    pages = Pages([sys.executable, "-c", ROOM], key="k3y")
    async with pages.listening(0) as port, ClientSession() as http:
        base = f"http://127.0.0.1:{port}"
        page = Page(await http.ws_connect(f"{base}/ws?width=120&height=40", headers={"Origin": base}))
        await page.send(*KEY)
        await page.until(b"PrismaQuant")
        await page.until("╭".encode())
        await page.send("stdin", "?")
        await page.until(b"Stop what is hot")
        await page.send("stdin", "\x1b")
        await asyncio.sleep(0.4)  # Escape alone is told from Alt by what does not follow
        page.seen = b""
        await page.send("resize", {"width": 44, "height": 80})
        await page.until("▔".encode())
        await page.send("stdin", "q")
        async with asyncio.timeout(60):
            while not page.socket.closed:
                await page.socket.receive()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_no_page_outlives_the_server(number: signal.Signals, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(REPO)}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sovtui", "serve", "--port", "0", "--demo", "spark", "--theme", "sovtui-light", "--read-only",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=REPO,
    )  # fmt: skip
    assert server.stdout is not None and server.stderr is not None
    try:
        async with asyncio.timeout(60):
            url = (await server.stdout.readline()).decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#key=[\w-]{12}", url)
        base, _, key = url.partition("/#key=")
        async with ClientSession() as session:
            page = Page(await session.ws_connect(f"{base}/ws", headers={"Origin": base}))
            await page.send("hello", {"key": key})
            await page.until(b"DEMO")
            await page.until(b"48;2;251;250;246")  # the background of --theme
            children = {int(p) for p in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()}
            assert children
            server.send_signal(number)
            async with asyncio.timeout(60):
                status = await server.wait()
            assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0)
            async with asyncio.timeout(60):
                while any(alive(child) for child in children):
                    await asyncio.sleep(0.05)
        rest = (await server.stderr.read()).decode()
        assert "Traceback" not in rest and "Ctrl+C" in rest
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
