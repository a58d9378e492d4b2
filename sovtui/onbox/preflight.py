"""Before anything is touched: what runs, which rights, busy or resident, will it fit; then hold and drain. Pure."""

from __future__ import annotations

from dataclasses import replace

from sovtui.onbox import asking, judge, taking, weighing
from sovtui.onbox.clearing import enter_stop
from sovtui.onbox.ending import finish, then
from sovtui.onbox.failing import fail
from sovtui.onbox.phrases import span
from sovtui.onbox.plan import NONE, Consent, covers
from sovtui.onbox.switchstate import POLL, Result, Switching, done, plus, run, step
from sovtui.onbox.things import LoadProbe, Need, Probe
from sovtui.onbox.words import (
    CheckRights,
    Effects,
    Figures,
    Held,
    JobsTold,
    Look,
    Looked,
    Measure,
    Measured,
    Prove,
    Proved,
    Rights,
    Step,
    Wait,
    Weigh,
    Weighed,
)

PATIENT = 5.0
"""How long the second look at one that is silent may take."""
TOKEN_SECONDS = 20.0
"""So long one token may take of a mode that says that it is well, unless what it works on moves meanwhile."""
DRAINED = 2
"""Looks in a row that find nothing to do: gauges read zero between two batches."""


def begin(s: Switching) -> Result:
    s, effects = step(replace(s, began=s.now), "preflight", f"look at {s.request.host or 'the box'}")
    probes = tuple({p.url: p for m in s.request.modes for p in judge.probe_of(m)}.values())
    services = (*judge.all_services(s.request), *s.request.hold)
    return replace(s, phase="look"), (*effects, Look(services, probes))


def on_look(s: Switching, seen: Looked) -> Result:
    request, target = s.request, s.target
    s = replace(s, held=request.left)
    if seen.reason:
        return finish(s, "failed", f"the box cannot be looked at: {seen.reason}")
    why = judge.floor_within(request, seen)
    if why:
        return finish(s, "failed", why)
    for service in target.services:
        why = judge.cannot_start(seen.unit(service), request.host)
        if why:
            return finish(s, "failed", why)
    if judge.in_doubt(request, target, seen):
        s = replace(s, first=seen)
        if judge.is_hot(target, seen):
            return replace(s, phase="pulse"), (Weigh(_target_probe(s)),)
        return replace(s, phase="listen"), (Look(judge.all_services(request), _patient(s)),)
    return _go_on(s, seen)


# -- whether the wanted mode, which runs, hangs ------------------------------------------------------


def _target_probe(s: Switching) -> tuple[LoadProbe, ...]:
    mode = s.target
    return (LoadProbe(mode.name, mode.engine, mode.url, mode.services),)


def _patient(s: Switching) -> tuple[Probe, ...]:
    return tuple(replace(probe, patience=PATIENT) for probe in judge.probe_of(s.target))


def on_listen(s: Switching, again: Looked) -> Result:
    """It is silent, or was told to hang: once more, with more patience."""
    if again.reason:
        return finish(s, "failed", f"the box cannot be looked at: {again.reason}")
    first = s.first or again
    others = tuple(a for a in first.answers if a.url != s.target.url)
    seen = replace(first, now=again.now, units=(*again.units, *first.units), answers=(*others, *again.answers))
    s = replace(s, first=seen)
    if judge.is_hot(s.target, seen):
        return replace(s, phase="pulse"), (Weigh(_target_probe(s)),)
    if judge.is_stuck(s.request, s.target, seen):
        return _go_on(s, seen, s.request.stuck or "its port takes connections and no whole answer comes")
    return _go_on(s, seen)


def on_pulse(s: Switching, weighed: Weighed) -> Result:
    """It says that all is well: a token shows whether it computes. First what it works on, to see whether that moves meanwhile."""
    load = weighed.load(s.target.name)
    manner = asking.manner(s.target.engine)
    if s.step == "preflight" and s.pulse == () and manner.tokens and (load.progress or s.request.stuck):
        s = replace(s, phase="token", pulse=(*load.progress, 0.0))
        return s, (Prove(s.target.url, s.target.model, TOKEN_SECONDS),)
    seen = s.first or Looked(s.now, ())
    if s.pulse and (s.request.stuck or (*load.progress, 0.0) == s.pulse):
        why = (
            s.request.stuck
            or f"it says that it is well, but gave no token within {span(TOKEN_SECONDS)} and made none for anybody"
        )
        return _go_on(s, seen, why)
    return _go_on(s, seen)


def on_token(s: Switching, proved: Proved) -> Result:
    seen = s.first or Looked(s.now, ())
    if proved.ok and not proved.certain and s.request.stuck:
        return _go_on(s, seen, s.request.stuck)
    if proved.silent or (s.request.stuck and not proved.ok):
        return replace(s, phase="pulse"), (Weigh(_target_probe(s)),)
    if s.request.stuck and judge.is_hot(s.target, seen):
        return finish(s, "done", f"{s.request.to} does not hang any more: it gave a token. Nothing was touched")
    return _go_on(s, seen)


def _go_on(s: Switching, seen: Looked, stuck: str = "") -> Result:
    request, target = s.request, s.target
    if stuck and not request.consent.stuck:
        return finish(
            s,
            "refused",
            f"{request.to} does not answer: {stuck}. Nothing was touched; confirm it to have it stopped, killed if it does not stop, "
            "and started again",
            Consent(stuck=True),
        )
    foreign = tuple(x for x in judge.foreign(request, target) if not seen.unit(x).gone)
    loose = judge.loose(request, seen, target.name)
    if loose and not stuck and (foreign or request.to == NONE or not judge.is_hot(target, seen)):
        why = f"{judge.loose_words(loose)}: two modes would be loaded" if request.to != NONE else judge.loose_words(loose)
        return finish(s, "refused", f"{why}. Nothing was touched; end it yourself, or give its mode `services`")
    if loose and not stuck:
        return finish(s, "warned", f"{request.to} is already hot, but {judge.loose_words(loose)}")
    if not stuck and not foreign and (request.to == NONE or judge.is_hot(target, seen)):
        return finish(s, "done", "no mode is hot already" if request.to == NONE else f"{request.to} is already hot")
    again = judge.can_be_ended(request, target) if stuck else judge.stale(request, target, seen)
    if stuck and target.command:
        foreign = ()  # the owner's own command sees to them
    stop = tuple(dict.fromkeys((*foreign, *again)))
    previous = request.to if stuck else judge.previous_mode(request, target, seen)
    kept = (*stop, *request.floor, *request.mode(previous).services)
    running = tuple(x for x in target.services if seen.unit(x).up and x not in kept)
    hold = tuple(x for x in request.hold if seen.unit(x).up or x in request.left)
    s = replace(
        s,
        previous=previous,
        to_stop=stop,
        started=running,
        phase="jobs",
        hold=hold,
        first=seen,
        floor_up=tuple(x for x in request.floor if seen.unit(x).active == "active"),
        serving=tuple(x for x in target.services if seen.unit(x).serving),
        probes=tuple(p for p in weighing.probes(request, stop, seen) if not stuck or p.mode != request.to),
        stuck=stuck,
        hung=tuple(dict.fromkeys((*(again if stuck else ()), *judge.silent_services(request, seen, stop)))),
    )
    verbs = [*(Need("stop", x) for x in (*stop, *hold)), *(Need("start", x) for x in (*target.services, *hold))]
    return s, (taking.ask(request, (*verbs, *(Need("stop", x) for x in judge.undone(request, target, previous)))),)


def on_jobs(s: Switching, told: JobsTold) -> Result:
    """What else would stop or start: never one of the floor, nor another mode."""
    request, target, seen = s.request, s.target, s.first or Looked(s.now, ())
    why = told.reason and f"the box cannot be looked at: {told.reason}"
    why = why or taking.floor(request, told.takes) or taking.second(request, told.takes)
    if why:
        return finish(s, "failed", why)
    with_it = [x.service for x in told.takes if x.verb == "stop" and x.service in target.services]
    taken = taking.goes(told.takes, (*s.to_stop, *s.hold, *target.services))
    needs = (*judge.needs(request, s.previous, s.to_stop, target, seen, s.hold), *(Need("start", x) for x in with_it))
    rights = CheckRights(needs, request.drop_caches and not target.command, taking.wishes(taken))
    return replace(s, phase="rights", taken=taken, woken=taking.woken(told.takes, s.to_stop)), (rights,)


def on_rights(s: Switching, answer: Rights) -> Result:
    if answer.missing:
        return finish(s, "failed", "; ".join(answer.missing))
    s = replace(s, lacking=answer.lacking)
    return replace(s, phase="weigh"), (Weigh(s.probes, s.to_stop, judge.all_services(s.request)),)


def on_weigh(s: Switching, weighed: Weighed) -> Result:
    """Refuse what would be lost or would not fit and was not agreed to: nothing has been touched yet."""
    consent, first = s.request.consent, s.first or Looked(s.now, ())
    told = weighing.fits(s.request, s.to_stop, first, weighed)
    goes = taking.question(s.taken, s.lacking, judge.undone(s.request, s.target, s.previous))
    busy = tuple(load.mode for load in weighed.loads if load.total)
    takes = taking.named(s.taken, s.lacking, s.woken)
    asks = Consent(
        () if covers(consent.busy, busy) else busy,
        told.bad and not consent.not_fitting,
        takes=() if covers(consent.takes, takes) else takes,
    )
    wanted = (
        weighing.busy(weighed) if asks.busy else "",
        "; ".join(filter(None, (goes, *s.woken))) if asks.takes else "",
        told.sentence if asks.not_fitting else "",
    )
    why = ". ".join(w[0].upper() + w[1:].rstrip(".") if i and w else w.rstrip(".") for i, w in enumerate(filter(None, wanted)))
    if why:
        return finish(s, "refused", f"{why}. Nothing was touched; confirm it to go on", asks)
    words = told.sentence.rstrip(".") if s.target.services and told.word != "unknown" else ""
    known = tuple(load.mode for load in weighed.loads if load.known)
    return replace(s, phase="before", load=weighing.remaining(weighed), told=known, said=words), (Measure(),)


def on_before(s: Switching, measured: Measured) -> Result:
    available = measured.value("memory.available_bytes") or 0.0
    s = replace(s, available=available, available_before=available)
    detail = f"{s.previous} is hot" if s.previous else "no mode is hot"
    detail = f"{s.previous} hangs: {s.stuck}" if s.stuck else detail
    s, (ended,) = done(replace(s, said=""), f"{detail}; {s.said}" if s.said else detail, s.previous)
    took = taking.notes(s.request, s.taken, s.previous)
    return plus((Figures("before", measured.values), ended, *took), _enter_hold(s))


def _enter_hold(s: Switching) -> Result:
    if not s.hold:
        return _enter_drain(s)
    s, effects = step(replace(s, phase="hold", held=s.hold), "hold", ", ".join(s.hold))
    s, runs = run(s, "stop", s.hold)
    return s, (Held(s.hold), *effects, *runs, Wait(0.2))


def on_hold(s: Switching, seen: Looked) -> Result:
    up = [x for x in s.held if seen.unit(x).up]
    refused = [(x, why) for verb, x, why in s.refused if verb == "stop" and x in up]
    if refused and not seen.reason:
        return fail(s, f"{refused[0][0]} could not be held: {refused[0][1]}")
    pending = [x for verb, x in s.pending if verb == "stop" and x in s.held]
    jobs = [x for x in judge.jobs_of(s.held) if seen.unit(x).up and x not in judge.all_services(s.request)]
    if not up and not jobs and not pending and not seen.reason:
        return then(s, ", ".join(s.held), _enter_drain)
    if s.now - s.since > s.request.stop_timeout:
        return fail(s, seen.reason or f"{', '.join([*up, *jobs]) or 'what fights the switch'} still runs")
    return s, (Wait(POLL),)


def _enter_drain(s: Switching) -> Result:
    if not s.request.drain_timeout or not s.load or not s.probes:
        return enter_stop(s)
    s, effects = step(replace(s, phase="drain", drained=0), "drain", _left(s.load))
    return s, (*effects, Weigh(s.probes, seconds=s.request.drain_timeout))


def on_drain(s: Switching, weighed: Weighed) -> Result:
    left = weighing.remaining(weighed)
    if not all(weighed.load(mode).known for mode in s.told):
        left = max(left, s.load)  # one that said how much it has to do and says nothing now has not ended it
    s = replace(s, drained=0 if left else s.drained + 1)
    if s.drained >= DRAINED:
        return then(s, "nothing runs any more", enter_stop)
    if s.now - s.since >= s.request.drain_timeout:
        told = f"{_left(left)} after {span(s.request.drain_timeout)}: cut off" if left else "nothing runs any more"
        return then(s, told, enter_stop)
    news: Effects = (Step("drain", "running", None, _left(left)),) if left and left != s.load else ()
    return replace(s, load=left or s.load), (*news, Wait(1.0))


def _left(count: float) -> str:
    return f"{count:.0f} {'request remains' if count == 1 else 'requests remain'}"
