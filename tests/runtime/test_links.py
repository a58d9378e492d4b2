"""One link per host: loss is noticed, it comes back by itself, a refusal waits for a person."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from sovtui.core.clean import clean
from sovtui.core.events import Event, LinkChanged
from sovtui.core.model import LinkPhase
from sovtui.ports.errors import HostKeyError, Refused, Unreachable
from sovtui.ports.link import Ask, Link, Question, Tell
from sovtui.runtime import links as links_module
from sovtui.runtime.links import Links
from tests.fakes.world import FakeClock, FakeDialer, FakeLink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "BACKOFF_SECONDS", (0.01, 0.02))


@contextlib.asynccontextmanager
async def running(dialer: FakeDialer) -> AsyncIterator[tuple[Links, list[LinkPhase]]]:
    links = Links({"spark": dialer}, FakeClock())
    phases: list[LinkPhase] = []

    def put(event: Event) -> None:
        assert isinstance(event, LinkChanged)
        phases.append(event.link.phase)

    links.connect_store(put)
    task = asyncio.create_task(links.keepers["spark"].run())
    try:
        yield links, phases
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_lost_and_back() -> None:
    made: list[FakeLink] = []

    def make() -> Link:
        made.append(FakeLink())
        return made[-1]

    async with running(FakeDialer(make)) as (links, phases):
        first = await links.get("spark")
        made[0].lost.set_result("the connection was reset")
        second = await links.keepers["spark"].when_up() if not made[0].closed else await links.get("spark")
        while second is first:
            await asyncio.sleep(0.005)
            second = await links.keepers["spark"].when_up()
        assert made[0].closed
        assert phases[:5] == [LinkPhase.CONNECTING, LinkPhase.UP, LinkPhase.DOWN, LinkPhase.CONNECTING, LinkPhase.UP]


async def test_down_says_why_at_once() -> None:
    async with running(FakeDialer(Unreachable("connection refused on ops@spark", "Is sshd running there?"))) as (links, phases):
        while LinkPhase.DOWN not in phases:
            await asyncio.sleep(0.001)
        with pytest.raises(Unreachable, match=r"refused.*Is sshd running"):
            while True:  # between two tries it waits for the answer of the next one
                await links.get("spark")
        assert LinkPhase.UP not in phases


async def test_a_refusal_waits_for_a_key_press() -> None:
    error = HostKeyError("the key of spark has changed", changed=True, fingerprint="SHA256:x")
    dialer = FakeDialer(error)
    async with running(dialer) as (links, phases):
        while LinkPhase.REFUSED not in phases:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        assert dialer.dials == 1
        with pytest.raises(Refused, match="changed"):
            await links.get("spark")
        links.retry_now("spark")
        while dialer.dials < 2:
            await asyncio.sleep(0.001)


async def test_a_question_shows_that_it_waits_for_the_operator() -> None:
    class Asking(FakeDialer):
        async def dial(self, ask: Ask | None) -> Link:
            assert ask is not None
            assert await ask(Question("host-key", "t", "x")) == "yes"
            return FakeLink()

    async with running(Asking(Unreachable("unused"))) as (links, phases):

        async def yes(question: Question) -> str | None:
            return "yes"

        links.ask = yes
        await links.get("spark")
        assert phases == [LinkPhase.CONNECTING, LinkPhase.ASKING, LinkPhase.CONNECTING, LinkPhase.UP]


async def test_what_is_said_in_a_login_is_kept_until_the_next() -> None:
    class Talking(FakeDialer):
        on_banner: Tell | None = None

        async def dial(self, ask: Ask | None) -> Link:
            assert self.on_banner is not None
            self.on_banner(clean("Authorized use only."))
            self.on_banner(clean(""))
            self.on_banner(clean(f"login {self.dials}"))
            return await super().dial(ask)

    links = Links({"spark": Talking(Unreachable("it closed the connection"), FakeLink)}, FakeClock())
    seen: list[tuple[LinkPhase, tuple[str, ...]]] = []

    def put(event: Event) -> None:
        assert isinstance(event, LinkChanged)
        seen.append((event.link.phase, event.link.said))

    links.connect_store(put)
    task = asyncio.create_task(links.keepers["spark"].run())
    await links.keepers["spark"].when_up()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    first, second = ("Authorized use only.", "login 0"), ("Authorized use only.", "login 1")
    assert (LinkPhase.CONNECTING, ()) in seen and (LinkPhase.DOWN, first) in seen and (LinkPhase.UP, second) in seen
