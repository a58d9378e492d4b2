"""The switch on a pretended box: every way it can go, killed and cancelled at every step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sovtui.onbox import machine
from sovtui.onbox.things import Need
from sovtui.onbox.words import Began, CheckRights, Effect, Event, Run, Tick
from tests.onbox.world import Service, Story, World, box, play, request

FORWARD = ["preflight", "stop", "gone", "memory", "drop-caches", "start", "ready", "verify"]


def guard(world: World) -> None:
    """Never two modes loaded, at no instant."""

    def check() -> None:
        held = [n for n in world.holds() if n in ("a.service", "b.service")]
        assert len(held) < 2, f"two modes loaded at {world.now}"
        assert "floor.service" in world.holds() or world.services["floor.service"].fate == "dies"

    world.watch = check


def run(world: World, to: str = "b", **options: object) -> Story:
    guard(world)
    plan = {k: options.pop(k) for k in list(options) if k not in ("kill_after", "cancel_at", "cancel_by", "on_step", "limit")}
    return play(world, request(to=to, **plan), **options)  # type: ignore[arg-type]


def test_good() -> None:
    story = run(box())
    assert story.outcome == "done"
    assert story.reason == "b is hot"
    assert story.names() == FORWARD
    assert [f.when for f in story.figures] == ["before", "after"]
    assert story.world.holds() == ["b.service", "floor.service"]
    assert story.world.commands == [("stop", "a.service"), ("start", "b.service")]
    assert story.world.drops == 1
    assert any(line.text.startswith("ValueError") for line in story.lines)


def test_without_drop() -> None:
    story = run(box(), drop_caches=False)
    assert story.outcome == "done"
    assert story.world.drops == 0
    assert story.names("skipped") == ["drop-caches"]


def test_drop_fails_is_a_warning() -> None:
    world = box()
    world.drop_reason = "Read-only file system"
    story = run(world)
    assert (story.outcome, story.end and story.end.exit) == ("warned", 5)
    assert "Read-only" in story.reason


def test_to_none() -> None:
    story = run(box(), to="none")
    assert story.outcome == "done"
    assert story.world.holds() == ["floor.service"]
    assert "start" not in story.names()


def test_none_already() -> None:
    world = box()
    world.die(world.services["a.service"], "inactive")
    story = run(world, to="none")
    assert (story.outcome, story.reason) == ("done", "no mode is hot already")


def test_already_hot() -> None:
    story = run(box(), to="a")
    assert (story.outcome, story.reason) == ("done", "a is already hot")
    assert story.world.commands == []


def test_from_nothing() -> None:
    world = box()
    world.die(world.services["a.service"], "failed")
    story = run(world)
    assert story.outcome == "done"
    assert story.names("skipped")[:3] == ["stop", "gone", "memory"]


def test_shared_service_stays() -> None:
    world = box()
    world.die(world.services["a.service"], "inactive")
    world.start_up("b.service").start_up("c.service")
    story = play(world, request(to="b"))
    assert story.outcome == "done"
    assert world.commands == [("stop", "c.service")]


@pytest.mark.truth(of="systemd")
def test_unknown_unit_stops_nothing() -> None:
    world = box()
    del world.services["b.service"]
    story = run(world)
    assert (story.outcome, story.reason) == ("failed", "unit b.service does not exist on box")
    assert world.commands == []


@pytest.mark.parametrize("load", ["masked", "bad-setting"])
@pytest.mark.truth("a unit that cannot start stops nothing", of="systemd")
def test_unit_that_cannot_start(load: str) -> None:
    world = box()
    world.services["b.service"].load = load
    story = run(world)
    assert story.outcome == "failed"
    assert world.commands == []


@pytest.mark.truth(of="sudo, polkit, users")
def test_missing_right_stops_nothing() -> None:
    world = box()
    world.missing = ("ops may not run `systemctl start b.service`",)
    story = run(world)
    assert (story.outcome, story.reason) == ("failed", "ops may not run `systemctl start b.service`")
    assert world.commands == []


def test_blind_at_first() -> None:
    world = box()
    world.blind_until = 1e9
    assert run(world).outcome == "failed"
    assert world.commands == []


def test_blind_meanwhile_goes_on() -> None:
    world = box()

    def blind(step: object, w: World) -> None:
        if getattr(step, "name", "") in ("gone", "ready"):
            w.blind_until = w.now + 3

    assert run(world, on_step=blind).outcome == "done"


@pytest.mark.parametrize("fate", ["fail", "exit0", "restart", "hang", "wrong", "refuse-start", "crash"])
@pytest.mark.parametrize("notify", [False, True])
def test_target_goes_wrong_rolls_back(fate: str, notify: bool) -> None:
    world = box(b=fate)
    world.services["b.service"].notify = notify
    story = run(world)
    assert story.outcome == "rolled-back", story.reason
    assert story.reason.endswith("a is hot again")
    assert world.holds() == ["a.service", "floor.service"]
    assert story.names()[-3:] == ["undo-stop", "undo-start", "undo-ready"]
    if fate in ("fail", "exit0", "hang", "restart"):
        assert "the weights leave no room" in story.reason
    if fate == "wrong":
        assert "serves another, not model-b" in story.reason
    assert story.end and story.end.exit == 1


def stays(world: World, mode: str) -> None:
    """Nothing but this mode holds memory, now and in the time to come."""
    seen: set[str] = set()
    world.watch = lambda: seen.update(world.holds())
    world.watch()
    world.run_until(world.now + 30)
    assert seen == {f"{mode}.service", "floor.service"}


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("cancel_at", ["", "ready"])
def test_container_that_is_revived_after_its_stop_is_stopped_again(seconds: float, cancel_at: str) -> None:
    world = box(b="podman")
    world.services["b.service"].revive_seconds = seconds
    story = run(world, cancel_at=cancel_at)
    assert story.outcome == "cancelled" if cancel_at else "rolled-back", story.reason
    assert story.reason.endswith("a is hot again")
    stays(world, "a")


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8, 2.0, 3.5])
def test_what_comes_back_on_the_way_back_is_stopped_again(seconds: float) -> None:
    """Nothing told that it would: it was gone when the previous mode was started."""
    world = box(b="unseen")
    world.services["b.service"].revive_seconds = seconds
    story = play(world, request(to="b"))
    assert story.outcome == "rolled-back", story.reason
    assert story.reason.endswith("a is hot again")
    stays(world, "a")


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.5])
def test_previous_mode_that_is_revived_after_its_stop_is_stopped_again(seconds: float) -> None:
    world = box(a="podman")
    a = world.services["a.service"]
    a.revive_seconds = seconds
    world._ended(a)
    story = run(world)
    assert story.outcome == "done", story.reason
    stays(world, "b")


def test_fast_failure_is_seen_at_once() -> None:
    world = box(b="fail")
    began = world.now
    story = run(world)
    failed = next(step for step in story.steps if step.state == "failed")
    assert failed.name == "ready"
    assert failed.seconds is not None
    assert failed.seconds < 4
    assert world.now - began < 30


def test_no_rollback_leaves_it() -> None:
    story = run(box(b="hang"), rollback=False)
    assert story.outcome == "failed"
    assert "Running now: b" in story.reason
    assert story.world.holds() == ["b.service", "floor.service"]


def test_no_previous() -> None:
    world = box(b="fail")
    world.die(world.services["a.service"], "inactive")
    story = run(world)
    assert story.outcome == "failed"
    assert story.reason.endswith("No mode is hot now")
    assert world.holds() == ["floor.service"]


def test_rollback_fails() -> None:
    world = box(b="fail")

    def break_a(step: object, w: World) -> None:
        if getattr(step, "name", "") == "undo-start":
            w.services["a.service"].fate = "fail"

    story = run(world, on_step=break_a)
    assert story.outcome == "rollback-failed"
    assert "No mode is hot now" in story.reason
    assert world.holds() == ["floor.service"]


@pytest.mark.parametrize("deaf", ["kill", "denied"])
def test_target_that_cannot_be_ended_bars_the_way_back(deaf: str) -> None:
    world = box(b="hang")
    story = run(world, on_step=does_not_stop(deaf))
    assert story.outcome == "rollback-failed"
    assert ("start", "a.service") not in world.commands
    assert world.holds() == ["b.service", "floor.service"]
    assert world.commands.count(("kill", "b.service")) == 1
    assert ("may not run `systemctl kill`" in story.reason) is (deaf == "denied")


def test_target_that_does_not_stop_is_killed_on_the_way_back() -> None:
    world = box(b="hang")
    story = run(world, on_step=does_not_stop("term"))
    assert story.outcome == "rolled-back"
    assert world.holds() == ["a.service", "floor.service"]
    assert world.commands[-3:] == [("stop", "b.service"), ("kill", "b.service"), ("start", "a.service")]


def does_not_stop(deaf: str) -> Callable[[object, World], None]:
    def stuck(step: object, w: World) -> None:
        if getattr(step, "name", "") == "undo-stop":
            w.services["b.service"].deaf = deaf

    return stuck


def test_processes_that_a_unit_leaves_behind_are_ended() -> None:
    world = box(a="stray")
    story = run(world)
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service"), ("kill", "a.service"), ("start", "b.service")]
    gone = next(s for s in story.steps if s.name == "gone" and s.state == "done")
    assert gone.seconds is not None and 5 <= gone.seconds < 8, "they are given a moment to end by themselves"
    assert any("left processes behind: SIGKILL" in s.detail for s in story.steps if s.name == "gone")


@pytest.mark.parametrize("fate", ["stuck", "refuse-stop"])
def test_previous_does_not_go(fate: str) -> None:
    world = box(a=fate)
    story = run(world)
    assert story.outcome in ("rolled-back", "rollback-failed")
    assert ("start", "b.service") not in world.commands
    if fate == "refuse-stop":
        assert story.outcome == "rolled-back"


def test_port_still_answers() -> None:
    world = box()
    stray = Service("stray.service", url="http://x:1", ids=("model-a",))
    world.services["stray.service"] = stray
    world.start_up("stray.service")
    story = run(world)
    assert story.outcome == "rolled-back"
    assert "http://x:1 still answers" in story.reason


def test_failed_after_a_normal_stop_is_fine() -> None:
    world = box()
    a = world.services["a.service"]
    world._stopped = lambda s: (World._stopped(world, s), setattr(s, "active", "failed"), setattr(s, "result", "signal"))  # type: ignore[method-assign, assignment, func-returns-value]
    assert run(world).outcome == "done"
    assert a.active == "failed"


def test_other_mode_comes_back_while_memory_is_freed() -> None:
    world = box()

    def back(step: object, w: World) -> None:
        if getattr(step, "name", "") == "drop-caches":
            w.at(0.1, lambda: w.begin(w.services["a.service"]))

    story = run(world, on_step=back)
    assert story.outcome == "rolled-back"
    assert "came back" in story.reason
    assert ("start", "b.service") not in world.commands


@pytest.mark.parametrize("moment", ["start", "ready"])
def test_other_mode_comes_back_while_the_new_one_loads(moment: str) -> None:
    """Broken off at the next look: not after a load of forty minutes with both in memory."""
    world = box()
    world.services["b.service"].load_seconds = 2400.0
    begun: list[float] = []

    def back(step: object, w: World) -> None:
        if getattr(step, "name", "") == moment and not begun:
            begun.append(w.now + 1.0)
            w.at(1.0, lambda: w.begin(w.services["a.service"]))

    story = play(world, request(to="b", ready_timeout_s=3600.0), on_step=back)
    assert story.outcome == "rolled-back"
    assert "a.service came back while b was loading" in story.reason
    assert world.now - begun[0] < 60
    assert world.holds() == ["a.service", "floor.service"]


def test_floor_lost_is_a_warning() -> None:
    world = box()
    world.services["floor.service"].fate = "dies"

    def fall(step: object, w: World) -> None:
        if getattr(step, "name", "") == "start":
            w.die(w.services["floor.service"], "failed")

    story = run(world, on_step=fall)
    assert story.outcome == "warned"
    assert "floor.service must always run" in story.reason
    assert ("stop", "floor.service") not in world.commands


def test_dead_engine_of_the_target_is_restarted() -> None:
    world = box()
    a = world.services["a.service"]
    a.ready_at, a.began = None, world.now - 1000
    story = run(world, to="a")
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service"), ("start", "a.service")]


def test_a_target_that_is_starting_is_waited_for() -> None:
    world = box()
    world.die(world.services["a.service"], "inactive")
    world.begin(world.services["b.service"])
    story = run(world)
    assert story.outcome == "done"
    assert world.commands == []


def test_slow_sglang_health_is_asked_rarely() -> None:
    world = box()
    world.services["b.service"].load_seconds = 40
    run(world)
    asked = [p for look in world.looks for p in look.probes if p.url == "http://x:2" and p.health]
    assert len(asked) <= 2


@pytest.mark.parametrize("step", FORWARD)
@pytest.mark.parametrize("fate", ["", "fail", "hang"])
def test_cancel_at_every_step(step: str, fate: str) -> None:
    world = box(b=fate)
    story = run(world, cancel_at=step)
    if fate and step == "verify":
        assert story.outcome == "rolled-back"
    else:
        assert story.outcome == "cancelled", story.reason
        assert "it was cancelled" in story.reason
    assert world.holds() == ["a.service", "floor.service"]


def test_a_signal_is_told_as_one() -> None:
    story = run(box(), cancel_at="start", cancel_by="signal")
    assert story.outcome == "cancelled"
    assert "signal" in story.reason and "shutting down" in story.reason and "it was cancelled" not in story.reason


@pytest.mark.parametrize("step", ["undo-stop", "undo-start", "undo-ready"])
def test_cancel_on_the_way_back_changes_nothing(step: str) -> None:
    assert run(box(b="fail"), cancel_at=step).outcome == "rolled-back"


FATES = [{}, {"b": "fail"}, {"b": "exit0"}, {"b": "hang"}, {"b": "wrong"}, {"b": "restart"}, {"a": "stuck"}, {"a": "stray"}]


@pytest.mark.parametrize("fates", FATES, ids=str)
@pytest.mark.parametrize("to", ["b", "none", "c"])
@pytest.mark.truth(of="systemd")
def test_killed_after_every_event_never_loads_two_modes(fates: dict[str, str], to: str) -> None:
    whole = run(box(**fates), to=to).events
    assert whole > 5
    for count in (*range(min(whole, 60)), *range(60, whole, 7)):  # later on it only waits and looks, again and again
        world = box(**fates)
        run(world, to=to, kill_after=count)
        world.run_until(world.now + 200)  # what was started goes on without the runner
        for s in world.services.values():
            s.fate = "job" if s.name == "job.service" else ""
            if s.procs and s.active in ("inactive", "failed"):
                s.procs = 0  # the stray process was ended by hand
        again = run(world, to="a")
        assert again.outcome == "done", (count, again.reason)
        assert world.holds() == ["a.service", "floor.service"]


@pytest.mark.parametrize("step", FORWARD[1:])
def test_services_vanish_at_every_step(step: str) -> None:
    world = box()

    def vanish(seen: object, w: World) -> None:
        if getattr(seen, "name", "") == step and getattr(seen, "detail", "") != "gone":
            w.die(w.services["b.service"], "failed")
            w.services["b.service"].fate = "fail"

    story = run(world, on_step=vanish)
    assert story.outcome in ("rolled-back", "done")
    if step != "verify":
        assert world.holds() == ["a.service", "floor.service"]


def test_progress_is_told() -> None:
    world = box()
    world.services["b.service"].lines = [
        "Loading safetensors checkpoint shards:  40% Completed | 2/5 [00:01<00:01]",
        'INFO: 1 - "GET /health HTTP/1.1" 200',
    ]
    story = run(world)
    assert "weights 40 %" in [s.detail for s in story.steps if s.state == "running"]
    assert len(story.lines) == 1


@pytest.mark.truth(of="systemd")
def test_the_right_to_start_what_failed_too_often_is_asked_for_before_anything_is_stopped() -> None:
    world = box()
    world.services["b.service"].limited = True
    asked: list[CheckRights] = []
    perform = world.perform

    def spy(effect: Effect, post: Callable[[Event], None]) -> None:
        asked.extend([effect] if isinstance(effect, CheckRights) else [])
        perform(effect, post)

    world.perform = spy  # type: ignore[method-assign]
    assert run(world).outcome == "done"
    assert Need("reset-failed", "b.service") in asked[0].needs
    world, asked[:] = box(), []
    world.perform, perform = spy, world.perform  # type: ignore[method-assign]
    assert run(world).outcome == "done"
    assert not [need for need in asked[0].needs if need.verb == "reset-failed"], "nobody else needs it"


def test_an_ended_machine_says_nothing() -> None:
    state = machine.begin(request(to="nosuch") if False else request())
    state, effects = machine.advance(state, Began(1.0))
    assert not any(isinstance(e, Run) for e in effects)
    ended, _ = machine.advance(state, Tick(2.0))
    assert not ended.ended
