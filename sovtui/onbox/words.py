"""What machines and the box say to each other: effects (asked for) and events (what came of it). Frozen, no I/O.

Of the effects in `ASKED` at most one is open at any time; each is answered by exactly one event, in a time of its own, or not at all: the
next one takes its place, so that neither a clock nor whoever cancels waits for it. `Run` is answered by `Ran` and
`Command` by `CommandEnded` whenever the command ends; `Line` and `Cancelled` come unasked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from sovtui.onbox.plan import Consent
from sovtui.onbox.things import Answer, Load, LoadProbe, Need, Probe, Take, Unit


@dataclass(frozen=True)
class Look:
    services: tuple[str, ...]
    probes: tuple[Probe, ...] = ()
    seconds: float | None = None
    """So long engines are waited for at most; None: as long as each of them may take."""


@dataclass(frozen=True)
class CheckRights:
    needs: tuple[Need, ...]
    drop: bool = False
    wishes: tuple[Need, ...] = ()
    """What can be done without: the services of those that are lacking are told apart."""


@dataclass(frozen=True)
class AskJobs:
    """What these jobs would take along, each unit named as `names` name it if they do. Nothing is done."""

    needs: tuple[Need, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    pass


@dataclass(frozen=True)
class Drop:
    """Sync, then drop the page cache."""


@dataclass(frozen=True)
class Explain:
    """The journal of a service since it was last started by this action."""

    service: str
    over: bool = False
    """Its run is over: the journal is to tell how it ended."""
    oneshot: bool = True


@dataclass(frozen=True)
class Weigh:
    """How much engines have to do, and who holds how much memory."""

    probes: tuple[LoadProbe, ...]
    services: tuple[str, ...] = ()
    """Whose memory is wanted; none: only the load."""
    known: tuple[str, ...] = ()
    """Whose GPU processes are not foreign."""
    seconds: float | None = None
    """As of a look."""


@dataclass(frozen=True)
class Prove:
    """Ask for one token."""

    url: str
    model: str = ""
    timeout: float = 120.0


@dataclass(frozen=True)
class Call:
    """Ask an engine over HTTP: POST with a `body` of JSON, else GET."""

    url: str
    path: str
    body: str = ""
    timeout: float = 10.0


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Run:
    """`start`, `stop`, `restart` or `reset-failed` one service."""

    verb: str
    service: str


@dataclass(frozen=True)
class Command:
    """The owner's own command: no terminal, no input; its lines come as `Line` of `SCRIPT`."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    timeout: float = 900.0


@dataclass(frozen=True)
class Halt:
    """End the command that runs, with everything it started."""


@dataclass(frozen=True)
class Held:
    """A note, written before they are stopped: these are to be started again whatever happens."""

    services: tuple[str, ...]


@dataclass(frozen=True)
class Released:
    """A note: these were started again."""

    services: tuple[str, ...]


@dataclass(frozen=True)
class Took:
    """A note, written before anything is stopped: these go down with what is, and belong to that mode."""

    mode: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class Brought:
    """A note: these run again."""

    services: tuple[str, ...]


@dataclass(frozen=True)
class Follow:
    """Follow the journal of a service from now on."""

    service: str


@dataclass(frozen=True)
class Step:
    name: str
    state: str
    seconds: float | None = None
    detail: str = ""
    before: str | None = None
    """Of a preflight that is done: the mode that was hot, empty where none was."""


@dataclass(frozen=True)
class Kept:
    """A journal line worth keeping."""

    unit: str
    text: str


@dataclass(frozen=True)
class Figures:
    when: str
    values: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class End:
    outcome: str
    reason: str
    seconds: float
    exit: int
    asks: Consent | None = None
    """Refused only until somebody says yes to this."""


Effect = Union[
    Look, CheckRights, AskJobs, Measure, Drop, Explain, Weigh, Prove, Call, Wait, Run, Command, Halt, Follow, Held, Released, Took, Brought,
    Step, Kept, Figures, End
]  # fmt: skip
Effects = tuple[Effect, ...]
ASKED = (Look, CheckRights, AskJobs, Measure, Drop, Explain, Weigh, Prove, Call, Wait)
SCRIPT = "switch command"
"""The name under which lines of the owner's command come."""


@dataclass(frozen=True)
class Began:
    now: float


@dataclass(frozen=True)
class Looked:
    now: float
    units: tuple[Unit, ...]
    answers: tuple[Answer, ...] = ()
    reason: str = ""
    """Why nothing could be seen; then `units` must not be believed."""
    available: float | None = None
    """MemAvailable at this moment."""

    def unit(self, name: str) -> Unit:
        for unit in self.units:
            if unit.name == name:
                return unit
        return Unit(name)

    def answer(self, url: str) -> Answer:
        for answer in self.answers:
            if answer.url == url:
                return answer
        return Answer(url)


@dataclass(frozen=True)
class Rights:
    now: float
    missing: tuple[str, ...] = ()
    """Whole sentences, one per right that is missing."""
    lacking: tuple[str, ...] = ()
    """The services of the wishes that may not be done."""


@dataclass(frozen=True)
class JobsTold:
    now: float
    takes: tuple[Take, ...] = ()
    reason: str = ""
    """Why it cannot be told; then `takes` must not be believed."""


@dataclass(frozen=True)
class Measured:
    now: float
    values: tuple[tuple[str, float], ...]

    def value(self, name: str) -> float | None:
        return dict(self.values).get(name)


@dataclass(frozen=True)
class Dropped:
    now: float
    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class Explained:
    now: float
    service: str
    lines: tuple[str, ...] = ()
    reason: str = ""
    """Why there are none."""
    skipped: str = ""
    """Why the start was no run, to follow "skipped, because"; empty where it was one, or nobody tells."""
    ran: Optional[bool] = None
    well: Optional[bool] = None
    """Whether its newest run ended well, as systemd's journal tells."""


@dataclass(frozen=True)
class Weighed:
    """`values` as `Measured`; `held`: what services hold, as far as it is measured; `foreign`: GPU processes of nobody we know."""

    now: float
    loads: tuple[Load, ...] = ()
    values: tuple[tuple[str, float], ...] = ()
    held: tuple[tuple[str, float], ...] = ()
    foreign: tuple[tuple[str, float], ...] = ()

    def load(self, mode: str) -> Load:
        for load in self.loads:
            if load.mode == mode:
                return load
        return Load(mode)


@dataclass(frozen=True)
class Proved:
    now: float
    ok: bool
    reason: str = ""
    silent: bool = False
    """No token, and no other answer either, within the time for it."""
    certain: bool = True
    """False where it could not be asked: it wants a key."""


@dataclass(frozen=True)
class Called:
    """Status (0 where nobody answered) and text of an answer, and the time of day when it came, in seconds since 1970."""

    now: float
    status: int
    body: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class CommandEnded:
    now: float
    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class Tick:
    now: float


@dataclass(frozen=True)
class Ran:
    now: float
    verb: str
    service: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class Line:
    now: float
    service: str
    text: str


@dataclass(frozen=True)
class Cancelled:
    """Somebody asked for it (`by` is "asked"), or the runner got a signal, as every process does when the box shuts down."""

    now: float
    by: str = "asked"

    @property
    def words(self) -> str:
        if self.by == "signal":
            return "it was ended by a signal on the box, which may be shutting down"
        return "it was cancelled"


Event = Union[
    Began,
    Looked,
    Rights,
    JobsTold,
    Measured,
    Dropped,
    Explained,
    Weighed,
    Proved,
    Called,
    CommandEnded,
    Tick,
    Ran,
    Line,
    Cancelled,
]

UNASKED = (Began, Ran, Line, CommandEnded, Cancelled)
"""Events that answer no question."""
EXITS = {"done": 0, "warned": 5, "refused": 4}
"""Exit code of an outcome; every other is 1."""
