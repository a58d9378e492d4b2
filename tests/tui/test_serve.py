"""The control room in a browser: who gets it, what the page loads, and that keys and size go through. No browser is needed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual_serve")

from aiohttp import ClientSession, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer

from sovtui.tui.serve import MOST_PAGES, Pages

REPO = Path(__file__).resolve().parents[2]
ROOM = """
import sys
from sovtui.demo import build, scenario
from sovtui.tui.app import run
from sovtui.tui.pictures import Still
sys.exit(run(Still(scenario("healthy"), build("spark").config)))
"""
SLEEPER = [sys.executable, "-c", "import sys; sys.stdout.write('__GANGLION__\\n'); sys.stdout.flush(); sys.stdin.read()"]


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    pages = Pages(SLEEPER, allow=["Box.tail1234.ts.net"], key="k3y")
    async with TestClient(TestServer(pages.application(), host="127.0.0.1")) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/?key=k3y", {}, 200),
        ("/?key=k3y", {"Host": "localhost:9000"}, 200),  # forwarded to another port
        ("/?key=k3y", {"Host": "[::1]:8765"}, 200),
        ("/?key=k3y", {"Host": "box.tail1234.ts.net"}, 200),  # --allow
        ("/?key=k3y", {"Host": "BOX.tail1234.ts.net:443"}, 200),
        ("/?key=k3y", {"Host": "evil.example"}, 403),  # a name made to point here
        ("/?key=k3y", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/?key=k3y", {"Host": ""}, 403),
        ("/", {}, 403),
        ("/?key=k3", {}, 403),
        ("/?key=", {}, 403),
        ("/?key=%C3%A4", {}, 403),
        ("/static/js/textual.js", {}, 403),
        ("/static/js/textual.js?key=k3y", {}, 200),
        ("/static/../server.py?key=k3y", {}, 404),
        ("/static/?key=k3y", {}, 403),  # no listing
        ("/download/x?key=k3y", {}, 404),
        ("/?key=k3y", {"Origin": "http://evil.example"}, 403),
    ],
)
async def test_who_gets_the_page(client, path, headers, status) -> None:
    answer = await client.get(path, headers=headers)
    assert answer.status == status
    assert "evil" not in await answer.text()


async def test_the_key_is_needed_once(client) -> None:
    first = await client.get("/?key=k3y")
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert (await client.get("/")).status == 200 and (await client.get("/static/css/xterm.css")).status == 200


async def test_nothing_in_the_page_comes_from_elsewhere(client) -> None:
    answer = await client.get("/?key=k3y")
    page = await answer.text()
    assert not re.findall(r"https?://|//[a-z]+\.", page.replace('"wss://"', "").replace('"ws://"', ""))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "https:" not in policy and "*" not in policy
    (nonce,) = re.findall(r"nonce-([\w-]+)", policy)
    assert f'nonce="{nonce}"' in page and answer.headers["Referrer-Policy"] == "no-referrer"
    for path in re.findall(r'(?:src|href)="(/static[^"]+)"|url\("(/static[^"]+)"\)', page):
        assert (await client.get("".join(path))).status == 200, path


async def test_another_sites_page_cannot_open_the_socket(client) -> None:
    await client.get("/?key=k3y")
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", headers=headers)
        assert refused.value.status == 403


async def test_there_is_an_end_to_pages(client) -> None:
    await client.get("/?key=k3y")
    origin = {"Origin": str(client.make_url("/")).rstrip("/")}
    for _ in range(MOST_PAGES):
        await client.ws_connect("/ws", headers=origin)
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/ws", headers=origin)
    assert refused.value.status == 503


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
    async with TestClient(TestServer(pages.application(), host="127.0.0.1")) as client:
        await client.get("/?key=k3y")
        origin = {"Origin": str(client.make_url("/")).rstrip("/")}
        page = Page(await client.ws_connect("/ws?width=120&height=40", headers=origin))
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
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?key=[\w-]{12}", url)
        base = url.partition("/?")[0]
        async with ClientSession() as session:
            answer = await session.get(url)
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            page = Page(await session.ws_connect(f"{base}/ws", headers={"Origin": base, "Cookie": cookie}))
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
