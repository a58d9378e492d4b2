"""A step failed: say why, and turn round if there is a way back. Pure."""

from __future__ import annotations

from dataclasses import replace

from sovtui.onbox import judge, signatures
from sovtui.onbox.ending import close, finish
from sovtui.onbox.switchstate import Result, Switching, looking, plus, run, step
from sovtui.onbox.words import Command, Effects, Explain, Explained, Follow, Halt, Step, Wait


def explain(s: Switching, reason: str, service: str) -> Result:
    """Ask the journal first: it also tells whether the start was one."""
    return replace(s, phase="explain", failure=s.failure if s.undoing else reason, reason=reason), (Explain(service),)


def on_explain(s: Switching, answer: Explained) -> Result:
    if answer.skipped:
        return fail(s, f"{answer.service} was skipped, because {answer.skipped}")
    cause = signatures.find_cause(answer.lines) or (
        answer.reason and f"{answer.service}'s journal is of no help: {answer.reason}"
    )
    return fail(s, f"{s.reason}: {cause}" if cause else s.reason)


def fail(s: Switching, reason: str, must_stop: bool = False) -> Result:
    """The way back, if there is one."""
    halt: Effects = (Halt(),) if s.commanding else ()
    if s.undoing:
        what = f"Starting {s.previous} once more" if s.stuck else f"Going back to {s.previous or 'nothing'}"
        why = f"{s.failure.rstrip('.')}. {what} failed too: {reason}"
        return plus((*halt, Step(s.step, "failed", s.now - s.since, reason)), close(replace(s, step=""), "rollback-failed", why))
    outcome = "cancelled" if s.cancelled else "failed"
    if not s.touched:
        return finish(s, outcome, f"{reason} before anything was changed" if s.cancelled else reason)
    failed: Effects = (Step(s.step, "failed", s.now - s.since, reason),) if s.step else ()
    s = replace(s, failure=reason, reason="", step="")
    back = s.request.rollback or must_stop or bool(s.cancelled)
    if not back and not s.commanding:
        return plus(failed, close(s, outcome, reason))
    own_way = bool(s.target.command and s.request.mode(s.previous).command and s.request.rollback)
    s = replace(s, undoing=True, refused=(), started=() if own_way or not back else s.started)
    if not s.started and not s.commanding:
        return plus(failed, enter_undo_start(s))
    s, effects = step(replace(s, phase="undo-stop"), "undo-stop", ", ".join(s.started) or "the switch command")
    s, runs = run(s, "stop", s.started)
    return s, (*failed, *halt, *effects, *runs, Wait(0.2))


def enter_undo_start(s: Switching) -> Result:
    """Bring back what ran before: by its own command if it has one."""
    previous = s.request.mode(s.previous)
    services = judge.brought_back(s.request, previous, s.to_stop)
    if not s.request.rollback or not services:
        return close(s, "cancelled" if s.cancelled else "failed", s.failure)
    s = replace(s, mode=s.previous, returned=(), heard_at=s.now, used=None, hinted_at=s.now)
    if previous.command:
        s, effects = step(replace(s, phase="command", refused=()), "undo-start", " ".join(previous.command))
        return command(s, effects)
    s, effects = step(replace(s, phase="undo-clear"), "undo-start", ", ".join(services))
    return s, (*effects, looking(s))


def command(s: Switching, effects: Effects) -> Result:
    """Run the command of the mode that is on its way."""
    mode = s.request.mode(s.mode)
    s = replace(s, commanding=True, command_failed="", script=(), touched=True, steady_at=None)
    s = replace(s, own=None if s.undoing else s.first, launched=(), down=(), left=(), base=())
    follows = tuple(Follow(x) for x in mode.services)
    return s, (*effects, *follows, Command(mode.command, mode.env, mode.command_timeout), Wait(0.2))
