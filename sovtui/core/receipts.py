"""Receipt lines folded into an `ActionRun`, and what to tell the operator at its end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sovtui.core import outside
from sovtui.core.clean import clean
from sovtui.core.model import ActionRun, Step
from sovtui.onbox import phrases
from sovtui.onbox.receipt import OUTCOMES

MAX_LINES = 100
"""Journal lines kept in memory."""
MAX_STEPS = 100
"""Steps kept: an action has a dozen; of more the newest."""
MAX_FIGURES = 100
_LONGEST_SECONDS = 1e9
_STATES = ("running", "done", "failed", "skipped")
_EXITS = {"done": 0, "warned": 5, "refused": 4}
_TELL_WHAT_RUNS = ("failed", "rolled-back", "rollback-failed", "cancelled")
"""Outcomes whose reason says what ran at the end: no longer true once the box has been rebooted."""
_WORDS = {"warned": "done, with a warning", "rolled-back": "rolled back", "rollback-failed": "rollback failed"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def begin(line: Mapping[str, Any]) -> ActionRun | None:
    """The run that a `begin` line opens; None for any other line."""
    if line.get("t") != "begin" or not _text(line, "id"):
        return None
    began_at = _moment(line) or _EPOCH
    return ActionRun(_text(line, "id"), _text(line, "kind"), _text(line, "target"), _text(line, "who"), began_at)


def apply(run: ActionRun | None, line: Mapping[str, Any]) -> ActionRun | None:
    """The run after one more line. Lines of an unknown kind, torn or out of place change nothing."""
    if run is None:
        return begin(line)
    kind = line.get("t")
    if kind == "step":
        return _step(run, line)
    if kind == "line":
        text = clean(_raw(line, "text"))
        if not text.strip():
            return run
        lines = (*run.lines, text)[-MAX_LINES:]
        return replace(run, lines=lines, dropped_lines=run.line_count + 1 - len(lines))
    if kind == "figures":
        return _figures(run, line)
    if kind == "end":
        outcome = _raw(line, "outcome")
        outcome = outcome if outcome in OUTCOMES else "failed"
        asks = _asks(line.get("asks")) if outcome == "refused" else {}
        told = replace(run, outcome=outcome, reason=_text(line, "reason"), seconds=_seconds(line), asks=asks)
        return _close(told, line)
    if kind == "rebooted" and run.outcome in _TELL_WHAT_RUNS:
        return replace(run, reason=f"{run.reason.rstrip('.')}. The box has been rebooted since")
    if kind == "lost" and run.running:
        return _close(replace(run, outcome="lost", reason=_text(line, "reason")), line)
    return run


def _asks(told: object) -> dict[str, bool | tuple[str, ...]]:
    """What it takes to go on. What a box names is given back to it as it is, and shown nowhere."""
    found: dict[str, bool | tuple[str, ...]] = {}
    for kind, what in told.items() if isinstance(told, Mapping) else ():
        if kind in ("not_fitting", "stuck", "beside") and what is True:
            found[kind] = True
        elif kind in ("busy", "takes") and isinstance(what, list) and len(what) <= 2000:
            found[kind] = tuple(name for name in what if isinstance(name, str))
    return found


def outcome_word(run: ActionRun) -> str:
    """How it ended, in one or two words; `running` while it has not."""
    return _WORDS.get(run.outcome, run.outcome) or "running"


def step_word(name: str) -> str:
    """What a step is called on a screen; its name in receipts and JSON is a contract."""
    return phrases.step(name)


def exit_code(run: ActionRun) -> int:
    """What a headless command exits with once the run has ended."""
    return _EXITS.get(run.outcome, 1)


def sentence(run: ActionRun) -> str:
    """How it stands with the run, in whole sentences."""
    what = {"switch": f"Switch to {run.target}", "drop-caches": "Drop caches", "backup": f"Backup {run.target}"}.get(
        run.kind, f"{run.kind.capitalize()} {run.target}"
    )
    why = run.reason.rstrip(".")
    if run.running:
        step = next((s for s in reversed(run.steps) if s.state == "running"), None)
        return f"{what} is running, at step {step_word(step.name)}." if step else f"{what} is running."
    if run.outcome == "done":
        return f"{what}: done{f' in {run.seconds:.0f} s' if run.seconds else ''}{f', {why}' if why else ''}."
    if run.outcome == "skipped" and why:
        return f"{what}: {why}."
    words = {
        "skipped": "was skipped: systemd did not run it",
        "warned": "done, but a check afterwards failed",
        "refused": "was refused",
        "failed": "failed",
        "rolled-back": "failed and was rolled back",
        "rollback-failed": "failed, and so did the rollback; look at the box now",
        "cancelled": "was cancelled",
        "lost": "is lost: how it ended is not known; look at what runs, then switch again",
    }
    return f"{what} {words.get(run.outcome, run.outcome)}{f': {why}' if why else ''}."


def _step(run: ActionRun, line: Mapping[str, Any]) -> ActionRun:
    name, state = _text(line, "name"), _raw(line, "state")
    if not name or state not in _STATES:
        return run
    at = _moment(line) or run.began_at
    detail, seconds = _text(line, "detail"), _seconds(line)
    before = _text(line, "before") if isinstance(line.get("before"), str) else None
    steps = list(run.steps)
    for index in range(len(steps) - 1, -1, -1):
        if steps[index].name == name and steps[index].state == "running":
            steps[index] = Step(name, state, steps[index].began_at, seconds, detail or steps[index].detail, before)
            return replace(run, steps=tuple(steps))
    return replace(run, steps=(*steps[1 - MAX_STEPS :], Step(name, state, at, seconds, detail, before)))


def _figures(run: ActionRun, line: Mapping[str, Any]) -> ActionRun:
    when, values = _raw(line, "when"), line.get("values")
    if when not in ("before", "after") or not isinstance(values, Mapping):
        return run
    found = dict(run.figures)
    for name, value in list(values.items())[:50]:
        number = _number(value)
        if number is not None and len(found) < MAX_FIGURES:
            found[f"{when}.{clean(str(name), 100)}"] = number
    return replace(run, figures=tuple(found.items()))


def _close(run: ActionRun, line: Mapping[str, Any]) -> ActionRun:
    """No step stays open in a run that has ended."""
    ended = _moment(line)
    steps = tuple(replace(step, state="failed") if step.state == "running" else step for step in run.steps)
    seconds = run.seconds
    if seconds is None and ended and run.outcome != "lost":
        seconds = max(0.0, (ended - run.began_at).total_seconds())
    return replace(run, steps=steps, seconds=seconds)


def _raw(line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    return value if isinstance(value, str) else ""


def _text(line: Mapping[str, Any], key: str) -> str:
    return clean(_raw(line, key))


def _number(value: Any) -> float | None:
    return outside.number(value)


def _seconds(line: Mapping[str, Any]) -> float | None:
    seconds = _number(line.get("seconds"))
    return seconds if seconds is not None and 0 <= seconds < _LONGEST_SECONDS else None


def _moment(line: Mapping[str, Any]) -> datetime | None:
    return outside.moment(line.get("at"))
