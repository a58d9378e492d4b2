"""What else goes with a job: never the floor, said before, and brought back after. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sovtui.onbox import judge
from sovtui.onbox.phrases import span
from sovtui.onbox.plan import NONE, Request
from sovtui.onbox.things import Need, Take
from sovtui.onbox.words import AskJobs, Brought, Effect, Effects, JobsTold, Look, Looked, Ran, Run, Step, Took, Wait
from sovtui.onbox.work import W

POLL = 0.5
LIMIT = 60.0
"""How long what is brought back may take to run."""
MOST = 8
"""So many are named of those that go with one job."""
_ING = {"start": "starting", "stop": "stopping", "restart": "restarting"}
_DOES = {"start": "starts", "stop": "stops", "restart": "restarts"}


def ask(request: Request, needs: Iterable[Need]) -> AskJobs:
    return AskJobs(tuple(dict.fromkeys(needs)), (*judge.all_services(request), *request.hold))


def floor(request: Request, takes: Iterable[Take]) -> str:
    """Why this may not be: a unit that must always run would go down. Empty if none would."""
    for take in takes:
        if take.service in request.floor and take.verb in ("stop", "restart"):
            return (
                f"{take.service} must always run, but {_ING[take.job]} {take.by} also {_word(take.verb)} it, "
                "as their units say: take that relation out of them, or do not keep both here"
            )
    return ""


def second(request: Request, takes: Iterable[Take]) -> str:
    """The same for a second mode that would be started, and for what would start again at once."""
    target = request.mode(request.to)
    others = judge.foreign(request, target)
    for take in takes:
        if take.verb == "start" and take.service in others and take.by in (*target.services, *request.hold):
            whose = judge.owner(request, take.service)
            return f"starting {take.by} also starts {take.service} of {whose}, as their units say: two modes would be loaded"
        if take.verb == "uphold" and take.by not in target.services:
            return (
                f"{take.service} upholds {take.by}: systemd would start that again at once; make {take.service} one of the services "
                "of its mode, to have it stopped with it"
            )
    return ""


def goes(takes: Iterable[Take], known: Iterable[str]) -> tuple[Take, ...]:
    """What goes down or starts anew, each once, without those that are `known` to."""
    found: dict[str, Take] = {}
    for take in takes:
        if take.verb in ("stop", "restart") and take.service not in known:
            found.setdefault(take.service, take)
    return tuple(found.values())


def wishes(taken: Iterable[Take]) -> tuple[Need, ...]:
    return tuple(Need("start", take.service) for take in taken)


def question(taken: Iterable[Take], lacking: Iterable[str], back: Iterable[str] = ()) -> str:
    """What is to be agreed to, in clauses; empty if nothing is. `back`: what is stopped on the way back alone."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for take in taken:
        groups.setdefault((take.job, take.by, take.verb), []).append(take.service)
    told = []
    for (job, by, verb), services in groups.items():
        when = "should it fail, " if job == "stop" and by in back else ""
        told.append(f"{when}{_ING[job]} {by} also {_word(verb)} {_names(services)}")
    never = [take.service for take in taken if take.service in lacking]
    if never:
        told.append(f"there is no right to start {_names(never)} again")
    return "; ".join(told)


def named(taken: Iterable[Take], lacking: Iterable[str], woken: Iterable[str] = ()) -> tuple[str, ...]:
    """What is agreed to with it, each by a name of its own. What comes to it later has another one."""
    goes = list(taken)
    never = [f"{take.service} for good" for take in goes if take.service in lacking]
    return (*(f"{take.verb} {take.service}" for take in goes), *never, *woken)


def woken(takes: Iterable[Take], stopped: Iterable[str]) -> tuple[str, ...]:
    """What may start again by itself what is `stopped`, each a clause."""
    return tuple(
        f"{take.service} starts {take.by} again when somebody uses it, unless it is one of the services of its mode and stops too"
        for take in takes
        if take.verb == "wake" and take.by in stopped
    )


def _word(verb: str) -> str:
    return _DOES.get(verb, verb)


def _names(services: list[str]) -> str:
    if len(services) > MOST:
        return f"{', '.join(services[:MOST])} and {len(services) - MOST} more"
    return " and ".join([", ".join(services[:-1]), services[-1]] if len(services) > 1 else services)


def another(request: Request, takes: Iterable[Take]) -> str:
    """Why a smaller action may not be: it would start another mode. Empty if it would not."""
    mine = _kin(request, request.service)
    for take in takes:
        whose = [m.name for m in request.modes if take.service in m.services and take.service not in mine]
        if take.verb == "start" and whose and take.job != "stop":
            return f"{_ING[take.job]} {take.by} also starts {take.service} of {whose[0]}, as their units say: switch to {whose[0]} instead"
    return ""


def _kin(request: Request, service: str) -> set[str]:
    """The services of all modes that have this one."""
    return {x for mode in request.modes if service in mode.services for x in mode.services}


# -- at the end: what ran before runs again ----------------------------------------------------------


def begin(s: W, due: Iterable[str]) -> tuple[W, Effects]:
    s = replace(s, phase="bring-look", bring=tuple(due), step="bring-back", since=s.now)
    return s, (Step("bring-back", "running", None, ", ".join(s.bring)), look(s))


def look(s: W) -> Look:
    return Look(tuple(dict.fromkeys((*s.bring, *judge.all_services(s.request)))))


def advance(s: W, event: object) -> tuple[W, Effects, bool]:
    """What follows from an answer, and whether all is told that there is to tell."""
    if isinstance(event, Ran):
        bad = () if event.ok else ((event.service, event.reason or "it could not be started"),)
        left = tuple(x for x in s.bring_open if x != event.service)
        return replace(s, bring_open=left, bring_bad=(*s.bring_bad, *bad)), (), False
    if isinstance(event, JobsTold):
        return _start(s, event)
    if not isinstance(event, Looked):
        return s, (look(s),), False
    down = _down(s, event)
    if s.phase == "bring-look":
        gone = tuple((x, why) for x in down if (why := judge.cannot_start(event.unit(x), s.request.host)))
        s = replace(s, bring_bad=(*gone, *((x, why) for x in down if (why := _beside(s.request, x, event)))))
        if event.reason or not _left(s, down):
            return _over(s, event)
        s = replace(s, phase="bring-jobs", bring_open=_left(s, down))
        return s, (ask(s.request, (Need("start", x) for x in s.bring_open)),), False
    if ((s.bring_open and _unproved(s, event)) or event.reason) and s.now - s.since < LIMIT:
        return s, (Wait(POLL),), False
    return _over(s, event)


def _down(s: W, seen: Looked) -> tuple[str, ...]:
    return tuple(x for x in s.bring if not seen.unit(x).serving)


def _unproved(s: W, seen: Looked) -> tuple[str, ...]:
    """What does not run, or still starts: until its start has returned it may fail."""
    return tuple(x for x in s.bring if x in _down(s, seen) or (x in s.bring_open and seen.unit(x).active != "active"))


def _left(s: W, services: Iterable[str]) -> tuple[str, ...]:
    bad = [x for x, _ in s.bring_bad]
    return tuple(x for x in services if x not in bad)


def _beside(request: Request, service: str, seen: Looked) -> str:
    """Why a mode's own service may not be started: another mode runs."""
    mine = _kin(request, service)
    others = [x for mode in request.modes for x in mode.services if x not in mine and x not in request.floor]
    up = [x for x in others if seen.unit(x).up] if mine else []
    return f"{up[0]} of {judge.owner(request, up[0])} runs" if up else ""


def _start(s: W, told: JobsTold) -> tuple[W, Effects, bool]:
    """Start what takes nothing along that is not to be touched. The first that would is left out; then the others are asked about anew."""
    if told.reason:
        s = replace(s, bring_bad=(*s.bring_bad, *((x, told.reason) for x in s.bring_open)), bring_open=())
    kept = (*judge.all_services(s.request), *s.request.hold, s.request.service)
    bad = {
        t.by: f"that also {_word(t.verb)} {t.service}"
        for t in told.takes
        if t.verb not in ("uphold", "wake") and t.service in kept
    }
    s = replace(s, bring_bad=(*s.bring_bad, *bad.items()))
    s = replace(s, bring_open=_left(s, s.bring_open))
    if bad and s.bring_open:
        return s, (ask(s.request, (Need("start", x) for x in s.bring_open)),), False
    runs: list[Effect] = [Run("start", x) for x in s.bring_open]
    return replace(s, phase="bring"), (*runs, Wait(0.2)), False


def _over(s: W, seen: Looked) -> tuple[W, Effects, bool]:
    down = s.bring if seen.reason else _unproved(s, seen)
    known = dict(s.bring_bad)
    late = f"it does not run after {span(s.now - s.since)}" if s.bring_open else "it did not stay up"
    starts = f"it still starts after {span(s.now - s.since)}"
    bad = tuple((x, known.get(x) or seen.reason or (starts if seen.unit(x).serving else late)) for x in down)
    never = [x for x in down if judge.cannot_start(seen.unit(x), s.request.host)]  # told once, and never again
    up = tuple(x for x in s.bring if x not in down or (x in never and not seen.reason))
    why = trouble(replace(s, bring_bad=bad))
    step = Step("bring-back", "failed" if bad else "done", s.now - s.since, why or ", ".join(s.bring))
    told: Effects = (Brought(up),) if up else ()
    return replace(s, bring_bad=bad, bring_open=(), step=""), (*told, step), True


def trouble(s: W) -> str:
    """Of what was to run again: what does not, and why; empty if all does."""
    return "; ".join(f"{x} was stopped too and does not run again: {why}" for x, why in s.bring_bad)


def with_trouble(s: W) -> W:
    """What is said of the action, with what does not run again: then it is done, but not all of it."""
    why = trouble(s)
    if not why:
        return s
    return replace(s, reason=f"{s.reason.rstrip('.')}. {why}", outcome="warned" if s.outcome == "done" else s.outcome)


def notes(request: Request, taken: Iterable[Take], previous: str) -> tuple[Took, ...]:
    """Whose they are: of the mode whose service they go with, else of the one that is left."""
    modes: dict[str, list[str]] = {}
    for take in taken:
        mine = [m.name for m in request.modes if take.job == "stop" and take.by in m.services]
        modes.setdefault(previous if previous in mine or not mine else mine[0], []).append(take.service)
    return tuple(Took(mode or NONE, tuple(services)) for mode, services in modes.items())
