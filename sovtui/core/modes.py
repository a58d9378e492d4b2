"""What is hot: the rule that turns services, engine and figures of a host into one word per mode. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sovtui.core.activity import address_of
from sovtui.core.model import Engine, EnginePhase, HostSpec, LinkPhase, Mode
from sovtui.core.once import once_per_host
from sovtui.core.reading import Status
from sovtui.core.state import Host
from sovtui.core.strain import Strain, strain
from sovtui.core.text import moment


class Heat(StrEnum):
    COLD = "cold"
    STARTING = "starting"
    STOPPING = "stopping"
    HOT = "hot"
    BROKEN = "broken"
    """Its services run but it does not serve what it should, or one of them failed."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ModeView:
    mode: Mode
    heat: Heat
    busy: bool | None = None
    """Whether requests run or wait; None where it cannot be told or the mode is not hot."""
    reason: str = ""
    """Why BROKEN, STARTING or UNKNOWN, or asleep, for the user."""
    strain: Strain | None = None
    """What is wrong with a hot one that serves all the same."""
    asleep: bool = False
    """Hot, but its model is not in memory: the next request brings it there."""
    phase: EnginePhase | None = None
    """What its engine is, where that says more than the heat: `warming`, `dead`, `hung`, `asleep`."""
    past: bool = False
    """Its services failed, but nobody wants it now: `reason` tells it as the past, it is cold."""

    @property
    def word(self) -> str:
        """What strains it, `asleep`, `dead`, `hung`, `warming`, `busy`, `resident`, or the heat."""
        if self.strain is not None:
            return self.strain.word
        if self.asleep:
            return "asleep"
        if self.phase is not None:
            return str(self.phase)
        if self.heat is Heat.HOT and self.busy is not None:
            return "busy" if self.busy else "resident"
        return str(self.heat)


def stuck(view: ModeView) -> str:
    """Why a mode that runs gives no answers and will give none by itself, in a clause; empty where that cannot be said.

    It hangs, at its port or behind a health check that says that all is well, or it has died in a unit that goes on.
    """
    if view.strain is not None:
        return view.strain.sentence if view.strain.word == "hung" else ""
    gone = view.heat is Heat.BROKEN and view.phase in (EnginePhase.DEAD, EnginePhase.HUNG)
    return view.reason or str(view.phase) if gone else ""


RUNNING = ("active", "activating", "deactivating", "reloading")


def mode_view(host: Host, mode: Mode) -> ModeView:
    """Judge one mode. Unit state alone is never enough for HOT: the engine must serve the right model."""
    services = [host.services[name] for name in mode.services if name in host.services]
    actives = [service.active for service in services]
    engine = host.engines.get(mode.name, Engine())
    if len(services) < len(mode.services) or any(a == "unknown" for a in actives):
        if mode.url and engine.phase in (EnginePhase.DEAD, EnginePhase.HUNG) and not _shares_engine(host, mode):
            return _served(host, mode, engine)  # that much is seen without its services
        return ModeView(mode, Heat.UNKNOWN, reason="its services are not known yet")
    failed = [s.name for s in services if s.active == "failed"]
    if failed:
        told = f"{', '.join(failed)} failed"
        since = max((s.since for s in services if s.active == "failed" and s.since), default=None)
        if why := _superseded(host, mode, since):
            return ModeView(mode, Heat.COLD, reason=f"{told}{f' at {moment(since)}' if since else ''}; {why}", past=True)
        return ModeView(mode, Heat.BROKEN, reason=told)
    if mode.services and all(a == "active" for a in actives):
        return _served(host, mode, engine)
    # What another mode or the floor runs too says nothing about this one.
    shared = {name for other in host.spec.modes if other.name != mode.name for name in other.services} | set(host.spec.floor)
    own = [service for service in services if service.name not in shared]
    begun = next((service for service in own if service.active in RUNNING), None)
    if begun is not None and all(s.active == "deactivating" for s in own if s.active in RUNNING):
        return ModeView(mode, Heat.STOPPING, reason=f"{begun.name} is stopping")
    if begun is not None:
        return ModeView(mode, Heat.STARTING, reason=engine.progress or f"{begun.name} is {begun.active}")
    if not mode.services and mode.url and engine.phase not in (EnginePhase.UNKNOWN, EnginePhase.ABSENT):
        another = engine.phase is EnginePhase.WRONG_MODEL and _shares_engine(host, mode)
        return ModeView(mode, Heat.COLD) if another else _served(host, mode, engine)
    if not mode.services and not mode.url:
        return ModeView(mode, Heat.UNKNOWN, reason="neither services nor url are configured")
    if not mode.services and engine.phase is EnginePhase.UNKNOWN:
        return ModeView(mode, Heat.UNKNOWN, reason=engine.reason or "not asked yet")
    return ModeView(mode, Heat.COLD)


def _served(host: Host, mode: Mode, engine: Engine) -> ModeView:
    if not mode.url:
        return ModeView(mode, Heat.HOT, busy_or_none(host, mode))
    match engine.phase:
        case EnginePhase.READY | EnginePhase.SPILLED:
            return ModeView(mode, Heat.HOT, busy_or_none(host, mode), strain=strain(host, mode))
        case EnginePhase.ASLEEP if engine.wakes and _shares_engine(host, mode):
            return ModeView(mode, Heat.COLD, reason=engine.reason)
        case EnginePhase.ASLEEP if engine.wakes:
            return ModeView(mode, Heat.HOT, busy_or_none(host, mode), engine.reason, asleep=True)
        case EnginePhase.ASLEEP:
            return ModeView(mode, Heat.BROKEN, reason="the engine sleeps: requests would hang", phase=engine.phase)
        case EnginePhase.STARTING:
            return ModeView(mode, Heat.STARTING, reason=engine.progress or engine.reason or "nothing answers on its port yet")
        case EnginePhase.WARMING:
            return ModeView(
                mode, Heat.STARTING, reason=engine.progress or engine.reason or "it is not ready yet", phase=engine.phase
            )
        case EnginePhase.DEAD | EnginePhase.HUNG:
            return ModeView(mode, Heat.BROKEN, reason=engine.reason, phase=engine.phase)
        case EnginePhase.WRONG_MODEL:
            return ModeView(mode, Heat.BROKEN, reason=engine.reason)
        case EnginePhase.ABSENT:
            return ModeView(mode, Heat.STARTING, reason="nothing answers on its port yet")
        case EnginePhase.UNKNOWN:
            return ModeView(mode, Heat.UNKNOWN, reason=engine.reason or "its engine has not been asked yet")


def _superseded(host: Host, mode: Mode, failed_at: datetime | None) -> str:
    """Why nobody wants a mode whose services failed, in a clause: another one is hot, or a switch since then went elsewhere or back.

    systemd calls a unit failed until it is started again: without that, one failed start would leave a mode broken for ever.
    """
    for other in host.spec.modes:
        actives = [host.services[name].active for name in other.services if name in host.services]
        if other.name == mode.name or not other.services or not set(mode.services) - set(other.services):
            continue
        up = len(actives) == len(other.services) and all(a == "active" for a in actives)
        if up and _served(host, other, host.engines.get(other.name, Engine())).heat is Heat.HOT:
            return f"{other.name} is hot since"
    runs = (*host.receipts, *([host.action] if host.action is not None else []))
    switches = [run for run in runs if run.kind == "switch" and run.outcome and run.outcome not in ("refused", "lost")]
    last = max(switches, key=lambda run: run.began_at, default=None)
    if last is None or failed_at is None or last.began_at + timedelta(seconds=(last.seconds or 0.0) + 1.0) < failed_at:
        return ""
    if last.target != mode.name and last.outcome in ("done", "warned"):
        return f"the switch to {last.target} came after it"
    return "the switch to it was rolled back" if last.target == mode.name and last.outcome in ("rolled-back", "cancelled") else ""


def _shares_engine(host: Host, mode: Mode) -> bool:
    """Whether another mode is another model of the same server: then only what is loaded tells which one is hot."""
    return any(other.name != mode.name and other.url == mode.url for other in host.spec.modes)


def busy_or_none(host: Host, mode: Mode) -> bool | None:
    """Busy if requests run or wait by fresh figures; None if no fresh figure tells.

    Only where nobody counts requests do tokens tell it: a speed is an average, and goes on for a while after the last one.
    """
    running, waiting, decode = (
        host.reading(f, mode.name).fresh_value for f in ("engine.running", "engine.waiting", "engine.decode_tok_s")
    )
    if _works_between_looks(host, mode):
        return True
    if running is not None or waiting:
        return bool(running or waiting)
    return None if decode is None else decode > 0


def _works_between_looks(host: Host, mode: Mode) -> bool:
    """Short requests come and go between two looks at llama.cpp, and one that wants a key tells none; where none runs its process
    uses next to nothing."""
    use = host.activity.get(address_of(mode.url)) if mode.engine == "llamacpp" else None
    return use is not None and use.works


WARM_SECONDS = 300.0
"""A mode that has been up for less may still be slow: compiled paths and draft models warm up with traffic."""
OF_ITS_BAND = 0.85
"""Below this share of what is expected a single stream is slow."""


def pace(host: Host, mode: Mode, now: datetime) -> str:
    """`warming` or `slow` where one stream decodes below the mode's own band, else nothing. With several streams it says nothing."""
    decode = host.reading("engine.decode_tok_s", mode.name).fresh_value
    running = host.reading("engine.running", mode.name).fresh_value
    if not mode.expect_tok_s or not decode or running is None or not 0 < running <= 1:
        return ""
    if decode >= OF_ITS_BAND * mode.expect_tok_s:
        return ""
    since = [s.since for name in mode.services if (s := host.services.get(name)) is not None and s.since is not None]
    young = bool(since) and (now - max(since)).total_seconds() < WARM_SECONDS
    return "warming" if young else "slow"


def switchable(spec: HostSpec) -> bool:
    """Whether there is anything that a switch could stop or start: of modes that only have an address nobody knows what runs them."""
    return any(mode.services for mode in spec.modes)


def seen_at(host: Host, mode: Mode) -> datetime | None:
    """When a mode was last seen as it is shown, where that is not now: its host's link is not up. None where it is up, or nothing was seen."""
    if host.link.phase is LinkPhase.UP:
        return None
    told = [host.services[name].at for name in mode.services if name in host.services]
    told.append(host.engines.get(mode.name, Engine()).at)
    return max((at for at in told if at is not None), default=None)


@once_per_host
def mode_views(host: Host) -> tuple[ModeView, ...]:
    """All configured modes, in the order of the configuration."""
    return tuple(mode_view(host, mode) for mode in host.spec.modes)


@once_per_host
def beside_views(host: Host) -> tuple[ModeView, ...]:
    """The engines that run beside the modes, judged like modes."""
    return tuple(mode_view(host, engine) for engine in host.spec.beside)


def serving(host: Host) -> tuple[ModeView, ...]:
    """The engines beside the modes that serve now, those at work first, those whose model is not in memory last."""
    found = [view for view in beside_views(host) if view.heat is Heat.HOT]
    return tuple(sorted(found, key=lambda view: (view.asleep, not view.busy)))


def hot_modes(host: Host) -> tuple[Mode, ...]:
    """Those that are hot; more than one means that the box is in trouble."""
    return tuple(view.mode for view in mode_views(host) if view.heat is Heat.HOT)


def unified(host: Host) -> bool | None:
    """Whether CPU and GPU share one memory: as configured, else told by a GPU that has no memory figures; None if unknown."""
    if host.spec.memory != "auto":
        return host.spec.memory == "unified"
    gpus = host.subjects("gpu.use_ratio") or host.subjects("gpu.power_watts") or host.subjects("gpu.memory_total_bytes")
    if not gpus:
        return None
    total = host.reading("memory.total_bytes").value
    told = [host.reading("gpu.memory_total_bytes", gpu) for gpu in host.subjects("gpu.memory_total_bytes")]
    memory = sum(
        reading.value for reading in told if reading.value is not None
    )  # each instance of a GPU that is split has its part
    if not memory and any(reading.status is Status.UNKNOWN for reading in told):
        return None  # it has some that cannot be read now, or was told as what cannot be
    return not memory or (total is not None and memory < total / 10)
