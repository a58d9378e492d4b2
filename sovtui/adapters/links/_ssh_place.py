"""Where a login goes, as the operator's ssh_config says it: name, port, known_hosts, keys, the way there.

Nothing is connected here and no key is used.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from sovtui.adapters.links import _known_hosts, _ssh_algorithms, _ssh_config
from sovtui.adapters.links._ssh_config import Said
from sovtui.adapters.links._ssh_way import Known
from sovtui.adapters.links._target import Target
from sovtui.adapters.links.ssh import Settings
from sovtui.core.addresses import is_address, misread
from sovtui.core.clean import Clean, clean
from sovtui.ports.errors import Refused

CONNECT_SECONDS = 5.0
"""Until a server must be reached, unless ConnectTimeout says otherwise: by then five tries have been made."""
_DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_SYSTEM_KNOWN = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_TOKEN = re.compile(r"%(.)")
_NAMES = "hnkruLl"
"""Tokens of ProxyCommand that stand for the name of a host or a user."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}


@dataclass(slots=True)
class Place:
    """One server on the way: a jump host or the host itself."""

    label: str
    """`spark (ops@spark)`, for messages."""
    target: Target
    user: str = ""
    host: str = ""
    port: int = 22
    known_paths: list[Path] = field(default_factory=list)
    writable: Path | None = None
    revoked: Path | None = None
    """RevokedHostKeys."""
    alias: str | None = None
    strict: str = "ask"
    """StrictHostKeyChecking for an unknown key: `ask`, `yes` (refused without a question) or `accept-new`."""
    hashed: bool = False
    """HashKnownHosts: names are written so that they cannot be read."""
    named: list[Path] = field(default_factory=list)
    """IdentityFile."""
    usual: list[Path] = field(default_factory=list)
    """The keys that ssh tries where none is named."""
    certificates: list[Path] = field(default_factory=list)
    only: bool = False
    """IdentitiesOnly."""
    agent: str = ""
    """The agent's socket."""
    agent_trouble: str = ""
    """Why the agent gave no keys, if it should have."""
    too_old: bool = False
    """It takes RSA keys with SHA-1 only, and there is one that was not offered so."""
    locked: list[Path] = field(default_factory=list)
    """Keys that the server may take and whose passphrase nobody gave."""
    wanted: str = ""
    """What it would have taken, had there been somebody to ask."""
    quiet: bool = False
    """BatchMode: nobody is asked anything."""
    tunnel: str | None = None
    """ProxyJump."""
    command: str | None = None
    """ProxyCommand, its tokens replaced."""
    family: int = 0
    local_address: str | None = None
    timeout_seconds: float = 15.0
    connect_seconds: float = 5.0
    """Of these: until the server is reached at all."""
    alive_seconds: float | None = None
    """ServerAliveInterval."""
    words: dict[str, Any] = field(default_factory=dict)
    """What else ssh_config says, for `asyncssh.connect`."""
    host_algorithms: tuple[str, ...] = ()
    """For its host key: those that it is told we take."""
    authorities: tuple[str, ...] = _ssh_algorithms.SIGNATURES
    """Signatures that are taken under a host's certificate."""
    notes: tuple[Clean, ...] = ()
    """What of ssh_config could not be taken into account."""
    accepted: list[asyncssh.SSHKey] = field(default_factory=list)
    """Accepted now, for this login, where there is no file to remember it in."""

    formerly: str = ""
    """What its host key was remembered by until somebody knew a better name."""
    vouched: list[asyncssh.SSHKey] = field(default_factory=list)
    """Host keys that `vouched_by` tells: only these are accepted, and known_hosts must not say otherwise."""
    vouched_by: str = ""

    def take(self, known: Known) -> None:
        """What somebody knows of the place. A name that ssh_config gives its host key (HostKeyAlias) comes first."""
        if known.called and not self.alias and is_address(self.host):
            self.formerly, self.alias = self.known_name, known.called
        self.vouched_by = known.told_by
        self.vouched = []
        for line in known.host_keys:
            with contextlib.suppress(ValueError, asyncssh.Error):
                self.vouched.append(asyncssh.import_public_key(line))

    @property
    def known_name(self) -> str:
        return self.alias or _known_hosts.name_of(self.host, self.port)


async def look_up(place: Place, settings: Settings) -> None:
    """Fill in what ssh_config says of the place. Raises `Refused`, `Unreachable`."""
    for word, what in ((place.target.user or "", "user"), (place.target.name, "name")):
        if wrong := misread(word, user=what == "user"):  # before anybody reads it: `Match exec` makes a command of it
            raise Refused(clean(f"the {what} in the address of {place.label} is refused: {wrong}"), "Correct the address.")
    said = await _ssh_config.read(place.target, settings.config, place.label)
    place.user, place.host, place.port = said.one("user"), said.one("hostname"), int(said.one("port"))
    place.alias = said.one("hostkeyalias") or None
    tokens = _tokens(place)

    def expand(text: str) -> str:
        return _TOKEN.sub(lambda found: tokens.get(found[1], found[0]), text)

    def path(text: str) -> Path:
        return Path(expand(_VARIABLE.sub(lambda found: os.environ.get(found[1], ""), text))).expanduser()

    place.tunnel = expand(said.one("proxyjump")) or None
    place.command = None if place.tunnel else _command(place, said.one("proxycommand"), tokens) or None
    if place.command and said.yes("proxyusefdpass"):
        raise Refused(f"ProxyUseFdpass of {place.label} is not understood here", "Give a ProxyCommand that carries the data.")
    place.family = _FAMILIES.get(said.one("addressfamily"), 0)
    place.local_address = said.one("bindaddress") or None
    place.timeout_seconds = _seconds(said.one("connecttimeout")) or settings.connect_timeout_seconds
    place.connect_seconds = _seconds(said.one("connecttimeout")) or min(CONNECT_SECONDS, place.timeout_seconds)
    place.alive_seconds = _seconds(said.one("serveraliveinterval")) or None
    _look_up_hosts(place, said, settings, path)
    home = Path.home() / ".ssh"
    place.named = [path(word) for word in said.chosen("identityfile")]
    place.usual = [] if place.named or said.silenced("identityfile") else [home / name for name in _DEFAULT_KEYS]
    place.certificates = [path(word) for word in said.chosen("certificatefile")]
    place.only = said.yes("identitiesonly")
    place.agent = _agent(said, path)
    place.words = _other_words(place, said)
    place.authorities = _ssh_algorithms.authorities(said)
    place.quiet = said.yes("batchmode")
    place.notes = said.notes


def _command(place: Place, line: str, tokens: Mapping[str, str]) -> str:
    """A ProxyCommand with its tokens replaced. The line is the user's own, for a shell; what is put into it must be no more than names."""

    def put(found: re.Match[str]) -> str:
        word = tokens.get(found[1], found[0])
        user = found[1] in "ru"
        wrong = "it holds $" if found[1] in _NAMES and "$" in word else misread(word, user=user) if found[1] in _NAMES else ""
        if wrong:
            text = clean(f"ProxyCommand of {place.label} is not run: {found[0]} would be {word!r}, and {wrong}")
            raise Refused(text, "Correct the address, or User and HostName in ssh_config.")
        return word

    return _TOKEN.sub(put, line)


def _look_up_hosts(place: Place, said: Said, settings: Settings, path: Callable[[str], Path]) -> None:
    """Where known host keys are, and what to do with one that is not."""
    home = Path.home() / ".ssh"
    users = [path(word) for word in said.chosen("userknownhostsfile")]
    if not users and not said.silenced("userknownhostsfile"):
        users = [home / "known_hosts", home / "known_hosts2"]
    system = [path(word) for word in said.chosen("globalknownhostsfile")]
    if not system and not said.silenced("globalknownhostsfile"):
        system = [Path(name) for name in _SYSTEM_KNOWN]
    if settings.known_hosts is not None:
        users, system = [settings.known_hosts], []
    place.writable = users[0] if users and str(users[0]) != os.devnull else None
    place.known_paths = users + system
    place.revoked = path(said.one("revokedhostkeys")) if said.one("revokedhostkeys") else None
    place.hashed = said.yes("hashknownhosts")
    # ssh's `no` takes even a changed key (without a password); here a changed key is never taken.
    new = said.no("stricthostkeychecking") or said.one("stricthostkeychecking").lower() == "accept-new"
    place.strict = "accept-new" if new else "yes" if said.yes("stricthostkeychecking") else "ask"


def _other_words(place: Place, said: Said) -> dict[str, Any]:
    words: dict[str, Any] = _ssh_algorithms.chosen(said, place.label)
    off = {method for method, keyword in _METHODS.items() if said.no(keyword)}
    preferred = said.one("preferredauthentications").split(",") if said.one("preferredauthentications") else list(_METHODS)
    words["preferred_auth"] = [method for method in preferred if method not in off and method in _METHODS] or ["none"]
    amount, _, seconds = said.one("rekeylimit").partition(" ")
    words |= {"rekey_bytes": amount} if amount not in ("", "0") else {}
    words |= {"rekey_seconds": _seconds(seconds)} if _seconds(seconds) else {}
    words["tcp_keepalive"] = not said.no("tcpkeepalive")
    variables = [pair for value in said.chosen("setenv") for pair in [value.partition("=")] if pair[1]]
    if variables:
        words["env"] = {name: value for name, _, value in variables}
    return words


def _agent(said: Said, path: Callable[[str], Path]) -> str:
    text = said.one("identityagent")
    if said.silenced("identityagent"):
        return ""
    if text in ("", "SSH_AUTH_SOCK"):
        return os.environ.get("SSH_AUTH_SOCK", "")
    return os.environ.get(text[1:], "") if text.startswith("$") and not text.startswith("${") else str(path(text))


def _tokens(place: Place) -> dict[str, str]:
    """What ssh replaces in its values."""
    name, user = socket.gethostname(), _local_user()
    seen = name + place.host + str(place.port) + place.user + (place.tunnel or "")
    return {
        "%": "%",
        "C": hashlib.sha1(seen.encode()).hexdigest(),  # noqa: S324 - as ssh names a connection
        "d": str(Path.home()),
        "h": place.host,
        "i": str(os.getuid()) if hasattr(os, "getuid") else "",
        "j": place.tunnel or "",
        "k": place.alias or place.target.name,
        "L": name.partition(".")[0],
        "l": name,
        "n": place.target.name,
        "p": str(place.port),
        "r": place.user,
        "u": user,
    }


def _seconds(text: str) -> float:
    """`30`, `5m`, `1h30m`; 0 where it says nothing."""
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    return float(sum(int(number) * units[unit.lower()] for number, unit in re.findall(r"(\d+)([smhdwSMHDW]?)", text)))


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
