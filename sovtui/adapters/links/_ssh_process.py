"""A command on the host, through a session of the ssh connection: how it is given its input, read and ended."""

from __future__ import annotations

import asyncio
import contextlib

import asyncssh
from asyncssh.channel import SSHChannel

from sovtui.runtime.pace import Pace

MAX_OUTPUT_BYTES = 8 << 20
_CHUNK = 1 << 16


class Process(asyncssh.SSHClientProcess[bytes]):
    """A command whose input is sent right behind the request that starts it, as OpenSSH's client does.

    One round trip less, except where the server (OpenSSH's is such a one) opens the window only once the command runs.
    """

    def __init__(self, stdin: bytes, ends: bool) -> None:
        super().__init__()
        self._given, self._ends = stdin, ends

    def connection_made(self, chan: SSHChannel[bytes]) -> None:
        super().connection_made(chan)
        # Called when the channel is open and before the request is sent, which happens in this same turn of the loop.
        asyncio.get_running_loop().call_soon(self._give, chan)

    def _give(self, chan: SSHChannel[bytes]) -> None:
        with contextlib.suppress(OSError):  # it may have ended already without reading
            chan.write(self._given)
            if self._ends:
                chan.write_eof()


class TooMuch(Exception):
    pass


async def read_all(reader: asyncssh.SSHReader[bytes]) -> bytes:
    parts: list[bytes] = []
    size, pace = 0, Pace()
    while part := await reader.read(_CHUNK):
        parts.append(part)
        size += len(part)
        await pace.turn(len(part))
        if size > MAX_OUTPUT_BYTES:
            raise TooMuch
    return b"".join(parts)


def end(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Tell the remote process to end. sshd passes the signal to its process group, but not for root before 9.8."""
    with contextlib.suppress(OSError, asyncssh.Error):
        process.kill()
    process.channel.abort()
