"""What cancelling would do is said before it is done: held against the machines that do it, at every step of every action."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from sovtui.actions import all_specs
from sovtui.actions.cancel import outlook
from sovtui.actions.spec import Verdict, Where, Wish
from sovtui.core.events import CancelAsked
from sovtui.core.model import ActionRun, Step
from sovtui.core.modes import hot_modes
from sovtui.core.state import State, reduce
from sovtui.demo.feed import PICTURE_TIME, Feed, stage_of

HOST = "spark"
STEP_SECONDS = 0.25
LONGEST_SECONDS = 900.0


@dataclass(frozen=True)
class Told:
    """An action that was cancelled as soon as it had come so far."""

    steps: tuple[str, ...]
    refused: str
    reason: str
    ended: ActionRun
    hot: tuple[str, ...]


def play(action: str, target: str, count: int, *, rollback: bool = True) -> Told | None:
    """Cancel it once its receipt has `count` steps; None if it never has so many."""
    feed = stage_of("spark", "healthy", PICTURE_TIME)
    feed.world.release_requests()
    feed.pull()
    config = feed.world.estate.config
    settings = config.host[HOST]
    settings = replace(settings, switch=replace(settings.switch, rollback=rollback))
    config = replace(config, host={**config.host, HOST: settings})
    made = all_specs()[action].plan(feed.state, config, Wish(HOST, target))
    assert made.request, made.reason
    feed.stage.start(HOST, made.request, "me")
    run, waited = running(feed), 0.0
    while len(run.steps) < count:
        if not run.running or waited > LONGEST_SECONDS:
            return None
        feed.stage.advance(STEP_SECONDS)
        waited += STEP_SECONDS
        run = running(feed)
    seen = outlook(run, feed.state.hosts[HOST].spec, rollback=rollback)
    steps = tuple(step.name for step in run.steps)
    feed.stage.cancel(HOST, run.id)
    while run.running:
        feed.stage.advance(2.0)
        run = running(feed)
    feed.stage.advance(30.0)
    feed.pull()
    hot = tuple(mode.name for mode in hot_modes(feed.state.hosts[HOST]))
    return Told(steps, seen.refused, seen.reason, run, hot)


def running(feed: Feed) -> ActionRun:
    run = feed.stage.current(HOST)
    assert run is not None
    return run


@pytest.mark.parametrize("rollback", [True, False], ids=["rollback", "no rollback"])
def test_a_switch_does_what_was_said(rollback: bool) -> None:
    seen: dict[str, Told] = {}
    for count in range(1, 12):
        told = play("switch", "mistral", count, rollback=rollback)
        if told is None:
            break
        seen[told.steps[-1]] = told
        if told.refused:
            continue
        assert told.ended.outcome == "cancelled", told.steps
        if "nothing will be" in told.reason:
            assert told.hot == ("qwen",) and "before anything was changed" in told.ended.reason
        elif rollback:
            assert "Qwen 3.6 PrismaQuant is brought back" in told.reason and told.hot == ("qwen",)
        else:
            assert "no mode will be loaded" in told.reason and told.hot == ()
    assert {"stop", "start", "ready"} <= set(seen)


def test_from_nothing_nothing_is_brought_back() -> None:
    told = play("switch", "none", 2)
    assert told is not None and "Qwen 3.6 PrismaQuant is brought back" in told.reason and told.hot == ("qwen",)


@pytest.mark.parametrize(
    ("action", "target", "word"),
    [("backup", "local", "stopped before its end"), ("drop-caches", "", ""), ("restart", "container:open-webui", "")],
)
def test_a_smaller_action_does_what_was_said(action: str, target: str, word: str) -> None:
    """Where its machine does not stop any more, that is said, and cancelling changes nothing."""
    told = play(action, target, 2)
    assert told is not None
    if word:
        assert word in told.reason and told.ended.outcome == "cancelled"
    else:
        assert "cannot be taken back" in told.refused and told.ended.outcome == "done"


@pytest.mark.parametrize("kind", ["switch", "backup", "restart"])
def test_what_only_starts_again_what_went_down_is_not_cancelled(kind: str) -> None:
    feed = stage_of("spark", "switching", PICTURE_TIME)
    feed.pull()
    host = feed.state.hosts[HOST]
    assert host.action is not None
    names = ("preflight", "verify" if kind == "switch" else kind, "bring-back")
    steps = tuple(Step(name, "running" if name == "bring-back" else "done", PICTURE_TIME) for name in names)
    told = outlook(replace(host.action, kind=kind, steps=steps), host.spec, rollback=True)
    assert "done but for what is started again" in told.refused and not told.reason


def test_it_is_offered_only_while_something_runs_and_asked_only_once() -> None:
    feed = stage_of("spark", "switching", PICTURE_TIME)
    feed.pull()
    spec, config = all_specs()["cancel"], feed.world.estate.config
    host = feed.state.hosts[HOST]
    assert host.action is not None and spec.targets is not None
    assert spec.targets(host) == (host.action.id,)
    made = spec.plan(feed.state, config, Wish(HOST))
    assert made.verdict is Verdict.ASK and made.where is Where.RUNNING and made.wish.target == host.action.id
    assert made.title == "Cancel switch mistral on spark"
    asked = reduce(feed.state, CancelAsked(HOST, host.action.id))
    assert spec.plan(asked, config, Wish(HOST)).verdict is Verdict.NO
    ended: State = replace(
        feed.state, hosts={**feed.state.hosts, HOST: replace(host, action=replace(host.action, outcome="done", seconds=3.0))}
    )
    assert spec.targets(ended.hosts[HOST]) == ()
    assert spec.plan(ended, config, Wish(HOST)).verdict is Verdict.NO
    assert spec.plan(replace(feed.state, read_only=True), config, Wish(HOST)).verdict is Verdict.NO
    assert spec.plan(feed.state, config, Wish("nowhere")).exit_code == 2
