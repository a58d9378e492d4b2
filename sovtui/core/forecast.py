"""The forecast as the screen and the guard see it: the box's own rule on the figures that are known here. Pure."""

from __future__ import annotations

from sovtui.core.model import Mode
from sovtui.core.modes import RUNNING, unified
from sovtui.core.once import once_per_host
from sovtui.core.reading import Status
from sovtui.core.state import Host
from sovtui.onbox.forecast import UNKNOWN, Forecast, Holding, Pool, forecast, peak


def forecast_view(host: Host, mode: Mode) -> tuple[str, str]:
    """`fits`, `fits-after-drop`, `too-small` or `unknown`, and a sentence with the numbers (empty where there is nothing to say)."""
    told = _forecasts(host)[mode.name]
    return told.word, told.sentence


@once_per_host
def _forecasts(host: Host) -> dict[str, Forecast]:
    """By mode: several panes ask for each, and more than once per drawing."""
    return {mode.name: judge(host, mode) for mode in host.spec.modes}


def judge(host: Host, mode: Mode) -> Forecast:
    """What switching to this mode now would meet."""
    spec = host.spec
    if mode.services and any(_up(host, s) for s in mode.services if not _shared(host, mode, s)):
        return Forecast(UNKNOWN)  # loaded already, or on its way
    kept = {*mode.services, *mode.may_stay, *spec.floor}
    wanted = peak(mode.needs_bytes, mode.weights_bytes, mode.loader_factor)
    return forecast(
        mode.title or mode.name,
        wanted,
        _pool(host),
        _back(host, mode, kept),
        reserve=float(spec.reserve_bytes),
        drop_caches=spec.drop_caches,
    )


def model_forecast(host: Host, model: str, size_bytes: int | None) -> Forecast:
    """What loading one more model beside all that is loaded would meet; its files' size is the least that it takes."""
    wanted = None if size_bytes is None else float(size_bytes)
    return forecast(model, wanted, _pool(host), reserve=float(host.spec.reserve_bytes), drop_caches=False)


def _fresh(host: Host, key: str, subject: str = "") -> float | None:
    reading = host.reading(key, subject)
    return reading.value if reading.status is Status.FRESH else None


def _pool(host: Host) -> Pool:
    totals: list[float] = []
    used: list[float] = []
    for gpu in host.subjects("gpu.memory_total_bytes"):
        total, taken = _fresh(host, "gpu.memory_total_bytes", gpu), _fresh(host, "gpu.memory_used_bytes", gpu)
        if total is not None and taken is not None:
            totals.append(total)
            used.append(taken)
    free = sum(totals) - sum(used) if totals else None
    return Pool(
        _fresh(host, "memory.available_bytes"),
        _fresh(host, "memory.droppable_bytes"),
        free,
        sum(totals) or None,
        unified(host),
    )


def _back(host: Host, target: Mode, kept: set[str]) -> tuple[Holding, ...]:
    """What stopping gives back. Here it is only known what modes are said to need; the box measures."""
    found: list[Holding] = []
    told: set[str] = set()
    for mode in host.spec.modes:
        mine = [s for s in mode.services if s not in kept and s not in told and _up(host, s)]
        told.update(mine)
        if mode.name != target.name and mine:
            found.append(Holding(mode.title or mode.name, None if mode.needs_bytes is None else float(mode.needs_bytes)))
    found += [Holding(s, None) for s in host.spec.tenants if s not in kept and s not in told and _up(host, s)]
    return tuple(found)


def _up(host: Host, service: str) -> bool:
    known = host.services.get(service)
    return known is not None and known.active in RUNNING


def _shared(host: Host, mode: Mode, service: str) -> bool:
    others = {s for other in host.spec.modes if other.name != mode.name for s in other.services}
    return service in others or service in host.spec.floor
