"""A start that ends well is not a run: what systemd and its journal tell of runs, and what actions make of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sovtui.onbox import box as machine_box
from sovtui.onbox import records, runs, services
from sovtui.onbox.authority import Authority
from tests.onbox.world import World, box, play, request

NOPE = "of an unmet condition check (ConditionPathExists=/nope)"


def backed_up(**how: Any) -> tuple[str, str]:
    world = box()
    job = world.services["job.service"]
    job.lines = []
    for name, value in how.items():
        setattr(job, name, value)
    story = play(world, request("backup", to="nas", service="job.service"))
    assert story.end and story.end.exit == {"done": 0, "warned": 5}.get(story.outcome, 1)
    assert ("backup", "done") not in [(s.name, s.state) for s in story.steps] or story.outcome == "done"
    return story.outcome, story.reason


def test_a_backup_that_systemd_skipped_is_none() -> None:
    assert backed_up(skips=NOPE) == ("skipped", f"skipped, because {NOPE}")
    assert backed_up(skips=NOPE, runs=1) == ("skipped", f"skipped, because {NOPE}"), "the run before is not this one"
    kept = backed_up(skips="kept")
    assert kept == ("skipped", "skipped, because ConditionPathExists=/nope was not met"), "without any word of the journal"
    failed = backed_up(skips=NOPE, active="failed", result="exit-code", runs=1)
    assert failed == ("skipped", f"skipped, because {NOPE}"), "that the run before failed is not told of this start"


def test_a_backup_that_is_active_already_is_not_started_again() -> None:
    outcome, reason = backed_up(active="active", sub="exited", runs=1)
    assert outcome == "skipped" and "RemainAfterExit" in reason and "runs already" not in reason


def test_a_backup_that_stays_active_after_its_end_has_ended() -> None:
    def stays(world: World) -> None:
        job.active, job.sub = ("active", "exited") if job.runs and not job.procs else (job.active, job.sub)

    world = box()
    job = world.services["job.service"]
    job.lines = []
    world.watch = lambda: stays(world)
    story = play(world, request("backup", to="nas", service="job.service"))
    assert (story.outcome, story.reason) == ("done", "job.service ended well after 3.5 s")


def test_a_backup_without_a_record_is_proved_by_what_was_seen_or_by_the_journal() -> None:
    assert backed_up(forgotten=True)[0] == "done", "it was seen while it ran"
    assert backed_up(skips="mute", told=True)[0] == "done", "its journal tells of the run"
    outcome, reason = backed_up(skips="mute")
    assert outcome == "warned" and "not known" in reason and "keeps no record" in reason
    outcome, reason = backed_up(skips="mute", runs=1)
    assert outcome == "skipped" and "no new run" in reason, "systemd has a record, and it is the old one"


def test_a_job_merged_into_a_run_of_somebody_else_is_not_ours() -> None:
    world = box()
    job = world.services["job.service"]
    job.lines = []

    def meanwhile() -> None:
        """Its timer fires just after our look, before our command."""
        if world.now > 100.07 and not job.runs:
            world.begin(job)
            world.at(3.0, lambda: world.die(job, "inactive"))

    world.watch = meanwhile
    story = play(world, request("backup", to="nas", service="job.service"))
    assert story.outcome == "skipped" and "somebody else had started it" in story.reason, story.reason


def test_a_restart_that_systemd_skipped_says_that_it_is_down() -> None:
    world = box()
    world.services["a.service"].skips = NOPE
    story = play(world, request("restart", to="a", service="a.service"))
    assert story.outcome == "skipped"
    assert story.reason == f"skipped, because {NOPE}; a.service was stopped and does not run now"


def test_a_restart_of_a_oneshot_that_ended_well_is_done() -> None:
    world = box(a="exit0")
    world.services["a.service"].oneshot = True
    assert play(world, request("restart", to="a", service="a.service")).outcome == "done"


def test_a_mode_whose_unit_was_skipped_is_rolled_back_with_the_reason() -> None:
    world = box()
    world.services["b.service"].skips = NOPE
    story = play(world, request())
    assert story.outcome == "rolled-back" and f"b.service was skipped, because {NOPE}" in story.reason, story.reason
    assert world.holds() == ["a.service", "floor.service"]


ENTRY = {"at": 0.0, "run": "", "id": "", "job": "", "result": "", "text": "", "pid": "1", "comm": "systemd"}


def entries(*of: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**ENTRY, "at": float(i), **one} for i, one in enumerate(of, 1)]


def test_the_journal_tells_runs_from_skips() -> None:
    """Entries as systemd 252 writes them, and where it has changed since, 257."""
    begun = {"id": runs._STARTING, "job": "start", "run": "one", "text": "Starting x.service..."}
    over = {"id": runs._DONE, "job": "start", "result": "done", "run": "one", "text": "Finished x.service."}
    unmet = {**over, "text": f"x.service was skipped because {NOPE}."}
    again = [{**begun, "run": "two"}, {"id": runs._SKIPPED, "run": "two", "text": "x.service: Skipped due to 'exec-condition'."}]
    again.append({**over, "run": "two", "text": "Condition check resulted in x.service being skipped."})
    failed = [{**begun, "run": "three"}, {"id": runs._NOT_DONE, "job": "start", "result": "failed", "run": "three"}]
    asserted = {"id": runs._NOT_DONE, "job": "start", "result": "assert", "text": "Assertion failed for x.service."}

    def told(*of: dict[str, Any], oneshot: bool = True) -> tuple[bool | None, str, float | None]:
        story = runs.told(entries(*of), oneshot)
        return story.ran, story.skipped, story.ended

    assert told() == (None, "", None)
    assert told(begun, over) == (True, "", 2.0)
    assert told(begun, over, unmet) == (False, NOPE, 2.0), "with the number of the run before"
    assert told({**unmet, "run": ""}) == (False, NOPE, None)
    newer = {**over, "text": "x, or skipped, y was skipped because z skipped, unmet condition check ConditionPathExists=/nope"}
    assert told(begun, over, newer) == told(begun, over, unmet) and told(newer) == told(unmet), (
        "systemd 257, and a hostile description"
    )
    none = {**over, "text": "x.service skipped, no trigger condition checks were met."}
    assert told(none) == (False, "no trigger condition checks were met", None)
    assert told(over) == (True, "", 1.0), "a start that was not announced, as that of a simple service"
    assert told(unmet) == (False, NOPE, None), "the run before is too long ago to be read"
    assert told(begun, over, *again) == (False, runs.EXEC_CONDITION, 2.0)
    assert told(begun, over, *failed) == (True, "", 2.0)
    assert told(begun, over, asserted) == (False, "assertion failed for x.service", 2.0)
    assert told(begun, over, *again, {**begun, "run": "four"}, {**over, "run": "four"}) == (True, "", 7.0)
    ended, stopped = {"id": runs._ENDED, "run": "one"}, {"id": runs._STOPPED, "job": "stop", "run": "one"}
    assert told(begun, over, oneshot=False) == (True, "", None), "a service that was started has not ended"
    assert told(begun, over, ended, oneshot=False) == (True, "", 3.0)
    assert told(begun, over, ended, stopped, oneshot=False) == (True, "", None), "it was stopped before its end"

    def well(*of: dict[str, Any], oneshot: bool = True) -> bool | None:
        return runs.told(entries(*of), oneshot).well

    assert well(begun, over) and well(*failed, begun, over), "a later try of its own has done it"
    assert well(begun, over, *failed) is False
    assert well(begun, over, unmet) is None, "there was no run"
    assert well(begun, over, oneshot=False) is None and well(begun, over, ended, oneshot=False)
    assert well(begun, over, ended, stopped, oneshot=False) is False
    assert well(begun, over, {"id": runs._FAILED, "run": "one"}, oneshot=False) is False


def test_only_the_command_that_said_no_is_named() -> None:
    shown = "{ path=/bin/true ; argv[]=/bin/true ; status=0/0 }\n{ path=/bin/no ; argv[]=/bin/no ; status=%s/0 }"
    assert runs.exec_condition(shown % 1) == f"{runs.EXEC_CONDITION} (/bin/no)"
    assert runs.exec_condition(shown % 0) == runs.EXEC_CONDITION, "a unit that systemd has forgotten does not tell which"


def test_a_backup_is_done_by_a_service() -> None:
    world = box()
    world.services["job.timer"] = world.services["job.service"]
    story = play(world, request("backup", to="nas", service="job.timer"))
    assert story.outcome == "failed" and "job.timer is no service" in story.reason and not world.commands


RUN = """LoadState=loaded
ActiveState=inactive
SubState=dead
Result=success
ExecMainCode=1
ExecMainStatus=0
ExecMainExitTimestamp=Fri 2026-11-20 09:00:00 UTC
StateChangeTimestamp=Fri 2026-11-20 10:00:00 UTC
StateChangeTimestampMonotonic=7
InactiveEnterTimestamp=Fri 2026-11-20 10:00:00 UTC
InactiveEnterTimestampMonotonic=7
InvocationID=one
ConditionResult=yes
ConditionTimestamp=Fri 2026-11-20 08:00:00 UTC
AssertResult=yes
AssertTimestamp=Fri 2026-11-20 08:00:00 UTC"""
NEVER = (
    "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nConditionResult=no\nAssertResult=no\nExecMainCode=0"
)
ENDED = 1795165200.0


@pytest.mark.parametrize(
    ("change", "ended", "skipped"),
    [
        ({}, ENDED, ""),
        ({"ExecMainStatus": "7"}, ENDED, ""),  # SuccessExitStatus=7, or a command with `-` before it
        ({"ExecMainStatus": "1", "StateChangeTimestampMonotonic": "9"}, None, ""),  # failed, then `reset-failed`
        ({"Result": "exit-code", "ActiveState": "failed"}, None, ""),
        ({"ExecMainCode": "2", "ExecMainStatus": "15"}, None, ""),  # a simple one that was stopped
        ({"ActiveState": "active", "SubState": "exited"}, ENDED, ""),
        ({"ActiveState": "active", "SubState": "running"}, None, ""),
        ({"ConditionResult": "no"}, ENDED, "of an unmet condition check"),
        ({"AssertResult": "no"}, ENDED, "an assertion check was not met"),
        (
            {
                "Result": "exec-condition",
                "ExecMainCode": "0",
                "ConditionResult": "no",
                "ExecCondition": "{ path=/bin/true ; argv[]=/bin/true ; pid=8 ; code=exited ; status=0/0 }\n"
                "ExecCondition={ path=/bin/x ; argv[]=/bin/x --on ; pid=9 ; code=exited ; status=3/NOTIMPLEMENTED }",
            },
            None,
            "its ExecCondition= was not met (/bin/x --on)",
        ),
    ],
)
def test_what_systemd_keeps_of_a_run(change: dict[str, str], ended: float | None, skipped: str) -> None:
    p = {**dict(line.split("=", 1) for line in RUN.splitlines()), **change}
    told = services._unit("nosuch.service", "\n".join(f"{key}={value}" for key, value in p.items()))
    assert (told["ended"], told["skipped"], told["kept"]) == (ended, skipped, True)


def test_no_record_is_not_never() -> None:
    told = services._unit("nosuch.service", NEVER)
    assert (told["ended"], told["skipped"], told["kept"]) == (None, "", False), "ConditionResult=no without a time means nothing"


def test_a_start_that_may_be_refused() -> None:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    p = {"ActiveState": "failed", "Result": "start-limit-hit", "NRestarts": "0", "StartLimitIntervalUSec": "10s"}
    p["StateChangeTimestampMonotonic"] = str(int((now - 4) * 1e6))
    assert services.limited(p)
    assert services.limited({**p, "Result": "exit-code", "NRestarts": "3"}), "Restart= gave up, and says what it died of"
    assert not services.limited({**p, "Result": "exit-code"})
    assert not services.limited({**p, "ActiveState": "inactive"})
    assert not services.limited({**p, "StartLimitIntervalUSec": "0"})
    assert not services.limited({**p, "StateChangeTimestampMonotonic": str(int((now - 60) * 1e6))}), "that time is over"


class Systemctl:
    """What `box.command` answers, and what was run."""

    def __init__(self, states: list[str], answers: dict[str, list[tuple[int, str, str]]]) -> None:
        self.states, self.answers = states, answers
        self.ran: list[str] = []

    def __call__(self, argv: list[str], *_: object) -> tuple[int, str, str]:
        if "show" in argv:
            return 0, self.states.pop(0), ""
        self.ran.append(argv[-2])
        told = self.answers.get(argv[-2], [])
        return told.pop(0) if told else (0, "", "")


def test_a_start_is_not_refused_for_having_failed_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_box, "is_root", lambda: True)
    at = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
    state = "LoadState=loaded\nActiveState={}\nResult={}\nNRestarts={}\nInvocationID=one\nStartLimitIntervalUSec=1h"
    state += f"\nStateChangeTimestampMonotonic={at}"
    too_often = (1, "", "Job for x.service failed because start of the service was attempted too often.")

    def started(states: list[str], starts: list[tuple[int, str, str]]) -> tuple[bool, list[str]]:
        fake = Systemctl(states, {"start": starts})
        monkeypatch.setattr(machine_box, "command", fake)
        return Authority().control("start", "x.service")[0], fake.ran

    failed, fine = state.format("failed", "exit-code", 3), state.format("inactive", "success", 0)
    assert started([failed], []) == (True, ["reset-failed", "start"]), "known before"
    refused = state.format("failed", "start-limit-hit", 0)
    assert started([fine, refused], [too_often]) == (True, ["start", "reset-failed", "start"]), "shown by the refusal"
    ran = refused.replace("InvocationID=one", "InvocationID=two")
    assert started([fine, ran], [too_often]) == (False, ["start"]), "it was a run, and failed"
    dependency = (1, "", "A dependency job for x.service failed. See 'journalctl -xe' for details.")
    assert started([fine], [dependency]) == (False, ["start"])


def eventually(holds: Callable[[], bool], what: str) -> None:
    """A thread does it."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_the_journal_is_asked_where_systemd_keeps_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the sweep, at once when the unit moved or an action has ended, and now and then."""
    asked: list[str] = []
    gate = threading.Event()

    def story(name: str, oneshot: bool = True) -> runs.Story:
        asked.append(name)
        if name == "slow.service":
            assert gate.wait(60)
        return runs.Story(False, NOPE, 9.0, 5.0, "")

    monkeypatch.setattr(runs, "story", story)
    monkeypatch.setattr(records, "AT_FIRST", 60.0)
    rest: dict[str, Any] = {
        "active": "inactive",
        "sub": "dead",
        "result": "success",
        "since": None,
        "ended": None,
        "kept": False,
        "oneshot": True,
    }
    told = {
        "a.service": dict(rest),
        "own.service": {**rest, "ended": 7.0, "kept": True},
        "up.service": {**rest, "active": "active"},
    }
    told["kept.service"] = {**rest, "kept": True}
    mine = records.Records(["a.service", "own.service", "kept.service", "gone.service"])
    found = dict(mine.look(told))
    assert found["a.service"] == {"mute": "", "ended": 5.0, "by": "journal", "skipped": NOPE, "skipped_at": 9.0}
    assert found["kept.service"] == {"mute": "", "ended": 5.0, "by": "journal"}, "of the newest start systemd tells itself"
    assert "own.service" not in found and sorted(asked) == ["a.service", "kept.service"], "nor is who has a record asked about"
    told = {name: {**one, **found.get(name, {})} for name, one in told.items()}
    assert dict(mine.look(told)) == found and len(asked) == 2, "not at every look"
    told["a.service"]["active"] = "failed"
    list(mine.look(told))
    eventually(lambda: asked.count("a.service") == 2, "it moved")
    list(mine.look(told, anew=True))
    eventually(lambda: len(asked) == 5, "an action has ended")
    told["a.service"] = {**rest, "ended": 8.0, "kept": True}
    assert dict(mine.look(told))["a.service"] == {"mute": ""}, "systemd has a record now"
    slow = records.Records(["slow.service"])
    monkeypatch.setattr(records, "AT_FIRST", 0.0)
    assert dict(slow.look({"slow.service": rest})) == {"slow.service": {"mute": None}}, "the sweep does not wait for it"
    gate.set()
