"""LocalAPI: HTTP to the daemon over its socket. Knows no command line."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import importlib
import re
import socket
from collections.abc import Awaitable, Callable
from typing import cast

from sovtui.adapters.ownership import speaker
from sovtui.adapters.tailnet.places import Door
from sovtui.core.clean import clean, clean_bytes
from sovtui.ports.errors import Malformed, PortError, TimedOut, Unreachable
from sovtui.ports.link import ByteStream, Link

HOST = "local-tailscaled.sock"
"""What the daemon wants to be called; with another host, an Origin or a Referer it answers 403."""
MAX_BYTES = 4 << 20
MAX_HEAD_BYTES = 16 << 10


class Closed(Unreachable):
    """Nobody listens behind this door, or it may not be opened by this user."""


class NotBelieved(Closed):
    """Another user listens there."""


async def ask(door: Door, method: str, path: str, seconds: float) -> bytes:
    """The body of a 200. Raises `Closed`, `TimedOut`, `Malformed`."""
    await asyncio.to_thread(importlib.import_module, "sovtui.adapters.links.http")
    from sovtui.adapters.links import http

    base = f"http://{HOST}" if door.socket else f"http://127.0.0.1:{door.port}"
    headers = {"Host": HOST} | ({"Authorization": _basic(door.token)} if door.token else {})
    asking = http.client(_way(door), base_url=base, timeout_seconds=seconds)
    try:
        answer = await http.request(
            asking,
            method,
            f"/localapi/v0/{path}",
            headers=headers,
            timeout_seconds=seconds,
            max_bytes=MAX_BYTES,
            idempotent=False,
        )
    except TimedOut:
        raise TimedOut(f"the tailnet daemon at {door} did not answer within {seconds:g} s") from None
    except NotBelieved:
        raise
    except Closed:
        raise Closed(f"nothing answers at {door}") from None
    except PortError as error:
        said = str(error).partition(f"/localapi/v0/{path.partition('?')[0]}")[2].lstrip(": ")
        raise Malformed(f"the tailnet daemon at {door} does not answer as it should: {said or error}") from None
    finally:
        await asking.aclose()
    if answer.status_code != 200:
        raise Malformed(
            f"the tailnet daemon at {door} answered {answer.status_code}: {clean_bytes(answer.content[:400], 200).strip()}"
        )
    return answer.content


class _Here:
    """This machine as the link that leads to a door, whatever the address says."""

    host = ""
    compressed = False

    def __init__(self, door: Door) -> None:
        self._door = door

    async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
        """Raises `Closed`."""
        from sovtui.adapters.links._tcp import over

        return await over(await _open(self._door, timeout_seconds), str(self._door))


def _way(door: Door) -> Callable[[], Awaitable[Link]]:
    async def here() -> Link:
        return cast(Link, way)

    way = _Here(door)
    return here


def _basic(token: str) -> str:
    return "Basic " + base64.b64encode(f":{token}".encode()).decode()


async def dial(door: Door, host: str, port: int, seconds: float) -> socket.socket:
    """A stream to `host:port` through the daemon. Raises `Closed`, `Unreachable`, `TimedOut`, `ConnectionRefusedError`."""
    loop = asyncio.get_running_loop()
    ours = await _open(door, seconds)
    try:
        async with asyncio.timeout(seconds):
            await loop.sock_sendall(ours, _request(door, host, port))
            status, headers = _read_head(await _head(ours))
            if status == 101:
                return ours
            if status == 200 and headers.get("dial-self", "").lower() == "true":
                ours.close()  # outside the tailnet: the daemon leaves it to us
                return await connect(headers.get("dial-addr", ""), seconds)
            with contextlib.suppress(OSError):
                said = clean_bytes(await loop.sock_recv(ours, 1000), 300).strip()
    except TimeoutError:
        ours.close()
        raise TimedOut(f"the tailnet daemon reached nothing at {host} port {port} within {seconds:g} s") from None
    except BaseException:
        ours.close()
        raise
    ours.close()
    if "refused" in said:
        raise ConnectionRefusedError(errno.ECONNREFUSED, said)
    raise Unreachable(f"the tailnet daemon cannot reach {host} port {port}: {said or f'it answered {status}'}")


async def connect(address: str, seconds: float) -> socket.socket:
    """Plain TCP to `HOST:PORT` or `[HOST]:PORT`. Raises `OSError`, `TimeoutError`."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise Malformed(f"the tailnet daemon names no address: {clean(address, 100)}")
    return await tcp(host.strip("[]"), int(port), seconds)


async def tcp(host: str, port: int, seconds: float) -> socket.socket:
    """A connected socket to an IP address. Raises `OSError`, `TimeoutError`."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made


async def _open(door: Door, seconds: float) -> socket.socket:
    try:
        if not door.socket:
            return await tcp("127.0.0.1", door.port, seconds)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_connect(made, door.socket)
            if wrong := speaker(made):
                raise NotBelieved(f"{door} is not believed: {wrong}")
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise Closed(f"nothing answers at {door}: {clean(str(error), 200)}") from None
    return made


def _request(door: Door, host: str, port: int) -> bytes:
    lines = ["POST /localapi/v0/dial HTTP/1.1", f"Host: {HOST}", "Connection: upgrade", "Upgrade: ts-dial"]
    lines += [f"Dial-Host: {host}", f"Dial-Port: {port}", "Content-Length: 0"]
    if door.token:
        lines.append(f"Authorization: {_basic(door.token)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _head(sock: socket.socket) -> bytes:
    """The answer's head, byte by byte: what comes after it is the server's greeting and not ours to take."""
    loop = asyncio.get_running_loop()
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(sock, 1)
        head += byte
        if not byte or len(head) > MAX_HEAD_BYTES:
            raise Unreachable("the tailnet daemon ended the connection that it was asked for")
    return bytes(head)


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.match(r"HTTP/1\.[01] (\d{3})", first)
    if found is None:
        raise Malformed(f"the tailnet daemon does not answer in HTTP: {clean(first, 80)}")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return int(found[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
