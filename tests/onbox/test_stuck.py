"""A mode that is up and does not answer: its key stops it, ends what does not stop, starts it again and asks it for a token."""

from __future__ import annotations

from typing import Any

import pytest

from sovtui.onbox.words import Step
from tests.onbox.world import Story, World, box, play, request

YES = {"stuck": True}
TOLD = "3 running, and not one token for 5 min"


def hanging(how: str, name: str = "a", **words: Any) -> World:
    """Mode `a` is hot and hangs; it is not long up, so that only its silence tells."""
    world = box()
    if name != "a":
        world.die(world.services["a.service"], "inactive")
        world.start_up(f"{name}.service")
    world.services[f"{name}.service"].hangs = how
    for key, value in words.items():
        setattr(world.services[f"{name}.service"], key, value)
    world.run_until(world.now + 60)
    return world


def again(world: World, to: str = "a", consent: dict[str, bool] | None = None, **plan: Any) -> Story:
    return play(world, request(to=to, consent=YES if consent is None else consent, **plan))


@pytest.mark.parametrize("how", ["silent", "core"])
def test_its_key_brings_it_back_and_a_token_proves_it(how: str) -> None:
    world = hanging(how)
    story = again(world, stuck=TOLD)
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service"), ("start", "a.service")]
    assert [name for name in story.names() if name != "drop-caches"] == [
        "preflight", "stop", "gone", "memory", "start", "ready", "proof", "verify",
    ]  # fmt: skip
    assert f"a hangs: {TOLD}" in next(s.detail for s in story.steps if s.name == "preflight" and s.state == "done")
    assert "a.service" in world.holds()
    assert world.now < 400, "nobody waited for the time that a start may take"


def test_its_silence_is_seen_by_the_box_alone_after_a_second_look() -> None:
    world = hanging("silent")
    story = again(world)
    assert story.outcome == "done" and world.commands == [("stop", "a.service"), ("start", "a.service")]
    patience = [probe.patience for look in world.looks for probe in look.probes if probe.url == "http://x:1"]
    assert patience[0] < patience[1]


@pytest.mark.parametrize(("how", "told"), [("silent", ""), ("silent", TOLD), ("core", ""), ("core", TOLD), ("closed", TOLD)])
def test_nothing_is_touched_before_somebody_has_said_yes(how: str, told: str) -> None:
    world = hanging(how)
    story = again(world, consent={}, stuck=told)
    assert (story.outcome, story.end and story.end.exit) == ("refused", 4)
    assert world.commands == [] and "Nothing was touched" in story.reason
    assert (told or "a does not answer") in story.reason


def test_a_stuck_core_is_told_by_a_token_that_does_not_come_while_nothing_moves() -> None:
    world = hanging("core")
    story = again(world)
    assert story.outcome == "done" and ("stop", "a.service") in world.commands
    assert world.proofs[0][1] == 20.0


def test_one_that_is_slow_but_works_is_left_alone() -> None:
    """A long queue: no token for us, many for others."""
    world = hanging("core")
    world.at(5.0, lambda: setattr(world.services["a.service"], "tokens_made", 700.0))
    story = again(world)
    assert (story.outcome, story.reason) == ("done", "a is already hot")
    assert world.commands == []


@pytest.mark.parametrize("consent", [{}, YES])
def test_one_that_came_round_is_left_alone(consent: dict[str, bool]) -> None:
    world = box()
    story = again(world, consent=consent, stuck=TOLD)
    assert story.outcome == "done" and "gave a token" in story.reason
    assert world.commands == []


def test_one_that_somebody_has_just_started_is_waited_for() -> None:
    world = box()
    world.die(world.services["a.service"], "inactive")
    world.begin(world.services["a.service"])
    story = again(world, stuck="it was ready and nothing listens any more")
    assert story.outcome == "done" and ("stop", "a.service") not in world.commands


def test_one_that_died_in_a_unit_that_goes_on_is_started_anew_at_once() -> None:
    world = hanging("refuses")
    story = again(world, stuck="it was ready and no longer answers: nothing listens")
    assert story.outcome == "done" and world.commands == [("stop", "a.service"), ("start", "a.service")]
    assert world.now < 400


def test_one_that_wants_a_key_is_believed_to_hang_if_somebody_has_watched_it() -> None:
    world = hanging("closed")
    assert again(world, stuck=TOLD).outcome == "done"
    assert ("stop", "a.service") in world.commands


# -- what does not end -------------------------------------------------------------------------------


def test_what_does_not_heed_its_stop_is_killed_after_a_bounded_time() -> None:
    world = hanging("silent", deaf="term", stop_limit=90.0)
    story = again(world, stuck=TOLD, stop_timeout_s=120)
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service"), ("kill", "a.service"), ("start", "a.service")]
    stop = next(s for s in story.steps if s.name == "stop" and s.state == "done")
    assert stop.seconds is not None and 19 < stop.seconds < 25
    assert any("SIGKILL" in s.detail for s in story.steps if s.name == "stop")


def test_a_unit_that_says_itself_how_long_its_stop_may_take_is_ended_by_its_supervisor() -> None:
    world = hanging("silent", deaf="term", stop_limit=5.0)
    assert again(world, stuck=TOLD).outcome == "done"
    assert ("kill", "a.service") not in world.commands


def test_without_the_right_to_kill_its_supervisor_is_waited_for() -> None:
    world = hanging("silent", deaf="denied", stop_limit=90.0)
    story = again(world, stuck=TOLD, stop_timeout_s=20)
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service"), ("kill", "a.service"), ("start", "a.service")]


@pytest.mark.parametrize(("deaf", "why"), [("kill", "not even by SIGKILL"), ("denied", "may not run `systemctl kill`")])
def test_what_cannot_be_ended_is_said_and_nothing_else_is_done(deaf: str, why: str) -> None:
    world = hanging("silent", deaf=deaf, stop_limit=float("inf"))
    story = again(world, stuck=TOLD, stop_timeout_s=20)
    assert story.outcome == "failed" and why in story.reason
    assert ("start", "a.service") not in world.commands
    assert world.now < 400, "it does not wait for a start that cannot be"


def test_on_the_way_to_another_mode_a_silent_one_is_killed_too() -> None:
    world = hanging("silent", deaf="term")
    story = again(world, to="b", consent={})
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service"), ("kill", "a.service"), ("start", "b.service")]


def test_one_that_works_is_never_killed_however_long_its_stop_takes() -> None:
    world = box()
    world.services["a.service"].deaf = "term"
    story = play(world, request(to="b"))
    assert ("kill", "a.service") not in world.commands and story.outcome in ("rolled-back", "rollback-failed")


# -- when it does not come up again ------------------------------------------------------------------


def test_a_start_that_hangs_is_tried_once_more() -> None:
    """The mode to go back to is the same one: there is nothing else that could be hot."""
    world = hanging("silent", hangs_again=1)
    story = again(world, stuck=TOLD)
    assert (story.outcome, story.end and story.end.exit) == ("warned", 5)
    assert story.reason.startswith("a is hot, at the second start; at the first: a was not ready within")
    assert world.commands == [("stop", "a.service"), ("start", "a.service"), ("stop", "a.service"), ("start", "a.service")]
    assert story.names()[-1] == "undo-proof"


def test_two_failed_starts_are_told_with_both_reasons() -> None:
    world = hanging("silent", hangs_again=2)
    story = again(world, stuck=TOLD)
    assert story.outcome == "rollback-failed"
    assert "Starting a once more failed too" in story.reason


def test_without_rollback_it_is_left_as_it_is() -> None:
    world = hanging("silent", hangs_again=1)
    story = again(world, stuck=TOLD, rollback=False)
    assert story.outcome == "failed" and world.commands == [("stop", "a.service"), ("start", "a.service")]


@pytest.mark.parametrize("at", ["stop", "gone", "memory", "start", "ready", "proof", "verify"])
def test_cancelled_anywhere_it_is_started_all_the_same(at: str) -> None:
    world = hanging("silent")
    story = play(world, request(to="a", consent=YES, stuck=TOLD), cancel_at=at)
    assert story.outcome == "cancelled", story.reason
    assert world.services["a.service"].active == "active" and not world.services["a.service"].hangs


def test_killed_at_any_event_no_two_modes_are_loaded_and_the_next_press_brings_it_back() -> None:
    whole = again(hanging("silent"), stuck=TOLD).events
    for after in range(1, whole):
        world = hanging("silent")
        play(world, request(to="a", consent=YES, stuck=TOLD), kill_after=after)
        world.run_until(world.now + 90)
        story = again(world, stuck=TOLD)
        assert story.outcome == "done", (after, story.reason)
        assert world.holds() == ["a.service", "floor.service"]


# -- ways of its own ---------------------------------------------------------------------------------


def test_a_mode_with_a_command_of_its_own_is_stopped_first_and_then_started_by_it() -> None:
    """The owner's script may find that it runs already, and do nothing."""
    modes = [
        {
            "name": "a",
            "services": ["a.service"],
            "url": "http://x:1",
            "engine": "vllm",
            "model": "model-a",
            "switch": ["/s.sh", "a"],
        },
        {
            "name": "b",
            "services": ["b.service"],
            "url": "http://x:2",
            "engine": "sglang",
            "model": "model-b",
            "switch": ["/s.sh", "b"],
        },
    ]
    world = hanging("silent")
    story = again(world, stuck=TOLD, modes=modes)
    assert story.outcome == "done", story.reason
    assert world.commands == [("stop", "a.service")] and world.scripts == [("/s.sh", "a")]


def test_one_of_the_floor_is_never_stopped() -> None:
    world = hanging("silent")
    story = again(world, stuck=TOLD, floor=["floor.service", "a.service"], ready_timeout_s=30)
    assert not [c for c in world.commands if c[1] == "a.service" and c[0] in ("stop", "kill")]
    assert story.outcome != "done"


def test_its_own_requests_are_no_reason_to_wait_or_to_refuse() -> None:
    world = hanging("core", requests=3.0)
    story = again(world, stuck=TOLD, drain_timeout_s=600)
    assert story.outcome == "done" and world.now < 400


def test_what_is_held_is_released() -> None:
    world = hanging("silent")
    world.start_up("x.timer")
    story = again(world, stuck=TOLD, hold=["x.timer"])
    assert story.outcome == "done" and story.held == [] and "x.timer" in world.holds()


def test_steps_that_fail_close_their_line() -> None:
    world = hanging("silent", deaf="kill", stop_limit=float("inf"))
    story = again(world, stuck=TOLD, stop_timeout_s=20)
    states: dict[str, list[str]] = {}
    for step in story.steps:
        assert isinstance(step, Step)
        states.setdefault(step.name, []).append(step.state)
    assert states["stop"][-1] == "failed"
