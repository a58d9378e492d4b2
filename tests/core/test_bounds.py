"""What is kept has its bounds, whatever comes: figures of a host, steps of an action, alerts, and the hour's record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sovtui.core import receipts
from sovtui.core.bounds import MOST_FIGURES
from sovtui.core.events import AlertsSeen, Curve, Sample, Samples, Tick
from sovtui.core.model import ActionRun, Alert, HostSpec
from sovtui.core.reading import fresh, unknown
from sovtui.core.record import BUDGET_BYTES, BUDGET_PER_HOST_BYTES, MOST_CURVES, Record
from sovtui.core.state import State, initial, reduce

START = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
BUDGET = BUDGET_BYTES + BUDGET_PER_HOST_BYTES


def begin() -> State:
    return initial((HostSpec("spark"),), START)


def alerts(stamp: int, count: int, length: int = 300) -> tuple[Alert, ...]:
    return tuple(
        Alert(f"{stamp}-{n}", f"alert {n}", summary="x" * length, labels=(("at", f"{stamp} {n}"),)) for n in range(count)
    )


def test_disks_that_come_and_go_do_not_fill_the_memory() -> None:
    state = begin()
    for turn in range(60):
        now = [Sample("disk.free_bytes", fresh(1.0, START, "probe"), f"/m{turn}-{n}") for n in range(100)]
        gone = [Sample("disk.free_bytes", unknown("gone", "probe", START), f"/m{turn - 1}-{n}") for n in range(100)]
        state = reduce(reduce(state, Samples("spark", tuple(now))), Samples("spark", tuple(gone)))
        assert len(state.hosts["spark"].figures) <= MOST_FIGURES
    found = state.hosts["spark"].figures
    assert all(("disk.free_bytes", f"/m59-{n}") in found for n in range(100)), "what is there now is kept before what is gone"


def test_an_action_has_a_bounded_number_of_steps_and_figures() -> None:
    run: ActionRun | None = receipts.begin({"t": "begin", "id": "x", "kind": "switch"})
    for number in range(1000):
        run = receipts.apply(run, {"t": "step", "name": f"s{number}", "state": "running"})
        run = receipts.apply(run, {"t": "figures", "when": "before", "values": {f"f{number}": 1}})
    assert run is not None
    assert len(run.steps) == receipts.MAX_STEPS and run.steps[-1].name == "s999" and len(run.figures) <= receipts.MAX_FIGURES


def test_alerts_that_are_as_they_were_stay_the_same_objects() -> None:
    state = reduce(begin(), AlertsSeen(alerts(1, 10), START))
    new = (replace(alerts(1, 10)[0], summary="another"), *alerts(1, 10)[1:])
    after = reduce(state, AlertsSeen(new, START))
    assert after.alerts == new and all(one is other for one, other in zip(state.alerts[1:], after.alerts[1:], strict=True))


def test_the_hour_has_a_budget_that_holds_whatever_comes() -> None:
    """A thousand new alerts at each poll: it reaches less far back, and what it holds is right."""
    record, state = Record(), begin()
    for second in range(120):
        state = reduce(state, Tick(START + timedelta(seconds=second)))
        if second % 5 == 0:
            state = reduce(state, AlertsSeen(alerts(second, 1000), state.now))
        record.keep(state)
        assert record.held_bytes <= BUDGET + (1 << 20)
    kept = record.at(state.now - timedelta(seconds=5))
    assert kept is not None and kept.alerts == alerts(110, 1000)
    assert record.oldest is not None and state.now - record.oldest > timedelta(seconds=15)


def test_alerts_that_stay_cost_the_record_nothing_anew() -> None:
    record, state = Record(), reduce(begin(), AlertsSeen(alerts(1, 500), START))
    sizes = []
    for second in range(300):
        state = reduce(state, Tick(START + timedelta(seconds=second)))
        if second % 5 == 0:  # one of them is another at each poll
            state = reduce(state, AlertsSeen((alerts(second, 1)[0], *alerts(1, 500)[1:]), state.now))
        record.keep(state)
        sizes.append(record.held_bytes)
    assert sizes[-1] < BUDGET / 2, "an hour of five hundred alerts fits"
    assert record.oldest == START


def test_what_is_released_is_not_counted_any_more() -> None:
    record, state = Record(span_seconds=60.0, fine_seconds=20.0), begin()
    for second in range(300):
        state = reduce(state, Tick(START + timedelta(seconds=second)))
        state = reduce(state, AlertsSeen(alerts(second, 5) if second < 150 else (), state.now))
        record.keep(state)
    empty, other = Record(span_seconds=60.0, fine_seconds=20.0), begin()
    for second in range(300):
        other = reduce(other, Tick(START + timedelta(seconds=second)))
        empty.keep(reduce(other, AlertsSeen((), other.now)))
    assert abs(record.held_bytes - empty.held_bytes) < 20_000


def test_curves_of_names_that_come_once_are_bounded_too() -> None:
    record, state = Record(), begin()
    for second in range(50):
        state = reduce(state, Tick(START + timedelta(seconds=second)))
        for n in range(20):
            state = reduce(state, Curve("spark", "gpu.use_ratio", f"{second}-{n}", ((state.now.timestamp(), 0.5),)))
        record.keep(state)
    found = record.at(state.now)
    assert found is not None and len(record._curves["spark"]) <= MOST_CURVES
