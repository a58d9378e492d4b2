"""One link per host: loss is noticed, it comes back by itself, a refusal waits for a person."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from sovtui.core.clean import clean
from sovtui.core.events import Event, LinkChanged
from sovtui.core.model import Link as LinkValue
from sovtui.core.model import LinkPhase
from sovtui.core.reach import Evidence, Fault, Here, Stage, Verdict
from sovtui.ports.errors import HostKeyError, Refused, Unreachable
from sovtui.ports.link import Ask, Link, Question, Tell
from sovtui.runtime import waking
from sovtui.runtime.clock import RealClock
from sovtui.runtime.links import Links, Pace
from tests.fakes.world import FakeClock, FakeDialer, FakeLink

QUICK = Pace(0.01, 0.02)


@contextlib.asynccontextmanager
async def running(dialer: FakeDialer) -> AsyncIterator[tuple[Links, list[LinkPhase]]]:
    links = Links({"spark": dialer}, FakeClock(), pace=QUICK)
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


async def test_a_fault_of_our_own_is_told_and_ends_no_link(caplog: pytest.LogCaptureFixture) -> None:
    broken = iter((OSError("no room"),))

    def make() -> Link:
        for error in broken:
            raise error
        return FakeLink()

    async with running(FakeDialer(make)) as (links, phases):
        with pytest.raises(Unreachable, match=r"broke inside sovtui \(OSError\)"):
            await links.get("spark")
        await links.keepers["spark"].when_up()
        assert phases[-1] is LinkPhase.UP and "no room" in caplog.text


class JumpingClock(FakeClock):
    """An hour ahead at every other look at it."""

    looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return super().now() + timedelta(hours=self.looks % 2)


async def test_a_clock_that_jumps_makes_no_pause_longer() -> None:
    pauses: list[float] = []

    class Noted(Pace):
        def pause_seconds(self, down_seconds: float) -> float:
            pauses.append(down_seconds)
            return 0.001

    links = Links({"spark": FakeDialer(Unreachable("refused"))}, JumpingClock(), pace=Noted(0.001, 0.001))
    links.connect_store(lambda event: None)
    task = asyncio.create_task(links.keepers["spark"].run())
    while len(pauses) < 6 and not task.done():
        await asyncio.sleep(0.001)
    assert not task.done() or task.result() is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(pauses) == {0.0}, "no time has passed"


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


class Frail(FakeLink):
    """A link over a network."""

    loss: Evidence | None = None
    own_address = "192.168.1.5"
    checks = 0

    def check(self) -> None:
        self.checks += 1

    def abandon(self) -> None:
        self.loss = Evidence("spark", stage=Stage.UP, fault=Fault.MOVED)
        self.lost.set_result("its address is gone")


class FakeNetwork:
    """What this machine knows of its way out, as a test says."""

    def __init__(self) -> None:
        self.here = Here("192.168.1.5", True)
        self.mine = {"192.168.1.5"}
        self.slept = 0.0
        self.told: list[Callable[[], None]] = []
        self.tells = True

    def toward(self, addresses: Sequence[str]) -> Here:
        return self.here

    def has(self, address: str) -> bool:
        return address in self.mine

    def watch(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        self.told.append(changed)
        return self.told.clear if self.tells else None

    def asleep_seconds(self) -> float:
        return self.slept


def silent(**words: Any) -> Unreachable:
    error = Unreachable("spark did not answer", "")
    error.evidence = Evidence("spark", addresses=("192.168.1.20",), fault=Fault.SILENCE, seconds=5.0, **words)
    return error


@contextlib.asynccontextmanager
async def keeping(dialer: Any, network: FakeNetwork, pace: Pace = QUICK) -> AsyncIterator[tuple[Links, list[LinkValue]]]:
    links = Links({"spark": dialer}, RealClock(), network=network, pace=pace)
    told: list[LinkValue] = []
    links.connect_store(lambda event: told.append(event.link) if isinstance(event, LinkChanged) else None)
    task = asyncio.create_task(links.keepers["spark"].run())
    try:
        async with asyncio.timeout(60):
            yield links, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.002)


async def test_offline_is_told_and_nothing_is_sent_until_there_is_a_way():
    network = FakeNetwork()
    dialer = FakeDialer(silent(), lambda: FakeLink())
    network.here = Here("", False)
    async with keeping(dialer, network) as (_, told):
        await until(lambda: told and told[-1].phase is LinkPhase.DOWN)
        assert told[-1].verdict is Verdict.OFFLINE and "this machine is offline" in told[-1].reason
        await asyncio.sleep(0.1)
        assert dialer.dials == 1, "many pauses long"
        network.here = Here("192.168.1.5", True)
        await until(lambda: told[-1].phase is LinkPhase.UP)


async def test_the_reason_stays_while_it_is_tried_again():
    async with keeping(FakeDialer(silent()), FakeNetwork()) as (_, told):
        await until(lambda: len([one for one in told if one.phase is LinkPhase.CONNECTING]) > 2)
        later = [one for one in told if one.phase is LinkPhase.CONNECTING][1:]
        assert {(one.verdict, one.since) for one in later} == {(Verdict.HOST_DOWN, later[0].since)}


async def test_a_link_that_stood_is_dialled_again_without_a_pause():
    made: list[Frail] = []

    def make() -> Link:
        made.append(Frail())
        return made[-1]

    slow = Pace(shortest_seconds=60, longest_seconds=60, steady_seconds=0.0)
    async with keeping(FakeDialer(make), FakeNetwork(), slow) as (_, told):
        await until(lambda: made)
        made[0].lost.set_result("gone")
        await until(lambda: len(made) == 2)
        assert [one.phase for one in told][:4] == [LinkPhase.CONNECTING, LinkPhase.UP, LinkPhase.DOWN, LinkPhase.CONNECTING]


async def test_an_own_address_that_is_gone_loses_the_link_at_once():
    made: list[Frail] = []

    def make() -> Link:
        made.append(Frail())
        return made[-1]

    network = FakeNetwork()
    async with keeping(FakeDialer(make), network, Pace(steady_seconds=0.0)) as (links, told):
        await until(lambda: told and told[-1].phase is LinkPhase.UP)
        await links.stir()
        assert (made[0].checks, made[0].lost.done()) == (1, False), "the address is still there: it is only looked at"
        network.mine = {"10.0.0.7"}
        await links.stir()
        await until(lambda: len(made) == 2)
        assert "address of this machine has changed" in next(one.reason for one in told if one.phase is LinkPhase.DOWN)


async def test_a_change_of_network_ends_the_pause():
    dialer = FakeDialer(silent(), lambda: FakeLink())
    async with keeping(dialer, FakeNetwork(), Pace(shortest_seconds=0.2, longest_seconds=60, grows=1e-9)) as (links, told):
        await until(lambda: told and told[-1].phase is LinkPhase.DOWN)
        await links.stir()
        await until(lambda: told[-1].phase is LinkPhase.UP)


class Slow(FakeDialer):
    """A dial that hangs in the greeting."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Unreachable("unused"))
        self.seen: Evidence | None = Evidence("spark", stage=Stage.GREETING, seconds=seconds)

    async def dial(self, ask: Ask | None) -> Link:
        self.dials += 1
        if self.dials > 1:
            return FakeLink()
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_long_dial_says_what_it_waits_for_and_goes_on():
    dialer = Slow(4.0)
    async with keeping(dialer, FakeNetwork()) as (_, told):
        await until(lambda: told and told[-1].verdict is Verdict.HANGS)
        assert (told[-1].phase, dialer.dials) == (LinkPhase.CONNECTING, 1)
        assert "takes connections" in told[-1].reason


async def test_a_change_of_network_ends_a_login_that_hangs():
    dialer = Slow(2.0)
    async with keeping(dialer, FakeNetwork()) as (links, told):
        await until(lambda: dialer.dials == 1)
        await links.stir()
        await until(lambda: told[-1].phase is LinkPhase.UP)


async def test_what_wakes():
    """A change that is told, one that is only seen, a sleep, a stop: each wakes once; a quiet second does not."""
    network, clock, woken = FakeNetwork(), FakeClock(), 0

    async def wake() -> None:
        nonlocal woken
        woken += 1

    async def rounds(more: int = 2) -> None:
        for _ in range(more):
            clock.passed += waking.LOOK_SECONDS
            await asyncio.sleep(0.03)

    waking_seconds, waking.LOOK_SECONDS = waking.LOOK_SECONDS, 0.01
    task = asyncio.create_task(waking.watch(network, clock, lambda: ("192.168.1.20",), wake))
    try:
        await rounds()
        assert woken == 0
        network.told[0]()
        await rounds()
        assert woken == 1
        network.slept += 60
        await rounds()
        assert woken == 2
        clock.passed += 30
        await rounds()
        assert woken == 3
    finally:
        waking.LOOK_SECONDS = waking_seconds
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert network.told == [], "it no longer listens"


async def test_where_nothing_is_told_the_way_is_compared():
    network, clock, woken = FakeNetwork(), FakeClock(), asyncio.Event()
    network.tells = False

    async def wake() -> None:
        woken.set()

    waking_seconds, waking.LOOK_SECONDS = waking.LOOK_SECONDS, 0.01
    task = asyncio.create_task(waking.watch(network, clock, lambda: ("192.168.1.20",), wake))
    try:
        await asyncio.sleep(0.03)
        network.here = Here("10.0.0.7", True)
        clock.passed += waking.POLL_SECONDS
        async with asyncio.timeout(60):
            await woken.wait()
    finally:
        waking.LOOK_SECONDS = waking_seconds
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_said_in_a_login_is_kept_until_the_next() -> None:
    class Talking(FakeDialer):
        on_banner: Tell | None = None

        async def dial(self, ask: Ask | None) -> Link:
            assert self.on_banner is not None
            self.on_banner(clean("Authorized use only."))
            self.on_banner(clean(""))
            self.on_banner(clean(f"login {self.dials}"))
            return await super().dial(ask)

    links = Links({"spark": Talking(Unreachable("it closed the connection"), FakeLink)}, FakeClock(), pace=QUICK)
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
