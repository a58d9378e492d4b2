"""Logging in with asyncssh: over the jump hosts to the host, each of them looked up, connected and verified in turn."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh

from sovtui.adapters.links import _known_hosts
from sovtui.adapters.links._known_hosts import KnownHosts
from sovtui.adapters.links._ssh_client import Client
from sovtui.adapters.links._ssh_errors import explain, not_approved, turned_away
from sovtui.adapters.links._ssh_host_keys import believed, judge
from sovtui.adapters.links._ssh_link import SshLink
from sovtui.adapters.links._ssh_operator import Operator
from sovtui.adapters.links._ssh_place import Place, look_up
from sovtui.adapters.links._ssh_way import Command, Plain, Road, Through, Way
from sovtui.adapters.links._target import Target, parse
from sovtui.adapters.links.ssh import Settings
from sovtui.core.clean import clean
from sovtui.ports.errors import PortError, Refused, Unreachable
from sovtui.ports.link import Ask

MAX_HOPS = 8

_PLAIN_ALGORITHMS = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)
_CERT_ALGORITHMS = tuple(f"{name}-cert-v01@openssh.com" for name in _PLAIN_ALGORITHMS)


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


class _Login:
    """One dial: the way over the hops."""

    def __init__(self, settings: Settings, ask: Ask | None) -> None:
        self._settings = settings
        label = self._label(settings.target)
        self._operator = Operator(ask, settings.on_banner, settings.connect_timeout_seconds, label)
        self._place = Place(label, settings.target)
        self._road: Road | None = None
        self.hops: list[asyncssh.SSHClientConnection] = []

    async def run(self) -> SshLink:
        try:
            async with self._operator.clock():
                connection, client, place = await self._reach(self._settings.target)
        except TimeoutError as error:
            if self._operator.url:
                raise not_approved(self._place, self._operator.url) from None
            raise self._on_the_way() or explain(error, self._place) from None
        finally:
            await self._operator.over()
        link = SshLink(
            self._settings.host, place.label, connection, list(self.hops), client.lost, self._settings.keepalive_seconds
        )
        link.start()
        return link

    def _label(self, target: Target, hop: bool = False) -> str:
        if hop:
            return f"the jump host {target}"
        host = self._settings.host
        return str(target) if host == str(target) else f"{host} ({target})"

    async def _reach(
        self, target: Target, tunnel: asyncssh.SSHClientConnection | None = None, depth: int = 0
    ) -> tuple[asyncssh.SSHClientConnection, Client, Place]:
        """Log in at `target`, over its jump hosts if `tunnel` is not one already."""
        place = self._place = Place(self._label(target, hop=depth > 0), target, timeout_seconds=self._operator.budget_seconds)
        await look_up(place, self._settings)
        for note in place.notes:
            if note not in self._settings.told:
                self._settings.told.add(note)
                self._operator.tell(note)
        if place.quiet:
            self._operator.be_quiet()
        self._operator.budget_seconds = place.timeout_seconds
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
            client = Client(self._operator, place, self._settings.unlocked)
            way = await self._way(place, tunnel, depth)
            self._operator.set_clock(place.timeout_seconds)
            known = await self._known(place)
            try:
                connection = await self._connect(place, client, known, way)
                return connection, client, place
            except asyncssh.HostKeyNotVerifiable as error:
                await judge(place, client, known, str(error), self._operator)
            except TimeoutError:
                raise
            except (OSError, asyncssh.Error, ValueError) as error:
                lost = isinstance(error, OSError | asyncssh.ConnectionLost)
                wrong = turned_away(place, self._operator.heard) or (self._on_the_way() if lost else None)
                typed, said = client.secrets_asked > 0, self._operator.said
                raise wrong or explain(error, place, typed=typed, said=said) from error
        raise Unreachable(
            f"{place.label} showed another host key at the second try", "Try again; if it stays so, somebody is in between."
        )

    async def _known(self, place: Place) -> KnownHosts:
        try:
            return await asyncio.to_thread(KnownHosts, place.known_paths)
        except OSError as error:
            text = clean(f"{error.filename}, which knows the host keys for {place.label}, cannot be read: {error.strerror}")
            raise Refused(text, "Without it no host key is trusted.") from None

    async def _way(self, place: Place, tunnel: asyncssh.SSHClientConnection | None, depth: int) -> Way:
        """How the stream to `place` is made: what the operator says in ssh_config, then what somebody else knows, then TCP."""
        if tunnel is not None:
            return Through(tunnel)
        if place.command:
            return Command.of_shell(place.command)
        choose = self._settings.choose if depth == 0 else None
        known = await choose(place.host, place.port) if choose is not None else None
        if known is not None:
            place.take(known)
            if known.way is not None:
                return known.way
        return Plain(family=place.family, local_address=place.local_address)

    def _on_the_way(self) -> PortError | None:
        return self._road.why(self._place.label) if self._road is not None else None

    async def _connect(self, place: Place, client: Client, known: KnownHosts, way: Way) -> asyncssh.SSHClientConnection:
        entries = await asyncio.to_thread(believed, place, known)

        def trusted(host: str, addr: str, port: int | None) -> Any:
            keys, authorities, revoked = _known_hosts.trusted(entries)
            if place.vouched:
                banned = [entry.key for entry in entries if entry.marker == "revoked"]
                remembers = any(entry.marker != "revoked" for entry in entries)
                return [key for key in place.vouched if key not in banned and (key in keys or not remembers)], [], revoked
            return [*keys, *place.accepted], authorities, revoked

        alive = self._settings.keepalive_seconds
        words: dict[str, Any] = {
            "config": None,  # all that it says is in `place`
            "client_factory": lambda: client,
            "username": place.user,
            "port": place.port,
            "known_hosts": trusted,
            "host_key_alias": place.alias or place.host,
            "compression_algs": ["zlib@openssh.com", "none"],
            "connect_timeout": None,
            "login_timeout": 3600,
            "keepalive_interval": min(alive, place.alive_seconds or alive),
            "keepalive_count_max": self._settings.keepalive_count,
            "agent_forwarding": False,
            "x11_forwarding": False,
            "request_pty": False,
            "client_keys": None,  # the client is asked for them
            "agent_path": None,
            "x509_trusted_certs": None,
            "gss_host": None,
            **place.words,
        }
        if "server_host_key_algs" not in words:
            known_keys = [entry.key for entry in entries if not entry.marker] or place.vouched
            mine = {name.decode() for key in known_keys for name in key.sig_algorithms}
            plain = sorted(_PLAIN_ALGORITHMS, key=lambda name: name not in mine)
            certified = any(entry.marker == "ca" for entry in entries)
            words["server_host_key_algs"] = [*(_CERT_ALGORITHMS if certified else ()), *plain]
        self._road = None
        road = self._road = await way.open()
        try:
            connection = await asyncssh.connect(road.address or place.host, **words, **road.words)
        except BaseException as error:
            try:
                if road.settle is not None and not isinstance(error, asyncio.CancelledError):
                    await road.settle()
            finally:
                road.end()
            raise
        finally:
            client.keys.close()
        client.lost.add_done_callback(lambda _: road.end())
        return connection
