"""One host of a running control room: what is told of its link while a fault is in it, and whether all of that was right."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sovtui.core.model import Link, LinkPhase
from sovtui.core.reach import Verdict
from sovtui.core.reading import Reading, Status
from sovtui.core.state import FigureKey, Host
from sovtui.runtime.control import Control
from tests.faults.link.ground import Client
from tests.faults.link.proxy import Proxy

FIGURE: FigureKey = ("memory.total_bytes", "")
NOTICED_SECONDS = 5.0
DIAL_SECONDS = 5.5
"""What the dial that finds out takes of its own: until it is told what it waits for, or until it gives up."""
SLACK_SECONDS = 0.7
"""For a busy machine: several faults are in work at the same time."""
BACK_SECONDS, BACK_OF_SSH = 2.0, 1.3
LIMIT_SECONDS = 45.0
LOSSES = frozenset({Verdict.LOST})


@dataclass
class Record:
    """What came of one fault."""

    kind: str
    lane: str
    number: int
    latency_seconds: float = 0.0
    held_seconds: float = 0.0
    lost_after: float | None = None
    """Seconds from the strike until it was told that the link is not up."""
    told_after: float | None = None
    """Seconds from the strike until the right verdict was told."""
    verdict: str = ""
    sentence: str = ""
    back_after: float | None = None
    """Seconds from when it could be reached again until a new figure was there."""
    bar_seconds: float = 0.0
    ssh_seconds: float = 0.0
    said: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def wrong(self, what: str, how: str) -> None:
        self.problems.append((what, how))

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Lane:
    """A host and the way to it."""

    name: str
    hub: Control
    client: Client
    ssh_config: Path
    proxy: Proxy
    """Where it goes through, or one that nobody uses."""
    dice: random.Random
    memory: dict[str, Any] = field(default_factory=dict)
    """What a fault keeps for its end."""
    told: list[tuple[float, Link]] = field(default_factory=list)

    @property
    def host(self) -> Host:
        return self.hub.state.hosts[self.name]

    def watch(self) -> Callable[[], None]:
        def note(link: Link) -> None:
            self.told.append((time.monotonic(), link))

        return self.hub.subscribe(lambda state: state.hosts[self.name].link, note)

    def live(self, since: float = 0.0) -> bool:
        """The link is up and a figure that was read after `since` (unix time) is there."""
        reading = self.host.reading(*FIGURE)
        young = reading.at is not None and reading.at.timestamp() > max(since, time.time() - 7.0)
        return self.host.link.phase is LinkPhase.UP and reading.status is Status.FRESH and young

    async def until(self, true: Callable[[], bool], seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not true():
                    await asyncio.sleep(0.02)
                return True
        return False

    async def ssh(self) -> float:
        """Seconds that `ssh HOST true` takes."""
        argv = ["ssh", "-F", str(self.ssh_config), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", self.name, "true"]
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        if process.returncode:
            raise OSError(f"ssh {self.name} true: {errors.decode().strip()}")
        return time.monotonic() - began


Do = Callable[[Lane], Awaitable[None]]


async def nothing(_: Lane) -> None:
    return


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    name: str
    strike: Do
    mend: Do = nothing
    """Returns once the host can be reached again."""
    right: frozenset[Verdict] = LOSSES
    """One of these must be told. Empty: none, it is back too soon to find out."""
    allowed: frozenset[Verdict] = LOSSES
    """May be told besides, on the way."""
    hold: tuple[float, float] = (0.0, 0.0)
    """Seconds between strike and mend."""
    loses: bool = True
    press: bool = False
    """Somebody presses a key after the mend: it does not try again by itself."""
    before: Do = nothing
    slow_back: bool = False
    """What comes back is not ready at once, so the way back has no bar (a machine that boots, a server with a queue)."""


async def drill(lane: Lane, kind: Kind, number: int) -> Record:
    """One fault, from a healthy link to a healthy link. Never raises for what the link does."""
    record = Record(kind.name, lane.name, number)
    if not await lane.until(lane.live, LIMIT_SECONDS):
        record.wrong("harness", f"it was not live before: {lane.host.link}")
        return record
    await kind.before(lane)
    record.latency_seconds = 2 * lane.proxy.way.latency_seconds
    await asyncio.sleep(lane.dice.uniform(0.3, 1.5))
    try:
        await _drill(lane, kind, record)
    except (OSError, subprocess.SubprocessError, TimeoutError) as problem:
        record.wrong("harness", f"{type(problem).__name__}: {problem}")
    return record


async def _drill(lane: Lane, kind: Kind, record: Record) -> None:
    loop = asyncio.get_running_loop()
    before = dict(lane.host.figures)
    lane.told.clear()
    unwatch = lane.watch()
    keeping = loop.create_task(_kept(lane, before, record)) if kind.loses else None
    try:
        struck = time.monotonic()
        await kind.strike(lane)
        struck = lane.memory.pop("woke", struck)  # this program itself was stopped: it counts from when it went on
        held = lane.dice.uniform(*kind.hold)
        record.held_seconds = round(held, 1)
        await asyncio.sleep(max(0.0, held - (time.monotonic() - struck)))
        await kind.mend(lane)
        mended, mended_at = time.monotonic(), time.time()
        if kind.press:
            lane.hub.reconnect(lane.name)
        if kind.loses:
            await lane.until(lambda: _lost_at(lane) is not None, NOTICED_SECONDS + 5)
        lost = _lost_at(lane)
        since = max(mended_at, mended_at + ((lost or mended) - mended))
        came = await lane.until(lambda: lane.live(since), LIMIT_SECONDS)
        if came:
            record.back_after = time.monotonic() - max(mended, lost or 0.0)
        record.ssh_seconds = await lane.ssh()
    finally:
        unwatch()
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    _judge(lane, kind, record, struck)


def _lost_at(lane: Lane) -> float | None:
    return next((at for at, link in lane.told if link.phase is not LinkPhase.UP), None)


def _judge(lane: Lane, kind: Kind, record: Record, struck: float) -> None:
    for at, link in lane.told:
        record.said.append(f"{at - struck:.1f} {link.phase} {link.verdict or '-'}: {link.reason}")
    down = [(at - struck, link) for at, link in lane.told if link.phase is not LinkPhase.UP]
    if not kind.loses:
        if down:
            record.wrong("lost", f"it should have stood: {down[0][1].reason}")
        if record.back_after is None:
            record.wrong("not back", "no new figure came")
        verdicts = [(at - struck, link) for at, link in lane.told if link.verdict]
    else:
        verdicts = down
        if not down:
            record.wrong("not noticed", "nothing was told")
            return
        record.lost_after = down[0][0]
        if record.lost_after > NOTICED_SECONDS + SLACK_SECONDS:
            record.wrong("noticed late", f"{record.lost_after:.1f} s")
        bare = [link for _, link in down if not link.reason or not link.verdict]
        if bare:
            record.wrong("unexplained", f"{bare[0].phase} without a reason")
    right = next(((at, link) for at, link in verdicts if link.verdict in kind.right), None)
    if right is not None:
        record.told_after, record.verdict, record.sentence = right[0], str(right[1].verdict), right[1].reason
        if kind.loses and right[0] > (record.lost_after or 0.0) + DIAL_SECONDS + SLACK_SECONDS:
            record.wrong("told late", f"{right[0]:.1f} s, lost after {record.lost_after:.1f} s")
    elif kind.right:
        record.wrong("not told", f"none of {', '.join(sorted(kind.right))}; told: {'; '.join(record.said[-3:])}")
    odd = [link for _, link in verdicts if link.verdict not in kind.right | kind.allowed | {Verdict.NONE, Verdict.SLOW}]
    if odd:
        record.wrong("wrong verdict", f"{odd[0].verdict}: {odd[0].reason}")
    record.bar_seconds = BACK_SECONDS + BACK_OF_SSH * record.ssh_seconds
    if kind.loses and record.back_after is None:
        record.wrong("not back", f"not within {LIMIT_SECONDS:g} s: {lane.host.link.reason}")
    elif kind.loses and not kind.slow_back and record.back_after is not None and record.back_after > record.bar_seconds:
        record.wrong("back late", f"{record.back_after:.1f} s, bar {record.bar_seconds:.1f} s")


async def _kept(lane: Lane, before: dict[FigureKey, Reading], record: Record) -> None:
    """A moment after the loss: what came straight from the host has its value, its time, and is not called fresh."""
    await lane.until(lambda: _lost_at(lane) is not None, 600)
    after = lane.host
    if after.link.phase is LinkPhase.UP:
        return  # back already
    for key, old in before.items():
        new = after.figures.get(key)
        if old.value is None or old.source not in ("probe", "engine"):
            continue
        if new is None or new.value is None or new.at is None or (old.at is not None and new.at < old.at):
            record.wrong("value lost", f"{key[0]}: {new}")
        elif new.status is Status.FRESH:
            record.wrong("called fresh", f"{key[0]}: {new}")
