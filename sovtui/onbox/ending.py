"""The end of a switch: release what was held, look and measure once more, say how it ended. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sovtui.onbox import judge, taking
from sovtui.onbox.plan import Consent
from sovtui.onbox.switchstate import POLL, Result, Switching, done, plus, run, step
from sovtui.onbox.words import EXITS, Effects, End, Event, Figures, Look, Looked, Measure, Measured, Released, Step, Wait

RELEASE_LIMIT = 60.0


def then(s: Switching, detail: str, follow: Any) -> Result:
    """The step is done; go on with `follow`."""
    s, effects = done(s, detail)
    result: Result = follow(s)
    return plus(effects, result)


def close(s: Switching, outcome: str, reason: str) -> Result:
    """Release what is held, look and measure once more, then end."""
    open_step: Effects = (Step(s.step, "failed", s.now - s.since, reason),) if s.step else ()
    s = replace(s, outcome=outcome, reason=reason, step="")
    if s.held:
        s, effects = step(replace(s, phase="release", returned=()), "release", ", ".join(s.held))
        return plus((*open_step, *effects), _release(s))
    return plus(open_step, _bring(s))


def _bring(s: Switching) -> Result:
    """What went down with what was stopped and belongs to what runs now is started again."""
    services = [take.service for take in s.taken]
    if not s.undoing:
        kept = (*s.hold, *(s.target.services if s.outcome in ("done", "warned") else ()))
        services = [take.service for take in s.taken if take.job == "stop" and take.by in kept]
        services += s.request.owed if s.outcome in ("done", "warned") else ()
    known = (*judge.all_services(s.request), *s.hold)
    due = [x for x in dict.fromkeys(services) if x not in known]
    return taking.begin(s, due) if due and (s.touched or s.hold) else _closing(s)


def on_bring(s: Switching, event: Event) -> Result:
    s, effects, over = taking.advance(s, event)
    if not over:
        return s, effects
    return plus(effects, _closing(taking.with_trouble(s)))


def _closing(s: Switching) -> Result:
    return replace(s, phase="closing"), (Look(judge.all_services(s.request), judge.loose_probes(s.request)),)


def _release(s: Switching) -> Result:
    """Start them once the commands that stop them have ended: the two must not overtake each other."""
    if any(verb == "stop" and x in s.held for verb, x in s.pending):
        return s, (Wait(POLL),)
    s, runs = run(replace(s, releasing=True), "start", s.held)
    return s, (*runs, Wait(0.2))


def on_release(s: Switching, seen: Looked) -> Result:
    late = s.now - s.since > RELEASE_LIMIT
    if not s.releasing and not late:
        return _release(s)
    open_now = [x for verb, x in s.pending if verb == "start" and x in s.held]
    if open_now and not late:
        return s, (Wait(POLL),)
    refused = {x: why for verb, x, why in s.refused if verb == "start"}
    units = [seen.unit(x) for x in s.held if s.releasing]
    refused.update({unit.name: f"skipped, because {unit.skipped}" for unit in units if unit.skipped and not unit.up})
    left = tuple(x for x in s.held if x in refused or x in open_now or not s.releasing)
    good = tuple(x for x in s.held if x not in left)
    effects: Effects = (Released(good),) if good else ()
    s = replace(s, held=left)
    if not left:
        s, ended = done(s, ", ".join(good))
        return plus((*effects, *ended), _bring(s))
    why = "; ".join(f"{x} is still held: {refused.get(x, 'it could not be started again in time')}" for x in left)
    s = replace(s, warnings=(*s.warnings, why), reason=f"{s.reason.rstrip('.')}. {why}" if s.reason else why)
    s = replace(s, outcome="warned" if s.outcome == "done" else s.outcome)
    failed = Step("release", "failed", s.now - s.since, why)
    return plus((*effects, failed), _bring(replace(s, step="")))


def on_closing(s: Switching, seen: Looked) -> Result:
    if s.outcome not in ("done", "warned", "refused") and not s.reason.endswith("again"):
        s = replace(s, reason=f"{s.reason.rstrip('.')}. {judge.running_now(s.request, seen).rstrip('.')}")
    lost, down = judge.floor_lost(s.request, s.floor_up, seen)
    effects: Effects = ()
    beside = [x for x in judge.foreign(s.request, s.target) if not seen.unit(x).gone and not seen.reason]
    if s.outcome in ("done", "warned") and s.touched and beside:
        why = f"{', '.join(beside)} of {judge.owner(s.request, beside[0])} runs too"
        s = replace(s, outcome="warned", reason=f"{s.reason.rstrip('.')}. {why}")
    if down:
        s = replace(s, reason=f"{s.reason.rstrip('.')}. {', '.join(down)} must always run and did not run before either")
    if lost:
        warning = f"{', '.join(lost)} must always run and does not"
        effects = (Step("floor", "failed", 0.0, warning),)
        s = replace(s, outcome="warned" if s.outcome == "done" else s.outcome, reason=f"{warning}! {s.reason}")
    return replace(s, phase="figures"), (*effects, Measure())


def on_figures(s: Switching, measured: Measured) -> Result:
    s, effects = finish(s, s.outcome, s.reason)
    return s, (Figures("after", measured.values), *effects)


def finish(s: Switching, outcome: str, reason: str, asks: Consent | None = None) -> Result:
    """End now, or after the release where something is held."""
    if s.held and s.phase not in ("closing", "figures"):
        if outcome == "done" and s.step:
            s, effects = done(s, reason)
            return plus(effects, close(s, outcome, reason))
        return close(s, outcome, reason)
    state = "done" if outcome == "done" else "failed"
    open_step: Effects = (Step(s.step, state, s.now - s.since, reason),) if s.step else ()
    end = End(outcome, reason, s.now - s.began, EXITS.get(outcome, 1), asks)
    return replace(s, ended=True, outcome=outcome, reason=reason, step=""), (*open_step, end)
