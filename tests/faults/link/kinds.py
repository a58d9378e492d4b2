"""Every kind of fault of a link that bytes in between can make: how it strikes, what must be told of it, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sovtui.core.reach import Verdict
from tests.faults.link.lane import LOSSES, Do, Kind, Lane
from tests.faults.link.proxy import Way

HELD = (8.6, 11.0)
"""Longer than it takes to notice a silent link and to say what it waits for."""
SHORT = (2.0, 6.0)
LATENCIES = (0.0, 0.01, 0.04, 0.15)


async def usual(lane: Lane) -> None:
    """A way as it is on some day."""
    lane.proxy.way = Way(latency_seconds=lane.dice.choice(LATENCIES))


def way(cut: bool, **words: object) -> Do:
    """What new connections meet; those that are open are cut, or silenced."""

    async def strike(lane: Lane) -> None:
        latency = lane.proxy.way.latency_seconds
        lane.proxy.way = Way(latency, **words)  # type: ignore[arg-type]
        lane.proxy.cut() if cut else lane.proxy.stall()

    return strike


async def clear(lane: Lane) -> None:
    lane.proxy.way = Way(lane.proxy.way.latency_seconds)
    await lane.proxy.open()


async def flow(lane: Lane) -> None:
    await clear(lane)
    lane.proxy.flow()


async def cut(lane: Lane) -> None:
    lane.proxy.cut()


async def close(lane: Lane) -> None:
    lane.proxy.cut(reset=False)


async def refuse(lane: Lane) -> None:
    lane.proxy.refuse()
    lane.proxy.cut()


async def refuse_silently(lane: Lane) -> None:
    """The connection that stands is forgotten, and nobody listens any more."""
    lane.proxy.refuse()
    lane.proxy.stall()


def stall(*directions: str) -> Do:
    async def strike(lane: Lane) -> None:
        lane.proxy.stall(*directions)

    return strike


async def damage(lane: Lane) -> None:
    lane.proxy.damage()


async def in_a_packet(lane: Lane) -> None:
    lane.proxy.reset_soon(lane.dice.randrange(3, 60))


async def flap(lane: Lane) -> None:
    for _ in range(4):
        lane.proxy.cut()
        await asyncio.sleep(lane.dice.uniform(0.2, 0.9))
    lane.proxy.cut()


async def blink(lane: Lane) -> None:
    """Now there, now not, each time before a login is through."""
    for _ in range(3):
        lane.proxy.refuse()
        lane.proxy.cut()
        await asyncio.sleep(lane.dice.uniform(0.2, 0.6))
        await lane.proxy.open()
        await asyncio.sleep(lane.dice.uniform(0.05, 0.2))
    lane.proxy.cut()


def login_of(what: str, least: int, most: int) -> Do:
    """The connection is cut, and the next logins end after so many bytes of the server's."""

    async def strike(lane: Lane) -> None:
        words = {what: lane.dice.randrange(least, most)}
        await way(True, **words)(lane)

    return strike


async def throttle(lane: Lane) -> None:
    """The connection that stands becomes as slow as an old modem."""
    lane.proxy.way.bytes_per_second = 4000.0


async def lag(lane: Lane) -> None:
    lane.proxy.way.latency_seconds = 0.45


def only(*verdicts: Verdict) -> frozenset[Verdict]:
    return frozenset(verdicts)


NONE: frozenset[Verdict] = frozenset()
EITHER = LOSSES | {Verdict.SSHD_DOWN}
AWAY = only(Verdict.TURNED_AWAY)
HANGS = only(Verdict.HANGS)
PROXY: tuple[Kind, ...] = (
    Kind("cut", cut, before=usual),
    Kind("closed", close, before=usual),
    Kind("cut in a packet", in_a_packet, before=usual),
    Kind("cut and refused", refuse, clear, only(Verdict.SSHD_DOWN), hold=SHORT, before=usual),
    Kind("silent and refused", refuse_silently, clear, only(Verdict.SSHD_DOWN), hold=(5.5, 8.0), before=usual),
    Kind("black hole", way(False, silent=True), flow, HANGS, hold=HELD, before=usual),
    Kind("forgotten", stall(), before=usual),
    Kind("forgotten downward", stall("down"), before=usual),
    Kind("short stall", stall(), flow, NONE, hold=(0.5, 3.0), loses=False, before=usual),
    Kind("damaged", damage, before=usual),
    Kind("flapping", flap, allowed=EITHER | AWAY, before=usual),
    Kind("blinking", blink, right=EITHER, allowed=EITHER | AWAY, before=usual),
    Kind("not ssh", way(True, says=b"HTTP/1.1 400 Bad Request\r\n\r\n", shut=True), clear, only(Verdict.NOT_SSH), hold=SHORT),
    Kind("another protocol", way(True, says=b"220 mail\r\n", silent=True), flow, only(Verdict.NOT_SSH), hold=HELD),
    Kind("closed before the banner", way(True, shut=True), clear, AWAY, hold=SHORT, before=usual),
    Kind("full", way(True, says=b"Exceeded MaxStartups\r\n", shut=True), clear, AWAY, hold=SHORT, before=usual),
    Kind("silent before the banner", way(True, silent=True), flow, HANGS, hold=(4.0, 9.0), before=usual),
    Kind("stalled in the login", login_of("stall_after", 40, 1400), flow, HANGS, hold=(4.5, 9.0), before=usual),
    Kind("cut in the login", login_of("reset_after", 40, 1400), clear, AWAY, LOSSES | AWAY, hold=SHORT, before=usual),
    Kind("throttled", throttle, clear, NONE, hold=(4.0, 8.0), loses=False),
    Kind("slow", lag, clear, only(Verdict.SLOW), hold=(14.0, 16.0), loses=False),
)
JUMP: tuple[Kind, ...] = (
    Kind("jump host cut", cut, right=only(Verdict.JUMP_DOWN), allowed=LOSSES, before=usual),
    Kind("jump host refuses", refuse, clear, only(Verdict.JUMP_DOWN), hold=SHORT, before=usual),
    Kind("jump host hangs", way(False, silent=True), flow, only(Verdict.JUMP_DOWN), hold=HELD, before=usual),
    Kind("jump host full", way(True, shut=True), clear, only(Verdict.JUMP_DOWN), hold=SHORT, before=usual),
)
Chosen = Callable[[str], bool]
