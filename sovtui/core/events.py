"""All that can change the state. Adapters make events; only `state.reduce` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sovtui.core.activity import Activity
from sovtui.core.model import ActionRun, Alert, Backup, Engine, HostSpec, Hush, Link, Service, Source, TailnetPath, Traffic
from sovtui.core.reading import Reading


@dataclass(frozen=True, slots=True)
class Tick:
    """A second has passed; readings may turn stale."""

    now: datetime


@dataclass(frozen=True, slots=True)
class SpecChanged:
    """Another thing is to be looked at on a host than before: nobody has configured it, and what runs there has changed."""

    spec: HostSpec
    notes: tuple[str, ...]
    """Of the whole state."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one host. `subject`: mode name for engine figures, GPU id for GPU figures, else empty."""

    figure: str
    reading: Reading
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    host: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """History of one figure: points (unix seconds, value), oldest first. Replaces what is older than its last point."""

    host: str
    figure: str
    subject: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LinkChanged:
    host: str
    link: Link


@dataclass(frozen=True, slots=True)
class PathSeen:
    """How packets to a host go through the tailnet, as just asked."""

    host: str
    path: TailnetPath


@dataclass(frozen=True, slots=True)
class MeteredSeen:
    """Whether a host's link is used sparingly: why, or an empty text."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class TrafficSeen:
    host: str
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class SourceChanged:
    source: Source


@dataclass(frozen=True, slots=True)
class ClockSeen:
    """How far this machine's clock is ahead of a host's; negative where it is behind. All moments in the state are by this one."""

    host: str
    skew_seconds: float


@dataclass(frozen=True, slots=True)
class ServicesSeen:
    """State of services; those not named keep what they had."""

    host: str
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class ActivitySeen:
    """Whether servers work, by the address (`host:port`) that each is asked at; those not named keep what they had."""

    host: str
    servers: tuple[tuple[str, Activity], ...]


@dataclass(frozen=True, slots=True)
class EngineSeen:
    host: str
    mode: str
    engine: Engine


@dataclass(frozen=True, slots=True)
class AlertsSeen:
    """The whole list, as of `at`."""

    alerts: tuple[Alert, ...]
    at: datetime
    untold: str = ""
    """Why some may be missing in it; empty where none is."""
    hushes: tuple[Hush, ...] = ()
    """The active silences, while alerts may be missing."""
    pulses: tuple[str, ...] = ()
    """Names of alerts that should always fire, as configured."""


@dataclass(frozen=True, slots=True)
class FiringSeen:
    """What fires as Prometheus itself says, while Alertmanager may not know; None where it cannot say."""

    alerts: tuple[Alert, ...] | None


@dataclass(frozen=True, slots=True)
class PulsesSeen:
    """Alerts that fire by design, by name, each with when it last did as Prometheus tells."""

    pulses: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class BackupsSeen:
    host: str
    backups: tuple[Backup, ...]


@dataclass(frozen=True, slots=True)
class ActionChanged:
    """The newest state of one action on a host."""

    host: str
    run: ActionRun


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """We have asked this action to end."""

    host: str
    id: str


@dataclass(frozen=True, slots=True)
class ActionNoticed:
    """The box says which action holds its lock now; an empty id means none."""

    host: str
    id: str


@dataclass(frozen=True, slots=True)
class ReceiptsSeen:
    """Receipts on a host, newest first."""

    host: str
    runs: tuple[ActionRun, ...]


@dataclass(frozen=True, slots=True)
class ReceiptsUnread:
    """The receipts on a host cannot be read now."""

    host: str


HostEvent = (
    Samples
    | Curve
    | LinkChanged
    | PathSeen
    | ClockSeen
    | MeteredSeen
    | TrafficSeen
    | ServicesSeen
    | ActivitySeen
    | EngineSeen
    | BackupsSeen
    | ActionChanged
    | CancelAsked
    | ActionNoticed
    | ReceiptsSeen
    | ReceiptsUnread
)
"""What concerns one host."""

Event = HostEvent | Tick | SpecChanged | SourceChanged | AlertsSeen | FiringSeen | PulsesSeen
