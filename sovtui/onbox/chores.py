"""The smaller actions: drop the page cache, run a backup, restart a service. Pure machines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sovtui.onbox import judge, signatures
from sovtui.onbox.phrases import size, span
from sovtui.onbox.plan import Request
from sovtui.onbox.things import Need, Unit
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
    returned: bool = False
    refused: str = ""
    seen: bool = False
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
    service, verb = s.request.service, "start" if s.request.kind == "backup" else "restart"
    if isinstance(event, Began):
        s = replace(s, began=event.now, since=event.now, step="preflight")
        begun = (Step("preflight", "running"),)
        if not service:
            return replace(s, phase="rights"), (*begun, CheckRights((), drop=True))
        services = tuple(dict.fromkeys([service, *judge.all_services(s.request)]))
        return replace(s, phase="look"), (*begun, Look(services))
    if isinstance(event, Cancelled):
        return replace(s, cancelled=event.words), ()
    if isinstance(event, Line):
        keep = not signatures.is_noise(event.text) and not signatures.is_bar(event.text)
        return s, (Kept(event.service, event.text),) if keep else ()
    if isinstance(event, Ran):
        if event.verb != verb:
            return s, ()
        return replace(s, returned=True, refused="" if event.ok else event.reason or "no reason given"), ()
    if s.cancelled and s.phase in ("look", "rights", "before"):
        return finish(s, "cancelled", f"{s.cancelled} before anything was changed")
    if isinstance(event, Tick):
        return s, (Look((service,)),)
    if isinstance(event, Rights):
        if event.missing:
            return finish(s, "failed", "; ".join(event.missing))
        return replace(s, phase="before"), (Measure(),)
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
    if not why and verb == "start" and unit.up:
        why = f"{unit.name} is already running"
    if not why and verb == "restart":
        why = _two_modes(request, seen)
    if why:
        return finish(s, "failed", why)
    return replace(s, phase="rights", base=unit.restarts), (CheckRights((Need(verb, unit.name),)),)


def _two_modes(request: Request, seen: Looked) -> str:
    """A restart also starts what is down: that must never load a second mode."""
    mine = [m for m in request.modes if request.service in m.services]
    if not mine or request.service in request.floor or seen.unit(request.service).up:
        return ""
    allowed = {x for m in mine for x in m.services}
    others = [x for m in request.modes for x in m.services if x not in allowed and x not in request.floor and seen.unit(x).up]
    if not others:
        return ""
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
    return replace(s, phase=name, step=name), (*done, *effects)


def _gain(before: tuple[tuple[str, float], ...], measured: Measured) -> str:
    old, new = dict(before).get("memory.available_bytes"), measured.value("memory.available_bytes")
    free, freed = dict(before).get("memory.free_bytes"), measured.value("memory.free_bytes")
    if old is None or new is None or free is None or freed is None:
        return "page cache dropped"
    return f"page cache dropped: {size(max(freed - free, 0.0))}; {size(new)} available"


def _on_backup(s: Chore, unit: Unit, trouble: str) -> Result:
    s = replace(s, seen=s.seen or unit.up)
    if s.cancelled and not s.stopping:
        return replace(s, stopping=True), (Run("stop", unit.name), Wait(POLL))
    ended = s.returned and not unit.up
    if trouble or not ended:
        return s, (Wait(POLL),)
    if s.stopping:
        return close(s, "cancelled", f"{s.cancelled}: {unit.name} was stopped before its end")
    if s.refused or unit.active == "failed" or unit.result not in ("", "success"):
        how = f"{unit.name} failed ({unit.result}, status {unit.status})" if unit.active == "failed" else s.refused
        return replace(s, phase="explain", reason=how), (Explain(unit.name),)
    return close(s, "done", f"{unit.name} ended well after {span(s.now - s.since)}")


def _on_restart(s: Chore, unit: Unit, trouble: str) -> Result:
    if trouble and s.now - s.since <= RESTART_LIMIT:
        return s, (Wait(POLL),)
    if s.refused:
        reason = f"{unit.name} could not be restarted: {s.refused}"
        return replace(s, phase="explain", reason=reason), (Explain(unit.name),)
    s = replace(s, base=min(s.base, unit.restarts))
    died = s.returned and (not unit.serving or unit.restarts > s.base or unit.sub == "auto-restart")
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
    find = signatures.last_error if s.request.kind == "backup" else signatures.find_cause
    cause = find(answer.lines) or (answer.reason and f"its journal is of no help: {answer.reason}")
    return close(s, "failed", f"{s.reason}: {cause}" if cause else s.reason)
