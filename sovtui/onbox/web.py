"""Ask an engine over HTTP: no proxy, bounded answers, one deadline from the look-up of its name to the last byte."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from urllib.parse import urlsplit

from sovtui.onbox import asking
from sovtui.onbox.deadline import within
from sovtui.onbox.things import Answer, Probe

MAX_BODY = 1 << 20


def get(url: str, path: str, timeout: float) -> tuple[int, bytes]:
    """Status and body; status 0 where nobody answers."""
    return full(url, path, timeout)[:2]


def full(url: str, path: str, timeout: float, body: str | None = None) -> tuple[int, bytes, str]:
    """Status, body, and what names itself in the header `Server`; a POST where there is a body of JSON."""
    try:
        return _ask("GET" if body is None else "POST", url, path, timeout, None if body is None else body.encode())
    except (OSError, ValueError, http.client.HTTPException):
        return 0, b"", ""


def _ask(method: str, url: str, path: str, timeout: float, body: bytes | None) -> tuple[int, bytes, str]:
    """TimeoutError where no whole answer comes in time, however much of it, or the connection is neither taken nor refused."""
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    base = base[: -len("/v1")] if base.endswith("/v1") else base
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # The engine on this same machine; its certificate rarely names the loopback address.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    sockets: list[socket.socket] = []

    def talk() -> tuple[int, bytes, str]:
        headers = {"Accept": "application/json, text/plain", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
            sockets.append(connection.sock)
            connection.request(method, base + path, body, headers)
            with connection.getresponse() as answer:
                return answer.status, answer.read(MAX_BODY), answer.getheader("Server") or ""
        finally:
            connection.close()

    def end() -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    return within(timeout, talk, end)


def patience(probe: Probe) -> float:
    """Seconds that `ask` takes at most."""
    return probe.patience + max(asking.manner(probe.engine).patience, probe.patience)


def ask(probe: Probe) -> Answer:
    """What an engine says of itself."""
    manner = asking.manner(probe.engine)
    patience = max(manner.patience, probe.patience)
    if not manner.models:
        status, _, silent = _heard(probe.url, manner.health, patience)
        return Answer(probe.url, status, (), status if probe.health else None, silent)
    status, body, silent = _heard(probe.url, manner.models, probe.patience)
    health = None
    if probe.health:
        health, _, silent = _heard(probe.url, manner.health, patience) if status else (0, b"", silent)
    if status in manner.closed:
        status = 401  # whatever number it says it with
    return Answer(probe.url, status, asking.ids(body) if status == 200 else (), health, silent)


def _heard(url: str, path: str, timeout: float) -> tuple[int, bytes, bool]:
    """Status and body; and whether the question was taken, or neither taken nor refused, and nothing came."""
    try:
        return (*_ask("GET", url, path, timeout, None)[:2], False)
    except (TimeoutError, socket.timeout):
        return 0, b"", True
    except (OSError, ValueError, http.client.HTTPException):
        return 0, b"", False
