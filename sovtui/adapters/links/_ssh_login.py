"""Logging in with asyncssh: over the jump hosts to the host, each of them looked up, connected and verified in turn."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from typing import Any

import asyncssh

from sovtui.adapters.links import _known_hosts
from sovtui.adapters.links._known_hosts import KnownHosts
from sovtui.adapters.links._ssh_algorithms import CERTIFIED, PLAIN, no_host_key
from sovtui.adapters.links._ssh_client import Client
from sovtui.adapters.links._ssh_course import LOOK_SECONDS, Course
from sovtui.adapters.links._ssh_errors import explain, not_approved, of_way, turned_away
from sovtui.adapters.links._ssh_host_keys import believed, judge
from sovtui.adapters.links._ssh_link import SshLink
from sovtui.adapters.links._ssh_operator import Operator
from sovtui.adapters.links._ssh_place import Place, look_up
from sovtui.adapters.links._ssh_quiet import quieten
from sovtui.adapters.links._ssh_way import Command, Plain, Road, Through, Way
from sovtui.adapters.links._target import Target, parse
from sovtui.adapters.links.ssh import Settings
from sovtui.core.clean import clean
from sovtui.core.reach import Fault, Verdict
from sovtui.ports.errors import PortError, Refused, TimedOut, Unreachable
from sovtui.ports.link import Ask

MAX_HOPS = 8
AGAIN_SECONDS = 1.0
"""How long all logins may be silent, after a link was lost, before another one is begun beside them; ever longer."""
ROUND_TRIPS = 3.0
"""On a slow link it may be silent for so many: an answer is one, a packet that was lost on the way another."""
SLOWEST_SECONDS = 2.5
BESIDE = 3
"""Logins at the same time."""


async def dial(settings: Settings, ask: Ask | None) -> SshLink:
    """Log in and return the link. Raises `Unreachable`, `Refused`, `HostKeyError`.

    After a link was lost it may be the network that has gone again in the middle of a login: then further logins are begun beside the
    one that is silent, and the first that is through is taken. If none is it is the host that hangs: after that one at a time, for an
    sshd that comes back to a dozen dropped logins may hold that against us (PerSourcePenalties).
    """
    logins: dict[asyncio.Task[SshLink], Course] = {}
    try:
        while True:
            login = _Login(settings, ask)
            logins[asyncio.create_task(login.whole(), name=f"login {settings.host}")] = login.course
            if len(logins) > BESIDE:  # the oldest may be through when a host that hangs goes on, the newest when a way is back
                await _drop(logins, [list(logins)[1]])
            link = await _first(settings, logins)
            if link is not None:
                settings.lost_before = True
                return link
    finally:
        settings.course = None
        await _drop(logins, list(logins))


async def _drop(logins: dict[asyncio.Task[SshLink], Course], tasks: list[asyncio.Task[SshLink]]) -> None:
    """End these; one that was just through is closed again."""
    for task in tasks:
        del logins[task]
        task.cancel()
    for late in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(late, SshLink):
            await late.aclose()


async def _first(settings: Settings, logins: dict[asyncio.Task[SshLink], Course]) -> SshLink | None:
    """The first link; None if another login should be begun beside. Raises what the last one raised, and at once what is no silence."""
    while True:
        oldest = next(iter(logins.values()))
        settings.course = oldest
        done, _ = await asyncio.wait(logins, timeout=LOOK_SECONDS if settings.lost_before else None, return_when=FIRST_COMPLETED)
        for task in done:
            del logins[task]
            error = task.exception()
            if error is None:
                return task.result()
            if isinstance(error, TimedOut) and error.verdict is Verdict.HANGS:
                settings.lost_before = False
            if not logins or not isinstance(error, Unreachable) or isinstance(error, TimedOut):
                raise error
        asking = [task for task, course in logins.items() if course.asking]
        if asking and len(logins) > 1:  # somebody is asked: once
            await _drop(logins, [task for task in logins if task is not asking[0]])
        elif not done:
            least = max(
                AGAIN_SECONDS, oldest.stalled_seconds / 6, min(SLOWEST_SECONDS, ROUND_TRIPS * settings.round_trip_seconds)
            )
            if min(course.stalled_seconds for course in logins.values()) > least:
                return None


class _Login:
    """One dial: the way over the hops."""

    def __init__(self, settings: Settings, ask: Ask | None) -> None:
        self._settings = settings
        label = self._label(settings.target)
        self._operator = Operator(ask, settings.on_banner, settings.connect_timeout_seconds, label)
        self._place = Place(label, settings.target)
        self._road: Road | None = None
        self.course = Course(self._operator, self._place)
        self.hops: list[asyncssh.SSHClientConnection] = []

    async def whole(self) -> SshLink:
        """The login, with nothing left of it if it fails."""
        watching = asyncio.create_task(self.course.watch(), name=f"watch {self._settings.host}")
        try:
            return await self.run()
        except BaseException:
            for hop in reversed(self.hops):
                hop.abort()
            raise
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def run(self) -> SshLink:
        try:
            async with self._operator.clock():
                connection, client, place = await self._reach(self._settings.target)
        except TimeoutError:
            if self._operator.url:
                raise not_approved(self._place, self._operator.url) from None
            raise self._on_the_way() or of_way(self.course.evidence(Fault.SILENCE)) from None
        finally:
            await self._operator.over()
        quieten(connection)
        seen, alive = self.course.evidence(), (self._alive(place), self._settings.keepalive_count)
        link = SshLink(self._settings.host, place.label, connection, list(self.hops), client.lost, seen, self.course.hops, alive)
        link.start()
        client.lost.add_done_callback(lambda _: self._remember(link))
        return link

    def _remember(self, link: SshLink) -> None:
        self._settings.round_trip_seconds = link.latency_seconds or 0.0

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
        self.course.place = place
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
                self.course.target = self.course.target or place.label
                tunnel, at, reached = await self._reach(hop, tunnel, depth + 1)
                self.hops.append(tunnel)
                self.course.hops.append((at, reached.label))
                self.course.via = reached.label
            self._place = place
            if depth == 0:
                self.course.target = ""
        for _ in range(2):
            client = Client(self._operator, place, self._settings.unlocked)
            way = await self._way(place, tunnel, depth)
            if isinstance(way, Plain):
                way.lead(place.host, place.port, place.connect_seconds)
            self.course.begin(place, client, way)
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
                wrong = wrong or no_host_key(client.host_keys_offered, place.host_algorithms, place.label)
                raise wrong or explain(error, place, self.course.evidence(), typed=client.secrets_asked > 0) from error
        raise Unreachable(
            f"{place.label} showed another host key at the second try",
            "Try again; if it stays so, somebody is intercepting the connection.",
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

    def _alive(self, place: Place) -> float:
        """Seconds between two keepalives."""
        return min(self._settings.keepalive_seconds, place.alive_seconds or self._settings.keepalive_seconds)

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
            "keepalive_interval": self._alive(place),
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
            plain = sorted(PLAIN, key=lambda name: name not in mine)
            certified = any(entry.marker == "ca" for entry in entries)
            words["server_host_key_algs"] = [*(CERTIFIED if certified else ()), *plain]
        place.host_algorithms = tuple(words["server_host_key_algs"])
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
        client.hear_no_more()
        client.lost.add_done_callback(lambda _: road.end())
        return connection
