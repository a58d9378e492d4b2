"""A TCP proxy in front of an sshd that can be told to do everything a bad network and a bad host do, in bytes.

What it cannot do is lose packets: to the client's kernel everything it sends has arrived. For that there is the box's own network.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 1 << 14


@dataclass
class Way:
    """What happens to connections made from now on."""

    latency_seconds: float = 0.0
    """One way."""
    silent: bool = False
    """Accepted, and nothing is heard of it."""
    shut: bool = False
    """Closed at once."""
    says: bytes = b""
    """Said instead of what the server says; then `shut` or `silent` decides."""
    bytes_per_second: float = 0.0
    """Toward the client; 0: as fast as it comes."""
    stall_after: int | None = None
    """Of what the server sends; then silence."""
    reset_after: int | None = None
    """Of what the server sends; then a reset, in the middle of a packet."""


@dataclass(eq=False)
class Pair:
    """One connection that goes through."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    stalled: set[str] = field(default_factory=set)
    """`down`: from the server to the client; `up`: the other way."""
    damage: bool = False
    """Change one bit of what the server sends next."""
    moving: asyncio.Event = field(default_factory=asyncio.Event)
    reset_after: int | None = None
    passed: int = 0


class Proxy:
    """One listening port on loopback that leads to one server."""

    def __init__(self, address: str, port: int = 22, heard: Callable[[bool, int], None] = lambda up, size: None) -> None:
        """`heard`: of all bytes that come, whether they go up, to the server, and how many."""
        self._heard = heard
        self._to = (address, port)
        self.port = 0
        self.way = Way()
        self.pairs: set[Pair] = set()
        self.logins = 0
        """Connections on which ssh was spoken. Others come too: a look at all that listens on this machine, for one."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen; on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Nobody listens any more; what is open stays open."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        self.refuse()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, reset: bool = True) -> int:
        """End every connection, at both ends. How many."""
        pairs = list(self.pairs)
        for pair in pairs:
            _end(pair.near, reset)
            if pair.far is not None:
                _end(pair.far, reset)
            pair.stalled.clear()
            pair.moving.set()
        return len(pairs)

    def stall(self, *directions: str) -> None:
        """Nothing more passes on the connections that are open."""
        for pair in self.pairs:
            pair.stalled |= set(directions or ("up", "down"))

    def flow(self) -> None:
        for pair in self.pairs:
            pair.stalled.clear()
            pair.moving.set()

    def damage(self) -> None:
        for pair in self.pairs:
            pair.damage = True

    def reset_soon(self, count: int) -> None:
        """A reset after so many more bytes toward the client, wherever that is in a packet."""
        for pair in self.pairs:
            pair.reset_after = pair.passed + count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair = Pair(writer)
        self.pairs.add(pair)
        way = self.way
        try:
            await self._serve(pair, reader, way)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            self.pairs.discard(pair)
            self._tasks.discard(task)
            for end in (pair.near, pair.far):
                if end is not None:
                    end.close()

    async def _serve(self, pair: Pair, reader: asyncio.StreamReader, way: Way) -> None:
        if way.says:
            pair.near.write(way.says)
            await pair.near.drain()
        if way.shut:
            return
        if way.silent:
            pair.stalled |= {"up", "down"}
            first = await reader.read(CHUNK)
            self._note(first)
            if first:
                await _until_gone(reader, pair)
            return
        far_reader, pair.far = await asyncio.open_connection(*self._to)
        up = asyncio.create_task(self._pump(pair, reader, pair.far, "up", way))
        down = asyncio.create_task(self._pump(pair, far_reader, pair.near, "down", way))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if pair.far is not None and not pair.stalled:
                await asyncio.wait({up, down}, timeout=way.latency_seconds + 0.05)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    def _note(self, first: bytes) -> None:
        if first.startswith(b"SSH-"):
            self.logins += 1

    async def _pump(
        self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str, way: Way
    ) -> None:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        down = direction == "down"

        async def deliver() -> None:
            free_at = 0.0
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                while direction in pair.stalled:
                    pair.moving.clear()
                    await pair.moving.wait()
                if not data:
                    return
                if down and way.bytes_per_second:
                    free_at = max(free_at, loop.time()) + len(data) / way.bytes_per_second
                    await asyncio.sleep(max(0.0, free_at - loop.time()))
                if down:
                    data = self._changed(pair, data, way)
                writer.write(data)
                if down and pair.reset_after is not None and pair.passed >= pair.reset_after:
                    await writer.drain()
                    await asyncio.sleep(0.01)
                    _end(pair.near, reset=True)
                    return
                await writer.drain()

        task = asyncio.create_task(deliver())
        first = True
        try:
            while data := await reader.read(CHUNK if not way.bytes_per_second else 256):
                self._heard(not down, len(data))
                if not down and first:
                    self._note(data)
                first = False
                queue.put_nowait((loop.time() + self.way.latency_seconds, data))
            if not pair.stalled:
                queue.put_nowait((loop.time() + self.way.latency_seconds, b""))
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _changed(self, pair: Pair, data: bytes, way: Way) -> bytes:
        before, pair.passed = pair.passed, pair.passed + len(data)
        if pair.damage:
            pair.damage = False
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]
        if way.stall_after is not None and pair.passed > way.stall_after:
            data = data[: max(0, way.stall_after - before)]
            pair.stalled |= {"up", "down"}
        if way.reset_after is not None and pair.reset_after is None:
            pair.reset_after = way.reset_after
        if pair.reset_after is not None and pair.passed > pair.reset_after:
            data = data[: max(0, pair.reset_after - before)]
        return data


async def _until_gone(reader: asyncio.StreamReader, pair: Pair) -> None:
    """Take what the client sends, until it leaves or is cut off."""
    while not pair.near.is_closing() and await reader.read(CHUNK):
        pass


def _end(writer: asyncio.StreamWriter, reset: bool) -> None:
    with contextlib.suppress(OSError):
        sock = writer.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if reset else writer.close()
