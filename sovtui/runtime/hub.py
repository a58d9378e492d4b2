"""The hub: all that a front end ever holds. It shows the state and carries out wishes; it draws nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from sovtui.actions.spec import Plan, Wish
from sovtui.config.schema import Config
from sovtui.core import drop_ins
from sovtui.core.metered import Wish as Metered
from sovtui.core.model import ActionRun
from sovtui.core.record import Record
from sovtui.core.state import State
from sovtui.ports.link import Ask
from sovtui.ports.past import Stretch

if TYPE_CHECKING:
    from sovtui.core.tailnet import Tailnet


_LINES_SHOWN = 3
"""Lines of sudoers written out; the drop-in has them all."""
_NO_TTY = "must have a tty"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One journal line, clean."""

    at: datetime | None
    text: str
    level: str = ""
    """`error`, `warning`, `info`, `debug`, or empty where it cannot be told."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wish ended."""

    exit_code: int
    """As in the command line's contract: 0 done, 1 failed, 3 unreachable, 4 refused, 5 done but a check does not hold."""
    message: str
    """Whole sentences for the operator: what happened, and what to do next if it went wrong."""
    run: ActionRun | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a plan would come to, by the host's own preflight."""

    word: str
    """`go`, `ask` (it would be refused unless somebody says yes), `no`, or `not known`."""
    reason: str = ""
    """Clean."""
    exit_code: int = 0
    """Of a command that finds it so."""


@dataclass(frozen=True, slots=True)
class Right:
    """Whether one of our commands may be run."""

    command: tuple[str, ...]
    """As it was asked about; never as the host repeats it."""
    by: str = ""
    """`root`, `sudo` or `polkit`; empty: not, or it is not known."""
    known: bool = True
    words: str = ""
    """Why not, in the words of the program that refuses; clean."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What the operator's login may do on a host, as the host itself says."""

    user: str
    """Its name there; clean."""
    lingers: bool | None
    """Whether the user manager outlives the session; None where there is no systemd."""
    journal: bool
    """Whether other units' journal lines can be read."""
    uid: int | None = None
    """Its number there; None where the host tells none that can be one."""
    programs: tuple[str, ...] = ()
    """Where `systemctl` and `tee` lie there."""
    asked: tuple[Right, ...] = ()

    @property
    def missing(self) -> tuple[Right, ...]:
        return tuple(right for right in self.asked if not right.by and right.known)

    @property
    def unknown(self) -> tuple[Right, ...]:
        return tuple(right for right in self.asked if not right.by and not right.known)

    @property
    def advice(self) -> str:
        """What gives the missing rights: lines of sudoers that are computed here; one of another kind where sudo wants a terminal."""
        who = drop_ins.user(self.user, self.uid)
        least = sorted(
            self.missing, key=lambda right: "kill" in right.command
        )  # what is only wanted of an engine that hangs comes last
        lines = list(
            dict.fromkeys(
                drop_ins.no_tty_line(who)
                if _NO_TTY in right.words
                else drop_ins.sudoers_line(who, drop_ins.placed(right.command, self.programs))
                for right in least
            )
        )
        more = len(lines) - _LINES_SHOWN
        rest = f"; and {more} more, see `sovtui doctor --sudoers`" if more > 0 else ""
        return f"add to sudoers there: {'; '.join(lines[:_LINES_SHOWN])}{rest}" if lines else ""


@dataclass(frozen=True, slots=True)
class TailnetView:
    """The tailnet as a host's own daemon sees it."""

    net: Tailnet
    """With those peers only that it sends to now."""
    we: str = ""
    """The address that it sees us at; empty where it does not tell."""


Progress = Callable[[ActionRun], None]
T = TypeVar("T")


class Hub(Protocol):
    """Implemented by `runtime.control.Control`; the demo uses the same class on scripted ports."""

    @property
    def config(self) -> Config: ...

    @property
    def state(self) -> State:
        """The newest state. Cheap."""
        ...

    @property
    def record(self) -> Record:
        """The last hour. To be read only."""
        ...

    async def past(self, begin: datetime, end: datetime) -> Stretch:
        """A piece of the time before the record, from whoever keeps history. Raises `PortError`."""
        ...

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        """Call `notify(select(state))` now and whenever the selected value changes (at most once per loop turn)."""
        ...

    async def start(self) -> None:
        """Start all sources in the background; returns at once."""
        ...

    async def settle(self, seconds: float, *, whole: bool = False) -> tuple[str, ...]:
        """Wait until every source has been asked once, at most this long. For headless commands. Returns who was not waited for.

        `whole`: until each has answered or failed with all that it needs to tell, and the hosts have told services and receipts.
        """
        ...

    async def aclose(self) -> None: ...

    def plan(self, action: str, wish: Wish) -> Plan:
        """What would be done. Instant, from the state. KeyError for an unknown action."""
        ...

    async def execute(self, plan: Plan, progress: Progress | None = None, *, wait: bool = True) -> Outcome:
        """Carry out a plan and, with `wait`, follow it to its end. Cancelling leaves the action running on the box."""
        ...

    async def rehearse(self, plan: Plan) -> Rehearsal:
        """The preflight of a plan for a box, played there without touching anything."""
        ...

    async def follow(self, host: str, run_id: str = "", progress: Progress | None = None) -> Outcome:
        """Attach to an action, by default the running or newest one."""
        ...

    async def cancel(self, host: str, run_id: str) -> Outcome:
        """Ask a running action to end: it finishes safely or goes back, and its receipt tells which."""
        ...

    async def receipts(self, host: str) -> tuple[ActionRun, ...]:
        """Receipts on the host, newest first. Raises `PortError`."""
        ...

    async def rights(self, host: str, commands: Sequence[Sequence[str]]) -> Rights:
        """Which of these commands the login may run as root there. Changes nothing. Raises `PortError`."""
        ...

    async def tailnet(self, host: str) -> TailnetView:
        """What the host's own tailnet daemon says, asked over the link. Raises `PortError`; `Unsupported` where there is none."""
        ...

    def logs(
        self, host: str, service: str, *, lines: int = 200, since: str = "", follow: bool = True, until: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        """A service's journal. `since`, `until`: a unix time, a date, or an age as `10m`. Raises `PortError`."""
        ...

    def set_ask(self, ask: Ask | None) -> None:
        """Who answers questions of links being made (unknown host key, passphrase); None: nobody, they are refused."""
        ...

    def meter(self, host: str, wish: Metered) -> None:
        """Whether the host's link is to be used sparingly, until sovtui ends. KeyError for a host that is not configured."""
        ...

    def reconnect(self, host: str = "") -> None:
        """Try a lost link again now (a key was pressed)."""
        ...
