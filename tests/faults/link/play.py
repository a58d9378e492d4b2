"""Which faults are played, on all lanes at once, and the table of what came of them."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sovtui.core.model import LinkPhase
from sovtui.runtime.links import Pace
from tests.faults.link.box_kinds import BOX
from tests.faults.link.box_kinds import NAMED as NAME_KINDS
from tests.faults.link.ground import Client
from tests.faults.link.kinds import JUMP as JUMP_KINDS
from tests.faults.link.kinds import PROXY
from tests.faults.link.lane import Kind, Lane, Record, drill
from tests.faults.link.scene import DIRECT, JUMP, NAMED, Scene, Size, scene

LANES = 8
HARNESS = "harness"
GROWN_KIB = 24 << 10
"""More than this is more than what one fault or another leaves in caches."""
Told = Callable[[Record], None]


@dataclass
class Result:
    records: list[Record] = field(default_factory=list)
    before: Size | None = None
    after: Size | None = None
    tasks: list[str] = field(default_factory=list)
    """Which there are more of afterwards."""
    sizes: list[tuple[float, Size]] = field(default_factory=list)
    """After each fault, at seconds of the monotonic clock."""

    def keep(self, record: Record, made: Scene, *, lean: bool) -> None:
        """`lean`: of what went well its sentences are not kept, so that a soak measures the program and not itself."""
        if lean and not record.problems:
            record.said.clear()
        self.records.append(record)
        self.sizes.append((time.monotonic(), Size.now(made.hub)))

    @property
    def leaks(self) -> list[str]:
        found = []
        if self.before and self.after:
            if self.after.tasks > self.before.tasks:
                found.append(f"tasks: {self.before.tasks} before, {self.after.tasks} after; more of {', '.join(self.tasks)}")
            if self.after.descriptors > self.before.descriptors:
                found.append(f"descriptors: {self.before.descriptors} before, {self.after.descriptors} after")
            if self.after.rss_kib > self.before.rss_kib + GROWN_KIB:
                found.append(f"memory: {self.before.rss_kib} KiB before, {self.after.rss_kib} KiB after")
        return found

    @property
    def bad(self) -> list[Record]:
        return [record for record in self.records if record.problems]


def cases(kinds: Sequence[Kind], count: int, dice: random.Random, only: Sequence[str]) -> list[Kind]:
    """Every kind in turn, each round shuffled."""
    wanted = [kind for kind in kinds if not only or kind.name in only]
    found: list[Kind] = []
    while wanted and len(found) < count:
        dice.shuffle(wanted)
        found += wanted[: count - len(found)]
    return found


async def play(
    client: Client, folder: Path, *, count: int, box_count: int, seed: int, only: Sequence[str], told: Told, soak: float = 0.0
) -> Result:
    """`count` faults of the ways with a proxy, on all lanes at once, then `box_count` in the box and its network.

    `soak`: so many seconds instead, both in turn.
    """
    result = Result()
    dice = random.Random(seed)
    end = time.monotonic() + soak
    lanes = [f"lane{n}" for n in range(1, LANES)] + [JUMP]
    if count:
        async with scene(client, folder, lanes, seed) as made:
            await _through(made, result, told, dice, count, only, end if soak and not box_count else 0.0)
    if box_count:
        async with scene(client, folder, [DIRECT, NAMED], seed) as made:
            await _in_box(made, result, told, dice, box_count, only, end if soak else 0.0)
    return result


async def _through(
    made: Scene, result: Result, told: Told, dice: random.Random, count: int, only: Sequence[str], end: float
) -> None:
    await _settled(made)
    result.before, names = await Size.at_rest(), task_names()
    share = max(1, count // LANES) if count >= LANES else 0
    queues = {JUMP: cases(JUMP_KINDS, share, dice, only)}
    rest = cases(PROXY, count - len(queues[JUMP]), dice, only)
    number = 0

    async def work(lane: Lane) -> None:
        nonlocal number
        while True:
            queue = queues.get(lane.name, rest)
            if not queue:
                if not end or time.monotonic() > end:
                    return
                queue += cases(JUMP_KINDS if lane.name == JUMP else PROXY, 50, dice, only)
            if end and time.monotonic() > end:
                return
            number += 1
            record = await drill(lane, queue.pop(0), number)
            result.keep(record, made, lean=bool(end))
            told(record)

    await asyncio.gather(*(work(lane) for lane in made.lanes.values()))
    await _settled(made)
    result.after, result.tasks = await Size.at_rest(result.before), _more(names)


async def _in_box(
    made: Scene, result: Result, told: Told, dice: random.Random, count: int, only: Sequence[str], end: float
) -> None:
    await _settled(made)
    before, names_before = await Size.at_rest(), task_names()
    kinds = (*BOX, *NAME_KINDS)
    names = {kind.name for kind in NAME_KINDS}
    queue = cases(kinds, count, dice, only)
    number = len(result.records)
    while queue or (end and time.monotonic() < end):
        queue = queue or cases(kinds, 50, dice, only)
        kind = queue.pop(0)
        number += 1
        lane = made.lanes[NAMED if kind.name in names else DIRECT]
        record = await drill(lane, kind, number)
        result.keep(record, made, lean=bool(end))
        told(record)
        made.hub.reconnect()  # a lane beside may have been refused meanwhile
        await made.live()
        if end and time.monotonic() > end:
            break
    await _settled(made)
    after = await Size.at_rest(before)
    if result.before is None or after.tasks > before.tasks or after.descriptors > before.descriptors:
        result.before, result.after, result.tasks = before, after, _more(names_before)


def task_names() -> Counter[str]:
    """What runs, by what it is."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


def _more(before: Counter[str]) -> list[str]:
    return [f"{n} {name}" for name, n in (task_names() - before).items()]


async def _settled(made: Scene) -> None:
    """All up, and what belongs to a link is there: its probe, its warm start."""
    await made.live()
    await asyncio.sleep(4.0)


async def losses(client: Client, folder: Path, count: int, told: Callable[[str], None]) -> Result:
    """One link, lost so many times right after each login, with the pauses shortened; what the process holds before and after."""
    result = Result()
    pace = Pace(shortest_seconds=0.01, longest_seconds=0.02, steady_seconds=0.0)
    async with scene(client, folder, ["lane1"], 1, pace) as made:
        lane = made.lanes["lane1"]
        await _losses(lane, 20)  # caches fill
        await _settled(made)
        result.before, names = await Size.at_rest(), task_names()
        for part in range(10):
            await _losses(lane, count // 10)
            told(f"{(part + 1) * (count // 10):5} losses: {Size.now()}")
        await _settled(made)
        result.after, result.tasks = await Size.at_rest(result.before), _more(names)
    return result


async def _losses(lane: Lane, count: int) -> None:
    for _ in range(count):
        if not await lane.until(lambda: lane.host.link.phase is LinkPhase.UP, 90):
            raise OSError(f"it did not come back: {lane.host.link.reason}")
        since = lane.host.link.since
        await asyncio.sleep(lane.dice.choice((0.0, 0.0, 0.02, 0.1)))
        lane.proxy.cut()
        if not await lane.until(lambda: lane.host.link.phase is not LinkPhase.UP or lane.host.link.since != since, 90):  # noqa: B023
            raise OSError("a cut was not noticed")


def table(records: Sequence[Record]) -> str:
    """Per kind: how often, when it was noticed, when and what was told, how long the way back took beside its bar, what went wrong."""
    rows = [("fault", "runs", "noticed s", "told s", "verdict", "back s", "bar s", "wrong")]
    for name in dict.fromkeys(record.kind for record in sorted(records, key=lambda r: r.kind)):
        of = [record for record in records if record.kind == name]
        verdicts = Counter(record.verdict for record in of if record.verdict)
        wrong = Counter(what for record in of for what, _ in record.problems)
        rows.append(
            (
                name,
                str(len(of)),
                _spread([r.lost_after for r in of]),
                _spread([r.told_after for r in of]),
                ", ".join(verdicts) or "–",
                _spread([r.back_after for r in of]),
                _spread([r.bar_seconds for r in of]),
                ", ".join(f"{n} {what}" for what, n in wrong.items()),
            )
        )
    widths = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows)


def _spread(values: Sequence[float | None]) -> str:
    """Median and worst."""
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.1f}/{max(known):.1f}" if known else "–"


def verdict(result: Result) -> str:
    """The totals."""
    wrong = Counter(what for record in result.records for what, _ in record.problems)
    lines = [f"{len(result.records)} faults, {len(result.bad)} with something wrong (median/worst in the table)"]
    lines += [f"{what}: {n}" for what, n in wrong.most_common()]
    lines.append(f"before: {result.before}")
    lines.append(f"after:  {result.after}")
    if spans := by_ten_minutes(result.sizes):
        lines += ["held in the median of each ten minutes:", *spans]
    lines += [f"LEAK {leak}" for leak in result.leaks] or ["no task, descriptor or memory was left behind"]
    return "\n".join(lines)


def by_ten_minutes(sizes: Sequence[tuple[float, Size]]) -> list[str]:
    """How what the process held developed, where it was watched for more than ten minutes."""
    parts: dict[int, list[Size]] = {}
    for at, size in sizes:
        parts.setdefault(int((at - sizes[0][0]) // 600), []).append(size)
    lines = []
    for part, of in parts.items() if len(parts) > 1 else ():
        rss, record = (statistics.median(kib) / 1024 for kib in ([x.rss_kib for x in of], [x.record_kib for x in of]))
        middle = (
            f"{statistics.median(x.tasks for x in of):.0f} tasks, {statistics.median(x.descriptors for x in of):.0f} descriptors"
        )
        lines.append(f"  minute {part * 10:3} on: {middle}, {rss:.1f} MiB, of which the record {record:.1f}")
    return lines


def document(result: Result, **words: Any) -> dict[str, Any]:
    return {
        **words,
        "runs": [record.document() for record in result.records],
        "leaks": result.leaks,
        "sizes": [[round(at, 1), size.tasks, size.descriptors, size.rss_kib, size.record_kib] for at, size in result.sizes],
    }
