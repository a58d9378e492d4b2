"""A command that tells how things are waits until everybody has told, and says of whom it did not wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from sovtui.config.schema import Config, HostConfig
from sovtui.config.specs import host_specs
from sovtui.core.events import Event, Sample, Samples, ServicesSeen
from sovtui.core.model import Service
from sovtui.core.reading import fresh
from sovtui.core.state import State
from sovtui.ports.errors import NotYet, PortError, Unreachable
from sovtui.ports.link import Link
from sovtui.ports.source import Emit
from sovtui.runtime.clock import RealClock
from sovtui.runtime.control import Control, Equipment
from sovtui.runtime.links import Links, Pace
from tests.fakes.world import FakeDialer, FakeLink

pytestmark = pytest.mark.truth(of="one-shot commands and states")

CONFIG = Config(host={"spark": HostConfig(watch=("a.service",))})


@dataclass
class Asked:
    """A source that answers with what its test puts there."""

    name: str = "backups"
    host: str = "spark"
    interval_seconds: float = 0.01
    timeout_seconds: float = 30.0
    trouble: PortError | None = None
    never: bool = False
    polls: int = 0

    async def poll(self, state: State, emit: Emit) -> str:
        self.polls += 1
        if self.never:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return ""

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class Pushed:
    """A stream that pushes what its test puts into the queue; a queue for each link that it gets."""

    name: str = "probe"
    host: str = "spark"
    queues: list[asyncio.Queue[Event]] = field(default_factory=list)

    def spare(self, on: bool) -> None:
        """There is no pace."""

    async def events(self, link: Link) -> AsyncGenerator[tuple[Event, ...], None]:
        self.queues.append(asyncio.Queue())
        queue = self.queues[-1]
        assert isinstance(link, FakeLink)
        while True:
            news = asyncio.ensure_future(queue.get())
            lost = asyncio.ensure_future(link.wait_lost())
            done, _ = await asyncio.wait({news, lost}, return_when=asyncio.FIRST_COMPLETED)
            if news not in done:
                news.cancel()
                raise Unreachable("`python3` was cut off")
            lost.cancel()
            yield (news.result(),)


@contextlib.asynccontextmanager
async def room(source: Asked, stream: Pushed, make: Callable[[], Link] = FakeLink) -> AsyncIterator[Control]:
    clock = RealClock()
    links = Links({"spark": FakeDialer(make)}, clock, pace=Pace(0.01, 0.02))

    async def equip() -> Equipment:
        return Equipment([source], [stream])

    control = Control(CONFIG, host_specs(CONFIG), links, clock, equip)
    await control.start()
    try:
        yield control
    finally:
        await control.aclose()


async def holds(condition: Callable[[], bool]) -> None:
    """However long that takes here."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.002)


SERVICES = ServicesSeen("spark", (Service("a.service", "active"),))
FIGURE = Samples("spark", (Sample("cpu.load_mean", fresh(1.0, RealClock().now(), "probe")),))


async def test_a_source_whose_inputs_are_not_there_has_not_answered() -> None:
    source, stream = Asked(trouble=NotYet("the services of its backups are not known yet")), Pushed()
    async with room(source, stream) as control:
        await holds(lambda: bool(stream.queues) and source.polls > 2)
        stream.queues[0].put_nowait(SERVICES)
        assert await control.settle(0.05) == ()  # who only acts does not wait for it
        assert await control.settle(0.05, whole=True) == ("backups of spark",)
        told = control.state.sources["backups", "spark"]
        assert (told.ok, told.reason) == (None, "the services of its backups are not known yet")
        waiting = asyncio.ensure_future(control.settle(120, whole=True))
        source.trouble = None
        assert await waiting == ()
        assert control.state.sources["backups", "spark"].ok is True


async def test_figures_alone_are_not_all_that_a_host_has_to_tell() -> None:
    source, stream = Asked(), Pushed()
    async with room(source, stream) as control:
        await holds(lambda: bool(stream.queues) and source.polls > 0)
        stream.queues[0].put_nowait(FIGURE)
        await holds(lambda: control.state.sources["probe", "spark"].ok is True)
        assert await control.settle(0.05, whole=True) == ("services of spark",)
        stream.queues[0].put_nowait(SERVICES)
        assert await control.settle(120, whole=True) == ()


async def test_who_never_answers_is_named_and_says_so() -> None:
    source, stream = Asked(never=True), Pushed()
    async with room(source, stream) as control:
        await holds(lambda: bool(stream.queues) and source.polls > 0)
        assert (control.state.sources["backups", "spark"].ok, control.state.sources["backups", "spark"].reason) == (None, "")
        stream.queues[0].put_nowait(SERVICES)
        assert await control.settle(0.2, whole=True) == ("backups of spark",)
        assert control.state.sources["backups", "spark"].reason == "no answer within 0.2 s"


@pytest.mark.parametrize("losses", [1, 3])
async def test_after_a_loss_no_source_stays_silent_that_answers_again(losses: int) -> None:
    source, stream = Asked(), Pushed()
    made: list[FakeLink] = []

    def make() -> Link:
        made.append(FakeLink())
        return made[-1]

    async with room(source, stream, make) as control:
        for life in range(losses + 1):
            await holds(lambda life=life: len(stream.queues) > life)  # type: ignore[misc]
            stream.queues[life].put_nowait(SERVICES)
            await holds(lambda: control.state.sources["probe", "spark"].ok is True)
            if life < losses:
                source.trouble = Unreachable("the link is down")
                made[-1].lost.set_result("no answer")
                await holds(lambda: control.state.sources["probe", "spark"].ok is False)
                await holds(lambda: control.state.sources["backups", "spark"].ok is False)
                source.trouble = None
        await holds(lambda: all(told.ok is True for told in control.state.sources.values()))


async def test_one_that_has_failed_for_long_is_asked_at_once_when_the_link_is_back() -> None:
    source, stream = Asked(trouble=Unreachable("the link is down")), Pushed()
    source.interval_seconds = 3600.0  # by its own time it would not be asked again in this test
    made: list[FakeLink] = []

    def make() -> Link:
        made.append(FakeLink())
        return made[-1]

    async with room(source, stream, make) as control:
        await holds(lambda: len(made) == 1 and control.state.sources["backups", "spark"].ok is False)
        source.trouble = None
        made[0].lost.set_result("no answer")
        await holds(lambda: control.state.sources["backups", "spark"].ok is True)
