"""ssh_config where there is no ssh to ask: asyncssh's parser, which passes over what it does not know and says so.

Must not decide anything: it tells in ssh's own words (`_ssh_config.Said`) what the files say.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import shlex
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asyncssh.config import ConfigParseError, SSHClientConfig

from sovtui.adapters.links._ssh_config import Said
from sovtui.adapters.links._target import Target
from sovtui.core.addresses import is_address
from sovtui.core.clean import Clean, clean
from sovtui.ports.errors import Refused

_FAMILIES = {int(socket.AF_UNSPEC): "any", int(socket.AF_INET): "inet", int(socket.AF_INET6): "inet6"}
_MATCHES = frozenset(("all", "canonical", "final", "exec", "host", "originalhost", "user", "localuser", "tagged"))
_STRICT = frozenset(("host", "match", "include", "hostname", "port", "user", "proxyjump", "proxycommand", "userknownhostsfile"))
"""Where a value that cannot be read means that the login would go elsewhere, or trust somebody else."""
_MORE = (
    "StrictHostKeyChecking",
    "HashKnownHosts",
    "RevokedHostKeys",
    "ProxyUseFdpass",
    "ConnectTimeout",
    "ServerAliveInterval",
    "BatchMode",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAcceptedKeyTypes",
)
"""Keywords that asyncssh passes over or reads more narrowly than ssh does."""


async def read(target: Target, files: Sequence[Path], label: str) -> Said:
    """What the files say of `target`. Raises `Refused`."""
    try:
        config, host, notes = await asyncio.to_thread(_load, target, files)
    except (OSError, ValueError) as error:
        text = clean(str(error), 400)
        raise Refused(f"the ssh configuration for {label} cannot be used: {text}", "Correct ssh_config.") from error
    values = {word.lower(): _words(value) for word, value in config.items()}
    values.setdefault("hostname", (host,))
    values.setdefault("user", (_local_user(),))
    values.setdefault("port", ("22",))
    return Said(values, {}, tuple(dict.fromkeys(notes)))


def _load(target: Target, files: Sequence[Path]) -> tuple[dict[str, Any], str, list[Clean]]:
    """Options, the canonical name, and notes. As ssh does, everything is read once more for a canonical name or `final`."""
    first = _parsed(None, target, target.name, files)
    canonical = _canonical(target.name, first)
    if canonical is None and not first.has_match_final():
        return first.options, target.name, first.notes
    host = canonical or str(first.options.get("Hostname", target.name))
    second = _parsed(first, target, host, files, canonical=canonical is not None, final=True)
    return {**second.options, "Hostname": host}, host, [*first.notes, *second.notes]


def _parsed(
    before: _Config | None, target: Target, host: str, files: Sequence[Path], *, canonical: bool = False, final: bool = False
) -> _Config:
    user: Any = () if target.user is None else target.user
    port: Any = () if target.port is None else target.port
    config = _Config(before, False, canonical, final, _local_user(), user, host, port)
    config.original = target.name
    for path in files:
        config.parse(path)
    return config


def _canonical(name: str, config: _Config) -> str | None:
    """The first of CanonicalDomains in which the name is known. CNAMEs are not followed."""
    options = config.options
    domains = options.get("CanonicalDomains") or []
    if not options.get("CanonicalizeHostname") or name.count(".") > int(options.get("CanonicalizeMaxDots", 1)):
        return None
    if is_address(name):
        return None
    for domain in domains:
        try:
            socket.getaddrinfo(f"{name}.{domain}", None)
        except OSError:
            continue
        return f"{name}.{domain}"
    if options.get("CanonicalizeFallbackLocal") is False:
        raise OSError(f"{name} is in none of the CanonicalDomains")
    return None


def _words(value: Any) -> tuple[str, ...]:
    """A value as `ssh -G` would print it."""
    if isinstance(value, bool) or value is None:
        return ({True: "yes", False: "no", None: "none"}[value],)
    if isinstance(value, list):
        return tuple(dict.fromkeys(map(str, value))) or ("none",)
    if isinstance(value, tuple):
        return (" ".join(str(part or 0) for part in value),)
    if isinstance(value, socket.AddressFamily):
        return (_FAMILIES[int(value)],)
    return (str(value),)


Handler = Callable[[Any, str, list[str]], None]


def _patient(word: str, handler: Handler) -> Handler:
    """The same, without comments at the end of a line; what it cannot read is passed over and noted where that does no harm."""

    def handle(config: _Config, option: str, args: list[str]) -> None:
        if word != "proxycommand":
            comment = next((at for at, arg in enumerate(args) if at and arg.startswith("#")), len(args))
            del args[comment:]
        rival = {"proxyjump": "ProxyCommand", "proxycommand": "ProxyJump"}.get(word)
        if rival in config.options:  # the one that comes first counts
            args.clear()
            return
        try:
            handler(config, option, args)
        except ConfigParseError as error:
            if word in _STRICT:
                raise
            config.notes.append(clean(f"ignored in ssh_config: {error}", 300))
            args.clear()

    return handle


class _Config(SSHClientConfig):
    """As asyncssh reads it; tokens stay as they are, `Match` blocks with a criterion unknown here do not match."""

    _percent_expand: set[str] = set()  # noqa: RUF012 - of the class above

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.notes: list[Clean] = []
        self.original = self._orig_host

    @property
    def options(self) -> dict[str, Any]:
        return self._options

    def _match_val(self, match: str) -> object:
        return self.original if match == "originalhost" else super()._match_val(match)

    def _match(self, option: str, args: list[str]) -> None:
        line = self._path.read_text().splitlines()[self._line_no - 1]
        args[:] = shlex.split(line, comments=True)[1:]  # what came in was taken apart at every `=`, also in a command
        unknown, at = "", 0
        while at < len(args) and not unknown:
            word = args[at].lower().removeprefix("!")
            if word not in _MATCHES:
                unknown = word
            elif word == "exec" and at + 1 < len(args):
                self._set_tokens()
                args[at + 1] = re.sub("%(.)", lambda found: self._tokens.get(found[1], found[0]), args[at + 1])
            at += 1 if word in ("all", "canonical", "final") else 2
        if unknown:
            where = f"{self._path} line {self._line_no}"
            self.notes.append(clean(f"`Match {unknown}` in {where} is not understood here: what follows it is ignored", 300))
            args.clear()
            self._matching = False
            return
        super()._match(option, args)

    _handlers = {  # noqa: RUF012 - of the class above
        **{word: (name, _patient(word, handler)) for word, (name, handler) in SSHClientConfig._handlers.items()},
        **{word.lower(): (word, _patient(word.lower(), SSHClientConfig._set_string)) for word in _MORE},
        "match": ("Match", _patient("match", lambda config, option, args: config._match(option, args))),
    }


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
