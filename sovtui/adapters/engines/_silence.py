"""What it means that an engine gives no answer: starting, dead, hung, gone, or nothing that can be told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from sovtui.core.model import Engine, EnginePhase, Service
from sovtui.core.text import duration

REFUSALS_UNTIL_DEAD = 2
"""One refusal may be a stop that we have not heard of yet."""
YOUNG_SECONDS = 60.0
"""So long after its start it may be too busy to answer at a port that is open already."""


class Silence(Enum):
    """What came instead of an answer."""

    REFUSED = auto()
    """Nothing listens there."""
    CLOSED = auto()
    """Something takes the connection and closes it: a container's port whose server is not up, or one that has just died."""
    SILENT = auto()
    """The connection is taken and nothing comes."""
    SLOW = auto()
    """Something came, but not all of it in time."""
    UNREACHED = auto()
    """No connection, neither taken nor refused: it cannot be told whether that is the engine or the way to it."""
    FORBIDDEN = auto()
    """We are not let through to it, or our login for it is not there yet."""
    FOREIGN = auto()
    """Something answers, and not in HTTP."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else is known when it is silent."""

    services: Sequence[Service]
    """Of its own those that are known by name; empty: it has none."""
    last: Engine
    """What was told of it before."""
    ready: bool
    """It was ready once in this life."""
    refusals: int
    """Looks in a row that nothing came of, this one included."""
    now: datetime
    begun_lately: bool
    """An action starts it now, or nothing listened at its port a moment ago."""
    replaced_by: str = ""
    """Another mode of the same host that came up after it had fallen silent."""
    ready_seconds: float = 900.0
    """How long it may take until it is ready."""

    @property
    def up_seconds(self) -> float:
        """How long its services have been up; 0 where that is not told."""
        since = max((s.since for s in self.services if s.since is not None), default=None)
        return 0.0 if since is None else (self.now - since).total_seconds()


def name(silence: Silence, what: str, c: Circumstances) -> Engine:
    """Its phase, and why. `what` is the sentence of the error, for where it says more than the kind."""
    match silence:
        case Silence.FORBIDDEN:
            return _unknown(c.last, what, denied=what)
        case Silence.FOREIGN:
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: {what}")
        case Silence.SLOW:
            return _unknown(c.last, f"it answers too slowly to judge: {what}")
    if any(s.active == "deactivating" for s in c.services):
        return Engine(EnginePhase.ABSENT, reason="it is stopping")
    if silence is Silence.UNREACHED:
        return _unknown(c.last, f"it has just stopped answering: {what}" if c.ready else what)
    if silence is Silence.SILENT:
        return _silent(what, c)
    return _refused(silence, what, c)


def _silent(what: str, c: Circumstances) -> Engine:
    takes = f"its port takes connections, and nothing came back {what}"
    if c.ready:
        return Engine(EnginePhase.HUNG, c.last.models, c.last.context_tokens, c.last.version, reason=f"{_WAS_READY}: {takes}")
    since = [s.since for s in c.services if s.since is not None]
    if c.begun_lately or (since and (c.now - max(since)).total_seconds() < YOUNG_SECONDS):
        return Engine(
            EnginePhase.STARTING, reason="it was started a moment ago: its port takes connections and does not answer yet"
        )
    return Engine(EnginePhase.HUNG, reason=takes)


def _refused(silence: Silence, what: str, c: Circumstances) -> Engine:
    closed = silence is Silence.CLOSED
    if c.ready:
        if (closed or c.services) and c.refusals < REFUSALS_UNTIL_DEAD:
            return _unknown(c.last, f"it has just stopped answering: {what}")
        if c.replaced_by and not c.services:
            return Engine(EnginePhase.ABSENT, reason=f"it ended, and {c.replaced_by} runs now")
        if closed:
            why = f"{_WAS_READY}: its port takes connections and closes them"
        else:
            why = f"{_WAS_READY}: {what}" if c.services else "it was ready and nothing listens any more: it has ended"
        return Engine(EnginePhase.DEAD, c.last.models, reason=why)
    if any(s.active == "unknown" for s in c.services):
        return _unknown(c.last, f"{what}; its services are not known yet")
    if c.services and c.up_seconds > c.ready_seconds:
        up = f"it has been up for {duration(c.up_seconds)}, and "
        why = f"{up}its port closes each connection" if closed else f"{up}nothing listens on its port"
        return _unknown(c.last, why) if c.refusals < REFUSALS_UNTIL_DEAD else Engine(EnginePhase.DEAD, c.last.models, reason=why)
    if c.services:
        return Engine(
            EnginePhase.STARTING, reason=f"{'its port closes each connection' if closed else 'nothing answers on its port'} yet"
        )
    if closed:
        return _unknown(c.last, "something listens on its port and closes each connection without an answer")
    return Engine(EnginePhase.ABSENT, reason=what)


_WAS_READY = "it was ready and no longer answers"


def _unknown(last: Engine, reason: str, *, denied: str = "") -> Engine:
    return Engine(EnginePhase.UNKNOWN, last.models, last.context_tokens, last.version, reason=reason, denied=denied)
