"""What a server asks of us during a login: locked keys, passwords, codes. Host keys are only noted, `_ssh_host_keys` judges.

Must not keep a password or passphrase.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh

from sovtui.adapters.links._ssh_operator import Operator
from sovtui.adapters.links._ssh_place import Place
from sovtui.core.clean import clean
from sovtui.ports.link import Question

TRIES = 3
MAX_HEARD_BYTES = 300


class Client(asyncssh.SSHClient):
    """What asyncssh asks us during a login, and where it says that the connection is lost."""

    def __init__(self, operator: Operator, place: Place, unlocked: dict[str, Any]) -> None:
        self._operator = operator
        self._unlocked = unlocked
        self._place = place
        self.seen: asyncssh.SSHKey | None = None
        self.seen_ca: asyncssh.SSHKey | None = None
        self.peer = ""
        self.secrets_refused = False
        self.secrets_asked = 0
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.connection: asyncssh.SSHClientConnection | None = None
        """Set once there is a stream to the server."""
        self.connected_at = 0.0
        """Loop time."""
        self.heard = b""
        """What came before the server's version: an sshd that is full says so there, and what is no sshd says what it is."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection, self.connected_at = conn, asyncio.get_running_loop().time()
        take = conn.data_received

        def hear(data: bytes, datatype: int | None = None) -> None:
            self.heard += data
            if b"SSH-" in self.heard or len(self.heard) > MAX_HEARD_BYTES:
                self.heard = self.heard.partition(b"SSH-")[0][:MAX_HEARD_BYTES]
                del conn.data_received  # from here on it is as it was
            take(data, datatype)

        conn.data_received = hear  # type: ignore[method-assign]

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
        """Asked after the agent's and the open keys were refused: now the locked ones."""
        while self._place.locked:
            path = self._place.locked[0]
            key = self._unlocked.get(str(path))
            if key is None and self._operator.there:
                key = await self._unlock(path)
            if key is None and not self._operator.there:
                return None
            self._place.locked.pop(0)
            if key is not None:
                return [key]
        return None

    async def password_auth_requested(self) -> str | None:
        return await self._secret(f"Password for {self._place.label}", "")

    def kbdint_auth_requested(self) -> str | None:
        return "" if self._operator.there and not self.secrets_refused else None

    async def kbdint_challenge_received(self, name: str, instructions: str, lang: str, prompts: Any) -> list[str] | None:
        answers: list[str] = []
        for prompt, _echo in prompts:
            lines = [clean(line, 200) for line in (name, *instructions.splitlines()[:20], prompt) if line.strip()]
            answer = await self._secret(f"Login to {self._place.label}", "\n".join(lines))
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def _secret(self, title: str, text: str) -> str | None:
        if not self._operator.there or self.secrets_refused or self.secrets_asked >= 2 * TRIES:
            return None
        if not text and self.secrets_asked >= TRIES:
            return None
        if not text:
            text = "The last one was not accepted. Type it again." if self.secrets_asked else "It is not kept."
        self.secrets_asked += 1
        answer = await self._operator.answer(Question("secret", clean(title), text))
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
