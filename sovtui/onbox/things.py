"""What effects and events are about: services, engines, what they have to do. Frozen, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

UP = ("active", "activating", "reloading", "refreshing", "deactivating", "maintenance")


@dataclass(frozen=True)
class Unit:
    """A service as its supervisor tells it now."""

    name: str
    active: str = "unknown"
    sub: str = ""
    result: str = ""
    load: str = ""
    pid: int = 0
    procs: int = 0
    """Processes left in its control group."""
    restarts: int = 0
    status: int = 0
    """Exit status of the main process."""
    age: float | None = None
    """Seconds since its main process began."""
    cpu: float | None = None
    """Processor seconds that it has used, and bytes read; None where the supervisor does not count."""
    read: float | None = None
    part_of: str = ""
    """The compose project that a container belongs to, `compose:NAME`."""
    since: float | None = None
    """When it came to be as it is, in seconds since 1970 by its supervisor."""
    stop_limit: float | None = None
    """Seconds after which its supervisor ends it by force when it is to stop; infinite where it never does, None where not told."""
    invocation: str = ""
    """systemd's number of its last run, and when that run's main process began (CLOCK_MONOTONIC, 0: none); see `runs`."""
    began: float = 0.0
    skipped: str = ""
    """Why its last start was no run, and when that was looked at (CLOCK_MONOTONIC)."""
    skipped_at: float = 0.0
    oneshot: bool = False
    limited: bool = False
    """It failed so often that systemd may refuse to start it."""

    @property
    def up(self) -> bool:
        """It runs, or is on its way up or down: it may hold memory."""
        return self.active in UP

    @property
    def serving(self) -> bool:
        return self.active in ("active", "activating", "reloading", "refreshing")

    @property
    def restarting(self) -> bool:
        """It ended by itself and its supervisor starts it again: `auto-restart`, from systemd 254 on also `auto-restart-queued`."""
        return self.sub.startswith("auto-restart")

    @property
    def gone(self) -> bool:
        return not self.up and not self.pid and not self.procs


NOBODY = Unit("")


@dataclass(frozen=True)
class Probe:
    """An engine to be asked."""

    url: str
    health: bool = True
    engine: str = ""
    """How it is to be asked: see `asking`."""
    patience: float = 2.0
    """How long an answer may take, in seconds."""


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP statuses, 0 where nobody answered; `health` is None where it was not asked."""

    url: str
    models: int = 0
    ids: tuple[str, ...] = ()
    health: int | None = None
    silent: bool = False
    """Nobody answered, and nobody refused either: what listens there takes the question and says nothing."""

    @property
    def alive(self) -> bool:
        return self.models in (200, 401, 403) or self.health == 200


@dataclass(frozen=True)
class LoadProbe:
    """An engine to be asked how much it has to do."""

    mode: str
    engine: str
    url: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """What a mode has to do now. `known` is False where nothing exact could tell."""

    mode: str
    running: float = 0.0
    waiting: float = 0.0
    known: bool = False
    source: str = ""
    progress: tuple[float, ...] = ()
    """Numbers that move while it works on anything: tokens made, tokens read, share of its cache in use. Empty where it tells none."""

    @property
    def total(self) -> float:
        return self.running + self.waiting


@dataclass(frozen=True)
class Need:
    """A command that will be needed."""

    verb: str
    service: str


@dataclass(frozen=True)
class Take:
    """A unit that a job takes along without being asked to."""

    service: str
    verb: str
    """`stop`, `restart`, `start` (of one that does not run), `uphold`: it starts again what is stopped, or `wake`: once it is used."""
    job: str
    by: str
    """The job that does so, and the service whose own it is."""
