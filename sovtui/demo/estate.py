"""What a demo estate consists of: its configuration and the facts that its world plays. No behaviour, no numbers of one estate.

An estate is a module in `demo.estates` with the functions `estate()` and `troubled()`. To add one, add its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import ModuleType
from typing import cast

from sovtui.config.schema import Config
from sovtui.core.model import Alert, AlertState, Part, Silence
from sovtui.demo import estates

SOURCE = "demo"
"""The source of every reading of a demo."""
GIB = 2**30
MIB = 2**20
DAY = 86400.0
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class ModeFacts:
    """How a mode behaves in the simulated box."""

    resident_bytes: int
    weights_bytes: int
    decode_tok_s: float = 0.0
    cold_tok_s: float = 0.0
    load_seconds: float = 14.0
    """Compressed: a real start takes minutes."""
    stop_seconds: float = 1.5
    shards: int = 4
    context_tokens: int | None = None
    version: str = ""
    accept_ratio: float | None = None
    """None: no speculative decoding."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model that an Ollama has."""

    name: str
    size_bytes: int
    """Of its file."""
    context_tokens: int | None = None
    at_begin: bool = False
    """It is loaded when the demo begins."""
    pinned: bool = False


def _no_parts(start: datetime, now: datetime) -> tuple[Part, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class BesideFacts:
    """How an engine beside the modes behaves."""

    models: tuple[ModelFacts, ...] = ()
    """Of an Ollama: what it has."""
    parts: Callable[[datetime, datetime], tuple[Part, ...]] = _no_parts
    """Of a router, from the beginning and now: its deployments and chains."""
    decode_tok_s: float = 0.0
    follows_traffic: bool = False
    """It works when the hot mode does: its requests come through it."""
    context_tokens: int | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    description: str
    active: str = "active"
    sub: str = "running"
    age_seconds: float = 9 * DAY
    memory_bytes: int | None = None
    restarts: int | None = 0
    restarts_every_seconds: float | None = None
    """It restarts in a loop."""
    timer_seconds: float | None = None
    """It is a timer that elapses this often."""
    journal: tuple[str, ...] = ()
    """What it wrote before the beginning."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    total_bytes: int
    used_bytes: int
    cached_bytes: int
    swap_bytes: int = 0
    cpu_ratio: float = 0.05
    latency_seconds: float = 0.04
    relay: str = ""
    """Region of the relay that its link goes through, if it has a name in the tailnet; empty: it is direct."""
    gpu: str = ""
    """Name of its GPU; empty: none."""
    gpu_total_bytes: int | None = None
    """None: it shares the host's memory."""
    gpu_used_bytes: int = 0
    """What others than modes hold of it."""
    idle_watts: float = 11.0
    busy_watts: float = 71.0
    idle_celsius: float = 42.0
    degrees_per_watt: float = 0.34
    cpus: int = 4
    disks: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By mount point: size in bytes, share in use."""
    services: dict[str, ServiceFacts] = field(default_factory=dict)
    backups: dict[str, tuple[float | None, str]] = field(default_factory=dict)
    """By name: age of the last success in seconds, result."""


@dataclass(frozen=True, slots=True)
class Estate:
    name: str
    config: Config
    box: str
    hot: str
    """The mode that is hot at the beginning."""
    hosts: dict[str, HostFacts]
    modes: dict[str, ModeFacts]
    next_mode: str
    """What the scenario `switching` switches to."""
    failing_mode: str
    """What does not load in the scenario `failed`."""
    remote: str
    """The host that is lost in the scenario `alerting`; empty: none."""
    beside: dict[str, BesideFacts] = field(default_factory=dict)
    """Engines beside the modes of the box, by name."""
    switching_seconds: float = 10.0
    """How long the switch of the scenario `switching` has run."""
    usual_alerts: Callable[[datetime], tuple[Alert, ...]] = lambda now: ()
    """Uncleaned: as Alertmanager would send them. Of an estate that is well only acknowledged ones."""
    more_alerts: Callable[[datetime], tuple[Alert, ...]] = lambda now: ()
    """What fires besides in the scenario `alerting`."""


def timer(description: str, seconds: float) -> ServiceFacts:
    """A timer that waits and elapses this often."""
    return ServiceFacts(description, "active", "waiting", 21 * DAY, restarts=None, timer_seconds=seconds)


def names() -> list[str]:
    """The estates there are."""
    return sorted(info.name for info in pkgutil.iter_modules(estates.__path__))


def estate(name: str) -> Estate:
    """The estate called `name`, with nothing wrong anywhere. ValueError names those that exist."""
    return cast(Estate, _module(name).estate())


def troubled(name: str) -> Estate:
    """The same estate on a bad day: a late backup, a unit that failed or restarts in a loop, alerts. ValueError names those that exist."""
    return cast(Estate, _module(name).troubled())


def _module(name: str) -> ModuleType:
    if name not in names():
        raise ValueError(f"no demo estate is called {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{estates.__name__}.{name}")


def changed(of: Estate, services: dict[str, ServiceFacts], backups: dict[str, tuple[float | None, str]]) -> dict[str, HostFacts]:
    """Its hosts, with other facts of these services and backups of its box."""
    box = of.hosts[of.box]
    other = replace(box, services={**box.services, **services}, backups={**box.backups, **backups})
    return {**of.hosts, of.box: other}


def alert(
    now: datetime,
    fingerprint: str,
    name: str,
    severity: str,
    minutes: float,
    summary: str,
    labels: dict[str, str],
    silence: tuple[str, str, float] | None = None,
) -> Alert:
    all_labels = {"alertname": name, "severity": severity, **labels}
    silences: tuple[Silence, ...] = ()
    if silence is not None:
        author, comment, hours = silence
        silences = (Silence("8f1c2d70-5f0e-4c53-9a55-0d6f1d2b7a11", author, comment, now + timedelta(hours=hours)),)
    return Alert(
        fingerprint=fingerprint,
        name=name,
        severity=severity,
        state=AlertState.ACKNOWLEDGED if silences else AlertState.ACTIVE,
        since=now - timedelta(minutes=minutes),
        summary=summary,
        labels=tuple(sorted(all_labels.items())),
        silences=silences,
    )
