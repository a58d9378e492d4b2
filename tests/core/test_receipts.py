"""Receipt lines to a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from sovtui.core import receipts
from sovtui.core.model import ActionRun


def fold(lines: Iterable[Mapping[str, Any]]) -> ActionRun | None:
    """The run of a whole receipt, line by line as it comes."""
    run: ActionRun | None = None
    for line in lines:
        run = receipts.apply(run, line)
    return run


BEGIN = {"t": "begin", "v": 1, "id": "i", "kind": "switch", "target": "qwen", "who": "m@x", "at": "2026-11-20T16:13:00.000Z"}


def step(
    name: str, state: str, at: str = "2026-11-20T16:13:01.000Z", seconds: float | None = None, detail: str = ""
) -> dict[str, object]:
    return {"t": "step", "name": name, "state": state, "at": at, "seconds": seconds, "detail": detail}


def test_fold() -> None:
    run = fold(
        [
            BEGIN,
            step("stop", "running", detail="a"),
            step("stop", "done", "2026-11-20T16:13:03.000Z", 2.0),
            step("ready", "running"),
            step("ready", "running", detail="weights 40 %"),
            {"t": "line", "unit": "x", "text": "\x1b[31mred\x1b[0m"},
            {"t": "figures", "when": "before", "values": {"memory.available_bytes": 5, "odd": "x"}},
            {"t": "nonsense"},
        ]
    )
    assert run is not None
    assert run.began_at == datetime(2026, 11, 20, 16, 13, tzinfo=UTC)
    assert [(s.name, s.state, s.seconds, s.detail) for s in run.steps] == [
        ("stop", "done", 2.0, "a"),
        ("ready", "running", None, "weights 40 %"),
    ]
    assert run.lines == ("red",)
    assert run.figures == (("before.memory.available_bytes", 5.0),)
    assert run.running
    assert receipts.sentence(run) == "Switch to qwen is running, at step wait until ready."


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("done", 0), ("warned", 5), ("failed", 1), ("rolled-back", 1), ("rollback-failed", 1), ("cancelled", 1), ("odd", 1)],
)
def test_end(outcome: str, code: int) -> None:
    run = fold([BEGIN, step("stop", "running"), {"t": "end", "outcome": outcome, "reason": "why", "seconds": 3.0, "exit": 0}])
    assert run is not None
    assert not run.running
    assert receipts.exit_code(run) == code
    assert "why" in receipts.sentence(run)
    assert run.steps[0].state == "failed"


def test_what_ran_at_the_end_is_no_longer_claimed_after_a_reboot() -> None:
    rebooted = {"t": "rebooted", "at": "2026-11-20T16:20:00.000Z"}
    failed = fold([BEGIN, {"t": "end", "outcome": "failed", "reason": "no. Running now: qwen."}, rebooted])
    assert failed is not None
    assert failed.reason == "no. Running now: qwen. The box has been rebooted since"
    done = fold([BEGIN, {"t": "end", "outcome": "done", "reason": "ready"}, rebooted])
    assert done is not None
    assert done.reason == "ready"


def test_lost_only_without_an_end() -> None:
    lost = {"t": "lost", "at": "2026-11-20T16:14:00.000Z", "reason": "the host was rebooted"}
    run = fold([BEGIN, lost])
    assert run is not None
    assert (run.outcome, receipts.exit_code(run)) == ("lost", 1)
    done = fold([BEGIN, {"t": "end", "outcome": "done", "seconds": 2}, lost])
    assert done is not None
    assert done.outcome == "done"
    assert receipts.sentence(done) == "Switch to qwen: done in 2 s."


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"t": 5},
        {"t": "step", "name": 3},
        {"t": "figures", "values": []},
        {"t": "line"},
        {"t": "step", "state": "odd", "name": "x"},
    ],
)
def test_nonsense_changes_nothing(line: dict[str, object]) -> None:
    run = receipts.begin(BEGIN)
    assert receipts.apply(run, line) == run
    assert receipts.apply(None, line) is None


def test_a_skipped_start_is_told_with_its_reason() -> None:
    why = "skipped, because of an unmet condition check (ConditionACPower=true)"
    begun = {"t": "begin", "id": "1", "kind": "backup", "target": "nas", "who": "me", "at": "2026-11-20T20:00:00Z"}
    run = fold([begun, {"t": "end", "outcome": "skipped", "reason": why, "seconds": 1.0}])
    assert run is not None and receipts.exit_code(run) == 1
    assert receipts.sentence(run) == f"Backup nas: {why}."
