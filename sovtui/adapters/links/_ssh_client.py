"""What a server asks of us during a login: locked keys, passwords, codes. Host keys are only noted, `_ssh_host_keys` judges.

Must not keep a password or passphrase.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate, decode_ssh_certificate

from sovtui.adapters.links._ssh_algorithms import RSA, SIGNING, algorithm_of, host_keys_in, signatures_of, signed_with
from sovtui.adapters.links._ssh_keys import Keys
from sovtui.adapters.links._ssh_operator import Operator
from sovtui.adapters.links._ssh_place import Place
from sovtui.core.clean import clean
from sovtui.ports.link import Question

TRIES = 3
MAX_HEARD_BYTES = 300
MAX_EARLY_BYTES = 64 << 10
_MAX_ASKED = 12
"""Questions in one login; a server that asks more only teaches to type secrets."""
_MAX_PROMPTS = 8


def _check(how: str, taken: Collection[str], what: str) -> None:
    if how not in taken:
        raise asyncssh.KeyExchangeFailed(f"No {what} is taken with such a signature: {how}")


class Client(asyncssh.SSHClient):
    """What asyncssh asks us during a login, and where it says that the connection is lost."""

    def __init__(self, operator: Operator, place: Place, unlocked: dict[str, Any]) -> None:
        self._operator = operator
        self._unlocked = unlocked
        self._place = place
        unlock = self._unlock if operator.there else None
        self.keys = Keys(place, unlocked, unlock, operator.waiting)
        self.seen: asyncssh.SSHKey | None = None
        self.seen_ca: asyncssh.SSHKey | None = None
        self.peer = ""
        self.secrets_refused = False
        self._challenged = True
        """Whether the last attempt to answer questions came to a question: a server that asks none is not tried again."""
        self.secrets_asked = 0
        self.passwords_asked = 0
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.connection: asyncssh.SSHClientConnection | None = None
        """Set once there is a stream to the server."""
        self.connected_at = 0.0
        """Loop time."""
        self.heard_at = 0.0
        """Loop time of the last that came in this login."""
        self._early: bytearray | None = bytearray()
        self.host_keys_offered = ""
        """The server's algorithms for its host key, apart by commas; empty: not known."""
        self._greeted = False
        self.heard = b""
        """What came before the server's version: an sshd that is full says so there, and what is no sshd says what it is."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection, self.connected_at = conn, asyncio.get_running_loop().time()
        take = conn.data_received

        def hear(data: bytes, datatype: int | None = None) -> None:
            self.heard_at = asyncio.get_running_loop().time()
            if not self._greeted:
                self.heard += data
                self._greeted = b"SSH-" in self.heard or len(self.heard) > MAX_HEARD_BYTES
                self.heard = self.heard.partition(b"SSH-")[0][:MAX_HEARD_BYTES]
            if self._early is not None:
                self._listen(data)
            take(data, datatype)

        conn.data_received = hear  # type: ignore[method-assign]
        judge = conn.validate_server_host_key

        def look(key_data: bytes) -> asyncssh.SSHKey:
            """asyncssh takes a host key, and a host's certificate, whatever its signature is made with."""
            key = judge(key_data)
            if key_data != key.public_data:
                certificate = decode_ssh_certificate(key_data)
                assert isinstance(certificate, SSHOpenSSHCertificate)  # X.509 is not offered
                _check(signed_with(key_data, certificate.signing_key.public_data), self._place.authorities, "host certificate")
            verify = key.verify

            def signed(data: bytes, sig: bytes) -> bool:
                _check(algorithm_of(sig), signatures_of(self._place.host_algorithms), "host key")
                return verify(data, sig)

            key.verify = signed  # type: ignore[method-assign]
            return key

        conn.validate_server_host_key = look  # type: ignore[method-assign]

    def _listen(self, data: bytes) -> None:
        """What the server offers for its host key, which asyncssh does not compare: who has none of ours only hangs up."""
        assert self._early is not None
        self._early += data
        version = re.search(rb"^SSH-[^\n]*\n", self._early, re.MULTILINE)
        packet = self._early[version.end() :] if version else b""
        if len(packet) > 4 and len(packet) >= 4 + int.from_bytes(packet[:4], "big"):
            self.host_keys_offered, self._early = host_keys_in(bytes(packet)), None
        elif len(self._early) > MAX_EARLY_BYTES:
            self._early = None

    def hear_no_more(self) -> None:
        """The login is through: what comes from here on goes its way without us."""
        if self.connection is not None:
            del self.connection.data_received

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.seen, self.peer = key, addr  # recorded only: this is called for a changed key too
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.seen_ca, self.peer = key, addr
        return False

    def auth_banner_received(self, msg: str, lang: str) -> None:
        self._operator.banner(msg)

    async def public_key_auth_requested(self) -> Any:
        """Asked when all that was offered before is refused."""
        offered = await self.keys.next()
        signing = self._place.words.get(SIGNING, ())
        theirs = getattr(self.connection, "_server_sig_algs", ())  # empty also where it does not say: then it is an old one
        if any("rsa" in pair.algorithm.decode() for pair in offered) and not any(name.encode() in theirs for name in RSA):
            self._place.too_old = "ssh-rsa" not in signing
        return offered

    async def password_auth_requested(self) -> str | None:
        if not self._operator.there and not self._place.wanted:
            self._place.wanted = "a password"
        return await self._secret(f"Password for {self._place.label}", "")

    def kbdint_auth_requested(self) -> str | None:
        if not self._operator.there:
            self._place.wanted = "a password or a code"
        if not self._operator.there or self.secrets_refused or not self._challenged:
            return None
        self._challenged = False
        return ""

    async def kbdint_challenge_received(self, name: str, instructions: str, lang: str, prompts: Any) -> list[str] | None:
        self._challenged = True
        said = [clean(line, 200) for line in (name, *instructions.splitlines()[:20]) if line.strip()]
        if not prompts:  # nothing is asked, something is told
            for line in said:
                self._operator.tell(line)
            return []
        answers: list[str] = []
        for prompt, echo in prompts[:_MAX_PROMPTS]:
            text = "\n".join([*said, clean(prompt, 200)])
            answer = await self._secret(f"Login to {self._place.label}", text, shown=bool(echo))
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def password_change_requested(self, prompt: str, lang: str) -> Any:
        """The server takes the password but wants another. As ssh does, the old one is asked for once more."""
        said = "\n".join(clean(line, 200) for line in prompt.splitlines()[:20] if line.strip()) or "It wants a new password."
        old = await self._secret(f"{self._place.label} wants a new password", f"{said}\nThe password until now:")
        text = "The new password:"
        while old is not None:
            new = await self._secret(f"{self._place.label} wants a new password", text)
            again = (
                None if new is None else await self._secret(f"{self._place.label} wants a new password", "The same once more:")
            )
            if new is None or again is None:
                break
            if new == again:
                return old, new
            text = "They were not the same. The new password:"
        return NotImplemented

    def password_changed(self) -> None:
        self._operator.tell(f"{self._place.label} has taken the new password")

    def password_change_failed(self) -> None:
        self._operator.tell(f"{self._place.label} did not take the new password")

    async def _secret(self, title: str, text: str, *, shown: bool = False) -> str | None:
        if not self._operator.there or self.secrets_refused or self.secrets_asked >= _MAX_ASKED:
            return None
        if not text and self.passwords_asked >= TRIES:
            return None
        if not text:
            text = "The last one was not accepted. Type it again." if self.passwords_asked else "It is not kept."
            self.passwords_asked += 1
        self.secrets_asked += 1
        answer = await self._operator.answer(Question("shown" if shown else "secret", clean(title), text))
        self.secrets_refused = answer is None
        return answer

    async def _unlock(self, path: Path) -> asyncssh.SSHKey | None:
        """Ask for the passphrase of a key, at most three times."""
        text = f"The key is wanted by {self._place.label}."
        for _ in range(TRIES):
            passphrase = await self._operator.answer(Question("secret", clean(f"Passphrase for {path}"), clean(text)))
            if passphrase is None:
                return None
            try:
                key = await asyncio.to_thread(asyncssh.read_private_key, path, passphrase)
            except (OSError, ValueError) as error:
                wrong = isinstance(error, asyncssh.KeyEncryptionError) or "decrypt" in str(error)
                text = "That was not its passphrase." if wrong else f"It cannot be read: {error}."
            else:
                self._unlocked[str(path)] = key
                return key
        return None
