"""LocalAPI: HTTP to the daemon over its socket. Knows no command line."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import importlib
import re
import socket
from typing import TYPE_CHECKING, Any

from sovtui.adapters.tailnet.places import Door
from sovtui.core.clean import clean, clean_bytes
from sovtui.ports.errors import Malformed, TimedOut, Unreachable

if TYPE_CHECKING:
    import httpx

HOST = "local-tailscaled.sock"
"""What the daemon wants to be called; with another host, an Origin or a Referer it answers 403."""
MAX_BYTES = 32 << 20
MAX_HEAD_BYTES = 16 << 10


class Closed(Unreachable):
    """Nobody listens behind this door, or it may not be opened by this user."""


async def ask(door: Door, method: str, path: str, seconds: float) -> bytes:
    """The body of a 200. Raises `Closed`, `TimedOut`, `Malformed`."""
    await asyncio.to_thread(importlib.import_module, "httpx")
    import httpx

    auth = ("", door.token) if door.token else None
    base = f"http://{HOST}" if door.socket else f"http://127.0.0.1:{door.port}"
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(transport=_transport(door), base_url=base, trust_env=False, auth=auth, timeout=seconds) as http,
            http.stream(method, f"/localapi/v0/{path}", headers={"Host": HOST}) as answer,
        ):
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise Malformed(f"the tailnet daemon at {door} answered more than {MAX_BYTES >> 20} MiB")
    except (TimeoutError, httpx.TimeoutException):
        raise TimedOut(f"the tailnet daemon at {door} did not answer within {seconds:g} s") from None
    except httpx.ConnectError as error:
        raise Closed(f"nothing answers at {door}: {clean(str(error), 200)}") from None
    except httpx.HTTPError as error:
        raise Malformed(f"the tailnet daemon at {door} does not answer as it should: {clean(str(error), 200)}") from None
    if answer.status_code != 200:
        said = clean_bytes(bytes(body[:400]), 200).strip()
        raise Malformed(f"the tailnet daemon at {door} answered {answer.status_code}: {said}")
    return bytes(body)


def _transport(door: Door) -> httpx.AsyncHTTPTransport:
    """Without certificates: nothing here speaks TLS, and reading them takes 20 ms each time."""
    import httpx

    words: dict[str, Any] = {"trust_env": False, "verify": False}
    return httpx.AsyncHTTPTransport(uds=door.socket, **words) if door.socket else httpx.AsyncHTTPTransport(**words)


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
        lines.append("Authorization: Basic " + base64.b64encode(f":{door.token}".encode()).decode())
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
