"""The switch: a pure machine. It never starts a mode before every other one is seen to be gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sovtui.onbox import judge, signatures
from sovtui.onbox.plan import NONE, ModePlan, Request
from sovtui.onbox.switchstate import (
    BLIND_LIMIT,
    MEMORY_LIMIT,
    POLL,
    STEADY,
    Result,
    Switching,
    done,
    looking,
    noted,
    plus,
    ran,
    run,
    said,
    step,
)
from sovtui.onbox.words import (
    EXITS,
    Began,
    Cancelled,
    CheckRights,
    Drop,
    Dropped,
    Effects,
    End,
    Event,
    Explain,
    Explained,
    Figures,
    Follow,
    Line,
    Look,
    Looked,
    Measure,
    Measured,
    Ran,
    Rights,
    Run,
    Step,
    Tick,
    Wait,
    size,
    span,
)


def begin(request: Request) -> Switching:
    return Switching(request)


def advance(s: Switching, event: Event) -> Result:
    """What follows from an event."""
    if s.ended:
        return s, ()
    s = replace(s, now=event.now)
    if isinstance(event, Began):
        s, effects = step(replace(s, began=event.now), "preflight", f"look at {s.request.host or 'the box'}")
        probes = tuple({p.url: p for m in s.request.modes for p in judge.probe_of(m)}.values())
        return replace(s, phase="look"), (*effects, Look(judge.all_services(s.request), probes))
    if isinstance(event, Cancelled):  # acted on at the next answer, so that no answer comes to the wrong phase
        return (s if s.undoing else replace(s, cancelled=True)), ()
    if isinstance(event, Line):
        return said(s, event)
    if isinstance(event, Ran):
        return ran(s, event), ()
    if s.cancelled and not s.undoing and s.phase not in ("closing", "figures"):
        return _cancel(s)
    if isinstance(event, Tick):
        return s, (Measure() if s.phase == "memory" else looking(s),)
    if isinstance(event, Looked) and event.reason and s.phase in _PATIENT and s.now - s.since < BLIND_LIMIT:
        return s, (Wait(POLL),)
    handler: Any = _HANDLERS[s.phase]
    result: Result = handler(s, event)
    return result


# -- forwards ----------------------------------------------------------------------------------------


def _on_look(s: Switching, seen: Looked) -> Result:
    if seen.reason:
        return _finish(s, "failed", f"the box cannot be looked at: {seen.reason}")
    request, target = s.request, s.target
    for service in target.services:
        why = judge.cannot_start(seen.unit(service), request.host)
        if why:
            return _finish(s, "failed", why)
    foreign = tuple(x for x in judge.foreign(request, target) if not seen.unit(x).gone)
    if not foreign and (request.to == NONE or judge.is_hot(target, seen)):
        return _finish(s, "done", "nothing is hot already" if request.to == NONE else f"{request.to} is already hot")
    stop = (*foreign, *judge.stale(request, target, seen))
    previous = judge.previous_mode(request, target, seen)
    kept = (*stop, *request.floor, *request.mode(previous).services)
    running = tuple(x for x in target.services if seen.unit(x).up and x not in kept)
    s = replace(s, previous=previous, to_stop=stop, started=running, phase="rights")
    return s, (CheckRights(judge.needs(request, previous, stop, target, seen), request.drop_caches),)


def _on_rights(s: Switching, answer: Rights) -> Result:
    if answer.missing:
        return _finish(s, "failed", "; ".join(answer.missing))
    return replace(s, phase="before"), (Measure(),)


def _on_before(s: Switching, measured: Measured) -> Result:
    available = measured.value("memory.available_bytes") or 0.0
    s = replace(s, available=available, available_before=available)
    detail = f"{s.previous} is hot" if s.previous else "no mode is hot"
    s, ended = done(s, detail)
    ended = (Figures("before", measured.values), *ended)
    if not s.to_stop:
        skipped = tuple(Step(name, "skipped", 0.0, "nothing to stop") for name in ("stop", "gone", "memory"))
        return plus((*ended, *skipped), _enter_drop(s))
    s, effects = step(replace(s, phase="stop", touched=True), "stop", ", ".join(s.to_stop))
    s, runs = run(s, "stop", s.to_stop)
    return s, (*ended, *effects, *runs, Wait(0.2))


def _on_stop(s: Switching, seen: Looked) -> Result:
    up = [x for x in s.to_stop if seen.unit(x).up]
    refused = [(x, why) for verb, x, why in s.refused if verb == "stop" and x in up]
    if refused and not seen.reason:
        return _fail(s, f"{refused[0][0]} could not be stopped: {refused[0][1]}")
    if not seen.reason and (not up or not any(x in up for verb, x in s.pending if verb == "stop")):
        s, ended = done(s, ", ".join(s.to_stop))
        s, effects = step(replace(s, phase="gone"), "gone")
        return s, (*ended, *effects, looking(s))
    if s.now - s.since > s.request.stop_timeout:
        return _fail(s, f"{', '.join(up) or 'the services'} did not stop within {span(s.request.stop_timeout)}")
    return s, (Wait(POLL),)


def _on_gone(s: Switching, seen: Looked) -> Result:
    left = [x for x in s.to_stop if not seen.unit(x).gone]
    ports = [a.url for a in seen.answers if a.alive]
    if not left and not ports and not seen.reason:
        s, ended = done(s, "no process left, ports closed")
        s, effects = step(replace(s, phase="memory", still=0), "memory")
        return s, (*ended, *effects, Measure())
    if s.now - s.since > s.request.stop_timeout:
        what = (
            f"{', '.join(left)} still has processes"
            if left
            else f"{', '.join(ports)} still answers though its services are stopped"
        )
        return _fail(s, seen.reason or f"{what} after {span(s.request.stop_timeout)}")
    return s, (Wait(POLL),)


def _on_memory(s: Switching, measured: Measured) -> Result:
    available = (measured.value("memory.available_bytes") or 0.0) + (measured.value("gpu.memory.free_bytes") or 0.0)
    margin = max(64 * 1048576.0, 0.002 * (measured.value("memory.total_bytes") or 0.0))
    rising = available > s.available + margin or s.still == 0
    s = replace(s, available=max(available, s.available) if s.still else available, still=1 if rising else s.still + 1)
    shown = measured.value("memory.available_bytes") or 0.0
    detail = f"{size(shown)} available, {size(shown - s.available_before)} more than before"
    if s.still > 3:
        return _then(s, detail, _enter_drop)
    if s.now - s.since > MEMORY_LIMIT:
        return _then(s, f"{detail}; still rising after {span(MEMORY_LIMIT)}", _enter_drop)
    return s, (Wait(POLL),)


def _enter_drop(s: Switching) -> Result:
    if s.request.drop_caches:
        s, effects = step(replace(s, phase="drop"), "drop-caches")
        return s, (*effects, Drop())
    s, effects = _enter_start(s)
    return s, (Step("drop-caches", "skipped", 0.0, "not wanted"), *effects)


def _on_drop(s: Switching, dropped: Dropped) -> Result:
    if dropped.ok:
        return _then(s, "page cache dropped", _enter_start)
    warning = f"the page cache could not be dropped: {dropped.reason}"
    s = replace(s, warnings=(*s.warnings, warning))
    return plus((Step(s.step, "failed", s.now - s.since, dropped.reason),), _enter_start(s))


def _enter_start(s: Switching) -> Result:
    if s.request.to == NONE:
        return _enter_verify(s)
    s, effects = step(replace(s, phase="clear", mode=s.request.to), "start", ", ".join(s.target.services))
    return s, (*effects, looking(s))


def _on_clear(s: Switching, seen: Looked) -> Result:
    back = [x for x in judge.foreign(s.request, s.target) if not seen.unit(x).gone]
    if seen.reason or back:
        return _fail(s, seen.reason or f"{', '.join(back)} came back while the memory was being freed; something else starts it")
    return _start(replace(s, phase="start"), s.target, seen)


def _start(s: Switching, mode: ModePlan, seen: Looked) -> Result:
    """Start what does not run yet."""
    down = tuple(x for x in mode.services if not seen.unit(x).serving)
    base = tuple((x, seen.unit(x).restarts) for x in mode.services)
    s = replace(s, base=base, returned=(), seen=(), steady_at=None, wrong_at=None, health_at=-1e9, answers=False, touched=True)
    if not s.undoing:
        mine = tuple(x for x in down if x not in s.started and x not in s.request.floor)
        s = replace(s, started=(*s.started, *mine))
    clear = tuple(Run("reset-failed", x) for x in down if "limit" in seen.unit(x).result)
    s, runs = run(s, "start", down)
    return s, (*(Follow(x) for x in mode.services), *clear, *runs, Wait(0.2))


def _on_start(s: Switching, seen: Looked) -> Result:
    mode = s.request.mode(s.mode)
    s = noted(s, seen)
    refused = [(x, why) for verb, x, why in s.refused if verb == "start" and x in mode.services]
    if refused:
        service, why = refused[0]
        return _explain(s, f"{service} could not be started: {why}", service)
    state = judge.readiness(mode, seen, dict(s.base), s.seen, s.returned)
    if state.verdict == "fail" and not seen.reason:
        return _explain(s, state.detail, state.service)
    if all(x in s.seen or x in s.returned for x in mode.services):
        s, ended = done(s, ", ".join(mode.services))
        s, effects = step(replace(s, phase="ready"), "undo-ready" if s.undoing else "ready")
        return s, (*ended, *effects, looking(s))
    if s.now - s.since > s.request.ready_timeout:
        return _explain(s, f"{', '.join(mode.services)} did not start within {span(s.request.ready_timeout)}", mode.services[0])
    return s, (Wait(POLL),)


def _on_ready(s: Switching, seen: Looked) -> Result:
    mode = s.request.mode(s.mode)
    s = noted(s, seen)
    refused = [(x, why) for verb, x, why in s.refused if verb == "start" and x in mode.services]
    state = judge.readiness(mode, seen, dict(s.base), s.seen, s.returned)
    answer = seen.answer(mode.url)
    s = replace(s, answers=answer.models != 0, health_at=s.health_at if answer.health is None else s.now)
    if not seen.reason and state.verdict == "fail":
        return _explain(s, state.detail, state.service)
    if refused:
        return _explain(s, f"{refused[0][0]} could not be started: {refused[0][1]}", refused[0][0])
    wrong = state.verdict == "wrong" and not seen.reason
    s = replace(s, wrong_at=(s.now if s.wrong_at is None else s.wrong_at) if wrong else None)
    if s.wrong_at is not None and s.now - s.wrong_at >= STEADY:
        return _fail(s, state.detail)
    if state.verdict == "ready" and not seen.reason:
        steady = s.now if s.steady_at is None else s.steady_at
        if answer.health == 200 if judge.asks_http(mode) else s.now - steady >= STEADY:
            return _then(s, state.detail, _ready)
        s = replace(s, steady_at=steady)
    else:
        s = replace(s, steady_at=None)
    if s.now - s.since > s.request.ready_timeout:
        seconds = span(s.request.ready_timeout)
        return _explain(s, seen.reason or f"{mode.name} was not ready within {seconds}", mode.services[0])
    return s, (Wait(POLL),)


def _ready(s: Switching) -> Result:
    if s.undoing:
        return _close(s, "cancelled" if s.cancelled else "rolled-back", f"{s.failure.rstrip('.')}. {s.previous} is hot again")
    return _enter_verify(s)


def _enter_verify(s: Switching) -> Result:
    s, effects = step(replace(s, phase="verify", mode=s.request.to, steady_at=None), "verify", judge.title(s.request))
    return s, (*effects, looking(s))


def _on_verify(s: Switching, seen: Looked) -> Result:
    if seen.reason:
        return _fail(s, f"the box cannot be looked at: {seen.reason}")
    others = [x for x in judge.foreign(s.request, s.target) if not seen.unit(x).gone]
    if others:
        return _fail(s, f"{', '.join(others)} of {judge.owner(s.request, others[0])} runs too", must_stop=True)
    if s.request.to != NONE and not judge.is_hot(s.target, seen):
        return _explain(s, f"{s.request.to} was ready and then was not any more", s.target.services[0])
    if s.steady_at is None and s.request.to != NONE:  # engines like to die right after they are ready
        return replace(s, steady_at=s.now), (Wait(STEADY),)
    lost = [x for x in s.request.floor if seen.unit(x).active != "active"]
    if lost:
        warning = f"{', '.join(lost)} must always run and does not"
        s = replace(s, warnings=(*s.warnings, warning))
        ended: Effects = (Step("verify", "failed", s.now - s.since, warning),)
        s = replace(s, step="")
    else:
        s, ended = done(s, f"exactly one mode is hot: {s.request.to}" if s.request.to != NONE else "nothing is hot")
    reason = "; ".join(s.warnings) if s.warnings else f"{s.request.to} is hot" if s.request.to != NONE else "nothing is hot"
    return plus(ended, _close(s, "warned" if s.warnings else "done", reason))


# -- backwards ---------------------------------------------------------------------------------------


def _explain(s: Switching, reason: str, service: str) -> Result:
    return replace(s, phase="explain", failure=s.failure if s.undoing else reason, reason=reason), (Explain(service),)


def _on_explain(s: Switching, answer: Explained) -> Result:
    cause = signatures.find_cause(answer.lines) or (
        answer.reason and f"{answer.service}'s journal tells nothing: {answer.reason}"
    )
    return _fail(s, f"{s.reason}: {cause}" if cause else s.reason)


def _cancel(s: Switching) -> Result:
    return _fail(s, "it was cancelled")


def _fail(s: Switching, reason: str, must_stop: bool = False) -> Result:
    """A step failed: the way back, if there is one."""
    if s.undoing:
        why = f"{s.failure.rstrip('.')}. Going back to {s.previous or 'nothing'} failed too: {reason}"
        return plus((Step(s.step, "failed", s.now - s.since, reason),), _close(s, "rollback-failed", why))
    outcome = "cancelled" if s.cancelled else "failed"
    if not s.touched:
        return _finish(s, outcome, f"{reason} before anything was changed" if s.cancelled else reason)
    failed: Effects = (Step(s.step, "failed", s.now - s.since, reason),) if s.step else ()
    s = replace(s, failure=reason, reason="", step="")
    if not (s.request.rollback or must_stop or s.cancelled):
        return plus(failed, _close(s, outcome, reason))
    s = replace(s, undoing=True, refused=())
    if not s.started:
        return plus(failed, _enter_undo_start(s))
    s, effects = step(replace(s, phase="undo-stop"), "undo-stop", ", ".join(s.started))
    s, runs = run(s, "stop", s.started)
    return s, (*failed, *effects, *runs, Wait(0.2))


def _on_undo_stop(s: Switching, seen: Looked) -> Result:
    stopping = any(verb == "stop" and x in s.started for verb, x in s.pending)
    if not seen.reason and not stopping and all(seen.unit(x).gone for x in s.started):
        return _then(s, ", ".join(s.started), _enter_undo_start)
    refused = [why for verb, x, why in s.refused if verb == "stop" and x in s.started and seen.unit(x).up]
    if refused or s.now - s.since > s.request.stop_timeout:
        left = ", ".join(x for x in s.started if not seen.unit(x).gone)
        return _fail(s, refused[0] if refused else f"{left} did not stop within {span(s.request.stop_timeout)}")
    return s, (Wait(POLL),)


def _enter_undo_start(s: Switching) -> Result:
    if not s.previous or not s.request.rollback:
        return _close(s, "cancelled" if s.cancelled else "failed", s.failure)
    previous = s.request.mode(s.previous)
    s, effects = step(replace(s, phase="undo-clear", mode=s.previous, returned=()), "undo-start", ", ".join(previous.services))
    return s, (*effects, looking(s))


def _on_undo_clear(s: Switching, seen: Looked) -> Result:
    previous = s.request.mode(s.previous)
    others = [x for x in judge.foreign(s.request, previous) if not seen.unit(x).gone]
    watched = (*others, *previous.services)
    leaving = any(seen.unit(x).active == "deactivating" or ("stop", x) in s.pending for x in watched)
    if leaving and s.now - s.since <= s.request.stop_timeout:
        return s, (Wait(POLL),)
    if seen.reason or others:
        return _fail(s, seen.reason or f"{', '.join(others)} still runs")
    return _start(replace(s, phase="undo-start", refused=()), previous, seen)


# -- the end -----------------------------------------------------------------------------------------


def _close(s: Switching, outcome: str, reason: str) -> Result:
    """Look and measure once more, then end."""
    s = replace(s, phase="closing", outcome=outcome, reason=reason, step="")
    return s, (Look(judge.all_services(s.request)),)


def _on_closing(s: Switching, seen: Looked) -> Result:
    if s.outcome not in ("done", "warned") and not s.reason.endswith("is hot again"):
        s = replace(s, reason=f"{s.reason.rstrip('.')}. {judge.running_now(s.request, seen).rstrip('.')}")
    return replace(s, phase="figures"), (Measure(),)


def _on_figures(s: Switching, measured: Measured) -> Result:
    s, effects = _finish(s, s.outcome, s.reason)
    return s, (Figures("after", measured.values), *effects)


def _finish(s: Switching, outcome: str, reason: str) -> Result:
    state = "done" if outcome == "done" else "failed"
    open_step: Effects = (Step(s.step, state, s.now - s.since, reason),) if s.step else ()
    end = End(outcome, reason, s.now - s.began, EXITS.get(outcome, 1))
    return replace(s, ended=True, outcome=outcome, reason=reason, step=""), (*open_step, end)


_PATIENT = ("clear", "undo-clear", "verify")
"""Phases that would fail at once where systemd does not answer for a moment."""
_HANDLERS = {
    "look": _on_look,
    "rights": _on_rights,
    "before": _on_before,
    "stop": _on_stop,
    "gone": _on_gone,
    "memory": _on_memory,
    "drop": _on_drop,
    "clear": _on_clear,
    "start": _on_start,
    "ready": _on_ready,
    "verify": _on_verify,
    "explain": _on_explain,
    "undo-stop": _on_undo_stop,
    "undo-clear": _on_undo_clear,
    "undo-start": _on_start,
    "closing": _on_closing,
    "figures": _on_figures,
}


def _then(s: Switching, detail: str, follow: Any) -> Result:
    """The step is done; go on with `follow`."""
    s, effects = done(s, detail)
    result: Result = follow(s)
    return plus(effects, result)
