"""Busy or resident, and will it fit: judged from what was weighed at the moment of acting. Pure."""

from __future__ import annotations

from sovtui.onbox.forecast import Forecast, Holding, Pool, forecast, peak
from sovtui.onbox.plan import ModePlan, Request
from sovtui.onbox.things import LoadProbe
from sovtui.onbox.words import Looked, Weighed


def running_modes(request: Request, stop: tuple[str, ...], looked: Looked) -> tuple[ModePlan, ...]:
    """Modes that lose a service which is up."""
    return tuple(m for m in request.modes if any(s in stop and looked.unit(s).up for s in m.services))


def probes(request: Request, stop: tuple[str, ...], looked: Looked) -> tuple[LoadProbe, ...]:
    """Who is to be asked: modes all of whose services serve; what only starts has no requests yet."""
    modes = running_modes(request, stop, looked)
    return tuple(LoadProbe(m.name, m.engine, m.url, m.services) for m in modes if all(looked.unit(s).serving for s in m.services))


def busy(weighed: Weighed) -> str:
    """What would be lost, in sentences; empty if nothing is known to run."""
    found = []
    for load in weighed.loads:
        if not load.total:
            continue
        counts = [f"{n:.0f} {word}" for n, word in ((load.running, "running"), (load.waiting, "waiting")) if n]
        what = (
            f"{' and '.join(counts)} {'request' if load.total == 1 else 'requests'} would be cut off"
            if load.known
            else "work would be lost"
        )
        found.append(f"{load.mode} is busy: {what} ({load.source})")
    return "; ".join(found)


def remaining(weighed: Weighed) -> float:
    return sum(load.total for load in weighed.loads)


def fits(request: Request, stop: tuple[str, ...], looked: Looked, weighed: Weighed) -> Forecast:
    """The forecast for the target of this request."""
    target = request.mode(request.to)
    values = dict(weighed.values)
    unified = None if request.memory == "auto" else request.memory == "unified"
    pool = Pool(
        values.get("memory.available_bytes"),
        values.get("memory.droppable_bytes"),
        values.get("gpu.memory.free_bytes"),
        sum(values.get(f"gpu.memory.{x}_bytes", 0.0) for x in ("free", "used")) or None,
        unified,
    )
    back = holdings(request, stop, looked, dict(weighed.held))
    wanted = None if not target.services else peak(target.needs, target.weights, target.loader_factor)
    if request.to != "none" and any(looked.unit(s).up and s not in stop for s in target.services):
        wanted = None  # part of it is loaded already: it cannot be told how much is still to come
    return forecast(
        target.name, wanted, pool, back, reserve=request.reserve, drop_caches=request.drop_caches, foreign=weighed.foreign
    )


def holdings(request: Request, stop: tuple[str, ...], looked: Looked, held: dict[str, float]) -> tuple[Holding, ...]:
    """What comes back: as measured, else what the mode is said to need."""
    found: list[Holding] = []
    told: set[str] = set()
    for mode in running_modes(request, stop, looked):
        mine = [s for s in mode.services if s in stop and looked.unit(s).up and s not in told]
        told.update(mine)
        if not mine:
            continue
        measured = [held[s] for s in mine if s in held]
        if len(measured) == len(mine):
            found.append(Holding(mode.name, sum(measured), True))
        else:
            found.append(Holding(mode.name, mode.needs))
    for service in stop:
        if service not in told and looked.unit(service).up:
            found.append(Holding(service, held.get(service), service in held))
    return tuple(found)
