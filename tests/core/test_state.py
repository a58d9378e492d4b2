"""Events in, slices out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.core.events import (
    ActionChanged,
    AlertsSeen,
    Curve,
    EngineSeen,
    Event,
    LinkChanged,
    PathSeen,
    ReceiptsSeen,
    Sample,
    Samples,
    ServicesSeen,
    SourceChanged,
    SpecChanged,
    Tick,
)
from sovtui.core.issues import Grade, issues
from sovtui.core.model import (
    ActionRun,
    Engine,
    EnginePhase,
    HostSpec,
    Link,
    LinkPhase,
    Mode,
    PathKind,
    Service,
    Source,
    TailnetPath,
)
from sovtui.core.modes import Heat, ModeView, hot_modes, mode_view, pace, unified
from sovtui.core.reading import Status, fresh, unsupported
from sovtui.core.state import CURVE_POINTS, State, initial, is_routine, reduce, source_failed
from sovtui.tui.panes.inference import heat_span

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
QWEN = Mode("qwen", "1", "Qwen", "vllm", "http://127.0.0.1:8000", "qwen", ("a.service",))
SPEC = HostSpec(
    "spark", modes=(QWEN, Mode("other", services=("b.service",), url="http://x:1")), services=("a.service", "b.service")
)


def start() -> State:
    return reduce(initial((SPEC,), NOW), LinkChanged("spark", Link(LinkPhase.UP)))


def sample(value: float, at: datetime = NOW, source: str = "probe", figure: str = "memory.available_bytes") -> Samples:
    return Samples("spark", (Sample(figure, fresh(value, at, source)),))


def test_a_host_that_is_not_configured_changes_nothing() -> None:
    state = start()
    assert reduce(state, LinkChanged("nas", Link(LinkPhase.UP))) is state


def test_what_is_looked_at_can_change_and_what_stays_keeps_what_is_known() -> None:
    state = reduce(start(), sample(5))
    state = reduce(state, EngineSeen("spark", "qwen", Engine(EnginePhase.READY)))
    state = reduce(state, EngineSeen("spark", "other", Engine(EnginePhase.READY)))
    for mode in ("qwen", "other"):
        state = reduce(state, Samples("spark", (Sample("engine.decode_tok_s", fresh(7, NOW, "engine"), mode),)))
    state = reduce(state, ServicesSeen("spark", (Service("a.service", "active"),)))
    new = Mode("new", url="http://x:2", services=("c.service",))
    after = reduce(state, SpecChanged(replace(SPEC, modes=(QWEN, new), services=("a.service", "c.service")), ("a note",)))
    host = after.hosts["spark"]
    assert after.notes == ("a note",) and set(host.engines) == {"qwen"} and host.link.phase is LinkPhase.UP
    assert (host.services["a.service"].active, host.services["c.service"].active) == ("active", "unknown")
    assert "b.service" not in host.services and host.reading("memory.available_bytes").value == 5
    assert host.reading("engine.decode_tok_s", "qwen").value == 7 and not host.reading("engine.decode_tok_s", "other").known
    assert ("engine.decode_tok_s", "qwen") in host.curves and ("engine.decode_tok_s", "other") not in host.curves
    assert reduce(state, SpecChanged(replace(SPEC, name="nas"), ())) is state


def test_the_same_news_twice_is_no_news() -> None:
    state = reduce(start(), sample(5))
    assert reduce(state, sample(5)) is state
    services = ServicesSeen("spark", (Service("a.service", "active"),))
    state = reduce(state, services)
    assert reduce(state, services) is state


def test_ticks_turn_figures_stale_and_touch_nothing_else() -> None:
    state = reduce(start(), sample(5))
    fine = reduce(state, Tick(NOW + timedelta(seconds=5)))
    assert fine.hosts is state.hosts
    stale = reduce(fine, Tick(NOW + timedelta(seconds=60)))
    assert stale.hosts["spark"].reading("memory.available_bytes").status is Status.STALE


@pytest.mark.truth(of="one-shot commands and states")
def test_a_lost_link_keeps_values_as_stale_with_the_reason() -> None:
    state = reduce(reduce(start(), sample(5)), ServicesSeen("spark", (Service("a.service", "active"),)))
    state = reduce(state, sample(7, source="prometheus", figure="gpu.power_watts"))
    host = reduce(state, LinkChanged("spark", Link(LinkPhase.DOWN, reason="cut"))).hosts["spark"]
    assert host.reading("memory.available_bytes").status is Status.STALE
    assert host.reading("memory.available_bytes").value == 5
    assert host.services["a.service"].reason
    assert host.reading("gpu.power_watts").status is Status.FRESH  # another host's Prometheus may tell it


def test_a_failed_source_makes_its_own_figures_stale() -> None:
    state = reduce(reduce(start(), sample(5)), sample(7, source="prometheus", figure="gpu.power_watts"))
    state = reduce(state, source_failed(state.hosts["spark"], "prometheus", "down"))
    assert state.hosts["spark"].reading("gpu.power_watts").status is Status.STALE
    assert state.hosts["spark"].reading("memory.available_bytes").status is Status.FRESH


def test_curves_are_bounded_and_history_goes_before() -> None:
    state = start()
    for i in range(CURVE_POINTS + 20):
        state = reduce(state, sample(i, NOW + timedelta(seconds=i)))
    key = ("memory.available_bytes", "")
    assert len(state.hosts["spark"].curves[key]) == CURVE_POINTS
    state = reduce(start(), sample(9, NOW))
    past = tuple((NOW.timestamp() - 100 + i, float(i)) for i in range(50))
    curve = reduce(state, Curve("spark", *key, past)).hosts["spark"].curves[key]
    assert curve == (*past, (NOW.timestamp(), 9.0))


def test_source_keeps_its_last_good_time() -> None:
    state = reduce(start(), SourceChanged(Source("prometheus", ok=True, last_ok_at=NOW)))
    state = reduce(state, SourceChanged(Source("prometheus", ok=False, reason="refused")))
    assert state.sources["prometheus", ""].last_ok_at == NOW


def test_an_ended_receipt_does_not_hide_the_running_action() -> None:
    running = ActionRun("2", "switch", "qwen", "me", NOW)
    old = ActionRun("1", "backup", "nas", "me", NOW, outcome="done")
    state = reduce(reduce(start(), ActionChanged("spark", running)), ActionChanged("spark", old))
    assert state.hosts["spark"].action == running


def test_alerts_keep_identity_when_equal() -> None:
    state = reduce(start(), AlertsSeen((), NOW))
    assert reduce(state, AlertsSeen((), NOW)).alerts is state.alerts


def heat(active: str, phase: EnginePhase) -> Heat:
    state = reduce(start(), ServicesSeen("spark", (Service("a.service", active), Service("b.service", "inactive"))))
    state = reduce(state, EngineSeen("spark", "qwen", Engine(phase)))
    return mode_view(state.hosts["spark"], QWEN).heat


def test_hot_needs_unit_and_engine() -> None:
    assert heat("active", EnginePhase.READY) is Heat.HOT
    assert heat("active", EnginePhase.STARTING) is Heat.STARTING
    assert heat("active", EnginePhase.WRONG_MODEL) is Heat.BROKEN
    assert heat("active", EnginePhase.ASLEEP) is Heat.BROKEN
    assert heat("active", EnginePhase.DEAD) is Heat.BROKEN
    assert heat("active", EnginePhase.UNKNOWN) is Heat.UNKNOWN
    assert heat("failed", EnginePhase.ABSENT) is Heat.BROKEN
    assert heat("inactive", EnginePhase.ABSENT) is Heat.COLD
    assert heat("activating", EnginePhase.ABSENT) is Heat.STARTING
    assert heat("deactivating", EnginePhase.READY) is Heat.STOPPING
    assert heat("unknown", EnginePhase.READY) is Heat.UNKNOWN


def test_busy_is_told_only_by_fresh_figures() -> None:
    state = reduce(start(), ServicesSeen("spark", (Service("a.service", "active"), Service("b.service", "inactive"))))
    state = reduce(state, EngineSeen("spark", "qwen", Engine(EnginePhase.READY)))
    assert mode_view(state.hosts["spark"], QWEN).busy is None
    idle = reduce(state, Samples("spark", (Sample("engine.running", fresh(0, NOW, "prometheus"), "qwen"),)))
    assert mode_view(idle.hosts["spark"], QWEN).word == "resident"
    busy = reduce(state, Samples("spark", (Sample("engine.waiting", fresh(3, NOW, "prometheus"), "qwen"),)))
    assert mode_view(busy.hosts["spark"], QWEN).word == "busy"
    late = reduce(busy, Tick(NOW + timedelta(minutes=2)))
    assert mode_view(late.hosts["spark"], QWEN).busy is None
    assert [m.name for m in hot_modes(busy.hosts["spark"])] == ["qwen"]


def test_unified_is_told_by_a_gpu_without_memory() -> None:
    state = reduce(start(), Samples("spark", (Sample("gpu.use_ratio", fresh(0.5, NOW, "nvml"), "0"),)))
    state = reduce(state, Samples("spark", (Sample("gpu.memory_total_bytes", unsupported("not on this chip", "nvml"), "0"),)))
    assert unified(state.hosts["spark"]) is True
    card = reduce(state, Samples("spark", (Sample("gpu.memory_total_bytes", fresh(32e9, NOW, "nvml"), "0"),)))
    assert unified(card.hosts["spark"]) is False
    assert unified(start().hosts["spark"]) is None


def test_a_shared_service_says_nothing_about_a_cold_mode() -> None:
    proxy = "proxy.service"
    modes = (
        Mode("one", url="http://x:1", services=("a.service", proxy)),
        Mode("two", url="http://x:2", services=("b.service", proxy)),
    )
    state = initial((HostSpec("spark", modes=modes, services=("a.service", "b.service", proxy)),), NOW)
    told = (Service("a.service", "active"), Service("b.service", "inactive"), Service(proxy, "active"))
    state = reduce(reduce(state, ServicesSeen("spark", told)), EngineSeen("spark", "one", Engine(EnginePhase.READY)))
    assert [mode_view(state.hosts["spark"], mode).heat for mode in modes] == [Heat.HOT, Heat.COLD]


def test_pace_tells_warming_from_slow_and_says_nothing_of_many_streams() -> None:
    mode = Mode("qwen", services=("a.service",), expect_tok_s=57)

    def judged(decode: float, running: float, up_seconds: float) -> str:
        state = reduce(
            start(), ServicesSeen("spark", (Service("a.service", "active", since=NOW - timedelta(seconds=up_seconds)),))
        )
        told = (("engine.decode_tok_s", decode), ("engine.running", running))
        samples = tuple(Sample(key, fresh(number, NOW, "prometheus"), "qwen") for key, number in told)
        return pace(reduce(state, Samples("spark", samples)).hosts["spark"], mode, NOW)

    assert judged(43, 1, 60) == "warming"
    assert judged(43, 1, 3600) == "slow"
    assert judged(56, 1, 60) == "" and judged(20, 4, 3600) == "" and judged(0, 0, 3600) == ""


def test_the_path_through_the_tailnet_is_none_until_it_is_told_and_the_same_again_is_no_news() -> None:
    state = start()
    assert state.hosts["spark"].path is None
    first = PathSeen("spark", TailnetPath(PathKind.DIRECT, 0.002, at=NOW))
    assert not is_routine(state, first)
    state = reduce(state, first)
    again = PathSeen("spark", TailnetPath(PathKind.DIRECT, 0.002, at=NOW + timedelta(seconds=10)))
    assert reduce(state, again) is state
    assert is_routine(state, PathSeen("spark", TailnetPath(PathKind.DIRECT, 0.009, at=NOW)))
    assert not is_routine(state, PathSeen("spark", TailnetPath(PathKind.RELAY, 0.048, "fra", at=NOW)))


def test_an_action_that_ended_while_the_link_was_down_is_not_running_any_more():
    running = ActionRun("one", "switch", "qwen", "ops@sofa", NOW)
    state = reduce(start(), ActionChanged("spark", running))
    ended = replace(running, outcome="done", seconds=4.0)
    host = reduce(state, ReceiptsSeen("spark", (ended,))).hosts["spark"]
    assert host.action == ended
    other = replace(ended, id="two")
    assert reduce(state, ReceiptsSeen("spark", (other,))).hosts["spark"].action == running


def _down(seconds: float) -> LinkChanged:
    return LinkChanged("spark", Link(LinkPhase.DOWN, since=NOW + timedelta(seconds=seconds), reason="no answer"))


def _said(phase: EnginePhase, seconds: float) -> EngineSeen:
    return EngineSeen("spark", "qwen", Engine(phase, ("qwen",), at=NOW + timedelta(seconds=seconds)))


RUNS = ServicesSeen("spark", (Service("a.service", "active", at=NOW), Service("b.service", "failed", at=NOW)))


@pytest.mark.parametrize("silences", [("unknown",), ("unknown", "dead"), ("unknown", "hung")])
@pytest.mark.parametrize("after", [False, True], ids=["told before the loss", "told after the loss"])
@pytest.mark.truth(of="one-shot commands and states")
def test_an_engine_that_fell_silent_with_its_link_stays_what_it_was(silences: tuple[str, ...], after: bool) -> None:
    state = reduce(reduce(start(), RUNS), _said(EnginePhase.READY, 0))
    told = [_said(EnginePhase(word), 4 + number) for number, word in enumerate(silences)]
    events: tuple[LinkChanged | EngineSeen, ...] = (_down(9), *told) if after else (*told, _down(9))
    for event in events:
        state = reduce(state, event)
    state = reduce(state, replace(_down(9), link=Link(LinkPhase.CONNECTING, since=NOW, reason="no answer")))
    state = reduce(state, _said(EnginePhase.UNKNOWN, 15))
    host = state.hosts["spark"]
    assert host.engines["qwen"].phase is EnginePhase.READY
    assert [mode.name for mode in hot_modes(host)] == ["qwen"]
    assert heat_span(host, NOW + timedelta(seconds=15)) == ("● qwen hot ~15s", "stale"), "and not that the other one is broken"
    state = reduce(state, LinkChanged("spark", Link(LinkPhase.UP)))
    state = reduce(state, _said(EnginePhase.DEAD, 20))
    assert state.hosts["spark"].engines["qwen"].phase is EnginePhase.DEAD, "now somebody has looked"


@pytest.mark.truth(of="one-shot commands and states")
def test_an_engine_that_was_silent_long_before_the_loss_stays_silent() -> None:
    state = reduce(reduce(start(), RUNS), _said(EnginePhase.READY, 0))
    for event in (_said(EnginePhase.UNKNOWN, 10), _said(EnginePhase.HUNG, 30), _down(60)):
        state = reduce(state, event)
    assert state.hosts["spark"].engines["qwen"].phase is EnginePhase.HUNG
    state = reduce(reduce(state, LinkChanged("spark", Link(LinkPhase.UP))), _said(EnginePhase.READY, 70))
    state = reduce(reduce(state, _said(EnginePhase.UNKNOWN, 80)), _down(85))
    assert state.hosts["spark"].engines["qwen"].phase is EnginePhase.READY, "each silence counts by itself"


def test_a_mode_that_failed_is_the_past_once_another_one_is_wanted() -> None:
    """systemd calls its unit failed until it is started again: one failed start would leave it broken for ever."""
    before = Service("a.service", "failed", "failed", "exit-code", NOW)
    state = reduce(start(), ServicesSeen("spark", (before, Service("b.service", "inactive"))))
    switch = ActionRun("1", "switch", "qwen", "me", NOW - timedelta(seconds=60), outcome="rolled-back", seconds=90.0)

    def view(*events: Event) -> ModeView:
        new = state
        for event in events:
            new = reduce(new, event)
        return mode_view(new.hosts["spark"], QWEN)

    def ended(target: str, outcome: str, began: float = -60.0, seconds: float = 90.0) -> ModeView:
        run = replace(switch, target=target, outcome=outcome, began_at=NOW + timedelta(seconds=began), seconds=seconds)
        return view(ReceiptsSeen("spark", (run,)))

    assert view().heat is Heat.BROKEN and not view().past
    beside = ServicesSeen("spark", (Service("b.service", "active"),))
    assert view(beside, EngineSeen("spark", "other", Engine(EnginePhase.STARTING))).heat is Heat.BROKEN, "not proved yet"
    hot = view(beside, EngineSeen("spark", "other", Engine(EnginePhase.READY)))
    assert (
        hot.heat is Heat.COLD and hot.past and hot.reason.startswith("a.service failed at 2026-") and "other is hot" in hot.reason
    )
    assert ended("qwen", "rolled-back").past and ended("qwen", "cancelled").past
    assert ended("none", "done").past and ended("other", "warned").past
    assert ended("qwen", "done").heat is Heat.BROKEN, "it failed after it was wanted"
    assert ended("qwen", "rollback-failed").heat is Heat.BROKEN and ended("qwen", "failed").heat is Heat.BROKEN
    assert ended("other", "done", -600.0, 30.0).heat is Heat.BROKEN, "it failed after that switch"
    new = reduce(reduce(state, beside), EngineSeen("spark", "other", Engine(EnginePhase.READY)))
    found = [(issue.grade, issue.kind, issue.title) for issue in issues(new)]
    assert found == [(Grade.LOOK, "service", "a.service failed")], "and no mode is called broken"
