"""Which cases are tried, how they are played on several boxes at a time, and the table of what came of them."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest

from tests.box.box import BoxError
from tests.faults.drill import HARNESS, INVARIANTS, Case, Record, drill
from tests.faults.kinds import BEFORE, KINDS, UNDO
from tests.faults.scene import Scene

NEEDS_ORIGIN = ("stop", "gone", "memory")
NEEDS_TARGET = ("start", "ready")


def cases(count: int, seed: int, only: Sequence[str] = ()) -> list[Case]:
    """Every kind in turn, each at its steps in a shuffled order, so that a short run sees many kinds and a long one every cell."""
    dice = random.Random(seed)
    found: list[Case] = []
    while len(found) < count:
        columns: list[list[tuple[str, str]]] = []
        for kind in KINDS.values():
            cells = [(kind.name, step) for step in kind.steps if _wanted(kind.name, step, only)]
            dice.shuffle(cells)
            columns.append(cells)
        dice.shuffle(columns)
        every = [cell for cell in chain.from_iterable(zip_longest(*columns)) if cell is not None]
        if not every:
            raise SystemExit("there is no such step of that kind of fault")
        for kind_name, step in every[: count - len(found)]:
            origin, target = _way(dice, kind_name, step)
            found.append(Case(len(found) + 1, kind_name, step, origin, target))
    return found


def _wanted(kind: str, step: str, only: Sequence[str]) -> bool:
    return not only or any(word in (kind, f"{kind}:{step}") for word in only)


def _way(dice: random.Random, name: str, step: str) -> tuple[str, str]:
    kind = KINDS[name]
    ways = [("mode", "mode")] * 3
    if step not in UNDO:
        if not kind.needs_origin and step not in NEEDS_ORIGIN:
            ways.append(("none", "mode"))
        if not kind.needs_target and step not in NEEDS_TARGET:
            ways.append(("mode", "none"))
    return dice.choice(ways)


def play(every: Iterable[Case], boxes: int, told: Callable[[Record], None]) -> None:
    """All cases, on so many boxes at a time; a box that cannot be brought back is replaced."""
    left = list(reversed(list(every)))
    lock = threading.Lock()

    def work() -> None:
        scene: Scene | None = None
        try:
            while True:
                with lock:
                    if not left:
                        return
                    case = left.pop()
                try:
                    scene = scene or Scene.open()
                except (BoxError, OSError) as problem:
                    record = Record(case, problems=[(HARNESS, str(problem))])
                else:
                    record = drill(scene, case)
                    if any(what == HARNESS for what, _ in record.problems):
                        scene.close()
                        scene = None
                with lock:
                    told(record)
        finally:
            if scene:
                scene.close()

    threads = [threading.Thread(target=work, name=f"box {n}") for n in range(max(1, boxes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def table(records: Sequence[Record]) -> str:
    """Per kind: runs, struck in the step meant, what became of the switch, and what broke; then per step."""
    rows = [("fault", "runs", "in step", "outcomes", "broke")]
    for name in KINDS:
        of = [r for r in records if r.case.kind == name]
        if of:
            rows.append((name, *_row(of)))
    steps = [(BEFORE, "runs", "in step", "outcomes", "broke")]
    order = [BEFORE, *dict.fromkeys(step for kind in KINDS.values() for step in kind.steps if step != BEFORE)]
    for step in order:
        of = [r for r in records if r.case.step == step]
        if of:
            steps.append((step, *_row(of)))
    steps[0] = ("step", "runs", "in step", "outcomes", "broke")
    grid = [("fault", *order)]
    for name, kind in KINDS.items():
        if any(r.case.kind == name for r in records):
            grid.append((name, *(_cell(records, name, step) if step in kind.steps else "" for step in order)))
    return "\n\n".join(_aligned(part) for part in (rows, steps, grid))


def _row(of: Sequence[Record]) -> tuple[str, str, str, str]:
    outcomes = Counter(r.outcome or "none" for r in of)
    told = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    broke = Counter(what for r in of for what in dict(r.problems))
    return str(len(of)), str(sum(r.injected for r in of)), told, ", ".join(f"{n} {what}" for what, n in broke.items())


def _cell(records: Sequence[Record], kind: str, step: str) -> str:
    of = [r for r in records if r.case.kind == kind and r.case.step == step]
    return f"{sum(r.injected for r in of)}/{len(of)}{'!' if any(r.bad for r in of) else ''}" if of else "–"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def verdict(records: Sequence[Record]) -> str:
    """The totals, one line each."""
    lines = [f"{len(records)} runs, {sum(r.injected for r in records)} with the fault in the step meant"]
    lines += [f"{what}: {sum(what in dict(r.problems) for r in records)}" for what in INVARIANTS]
    foreign = [r.foreign_overlap for r in records if r.foreign_overlap]
    lines.append(f"two loaded because the fault started the old engine: {len(foreign)}, at most {max(foreign, default=0):.1f} s")
    lines.append(f"runs that the harness could not carry out: {sum(HARNESS in dict(r.problems) for r in records)}")
    took = sum(r.seconds for r in records) / max(1, len(records))
    gaps = sorted(r.gap for r in records) or [0.0]
    lines.append(
        f"{sum(r.samples for r in records)} samples of what is loaded; the longest gap in a run: {gaps[len(gaps) // 2]:.2f} s"
        f" in the median, {gaps[-1]:.2f} s at worst (frozen boxes are sampled too)"
    )
    return "\n".join([*lines, f"{took:.1f} s per run on one box"])
