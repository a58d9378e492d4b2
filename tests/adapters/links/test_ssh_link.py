"""The link: commands, followed commands, TCP streams, and the end of it. The same on asyncssh's server and on OpenSSH."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sovtui.adapters.links import _ssh_follower, _ssh_link, dialer_for, local
from sovtui.adapters.links._ssh_quiet import quieten
from sovtui.adapters.links.ssh import Dialer
from sovtui.ports.errors import Refused, TimedOut, Unreachable
from sovtui.ports.link import Link
from tests.loopback import serving

from .conftest import Gate, ServerMaker, Sshd, alive, linked, until

pytestmark = pytest.mark.integration  # a server that speaks ssh, on the loopback

AWKWARD = ["", " ", "it's", '"', "$HOME", "`id`", "a\nb", "\\", "*", "ü€", "-n", "a;b", "#", "!x"]


@pytest.fixture(params=["local", "asyncssh", pytest.param("openssh", marks=pytest.mark.integration)])
def place(request: pytest.FixtureRequest) -> Any:
    """What serves; an async fixture cannot ask for another one by name."""
    return request.getfixturevalue({"local": "home", "asyncssh": "serve", "openssh": "sshd"}[request.param])


@pytest.fixture(params=["asyncssh", pytest.param("openssh", marks=pytest.mark.integration)])
def far_place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue({"asyncssh": "serve", "openssh": "sshd"}[request.param])


async def server_at(place: Any) -> Any:
    if isinstance(place, Sshd):
        return place
    server = await place()
    server.trust()
    return server


@pytest.fixture
def sends_signals(place: Any) -> bool:
    """sshd before 9.8 does not pass signals to the commands of root."""
    return not (isinstance(place, Sshd) and os.getuid() == 0)


@pytest.fixture
async def link(place: Any) -> AsyncIterator[Link]:
    """Each kind of link behaves the same."""
    dialer = dialer_for("local", "here") if isinstance(place, Path) else (await server_at(place)).dialer()
    async with linked(dialer) as made:
        yield made


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()

    async with serving(answer) as port:
        yield port


async def test_words_arrive_as_they_are(link: Link):
    done = await link.run(["printf", "%s\\0", *AWKWARD], timeout_seconds=60)
    assert done.stdout.decode().split("\0")[:-1] == AWKWARD
    assert (done.exit_status, done.stderr) == (0, b"")


async def test_input_goes_in_and_both_outputs_come_out(link: Link):
    data = os.urandom(300_000)
    done = await link.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=data, timeout_seconds=60)
    assert (done.stdout, done.stderr, done.exit_status) == (data, b"bad\n", 7)


async def test_a_command_without_input_sees_its_end(link: Link):
    assert (await link.run(["cat"], timeout_seconds=60)).stdout == b""


async def test_a_command_may_end_without_reading_its_input(link: Link):
    for _ in range(12):
        assert (await link.run(["true"], stdin=b"unread", timeout_seconds=60)).exit_status == 0
        async with link.stream(["true"], stdin=b"unread") as stream:
            assert [line async for line in stream.lines()] == []
            assert (await stream.result()).exit_status == 0


async def test_a_killed_command_has_a_negative_status(link: Link):
    assert (await link.run(["sh", "-c", "kill -9 $$"], timeout_seconds=60)).exit_status == -9


async def test_a_missing_command_is_127(link: Link):
    done = await link.run(["no-such-command-here"], timeout_seconds=60)
    assert done.exit_status == 127 and b"not found" in done.stderr


async def test_a_slow_command_times_out(link: Link):
    with pytest.raises(TimedOut, match=r"`sleep` took longer than 0\.1 s"):
        await link.run(["sleep", "30"], timeout_seconds=0.1)
    assert (await link.run(["printf", "on"], timeout_seconds=60)).stdout == b"on"


async def test_more_commands_than_sessions_all_run(link: Link):
    done = await asyncio.gather(*(link.run(["printf", str(n)], timeout_seconds=60) for n in range(24)))
    assert [one.stdout for one in done] == [str(n).encode() for n in range(24)]


async def test_a_stream_gives_lines_as_they_come(link: Link):
    async with link.stream(["sh", "-c", "read a; echo got $a; echo; cat >/dev/null; echo late"], stdin=b"one\n") as stream:
        lines = stream.lines()
        assert await anext(lines) == b"got one"
        assert await anext(lines) == b""


async def test_a_stream_that_ends_tells_how(link: Link):
    script = "echo a; printf b; i=0; while [ $i -lt 3000 ]; do echo line-$i >&2; i=$((i+1)); done; exit 3"
    async with link.stream(["sh", "-c", script]) as stream:
        assert [line async for line in stream.lines()] == [b"a", b"b"]
        done = await stream.result()
    assert (done.exit_status, done.stdout) == (3, b"")
    assert len(done.stderr) == 8192 and done.stderr.endswith(b"line-2999\n")


async def test_a_line_over_a_mebibyte_is_cut(link: Link):
    async with link.stream(["sh", "-c", "head -c 3000000 /dev/zero; echo; echo next"]) as stream:
        lines = [line async for line in stream.lines()]
    assert [len(line) for line in lines] == [1 << 20, 4]


async def test_leaving_a_stream_ends_the_command(link: Link):
    async with link.stream(["sh", "-c", "sleep 300 & p=$!; echo $p; cat >/dev/null; kill $p"]) as stream:
        pid = int(await anext(stream.lines()))
        assert alive(pid)
    await until(lambda: not alive(pid))


async def test_cancelling_a_reader_leaves_the_link_usable(link: Link):
    async def follow() -> None:
        async with link.stream(["sh", "-c", "echo x; cat >/dev/null"]) as stream:
            async for _ in stream.lines():
                started.set()

    for _ in range(12):  # more than there are sessions: each must be given back
        started = asyncio.Event()
        task = asyncio.create_task(follow())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await link.run(["printf", "on"], timeout_seconds=60)).stdout == b"on"


async def test_a_tcp_stream_goes_both_ways(link: Link, echo: int):
    stream = await link.open_tcp("127.0.0.1", echo, timeout_seconds=60)
    assert not stream.readable_or_closed()
    data = os.urandom(2_000_000)
    writing = asyncio.create_task(stream.write(data))
    got = b""
    while len(got) < len(data):
        part = await stream.read(1 << 16)
        assert 0 < len(part) <= 1 << 16
        got += part
    await writing
    assert got == data
    await stream.aclose()


async def test_a_closed_tcp_stream_must_not_be_reused(link: Link):
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    async with serving(close) as port:
        stream = await link.open_tcp("127.0.0.1", port, timeout_seconds=60)
        await until(stream.readable_or_closed)
        assert await stream.read(100) == b"bye"
        assert await stream.read(100) == b""
        assert stream.readable_or_closed()
        await stream.aclose()
        await closed.wait()


async def test_a_port_that_nobody_has_is_named(link: Link):
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(Unreachable, match=rf"nothing listens on 127\.0\.0\.1:{port}"):
        await link.open_tcp("127.0.0.1", port, timeout_seconds=60)


async def test_a_closed_link_says_so(link: Link):
    waiting = asyncio.create_task(link.wait_lost())
    await asyncio.sleep(0)
    await link.aclose()
    assert "closed" in await waiting
    with pytest.raises(Unreachable):
        await link.run(["true"], timeout_seconds=60)
    with pytest.raises(Unreachable):
        await link.open_tcp("127.0.0.1", 1, timeout_seconds=60)
    with pytest.raises(Unreachable):
        async with link.stream(["true"]):
            pass


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_command_does_not_outlive_a_timeout_nor_a_cancel(link: Link, tmp_path: Path, sends_signals: bool, how: str):
    file = tmp_path / "pid"
    words = ["sh", "-c", f"sleep 300 & echo $! > {file}.new; mv {file}.new {file}; wait"]
    running = asyncio.create_task(link.run(words, timeout_seconds=0.7 if how == "timeout" else 60))
    await until(file.exists)
    pid = int(file.read_text())
    if how == "cancel":
        running.cancel()
    with pytest.raises(TimedOut if how == "timeout" else asyncio.CancelledError):
        await running
    if not sends_signals:
        os.kill(pid, 9)
    await until(lambda: not alive(pid))


async def test_a_command_that_reads_nothing_can_be_left(link: Link, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_ssh_follower, "CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(local, "_GRACE_SECONDS", 0.1)
    async with link.stream(["sh", "-c", "echo on; sleep 300 & wait"], stdin=bytes(8 << 20)) as stream:
        assert await anext(stream.lines()) == b"on"


@pytest.fixture
async def gated(far_place: Any, home: Path) -> AsyncIterator[tuple[Any, Gate]]:
    """Makes dialers through a proxy whose line can be cut."""
    server = await server_at(far_place)
    gate = await Gate(server.port).start()
    known = home / ".ssh" / "known_hosts"
    known.write_text(known.read_text().replace(f":{server.port}", f":{gate.port}"))

    def dialer(**words: Any) -> Any:
        return server.dialer(port=gate.port, **words)

    yield dialer, gate
    await gate.stop()


async def test_a_connection_lost_in_the_middle_is_never_success(gated: tuple[Any, Gate]):
    dialer, gate = gated
    async with linked(dialer()) as link:
        async with link.stream(["sh", "-c", "echo x; cat"]) as stream:
            lines = stream.lines()
            assert await anext(lines) == b"x"
            running = asyncio.create_task(link.run(["sh", "-c", "cat; sleep 300"], timeout_seconds=60))
            await asyncio.sleep(0)
            await link.run(["true"], timeout_seconds=60)
            gate.abort()
            with pytest.raises(Unreachable, match=r"cut off.*(lost|closed)"):
                await running
            with pytest.raises(Unreachable, match="cut off"):
                await anext(lines)
            with pytest.raises(Unreachable):
                await stream.result()
        assert "spark" in await link.wait_lost()


@pytest.mark.parametrize("words", [{"keepalive_seconds": 0.1}, pytest.param({}, marks=pytest.mark.integration)])
async def test_a_dead_link_is_noticed(gated: tuple[Any, Gate], words: dict[str, float]):
    """No packet ever tells that it is dead: it is asked, and asked again."""
    dialer, gate = gated[0](**words), gated[1]
    async with linked(dialer) as link:
        gate.go_silent()
        async with asyncio.timeout(120):
            assert await link.wait_lost() == f"spark ({dialer.address}) does not answer any more"


def test_a_dead_link_is_noticed_within_five_seconds():
    settings = Dialer("spark")._settings
    assert settings.keepalive_seconds * (settings.keepalive_count + 1) <= 5


async def test_forbidden_forwarding_is_refused_with_advice(serve: ServerMaker, echo: int):
    server = await serve(forward=False)
    server.trust()
    async with linked(server.dialer()) as link:
        with pytest.raises(Refused, match="forbids connections") as caught:
            await link.open_tcp("127.0.0.1", echo, timeout_seconds=60)
    assert "AllowTcpForwarding" in caught.value.advice


async def test_a_login_without_commands_still_forwards(serve: ServerMaker, echo: int):
    server = await serve(sessions=False)
    server.trust()
    async with linked(server.dialer()) as link:
        stream = await link.open_tcp("127.0.0.1", echo, timeout_seconds=60)
        await stream.aclose()
        with pytest.raises(Refused, match="no session"):
            await link.run(["true"], timeout_seconds=60)


def test_kinds_are_found_by_file_name():
    assert (dialer_for("ssh", "spark", "ops@spark").address, dialer_for("ssh", "spark").address) == ("ops@spark", "spark")
    for word in ("telnet", "http", "_tcp", "../ssh", ""):
        with pytest.raises(ValueError, match="there are: local, ssh"):
            dialer_for(word, "spark")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counted by Linux")
async def test_what_goes_over_the_link_is_counted_by_the_kernel(far_place: Any):
    dialer = (await server_at(far_place)).dialer()
    async with linked(dialer) as made:
        link: Any = made
        before = link.traffic_bytes
        assert before is not None and min(before) > 500, "the login itself"
        noise = os.urandom(200_000)
        done = await link.run(["cat"], stdin=noise, timeout_seconds=60)
        assert done.stdout == noise
        after = link.traffic_bytes
        for old, new in zip(before, after, strict=True):
            assert 200_000 < new - old < 240_000
        link.spare(True)  # fewer signs of life; it works as before
        assert (await link.run(["true"], timeout_seconds=60)).exit_status == 0
        link.spare(False)


async def test_this_machine_counts_nothing():
    async with linked(dialer_for("local", "here")) as link:
        assert getattr(link, "traffic_bytes", None) is None


async def test_no_empty_packet_goes_before_each_of_ours(serve: ServerMaker) -> None:
    """asyncssh puts one there whatever the cipher; over one in CBC mode it stays."""
    server = await serve()
    server.trust()
    async with linked(server.dialer()) as link:
        connection = link._connection  # type: ignore[attr-defined]
        kinds: list[int] = []
        log = connection.log_sent_packet

        def noting(kind: int, *words: Any) -> None:
            kinds.append(kind)
            log(kind, *words)

        connection.log_sent_packet = noting
        assert (await link.run(["true"], timeout_seconds=60)).exit_status == 0
    assert kinds and 2 not in kinds


def test_the_empty_packet_stays_where_it_guards_something() -> None:
    class Connection:
        sent: ClassVar[list[int]] = []

        def __init__(self, cipher: str) -> None:
            self.cipher = cipher

        def get_extra_info(self, name: str) -> str:
            return self.cipher

        def send_packet(self, kind: int) -> None:
            self.sent.append(kind)

    for cipher, kept in (("aes256-cbc", True), ("3des-cbc", True), ("", True), ("chacha20-poly1305@openssh.com", False)):
        connection = Connection(cipher)
        quieten(connection)  # type: ignore[arg-type]
        connection.sent.clear()
        connection.send_packet(2)
        connection.send_packet(94)
        assert connection.sent == ([2, 94] if kept else [94]), cipher


async def test_the_cipher_is_the_one_that_costs_least(far_place: Any) -> None:
    async with linked((await server_at(far_place)).dialer()) as link:
        assert isinstance(link, _ssh_link.SshLink)
        assert "-gcm@" in str(link._connection.get_extra_info("send_cipher"))
        assert "-gcm@" in str(link._connection.get_extra_info("recv_cipher"))


_WRITES = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
count = 0
while True:
    count += os.write(1, b"x" * 65535 + b"\\n")
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(count))
    os.replace(sys.argv[1] + ".new", sys.argv[1])
"""


async def test_who_writes_faster_than_we_read_is_held(link: Link, tmp_path: Path) -> None:
    """asyncssh opens its whole window again for any read: a slow reader would hold ever more of what nobody has looked at."""
    told, taken = tmp_path / "told", 0
    async with link.stream([sys.executable, "-c", _WRITES, str(told)]) as stream:
        async for _ in stream.lines():
            taken += 1
            await asyncio.sleep(0.005)
            if taken == 60:
                break
        before = -1
        while before != (now := int(told.read_text())):
            before = now
            await asyncio.sleep(0.5)
        assert now <= (taken << 16) + (8 << 20)
