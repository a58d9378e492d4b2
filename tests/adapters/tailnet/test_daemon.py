"""Asking the daemon: by its socket, by its command, and when nobody is there."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest

from sovtui.adapters.tailnet import daemon as daemon_module
from sovtui.adapters.tailnet.cache import Cache
from sovtui.adapters.tailnet.daemon import Daemon
from sovtui.adapters.tailnet.places import Places, places
from sovtui.core import tailnet_words
from sovtui.core.model import PathKind
from sovtui.ports.errors import Absent, Malformed, TimedOut, Unreachable

from .pretend import AT, DATA, Clock, PretendDaemon, by_command, pong, pretend_command, recorded

CLI = json.loads((DATA / "cli.json").read_text())


def said(command: str, state: str) -> str:
    """A shell script that answers as the command was recorded to."""
    entry = next(e for e in CLI if e["command"] == command and e["state"].startswith(state))
    return f"cat <<'OUT'\n{entry['stdout']}OUT\ncat >&2 <<'ERR'\n{entry['stderr']}ERR\nexit {entry['exit']}"


async def test_the_socket_is_asked_as_the_daemon_wants_it(tmp_path: Path) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        daemon = pretend.daemon()
        net = await daemon.status()
        assert (net.state, len(net.peers), daemon.told_by, net.at) == ("Running", 4, "localapi", AT)
        assert pretend.asked == ["GET /localapi/v0/status"]
        head = pretend.heads[0].lower()
        assert "host: local-tailscaled.sock\r\n" in head and "origin" not in head and "referer" not in head


@pytest.mark.parametrize("address", ["100.64.0.3", "fd7a:115c:a1e0::3"])
async def test_a_ping_by_the_socket(tmp_path: Path, address: str) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        pretend.pongs[address] = pong("relayed")
        answer = await pretend.daemon().ping(address)
        assert (answer.kind, answer.via, answer.latency_seconds) == (PathKind.RELAY, "fra", 0.000650551)
        assert pretend.asked[0].startswith("POST /localapi/v0/ping?ip=") and pretend.asked[0].endswith("&type=disco")


async def test_a_ping_that_is_never_answered_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "PING_SECONDS", 0.1)
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        answer = await pretend.daemon().ping("100.64.0.9")
        assert not answer.answered and "no answer" in answer.error


async def test_nothing_but_an_address_is_pinged_or_dialled(tmp_path: Path) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        with pytest.raises(ValueError):
            await pretend.daemon().ping("-x; reboot")
        with pytest.raises(ValueError):
            await pretend.daemon().dial("spark\r\nX: y", 22)
        assert pretend.asked == []


async def test_a_daemon_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "ASK_SECONDS", 0.1)
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        pretend.status = None
        with pytest.raises(TimedOut, match=r"did not answer within 0\.1 s"):
            await pretend.daemon().status()


@pytest.mark.parametrize("body", ["malformed-html.txt", "malformed-truncated.json"])
async def test_an_answer_that_is_none(tmp_path: Path, body: str) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        pretend.status = (DATA / f"status.{body}").read_bytes()
        with pytest.raises(Malformed, match="cannot be read"):
            await pretend.daemon().status()


async def test_a_socket_where_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    nobody = Daemon(Places(sockets=(str(path),), mac_library="/nowhere", commands=()), Clock())
    with pytest.raises(Unreachable) as caught:
        await nobody.status()
    assert str(caught.value) == tailnet_words.NOT_RUNNING


async def test_neither_socket_nor_command(tmp_path: Path) -> None:
    """As in Termux: the app's network is there, and nobody who could be asked."""
    nobody = Daemon(Places(sockets=(str(tmp_path / "none"),), mac_library="/nowhere", commands=("no-such-command",)), Clock())
    for question in (nobody.status(), nobody.ping("100.64.0.3"), nobody.dial("100.64.0.3", 22)):
        with pytest.raises(Absent) as caught:
            await question
        assert str(caught.value).startswith("Tailscale is not on this machine") or "neither" in str(caught.value)


@pytest.mark.parametrize("exit_status", [0, 1, 77])
async def test_the_command_is_believed_by_what_it_prints_and_not_by_its_status(tmp_path: Path, exit_status: int) -> None:
    pretend_command(tmp_path, f'test "$*" = "status --json" || exit 9\ncat {DATA}/status.stopped.json\nexit {exit_status}')
    daemon = by_command(tmp_path)
    net = await daemon.status()
    assert (net.state, daemon.told_by) == ("Stopped", "cli")


@pytest.mark.parametrize("state", ["daemon not running", "wrong or missing socket"])
async def test_the_command_says_that_no_daemon_runs(tmp_path: Path, state: str) -> None:
    command = "tailscale status --json" if state.startswith("daemon") else "tailscale status"
    pretend_command(tmp_path, said(command, state))
    with pytest.raises(Unreachable) as caught:
        await by_command(tmp_path).status()
    assert str(caught.value) == tailnet_words.NOT_RUNNING


async def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "ASK_SECONDS", 0.2)
    pretend_command(tmp_path, f"echo $$ > {tmp_path}/pid\nexec sleep 60")
    with pytest.raises(TimedOut):
        await by_command(tmp_path).status()
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_command_that_prints_something_else(tmp_path: Path) -> None:
    pretend_command(tmp_path, "echo 'usage: \x1b[31mtailscale' >&2; exit 2")
    with pytest.raises(Malformed) as caught:
        await by_command(tmp_path).status()
    assert "usage: tailscale" in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "state", "kind"),
    [
        ("tailscale ping --c 1 --until-direct=false gpu", "relayed", PathKind.RELAY),
        ("tailscale ping --c 1 gpu", "relayed", PathKind.RELAY),
        ("tailscale ping --c 1 --until-direct=false spark", "direct", PathKind.DIRECT),
    ],
)
async def test_a_ping_by_the_command(tmp_path: Path, command: str, state: str, kind: PathKind) -> None:
    pretend_command(tmp_path, f'echo "$@" > {tmp_path}/args\n' + said(command, state))
    answer = await by_command(tmp_path).ping("100.64.0.4")
    assert answer.kind is kind and answer.answered
    assert (tmp_path / "args").read_text() == "ping --c 1 --timeout 3s --until-direct=false 100.64.0.4\n"


async def test_a_dialled_stream_begins_with_the_first_byte_of_the_server(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        writer.write((await reader.read(100)).upper())
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with PretendDaemon(tmp_path / "d.sock") as pretend, server:
        pretend.streams["100.64.0.3", 22] = server.sockets[0].getsockname()[1]
        made = await pretend.daemon().dial("100.64.0.3", 22)
        assert isinstance(made, socket.socket)
        with made:
            loop = asyncio.get_running_loop()
            assert (await loop.sock_recv(made, 100)).startswith(b"SSH-2.0-x")
            await loop.sock_sendall(made, b"hello")
            assert await loop.sock_recv(made, 100) == b"HELLO"


async def test_a_dial_that_is_refused_and_one_that_fails(tmp_path: Path) -> None:
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        with pytest.raises(ConnectionRefusedError, match="connection was refused"):
            await pretend.daemon().dial("100.64.0.5", 2222)
        pretend.dial_answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\ndial failure: lookup \x1b[2Jnosuch: no such host\n"
        with pytest.raises(Unreachable, match="lookup nosuch: no such host"):
            await pretend.daemon().dial("100.64.0.5", 22)
        pretend.dial_answer = b"SSH-2.0-OpenSSH\r\n\r\n"
        with pytest.raises(Malformed, match="not answer in HTTP"):
            await pretend.daemon().dial("100.64.0.5", 22)


async def test_a_newer_daemon_leaves_an_address_outside_the_tailnet_to_us(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with PretendDaemon(tmp_path / "d.sock") as pretend, server:
        port = server.sockets[0].getsockname()[1]
        pretend.dial_answer = f"HTTP/1.1 200 OK\r\nDial-Self: true\r\nDial-Addr: 127.0.0.1:{port}\r\n\r\n".encode()
        made = await pretend.daemon().dial("93.184.216.34", 22)
        assert isinstance(made, socket.socket)
        with made:
            assert await asyncio.get_running_loop().sock_recv(made, 10) == b"here"


async def test_without_a_socket_the_command_carries_the_stream(tmp_path: Path) -> None:
    path = pretend_command(tmp_path, "exit 1")
    assert await by_command(tmp_path).dial("100.64.0.3", 22) == (str(path), "nc", "100.64.0.3", "22")


async def test_the_macos_app_is_asked_on_its_port_with_its_token(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        body = recorded("running")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        (tmp_path / "ipnport").symlink_to(str(port))
        (tmp_path / f"sameuserproof-{port}").write_text("abcdef0123456789\n")
        app = Daemon(Places(sockets=(), mac_library=str(tmp_path), commands=()), Clock())
        assert (await app.status()).running
    head = heads[0].lower()
    assert b"authorization: basic omfiy2rlzjaxmjm0nty3odk=" in head and b"host: local-tailscaled.sock" in head


def test_a_socket_that_the_configuration_names_is_the_only_one() -> None:
    assert places("/run/mine.sock").sockets == ("/run/mine.sock",)
    assert "/var/run/tailscale/tailscaled.sock" in places().sockets


def test_the_cache_remembers_addresses_and_is_the_users_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "state" / "tailnet.json")
    assert cache.get("spark") is None
    cache.put("Spark", ("100.64.0.3", "fd7a::3"), AT)
    found = cache.get("spark")
    assert found is not None and (found.addresses, found.at) == (("100.64.0.3", "fd7a::3"), AT)
    assert (tmp_path / "state" / "tailnet.json").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "state") == ["tailnet.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"spark": 7}', '{"spark": {"addresses": ["x; y"], "at": "2026-11-20T00:00:00+00:00"}}', "[" * 9999]
)
def test_a_cache_that_cannot_be_used_is_no_cache(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tailnet.json"
    path.write_text(text)
    cache = Cache(path)
    assert cache.get("spark") is None
    cache.put("spark", ("100.64.0.3",), AT)
    assert cache.get("spark") is not None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Cache(tmp_path / "file" / "tailnet.json").put("spark", ("100.64.0.3",), AT)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a socket to another user needs root")
async def test_a_daemon_of_another_user_is_not_asked(tmp_path: Path) -> None:
    """Neither by its socket nor by the command that would go there."""
    pretend_command(tmp_path / "bin", "echo {}")
    async with PretendDaemon(tmp_path / "d.sock") as pretend:
        os.chown(pretend.path, 64321, 64321)
        sockets = (str(pretend.path),)
        for commands in ((), (str(tmp_path / "bin" / "tailscale"),)):
            daemon = Daemon(Places(sockets=sockets, mac_library="/nowhere", commands=commands), Clock())
            for question in (daemon.status(), daemon.ping("100.64.0.3"), daemon.dial("100.64.0.3", 22)):
                with pytest.raises(Absent, match=r"d\.sock is not believed: .* belongs to uid 64321, not to root or you"):
                    await question
        assert pretend.asked == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user needs root")
async def test_a_command_of_another_user_is_not_run(tmp_path: Path) -> None:
    path = pretend_command(tmp_path / "bin", f"touch {tmp_path}/ran")
    os.chown(path, 64321, 64321)
    with pytest.raises(Absent, match=r"tailscale is not believed: .* belongs to uid 64321"):
        await by_command(tmp_path / "bin").status()
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user needs root")
async def test_a_port_of_the_macos_app_that_another_user_named_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "ipnport").symlink_to("9")
    (tmp_path / "sameuserproof-9").write_text("abcdef0123456789\n")
    here = Places(sockets=(), mac_library=str(tmp_path), commands=())
    assert here.doors()
    os.chown(tmp_path, 64321, 64321)
    assert not here.doors()
