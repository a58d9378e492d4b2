"""Through a tailnet: what a name means there, who vouches for host keys, userspace mode, Tailscale SSH, and why it fails."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sovtui.adapters.links import _ssh_operator, tailnet
from sovtui.adapters.links.tailnet import Guide, Guided
from sovtui.adapters.tailnet import daemon as daemon_module
from sovtui.adapters.tailnet.cache import Cache
from sovtui.adapters.tailnet.daemon import Daemon
from sovtui.adapters.tailnet.places import Places
from sovtui.core import tailnet_words
from sovtui.core.reach import Verdict
from sovtui.ports.errors import HostKeyError, PortError, Refused, TimedOut, Unreachable
from sovtui.ports.link import Question
from tests.adapters.tailnet.pretend import AT, DATA, Clock, PretendDaemon, by_command, node, pong, pretend_command, recorded
from tests.fakes.answers import Answers

from .conftest import Server, ServerMaker, Sshd, linked, until

pytestmark = pytest.mark.integration  # a server that speaks ssh, on the loopback

HERE = "127.0.0.1"
NOBODY = Daemon(Places(sockets=(), mac_library="/nowhere", commands=()), Clock())


@pytest.fixture
async def pretend(tmp_path: Path) -> AsyncIterator[PretendDaemon]:
    async with PretendDaemon(tmp_path / "d.sock") as daemon:
        yield daemon


def spark_at(*addresses: str, keys: list[str] | None = None, tun: bool = True) -> bytes:
    """The recorded tailnet, with spark at these addresses."""

    def change(document: Any) -> None:
        document["TUN"] = tun
        spark = node(document, "spark")
        spark["TailscaleIPs"] = list(addresses)
        spark.pop("sshHostKeys", None)
        if keys is not None:
            spark["sshHostKeys"] = keys

    return recorded("running", change)


def public(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


def guided(daemon: Any, address: str, home: Path, wanted: str = "spark", **words: Any) -> tuple[Guided, Guide]:
    return tailnet.guided("spark", address, wanted, daemon, home, Clock(), **words)


async def test_a_name_of_the_tailnet_is_dialled_and_its_own_keys_are_verified_without_a_question(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server = await serve()
    pretend.status = spark_at(HERE, keys=[public(server.host_key)])
    dialer, guide = guided(pretend.daemon(), f"ops@spark.nowhere.invalid:{server.port}", home)
    async with linked(dialer) as link:
        assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
        assert (guide.way, guide.verified, guide.reason) == ("tailnet", True, "")
    assert not (home / ".ssh" / "known_hosts").exists()
    assert (home / "tailnet.json").stat().st_mode & 0o777 == 0o600


async def test_the_second_address_is_tried_where_the_first_does_not_answer(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server = await serve()
    pretend.status = spark_at("127.0.0.2", HERE, keys=[public(server.host_key)])
    dialer, _ = guided(pretend.daemon(), f"ops@spark:{server.port}", home)
    async with linked(dialer):
        pass


async def test_another_key_than_the_tailnet_tells_stops_and_names_both(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server, other = await serve(), asyncssh.generate_private_key("ssh-ed25519")
    server.trust()  # whatever known_hosts says
    pretend.status = spark_at(HERE, keys=[public(other)])
    operator = Answers("yes")
    with pytest.raises(HostKeyError) as caught:
        await guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)[0].dial(operator)
    error = caught.value
    assert error.changed and not operator.asked
    assert error.fingerprint == server.host_key.get_fingerprint() and error.known == other.get_fingerprint()
    assert "the tailnet reports" in str(error) and error.fingerprint in str(error) and error.known in str(error)


@pytest.mark.parametrize("named", ["spark", "[127.0.0.1]:PORT"])
async def test_known_hosts_must_agree_with_the_tailnet(
    serve: ServerMaker, pretend: PretendDaemon, home: Path, named: str
) -> None:
    server, old = await serve(), asyncssh.generate_private_key("ssh-ed25519")
    known = home / ".ssh" / "known_hosts"
    name = named.replace("PORT", str(server.port))
    known.write_text(f"{name} {public(old)}\n")
    pretend.status = spark_at(HERE, keys=[public(server.host_key)])
    operator = Answers("yes")
    with pytest.raises(HostKeyError) as caught:
        await guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)[0].dial(operator)
    error = caught.value
    assert error.changed and not operator.asked and "do not agree" in str(error)
    assert server.host_key.get_fingerprint() in str(error) and old.get_fingerprint() in str(error)
    assert f"-R {name}" in error.advice.replace("'", "")
    known.write_text(f"{name} {public(server.host_key)}\n")
    async with linked(guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)[0]):
        pass


async def test_a_revoked_key_is_refused_although_the_tailnet_tells_it(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server = await serve()
    (home / ".ssh" / "known_hosts").write_text(f"@revoked spark {public(server.host_key)}\n")
    pretend.status = spark_at(HERE, keys=[public(server.host_key)])
    with pytest.raises(HostKeyError, match="revoked"):
        await guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)[0].dial(Answers("yes"))


async def test_plain_sshd_is_asked_about_once_and_remembered_by_its_name_and_not_by_its_address(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server = await serve()
    pretend.status = spark_at(HERE)
    operator = Answers("yes")
    dialer, guide = guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)
    async with linked(dialer, operator):
        assert not guide.verified
    assert [question.kind for question in operator.asked] == ["host-key"]
    assert (home / ".ssh" / "known_hosts").read_text() == f"spark {public(server.host_key)}\n"
    async with linked(dialer):
        pass


async def test_what_known_hosts_has_by_the_address_still_counts(serve: ServerMaker, pretend: PretendDaemon, home: Path) -> None:
    server = await serve()
    server.trust()
    pretend.status = spark_at(HERE)
    async with linked(guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)[0]):
        pass
    other = await serve()
    (home / ".ssh" / "known_hosts").write_text(f"[{HERE}]:{other.port} {public(server.host_key)}\n")
    with pytest.raises(HostKeyError) as caught:
        await guided(pretend.daemon(), f"ops@{HERE}:{other.port}", home)[0].dial(Answers("yes"))
    assert caught.value.changed


async def test_hostile_keys_vouch_for_nothing(serve: ServerMaker, pretend: PretendDaemon, home: Path) -> None:
    server = await serve()
    bad = ["ssh-ed25519 AAAA\ninjected-host ssh-rsa AAAA", "not a key", f"spark {public(server.host_key)}"]
    pretend.status = spark_at(HERE, keys=bad)
    with pytest.raises(HostKeyError, match="is not known here"):
        await guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)[0].dial(None)
    assert not (home / ".ssh" / "known_hosts").exists()


# --- userspace networking ---------------------------------------------------------------------------------------------


async def test_in_userspace_mode_the_daemon_makes_the_stream_to_a_real_sshd(
    sshd: Sshd, pretend: PretendDaemon, home: Path
) -> None:
    pretend.status = spark_at("100.64.0.3", keys=[sshd.host_public], tun=False)
    pretend.streams["100.64.0.3", 22] = sshd.port
    user = sshd.dialer().address.partition("@")[0]
    dialer, guide = guided(pretend.daemon(), f"{user}@spark", home)
    async with linked(dialer) as link:
        assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
        assert guide.verified
    assert "POST /localapi/v0/dial" in pretend.asked


async def test_in_userspace_mode_without_a_socket_the_command_carries_the_stream(
    serve: ServerMaker, home: Path, tmp_path: Path
) -> None:
    server = await serve()
    (tmp_path / "status.json").write_bytes(spark_at("100.64.0.3", keys=[public(server.host_key)], tun=False))
    (tmp_path / "relay.py").write_text(
        "import os, socket, sys, threading\n"
        f"s = socket.create_connection(('127.0.0.1', {server.port}))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): s.sendall(data)\n"
        "    s.shutdown(1)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := s.recv(65536): os.write(1, data)\n"
    )
    script = (
        f'echo "$@" >> {tmp_path}/args\n'
        f'case "$1" in status) cat {tmp_path}/status.json;; nc) exec python3 {tmp_path}/relay.py;; *) exit 9;; esac'
    )
    pretend_command(tmp_path / "bin", script)
    dialer, _ = guided(by_command(tmp_path / "bin"), "ops@spark", home)
    async with linked(dialer) as link:
        assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
    assert (tmp_path / "args").read_text() == "status --json\nnc 100.64.0.3 22\n"


async def socks_proxy(server: Server, seen: list[bytes], answer: bytes = b"\x05\x00\x00\x01\0\0\0\0\0\0") -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readexactly(3))
        writer.write(b"\x05\x00")
        seen.append(await reader.readexactly(10))
        writer.write(answer)
        if answer[1]:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(HERE, server.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    return await asyncio.start_server(serve, HERE, 0)


class OnlyStatus:
    """Tells the status and makes no streams."""

    told_by = "cli"

    def __init__(self, inner: Daemon) -> None:
        self.status = inner.status
        self.ping = inner.ping
        self.dial = NOBODY.dial


async def test_in_userspace_mode_the_configured_proxy_is_the_last_way(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server = await serve()
    pretend.status = spark_at("100.64.0.3", keys=[public(server.host_key)], tun=False)
    seen: list[bytes] = []
    async with await socks_proxy(server, seen) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        dialer, _ = guided(OnlyStatus(pretend.daemon()), "ops@spark", home, socks5=f"{HERE}:{port}")
        async with linked(dialer) as link:
            assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
    assert seen == [b"\x05\x01\x00", b"\x05\x01\x00\x01" + bytes([100, 64, 0, 3]) + (22).to_bytes(2, "big")]
    async with await socks_proxy(server, [], b"\x05\x01\x00\x01\0\0\0\0\0\0") as proxy:
        port = proxy.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match=r"cannot reach 100\.64\.0\.3 port 22"):
            await guided(OnlyStatus(pretend.daemon()), "ops@spark", home, socks5=f"{HERE}:{port}")[0].dial(None)
    with pytest.raises(Unreachable) as caught:
        await guided(OnlyStatus(pretend.daemon()), "ops@spark", home)[0].dial(None)
    assert "socks5" in caught.value.sentence()


async def test_a_refusal_in_userspace_mode_is_told_as_one(pretend: PretendDaemon, home: Path) -> None:
    pretend.status = spark_at("100.64.0.3", tun=False)
    with pytest.raises(Unreachable) as caught:
        await guided(pretend.daemon(), "ops@spark", home)[0].dial(None)
    assert str(caught.value).endswith("spark is up; no SSH server on port 22")


# --- without a daemon that can be asked --------------------------------------------------------------------------------


async def test_without_a_daemon_the_configured_address_is_used(serve: ServerMaker, home: Path) -> None:
    server = await serve()
    server.trust()
    dialer, guide = guided(NOBODY, f"ops@{HERE}:{server.port}", home)
    async with linked(dialer):
        assert (guide.way, guide.verified, guide.reason) == ("address", False, tailnet_words.NOT_HERE)


async def test_without_a_daemon_an_address_of_earlier_is_used_and_said_so(serve: ServerMaker, home: Path) -> None:
    server = await serve()
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "known_hosts").write_text(f"[spark.nowhere.invalid]:{server.port} {public(server.host_key)}\n")
    Cache(home / "tailnet.json").put("spark", (HERE,), AT)
    dialer, guide = guided(NOBODY, f"ops@spark.nowhere.invalid:{server.port}", home)
    async with linked(dialer):
        assert guide.way == "cache"
        assert guide.reason.startswith("Tailscale is not on this machine; using the address that it had on 2026-11-20")


async def test_an_address_of_the_tailnet_needs_nobody_to_be_asked(serve: ServerMaker, home: Path) -> None:
    server = await serve()
    (home / ".ssh" / "known_hosts").write_text(f"[box.invalid]:{server.port} {public(server.host_key)}\n")
    dialer, guide = guided(NOBODY, f"ops@box.invalid:{server.port}", home, HERE)
    async with linked(dialer):
        assert (guide.way, guide.reason) == ("cache", "Tailscale is not on this machine")


@pytest.mark.parametrize(
    ("capture", "told"),
    [
        ("stopped", "Tailscale is off: `tailscale up`"),
        ("needs-login", "Tailscale is not logged in: log in with `tailscale up`"),
        ("self-expired", "this machine's tailnet key expired on 2026-11-20: log in with `tailscale up`"),
        ("needs-machine-auth", "this machine waits for approval by the tailnet's admin"),
    ],
)
async def test_a_tailnet_that_is_off_is_told_if_the_address_does_not_answer_either(
    pretend: PretendDaemon, home: Path, capture: str, told: str
) -> None:
    pretend.status = recorded(capture)
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        closed = probe.getsockname()[1]
    dialer, guide = guided(pretend.daemon(), f"ops@{HERE}:{closed}", home)
    with pytest.raises(Unreachable) as caught:
        await dialer.dial(None)
    assert str(caught.value).endswith(f": {told}") and "refused the connection" in str(caught.value)
    assert guide.reason == f"{told}; using the address in the configuration"


@pytest.mark.parametrize(
    ("capture", "wanted", "kind", "told"),
    [
        (
            "running",
            "sparc",
            Unreachable,
            "sparc is not in tailnet tail4c2f.example (nearest names: spark), or its policy hides it",
        ),
        ("peer-expired", "spark", Unreachable, "spark's tailnet key expired on 2026-11-20; renew it on the box"),
    ],
)
async def test_what_the_tailnet_knows_is_not_dialled_in_vain(
    pretend: PretendDaemon, home: Path, capture: str, wanted: str, kind: type[PortError], told: str
) -> None:
    pretend.status = recorded(capture)
    with pytest.raises(kind) as caught:
        await guided(pretend.daemon(), "ops@spark", home, wanted)[0].dial(None)
    assert told in str(caught.value)


async def test_several_of_that_name_are_a_matter_for_the_configuration(pretend: PretendDaemon, home: Path) -> None:
    pretend.status = recorded("running", lambda d: node(d, "nas").update(DNSName="spark.other.example."))
    with pytest.raises(Refused, match=r"spark\.other\.example .*spark\.tail4c2f\.example"):
        await guided(pretend.daemon(), "ops@spark", home)[0].dial(None)


async def silent_port() -> tuple[socket.socket, int, list[socket.socket]]:
    """A port whose queue is full: a further connection waits, as behind a firewall that drops."""
    listener = socket.socket()
    listener.bind((HERE, 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((HERE, port))
        fillers.append(filler)
    return listener, port, fillers


@pytest.mark.parametrize("answers", [True, False])
async def test_a_port_that_drops_is_told_from_a_host_that_is_silent(
    pretend: PretendDaemon, home: Path, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "PING_SECONDS", 0.2)
    listener, port, fillers = await silent_port()
    pretend.status = spark_at(HERE)
    pretend.pongs[HERE] = pong("direct") if answers else None
    try:
        with pytest.raises(TimedOut) as caught:
            await guided(pretend.daemon(), f"ops@spark:{port}", home, connect_timeout_seconds=0.6)[0].dial(None)
    finally:
        for one in (listener, *fillers):
            one.close()
    told = (
        f"spark is up; tailnet policy or its firewall blocks port {port}"
        if answers
        else "spark is online in the tailnet, but does not answer there"
    )
    assert str(caught.value).endswith(told)
    assert caught.value.verdict is (Verdict.BLOCKED if answers else Verdict.HOST_DOWN)


async def test_nobody_listens_on_a_host_that_is_up(pretend: PretendDaemon, home: Path) -> None:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        closed = probe.getsockname()[1]
    pretend.status = spark_at(HERE)
    with pytest.raises(Unreachable) as caught:
        await guided(pretend.daemon(), f"ops@spark:{closed}", home)[0].dial(None)
    assert str(caught.value).endswith(f"spark is up; no SSH server on port {closed}")
    assert caught.value.verdict is Verdict.SSHD_DOWN


async def test_a_host_that_is_offline_says_since_when(pretend: PretendDaemon, home: Path) -> None:
    def change(document: Any) -> None:
        node(document, "nas")["TailscaleIPs"] = [HERE]

    pretend.status = recorded("peer-offline-idle", change)
    listener, port, fillers = await silent_port()
    try:
        with pytest.raises(TimedOut, match="spark is offline in the tailnet since 2026-11-20"):
            await guided(pretend.daemon(), f"ops@spark:{port}", home, "nas", connect_timeout_seconds=0.3)[0].dial(None)
    finally:
        for one in (listener, *fillers):
            one.close()


# --- Tailscale SSH ------------------------------------------------------------------------------------------------------

SSH = json.loads((DATA / "ssh.json").read_text())


class TailscaleSsh:
    """A server that speaks as Tailscale's: lets anybody in with `none`, or says in a banner why not and closes."""

    def __init__(self) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.banner = ""
        self.admit: Callable[[], Any] = lambda: None
        """Awaited before it lets in; raises to close the connection."""
        self.methods: list[str] = []
        self.connections: list[Any] = []
        self.port = 0

    async def __aenter__(self) -> TailscaleSsh:
        outer = self

        class Front(asyncssh.SSHServer):
            def connection_made(self, conn: Any) -> None:
                outer.connections.append(conn)
                self.conn = conn

            async def begin_auth(self, username: str) -> bool:
                if outer.banner:
                    self.conn.send_auth_banner(outer.banner)
                try:
                    await asyncio.sleep(0)
                    waiting = outer.admit()
                    if waiting is not None:
                        await waiting
                except PermissionError:
                    self.conn.close()
                    await asyncio.sleep(3600)
                return False

        async def handle(process: asyncssh.SSHServerProcess[str]) -> None:
            process.stdout.write("inside")
            process.exit(0)

        self.listener = await asyncssh.listen(
            HERE, 0, server_factory=Front, server_host_keys=[self.key], server_version="Tailscale", process_factory=handle
        )
        self.port = self.listener.get_port()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        for conn in self.connections:
            conn.abort()
        await asyncio.gather(*(conn.wait_closed() for conn in self.connections), return_exceptions=True)

    def refuse(self) -> None:
        raise PermissionError


class Waiting:
    """An operator who is shown something and goes away with his phone; `leave` is Escape."""

    def __init__(self) -> None:
        self.shown: list[Question] = []
        self.gone = 0
        self.leave = asyncio.Event()

    async def __call__(self, question: Question) -> str | None:
        self.shown.append(question)
        try:
            await self.leave.wait()
        except asyncio.CancelledError:
            self.gone += 1
            raise
        return None


async def test_tailscale_ssh_lets_in_with_nothing_offered(pretend: PretendDaemon, home: Path) -> None:
    async with TailscaleSsh() as server:
        pretend.status = spark_at(HERE, keys=[public(server.key)])
        async with linked(guided(pretend.daemon(), f"ops@spark:{server.port}", home)[0]) as link:
            assert (await link.run(["true"], timeout_seconds=60)).stdout == b"inside"


REFUSALS = [e for e in SSH if e["banner"] and not e["case"].startswith("check mode,")]


@pytest.mark.parametrize("entry", REFUSALS, ids=lambda e: str(e["case"]))
async def test_a_refusal_in_a_banner_is_told_as_such(pretend: PretendDaemon, home: Path, entry: dict[str, Any]) -> None:
    async with TailscaleSsh() as server:
        server.banner, server.admit = entry["banner"], server.refuse
        pretend.status = spark_at(HERE, keys=[public(server.key)])
        with pytest.raises(Refused) as caught:
            await guided(pretend.daemon(), f"ops@spark:{server.port}", home)[0].dial(Answers())
    told = str(caught.value)
    assert told.startswith("Tailscale SSH on spark (") and "does not let ops in" in told
    assert tailnet_words.read_banner(entry["banner"]).refusal.strip() in told


CHECKS = [e for e in SSH if e["case"].startswith("check mode,")]


@pytest.mark.parametrize("entry", CHECKS, ids=lambda e: str(e["case"]))
async def test_a_check_holds_the_login_until_it_is_approved(pretend: PretendDaemon, home: Path, entry: dict[str, Any]) -> None:
    approved, operator = asyncio.Event(), Waiting()
    async with TailscaleSsh() as server:
        server.banner, server.admit = entry["banner"], approved.wait
        pretend.status = spark_at(HERE, keys=[public(server.key)])
        dialer, _ = guided(pretend.daemon(), f"ops@spark:{server.port}", home, connect_timeout_seconds=0.5)
        dialling = asyncio.create_task(dialer.dial(operator))
        await until(lambda: bool(operator.shown))
        (question,) = operator.shown
        assert question.kind == "approval" and question.url in entry["banner"] and question.url in question.text
        await asyncio.sleep(0.8)  # longer than a login may take: its clock stands still
        assert not dialling.done()
        approved.set()
        link = await dialling
        assert operator.gone == 1, "the question is taken away"
        await link.aclose()


async def test_escape_ends_a_login_that_waits(pretend: PretendDaemon, home: Path) -> None:
    operator = Waiting()
    async with TailscaleSsh() as server:
        server.banner, server.admit = CHECKS[0]["banner"], asyncio.Event().wait
        pretend.status = spark_at(HERE, keys=[public(server.key)])
        dialling = asyncio.create_task(guided(pretend.daemon(), f"ops@spark:{server.port}", home)[0].dial(operator))
        await until(lambda: bool(operator.shown))
        operator.leave.set()
        with pytest.raises(Refused, match=r"approved first, at https://login\.tailscale\.com/a/c2e8ee2fe1cf"):
            await dialling


async def test_headless_a_check_is_told_at_once(pretend: PretendDaemon, home: Path) -> None:
    async with TailscaleSsh() as server:
        server.banner, server.admit = CHECKS[0]["banner"], asyncio.Event().wait
        pretend.status = spark_at(HERE, keys=[public(server.key)])
        async with asyncio.timeout(60):
            with pytest.raises(Refused, match=r"https://login\.tailscale\.com/a/c2e8ee2fe1cf"):
                await guided(pretend.daemon(), f"ops@spark:{server.port}", home)[0].dial(None)


async def test_a_login_that_is_lost_while_it_waits_takes_the_question_away(pretend: PretendDaemon, home: Path) -> None:
    operator = Waiting()
    async with TailscaleSsh() as server:
        server.banner, server.admit = CHECKS[0]["banner"], asyncio.Event().wait
        pretend.status = spark_at(HERE, keys=[public(server.key)])
        dialling = asyncio.create_task(guided(pretend.daemon(), f"ops@spark:{server.port}", home)[0].dial(operator))
        await until(lambda: bool(operator.shown))
        server.connections[0].abort()
        with pytest.raises(Unreachable):
            await dialling
        assert operator.gone == 1


def test_a_check_may_take_as_long_as_it_is_held() -> None:
    assert _ssh_operator._HELD_SECONDS > 1800 and tailnet.EACH_SECONDS < 15


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a socket to another user needs root")
async def test_a_daemon_of_another_user_vouches_for_no_key_and_is_sent_no_password(
    serve: ServerMaker, pretend: PretendDaemon, home: Path
) -> None:
    server = await serve(password="secret", accepted=[])
    pretend.status = spark_at(HERE, keys=[public(server.host_key)])
    os.chown(pretend.path, 64321, 64321)
    operator = Answers(None, "secret")
    dialer, guide = guided(pretend.daemon(), f"ops@{HERE}:{server.port}", home)
    with pytest.raises(HostKeyError):
        await dialer.dial(operator)
    assert [question.kind for question in operator.asked] == ["host-key"]
    assert pretend.asked == []
    assert "belongs to uid 64321" in guide.reason and guide.reason.endswith("using the address in the configuration")
