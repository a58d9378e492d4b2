"""The nouns of the product as frozen values: modes, services, links, alerts, backups, actions. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sovtui.core.reach import Verdict


class LinkPhase(StrEnum):
    IDLE = "idle"
    CONNECTING = "connecting"
    ASKING = "asking"
    """Waits for the operator: an unknown host key, a passphrase."""
    UP = "up"
    DOWN = "down"
    """Lost or not reached; it tries again by itself at `retry_at`."""
    REFUSED = "refused"
    """It will not try again by itself: wrong or unknown host key, no permission."""


@dataclass(frozen=True, slots=True)
class Link:
    """How a host is reached, now."""

    phase: LinkPhase = LinkPhase.IDLE
    kind: str = "ssh"
    """`ssh`, `local` or `demo`."""
    address: str = ""
    since: datetime | None = None
    reason: str = ""
    """Why it is not up, or slow: what happened, where, what to do next."""
    verdict: Verdict = Verdict.NONE
    """The same in a word; it stays while it is tried again, until something else is found out."""
    latency_seconds: float | None = None
    retry_at: datetime | None = None
    attempt: int = 0
    said: tuple[str, ...] = ()
    """What was told during the last login, clean: a server's banner, what of ssh_config was passed over. Newest last."""


class PathKind(StrEnum):
    """How packets to a host go through the tailnet."""

    DIRECT = "direct"
    RELAY = "relay"
    """Through a relay of the tailnet's operator (DERP)."""
    PEER_RELAY = "peer-relay"
    """Through another node of the tailnet."""
    IDLE = "idle"
    """Online, and nothing is sent there now: the next packet decides."""
    OFFLINE = "offline"
    UNKNOWN = "unknown"
    """Nobody told: never to be read as direct."""


@dataclass(frozen=True, slots=True)
class TailnetPath:
    """The path of one host's link through the tailnet, as last told. Of a host without `tailnet` there is none."""

    kind: PathKind = PathKind.UNKNOWN
    latency_seconds: float | None = None
    """Round trip of the last disco ping (by the daemon, below ssh); None where none was answered or none can be asked."""
    via: str = ""
    """The relay's region code, or the address that packets go to. Clean."""
    since: datetime | None = None
    """Of an offline one: when it was last seen."""
    reason: str = ""
    """Why it is not known or not good, as a sentence for the user; may also stand beside a path that is known."""
    expired: bool = False
    """The host's key has expired: nothing reaches it through the tailnet, whatever else is told."""
    notes: tuple[str, ...] = ()
    """What else there is to tell: keys that expire soon."""
    at: datetime | None = None
    """Since when it is told so."""
    source: str = ""
    """`localapi`, `cli`, `cache` (only the addresses, from an earlier time), `demo`; empty where nobody could be asked."""
    verified: bool = False
    """The tailnet itself told the ssh host keys that the link was verified by."""

    @property
    def relayed(self) -> bool:
        return self.kind in (PathKind.RELAY, PathKind.PEER_RELAY)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over a host's link in this session, all its connections together: TCP payload, ssh's own included."""

    sent_bytes: int
    received_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """Something asked for figures: `prometheus`, `alertmanager`, `probe`, `nvml`."""

    name: str
    host: str = ""
    """The host whose figures it tells; empty for one that tells of all."""
    ok: bool | None = None
    """None until it has been asked once."""
    reason: str = ""
    last_ok_at: datetime | None = None
    detail: str = ""
    """Version or address, for the operator."""
    left_out: str = ""
    """What of its last answer could not be read, or was too much; empty where all was taken."""


@dataclass(frozen=True, slots=True)
class Service:
    """A unit, container or compose project as its supervisor tells it.

    `name` is the configured word: `x.service`, `user:x.service`, `container:x`, `compose:x`.
    """

    name: str
    active: str = "unknown"
    """systemd's ActiveState: active, activating, deactivating, inactive, failed; `missing` if no such unit; `unknown` if not told."""
    sub: str = ""
    result: str = ""
    since: datetime | None = None
    """When it entered this state."""
    restarts: int | None = None
    """NRestarts since the last manual start; None where not told."""
    main_pid: int | None = None
    memory_bytes: int | None = None
    description: str = ""
    at: datetime | None = None
    source: str = ""
    reason: str = ""
    exit_status: int | None = None
    """What its main process last ended with; None where not told or while it has not ended."""
    next_run_at: datetime | None = None
    """When a timer elapses next; None for everything else."""
    once: bool = False
    """A timer that by design elapses once after each boot."""
    ended_at: datetime | None = None
    """When a run of it last ended well; None where nobody tells, which is not never."""
    ended_by: str = ""
    """Who tells that, where it is not systemd itself: `journal`."""
    skipped_at: datetime | None = None
    """When its last start was no run, where it was none; `skipped`: why, to follow "skipped, because"."""
    skipped: str = ""
    kept: bool = True
    """Whether systemd keeps any record of its runs."""
    mute: str | None = ""
    """Why the journal does not tell of its runs, empty where it does or need not; None until it has answered."""

    @property
    def restarting(self) -> bool:
        """It ended by itself and is started again: `auto-restart`, from systemd 254 on also `auto-restart-queued`."""
        return self.active == "activating" and self.sub.startswith("auto-restart")


class EnginePhase(StrEnum):
    UNKNOWN = "unknown"
    ABSENT = "absent"
    """Its services are not running."""
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    ASLEEP = "asleep"
    """It answers, but its model is not in memory: see `Engine.wakes`."""
    SPILLED = "spilled"
    """It serves, but part of its model does not fit into GPU memory and is computed on the CPU."""
    DEAD = "dead"
    """It was ready, and nobody answers any more."""
    HUNG = "hung"
    """Its port takes connections and nothing is answered."""
    WRONG_MODEL = "wrong-model"
    """Something answers on the port, but it serves another model."""


SERVING = (EnginePhase.READY, EnginePhase.SPILLED)
"""An engine in one of these answers requests now."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of several things behind an engine: a model it holds, a deployment it routes to, a device, a way around."""

    name: str
    state: str = ""
    """One word: `ready`, `starting`, `stopping`, `asleep`, `unloaded`, `spilled`, `cooldown`, `failing`, ..."""
    trouble: bool = False
    """Whether that word is something to look at."""
    detail: str = ""
    size_bytes: int | None = None
    accelerator_bytes: int | None = None
    """What of its size is in accelerator memory."""
    context_tokens: int | None = None
    ends_at: datetime | None = None
    """When it will be unloaded, or when its cooldown ends; None where it is not told, or never."""
    ends_guessed: bool = False
    """Whether that is a guess: of a cooldown whose length the provider may have said otherwise."""
    pinned: bool = False
    """Stays until it is unloaded."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What a mode's engine said of itself when last asked."""

    phase: EnginePhase = EnginePhase.UNKNOWN
    models: tuple[str, ...] = ()
    """Ids that it serves or holds, the one in question first."""
    context_tokens: int | None = None
    version: str = ""
    progress: str = ""
    """What a start is doing, in the engine's words, cleaned."""
    reason: str = ""
    at: datetime | None = None
    wakes: bool = False
    """Of one that is asleep: the next request wakes it, or loads its model. Else requests hang until somebody wakes it."""
    parts: tuple[Part, ...] = ()
    """What is behind it, where that is more than its one model."""
    installed: tuple[Part, ...] = ()
    """Models that it could load, those in memory included; empty where that is not told."""
    denied: str = ""
    """What of it is closed to us, why, and what to do: it wants a key, refuses ours, or ours is not available. Empty: nothing."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A named, exclusive state of a box (from the configuration)."""

    name: str
    key: str = ""
    title: str = ""
    engine: str = ""
    url: str = ""
    model: str = ""
    """Id that `/v1/models` must list; empty: any."""
    services: tuple[str, ...] = ()
    needs_bytes: int | None = None
    weights_bytes: int | None = None
    loader_factor: float = 1.0
    may_stay: tuple[str, ...] = ()
    expect_tok_s: float | None = None


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup destination."""

    name: str
    service: str = ""
    max_age_seconds: float | None = None
    last_success_at: datetime | None = None
    last_result: str = ""
    """`success`, `failed`, `running`, `skipped` (its start was no run), or empty where not told."""
    at: datetime | None = None
    source: str = ""
    reason: str = ""
    """Why the last success is not known."""
    skipped: str = ""
    """Why its last start was no run, to follow "skipped, because"; empty where it was one."""


class AlertState(StrEnum):
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    """Silenced by at least one silence."""
    INHIBITED = "inhibited"
    UNPROCESSED = "unprocessed"
    PENDING = "pending"
    """Known to Prometheus only: its `for` has not run out."""
    UNTOLD = "untold"
    """It fired before Alertmanager was restarted, which has not been told of it again yet."""


@dataclass(frozen=True, slots=True)
class Silence:
    id: str
    author: str
    comment: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a silence wants of one label."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


@dataclass(frozen=True, slots=True)
class Hush:
    """A silence that is active, with what it is of."""

    silence: Silence
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of Alertmanager. All text is clean."""

    fingerprint: str
    name: str
    severity: str = ""
    state: AlertState = AlertState.ACTIVE
    since: datetime | None = None
    summary: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    """As Alertmanager has them, uncleaned: a silence must match them exactly. Clean before showing."""
    silences: tuple[Silence, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    """Everything its rule says of it, clean, the summary included."""
    pulse: bool = False
    """It fires by design: the proof that alerting works."""
    told_by: str = ""
    """`prometheus` where Alertmanager does not know of it yet; empty otherwise."""

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an action."""

    name: str
    state: str
    """`running`, `done`, `failed`, `skipped`."""
    began_at: datetime
    seconds: float | None = None
    detail: str = ""
    before: str | None = None
    """Of a preflight: the name of the mode that was hot, empty where none was; None where that is not told."""


@dataclass(frozen=True, slots=True)
class ActionRun:
    """An action on a host, running or ended, as its receipt tells it."""

    id: str
    kind: str
    target: str
    who: str
    began_at: datetime
    steps: tuple[Step, ...] = ()
    lines: tuple[str, ...] = ()
    """The last lines of what it follows (engine's journal), clean."""
    outcome: str = ""
    """Empty while it runs; else an `Outcome` of `onbox.receipt`."""
    reason: str = ""
    seconds: float | None = None
    figures: tuple[tuple[str, float], ...] = ()
    """`before.memory.available_bytes` and the like."""
    dropped_lines: int = 0
    """How many came before `lines` and are no longer held."""
    asks: Mapping[str, bool | tuple[str, ...]] = field(default_factory=dict, hash=False)
    """It was refused, and would go on with this consent; as the box names it, empty where nothing is asked."""

    @property
    def running(self) -> bool:
        return not self.outcome

    @property
    def line_count(self) -> int:
        """All lines so far."""
        return self.dropped_lines + len(self.lines)

    def lines_after(self, count: int) -> tuple[str, ...]:
        """What came after the first `count` lines, as far as it is still held."""
        new = max(0, self.line_count - count)
        return self.lines[-new:] if new else ()


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What the configuration says of a host, as far as the screen needs it."""

    name: str
    kind: str = "ssh"
    address: str = ""
    names: tuple[str, ...] = ()
    """What it may be called in a label of an alert."""
    role: str = "box"
    """`box`, `management`, `edge` or `nas`."""
    disk_full_ratio: float = 0.9
    memory: str = "auto"
    modes: tuple[Mode, ...] = ()
    beside: tuple[Mode, ...] = ()
    """Engines that run beside the modes, written as modes that have no key: looked at, never switched."""
    floor: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    """Everything watched: those of modes, tenants, floor, holds, backups and the extra ones listed."""
    tenants: tuple[str, ...] = ()
    reserve_bytes: int = 0
    drop_caches: bool = True
    backups: tuple[Backup, ...] = field(default_factory=tuple)
    ready_seconds: float = 900.0
    """How long an engine may take until it is ready."""
