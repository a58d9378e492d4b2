"""Where a login goes, as the operator's ssh_config says it: name, port, known_hosts, keys, jump hosts.

Nothing is connected here and no key is used.
"""

from __future__ import annotations

import asyncio
import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncssh

from sovtui.adapters.links import _known_hosts
from sovtui.adapters.links._target import Target
from sovtui.adapters.links.ssh import Settings
from sovtui.core.clean import clean
from sovtui.ports.errors import Refused

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
CONNECT_SECONDS = 5.0
"""Until a server must be reached, unless ConnectTimeout says otherwise: by then five tries have been made."""
_TOKEN = re.compile(r"%(.)")


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
    alias: str | None = None
    identities: list[Path] = field(default_factory=list)
    locked: list[Path] = field(default_factory=list)
    tunnel: str | None = None
    """ProxyJump."""
    command: str | None = None
    """ProxyCommand, its tokens replaced."""
    family: int = 0
    local_address: str | None = None
    timeout_seconds: float = 15.0
    connect_seconds: float = 5.0
    """Of these: until the server is reached at all."""
    own_algorithms: bool = False
    accepted: list[asyncssh.SSHKey] = field(default_factory=list)
    """Accepted now, for this login, where there is no file to remember it in."""

    @property
    def known_name(self) -> str:
        return self.alias or _known_hosts.name_of(self.host, self.port)


async def look_up(place: Place, settings: Settings) -> None:
    """Fill in what ssh_config says of the place. Raises `Refused`."""
    target = place.target
    try:
        options = await asyncssh.SSHClientConnectionOptions.construct(
            None, host=target.name, config=config_words(settings), client_keys=None, **login_words(target)
        )
    except (OSError, asyncssh.Error, ValueError) as error:
        text = clean(str(error))
        raise Refused(f"the ssh configuration for {place.label} cannot be used: {text}", "Correct ssh_config.") from error
    config = options.config
    place.user, place.host, place.port = options.username, options.host, options.port
    place.alias, place.tunnel = options.host_key_alias, options.tunnel
    place.command = None if place.tunnel else cast("str | None", config.get("ProxyCommand"))
    place.family, place.local_address = options.family, cast("str | None", config.get("BindAddress"))
    place.own_algorithms = bool(config.get("HostKeyAlgorithms"))
    place.timeout_seconds = float(options.connect_timeout or settings.connect_timeout_seconds)
    place.connect_seconds = float(options.connect_timeout or min(CONNECT_SECONDS, place.timeout_seconds))
    home = _home() / ".ssh"
    tokens = {"%": "%", "d": str(home.parent), "h": place.host, "n": target.name, "p": str(place.port), "r": place.user}
    tokens |= {"k": place.alias or place.host, "u": _local_user()}

    def expand(text: str) -> Path:
        return _at_home(_TOKEN.sub(lambda found: tokens.get(found[1], found[0]), text))

    own = config.get("UserKnownHostsFile", None)
    users = [home / "known_hosts", home / "known_hosts2"] if own is None else [expand(word) for word in own]
    if settings.known_hosts is not None:
        users = [settings.known_hosts]
    system = config.get("GlobalKnownHostsFile", None) or ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
    place.writable = users[0] if users and str(users[0]) != "/dev/null" else None
    place.known_paths = users + ([] if settings.known_hosts is not None else [expand(word) for word in system])
    named = [_at_home(word) for word in config.get("IdentityFile", None) or []]
    candidates = named or [home / name for name in _DEFAULT_KEYS]
    place.locked = await asyncio.to_thread(_locked, candidates)
    # A named key that is not there is passed over, as ssh does; its public half may still pick one of the agent's.
    halves = [path if path.exists() else path.with_name(path.name + ".pub") for path in named]
    only = bool(config.get("IdentitiesOnly"))
    place.identities = [half for half in halves if half.exists() and (only or half.suffix != ".pub")]


def config_words(settings: Settings) -> Any:
    """What asyncssh takes as `config`."""
    return () if settings.config is None else [str(path) for path in settings.config]


def login_words(target: Target) -> dict[str, Any]:
    """User and port, where the address names them; ssh_config does otherwise."""
    words = {"username": target.user, "port": target.port}
    return {word: value for word, value in words.items() if value is not None}


def _locked(paths: Sequence[Path]) -> list[Path]:
    """Those that need a passphrase."""
    found = []
    for path in paths:
        try:
            asyncssh.read_private_key(path)
        except asyncssh.KeyImportError as error:
            if str(error).startswith("Passphrase"):
                found.append(path)
        except (OSError, ValueError):
            continue
    return found


def _home() -> Path:
    return Path.home()


def _at_home(text: str) -> Path:
    return Path(text).expanduser()


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
