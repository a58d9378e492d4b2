"""The owner's own command is watched while it runs: a dead engine, another mode that comes back, a restart loop end it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sovtui.onbox.words import Command, CommandEnded, Event
from tests.onbox.world import Service, Story, World, box, play, request

WAITS = 600.0
"""So long the script waits for its engine to be ready."""


def oom(world: World, s: Service) -> None:
    world.die(s, "failed")
    s.result = "oom-kill"


def killed(world: World, s: Service) -> None:
    world.die(s, "inactive")
    s.result = "signal"


def failed(world: World, s: Service) -> None:
    world.die(s, "failed")


def looped(world: World, s: Service) -> None:
    world.die(s, "failed")
    s.active, s.sub, s.restarts = "activating", "auto-restart", s.restarts + 1


def ended(world: World, s: Service) -> None:
    world.die(s, "inactive")


def waits(do: Callable[[World, Service], None], at: float = 10.0) -> Callable[[World, Command, Callable[[Event], None]], None]:
    """Stops the others, starts its own, and waits; meanwhile something happens to what it has started."""

    def script(world: World, command: Command, post: Callable[[Event], None]) -> None:
        begun, s = len(world.scripts), world.services[command.argv[-1] + ".service"]
        s.load_seconds = 2 * WAITS

        def unless_killed(what: Callable[[], object]) -> Callable[[], None]:
            return lambda: None if world.halted >= begun else (what(), None)[1]

        def stop() -> None:
            for other in world.services.values():
                if other.name in ("a.service", "b.service") and other is not s:
                    world._stopped(other)

        world.at(1.0, unless_killed(stop))
        world.at(3.0, unless_killed(lambda: world.begin(s)))
        world.at(3.0 + at, unless_killed(lambda: do(world, s)))
        world.at(WAITS, unless_killed(lambda: post(CommandEnded(world.now, False, "ended with 1"))))

    return script


def own(world: World, *, first: str = "") -> Story:
    modes = [
        {"name": "a", "services": ["a.service"], "url": "http://x:1", "engine": "vllm", "model": "model-a"},
        {"name": "b", "services": ["b.service"], "url": "http://x:2", "engine": "sglang", "model": "model-b"},
    ]
    modes[1]["switch"] = ["/s.sh", "b"]
    if first:
        modes[0]["switch"] = ["/s.sh", "a"]
    return play(world, request(modes=modes))


@pytest.mark.parametrize("do", [oom, killed, failed, looped, ended])
def test_a_dead_engine_ends_the_wait_and_the_script(do: Callable[[World, Service], None]) -> None:
    world = box()
    world.script = waits(do)
    began = world.now
    story = own(world)
    assert story.outcome == "rolled-back"
    assert "b.service" in story.reason and "while b's own command was still at work" in story.reason
    assert "No available memory" in story.reason, "the engine's own log tells why"
    assert world.halted == 1
    assert world.holds() == ["a.service", "floor.service"]
    assert world.now - began < 60, "nothing is waited for that cannot come"


def test_one_that_died_so_fast_that_it_was_never_seen_to_run() -> None:
    world = box()
    world.services["b.service"].active = "failed"

    def dies(world: World, s: Service) -> None:
        world.die(s, "failed")
        s.since = world.now

    world.script = waits(dies, at=0.0)
    story = own(world)
    assert story.outcome == "rolled-back"
    assert "b.service failed" in story.reason
    assert world.halted == 1


def test_a_script_may_try_again() -> None:
    world = box()

    def again(world: World, s: Service) -> None:
        world.die(s, "failed")
        s.load_seconds = 4.0
        world.at(5.0, lambda: world.begin(s))

    inner = waits(again)

    def script(world: World, command: Command, post: Callable[[Event], None]) -> None:
        inner(world, command, post)
        world.at(30.0, lambda: post(CommandEnded(world.now, True)))

    world.script = script
    assert own(world).outcome == "done"


def test_what_ran_before_may_be_stopped_by_the_script_as_long_as_it_likes() -> None:
    """A script that stops its own old engine, frees memory for minutes, and starts it again."""
    world = box()
    world.start_up("b.service")
    world.services["b.service"].ids = ("something else",)

    def script(world: World, command: Command, post: Callable[[Event], None]) -> None:
        s = world.services["b.service"]
        s.ids = ("model-b",)
        world.at(1.0, lambda: failed(world, s))
        world.at(1.0, lambda: world._stopped(world.services["a.service"]))
        world.at(120.0, lambda: world.begin(s))
        world.at(130.0, lambda: post(CommandEnded(world.now, True)))

    world.script = script
    assert own(world).outcome == "done"


def test_another_mode_that_comes_back_beside_the_new_one_ends_it() -> None:
    world = box()
    world.script = waits(lambda world, _: world.begin(world.services["a.service"]))
    story = own(world)
    assert story.outcome == "rolled-back"
    assert "a.service came back while b was loading" in story.reason
    assert world.halted == 1
    assert world.holds() == ["a.service", "floor.service"]


def test_a_dead_engine_on_the_way_back_by_a_script_is_told_at_once() -> None:
    world = box()
    world.script = waits(oom)
    began = world.now
    story = own(world, first="a")
    assert story.outcome == "rollback-failed"
    assert "a.service was killed for lack of memory" in story.reason
    assert "No mode is hot now" in story.reason
    assert world.now - began < 120
