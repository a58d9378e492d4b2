"""A stop that did not last is asked for again, and what does not end is ended. Pure.

Podman answers a stop of a container that has just died as if it had stopped it, and then starts it again, as its restart policy says:
until it is gone for good, what a switch wants down is stopped once more whenever it is seen up. What hangs may not heed a stop at all:
its supervisor ends it by force after the time that its owner has set, which may be minutes, or never.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from sovtui.onbox.names import kind_of
from sovtui.onbox.phrases import span
from sovtui.onbox.switchstate import Result, Switching, run
from sovtui.onbox.things import Unit
from sovtui.onbox.words import Effects, Looked, Step

PATIENCE = 20.0
"""Seconds that one that hangs is given to stop, or less if its own unit says so; then SIGKILL."""
GRACE = 20.0
"""How long the end of a process that was killed may take: memory of many gigabytes is given back meanwhile."""
LEFT = 5.0
"""Seconds that processes of a unit that has stopped are given to end by themselves."""
LONGEST = 900.0
"""A supervisor that ends by force only later than this is not waited for."""


def again(s: Switching, seen: Looked, services: Iterable[str]) -> Result:
    """Stop those that serve although the command that stops them has ended well; while it runs it is not repeated."""
    if seen.reason or s.commanding:
        return s, ()
    asked = {*s.pending, *((verb, x) for verb, x, _ in s.refused)}
    return run(s, "stop", tuple(x for x in services if seen.unit(x).serving and ("stop", x) not in asked))


def end(s: Switching, seen: Looked, services: Iterable[str], patience: float = PATIENCE) -> Result:
    """SIGKILL for those that were to stop and are not gone after `patience` seconds; each once."""
    if seen.reason:
        return s, ()
    due = []
    for x in services:
        unit = seen.unit(x)
        own = math.inf if unit.stop_limit is None else unit.stop_limit + 1.0  # a moment for its supervisor to do it
        if not unit.gone and x not in s.killed and s.now - s.since >= min(patience, own):
            due.append(x)
    if not due:
        return s, ()
    s, runs = run(replace(s, killed=(*s.killed, *due)), "kill", tuple(due))
    told: Effects = (Step(s.step, "running", None, f"{', '.join(due)} did not stop within {span(s.now - s.since)}: SIGKILL"),)
    return s, (*told, *runs)


def end_left_behind(s: Switching, seen: Looked, services: Iterable[str]) -> Result:
    """SIGKILL for processes of units that have stopped: with `KillMode=process` systemd is done with them, and nobody else ends them."""
    left = [x for x in services if x not in s.killed and _left_behind(seen.unit(x))]
    if seen.reason or not left or s.now - s.since < LEFT:
        return s, ()
    s, runs = run(replace(s, killed=(*s.killed, *left)), "kill", tuple(left))
    told: Effects = (Step(s.step, "running", None, f"{', '.join(left)} has stopped and left processes behind: SIGKILL"),)
    return s, (*told, *runs)


def _left_behind(unit: Unit) -> bool:
    return kind_of(unit.name)[0] in ("system", "user") and unit.active in ("inactive", "failed") and not unit.gone


def limit(s: Switching, seen: Looked, services: Iterable[str]) -> float:
    """How long the stop may take: longer than usual where a supervisor is going to end by force what we may not."""
    seconds = s.request.stop_timeout
    for x in services:
        unit = seen.unit(x)
        if unit.gone:
            continue
        if x in s.killed and not why_not(s, x):
            seconds = max(seconds, PATIENCE + GRACE)
        elif unit.stop_limit is not None and unit.stop_limit <= LONGEST:
            seconds = max(seconds, unit.stop_limit + GRACE)
    return seconds


def why_not(s: Switching, service: str) -> str:
    """Why it could not be ended by force; empty where it could, or was not tried."""
    return next((why for verb, x, why in s.refused if verb == "kill" and x == service), "")
