"""TCP over a way that comes and goes: who is tried when, and what is said if nobody answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from sovtui.adapters.links import _ssh_knock
from sovtui.adapters.links._ssh_knock import NoName, Progress, knock
from sovtui.core.reach import Stage


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    _ssh_knock._remembered.clear()
    yield
    _ssh_knock._remembered.clear()


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_server_is_reached_and_the_way_is_told():
    progress = Progress()
    async with listening() as port:
        with await knock("127.0.0.1", port, progress, 5) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)
    assert (progress.stage, progress.addresses) == (Stage.CONNECT, ("127.0.0.1",))
    assert progress.connect_seconds > 0


async def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch):
    async with listening() as port:
        places = [(socket.AF_INET, text, (text, port)) for text in ("127.0.0.2", "127.0.0.1")]

        async def two(*_: object) -> list[object]:
            return list(places)

        monkeypatch.setattr(_ssh_knock, "_look_up", two)
        async with asyncio.timeout(60):
            with await knock("spark", port, Progress(), 600) as sock:
                assert sock.getpeername()[0] == "127.0.0.1"


async def test_a_refusal_is_told_at_once():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionRefusedError):
            await knock("127.0.0.1", port, Progress(), 600)


async def test_a_link_that_comes_back_is_found_by_the_next_try(monkeypatch: pytest.MonkeyPatch):
    """The first try's packet is lost for good; without a second one beside it nothing would ever come."""
    monkeypatch.setattr(_ssh_knock, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(_ssh_knock, "NEXT_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    connect, tries = loop.sock_connect, []

    async def lossy(sock: socket.socket, place: object) -> None:
        tries.append(sock)
        if len(tries) < 3:
            await asyncio.Event().wait()
        await connect(sock, place)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "sock_connect", lossy)
    async with listening() as port:
        with await knock("127.0.0.1", port, Progress(), 5) as sock:
            assert sock is tries[2]
    assert [one.fileno() for one in tries[:2]] == [-1, -1], "the others are closed"


async def test_silence_ends_in_time_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch):
    tries: list[socket.socket] = []

    async def lost(sock: socket.socket, place: object) -> None:
        tries.append(sock)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", lost)
    with pytest.raises(TimeoutError):
        await knock("127.0.0.1", 9, Progress(), 0.1)
    assert tries and all(one.fileno() == -1 for one in tries)


async def test_a_name_that_nobody_answers_for_goes_to_its_last_addresses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_ssh_knock, "NAME_SECONDS", 0.05)
    asked = 0
    real = _ssh_knock._resolve

    async def resolve(host: str, port: int, family: int, flags: int) -> list[tuple[object, ...]]:
        nonlocal asked
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked += 1
        if asked > 1:
            await asyncio.Event().wait()
        return await real("127.0.0.1", port, family, 0)

    monkeypatch.setattr(_ssh_knock, "_resolve", resolve)
    async with listening() as port:
        for _ in range(3):
            (await knock("spark", port, Progress(), 5)).close()
    assert asked == 2, "one question at a time: the thread that waits for it cannot be ended"


@pytest.mark.parametrize(("number", "known"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)])
async def test_an_unknown_name_is_not_a_name_server_that_is_silent(monkeypatch: pytest.MonkeyPatch, number: int, known: bool):
    async def resolve(*_: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(_ssh_knock, "_resolve", resolve)
    with pytest.raises(NoName) as caught:
        await knock("spark", 22, Progress(), 5)
    assert caught.value.known is known
