"""The record of the last hour: what is kept, what is thinned out, what comes back, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sovtui.core.events import ActionChanged, LinkChanged, Sample, Samples, ServicesSeen, Tick
from sovtui.core.model import ActionRun, HostSpec, Link, LinkPhase, Service
from sovtui.core.reading import fresh
from sovtui.core.record import BLOCK_SECONDS, GAP_SECONDS, TURNS_PER_BLOCK, Record
from sovtui.core.state import State, initial, reduce

START = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
SPECS = (HostSpec("spark", services=("a.service",)),)


def later(state: State, seconds: float, **values: float) -> State:
    """The state some seconds later, each figure measured anew."""
    now = state.now + timedelta(seconds=seconds)
    samples = tuple(Sample(key.replace("__", "."), fresh(value, now, "probe")) for key, value in values.items())
    return reduce(reduce(state, Tick(now)), Samples("spark", samples))


def service(state: State, active: str) -> State:
    return reduce(state, ServicesSeen("spark", (Service("a.service", active, since=state.now),)))


def run(seconds: int, record: Record | None = None, state: State | None = None) -> tuple[Record, State]:
    record, state = record or Record(), state or initial(SPECS, START)
    for second in range(seconds):
        state = later(state, 1.0, cpu__use_ratio=second % 100 / 100, memory__available_bytes=1e9 + second)
        record.keep(state)
    return record, state


def test_every_second_of_the_last_minutes_and_every_ten_of_the_hour() -> None:
    record, state = run(3900)
    for back in (0, 1, 59, 299):
        found = record.at(state.now - timedelta(seconds=back))
        assert found is not None and found.now == state.now - timedelta(seconds=back)
    for back in (310, 1800, 3580):
        moment = state.now - timedelta(seconds=back)
        found = record.at(moment)
        assert found is not None and timedelta() <= moment - found.now <= timedelta(seconds=BLOCK_SECONDS)
    assert record.oldest is not None and timedelta(seconds=3580) < state.now - record.oldest <= timedelta(seconds=3600)
    assert record.newest == state.now
    assert record.at(state.now - timedelta(seconds=3700)) is None


def test_what_comes_back_is_what_was_kept() -> None:
    state = initial(SPECS, START, notes=("a note",))
    state = reduce(state, LinkChanged("spark", Link(LinkPhase.UP, "ssh", "spark", START)))
    state = reduce(state, ActionChanged("spark", ActionRun("1", "backup", "nas", "me", START, outcome="done", seconds=3.0)))
    state = service(later(state, 1.0, cpu__use_ratio=0.5), "active")
    record = Record()
    record.keep(state)
    found = record.at(state.now)
    assert found == state
    assert found is not None and found.hosts["spark"].receipts is state.hosts["spark"].receipts, "what is large is shared"


def test_a_short_failure_is_still_found_when_all_around_it_is_thinned_out() -> None:
    record, state = run(600)
    state = service(later(state, 1.0), "active")
    record.keep(state)
    state = later(state, 3.0)
    failed_at = state.now
    state = service(state, "failed")
    record.keep(state)
    state = service(later(state, 1.0), "active")
    record.keep(state)
    record, _ = run(1800, record, state)
    found = record.at(failed_at + timedelta(seconds=0.5))
    assert found is not None and found.hosts["spark"].services["a.service"].active == "failed"
    assert [mark.words for mark in record.noted] == ["a.service failed", "a.service runs again"]


def test_a_flapping_service_does_not_make_it_grow_without_bound() -> None:
    record, state = Record(), service(initial(SPECS, START), "active")
    for second in range(4200):
        state = service(later(state, 1.0), "failed" if second % 2 else "active")
        record.keep(state)
    assert len(record) <= 302 + (1 + TURNS_PER_BLOCK) * 332
    assert len(record.noted) <= 300


def test_once_it_is_full_it_does_not_grow_any_more() -> None:
    record, state = run(3600 + 720 + 60)  # the hour, and what the curves of its first moment reach back
    kept, size = len(record), record.size_bytes
    record, state = run(600, record, state)
    assert abs(len(record) - kept) <= 2
    assert abs(record.size_bytes - size) < 0.05 * size
    assert record.size_bytes < 1_000_000


def test_curves_end_at_the_moment_and_begin_ten_minutes_before() -> None:
    record, state = run(3000)
    for back in (1, 200, 700, 2000):
        moment = state.now - timedelta(seconds=back)
        found = record.at(moment)
        assert found is not None
        points = found.hosts["spark"].curves["cpu.use_ratio", ""]
        assert points[-1][0] <= moment.timestamp() < points[-1][0] + 1.5
        assert len(points) == 600
        assert all(value == round((at - START.timestamp() - 1) % 100) / 100 for at, value in points)


def test_a_gap_is_not_filled_with_what_was_before_it() -> None:
    record, state = run(60)
    slept = later(state, 600.0, cpu__use_ratio=0.1)
    record.keep(slept)
    assert record.at(state.now + timedelta(seconds=GAP_SECONDS - 1)) is not None
    assert record.at(state.now + timedelta(seconds=GAP_SECONDS + 1)) is None
    assert record.at(slept.now) is not None


def test_a_clock_that_is_set_back_begins_anew() -> None:
    record, state = run(120)
    back = replace(state, now=state.now - timedelta(hours=2))
    record.keep(back)
    assert len(record) == 1 and record.oldest == back.now
    record.keep(replace(back, now=back.now - timedelta(seconds=5)))
    assert len(record) == 1, "a small step back is waited out"


def test_an_older_record_goes_in_front() -> None:
    older, state = run(900)
    mine, newest = run(30, Record(), state)
    mine.prepend(older)
    assert mine.oldest == older.oldest and mine.newest == newest.now
    for back in (0, 29, 31, 300, 900):
        moment = newest.now - timedelta(seconds=back)
        found = mine.at(moment)
        assert found is not None and moment - found.now <= timedelta(seconds=BLOCK_SECONDS)
        assert found.hosts["spark"].curves["cpu.use_ratio", ""][-1][0] <= moment.timestamp()
    run(3600, mine, newest)
    assert mine.oldest is not None and mine.newest is not None and mine.newest - mine.oldest <= timedelta(seconds=3600)


@given(st.lists(st.floats(0.1, 45.0), min_size=1, max_size=400), st.data())
def test_what_is_found_was_kept_and_is_never_later(pauses: list[float], data: st.DataObject) -> None:
    record, state, kept = Record(span_seconds=1200.0, fine_seconds=60.0), initial(SPECS, START), []
    for pause in pauses:
        state = later(state, pause)
        before = len(record)
        record.keep(state)
        kept.append(state.now)
        assert len(record) <= before + 1
    moment = START + timedelta(seconds=data.draw(st.floats(-60.0, sum(pauses) + 60.0)))
    found = record.at(moment)
    if found is not None:
        assert found.now in kept and found.now <= moment + timedelta(seconds=0.002)
        assert moment - found.now <= timedelta(seconds=GAP_SECONDS + 0.01)
    fine = [at for at in kept if moment - timedelta(seconds=5) <= at <= moment and at >= state.now - timedelta(seconds=50)]
    assert found is not None or not fine


def test_of_many_hosts_a_few_are_packed_each_second_and_what_happens_at_once() -> None:
    names = [f"box{number:02d}" for number in range(50)]
    state = initial(tuple(HostSpec(name, services=("a.service",)) for name in names), START)
    record = Record()
    for second in range(40):
        now = START + timedelta(seconds=second)
        state = reduce(state, Tick(now))
        for name in names:
            state = reduce(state, Samples(name, (Sample("cpu.use_ratio", fresh(second / 100, now, "probe")),)))
            active = "failed" if name == "box07" and second >= 33 else "active"
            state = reduce(state, ServicesSeen(name, (Service("a.service", active, at=now),)))
        record.keep(state)
    found = record.at(START + timedelta(seconds=34))
    assert found is not None and list(found.hosts) == names and found.now == START + timedelta(seconds=34)
    assert found.hosts["box07"].services["a.service"].active == "failed"
    assert all(found.hosts[name].services["a.service"].active == "active" for name in names if name != "box07")
    ages = [host.figures["cpu.use_ratio", ""].age_seconds(found.now) or 0.0 for host in found.hosts.values()]
    assert max(ages) <= BLOCK_SECONDS and min(ages) <= 1


def test_an_hour_of_forty_services_that_all_are_seen_again_stays_small() -> None:
    """What differs from the second before is little; all the same every service has another time."""
    services = tuple(f"unit-{number:02d}.service" for number in range(40))
    state, record = initial((HostSpec("spark", services=services),), START), Record()
    for second in range(3700):
        state = later(state, 1.0, cpu__use_ratio=second % 100 / 100, memory__available_bytes=1e9 + second)
        seen = tuple(Service(name, "active", memory_bytes=second << 20, at=state.now, source="probe") for name in services)
        state = reduce(state, ServicesSeen("spark", seen))
        record.keep(state)
    assert record.size_bytes < 600_000
    found = record.at(START + timedelta(seconds=1000))
    assert found is not None and len(found.hosts["spark"].services) == 40
