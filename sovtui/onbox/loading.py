"""Forwards again: start the mode, wait until it is ready, prove that exactly this one is hot. Pure."""

from __future__ import annotations

from dataclasses import replace

from sovtui.onbox import asking, beside, judge, signatures
from sovtui.onbox.ending import close, then
from sovtui.onbox.failing import command, explain, fail
from sovtui.onbox.insisting import again
from sovtui.onbox.phrases import span
from sovtui.onbox.plan import NONE
from sovtui.onbox.switchstate import (
    POLL,
    STEADY,
    Result,
    Switching,
    done,
    guarded,
    hinted,
    left_behind,
    looking,
    noted,
    plus,
    run,
    starting,
    step,
)
from sovtui.onbox.words import Follow, Looked, Prove, Proved, Wait

APPEAR = 10.0
"""How long services may take to come up after the owner's command has ended well."""


def enter_start(s: Switching) -> Result:
    if s.request.to == NONE:
        return _enter_verify(s)
    s, effects = step(replace(s, phase="clear", mode=s.request.to), "start", ", ".join(s.target.services))
    return s, (*effects, looking(s))


def enter_command(s: Switching) -> Result:
    """The owner's command stops, frees and starts by itself; what it says is not believed."""
    started = tuple(x for x in s.target.services if x not in s.request.floor and (x not in s.serving or x in s.to_stop))
    s = replace(s, phase="command", mode=s.request.to, started=started, heard_at=s.now, hinted_at=s.now)
    s, effects = step(s, "start", " ".join(s.target.command))
    return command(s, effects)


def on_command(s: Switching, seen: Looked) -> Result:
    mode = s.request.mode(s.mode)
    why = guarded(s, seen)
    if why:
        return fail(s, f"{why}: the launch was stopped")
    if s.commanding:
        s, follows, why, service = beside.watched(s, seen)
        if why:
            return plus(follows, explain(s, why, service) if service else fail(s, why, must_stop=True))
        if s.now - s.since > mode.command_timeout + 30:
            return fail(s, f"the switch command did not end within {span(mode.command_timeout)}")
        s, news = hinted(s, seen)
        return s, (*follows, *news, Wait(POLL))
    if s.command_failed:
        cause = signatures.find_cause(s.script) or (s.script[-1] if s.script else "")
        said = f"the switch command of {mode.name} {s.command_failed}"
        return fail(s, f"{said}: {cause}" if cause else said)
    s = s if s.steady_at is not None else replace(s, steady_at=s.now)
    waited = s.now - (s.steady_at or 0.0)
    others = [x for x in judge.foreign(s.request, mode) if not seen.unit(x).gone]
    down = [x for x in mode.services if not seen.unit(x).serving]
    if seen.reason or others or down:
        limit = s.request.stop_timeout if others or seen.reason else APPEAR
        if waited <= limit:
            return s, (Wait(POLL),)
        what = seen.reason or (f"{', '.join(others)} still runs" if others else f"{', '.join(down)} does not run")
        return fail(s, f"the switch command of {mode.name} ended well, but {what}", must_stop=True)
    base = tuple((x, seen.unit(x).restarts) for x in mode.services)
    s = _fresh(replace(s, base=base, seen=mode.services, returned=mode.services))
    return _enter_ready(s, "the switch command ended; the others have ended")


def on_clear(s: Switching, seen: Looked) -> Result:
    back = [x for x in judge.foreign(s.request, s.target) if not seen.unit(x).gone]
    if seen.reason or back:
        return fail(s, seen.reason or f"{', '.join(back)} came back while the memory was being freed; something else starts it")
    return start_services(replace(s, phase="start"), seen)


def _fresh(s: Switching) -> Switching:
    return replace(s, steady_at=None, wrong_at=None, health_at=-1e9, answers=False, heard_at=s.now, hinted_at=s.now, used=None)


def start_services(s: Switching, seen: Looked) -> Result:
    """Start what does not run yet."""
    services = starting(s)
    down = tuple(x for x in services if not seen.unit(x).serving)
    base = tuple((x, seen.unit(x).restarts) for x in services)
    s = _fresh(replace(s, base=base, returned=(), seen=(), touched=True, killed=()))
    if not s.undoing:
        mine = tuple(x for x in down if x not in s.started and x not in s.request.floor)
        s = replace(s, started=(*s.started, *mine))
    s, runs = run(s, "start", down)
    return s, (*(Follow(x) for x in services), *runs, Wait(0.2))


def on_start(s: Switching, seen: Looked) -> Result:
    s, runs = again(s, seen, left_behind(s))
    return plus(runs, _starting(s, seen))


def _starting(s: Switching, seen: Looked) -> Result:
    mode, services = s.request.mode(s.mode), starting(s)
    s = noted(s, seen)
    refused = [(x, why) for verb, x, why in s.refused if verb == "start" and x in services]
    if refused:
        service, why = refused[0]
        return explain(s, f"{service} could not be started: {why}", service)
    state = judge.readiness(mode, seen, dict(s.base), s.seen, s.returned)
    if state.verdict == "fail" and not seen.reason:
        return explain(s, state.detail, state.service)
    intruders = _intruders(s, seen)
    if intruders:
        return fail(s, intruders, must_stop=True)
    why = guarded(s, seen)
    if why:
        return fail(s, f"{why}: the launch was stopped")
    if all(x in s.seen or x in s.returned for x in services):
        return _enter_ready(s, ", ".join(services))
    if s.now - s.since > s.request.ready_timeout:
        return explain(s, f"{', '.join(services)} did not start within {span(s.request.ready_timeout)}", services[0])
    s, news = hinted(s, seen)
    return s, (*news, Wait(POLL))


def _intruders(s: Switching, seen: Looked) -> str:
    """What runs again beside the mode that loads, in a sentence: two modes must not be loaded until the end of a long load."""
    if s.undoing or seen.reason:
        return ""
    back = [x for x in judge.foreign(s.request, s.target) if not seen.unit(x).gone]
    return f"{', '.join(back)} came back while {s.request.to} was loading; something else starts it" if back else ""


def _enter_ready(s: Switching, detail: str) -> Result:
    s, ended = done(s, detail)
    s, effects = step(replace(s, phase="ready"), "undo-ready" if s.undoing else "ready")
    return s, (*ended, *effects, looking(s))


def on_ready(s: Switching, seen: Looked) -> Result:
    s, runs = again(s, seen, left_behind(s))
    return plus(runs, _readying(s, seen))


def _readying(s: Switching, seen: Looked) -> Result:
    mode = s.request.mode(s.mode)
    s = noted(s, seen)
    refused = [(x, why) for verb, x, why in s.refused if verb == "start" and x in mode.services]
    intruders = _intruders(s, seen)
    if intruders:
        return fail(s, intruders, must_stop=True)
    state = judge.readiness(mode, seen, dict(s.base), s.seen, s.returned)
    answer = seen.answer(mode.url)
    s = replace(s, answers=answer.models != 0, health_at=s.health_at if answer.health is None else s.now)
    if not seen.reason and state.verdict == "fail":
        return explain(s, state.detail, state.service)
    if refused:
        return explain(s, f"{refused[0][0]} could not be started: {refused[0][1]}", refused[0][0])
    why = guarded(s, seen)
    if why:
        return fail(s, f"{why}: the launch was stopped")
    wrong = state.verdict == "wrong" and not seen.reason
    s = replace(s, wrong_at=(s.now if s.wrong_at is None else s.wrong_at) if wrong else None)
    if s.wrong_at is not None and s.now - s.wrong_at >= STEADY:
        return fail(s, state.detail)
    beside = ", ".join(x for x in left_behind(s) if not seen.unit(x).gone)
    if state.verdict == "ready" and not seen.reason and not beside:
        steady = s.now if s.steady_at is None else s.steady_at
        if answer.health in (200, *judge.CLOSED) if judge.asks_http(mode) else s.now - steady >= STEADY:
            if answer.health in judge.CLOSED and judge.asks_http(mode):
                s = replace(s, warnings=(*s.warnings, judge.BEHIND))
            return then(s, state.detail, _ready)
        s = replace(s, steady_at=steady)
    else:
        s = replace(s, steady_at=None)
    if s.now - s.since > s.request.ready_timeout:
        seconds = span(s.request.ready_timeout)
        if beside and not seen.reason:
            return fail(s, f"{beside} came back and could not be stopped within {seconds}")
        why = f"{mode.name} was not ready within {seconds}"
        return explain(s, f"{why}: {seen.reason}" if seen.reason else why, mode.services[0])
    s, news = hinted(s, seen)
    return s, (*news, Wait(POLL))


def _ready(s: Switching) -> Result:
    if s.undoing and not s.stuck:
        again = f"{s.previous} is hot again" if s.previous else "what ran before runs again"
        return close(s, "cancelled" if s.cancelled else "rolled-back", f"{s.failure.rstrip('.')}. {again}")
    if s.target.url and (s.target.proof or (s.stuck and asking.manner(s.target.engine).tokens and judge.asks_http(s.target))):
        s, effects = step(replace(s, phase="proof"), "undo-proof" if s.undoing else "proof", "ask for one token")
        return s, (*effects, Prove(s.target.url, s.target.model))
    return _proved(s)


def _proved(s: Switching) -> Result:
    if not s.undoing:
        return _enter_verify(s)
    why = s.failure.rstrip(".")
    if s.cancelled:
        return close(s, "cancelled", f"{why}. {s.previous} was started again anyway")
    return close(s, "warned", f"{s.previous} is hot, at the second start; at the first: {why}")


def on_proved(s: Switching, proved: Proved) -> Result:
    if proved.ok:
        return then(s, proved.reason or "one token came", _proved)
    return explain(s, f"{s.request.to} is ready but gives no token: {proved.reason}", s.target.services[0])


def _enter_verify(s: Switching) -> Result:
    s, effects = step(replace(s, phase="verify", mode=s.request.to, steady_at=None), "verify", judge.title(s.request))
    return s, (*effects, looking(s))


def on_verify(s: Switching, seen: Looked) -> Result:
    if seen.reason:
        return fail(s, f"the box cannot be looked at: {seen.reason}")
    others = [x for x in judge.foreign(s.request, s.target) if not seen.unit(x).gone]
    if others:
        return fail(s, f"{', '.join(others)} of {judge.owner(s.request, others[0])} runs too", must_stop=True)
    if s.request.to != NONE and not judge.is_hot(s.target, seen):
        return explain(s, f"{s.request.to} was ready and then was not any more", s.target.services[0])
    if s.steady_at is None and s.request.to != NONE:  # engines like to die right after they are ready
        return replace(s, steady_at=s.now), (Wait(STEADY),)
    loose = judge.loose(s.request, seen, s.request.to)
    unseen = judge.unseen(s.request)
    if loose:
        s = replace(s, warnings=(*s.warnings, judge.loose_words(loose)))
    proved = f"exactly one mode is hot: {s.request.to}" if s.request.to != NONE else "no mode is hot"
    proved = f"{s.request.to} is hot" if loose and s.request.to != NONE else "no mode with services is hot" if loose else proved
    s, ended = done(s, f"{proved}; nothing tells whether {', '.join(unseen)} runs" if unseen else proved)
    reason = "; ".join(s.warnings) if s.warnings else f"{s.request.to} is hot" if s.request.to != NONE else "no mode is hot"
    return plus(ended, close(s, "warned" if s.warnings else "done", reason))
