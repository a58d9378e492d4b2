"""OpenSSH's known_hosts files: who is known, in which line, and adding a line.

Must not decide what an unknown or changed key means: `_ssh_host_keys` does.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from sovtui.config import files

MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that speaks of the host."""

    path: Path
    line: int
    key: asyncssh.SSHKey
    marker: str
    """`` (a host key), `ca` or `revoked`."""

    def where(self) -> str:
        return f"{self.path} line {self.line}"


def name_of(host: str, port: int) -> str:
    """The word that OpenSSH writes for a host and port."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


class KnownHosts:
    """The files as they are now. Lines that cannot be read are passed over, as OpenSSH does."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._lines: list[tuple[Path, int, str]] = []
        for path in paths:
            try:
                with path.open("rb") as file:
                    text = file.read(MAX_BYTES).decode("utf-8", "replace")
            except (FileNotFoundError, NotADirectoryError):
                continue
            self._lines += [(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]

    def lookup(self, name: str) -> list[Entry]:
        """Every line that speaks of exactly this name (no fallback to the default port)."""
        found: list[Entry] = []
        name = name.lower()
        for path, number, line in self._lines:
            words = line.split(None, 2)
            patterns = words[1] if words[0].startswith("@") and len(words) > 1 else words[0]
            if not patterns.startswith("|"):  # capitals do not count in names
                line, patterns = line.replace(patterns, patterns.lower(), 1), patterns.lower()
            if name not in patterns.split(",") and not any(c in patterns for c in "*?|!"):
                continue
            try:
                keys, authorities, revoked, *_ = asyncssh.import_known_hosts(line).match(name, "", None)
            except (ValueError, asyncssh.Error):
                continue
            for marker, group in (("", keys), ("ca", authorities), ("revoked", revoked)):
                found += [Entry(path, number, key, marker) for key in group]
        return found


def hashed(name: str) -> str:
    """The name as HashKnownHosts writes it: whoever reads the file does not learn where its owner goes."""
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), "sha1")
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


def revoked(path: Path) -> list[Entry]:
    """The keys of a RevokedHostKeys file with a key per line. Raises `OSError`, and `ValueError` for one that cannot be read."""
    data = path.read_bytes()
    if data.startswith(b"SSHKRL"):
        raise ValueError("it is a binary list (KRL), which cannot be read here; keys in text can")
    lines = data.decode("utf-8", "replace").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[0] != "#"]
    found = []
    for number, line in numbered:
        try:
            found.append(Entry(path, number, asyncssh.import_public_key(line), "revoked"))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return found


def add(path: Path, name: str, key: asyncssh.SSHKey) -> str:
    """Append the line that OpenSSH would write, whole or not at all, and return it. Raises `OSError`."""
    algorithm, blob = key.export_public_key("openssh").decode("ascii").split()[:2]
    line = f"{name} {algorithm} {blob}\n"
    files.append(path, line.encode())
    return line


def trusted(entries: Sequence[Entry]) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
    """Host keys, authorities and revoked keys, as asyncssh wants them.

    A revoked key is simply not trusted, so that it is shown to us; the list itself is of use for what an authority has signed.
    """
    keys, authorities, banned = ([e.key for e in entries if e.marker == marker] for marker in ("", "ca", "revoked"))
    return (
        [key for key in keys if key not in banned],
        [key for key in authorities if key not in banned],
        banned if authorities else [],
    )
