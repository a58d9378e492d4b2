"""A stream through a SOCKS5 proxy without a login: what tailscaled offers in userspace mode. Addresses only, no names."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from sovtui.ports.errors import Unreachable


async def connect(proxy: str, address: str, port: int) -> socket.socket:
    """`proxy` is HOST:PORT. Raises `OSError` (the proxy is not there), `Unreachable` (it says no). The caller has a time limit."""
    host, _, number = proxy.rpartition(":")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host.strip("[]"), int(number), type=socket.SOCK_STREAM)
    family, kind, protocol, _, place = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        await loop.sock_connect(made, place)
        await loop.sock_sendall(made, b"\x05\x01\x00")
        if await _exactly(made, 2) != b"\x05\x00":
            raise Unreachable(f"the SOCKS5 proxy at {proxy} wants a login, or is no SOCKS5 proxy")
        target = ipaddress.ip_address(address)
        word = b"\x05\x01\x00" + (b"\x01" if target.version == 4 else b"\x04") + target.packed + port.to_bytes(2, "big")
        await loop.sock_sendall(made, word)
        answer = await _exactly(made, 4)
        if answer[1] != 0:  # the daemon's proxy says 1 for refused and unknown alike
            raise Unreachable(f"the SOCKS5 proxy at {proxy} cannot reach {address} port {port} (it says {answer[1]})")
        size = {1: 4, 4: 16}.get(answer[3])
        await _exactly(made, (size if size is not None else (await _exactly(made, 1))[0]) + 2)
    except BaseException:
        made.close()
        raise
    return made


async def _exactly(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = await asyncio.get_running_loop().sock_recv(sock, size - len(found))
        if not part:
            raise Unreachable("the SOCKS5 proxy closed the connection")
        found += part
    return found
