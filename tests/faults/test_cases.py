"""What the fault table tries: every cell in a full round, the same for the same seed, and never an impossible way."""

from __future__ import annotations

from tests.faults.drill import Case, Record
from tests.faults.kinds import KINDS, UNDO
from tests.faults.table import NEEDS_ORIGIN, NEEDS_TARGET, cases, table, verdict

CELLS = {(kind.name, step) for kind in KINDS.values() for step in kind.steps}


def test_a_full_round_has_every_cell_once() -> None:
    tried = [(c.kind, c.step) for c in cases(len(CELLS), seed=3)]
    assert set(tried) == CELLS and len(tried) == len(CELLS)


def test_a_short_run_sees_as_many_kinds_as_it_has_runs() -> None:
    assert len({c.kind for c in cases(12, seed=5)}) == 12


def test_the_same_seed_tries_the_same() -> None:
    assert cases(50, 7) == cases(50, 7) != cases(50, 8)


def test_no_case_asks_for_a_step_that_its_way_does_not_have() -> None:
    for case in cases(3 * len(CELLS), seed=1):
        kind = KINDS[case.kind]
        if kind.needs_origin or case.step in (*NEEDS_ORIGIN, *UNDO):
            assert case.origin == "mode", case
        if kind.needs_target or case.step in (*NEEDS_TARGET, *UNDO):
            assert case.target == "mode", case
        assert (case.origin, case.target) != ("none", "none")


def test_a_record_comes_back_from_its_document_and_is_told() -> None:
    record = Record(Case(1, "cut-3s", "gone", "mode", "mode"), injected=True, outcome="done")
    record.broke("lock stuck", "nobody runs")
    again = Record.of(record.document())
    assert again == record and again.bad
    assert "1/1!" in table([again]) and "lock stuck: 1" in verdict([again])
