"""How the stream to a server is made: a ProxyCommand, and a way that somebody else knows."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import pytest

from sovtui.adapters.links._ssh_way import Command, Given, Known, Plain, Way
from sovtui.adapters.links.ssh import Dialer
from sovtui.ports.errors import Refused, Unreachable
from tests.fakes.answers import Answers

from .conftest import Server, ServerMaker, alive, linked, until

pytestmark = pytest.mark.integration  # a server that speaks ssh, on the loopback

RELAY = """\
import os, selectors, socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
with open(sys.argv[3], "w") as file:
    file.write(f"{os.getpid()} {' '.join(sys.argv[4:])}")
def copy(data, write):
    if not data:
        sys.exit()
    while data:
        data = data[write(data):]
with selectors.DefaultSelector() as ready:
    ready.register(0, selectors.EVENT_READ)
    ready.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            copy(os.read(0, 65536), sock.send) if key.fd == 0 else copy(sock.recv(65536), lambda d: os.write(1, d))
"""


@pytest.fixture
def relay(tmp_path: Path) -> Path:
    path = tmp_path / "relay.py"
    path.write_text(RELAY)
    return path


def write_config(home: Path, text: str) -> None:
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    (home / ".ssh" / "config").write_text(text)


def behind(server: Server, home: Path, command: str) -> Dialer:
    """The host `box`, which only the command reaches; its key is known."""
    write_config(home, f"Host box\n HostName box.invalid\n Port 2222\n User ops\n ProxyCommand {command}\n")
    public = server.host_key.export_public_key("openssh").decode()
    (home / ".ssh" / "known_hosts").write_text(f"[box.invalid]:2222 {public}")
    return Dialer("spark", "box")


def relaying(relay: Path, server: Server, noted: Path, more: str = "") -> str:
    return f"{shlex.join([sys.executable, str(relay), '127.0.0.1', str(server.port), str(noted)])} {more}"


async def test_a_proxy_command_carries_the_link_and_ends_with_it(serve: ServerMaker, home: Path, relay: Path):
    server, noted = await serve(), home / "noted"
    async with linked(behind(server, home, relaying(relay, server, noted, "%h %p %r %%"))) as link:
        assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
        pid, *words = noted.read_text().split()
        assert words == ["box.invalid", "2222", "ops", "%"]
        assert alive(int(pid))
    await until(lambda: not alive(int(pid)))


async def test_a_proxy_command_that_is_lost_loses_the_link(serve: ServerMaker, home: Path, relay: Path):
    server, noted = await serve(), home / "noted"
    async with linked(behind(server, home, relaying(relay, server, noted))) as link:
        os.kill(int(noted.read_text()), signal.SIGKILL)
        assert "spark" in await asyncio.wait_for(link.wait_lost(), 60)


async def test_what_a_proxy_command_complains_about_is_told(serve: ServerMaker, home: Path):
    server = await serve()
    with pytest.raises(Unreachable, match=r"ProxyCommand .* of spark \(box\) ended with status 3: no route") as caught:
        await behind(server, home, """sh -c 'printf "no \\033[31mroute" >&2; exit 3'""").dial(None)
    assert "terminal" in caught.value.advice


async def test_a_proxy_command_that_is_not_there_is_refused(serve: ServerMaker, home: Path):
    server = await serve()
    with pytest.raises(Refused, match=r"ProxyCommand `no-such-program box\.invalid` of spark \(box\) cannot be run"):
        await behind(server, home, "no-such-program %h").dial(None)


async def test_no_proxy_command_is_said_with_none(serve: ServerMaker, home: Path):
    server = await serve()
    server.trust()
    write_config(home, "Host 127.0.0.1\n ProxyCommand none\nHost *\n ProxyCommand false\n")
    async with linked(server.dialer()):
        pass


@pytest.mark.parametrize("stubborn", ["", "trap '' HUP; "])
async def test_a_proxy_command_is_ended_when_the_dial_is_given_up(serve: ServerMaker, home: Path, stubborn: str):
    server, noted = await serve(), home / "noted"
    dialer = behind(server, home, f"sh -c '{stubborn}sleep 600 & echo $$ $! > {noted}; wait'")
    dialing = asyncio.ensure_future(dialer.dial(None))
    await until(lambda: noted.exists() and len(noted.read_text().split()) == 2)
    dialing.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await dialing
    pids = [int(word) for word in noted.read_text().split()]
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_a_proxy_command_that_hangs_is_told_with_what_it_said(serve: ServerMaker, home: Path):
    server = await serve()
    dialer = behind(server, home, "sh -c 'echo still trying >&2; sleep 60'")
    slow = Dialer("spark", dialer.address, connect_timeout_seconds=0.3)
    with pytest.raises(Unreachable, match="gave no connection: still trying"):
        await slow.dial(None)


async def test_a_known_way_is_taken_where_ssh_config_names_none(serve: ServerMaker, home: Path, relay: Path):
    server = await serve()
    asked: list[tuple[str, int]] = []
    ways: list[Way] = [
        Plain("127.0.0.1"),
        Command([sys.executable, str(relay), "127.0.0.1", str(server.port), str(home / "noted")]),
    ]

    async def make() -> socket.socket:
        made = socket.socket()
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", server.port))
        return made

    ways.append(Given(make))

    async def choose(host: str, port: int) -> Known | None:
        asked.append((host, port))
        return Known(ways[len(asked) - 1])

    public = server.host_key.export_public_key("openssh").decode()
    (home / ".ssh" / "known_hosts").write_text(f"[spark.invalid]:{server.port} {public}")
    for _ in range(len(ways)):
        async with linked(Dialer("spark", f"ops@spark.invalid:{server.port}", choose=choose), Answers()) as link:
            assert (await link.run(["printf", "x"], timeout_seconds=60)).stdout == b"x"
    assert asked == [("spark.invalid", server.port)] * len(ways)
