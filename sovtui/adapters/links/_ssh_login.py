"""Logging in with asyncssh: jump hosts, host keys, keys with a passphrase, passwords, and what went wrong in words.

Must not keep a password or passphrase. Must not accept a changed host key, whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import getpass
import re
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from sovtui.adapters.links import _known_hosts
from sovtui.adapters.links._known_hosts import Entry, KnownHosts
from sovtui.adapters.links._ssh_link import SshLink
from sovtui.adapters.links._target import Target, parse
from sovtui.adapters.links.ssh import Settings
from sovtui.core.clean import Clean, clean
from sovtui.ports.errors import HostKeyError, PortError, Refused, TimedOut, Unreachable
from sovtui.ports.link import Ask, Question

MAX_HOPS = 8
TRIES = 3
_LOGIN_URL_SECONDS = 600.0
"""How long a login may take after the server has shown a URL (Tailscale's check mode)."""

_PLAIN_ALGORITHMS = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)
_CERT_ALGORITHMS = tuple(f"{name}-cert-v01@openssh.com" for name in _PLAIN_ALGORITHMS)
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_TOKEN = re.compile(r"%(.)")


async def dial(settings: Settings, ask: Ask | None) -> SshLink:
    """Log in and return the link. Raises `Unreachable`, `Refused`, `HostKeyError`."""
    login = _Login(settings, ask)
    try:
        link = await login.run()
    except BaseException:
        for hop in reversed(login.hops):
            hop.abort()
        raise
    return link


@dataclass(slots=True)
class _Place:
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
    timeout_seconds: float = 15.0
    own_algorithms: bool = False
    accepted: list[asyncssh.SSHKey] = field(default_factory=list)
    """Accepted now, for this login, where there is no file to remember it in."""

    @property
    def known_name(self) -> str:
        return self.alias or _known_hosts.name_of(self.host, self.port)


class _Client(asyncssh.SSHClient):
    """What asyncssh asks us during a login, and where it says that the connection is lost."""

    def __init__(self, login: _Login, place: _Place) -> None:
        self._login = login
        self._place = place
        self.seen: asyncssh.SSHKey | None = None
        self.seen_ca: asyncssh.SSHKey | None = None
        self.peer = ""
        self.secrets_refused = False
        self.secrets_asked = 0
        self.keys_tried = 0
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

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
        self._login.banner(msg)

    async def public_key_auth_requested(self) -> Any:
        """Asked after the agent's and the open keys were refused: now the locked ones."""
        while self._place.locked:
            path = self._place.locked[0]
            key = self._login.settings.unlocked.get(str(path))
            if key is None and self._login.asks:
                key = await self._login.unlock(path, self._place)
            if key is None and not self._login.asks:
                return None
            self._place.locked.pop(0)
            if key is not None:
                return [key]
        return None

    async def password_auth_requested(self) -> str | None:
        return await self._secret(f"Password for {self._place.label}", "")

    def kbdint_auth_requested(self) -> str | None:
        return "" if self._login.asks and not self.secrets_refused else None

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
        if not self._login.asks or self.secrets_refused or self.secrets_asked >= 2 * TRIES:
            return None
        if not text and self.secrets_asked >= TRIES:
            return None
        if not text:
            text = "The last one was not accepted. Type it again." if self.secrets_asked else "It is not kept."
        self.secrets_asked += 1
        answer = await self._login.question(Question("secret", clean(title), text))
        self.secrets_refused = answer is None
        return answer


class _Login:
    """One dial: the clock that stands still while somebody types, and the way over the hops."""

    def __init__(self, settings: Settings, ask: Ask | None) -> None:
        self.settings = settings
        self.hops: list[asyncssh.SSHClientConnection] = []
        self._ask = ask
        self._clock: asyncio.Timeout | None = None
        self._budget = settings.connect_timeout_seconds
        self._place = _Place(self._label(settings.target), settings.target)
        self._said = ""

    @property
    def asks(self) -> bool:
        return self._ask is not None

    async def run(self) -> SshLink:
        try:
            async with asyncio.timeout(None) as self._clock:
                connection, client, place = await self._reach(self.settings.target)
        except TimeoutError as error:
            raise self._explain(error, self._place) from None
        link = SshLink(self.settings.host, place.label, connection, list(self.hops), client.lost, self.settings.keepalive_seconds)
        try:
            await link.start(self._budget)
        except BaseException:
            await link.aclose()
            raise
        return link

    def banner(self, text: str) -> None:
        lines = [clean(line, 300) for line in text[:8192].splitlines()[:40]]
        self._said = next((line for line in lines if line.strip()), Clean(""))
        if self.settings.on_banner:
            for line in lines:
                self.settings.on_banner(line)
        if self.asks and "https://" in text:
            self._set_clock(_LOGIN_URL_SECONDS)

    async def question(self, question: Question) -> str | None:
        assert self._ask is not None
        self._set_clock(None)
        try:
            return await self._ask(question)
        finally:
            self._set_clock(self._budget)

    async def unlock(self, path: Path, place: _Place) -> asyncssh.SSHKey | None:
        """Ask for the passphrase of a key, at most three times."""
        text = f"The key is wanted by {place.label}."
        for _ in range(TRIES):
            passphrase = await self.question(Question("secret", clean(f"Passphrase for {path}"), clean(text)))
            if passphrase is None:
                return None
            try:
                key = await asyncio.to_thread(asyncssh.read_private_key, path, passphrase)
            except (OSError, ValueError) as error:
                wrong = isinstance(error, asyncssh.KeyEncryptionError) or "decrypt" in str(error)
                text = "That was not its passphrase." if wrong else f"It cannot be read: {error}."
            else:
                self.settings.unlocked[str(path)] = key
                return key
        return None

    def _label(self, target: Target, hop: bool = False) -> str:
        if hop:
            return f"the jump host {target}"
        host = self.settings.host
        return str(target) if host == str(target) else f"{host} ({target})"

    def _set_clock(self, seconds: float | None) -> None:
        if self._clock is not None and not self._clock.expired():
            with contextlib.suppress(RuntimeError):  # the login has just ended
                self._clock.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    async def _reach(
        self, target: Target, tunnel: asyncssh.SSHClientConnection | None = None, depth: int = 0
    ) -> tuple[asyncssh.SSHClientConnection, _Client, _Place]:
        """Log in at `target`, over its jump hosts if `tunnel` is not one already."""
        place = self._place = _Place(self._label(target, hop=depth > 0), target, timeout_seconds=self._budget)
        await self._read_config(place)
        if tunnel is None and place.tunnel:
            if depth >= MAX_HOPS:
                raise Refused(f"the jump hosts of {place.label} go in circles", "Look at ProxyJump in ssh_config.")
            for word in place.tunnel.split(","):
                try:
                    hop = parse(word.strip().removeprefix("ssh://"))
                except ValueError as error:
                    raise Refused(f"ProxyJump of {place.label} cannot be read: {clean(str(error))}") from None
                tunnel, _, _ = await self._reach(hop, tunnel, depth + 1)
                self.hops.append(tunnel)
            self._place = place
        for _ in range(2):
            client = _Client(self, place)
            self._set_clock(place.timeout_seconds)
            known = await asyncio.to_thread(KnownHosts, place.known_paths)
            try:
                connection = await self._connect(place, client, known, tunnel)
                return connection, client, place
            except asyncssh.HostKeyNotVerifiable as error:
                await self._judge(place, client, known, str(error))
            except TimeoutError:
                raise
            except (OSError, asyncssh.Error, ValueError) as error:
                raise self._explain(error, place, client) from error
        raise Unreachable(
            f"{place.label} showed another host key at the second try", "Try again; if it stays so, somebody is in between."
        )

    async def _connect(
        self, place: _Place, client: _Client, known: KnownHosts, tunnel: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        entries = [*known.lookup(place.known_name), *self._fallback(place, known)]

        def trusted(host: str, addr: str, port: int | None) -> Any:
            keys, authorities, revoked = _known_hosts.trusted(entries)
            return [*keys, *place.accepted], authorities, revoked

        words: dict[str, Any] = {
            "config": self._config(),
            "client_factory": lambda: client,
            "known_hosts": trusted,
            "compression_algs": ["zlib@openssh.com", "none"],
            "connect_timeout": None,
            "login_timeout": 3600,
            "keepalive_interval": self.settings.keepalive_seconds,
            "keepalive_count_max": self.settings.keepalive_count,
            "agent_forwarding": False,
            "x11_forwarding": False,
            "request_pty": False,
            "client_keys": [str(path) for path in place.identities],
            "ignore_encrypted": True,
            "passphrase": None,
            **self._login_words(place.target),
        }
        if tunnel is not None:
            words["tunnel"] = tunnel
        if not place.own_algorithms:
            mine = {name.decode() for entry in entries for name in entry.key.sig_algorithms if not entry.marker}
            plain = sorted(_PLAIN_ALGORITHMS, key=lambda name: name not in mine)
            certified = any(entry.marker == "ca" for entry in entries)
            words["server_host_key_algs"] = [*(_CERT_ALGORITHMS if certified else ()), *plain]
        return await asyncssh.connect(place.target.name, **words)

    def _config(self) -> Any:
        return () if self.settings.config is None else [str(path) for path in self.settings.config]

    @staticmethod
    def _login_words(target: Target) -> dict[str, Any]:
        words = {"username": target.user, "port": target.port}
        return {word: value for word, value in words.items() if value is not None}

    async def _read_config(self, place: _Place) -> None:
        """What ssh_config says of the place. Nothing is connected, no key is used."""
        target = place.target
        try:
            options = await asyncssh.SSHClientConnectionOptions.construct(
                None, host=target.name, config=self._config(), client_keys=None, **self._login_words(target)
            )
        except (OSError, asyncssh.Error, ValueError) as error:
            text = clean(str(error))
            raise Refused(f"the ssh configuration for {place.label} cannot be used: {text}", "Correct ssh_config.") from error
        config = options.config
        place.user, place.host, place.port = options.username, options.host, options.port
        place.alias, place.tunnel = options.host_key_alias, options.tunnel
        place.own_algorithms = bool(config.get("HostKeyAlgorithms"))
        place.timeout_seconds = self._budget = float(options.connect_timeout or self.settings.connect_timeout_seconds)
        home = _home() / ".ssh"
        tokens = {"%": "%", "d": str(home.parent), "h": place.host, "n": target.name, "p": str(place.port), "r": place.user}
        tokens |= {"k": place.alias or place.host, "u": _local_user()}

        def expand(text: str) -> Path:
            return _at_home(_TOKEN.sub(lambda found: tokens.get(found[1], found[0]), text))

        own = config.get("UserKnownHostsFile", None)
        users = [home / "known_hosts", home / "known_hosts2"] if own is None else [expand(word) for word in own]
        if self.settings.known_hosts is not None:
            users = [self.settings.known_hosts]
        system = config.get("GlobalKnownHostsFile", None) or ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
        place.writable = users[0] if users and str(users[0]) != "/dev/null" else None
        place.known_paths = users + ([] if self.settings.known_hosts is not None else [expand(word) for word in system])
        named = [_at_home(word) for word in config.get("IdentityFile", None) or []]
        candidates = named or [home / name for name in _DEFAULT_KEYS]
        place.locked = await asyncio.to_thread(_locked, candidates)
        # A named key that is not there is passed over, as ssh does; its public half may still pick one of the agent's.
        halves = [path if path.exists() else path.with_name(path.name + ".pub") for path in named]
        only = bool(config.get("IdentitiesOnly"))
        place.identities = [half for half in halves if half.exists() and (only or half.suffix != ".pub")]

    def _fallback(self, place: _Place, known: KnownHosts) -> list[Entry]:
        """On another port OpenSSH also takes a key that the host has on port 22, but only the same key."""
        if place.alias or place.port == 22 or known.lookup(place.known_name):
            return []
        return known.lookup(place.host.lower())

    async def _judge(self, place: _Place, client: _Client, known: KnownHosts, reason: str) -> None:
        """An unverified host key: return if the operator has accepted it, raise otherwise."""
        entries = known.lookup(place.known_name)
        every = [*entries, *self._fallback(place, known)]
        seen = client.seen or client.seen_ca
        revoked = [entry for entry in every if entry.marker == "revoked" and (seen is None or entry.key == seen)]
        name, advice = place.known_name, "Do not log in there until you know why."
        if revoked:
            shown = revoked[0]
            message = f"{place.label} shows a host key that is revoked: {_shown(shown.key)}, {shown.where()}"
            print_of = shown.key.get_fingerprint()
            raise HostKeyError(clean(message), advice, changed=True, fingerprint=print_of, known=print_of)
        old = [entry for entry in entries if entry.marker == ""]
        shown_text = _shown(seen) if seen is not None else clean(reason)
        print_of = seen.get_fingerprint() if seen is not None else ""
        if old or any(entry.marker == "ca" for entry in entries):
            wrong = "; ".join(f"{_shown(entry.key)} in {entry.where()}" for entry in old or entries)
            message = f"the host key of {place.label} has changed: it shows {shown_text}, known is {wrong}"
            path = (old or entries)[0].path
            advice = (
                f"Somebody may be in between. If the machine was set up anew: ssh-keygen -f {shlex.quote(str(path))} "
                f"-R {shlex.quote(name)}, then compare the new fingerprint."
            )
            known_print = ", ".join(entry.key.get_fingerprint() for entry in old or entries)
            raise HostKeyError(clean(message), clean(advice), changed=True, fingerprint=print_of, known=known_print)
        if client.seen is None:
            message = f"the host key of {place.label} cannot be verified: {clean(reason)}"
            raise HostKeyError(message, "Run ssh once to see more.", changed=False, fingerprint=print_of)
        if self._ask is None:
            message = f"the host key of {place.label} is not known here: {shown_text}"
            advice = f"Open the control room or run `ssh {place.target}` once, and compare the fingerprint."
            raise HostKeyError(clean(message), clean(advice), changed=False, fingerprint=print_of)
        peer = f" at {client.peer}" if client.peer and client.peer != place.host else ""
        lines = (
            f"{place.host} port {place.port}{peer} is not known here.",
            f"It shows the {_kind(client.seen)} key {print_of}",
            f"Compare it on the machine: ssh-keygen -lf /etc/ssh/ssh_host_{_kind(client.seen).lower()}_key.pub",
            "Trust it and remember it?" if place.writable else "Trust it this time?",
        )
        text = "\n".join(clean(line) for line in lines)
        answer = await self.question(Question("host-key", clean(f"Is this really {place.label}?"), text))
        if answer != "yes":
            raise HostKeyError(
                clean(f"the host key of {place.label} was not accepted: {shown_text}"),
                "Nothing was sent to it.",
                changed=False,
                fingerprint=print_of,
            )
        place.accepted.append(client.seen)
        if place.writable is not None:
            try:
                await asyncio.to_thread(_known_hosts.add, place.writable, name, client.seen)
            except OSError as error:
                raise Refused(
                    clean(f"the host key of {place.label} cannot be written to {place.writable}: {error.strerror}"),
                    "Make the file writable, or add the key with ssh.",
                ) from error

    def _explain(self, error: Exception, place: _Place, client: _Client | None = None) -> PortError:
        """The exception as a sentence that says where and what to do next."""
        at, port = place.label, place.port
        text = clean(str(error), 300)
        number = getattr(error, "errno", None)
        if isinstance(error, TimeoutError):
            advice = "Is it switched on, and is the network (or the tailnet) up?"
            return TimedOut(f"{at} did not answer within {place.timeout_seconds:g} s", advice)
        if isinstance(error, socket.gaierror):
            return Unreachable(f"nobody knows the name {place.host} of {at}", "Check the name, the DNS or the tailnet.")
        if isinstance(error, ConnectionRefusedError) or _all_refused(text):
            return Unreachable(f"{at} refused the connection on port {port}", f"Is sshd running on {place.host}, on that port?")
        if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN):
            return Unreachable(f"there is no way to {at}: {text}", "Is the network (or the tailnet) up?")
        if isinstance(error, asyncssh.PermissionDenied):
            return self._denied(place, client, text)
        if isinstance(error, asyncssh.ChannelOpenError):
            word = Refused if error.code == 1 else Unreachable
            return word(f"the jump host cannot reach {at} ({place.host} port {port}): {text}", "Check it from the jump host.")
        if isinstance(error, asyncssh.KeyExchangeFailed):
            return Refused(
                f"{at} and this machine have no common method: {text}",
                "An old server needs HostKeyAlgorithms, KexAlgorithms or Ciphers in ssh_config.",
            )
        if isinstance(error, asyncssh.ProtocolError | asyncssh.ProtocolNotSupported):
            return Refused(f"{at} port {port} does not speak ssh properly: {text}", "Is the port right?")
        if isinstance(error, FileNotFoundError) and error.filename:
            return Refused(clean(f"{error.filename}, needed for {at}, is not there"), "Correct ssh_config.")
        if isinstance(error, PermissionError) and error.filename:
            return Refused(clean(f"{error.filename}, needed for {at}, may not be read"), "Correct its permissions.")
        if isinstance(error, ConnectionError | asyncssh.ConnectionLost):
            said = f" (it said: {self._said})" if self._said else ""
            return Unreachable(
                f"{at} closed the connection during the login: {text or 'no reason given'}{said}",
                f"Is it ssh that answers on port {port}? Its own log (journalctl -u ssh) tells more.",
            )
        if isinstance(error, asyncssh.DisconnectError):
            return Refused(f"{at} ended the login: {text}", "Its own log (journalctl -u ssh) tells more.")
        if isinstance(error, OSError):
            return Unreachable(f"{at} cannot be reached: {text}", "Is the network (or the tailnet) up?")
        return Refused(f"the login to {at} cannot be tried: {text}", "Correct ssh_config or the keys it names.")

    def _denied(self, place: _Place, client: _Client | None, text: str) -> PortError:
        who = f"{place.user}@{place.host}"
        if client is not None and client.secrets_asked:
            return Refused(f"{place.label} did not accept what was typed for {who}", "Try again, or give it a key: ssh-copy-id.")
        if place.locked:
            names = ", ".join(str(path) for path in place.locked)
            verb = "needs its passphrase" if len(place.locked) == 1 else "need their passphrases"
            return Refused(
                clean(f"no key was accepted for {who} ({place.label}); {names} {verb}"),
                clean(f"Load it: ssh-add {shlex.quote(str(place.locked[0]))}, or open the control room and type it."),
            )
        more = "" if text.startswith("Permission denied") else f": {text}"
        return Refused(
            f"no key was accepted for {who} ({place.label}){more}",
            f"Give it one: ssh-copy-id {place.target}; or name the right one with IdentityFile in ssh_config.",
        )


def _all_refused(text: str) -> bool:
    """Several addresses tried, each refused: asyncio has only a text for it."""
    return text.startswith("Multiple exceptions") and text.count("[Errno") == text.count(f"[Errno {errno.ECONNREFUSED}]")


def _kind(key: asyncssh.SSHKey) -> str:
    name = key.get_algorithm()
    return "ED25519" if "ed25519" in name else "ECDSA" if "ecdsa" in name else "RSA" if "rsa" in name else clean(name).upper()


def _shown(key: asyncssh.SSHKey) -> str:
    return f"{_kind(key)} {key.get_fingerprint()}"


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
