"""No question on the box takes longer than its own time, and nothing that an action does waits for one that is open.

The times are those given to the code, all far below those of whoever does not answer: that one goes on until nobody listens any more.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import box as onbox
from sovtui.onbox import deadline, effects, jobs, journal, load, logs, preflight, runs, services, survey, web
from sovtui.onbox.authority import Authority
from sovtui.onbox.names import kind_of
from sovtui.onbox.things import LoadProbe, Need, Probe, Unit
from sovtui.onbox.words import (
    ASKED,
    AskJobs,
    Call,
    Called,
    CheckRights,
    Drop,
    Dropped,
    Effect,
    Event,
    Explain,
    Explained,
    JobsTold,
    Look,
    Looked,
    Measure,
    Measured,
    Prove,
    Proved,
    Rights,
    Step,
    Tick,
    Wait,
    Weigh,
    Weighed,
)
from tests.onbox.dripping import KINDS, dripping
from tests.onbox.world import World, box, play, request

SHORT = 0.1
PATIENCE_SECONDS = 60.0


def until(true: Callable[[], object]) -> None:
    """Raises after a minute, however busy the machine."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


# -- an engine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_engine_that_never_ends_its_answer_is_silent_and_hung_up_on(kind: str) -> None:
    with dripping(kind) as server:
        answer = web.ask(Probe(server.url, True, "vllm", SHORT))
        assert (answer.models, answer.health, answer.silent, answer.alive) == (0, 0, True, False)
        assert server.left.wait(PATIENCE_SECONDS), "nobody goes on reading"


def test_every_way_to_ask_an_engine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads, a token, and what a configuration is made of."""
    monkeypatch.setattr(load, "SECONDS", SHORT)
    monkeypatch.setattr(survey, "SECONDS", SHORT)
    monkeypatch.setattr(onbox, "command", lambda *words: (127, "", ""))
    engines = ("vllm", "llamacpp", "ollama", "llamaswap", "litellm", "comfyui")
    with dripping("slow body") as server:
        told = load.weigh(Weigh(tuple(LoadProbe(name, name, server.url) for name in engines)))
        assert [one.mode for one in told.loads] == list(engines) and not any(one.known for one in told.loads)
        proved = load.prove(server.url, "m", SHORT)
        assert (proved.ok, proved.silent) == (False, True)
        port = int(server.url.rpartition(":")[2])
        assert survey.answering([{"address": "127.0.0.1", "port": port}], {port: ["/a", "/b", "/c"]}) == []


def test_a_name_that_nobody_resolves_is_no_longer_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *words, **more: never.wait())
    assert web.ask(Probe("http://box.example:1", False, "vllm", SHORT)).silent
    never.set()


# -- a command ---------------------------------------------------------------------------------------


def test_a_command_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """It drips, does not heed a polite end, and has a child that holds its output open."""
    pid = tmp_path / "pid"
    script = f"trap '' TERM; sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; while :; do echo x; sleep 0.05; done"
    code, out, err = onbox.command(["sh", "-c", script], 0.5)
    assert (code, out, err) == (124, "", "sh did not answer within 0.5 s")
    if pid.exists():  # on a busy machine it may have come to nothing
        until(lambda: not _runs(int(pid.read_text())))


def _runs(number: int) -> bool:
    """A dead child that nobody has asked after yet does not."""
    state = onbox.read(f"/proc/{number}/stat").rpartition(")")[2].split()
    return bool(state) and state[0] not in "ZX"


def test_a_child_that_nobody_may_kill_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sudo is."""
    real, groups = os.killpg, list[int]()

    def refuse(group: int, number: int) -> None:
        groups.append(group)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refuse)
    assert onbox.command(["sleep", "1000"], SHORT)[0] == 124
    for group in groups:
        real(group, 9)
    assert groups


def test_a_journal_that_hangs_or_never_ends_explains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, monkeyed = tmp_path / "journalctl", f"{tmp_path}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", monkeyed)
    monkeypatch.setattr(journal, "SECONDS", SHORT)
    monkeypatch.setattr(runs, "own_name", lambda service: kind_of(service)[1])
    for script in ("exec sleep 1000", """while :; do echo '{"MESSAGE":"x"}'; sleep 0.05; done"""):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert journal.recent("a.service", 0.0) == ([], "it did not answer within 0.1 s")
    told = list[dict[str, Any]]()  # the one that never ends
    monkeypatch.setattr(onbox, "say", lambda *lines: told.extend(lines))
    monkeypatch.setattr(onbox, "end_with_client", lambda: None)
    monkeypatch.setattr(logs, "SECONDS", SHORT)
    logs.logs({"service": "user:a.service"})
    assert [line["reason"] for line in told if line["t"] == "problem"] == [
        "its journal did not answer within 0.1 s: lines may be missing"
    ]


def test_a_part_of_a_look_at_a_machine_that_hangs_is_said_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that reads a file on a disk which does not answer."""
    never, told = threading.Event(), list[dict[str, Any]]()
    parts = ("_gpus", "_units", "_containers", "_ports", "_scripts")
    for name in parts:
        monkeypatch.setattr(survey, name, lambda *words: never.wait())
    monkeypatch.setattr(survey, "PART_SECONDS", SHORT / len(parts))
    monkeypatch.setattr(survey, "_machine", lambda: {"t": "machine"})
    monkeypatch.setattr(onbox, "end_with_client", lambda: None)
    monkeypatch.setattr(onbox, "say", lambda *lines: told.extend(lines))
    survey.survey({})
    never.set()
    assert [line["what"] for line in told if line.get("problem") == "it did not answer within 0.02 s"] == [
        "GPUs", "units", "containers", "listening ports", "switch scripts",
    ]  # fmt: skip


# -- questions within questions ----------------------------------------------------------------------


def test_what_is_part_of_a_question_has_no_more_time_than_that() -> None:
    never, raised, ran = threading.Event(), threading.Event(), threading.Event()

    def inner() -> None:
        with contextlib.suppress(TimeoutError):
            deadline.within(1000.0, never.wait)
        with pytest.raises(TimeoutError):
            deadline.within(1000.0, ran.set)
        raised.set()
        never.wait()

    with pytest.raises(TimeoutError, match=r"did not answer within 0\.1 s"):
        deadline.within(SHORT, inner)
    assert raised.wait(PATIENCE_SECONDS), "what is left to itself asks nothing more"
    assert not ran.is_set()
    never.set()


def test_what_goes_wrong_is_told_to_whoever_asks() -> None:
    with pytest.raises(KeyError):
        deadline.within(PATIENCE_SECONDS, lambda: os.environ["NO_SUCH_VARIABLE"])
    assert deadline.within(None, lambda: 7) == 7


# -- what a machine asks -----------------------------------------------------------------------------

QUESTIONS: list[tuple[Effect, Any, str, type[Event]]] = [
    (Look(("a.service",)), services, "units", Looked),
    (CheckRights((Need("stop", "a.service"),)), Authority, "missing", Rights),
    (AskJobs((Need("stop", "a.service"),)), jobs, "takes", JobsTold),
    (Measure(), onbox, "figures", Measured),
    (Drop(), Authority, "drop", Dropped),
    (Explain("a.service"), runs, "story", Explained),
    (Weigh(()), load, "weigh", Weighed),
    (Prove("http://x", timeout=SHORT), load, "prove", Proved),
    (Call("http://x", "/", timeout=SHORT), web, "full", Called),
]


def test_every_question_is_answered_in_time_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    late, returned = threading.Event(), list[None]()

    def hangs(*words: object, **more: object) -> None:
        late.wait()
        returned.append(None)

    monkeypatch.setattr(effects, "BEFORE", 0.0)
    monkeypatch.setattr(effects, "_SECONDS", dict.fromkeys(effects._SECONDS, SHORT))
    for _, of, name, _ in QUESTIONS:
        monkeypatch.setattr(of, name, hangs)
    asked = [(effects.Hands(request()), event) for _, _, _, event in QUESTIONS]
    for (hands, _), (effect, *_) in zip(asked, QUESTIONS, strict=True):
        hands.perform(effect)
    for hands, event in asked:
        told = hands.take()
        assert isinstance(told, event)
        if isinstance(told, (Looked, JobsTold, Explained, Dropped)):
            assert told.reason == "it did not answer within 0.1 s"
        if isinstance(told, Rights):
            assert told.missing == ("rights cannot be checked: it did not answer within 0.1 s",)
    late.set()
    until(lambda: len(returned) == len(asked))
    for hands, _ in asked:
        hands.perform(Wait(0.1))
    for hands, event in asked:
        assert isinstance(hands.take(), Tick), f"no second answer: {event}"


def test_a_dripping_engine_is_waited_for_no_longer_than_the_step_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "units", lambda names: (tuple(Unit(name, "active") for name in names), ""))
    with dripping("slow body") as server:
        hands = effects.Hands(request())
        hands.perform(Look(("a.service",), (Probe(server.url, True, "vllm", 1000.0),), SHORT))
        told = hands.take()
    assert isinstance(told, Looked) and told.unit("a.service").active == "active"
    assert told.answer(server.url).silent and not told.reason


def test_an_answer_to_a_question_that_was_left_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    late, returned = threading.Event(), threading.Event()

    def figures() -> tuple[tuple[str, float], ...]:
        late.wait()
        returned.set()
        return ()

    monkeypatch.setattr(onbox, "figures", figures)
    hands = effects.Hands(request())
    hands.perform(Measure())
    hands.perform(Wait(0.0))
    late.set()
    assert returned.wait(PATIENCE_SECONDS)
    assert isinstance(hands.take(), Tick)
    hands.perform(Wait(0.1))
    assert isinstance(hands.take(), Tick)


# -- the machines ------------------------------------------------------------------------------------


class Hanging(World):
    """A box on which one question is never answered."""

    hangs = False

    def perform(self, effect: Effect, post: Callable[[Event], None]) -> None:
        if self.hangs and isinstance(effect, ASKED):
            self.hangs = False
            return
        super().perform(effect, post)


def hanging(**fates: str) -> Hanging:
    made = box(**fates)
    made.__class__ = Hanging
    assert isinstance(made, Hanging)
    made.services["a.service"].requests = 3.0
    return made


YES = {"busy": True, "not_fitting": True, "takes": True}


@pytest.mark.parametrize(
    "at", ["preflight", "hold", "drain", "stop", "gone", "memory", "drop-caches", "start", "ready", "verify"]
)
def test_a_cancel_does_not_wait_for_what_is_being_asked(at: str) -> None:
    world = hanging()
    wish = request(consent=YES, hold=["x.timer"], drain_timeout_s=30)
    world.start_up("x.timer")

    def hang(step: Step, _: World) -> None:
        world.hangs = world.hangs or step.name == at

    story = play(world, wish, cancel_at=at, on_step=hang)
    assert story.outcome == "cancelled", story.reason
    assert "a.service" in world.holds() and "b.service" not in world.holds() and not story.held


@pytest.mark.parametrize("kind", ["backup", "restart", "drop-caches"])
def test_a_cancel_of_a_smaller_action_does_not_either(kind: str) -> None:
    world = hanging()
    plan: dict[str, Any] = {} if kind == "drop-caches" else {"service": "job.service"}
    wish = request(kind, modes=[], floor=[], **plan)

    def hang(step: Step, _: World) -> None:
        world.hangs = True

    story = play(world, wish, cancel_at="preflight", on_step=hang)
    assert story.outcome == "cancelled" and "before anything was changed" in story.reason
    assert world.commands == [] and world.drops == 0


def test_a_cancel_stops_a_backup_though_its_unit_cannot_be_looked_at() -> None:
    world = hanging()
    wish = request("backup", modes=[], floor=[], service="job.service")

    def hang(step: Step, _: World) -> None:
        world.hangs = step.name == "backup" and not world.commands

    story = play(world, wish, cancel_at="backup", on_step=hang)
    assert story.outcome == "cancelled" and ("stop", "job.service") in world.commands


def test_readiness_is_given_up_at_its_time_and_engines_are_asked_no_longer_than_that() -> None:
    world = box(b="hang")
    story = play(world, request(consent=YES, ready_timeout_s=30))
    assert story.outcome == "rolled-back" and "was not ready within 30 s" in story.reason
    limits = [look.seconds for look in world.looks if any(probe.url == "http://x:2" for probe in look.probes) and look.seconds]
    assert limits and max(limits) <= 30 and min(limits) < 1, "less and less"


def test_one_that_says_nothing_any_more_while_it_drains_has_not_ended_its_work() -> None:
    world = box()
    world.services["a.service"].requests = 3.0
    seen: list[float | None] = []
    real = world.weighed

    def weighed(weigh: Weigh) -> Weighed:
        seen.append(weigh.seconds)
        return Weighed(world.now) if len(seen) > 1 else real(weigh)

    world.weighed = weighed  # type: ignore[method-assign]
    story = play(world, request(consent=YES, drain_timeout_s=30))
    drain = next(step for step in story.steps if step.name == "drain" and step.state == "done")
    assert drain.detail == "3 requests remain after 30 s: cut off" and drain.seconds and drain.seconds >= 30
    assert all(seconds is not None and seconds <= 30 for seconds in seen[1:])
    assert len(seen) > preflight.DRAINED
