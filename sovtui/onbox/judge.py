"""The decisions of a switch, each a function of what was seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sovtui.onbox import asking
from sovtui.onbox.names import kind_of
from sovtui.onbox.plan import NONE, ModePlan, Request
from sovtui.onbox.things import Answer, Need, Probe, Unit
from sovtui.onbox.words import Looked

CLOSED = (401, 403)
BEHIND = "it answers, but to a key only: whether it is ready, and with which model, cannot be seen from here"
YOUNG = 30.0
"""Seconds since its start in which one that was told to hang is another one by now."""


def asks_http(mode: ModePlan) -> bool:
    """Whether its readiness is told by HTTP; of engines that nobody knows the units alone tell it."""
    return bool(mode.url) and mode.engine in asking.MANNERS


def probe_of(mode: ModePlan, health: bool = True) -> tuple[Probe, ...]:
    if not asks_http(mode):
        return ()
    return (Probe(mode.url, health, mode.engine),)


def all_services(request: Request) -> tuple[str, ...]:
    found = [s for mode in request.modes for s in mode.services]
    return tuple(dict.fromkeys([*found, *request.tenants, *request.floor]))


def foreign(request: Request, target: ModePlan) -> tuple[str, ...]:
    """What must not run beside `target`: services of all modes and tenants, but those it has or lets stay; never one of the floor."""
    every = [*(s for mode in request.modes for s in mode.services), *request.tenants]
    kept = (*target.services, *target.may_stay, *request.floor, *request.hold)
    return tuple(dict.fromkeys(s for s in every if s not in kept))


def brought_back(request: Request, previous: ModePlan, stopped: tuple[str, ...]) -> tuple[str, ...]:
    """What the way back starts: the mode, and tenants that were stopped and may run beside it."""
    own = {s for mode in request.modes for s in mode.services}
    beside = [s for s in stopped if s in previous.may_stay or (not previous.services and s not in own)]
    return tuple(dict.fromkeys([*previous.services, *beside]))


def jobs_of(hold: tuple[str, ...]) -> tuple[str, ...]:
    """The services that held timers may just have started."""
    return tuple(s[: -len(".timer")] + ".service" for s in hold if s.endswith(".timer"))


def floor_within(request: Request, looked: Looked) -> str:
    """Why nothing may be switched here: a container of the floor belongs to a project that a switch stops. Empty if not."""
    mine = {s for mode in request.modes for s in mode.services} | set(request.tenants)
    for service in request.floor:
        project = looked.unit(service).part_of
        if project and project in mine and project not in request.floor:
            return (
                f"{service} must always run, but belongs to {project}, which a switch would stop: name its containers one by one"
            )
    return ""


def floor_lost(request: Request, before: tuple[str, ...], looked: Looked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the floor: what was up before and is not, and what was down before and still is."""
    if looked.reason:
        return (), ()
    down = [s for s in request.floor if looked.unit(s).active != "active"]
    return tuple(s for s in down if s in before), tuple(s for s in down if s not in before)


def undone(request: Request, target: ModePlan, previous: str) -> tuple[str, ...]:
    """What is stopped again on the way back."""
    kept = (*request.mode(previous).services, *request.floor)
    return tuple(s for s in target.services if s not in kept) if previous != target.name else ()


def owner(request: Request, service: str) -> str:
    return next((mode.name for mode in request.modes if service in mode.services), "no mode")


def right(mode: ModePlan, answer: Answer) -> bool:
    """Whether the engine serves what the mode says. A key that is wanted hides the models: then health alone tells.

    Behind a proxy that asks for a key everything is hidden: that it answers is all that can be seen of it.
    """
    if answer.health not in (None, 200, *CLOSED):
        return False
    return answer.models in CLOSED or (answer.models == 200 and not another(mode, answer))


def another(mode: ModePlan, answer: Answer) -> bool:
    """Whether it lists models, and not the one of this mode."""
    return answer.models == 200 and bool(mode.model and asking.manner(mode.engine).models) and mode.model not in answer.ids


def loose_probes(request: Request) -> tuple[Probe, ...]:
    return tuple({p.url: p for m in request.modes if not m.services for p in probe_of(m)}.values())


def loose(request: Request, looked: Looked, target: str = "") -> tuple[ModePlan, ...]:
    """Modes other than the target that name no services and run all the same, by their engines: nothing here could stop them.

    At an address that is also of a mode whose services run it is that one which answers.
    """
    found = []
    for mode in request.modes:
        if mode.services or mode.name == target or not asks_http(mode):
            continue
        answer = looked.answer(mode.url)
        if right(mode, answer) or answer.silent or 503 in (answer.models, answer.health):
            rivals = [m for m in request.modes if m.services and m.url == mode.url]
            if not any(looked.unit(s).up for m in rivals for s in m.services):
                found.append(mode)
    return tuple(found)


def loose_words(modes: tuple[ModePlan, ...]) -> str:
    """That these run, in a clause."""
    names = ", ".join(f"{m.name} ({m.url})" for m in modes)
    return f"{names} {'runs too and has' if len(modes) == 1 else 'run too and have'} no `services` that could be stopped"


def unseen(request: Request) -> tuple[str, ...]:
    """Modes of which nothing tells whether they run."""
    return tuple(m.name for m in request.modes if not m.services and not asks_http(m))


def is_hot(mode: ModePlan, looked: Looked) -> bool:
    if not mode.services or not all(looked.unit(s).active == "active" for s in mode.services):
        return False
    return not asks_http(mode) or right(mode, looked.answer(mode.url))


def previous_mode(request: Request, target: ModePlan, looked: Looked) -> str:
    """The mode to go back to: the one whose services run; with several, the one whose engine answers, then the larger."""
    best: tuple[bool, int] = (False, 0)
    found = ""
    for mode in request.modes:
        if mode.name == target.name or not mode.services or not all(looked.unit(s).serving for s in mode.services):
            continue
        if set(mode.services) <= set(target.services):
            continue
        rank = (is_hot(mode, looked), len(mode.services))
        if rank > best:
            best, found = rank, mode.name
    return found


def stale(request: Request, target: ModePlan, looked: Looked) -> tuple[str, ...]:
    """Services of the target that run but will never be ready, so that a start alone would not help."""
    if not asks_http(target) or is_hot(target, looked):
        return ()
    answer = looked.answer(target.url)
    rivals = [m for m in request.modes if m.name != target.name and m.url == target.url]
    shared = any(looked.unit(s).up for m in rivals for s in m.services if s not in target.services)
    wrong = another(target, answer) and not shared
    found = []
    for service in target.services:
        unit = looked.unit(service)
        old = not answer.alive and unit.age is not None and unit.age > request.ready_timeout
        if unit.up and service not in request.floor and (wrong or old):
            found.append(service)
    return tuple(found)


def cannot_start(unit: Unit, host: str) -> str:
    """Why a unit can never be started; empty where it can."""
    kind, name = kind_of(unit.name)
    what = {"container": f"container {name}", "compose": f"compose project {name}"}.get(kind, f"unit {name}")
    where = f" of the user manager on {host}" if kind == "user" else f" on {host}"
    if kind == "compose" and unit.active == "missing":
        return f"{what} has no containers{where}: `docker compose create` makes them"
    if unit.load == "not-found" or unit.active == "missing":
        return f"{what} does not exist{where}"
    if unit.load == "masked":
        return f"{what} is masked{where}: systemctl unmask {name}"
    if unit.load in ("bad-setting", "error"):
        return f"{what} cannot be loaded{where}: systemd-analyze verify {name}"
    return ""


def in_doubt(request: Request, target: ModePlan, looked: Looked) -> bool:
    """Whether the wanted mode runs and may hang: it is silent, somebody who has watched it says so, or another process of it computes."""
    if request.to == NONE or not asks_http(target) or not can_be_ended(request, target):
        return False
    if not all(looked.unit(s).serving for s in target.services):
        return False
    core = asking.manner(target.engine).core and is_hot(target, looked)
    return looked.answer(target.url).silent or bool(request.stuck) or core


def can_be_ended(request: Request, target: ModePlan) -> tuple[str, ...]:
    """The services that are stopped and started again where the mode hangs; never one of the floor."""
    return tuple(s for s in target.services if s not in request.floor)


def is_stuck(request: Request, target: ModePlan, looked: Looked) -> bool:
    """Whether it hangs or has died, by a second and more patient look: it is silent, or it is as it was told to be and not just started."""
    answer = looked.answer(target.url)
    if answer.silent:
        return True
    young = any(age is not None and age < YOUNG for age in (looked.unit(s).age for s in target.services))
    failing = answer.models == 0 or answer.health in (500, 503)
    return bool(request.stuck) and failing and not young and answer.models != 503  # 503: it loads


def silent_services(request: Request, looked: Looked, stop: tuple[str, ...]) -> tuple[str, ...]:
    """What is to be stopped of modes that are silent: it may not end by itself."""
    silent = [m for m in request.modes if m.url and looked.answer(m.url).silent]
    return tuple(dict.fromkeys(s for m in silent for s in m.services if s in stop and looked.unit(s).up))


def needs(
    request: Request, previous: str, stop: tuple[str, ...], target: ModePlan, looked: Looked, hold: tuple[str, ...] = ()
) -> tuple[Need, ...]:
    """Commands that this switch will or may need, rollback included. The owner's own commands bring their own rights."""
    found = [Need(verb, s) for s in hold for verb in ("stop", "start")]
    if previous == target.name:
        found += [Need("stop", s) for s in stop]
    if not target.command:
        found += [Need("stop", s) for s in stop]
    back = request.mode(previous)
    for service in target.services:
        unit = looked.unit(service)
        if not target.command and (service in stop or not unit.serving):
            found += [Need("start", service), *([Need("reset-failed", service)] if unit.limited else [])]
        if service not in request.floor and not (target.command and back.command):
            found.append(Need("stop", service))
    if request.rollback and not back.command:
        found += [Need("start", s) for s in brought_back(request, back, stop) if s in stop]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Readiness:
    """What can be said of a mode that was started."""

    verdict: str
    """`ready`, `wait`, `wrong` (another model answers) or `fail`."""
    detail: str = ""
    service: str = ""
    """Whose journal tells more."""


def readiness(
    mode: ModePlan, looked: Looked, base: Mapping[str, int], seen: tuple[str, ...], ended: tuple[str, ...]
) -> Readiness:
    """Whether a mode that was started is ready, not yet, or never will be.

    `base`: restarts at its start; `seen`: services seen up since; `ended`: services whose start command has returned.
    """
    for service in mode.services:
        unit = looked.unit(service)
        tried = service in seen or service in ended  # before that it may be the failure of an earlier run
        if unit.active == "failed" and tried:
            return Readiness("fail", f"{service} failed{how(unit)}", service)
        if unit.restarts > base.get(service, 0) or unit.restarting:
            return Readiness("fail", f"{service} died while starting and was restarted{how(unit)}", service)
        if not unit.serving and tried:
            return Readiness("fail", f"{service} stopped while starting{how(unit)}", service)
    if not all(looked.unit(s).active == "active" for s in mode.services):
        return Readiness("wait")
    if not asks_http(mode):
        return Readiness("ready", "its units are active")
    answer = looked.answer(mode.url)
    if right(mode, answer):
        if answer.health in CLOSED:
            return Readiness("ready", BEHIND)
        if answer.models in CLOSED:
            return Readiness("ready", "healthy; which model it serves is not known, it asks for a key")
        if not asking.manner(mode.engine).models:
            return Readiness("ready", "it answers")
        return Readiness("ready", f"serves {mode.model or ', '.join(answer.ids[:3]) or 'no model'}")
    if another(mode, answer):
        served = ", ".join(answer.ids[:3]) or "no model"
        return Readiness("wrong", f"{mode.url} serves {served}, not {mode.model}", mode.services[0])
    return Readiness("wait")


def how(unit: Unit) -> str:
    if unit.result in ("", "success"):
        return ""
    own = unit.result == "exit-code" and unit.status  # else it was another command of the unit that failed
    return f" ({unit.result}, status {unit.status})" if own else f" ({unit.result})"


def running_now(request: Request, looked: Looked) -> str:
    """What runs at the end of a switch that went wrong: one sentence."""
    if looked.reason:
        return f"What runs now is not known: {looked.reason}."
    full = [m.name for m in request.modes if m.services and all(looked.unit(s).serving for s in m.services)]
    full += [m.name for m in loose(request, looked)]
    if full:
        return f"Running now: {', '.join(full)}."
    every = [*(s for m in request.modes for s in m.services), *request.tenants]
    parts = [s for s in every if not looked.unit(s).gone and s not in request.floor]
    return f"Running now: {', '.join(dict.fromkeys(parts))}." if parts else "No mode is hot now."


def title(request: Request) -> str:
    return "no mode" if request.to == NONE else f"mode {request.to}"
