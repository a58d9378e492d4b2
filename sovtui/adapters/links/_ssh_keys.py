"""The keys that a server is offered, in order: those that ssh_config names, the agent's others, the usual files.

A server counts every key that it refuses (MaxAuthTries, six by default), so what was named comes first, wherever its
private half is. A locked key is offered like any other and unlocked only once the server says that it would take it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.agent import SSHAgentClient, SSHAgentKeyPair
from asyncssh.public_key import SSHCertificate, SSHKeyPair, SSHLocalKeyPair
from asyncssh.sk import sk_available

from sovtui.adapters.links._ssh_place import Place
from sovtui.core.clean import clean

AGENT_SECONDS = 5.0
"""For an agent to list its keys. Signing may take longer: it may ask somebody, or wait for a touch."""
_SECURITY_KEY = b"sk-"

Unlock = Callable[[Path], Awaitable[asyncssh.SSHKey | None]]
"""The private half of a locked key; None: it is not to be had."""
Wait = Callable[[str], AbstractContextManager[None]]
"""Somebody may have to act meanwhile: the clock stands still, and a text that is not empty is told."""


class Keys:
    """What one server is offered, once."""

    def __init__(self, place: Place, unlocked: dict[str, Any], unlock: Unlock | None, wait: Wait) -> None:
        """`unlocked`: keys whose passphrase is known, by path. `unlock` is None where nobody can be asked."""
        self._place, self._unlocked, self._unlock, self._wait = place, unlocked, unlock, wait
        self._agent: SSHAgentClient | None = None
        self._blind: list[Path] = []
        self._batches = 0

    async def next(self) -> list[SSHKeyPair]:
        """All that can be offered as it is; then, one by one, the locked keys that do not tell their public half."""
        self._batches += 1
        if self._batches == 1 and (offered := await self._first()):
            return offered
        while self._blind and self._unlock is not None:
            path = self._blind.pop(0)
            key = await self._unlock(path)
            if key is not None:
                self._place.locked.remove(path)
                return _pairs(key, await asyncio.to_thread(_certificates, [_beside(path), *self._place.certificates]))
        return []

    def close(self) -> None:
        if self._agent is not None:
            self._agent.close()

    async def _first(self) -> list[SSHKeyPair]:
        place = self._place
        held = await self._held()
        named, usual = [await asyncio.to_thread(_read, paths) for paths in (place.named, place.usual)]
        certificates = await asyncio.to_thread(_certificates, place.certificates)
        offered: dict[bytes, SSHKeyPair] = {}

        def offer(pairs: Sequence[SSHKeyPair]) -> None:
            for pair in pairs:
                offered.setdefault(pair.public_data, pair)

        for half in named:
            offer(self._of(half, held, certificates))
        if not place.only:
            for pair in held:
                offer([*(_with(self._patient(pair), c) for c in certificates if c.key.public_data == pair.public_data), pair])
        for half in usual:
            offer(self._of(half, held, certificates))
        return list(offered.values())

    def _of(self, half: _Half, held: Sequence[SSHKeyPair], certificates: Sequence[SSHCertificate]) -> list[SSHKeyPair]:
        """What one key file gives: its private half, the agent's, or a promise to unlock it. Certificates come first."""
        mine = [c for c in [*half.certificates, *certificates] if c.key.public_data == half.public_data]
        from_agent = [pair for pair in held if pair.key_public_data in (half.public_data, *(c.public_data for c in mine))]
        key = half.key or self._unlocked.get(str(half.path))
        if key is not None and key.algorithm.startswith(_SECURITY_KEY) and not from_agent and not sk_available:
            self._place.agent_trouble = clean(f"{half.path} is of a security key, which only an agent can use here: ssh-add it")
            return []
        if key is not None and not (key.algorithm.startswith(_SECURITY_KEY) and from_agent):
            return _pairs(key, mine)
        if from_agent:
            certified = [pair for pair in from_agent if pair.has_cert]
            plain = [pair for pair in from_agent if not pair.has_cert]
            if not certified:
                certified = [_with(self._patient(pair), c) for pair in plain for c in mine[:1]]
            return [*certified, *plain]
        if not half.locked:
            return []
        self._place.locked.append(half.path)
        if half.public is None:
            self._blind.append(half.path)
        elif self._unlock is not None:
            return [_with(_Locked(half, self), c) for c in mine[:1]] + [_Locked(half, self)]
        return []

    async def unlock(self, path: Path) -> asyncssh.SSHKey | None:
        """The server would take this key."""
        key = await self._unlock(path) if self._unlock is not None else None
        if key is not None and path in self._place.locked:
            self._place.locked.remove(path)
        return key

    async def _held(self) -> list[SSHKeyPair]:
        """The agent's keys."""
        if not self._place.agent:
            return []
        self._agent = SSHAgentClient(self._place.agent)
        try:
            async with asyncio.timeout(AGENT_SECONDS):
                return [self._patient(pair) for pair in await self._agent.get_keys()]
        except TimeoutError:
            self._place.agent_trouble = f"the agent at {clean(self._place.agent, 120)} does not answer"
        except (OSError, ValueError) as error:
            reason = clean(str(getattr(error, "strerror", "") or error), 120)
            self._place.agent_trouble = f"the agent at {clean(self._place.agent, 120)} gives no keys: {reason}"
        return []

    def _patient(self, pair: SSHKeyPair) -> SSHKeyPair:
        assert self._agent is not None
        return _Held(self._agent, pair.algorithm, pair.public_data, pair.get_comment_bytes() or b"", self._wait)


class _Held(SSHAgentKeyPair):
    """A key in the agent, which may have to ask somebody before it signs."""

    def __init__(self, agent: SSHAgentClient, algorithm: bytes, public_data: bytes, comment: bytes, wait: Wait) -> None:
        super().__init__(agent, algorithm, public_data, comment)
        self._hold_on = wait

    async def sign_async(self, data: bytes) -> bytes:
        touch = self.algorithm.startswith(_SECURITY_KEY)
        comment = clean((self.get_comment_bytes() or b"").decode("utf-8", "replace"), 80)
        with self._hold_on(f"Touch the security key {comment}".rstrip() if touch else ""):
            return await super().sign_async(data)


class _Locked(SSHLocalKeyPair):
    """A key file whose passphrase is asked for when the server would take the key."""

    def __init__(self, half: _Half, keys: Keys) -> None:
        assert half.public is not None
        super().__init__(half.public, None, None, None)
        self._half, self._keys = half, keys

    async def sign_async(self, data: bytes) -> bytes:
        key = await self._keys.unlock(self._half.path)
        if key is None or key.public_data != self.key_public_data:
            raise ValueError(f"{self._half.path} stays locked")
        return await asyncio.to_thread(key.sign, data, self.sig_algorithm)


class _Half:
    """A key file as far as it can be read without its passphrase."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key: asyncssh.SSHKey | None = None
        self.public: asyncssh.SSHKey | None = None
        self.locked = False
        self.certificates = _certificates([_beside(path)])
        try:
            self.key = asyncssh.read_private_key(path)
        except asyncssh.KeyImportError as error:
            self.locked = str(error).startswith("Passphrase")
        except (OSError, ValueError):
            pass  # a named key that is not there is passed over, as ssh does; its public half may still pick the agent's
        for name in () if self.key is not None else (path.with_name(path.name + ".pub"), path):
            try:
                self.public = asyncssh.read_public_key(name)
                break
            except (OSError, ValueError):
                continue

    @property
    def public_data(self) -> bytes:
        known = self.key or self.public
        return known.public_data if known is not None else b""


def _read(paths: Sequence[Path]) -> list[_Half]:
    return [_Half(path) for path in paths]


def _beside(path: Path) -> Path:
    return path.with_name(path.name + "-cert.pub")


def _certificates(paths: Sequence[Path]) -> list[SSHCertificate]:
    found: list[SSHCertificate] = []
    for path in paths:
        try:
            found.append(asyncssh.read_certificate(path))
        except (OSError, ValueError):
            continue
    return found


def _pairs(key: asyncssh.SSHKey, certificates: Sequence[SSHCertificate]) -> list[SSHKeyPair]:
    """A private key with its certificate, then without."""
    mine = [c for c in certificates if c.key.public_data == key.public_data]
    return [*(SSHLocalKeyPair(key, None, c, None) for c in mine[:1]), SSHLocalKeyPair(key, None, None, None)]


def _with(pair: SSHKeyPair, certificate: SSHCertificate) -> SSHKeyPair:
    pair.set_certificate(certificate)
    return pair
