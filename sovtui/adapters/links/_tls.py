"""TLS over a byte stream: the engine of the standard library between two buffers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from sovtui.core.clean import clean
from sovtui.ports.errors import Refused, Unreachable
from sovtui.ports.link import ByteStream


class Tls:
    """A byte stream that encrypts what passes to the one under it."""

    def __init__(self, under: ByteStream, context: ssl.SSLContext, server_hostname: str | None, name: str) -> None:
        self._under = under
        self._name = name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._reading, self._writing = asyncio.Lock(), asyncio.Lock()
        self.engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def handshake(self) -> None:
        try:
            await self._pump(self.engine.do_handshake)
        except ssl.SSLCertVerificationError as error:
            advice = "Give its certificate to this machine's trust store, or use http over the link."
            raise Refused(
                f"the certificate of {self._name} is not trusted: {clean(error.verify_message, 200)}", advice
            ) from error
        except ssl.SSLError as error:
            raise Unreachable(
                f"{self._name} does not speak TLS: {clean(error.reason or str(error), 200)}", "Is it http?"
            ) from error

    async def read(self, max_bytes: int) -> bytes:
        try:
            return cast(bytes, await self._pump(self.engine.read, max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise Unreachable(f"the TLS connection to {self._name} broke: {clean(error.reason or str(error), 200)}") from error

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[cast(int, await self._pump(self.engine.write, view[: 1 << 16])) :]

    def readable_or_closed(self) -> bool:
        return self._incoming.pending > 0 or self.engine.pending() > 0 or self._under.readable_or_closed()

    async def aclose(self) -> None:
        await self._under.aclose()

    async def _pump(self, act: Callable[..., Any], *words: Any) -> Any:
        """Do `act`, moving bytes below until it is through."""
        while True:
            try:
                result = act(*words)
            except ssl.SSLWantReadError:
                await self._flush()
                async with self._reading:
                    data = await self._under.read(1 << 16)
                    self._incoming.write(data) if data else self._incoming.write_eof()
            except ssl.SSLError:
                await self._flush()  # an alert tells the other side
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        async with self._writing:
            if data := self._outgoing.read():
                await self._under.write(data)
