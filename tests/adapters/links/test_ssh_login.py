"""Logging in: host keys, keys, passwords, and every way in which it can fail, in words."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import asyncssh
import pytest
from asyncssh.sk_eddsa import _SKEd25519Key

from sovtui.adapters.links import _ssh_keys
from sovtui.adapters.links._target import Target, parse
from sovtui.adapters.links.ssh import Dialer
from sovtui.core.clean import Clean
from sovtui.core.reach import Verdict
from sovtui.ports.errors import HostKeyError, Refused, TimedOut, Unreachable
from tests.fakes.answers import Answers
from tests.faults.link.proxy import Proxy
from tests.loopback import serving

from .conftest import ServerMaker, linked, until, write_key

pytestmark = pytest.mark.integration  # a server that speaks ssh, on the loopback


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("spark", Target("spark")),
        ("ops@spark", Target("spark", "ops")),
        ("ops@spark:2222", Target("spark", "ops", 2222)),
        ("ops@[fe80::1]:22", Target("fe80::1", "ops", 22)),
        ("[::1]", Target("::1")),
        ("ops@fd7a::1", Target("fd7a::1", "ops")),
        ("DOMAIN\\ops@spark", Target("spark", "DOMAIN\\ops")),
        ("box$@fe80::1%eth0", Target("fe80::1%eth0", "box$")),
    ],
)
def test_addresses_are_read(text: str, target: Target):
    assert parse(text) == target
    assert parse(str(target)) == target


@pytest.mark.parametrize(
    "text", ["", "@spark", "ops@", "spark:0", "spark:99999", "spark:x", "-oProxyCommand=x", "a b", "[::1", "a\x1b[0m"]
)
def test_what_is_no_address_is_said_so(text: str):
    with pytest.raises(ValueError, match="not an address"):
        parse(text)


async def test_a_known_host_is_logged_in_without_a_question(serve: ServerMaker):
    server = await serve()
    server.trust()
    async with linked(server.dialer()) as link:
        assert (link.host, link.kind) == ("spark", "ssh")
        await link.run(["true"], timeout_seconds=60)
        assert link.latency_seconds is not None and 0 < link.latency_seconds < 1
        assert getattr(link, "compressed", None) is True


async def test_an_unknown_key_is_asked_and_remembered_as_openssh_does(serve: ServerMaker, home: Path):
    server = await serve()
    known = home / ".ssh" / "known_hosts"
    known.write_text("# no line break at the end")
    operator = Answers("yes")
    async with linked(server.dialer(), operator):
        pass
    (question,) = operator.asked
    assert question.kind == "host-key"
    assert "spark" in question.title and f"port {server.port}" in question.text
    assert server.host_key.get_fingerprint() in question.text and "ED25519" in question.text
    kind, blob = server.host_key.export_public_key("openssh").decode().split()[:2]
    assert known.read_text() == f"# no line break at the end\n[127.0.0.1]:{server.port} {kind} {blob}\n"
    async with linked(server.dialer()):
        pass  # known now, headless too


async def test_the_ssh_folder_is_made_with_the_right_permissions(serve: ServerMaker, home: Path, tmp_path: Path):
    server = await serve()
    known = tmp_path / "fresh" / ".ssh" / "known_hosts"
    known.parent.parent.mkdir()
    async with linked(server.dialer(known_hosts=known), Answers("yes")):
        pass
    assert known.parent.stat().st_mode & 0o777 == 0o700
    assert known.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("answer", ["no", None, "", "Yes please"])
async def test_only_yes_accepts_a_key(serve: ServerMaker, home: Path, answer: str | None):
    server = await serve()
    with pytest.raises(HostKeyError) as caught:
        await server.dialer().dial(Answers(answer))
    assert not caught.value.changed
    assert not (home / ".ssh" / "known_hosts").exists()


async def test_headless_never_accepts_an_unknown_key(serve: ServerMaker, home: Path):
    server = await serve()
    with pytest.raises(HostKeyError) as caught:
        await server.dialer().dial(None)
    assert not caught.value.changed
    assert caught.value.fingerprint == server.host_key.get_fingerprint()
    assert f"ssh ops@127.0.0.1:{server.port}" in caught.value.advice
    assert not (home / ".ssh" / "known_hosts").exists()


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
async def test_a_changed_key_is_refused_and_never_asked(serve: ServerMaker, home: Path, kind: str):
    server = await serve()
    old = asyncssh.generate_private_key(kind)
    known = home / ".ssh" / "known_hosts"
    known.write_text(f"# first\n\n[127.0.0.1]:{server.port} {old.export_public_key('openssh').decode()}")
    operator = Answers("yes")
    with pytest.raises(HostKeyError) as caught:
        await server.dialer().dial(operator)
    error = caught.value
    assert error.changed and not operator.asked
    assert error.fingerprint == server.host_key.get_fingerprint() and error.known == old.get_fingerprint()
    assert error.fingerprint in str(error) and error.known in str(error) and f"{known} line 3" in str(error)
    assert "ssh-keygen" in error.advice and f"[127.0.0.1]:{server.port}" in error.advice


async def test_a_revoked_key_is_refused(serve: ServerMaker, home: Path):
    server = await serve()
    (home / ".ssh" / "known_hosts").write_text(f"{server.known_line}@revoked {server.known_line}")
    operator = Answers("yes")
    with pytest.raises(HostKeyError, match=r"revoked.*line 2") as caught:
        await server.dialer().dial(operator)
    assert caught.value.changed and not operator.asked


async def test_a_broken_line_in_known_hosts_does_no_harm(serve: ServerMaker, home: Path):
    server = await serve()
    (home / ".ssh" / "known_hosts").write_bytes(b"nonsense\n@what ever x\n\xff\xfe y\n" + server.known_line.encode())
    async with linked(server.dialer()):
        pass


async def test_a_known_hosts_that_cannot_be_read_is_named(serve: ServerMaker, home: Path):
    server = await serve()
    (home / ".ssh" / "known_hosts").mkdir()
    with pytest.raises(Refused, match=r"known_hosts, which knows the host keys .* Is a directory"):
        await server.dialer().dial(Answers())


async def test_a_hashed_name_and_a_key_of_the_usual_port_are_known(serve: ServerMaker, home: Path):
    server = await serve()
    known = home / ".ssh" / "known_hosts"
    kind, blob = server.host_key.export_public_key("openssh").decode().split()[:2]
    known.write_text(f"127.0.0.1 {kind} {blob}\n")
    async with linked(server.dialer()):
        pass
    # another key on the usual port is not "changed" for this port: it is asked, as OpenSSH does
    known.write_text(f"127.0.0.1 {asyncssh.generate_private_key('ssh-ed25519').export_public_key('openssh').decode()}")
    operator = Answers("yes")
    async with linked(server.dialer(), operator):
        assert len(operator.asked) == 1


async def test_ssh_config_names_the_place_and_its_known_hosts(serve: ServerMaker, home: Path):
    server = await serve()
    (home / ".ssh" / "config").write_text(
        f"Host box\n HostName 127.0.0.1\n Port {server.port}\n User ops\n HostKeyAlias the-box\n"
        " UserKnownHostsFile ~/.ssh/known_%n\n IdentityFile ~/.ssh/nowhere\n IdentityFile ~/.ssh/id_ed25519\n"
    )
    async with linked(Dialer("spark", "box"), Answers("yes")):
        pass
    assert (home / ".ssh" / "known_box").read_text().startswith("the-box ssh-ed25519 ")


async def test_a_broken_ssh_config_is_named(serve: ServerMaker, home: Path):
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "config").write_text("Host *\n Port many\n")
    with pytest.raises(Refused, match=r"config line 2.*many"):
        await Dialer("spark", "ops@127.0.0.1").dial(None)


async def test_a_jump_host_is_named_and_asked_like_any_host(serve: ServerMaker, home: Path):
    jump, box = await serve(), await serve()
    (home / ".ssh" / "config").write_text(
        f"Host box\n HostName 127.0.0.1\n Port {box.port}\n User ops\n ProxyJump ops@127.0.0.1:{jump.port}\n"
    )
    with pytest.raises(HostKeyError, match="jump host") as caught:
        await Dialer("spark", "box").dial(None)
    assert caught.value.fingerprint == jump.host_key.get_fingerprint()
    operator = Answers("yes", "yes")
    async with linked(Dialer("spark", "box"), operator) as link:
        assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
    assert [jump.host_key.get_fingerprint() in q.text for q in operator.asked] == [True, False]


async def test_jump_hosts_in_circles_end(home: Path):
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "config").write_text("Host *\n ProxyJump other\n")
    with pytest.raises(Refused, match=r"circles|loop"):
        await Dialer("spark", "box").dial(None)


async def test_a_wrong_key_is_refused_with_what_to_do(serve: ServerMaker):
    server = await serve(accepted=[])
    server.trust()
    with pytest.raises(Refused, match=r"no key was accepted for ops@127\.0\.0\.1") as caught:
        await server.dialer().dial(None)
    assert "ssh-copy-id" in caught.value.advice


@pytest.mark.filterwarnings("ignore:Warning. bcrypt.kdf")  # few rounds, see `write_key`
@pytest.mark.parametrize("kind", ["openssh", "pkcs8-pem"])
async def test_a_locked_key_is_unlocked_once_and_kept_for_the_next_dial(serve: ServerMaker, home: Path, kind: str):
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await serve(accepted=[key])
    server.trust()
    write_key(home / ".ssh" / "id_ed25519", key, "sesame", kind)
    dialer = server.dialer()
    with pytest.raises(Refused, match="needs its passphrase") as caught:
        await dialer.dial(None)
    assert "ssh-add" in caught.value.advice
    operator = Answers("wrong", "sesame")
    async with linked(dialer, operator):
        pass
    assert [q.kind for q in operator.asked] == ["secret", "secret"]
    assert "id_ed25519" in operator.asked[0].title and "not its passphrase" in operator.asked[1].text
    async with linked(dialer):
        pass  # a reconnect does not ask again


async def test_a_passphrase_is_asked_three_times_at_most(serve: ServerMaker, home: Path):
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await serve(accepted=[key])
    server.trust()
    write_key(home / ".ssh" / "id_ed25519", key, "sesame", "pkcs8-pem")
    operator = Answers("a", "b", "c", "d")
    with pytest.raises(Refused):
        await server.dialer().dial(operator)
    assert len(operator.asked) == 3


async def test_a_password_is_asked_and_asked_again(serve: ServerMaker):
    server = await serve(accepted=[], password="open")
    server.trust()
    operator = Answers("wrong", "open")
    async with linked(server.dialer(), operator):
        pass
    assert [q.kind for q in operator.asked] == ["secret", "secret"]
    with pytest.raises(Refused):
        await server.dialer().dial(Answers(None))
    with pytest.raises(Refused):
        await server.dialer().dial(Answers("1", "2", "3"))


async def test_a_code_is_asked_with_clean_text(serve: ServerMaker):
    server = await serve(accepted=[], challenge="123456")
    server.trust()
    operator = Answers("123456")
    async with linked(server.dialer(), operator):
        pass
    assert operator.asked[0].text == "Two steps\nLook at your phone\nCode: "


async def test_several_prompts_of_which_some_may_be_seen(serve: ServerMaker):
    server = await serve(accepted=[], challenge="geheim 123456", prompts=(("Password: ", False), ("\x1b]0;Code\x07: ", True)))
    server.trust()
    operator = Answers("geheim", "123456")
    async with linked(server.dialer(), operator):
        pass
    assert [question.kind for question in operator.asked] == ["secret", "shown"]
    assert [question.text.splitlines()[-1] for question in operator.asked] == ["Password: ", ": "]


async def test_a_password_that_must_be_changed_is_changed(serve: ServerMaker):
    server = await serve(accepted=[], password="old", change_to="new")
    server.trust()
    told: list[Clean] = []
    operator = Answers("old", "old", "new", "nwe", "new", "new")
    async with linked(server.dialer(on_banner=told.append), operator):
        pass
    assert all(question.kind == "secret" for question in operator.asked)
    assert operator.asked[1].text == "It is too old.\nTake another\nThe password until now:"
    assert "not the same" in operator.asked[4].text and "taken the new password" in told[-1]
    with pytest.raises(Refused):
        await server.dialer().dial(Answers("old", None))


async def test_the_file_of_a_security_key_is_for_an_agent(serve: ServerMaker, home: Path, monkeypatch: pytest.MonkeyPatch):
    server = await serve(accepted=[])
    server.trust()
    monkeypatch.setattr(_ssh_keys, "sk_available", False)
    public = asyncssh.generate_private_key("ssh-ed25519").public_data[-32:]
    write_key(home / ".ssh" / "id_ed25519_sk", _SKEd25519Key(public, "ssh:", 1, b"handle", b""))
    with pytest.raises(Refused, match=r"id_ed25519_sk is of a security key, which only an agent can use here"):
        await server.dialer().dial(None)


async def test_batch_mode_asks_nothing(serve: ServerMaker, home: Path):
    server = await serve(accepted=[], password="open")
    server.trust()
    (home / ".ssh" / "config").write_text("BatchMode yes\n")
    operator = Answers()
    with pytest.raises(Refused, match="may take a password"):
        await server.dialer().dial(operator)
    assert not operator.asked


async def test_the_clock_stands_still_while_somebody_types(serve: ServerMaker):
    server = await serve(accepted=[], password="open")
    server.trust()

    async def slow(question: object) -> str:
        await asyncio.sleep(0.45)
        return "open"

    async with linked(server.dialer(connect_timeout_seconds=0.4), slow):
        pass


async def test_a_banner_is_passed_on_clean(serve: ServerMaker):
    server = await serve(banner="Log in at\n\x1b[31mhttps://login.example/1\x07\n")
    server.trust()
    heard: list[Clean] = []
    async with linked(server.dialer(on_banner=heard.append)):
        pass
    assert heard == ["Log in at", "https://login.example/1"]


async def test_a_refused_port_is_named():
    port = free_port()
    with pytest.raises(Unreachable, match=f"refused the connection on port {port}") as caught:
        await Dialer("spark", f"ops@127.0.0.1:{port}").dial(None)
    assert "sshd" in caught.value.advice


async def test_an_unknown_name_is_named():
    with pytest.raises(Unreachable, match=r"cannot resolve the name no-such-host\.invalid"):
        await Dialer("spark", "ops@no-such-host.invalid").dial(None)


async def test_a_silent_server_times_out():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    async with serving(silent) as port:
        with pytest.raises(TimedOut, match=r"did not answer within 0\.1 s"):
            await Dialer("spark", f"ops@127.0.0.1:{port}", connect_timeout_seconds=0.1).dial(None)
        await done.wait()


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"", Verdict.TURNED_AWAY),
        (b"Exceeded MaxStartups\r\n", Verdict.TURNED_AWAY),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Verdict.NOT_SSH),
    ],
)
async def test_what_is_not_ssh_is_said_so(reply: bytes, verdict: Verdict):
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    async with serving(other) as port:
        with pytest.raises(Unreachable, match=r"spark") as caught:  # it may get better by itself
            await Dialer("spark", f"ops@127.0.0.1:{port}").dial(None)
        await done.wait()
    assert caught.value.verdict is verdict
    assert reply.strip().decode() in str(caught.value)


async def test_no_common_method_is_said_so(serve: ServerMaker):
    server = await serve(kex_algs=["diffie-hellman-group1-sha1"])
    server.trust()
    with pytest.raises(Refused, match="no common method"):
        await server.dialer().dial(None)


async def test_a_dial_can_be_cancelled(serve: ServerMaker):
    server = await serve()
    asked = asyncio.Event()

    async def never(question: object) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "yes"

    dialing = asyncio.ensure_future(server.dialer().dial(never))
    await asked.wait()
    dialing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialing


async def test_after_a_loss_another_login_is_begun_beside_one_that_is_silent(serve: ServerMaker, home: Path):
    server = await serve()
    proxy = Proxy("127.0.0.1", server.port)
    await proxy.open()
    (home / ".ssh" / "known_hosts").write_text(server.known_line.replace(str(server.port), str(proxy.port)))
    dialer = server.dialer(port=proxy.port)
    try:
        async with linked(dialer):
            pass
        proxy.way.silent = True
        dialing = asyncio.ensure_future(dialer.dial(None))
        await until(lambda: proxy.logins == 2)
        proxy.way.silent = False
        async with asyncio.timeout(60):
            link = await dialing  # the one that was begun meanwhile: the first is silent for good
        assert proxy.logins == 3
        await link.aclose()
        await until(lambda: not proxy.pairs)
    finally:
        await proxy.close()


async def test_a_first_login_that_is_silent_stays_alone(serve: ServerMaker, home: Path):
    server = await serve()
    proxy = Proxy("127.0.0.1", server.port)
    proxy.way.silent = True
    await proxy.open()
    try:
        with pytest.raises(TimedOut, match="takes connections") as caught:
            await server.dialer(port=proxy.port, connect_timeout_seconds=2.5).dial(None)
        assert caught.value.verdict is Verdict.HANGS
        assert proxy.logins == 1
    finally:
        await proxy.close()
