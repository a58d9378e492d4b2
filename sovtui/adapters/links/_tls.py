"""TLS over a byte stream: the engine of the standard library between two buffers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from sovtui.core.clean import clean
from sovtui.ports.errors import Refused, Unreachable
from sovtui.ports.link import ByteStream


class Untrusted(Refused):
    """The certificate of the other side was not accepted."""


_NO_CA = "Put the certificate of the CA that signed it into a file, and that file into the configuration as `ca_file`."
_CLOCK = "Is the clock of this machine right?"
_WRONG_NAME = "Write the name that stands in its certificate into the configuration's `url`."
_WANTS_OURS = "wants a certificate of the client's, and sovtui has none"
_WHY: dict[int, tuple[str, str]] = {
    9: ("is not valid yet", _CLOCK),
    10: ("has expired", f"Renew it there. {_CLOCK}"),
    18: ("is self-signed and not trusted here", "If it is the right one, name it in the configuration as `ca_file`."),
    19: ("is from a CA that is not known here", _NO_CA),
    20: ("is from a CA that is not known here", _NO_CA),
    21: ("is from a CA that is not known here, or it is sent without those between", _NO_CA),
    23: ("has been revoked", "Renew it there."),
    62: ("is for another name", _WRONG_NAME),
    64: ("is for another address", _WRONG_NAME),
}
"""By OpenSSL's number of what is the matter (`X509_V_ERR_…`)."""


def context_for(ca_file: str) -> ssl.SSLContext:
    """What a client trusts: this file and nothing else, or what this machine trusts. Reads files: not on the event loop."""
    if not ca_file:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
    except FileNotFoundError:
        raise Untrusted(f"the ca_file {ca_file} is not there") from None
    except ssl.SSLError:
        raise Untrusted(f"the ca_file {ca_file} holds no certificate", "It has to be PEM: -----BEGIN CERTIFICATE-----") from None
    except (OSError, RuntimeError) as error:
        why = clean(str(getattr(error, "strerror", None) or error).lower(), 100)
        raise Untrusted(f"the ca_file {ca_file} cannot be read: {why}") from None
    # One's own CA seldom has every extension that Python 3.13 asks for, and a server's own certificate may be named too.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class Tls:
    """A byte stream that encrypts what passes to the one under it."""

    def __init__(self, under: ByteStream, context: ssl.SSLContext, server_hostname: str | None, name: str) -> None:
        self._under = under
        self._name = name
        self._heard = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._reading, self._writing = asyncio.Lock(), asyncio.Lock()
        self.engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def handshake(self) -> None:
        try:
            await self._pump(self.engine.do_handshake)
        except ssl.SSLCertVerificationError as error:
            told = clean(error.verify_message, 200)
            what, advice = _WHY.get(error.verify_code, (f"is not accepted: {told}", _NO_CA))
            raise Untrusted(f"the certificate of {self._name} {what}", advice) from error
        except ssl.SSLError as error:
            self._wants_ours(error)
            raise Unreachable(
                f"{self._name} does not speak TLS: {clean(error.reason or str(error), 200)}", "Is it http?"
            ) from error

    def _wants_ours(self, error: ssl.SSLError) -> None:
        if any(word in (error.reason or "") for word in ("ALERT_CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE")):
            raise Refused(f"{self._name} {_WANTS_OURS}", "A login by name or token is all that it can give.") from error

    async def read(self, max_bytes: int) -> bytes:
        try:
            told = cast(bytes, await self._pump(self.engine.read, max_bytes))
            self._heard = True
            return told
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            self._wants_ours(error)
            raise Unreachable(f"the TLS connection to {self._name} broke: {clean(error.reason or str(error), 200)}") from error

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[cast(int, await self._pump(self.engine.write, view[: 1 << 16])) :]
        except Unreachable as error:
            if self._heard:
                raise
            # Closed before it said anything: its reason is often lost with the connection.
            raise Unreachable(str(error), f"It may be that it {_WANTS_OURS}.") from error

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
