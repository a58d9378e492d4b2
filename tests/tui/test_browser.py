"""The control room in a real Chromium, without a screen: what it draws fits the page, keys and taps arrive, nothing comes from elsewhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual_serve")

from aiohttp import ClientSession

REPO = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="not here: chromium")]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--force-device-scale-factor=2",
]
"""No sandbox: the tests may be run by root. Two pixels for one, as on any phone: the debugger's own emulation of it scales twice."""


class Tab:
    """A page of the browser, through its debugging protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._asked = 0
        self.seen = b""
        """What the server's sockets have sent to the page."""
        self.complaints: list[str] = []
        self.addresses: list[str] = []

    def _note(self, told: dict[str, Any]) -> None:
        match told.get("method"), told.get("params", {}):
            case "Network.webSocketFrameReceived", {"response": {"opcode": opcode, "payloadData": data}}:
                self.seen += base64.b64decode(data) if opcode == 2 else data.encode()
            case "Network.requestWillBeSent", {"request": {"url": url}}:
                self.addresses.append(url)
            case "Network.webSocketCreated", {"url": url}:
                self.addresses.append(url)
            case "Runtime.exceptionThrown", said:
                self.complaints.append(json.dumps(said)[:400])
            case "Log.entryAdded", {"entry": {"level": "error"} as said}:
                self.complaints.append(json.dumps(said)[:400])

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        async with asyncio.timeout(60):
            while True:
                told = json.loads((await self._socket.receive()).data)
                if told.get("id") == self._asked:
                    assert "error" not in told, told
                    return dict(told["result"])
                self._note(told)

    async def value(self, expression: str) -> Any:
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, wanted: bytes, seconds: float = 90.0) -> None:
        async with asyncio.timeout(seconds):
            while wanted not in self.seen:
                await self.value("1")  # what has come is told before the answer
                await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """The room stands: for a while nothing but the figures of a second came."""
        for _ in range(100):
            seen = len(self.seen)
            await asyncio.sleep(0.4)
            await self.value("1")
            if len(self.seen) == seen:
                return

    async def key(self, key: str) -> None:
        await self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def tap(self, x: float, y: float) -> None:
        await self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        await self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    async def drawn(self) -> tuple[float, float, float, float, float, float]:
        """Left, top, right and bottom of what is drawn; width and height of the page. In CSS pixels."""
        words = await self.value(
            "(() => { const b = document.querySelector('.xterm-screen').getBoundingClientRect();"
            " return JSON.stringify([b.left, b.top, b.right, b.bottom, innerWidth, innerHeight]) })()"
        )
        left, top, right, bottom, wide, high = json.loads(words)
        return left, top, right, bottom, wide, high


@contextlib.asynccontextmanager
async def _program(*argv: str, **words: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, **words)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Of the scripted estate, served."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "PYTHONPATH": str(REPO)}
    argv = (sys.executable, "-m", "sovtui", "serve", "--demo", "spark", "--port", "0")
    async with _program(*argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=env) as server:
        assert server.stdout is not None
        async with asyncio.timeout(60):
            while not (found := re.search(r"http://127\.0\.0\.1:\d+/#key=\S+", (await server.stdout.readline()).decode())):
                pass
        yield found[0]


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    profile = tmp_path / "profile"
    quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    async with _program(CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank", env=env, **quiet), ClientSession() as http:
        told = profile / "DevToolsActivePort"
        async with asyncio.timeout(90):
            while not (told.exists() and len(told.read_text().split()) == 2):
                await asyncio.sleep(0.05)
            pages = await (await http.get(f"http://127.0.0.1:{told.read_text().split()[0]}/json")).json()
            page = next(page for page in pages if page["type"] == "page")
            made = Tab(await http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0))
        for what in ("Page", "Network", "Runtime", "Log"):
            await made.ask(f"{what}.enable")
        yield made


async def test_a_desktops_page(tab: Tab, address: str) -> None:
    await tab.ask("Emulation.setDeviceMetricsOverride", width=1180, height=820, deviceScaleFactor=0, mobile=False)
    await tab.ask("Page.navigate", url=address)
    await tab.until(b"PrismaQuant")
    await tab.settled()
    left, top, right, bottom, wide, high = await tab.drawn()
    assert left >= 0 and top >= 0 and wide - 20 < right <= wide and high - 40 < bottom <= high, "cut off, or room left unused"
    await tab.key("2")
    await tab.until(b"switch mistral")
    base, _, key = address.partition("/#key=")
    assert await tab.value("location.href") == f"{base}/", "the key stands in no address that is seen or copied"

    before = await tab.value("sessionStorage.getItem('sovtui')")
    assert before and key not in before
    tab.seen = b""
    await tab.ask("Page.reload")  # no key is left but the tab's own token
    await tab.until(b"PrismaQuant")
    await tab.settled()
    await tab.key("2")
    await tab.until(b"switch mistral")
    assert await tab.value("document.body.classList.contains('-closed')") is False

    assert not tab.complaints
    own = (base, base.replace("http:", "ws:"), "data:")
    assert tab.addresses and all(url.startswith(own) for url in tab.addresses), tab.addresses
    assert not any(key in url or before in url for url in tab.addresses), "a request holds no secret"
    assert not await tab.value("document.cookie")

    # Another page of this address, on another port or in another tab, has none of it.
    await tab.ask("Page.navigate", url=f"{base.replace('127.0.0.1', 'localhost')}/")
    async with asyncio.timeout(60):
        while "needs the key" not in str(await tab.value("document.body.innerText")):
            await asyncio.sleep(0.05)
    assert await tab.value("sessionStorage.length") == 0
    tab.seen = b""
    await tab.value("document.querySelector('input').focus()")
    await tab.ask("Input.insertText", text=f" {key} ")
    await tab.key("\r")
    await tab.until(b"PrismaQuant")
    assert key not in await tab.value("JSON.stringify(sessionStorage)")


async def test_a_tablets_page_is_tapped_and_turned(tab: Tab, address: str) -> None:
    await tab.ask("Emulation.setDeviceMetricsOverride", width=420, height=840, deviceScaleFactor=0, mobile=True)
    await tab.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    await tab.ask("Page.navigate", url=address)
    await tab.until(b"PrismaQuant")
    await tab.settled()
    left, _, right, bottom, wide, high = await tab.drawn()
    assert left >= 0 and wide - 20 < right <= wide and bottom <= high
    await tab.tap(wide * 3 / 8, bottom - 30)  # the second of the thumb-high keys: the second mode
    await tab.until(b"switch mistral")
    seen = len(tab.seen)
    await tab.ask("Emulation.setDeviceMetricsOverride", width=840, height=420, deviceScaleFactor=0, mobile=True)
    async with asyncio.timeout(60):
        while True:
            left, _, right, bottom, wide, high = await tab.drawn()
            if len(tab.seen) > seen and wide - 20 < right <= wide == 840 and bottom <= high:
                break
            await asyncio.sleep(0.1)
    assert not tab.complaints
