"""What holds a host's memory: one share per tenant, the floor, the rest, page cache useful and stale, and what is unused. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sovtui.core.modes import RUNNING, unified
from sovtui.core.state import Host


class Held(StrEnum):
    TENANT = "tenant"
    FLOOR = "floor"
    OTHER = "other"
    CACHE = "cache"
    """Page cache that no drop gives back: mapped, shared or dirty."""
    STALE = "stale"
    """Page cache that a drop gives back."""
    UNUSED = "unused"
    """What nothing uses, not even the page cache."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the memory."""

    kind: Held
    name: str
    size_bytes: float
    """Never negative; all shares together are the total."""
    measured: bool = True
    """False: what the configuration says it needs, because its own control group does not show it."""


MEASURED_FROM = 0.5
"""A control group that shows less than this share of what its mode needs does not see the accelerator's part of it."""


def shares(host: Host) -> tuple[Share, ...]:
    """All of them in this order; empty where the total or what is available is not known."""
    total = host.reading("memory.total_bytes").value
    available = host.reading("memory.available_bytes").value
    if not total or available is None:
        return ()
    available = min(available, total)
    droppable = host.reading("memory.droppable_bytes").value
    cached = host.reading("memory.cached_bytes").value
    stale = min(droppable or 0.0, available)
    left = total - available
    useful = 0.0
    if cached is not None and droppable is not None:
        useful = min(max(0.0, cached - droppable), left)
        left -= useful
    found: list[Share] = []
    for wanted in (*_tenants(host), *_floor(host)):
        size = min(wanted.size_bytes, left)
        left -= size
        if size > 0:
            found.append(Share(wanted.kind, wanted.name, size, wanted.measured))
    rest = [
        Share(Held.OTHER, "others", left),
        Share(Held.CACHE, "cache in use", useful),
        Share(Held.STALE, "droppable", stale),
        Share(Held.UNUSED, "unused", available - stale),
    ]
    return (*found, *(share for share in rest if share.size_bytes > 0))


def _tenants(host: Host) -> list[Share]:
    """Modes that are up, and other tenants. On a host whose GPU has its own memory only what is measured counts here."""
    found: list[Share] = []
    told: set[str] = set(host.spec.floor)
    shared = unified(host) is True
    for mode in host.spec.modes:
        mine = [name for name in mode.services if name not in told and _up(host, name)]
        told.update(mine)
        if not mine:
            continue
        measured = _measured(host, mine)
        needs = mode.needs_bytes if shared else None
        if needs is not None and (measured is None or measured < MEASURED_FROM * needs):
            found.append(Share(Held.TENANT, mode.name, float(needs), measured=False))
        elif measured is not None:
            found.append(Share(Held.TENANT, mode.name, measured))
    for name in host.spec.tenants:
        measured = _measured(host, [name]) if name not in told and _up(host, name) else None
        if measured is not None:
            found.append(Share(Held.TENANT, name, measured))
    return found


def _floor(host: Host) -> list[Share]:
    measured = _measured(host, [name for name in host.spec.floor if _up(host, name)])
    return [Share(Held.FLOOR, "floor", measured)] if measured is not None else []


def _measured(host: Host, names: list[str]) -> float | None:
    sizes = [host.services[name].memory_bytes for name in names]
    told = [size for size in sizes if size is not None]
    return float(sum(told)) if told else None


def _up(host: Host, name: str) -> bool:
    service = host.services.get(name)
    return service is not None and service.active in RUNNING
