"""The smaller actions: drop the page cache, run a backup, restart a service. Pure machines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sovtui.onbox import judge, signatures, taking
from sovtui.onbox.names import kind_of
from sovtui.onbox.phrases import size, span
from sovtui.onbox.plan import Consent, Request, covers
from sovtui.onbox.things import NOBODY, Need, Unit
from sovtui.onbox.words import (
    Began,
    Cancelled,
    CheckRights,
    Drop,
    Dropped,
    Effects,
    Event,
    Explain,
    Explained,
    Figures,
    Follow,
    JobsTold,
    Kept,
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
)
from sovtui.onbox.work import Work, close, finish

POLL = 0.5
STEADY = 2.0
RESTART_LIMIT = 300.0


@dataclass(frozen=True)
class Chore(Work):
    """Where such an action is."""

    before: tuple[tuple[str, float], ...] = ()
    base: int = 0
    was: Unit = NOBODY
    """The service before anything was done, and as it was last seen."""
    unit: Unit = NOBODY
    asked: float = 0.0
    ran: bool = False
    """A run of its own was seen, begun since then."""
    returned: bool = False
    refused: str = ""
    steady_at: float | None = None
    stopping: bool = False


Result = tuple[Chore, Effects]


def begin(request: Request) -> Chore:
    return Chore(request)


def advance(s: Chore, event: Event) -> Result:
    """What follows from an event."""
    if s.ended:
        return s, ()
    s = replace(s, now=event.now)
    if s.phase in _BRINGING and isinstance(event, (Looked, JobsTold, Ran, Tick)):
        return _brought(*taking.advance(s, event))
    after, effects = _advance(s, event)
    if after.phase == "after" and s.phase != "after" and after.taken:  # what is left are the figures: first what went along
        after, more = taking.begin(after, (take.service for take in after.taken))
        effects = (*(x for x in effects if not isinstance(x, Measure)), *more)
    return after, effects


_BRINGING = ("bring-look", "bring-jobs", "bring")


def _brought(s: Chore, effects: Effects, over: bool) -> Result:
    if not over:
        return s, effects
    return replace(taking.with_trouble(s), phase="after"), (*effects, Measure())


def _advance(s: Chore, event: Event) -> Result:
    service, verb = s.request.service, "start" if s.request.kind == "backup" else "restart"
    if isinstance(event, Began):
        s = replace(s, began=event.now, since=event.now, step="preflight")
        begun = (Step("preflight", "running"),)
        if not service:
            return replace(s, phase="rights"), (*begun, CheckRights((), drop=True))
        services = tuple(dict.fromkeys([service, *judge.all_services(s.request)]))
        return replace(s, phase="look"), (*begun, Look(services, judge.loose_probes(s.request)))
    if isinstance(event, Cancelled):
        s = replace(s, cancelled=event.words)
        if s.phase in ("look", "jobs", "rights", "before"):
            return finish(s, "cancelled", f"{s.cancelled} before anything was changed")
        return _stop(s) if s.phase == "backup" and not s.stopping else (s, ())
    if isinstance(event, Line):
        keep = not signatures.is_noise(event.text) and not signatures.is_bar(event.text)
        return s, (Kept(event.service, event.text),) if keep else ()
    if isinstance(event, Ran):
        if event.verb != verb:
            return s, ()
        return replace(s, returned=True, refused="" if event.ok else event.reason or "no reason given"), ()
    if isinstance(event, Tick):
        return s, (Look((service,)),)
    if isinstance(event, Rights):
        if event.missing:
            return finish(s, "failed", "; ".join(event.missing))
        names, agreed = taking.named(s.taken, event.lacking), s.request.consent.takes
        if not covers(agreed, names):
            why = taking.question(s.taken, event.lacking)
            return finish(s, "refused", f"{why}. Nothing was touched; confirm it to go on", Consent(takes=names))
        return replace(s, phase="before"), (Measure(),)
    if isinstance(event, JobsTold):
        return _on_jobs(s, event, verb)
    if isinstance(event, Measured):
        return _on_measured(s, event, verb)
    if isinstance(event, Dropped):
        return close(
            s, "done" if event.ok else "failed", "" if event.ok else f"the page cache could not be dropped: {event.reason}"
        )
    if isinstance(event, Explained):
        return _on_explained(s, event)
    if not isinstance(event, Looked):
        return s, ()
    if s.phase == "look":
        return _on_look(s, event, verb)
    return (
        _on_backup(s, event.unit(service), event.reason) if verb == "start" else _on_restart(s, event.unit(service), event.reason)
    )


def _on_look(s: Chore, seen: Looked, verb: str) -> Result:
    request, unit = s.request, seen.unit(s.request.service)
    if seen.reason:
        return finish(s, "failed", f"the box cannot be looked at: {seen.reason}")
    why = judge.cannot_start(unit, request.host)
    kind, name = kind_of(unit.name)
    if not why and verb == "start" and kind in ("system", "user") and not name.endswith(".service"):
        why = f"{name} is no service: whether a backup ran is told of the service that does it alone, so name that one"
    if not why and verb == "start" and _has_exited(unit):
        return finish(s, "skipped", f"skipped, because {_ALREADY}")
    if not why and verb == "start" and unit.up:
        why = f"{unit.name} is already running"
    if not why and verb == "restart":
        why = _two_modes(request, seen)
    if why:
        return finish(s, "failed", why)
    s = replace(s, phase="jobs", base=unit.restarts, was=unit)
    also = [Need("stop", unit.name)] if verb == "start" else []  # so a backup is cancelled
    return s, (taking.ask(request, [Need(verb, unit.name), *also]),)


def _on_jobs(s: Chore, told: JobsTold, verb: str) -> Result:
    """What else stops, starts or starts anew with it."""
    why = told.reason and f"the box cannot be looked at: {told.reason}"
    why = why or taking.floor(s.request, told.takes) or taking.another(s.request, told.takes)
    if why:
        return finish(s, "failed", why)
    taken = taking.goes((x for x in told.takes if x.job == verb), (s.request.service,))
    needs = (Need(verb, s.was.name), *((Need("reset-failed", s.was.name),) if s.was.limited else ()))
    rights = CheckRights(needs, wishes=taking.wishes(taken))
    return replace(s, phase="rights", taken=taken), (rights,)


_ALREADY = "it is active already, though its process has ended (RemainAfterExit=): systemd starts it again only after a stop"


def _has_exited(unit: Unit) -> bool:
    return unit.active == "active" and unit.sub == "exited" and kind_of(unit.name)[0] in ("system", "user")


def _seen(s: Chore, unit: Unit) -> Chore:
    """Whether it is another run than before. A service's is one once its main process has begun: before that a condition may end it."""
    if kind_of(unit.name)[0] not in ("system", "user"):
        return replace(s, unit=unit, ran=True)  # docker knows no conditions
    new = unit.began != s.was.began and unit.began > 0
    if not unit.name.endswith(".service"):
        new = unit.invocation not in ("", s.was.invocation)
    return replace(s, unit=unit, ran=s.ran or new)


def _two_modes(request: Request, seen: Looked) -> str:
    """A restart also starts what is down: that must never load a second mode."""
    mine = [m for m in request.modes if request.service in m.services]
    if not mine or request.service in request.floor or seen.unit(request.service).up:
        return ""
    allowed = {x for m in mine for x in m.services}
    others = [x for m in request.modes for x in m.services if x not in allowed and x not in request.floor and seen.unit(x).up]
    if not others:
        loose = judge.loose(request, seen)
        return f"{request.service} is down, and {judge.loose_words(loose)}: two modes would be loaded" if loose else ""
    return (
        f"{request.service} is down and {others[0]} of {judge.owner(request, others[0])} runs: switch to {mine[0].name} instead"
    )


def _on_measured(s: Chore, measured: Measured, verb: str) -> Result:
    if s.phase == "after":
        reason = s.reason
        if s.request.kind == "drop-caches" and s.outcome == "done":
            reason = _gain(s.before, measured)
        s, effects = finish(s, s.outcome, reason)
        return s, (Figures("after", measured.values), *effects)
    done = (Figures("before", measured.values), Step("preflight", "done", s.now - s.since))
    s = replace(s, before=measured.values, since=s.now)
    if s.request.kind == "drop-caches":
        return replace(s, phase="drop", step="drop-caches"), (*done, Step("drop-caches", "running"), Drop())
    name = "backup" if verb == "start" else "restart"
    service = s.request.service
    effects = (Step(name, "running", None, service), Follow(service), Run(verb, service), Wait(0.2))
    return replace(s, phase=name, step=name, asked=s.now), (*done, *effects)


def _gain(before: tuple[tuple[str, float], ...], measured: Measured) -> str:
    old, new = dict(before).get("memory.available_bytes"), measured.value("memory.available_bytes")
    free, freed = dict(before).get("memory.free_bytes"), measured.value("memory.free_bytes")
    if old is None or new is None or free is None or freed is None:
        return "page cache dropped"
    return f"page cache dropped: {size(max(freed - free, 0.0))}; {size(new)} available"


def _on_backup(s: Chore, unit: Unit, trouble: str) -> Result:
    if not trouble:
        s = _seen(s, unit)
    ended = s.returned and (not unit.up or _has_exited(unit))
    if trouble or not ended:
        return s, (Wait(POLL),)
    if s.stopping:
        return close(s, "cancelled", f"{s.cancelled}: {unit.name} was stopped before its end")
    failed = unit.active == "failed" or unit.result not in ("", "success")
    if not failed and s.ran and (_has_exited(unit) or (unit.oneshot and not s.refused)):
        return _ended_well(s)  # also where only a later try of its own (`Restart=`) did
    if failed or s.refused or not s.ran or kind_of(unit.name)[0] in ("system", "user"):
        how = f"{unit.name} failed{judge.how(unit)}" if unit.active == "failed" and s.ran else s.refused
        return replace(s, phase="explain", reason=how), (Explain(unit.name, True, unit.oneshot),)
    return _ended_well(s)


def _stop(s: Chore) -> Result:
    told = Step(s.step, "running", None, f"{s.cancelled}: {s.request.service} is stopped before its end")
    return replace(s, stopping=True), (told, Run("stop", s.request.service), Wait(POLL))


def _ended_well(s: Chore) -> Result:
    if 0 < s.unit.began < s.asked:
        why = f"it ran already: somebody else had started it {span(s.asked - s.unit.began)} before"
        return close(s, "skipped", f"skipped, because {why}")
    return close(s, "done", f"{s.unit.name} ended well after {span(s.now - s.since)}")


def _on_restart(s: Chore, unit: Unit, trouble: str) -> Result:
    if trouble and s.now - s.since <= RESTART_LIMIT:
        return s, (Wait(POLL),)
    if s.refused:
        reason = f"{unit.name} could not be restarted: {s.refused}"
        return replace(s, phase="explain", reason=reason), (Explain(unit.name),)
    s = replace(_seen(s, unit), base=min(s.base, unit.restarts))
    if s.returned and s.ran and unit.oneshot and (unit.active, unit.result) == ("inactive", "success"):
        return close(s, "done", f"{unit.name} was restarted and ended well")
    if s.returned and unit.active == "active" and unit.invocation and unit.invocation == s.was.invocation:
        return close(s, "failed", f"{unit.name} was not restarted: it is still the run from before")
    died = s.returned and (not unit.serving or unit.restarts > s.base or unit.restarting)
    if died:
        return replace(s, phase="explain", reason=f"{unit.name} did not stay up after the restart"), (Explain(unit.name),)
    if s.returned and unit.active == "active":
        s = replace(s, steady_at=s.now if s.steady_at is None else s.steady_at)
        if s.now - (s.steady_at or 0.0) >= STEADY:
            return close(s, "done", f"{unit.name} was restarted and stays active")
    if s.now - s.since > RESTART_LIMIT:
        return close(s, "failed", f"{unit.name} was not active within {span(RESTART_LIMIT)}")
    return s, (Wait(POLL),)


def _on_explained(s: Chore, answer: Explained) -> Result:
    skipped = answer.skipped or (s.unit.skipped if s.unit.skipped_at >= s.asked else "")
    if skipped and not s.ran:
        was = "was stopped and" if s.was.up else "did not run before and"
        down = "" if s.request.kind == "backup" or s.unit.up else f"; {s.unit.name} {was} does not run now"
        return close(s, "skipped", f"skipped, because {skipped}{down}")
    if s.request.kind == "backup" and s.unit.active != "failed" and (answer.well or not s.reason):
        if answer.well is False:
            return close(s, "failed", f"{s.unit.name} was stopped by somebody else before its end")
        if answer.ran or s.ran:
            return _ended_well(s)
        if s.was.invocation and s.unit.invocation == s.was.invocation:
            return close(s, "skipped", "skipped, because systemd made no new run of it")
        why = answer.reason or "its journal does not say"
        return close(s, "warned", f"it was started, but whether it ran is not known: systemd keeps no record, and {why}")
    find = signatures.last_error if s.request.kind == "backup" else signatures.find_cause
    cause = find(answer.lines) or (answer.reason and f"its journal is of no help: {answer.reason}")
    reason = s.reason.partition(" See 'journalctl")[0].rstrip(".")
    return close(s, "failed", f"{reason}: {cause}" if cause else reason)
