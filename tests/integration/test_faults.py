"""A seeded part of the fault table (`python -m tests.faults`): one fault in each switch, every kind in turn."""

from __future__ import annotations

from pathlib import Path

from tests.faults.drill import HARNESS, Record
from tests.faults.table import cases, play, table, verdict

COUNT, SEED, BOXES = 4, 1162, 2


def test_no_fault_breaks_a_switch(box_tree: Path) -> None:
    records: list[Record] = []
    play(cases(COUNT, SEED), BOXES, records.append)
    told = f"{table(records)}\n\n{verdict(records)}"
    broken = [(r.case, r.problems, r.truth, r.receipt) for r in records if r.bad]
    assert not broken, f"{told}\n\n{broken}"
    assert not [r.problems for r in records if HARNESS in dict(r.problems)], told
    assert len(records) == COUNT
    assert sum(r.injected for r in records) >= COUNT - 2, told
    assert all(r.repaired and r.samples for r in records), told
