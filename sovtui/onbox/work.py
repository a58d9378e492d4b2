"""What the machine of every action remembers, and the two moves with which a smaller one ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from sovtui.onbox.plan import Consent, Request
from sovtui.onbox.things import Take
from sovtui.onbox.words import EXITS, Effects, End, Measure, Step


@dataclass(frozen=True)
class Work:
    """Where an action is."""

    request: Request
    phase: str = ""
    step: str = ""
    now: float = 0.0
    began: float = 0.0
    since: float = 0.0
    """When the step began."""
    cancelled: str = ""
    """How it was cancelled, as a sentence without a stop; empty if it was not."""
    outcome: str = ""
    reason: str = ""
    ended: bool = False
    taken: tuple[Take, ...] = ()
    """What goes down or starts anew with what is stopped, started or restarted; it ran before."""
    lacking: tuple[str, ...] = ()
    """Of that, what may not be started again."""
    bring: tuple[str, ...] = ()
    """What is to run again at the end; `bring_open`: its start has not returned yet; `bring_bad`: why it does not."""
    bring_open: tuple[str, ...] = ()
    bring_bad: tuple[tuple[str, str], ...] = ()


W = TypeVar("W", bound=Work)


def close(s: W, outcome: str, reason: str) -> tuple[W, Effects]:
    """The step is over and with it what was to be done: what is left are the figures after it."""
    step = Step(s.step, outcome if outcome in ("done", "skipped") else "failed", s.now - s.since, reason)
    return replace(s, phase="after", outcome=outcome, reason=reason, step=""), (step, Measure())


def finish(s: W, outcome: str, reason: str, asks: Consent | None = None) -> tuple[W, Effects]:
    """The action is over; a step that was not closed has failed."""
    step = (Step(s.step, "failed", s.now - s.since, reason),) if s.step else ()
    end = End(outcome, reason, s.now - s.began, EXITS.get(outcome, 1), asks)
    return replace(s, ended=True, outcome=outcome, reason=reason, step=""), (*step, end)
