"""A pretend daemon behind a Unix socket, and a pretend command: they answer as the recorded ones do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sovtui.adapters.tailnet.daemon import Daemon
from sovtui.adapters.tailnet.places import Places

DATA = Path(__file__).parents[2] / "data" / "tailscale"
AT = datetime(2026, 11, 20, 14, 8, tzinfo=UTC)


class Clock:
    """Stands still at the time of the recordings."""

    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def recorded(name: str, change: Callable[[Any], None] | None = None) -> bytes:
    raw = (DATA / f"status.{name}.json").read_bytes()
    if change is None:
        return raw
    document = json.loads(raw)
    change(document)
    return json.dumps(document).encode()


def node(document: Any, host: str) -> Any:
    return next(p for p in document["Peer"].values() if p["HostName"] == host)


def pong(state: str) -> bytes:
    """A recorded answer to a ping: direct, relayed, peer relay, ..."""
    entries = json.loads((DATA / "localapi.json").read_text())
    found = next(e for e in entries if "/ping?" in e["request"] and e["state"] == state and "disco" in e["request"])
    return json.dumps(found["body"]).encode()


class PretendDaemon:
    """LocalAPI as far as sovtui asks it. Like the real one it answers 403 to another host, an Origin or a Referer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status: bytes | None = recorded("running")
        """None: it never answers."""
        self.pongs: dict[str, bytes | None] = {}
        """By address; None or not there: no answer, ever, as for a peer that is silent."""
        self.streams: dict[tuple[str, int], int] = {}
        """(host, port) in the tailnet: the port on loopback that stands for it."""
        self.dial_answer: bytes = b""
        """Instead of a connection."""
        self.asked: list[str] = []
        self.heads: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> PretendDaemon:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def daemon(self, **words: Any) -> Daemon:
        return Daemon(Places(sockets=(str(self.path),), mac_library="/nowhere", commands=(), **words), Clock())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, path, _ = first.split(" ")
        self.asked.append(f"{method} {path}")
        self.heads.append(head)
        if headers.get("host") != "local-tailscaled.sock" or "origin" in headers or "referer" in headers:
            await self._say(writer, "403 Forbidden", b"invalid localapi request\n")
        elif path == "/localapi/v0/status":
            await self._say_or_wait(writer, self.status)
        elif path.startswith("/localapi/v0/ping?"):
            address = path.partition("ip=")[2].partition("&")[0].replace("%3A", ":")
            await self._say_or_wait(writer, self.pongs.get(address) if method == "POST" else b"")
        elif path == "/localapi/v0/dial":
            await self._dial(headers, reader, writer)
        else:
            await self._say(writer, "404 Not Found", b"")

    async def _dial(self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert headers["upgrade"] == "ts-dial" and headers["connection"] == "upgrade"
        if self.dial_answer:
            writer.write(self.dial_answer)
            await writer.drain()
            return
        port = self.streams.get((headers["dial-host"], int(headers["dial-port"])))
        try:
            there = await asyncio.open_connection("127.0.0.1", port) if port is not None else None
        except OSError:
            there = None
        if there is None:
            said = f"dial failure: connect tcp {headers['dial-host']}:{headers['dial-port']}: connection was refused\n"
            await self._say(writer, "502 Bad Gateway", said.encode())
            return
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ts-dial\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        finally:
            there[1].close()

    async def _say_or_wait(self, writer: asyncio.StreamWriter, body: bytes | None) -> None:
        if body is None:
            await asyncio.Event().wait()
        await self._say(writer, "200 OK", body or b"")

    async def _say(self, writer: asyncio.StreamWriter, status: str, body: bytes) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


def pretend_command(folder: Path, script: str, name: str = "tailscale") -> Path:
    """A command in `folder` that does what `script` (sh) says."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def by_command(folder: Path) -> Daemon:
    """A daemon that only the command in `folder` reaches."""
    return Daemon(Places(sockets=(), mac_library="/nowhere", commands=("tailscale",), find=lambda w: _found(folder / w)), Clock())


def _found(path: Path) -> str | None:
    return str(path) if path.exists() else None
