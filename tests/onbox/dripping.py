"""A server on loopback that answers without end: `python -m tests.onbox.dripping KIND [PORT]` runs one for others to ask."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator

EVERY = 0.05
"""Seconds between two pieces: short beside every time that the code under test is given, which counts from the first."""
HEAD = b"HTTP/1.1 200 OK\r\n"
LONGEST = 90.0
"""So long one that is asked goes on: far beyond every time that the code under test is given."""
KINDS = {
    "silent": (b"", b""),
    "slow head": (b"", HEAD + b"Content-Length: 2\r\n"),
    "head without end": (HEAD, b"A: b\r\n"),
    "line without end": (HEAD, b"A"),
    "slow body": (HEAD + b"Content-Length: 99999999\r\n\r\n", b" "),
    "body without end": (HEAD + b"\r\n", b" "),
    "chunks without end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "interim without end": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
"""What comes at once, and what comes piece by piece until whoever asks has gone: of the slow head each byte by itself."""


class Dripping:
    """One of them. `left` is set once somebody who asked has hung up, `tired` where it gave up itself."""

    def __init__(self, kind: str, port: int = 0) -> None:
        self._first, self._piece = KINDS[kind]
        self._slow = kind == "slow head"
        self._stop, self.left, self.asked, self.tired = (threading.Event() for _ in range(4))
        self._server = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one = self._server.accept()[0]
                threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one: socket.socket) -> None:
        with one:
            try:
                one.settimeout(EVERY)
                one.recv(65536)
                self.asked.set()
                one.sendall(self._first)
                end = time.monotonic() + LONGEST
                while not self._stop.is_set():
                    if time.monotonic() > end:
                        self.tired.set()
                        return
                    for piece in [bytes([byte]) for byte in self._piece] if self._slow else [self._piece]:
                        one.sendall(piece)
                        with contextlib.suppress(TimeoutError):
                            if not one.recv(1):
                                raise ConnectionResetError
            except OSError:
                self.left.set()

    def close(self) -> None:
        self._stop.set()
        self._server.close()


@contextlib.contextmanager
def dripping(kind: str) -> Iterator[Dripping]:
    server = Dripping(kind)
    try:
        yield server
    finally:
        server.close()


if __name__ == "__main__":
    Dripping(sys.argv[1], int(sys.argv[2]))
    threading.Event().wait()
