"""How a source is logged in to: what `check` says of it, and what is right but not wise.

No value of a secret ever enters a message: a text where a reference belongs may well be one.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Protocol
from urllib.parse import urlsplit

from sovtui.config.locate import Path
from sovtui.config.schema import Config, EngineConfig, ModeConfig, Secret, SourceConfig
from sovtui.config.words import nearest

REFERENCE = '{ env = "NAME" }, { file = "~/PATH" } or { command = ["pass", "show", "NAME"] }'
SOURCES = ("prometheus", "alertmanager")
_KINDS = ("env", "file", "command")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_TELLING = re.compile(r"auth|token|secret|passw|cookie|credential|(api|access|private)[-_]?key|session", re.IGNORECASE)
"""Names of headers whose value is a secret."""
_OURS = frozenset(
    ("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLogin:
    """The login of an engine: a key at most."""

    bearer: Secret | None = None
    user: str = ""
    password: Secret | None = None
    headers: Mapping[str, str | Secret] = field(default_factory=dict)


LoginConfig = SourceConfig | EngineLogin


class Say(Protocol):
    def __call__(self, path: Path, message: str, place: Path | None = None) -> None: ...


def check_login(path: Path, source: Mapping[str, Any], say: Say) -> None:
    """Say what is wrong with user, password, bearer, headers and ca_file of one source's table."""
    for key in ("password", "bearer"):
        if key in source:
            _reference((*path, key), source[key], say)
    user = source.get("user", "")
    if isinstance(user, str) and ":" in user:
        say((*path, "user"), "cannot hold a colon")
    if user and "password" not in source:
        say((*path, "user"), f"needs a `password` = {REFERENCE}")
    if "password" in source and not user:
        say((*path, "password"), "needs a `user`; a token alone is `bearer`")
    if "bearer" in source and ("password" in source or user):
        say((*path, "bearer"), "is instead of `user` and `password`: leave out one of them")
    headers = source.get("headers")
    for name, value in headers.items() if isinstance(headers, dict) else ():
        _header((*path, "headers", name), name, value, say)
        if name.lower() == "authorization" and (user or "password" in source or "bearer" in source):
            say((*path, "headers", name), "says the login a second time: leave out one of them")
    ca_file = source.get("ca_file")
    if isinstance(ca_file, str) and ca_file:
        _file((*path, "ca_file"), ca_file, say)
        url = source.get("url")
        if isinstance(url, str) and url.lower().startswith("http://"):
            say((*path, "ca_file"), "is for an address that begins with https://")


def _header(path: Path, name: str, value: Any, say: Say) -> None:
    if not _HEADER.fullmatch(name):
        say(path, "is not the name of a header")
    elif name.lower() in _OURS:
        say(path, "is a header that sovtui sets itself")
    elif not isinstance(value, str):
        _reference(path, value, say)
    elif _TELLING.search(name):
        say(path, f"is a secret, and sovtui stores none; expected {REFERENCE}")
    elif not value or not value.isascii():
        say(path, "expected a text of plain letters, digits and signs")


def _reference(path: Path, value: Any, say: Say) -> None:
    if not isinstance(value, dict):
        written = "is written out, and sovtui stores no secrets; " if isinstance(value, str) else ""
        say(path, f"{written}expected {REFERENCE}")
        return
    for key in value:
        if key not in _KINDS:
            say((*path, key), f"unknown key{nearest(key, _KINDS) or '; known here: env, file, command'}")
    given = [key for key in _KINDS if key in value]
    if len(given) != 1:
        if all(key in _KINDS for key in value):
            say(path, f"expected exactly one of {REFERENCE}")
        return
    word = value[given[0]]
    place = (*path, given[0])
    if given[0] == "command":
        if not isinstance(word, list) or not word or not all(isinstance(part, str) and part for part in word):
            say(place, 'expected the program and its words as a list, ["pass", "show", "NAME"]')
    elif not isinstance(word, str) or not word:
        say(place, "expected a text in quotes")
    elif given[0] == "file":
        _file(place, word, say)
    elif not _VARIABLE.fullmatch(word):
        say(place, "is not the name of a variable; a secret itself is never written here")


def _file(path: Path, word: str, say: Say) -> None:
    if not word.startswith(("/", "~")):
        say(path, "expected a whole path that begins with / or ~/")


# --- right, but not wise ----------------------------------------------------------------------------------------------


def secrets_of(source: LoginConfig) -> tuple[tuple[str, Secret], ...]:
    """Every secret that a source's login needs, with what it is."""
    found = [("password", source.password), ("bearer", source.bearer), *((f"headers.{n}", v) for n, v in source.headers.items())]
    return tuple((what, secret) for what, secret in found if isinstance(secret, Secret))


def missing(config: Config, environment: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Of engines: host, name, and which key is not there, by its reference alone; whether the engine runs or not. Opens no file, runs no command."""
    for name, host in config.host.items():
        engines: tuple[ModeConfig | EngineConfig, ...] = (*host.mode, *host.engine)
        for engine in engines:
            secret = engine.bearer
            if secret is None:
                continue
            if secret.env and not environment.get(secret.env):
                yield name, engine.name, f"{secret} is not set"
            elif secret.file and not _exists(secret.file):
                yield name, engine.name, f"{secret} is not there"


def _exists(file: str) -> bool:
    try:
        return FilePath(file).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def warnings(config: Config) -> Iterable[tuple[str, str, str]]:
    """What the owner should know: the source's table, what is the matter, what to do. Looks at files, opens none."""
    for name in SOURCES:
        source: SourceConfig | None = getattr(config, name)
        if source is None:
            continue
        secrets = secrets_of(source)
        for what, secret in secrets:
            if secret.file and (text := _exposed(secret.file)):
                yield name, f"{what}: {text}", f"chmod 600 {secret.file}"
        if secrets and (text := _in_the_clear(config, source)):
            yield name, text, "Use https with `ca_file`, or reach it through the link of the host it runs on (`via`)."


def _exposed(file: str) -> str:
    try:
        mode = FilePath(file).expanduser().stat().st_mode
    except (OSError, RuntimeError):
        return ""  # whoever needs it will say so
    return f"others may read {file}" if stat.S_IMODE(mode) & 0o077 else ""


def _in_the_clear(config: Config, source: SourceConfig) -> str:
    parts = urlsplit(source.url)
    if parts.scheme != "http" or _is_loopback(parts.hostname or ""):
        return ""
    via = config.host.get(source.via)
    if via is not None and via.link == "ssh":
        return f"its login goes unencrypted from {source.via} to {parts.hostname}"
    return f"its login goes unencrypted over the network to {parts.hostname}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
