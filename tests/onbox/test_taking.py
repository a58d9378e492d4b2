"""What a job takes along: refused for the floor, asked about, brought back; and modes that no service could stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sovtui.onbox import jobs
from sovtui.onbox.names import BadRequest
from sovtui.onbox.plan import Consent
from sovtui.onbox.things import Need
from tests.onbox.world import Service, Story, World, box, play, request

YES = {"takes": True}
AGENT = "agent.service"


def with_agent(*more: Service, **near: tuple[str, ...]) -> World:
    """Mode a is hot, and an agent runs that goes with it as its unit says."""
    world = box()
    for one in (Service(AGENT, near=near), *more):
        world.services[one.name] = one
    return world.start_up(AGENT)


GOES = {
    "it needs the engine": {"Requires": ("a.service",)},
    "it is bound to the engine": {"BindsTo": ("a.service",)},
    "it is part of the engine": {"PartOf": ("a.service",)},
    "its stop comes from the engine's": {"StopPropagatedFrom": ("a.service",)},
    "it cannot be beside the new mode": {"Conflicts": ("b.service",)},
}


@pytest.mark.parametrize("near", GOES.values(), ids=GOES)
def test_what_goes_along_is_asked_about_and_comes_back_with_its_mode(near: dict[str, tuple[str, ...]]) -> None:
    world = with_agent(**near)
    story = play(world, request())
    assert (story.outcome, story.end and story.end.exit, story.end and story.end.asks) == (
        "refused",
        4,
        Consent(takes=(f"stop {AGENT}",)),
    )
    assert f"also stops {AGENT}" in story.reason
    assert world.commands == [], "nothing was touched"
    assert story.owed == {}

    there = play(world, request(consent=YES))
    assert there.outcome == "done"
    assert AGENT not in world.holds()
    assert there.owed == {AGENT: "a"}

    back = play(world, replace(request(to="a", consent=YES), owed=tuple(there.owed)))
    assert back.outcome == "done"
    assert AGENT in world.holds()
    assert "bring-back" in back.names()


@pytest.mark.parametrize("near", GOES.values(), ids=GOES)
def test_what_goes_along_comes_back_on_the_way_back(near: dict[str, tuple[str, ...]]) -> None:
    world = with_agent(**near)
    world.services["b.service"].fate = "fail"
    story = play(world, request(consent=YES))
    assert story.outcome == "rolled-back"
    assert world.holds() == ["a.service", "floor.service", AGENT]
    assert story.owed == {}


@pytest.mark.parametrize("near", GOES.values(), ids=GOES)
def test_one_of_the_floor_never_goes_along(near: dict[str, tuple[str, ...]]) -> None:
    world = with_agent(**near)
    story = play(world, request(consent=YES, floor=["floor.service", AGENT]))
    assert story.outcome == "failed"
    assert f"{AGENT} must always run" in story.reason
    assert world.commands == []


def test_a_floor_that_would_go_only_on_the_way_back_is_refused_too() -> None:
    world = with_agent(PartOf=("b.service",))
    story = play(world, request(consent=YES, floor=["floor.service", AGENT]))
    assert story.outcome == "failed"
    assert "stopping b.service also stops" in story.reason
    assert world.commands == []


def test_what_goes_only_on_the_way_back_is_named_so() -> None:
    story = play(with_agent(PartOf=("b.service",)), request())
    assert story.reason.startswith(f"should it fail, stopping b.service also stops {AGENT}")


def test_through_another_and_one_that_nobody_needs_any_more() -> None:
    world = with_agent(
        Service("middle.service", near={"Requires": ("a.service",)}),
        Service("store.service", unneeded=True),
        Requires=("middle.service",),
    )
    world.services["a.service"].near = {"Wants": ("store.service",)}
    world.start_up("store.service")
    assert "agent.service" not in play(world, request()).reason, "what does not run carries nothing on"
    world.start_up("middle.service")
    story = play(world, request())
    assert f"stopping a.service also stops middle.service, {AGENT} and store.service" in story.reason


def test_what_may_not_be_started_again_is_said_before() -> None:
    world = with_agent(PartOf=("a.service",))
    world.lacking = (AGENT,)
    assert f"there is no right to start {AGENT} again" in play(world, request()).reason


def test_what_does_not_come_back_is_a_warning_and_stays_owed() -> None:
    world = with_agent(PartOf=("a.service",))
    there = play(world, request(consent=YES))
    world.services[AGENT].fate = "refuse-start"
    back = play(world, replace(request(to="a"), owed=tuple(there.owed)))
    assert (back.outcome, back.end and back.end.exit) == ("warned", 5)
    assert f"{AGENT} was stopped too and does not run again: Access denied" in back.reason


@pytest.mark.parametrize(("seconds", "fate", "outcome"), [(20.0, "", "done"), (5.0, "fail", "warned"), (600.0, "", "warned")])
def test_what_still_starts_is_not_told_to_run(seconds: float, fate: str, outcome: str) -> None:
    world = with_agent(PartOf=("a.service",))
    there = play(world, request(consent=YES))
    agent = world.services[AGENT]
    agent.notify, agent.load_seconds, agent.fate = True, seconds, fate
    back = play(world, replace(request(to="a"), owed=tuple(there.owed)))
    assert back.outcome == outcome, back.reason
    assert outcome != "done" or agent.active == "active", "it was waited for"
    assert seconds < 600 or f"{AGENT} was stopped too and does not run again: it still starts after" in back.reason


def test_what_would_start_another_mode_is_not_brought_back() -> None:
    world = box()
    world.services[AGENT] = Service(AGENT, near={"Requires": ("b.service",)})
    story = play(world, replace(request(to="a"), owed=(AGENT,)))
    assert story.outcome == "done"  # a is hot already: nothing is done at all
    world.die(world.services["a.service"], "inactive")
    story = play(world, replace(request(to="a"), owed=(AGENT,)))
    assert story.outcome == "warned"
    assert "that also starts b.service" in story.reason
    assert world.holds() == ["a.service", "floor.service"]


def test_what_goes_with_a_mode_that_was_only_starting_is_owed_to_that_one() -> None:
    world = with_agent(PartOf=("a.service",))
    world.services["a.service"].active = "deactivating"
    assert play(world, request(consent=YES)).owed == {AGENT: "a"}


def test_what_cannot_be_started_any_more_is_told_once() -> None:
    world = with_agent(PartOf=("a.service",))
    there = play(world, request(consent=YES))
    world.services[AGENT].load = "masked"
    back = play(world, replace(request(to="a"), owed=tuple(there.owed)))
    assert (back.outcome, back.owed) == ("warned", {})
    assert f"unit {AGENT} is masked" in back.reason


def test_a_start_that_brings_another_mode_with_it_is_refused() -> None:
    world = box()
    world.services["b.service"].near = {"Wants": ("a.service",)}
    story = play(world, request())
    assert story.outcome == "failed"
    assert "starting b.service also starts a.service of a" in story.reason
    assert world.commands == []


def test_one_that_upholds_what_is_stopped_is_refused() -> None:
    world = with_agent(Upholds=("a.service",))
    story = play(world, request())
    assert story.outcome == "failed"
    assert "agent.service upholds a.service" in story.reason
    story = play(world, request(hold=[AGENT]))  # held, it would start the other mode again when it is released
    assert story.outcome == "failed"
    assert "starting agent.service also starts a.service of a" in story.reason
    assert world.commands == []


def test_a_shared_service_that_goes_along_is_started_again() -> None:
    world = box()
    world.die(world.services["a.service"], "inactive")
    world.services["b.service"].near = {"PartOf": ("c.service",)}
    world.start_up("b.service").start_up("c.service")
    story = play(world, request(to="b"))
    assert story.outcome == "done"
    assert world.commands == [("stop", "c.service"), ("start", "b.service")]
    assert world.holds() == ["b.service", "floor.service"]


# -- smaller actions ---------------------------------------------------------------------------------


def chore(world: World, kind: str, service: str, consent: dict[str, bool] | None = None, **plan: Any) -> Story:
    return play(world, request(kind, consent=consent, service=service, **plan))


@pytest.mark.parametrize("near", list(GOES.values())[:3], ids=list(GOES)[:3])
def test_a_restart_that_starts_others_anew_is_asked_about(near: dict[str, tuple[str, ...]]) -> None:
    world = with_agent(**near)
    story = chore(world, "restart", "a.service")
    assert (story.outcome, story.end and story.end.asks) == ("refused", Consent(takes=(f"restart {AGENT}",)))
    assert f"restarting a.service also restarts {AGENT}" in story.reason
    story = chore(world, "restart", "a.service", YES)
    assert story.outcome == "done"
    assert AGENT in world.holds()
    story = chore(world, "restart", "a.service", YES, floor=[AGENT])
    assert story.outcome == "failed"
    assert f"{AGENT} must always run" in story.reason


def test_what_a_backup_stops_is_asked_about_and_runs_again_after_it() -> None:
    world = box()
    world.services["job.service"].lines = []
    world.services["job.service"].near = {"Conflicts": ("a.service",)}
    story = chore(world, "backup", "job.service")
    assert (story.outcome, world.commands) == ("refused", [])
    assert "starting job.service also stops a.service" in story.reason
    story = chore(world, "backup", "job.service", YES)
    assert story.outcome == "done"
    assert "a.service" in world.holds()
    assert story.names()[-1] == "bring-back"


# -- modes without services --------------------------------------------------------------------------

LOOSE = {"name": "hand", "url": "http://x:3", "engine": "vllm", "model": "model-h"}


def by_hand(**more: object) -> tuple[World, dict[str, Any]]:
    """An engine that somebody has started by hand is known as a mode without services."""
    world = box()
    world.services["hand"] = Service("hand", url="http://x:3", ids=("model-h",))
    world.start_up("hand")
    modes = [
        {"name": "a", "services": ["a.service"], "url": "http://x:1", "engine": "vllm", "model": "model-a"},
        {"name": "b", "services": ["b.service"], "url": "http://x:2", "engine": "sglang", "model": "model-b"},
        {**LOOSE, **more},
    ]
    return world, {"modes": modes}


@pytest.mark.parametrize("to", ["b", "none"])
def test_a_mode_that_nothing_here_can_stop_is_refused(to: str) -> None:
    world, plan = by_hand()
    story = play(world, request(to=to, **plan))
    assert (story.outcome, story.end and story.end.exit, story.end and story.end.asks) == ("refused", 4, None)
    assert "hand (http://x:3) runs too and has no `services` that could be stopped" in story.reason
    assert world.commands == []


def test_nothing_is_hot_is_not_said_while_one_without_services_is() -> None:
    world, plan = by_hand()
    world.die(world.services["a.service"], "inactive")
    assert play(world, request(to="none", **plan)).outcome == "refused"
    assert play(world, request(to="none", **{**plan, "modes": plan["modes"][:2]})).outcome == "done"


def _up(world: World) -> None:
    world.start_up("hand")


def test_one_that_comes_up_meanwhile_is_a_check_that_does_not_hold() -> None:
    world, plan = by_hand()
    world.die(world.services["hand"], "inactive")
    world.at(9.0, lambda: _up(world))
    story = play(world, request(**plan))
    assert (story.outcome, story.end and story.end.exit) == ("warned", 5)
    assert "hand (http://x:3) runs too" in story.reason
    assert not any("exactly one" in step.detail for step in story.steps)


def test_already_hot_beside_one_without_services() -> None:
    world, plan = by_hand()
    story = play(world, request(to="a", **plan))
    assert (story.outcome, story.end and story.end.exit) == ("warned", 5)


def test_one_of_which_nothing_is_seen_is_told() -> None:
    world, plan = by_hand(engine="")
    story = play(world, request(**plan))
    assert story.outcome == "done"
    assert any("nothing tells whether hand runs" in step.detail for step in story.steps)


# -- the relations -----------------------------------------------------------------------------------


def test_aliases_and_names_of_the_configuration() -> None:
    facts = {
        "eng.service": jobs.Facts("eng.service", "active", False, {"BoundBy": ("real.service",)}),
        "alias.service": jobs.Facts("real.service", "active", False, {}),
        "real.service": jobs.Facts("real.service", "active", False, {}),
    }
    found = jobs.closure([Need("stop", "eng")], ["alias"], lambda units: [facts[x] for x in units])
    assert [(x.service, x.verb, x.job, x.by) for x in found] == [("alias", "stop", "stop", "eng")]


@pytest.mark.parametrize(("version", "verb"), [(252, ""), (257, "stop")])
def test_what_a_restart_stops_for_good_depends_on_the_version(version: int, verb: str) -> None:
    facts = {
        "eng.service": jobs.Facts("eng.service", "active", False, {"PropagatesStopTo": ("x.service",)}),
        "x.service": jobs.Facts("x.service", "active", False, {}),
    }
    found = jobs.closure([Need("restart", "eng.service")], [], lambda units: [facts[x] for x in units], version)
    assert [x.verb for x in found] == ([verb] if verb else [])


@pytest.mark.parametrize("step", ["stop", "gone", "memory", "drop-caches", "start", "ready", "verify"])
def test_cancelled_at_every_step_it_comes_back_too(step: str) -> None:
    world = with_agent(PartOf=("a.service",))
    story = play(world, request(consent=YES), cancel_at=step)
    assert story.outcome == "cancelled"
    assert world.holds() == ["a.service", "floor.service", AGENT]
    assert story.owed == {}


def test_killed_after_every_event_it_is_owed_or_runs() -> None:
    events = play(with_agent(PartOf=("a.service",)), request(consent=YES)).events
    for count in range(events):
        world = with_agent(PartOf=("a.service",))
        story = play(world, request(consent=YES), kill_after=count)
        assert AGENT in world.holds() or story.owed == {AGENT: "a"}, count


# -- what was agreed to, and nothing else ----------------------------------------------------------


def test_a_yes_to_what_was_named_is_none_to_what_has_come_since() -> None:
    """The units on the box, and what engines work on, are others when the answer comes."""
    world = with_agent(Requires=("a.service",))
    world.services["a.service"].requests = 2.0
    first = play(world, request())
    assert first.end and first.end.asks == Consent(busy=("a",), takes=(f"stop {AGENT}",))
    named = first.end.asks.told()
    world.services["new.service"] = Service("new.service", near={"BindsTo": ("a.service",)})
    world.start_up("new.service")
    second = play(world, request(consent=named))
    assert (second.outcome, world.commands) == ("refused", [])
    assert "new.service" in second.reason and "busy" not in second.reason, "of what is known nobody asks again"
    assert second.end and second.end.asks == Consent(takes=(f"stop {AGENT}", "stop new.service"))
    assert play(world, request(consent={**named, **second.end.asks.told()})).outcome == "done"


def test_a_yes_to_one_mode_that_is_busy_is_none_to_another() -> None:
    world = box().start_up("b.service")
    for name in ("a.service", "b.service"):
        world.services[name].requests = 2.0
    story = play(world, request(to="none", consent={"busy": ["a"]}))
    assert story.end and story.end.asks == Consent(busy=("a", "b")) and world.commands == []
    assert play(world, request(to="none", consent={"busy": ["a", "b"]})).outcome == "done"


@pytest.mark.parametrize("wrong", [{"busy": "a"}, {"takes": [7]}, {"takes": ["x\n"]}, {"stuck": ["a"]}, {"busy": ["a"] * 2001}])
def test_a_consent_that_is_not_understood_is_refused(wrong: Any) -> None:
    with pytest.raises(BadRequest):
        request(consent=wrong)
