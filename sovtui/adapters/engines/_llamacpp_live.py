"""What is remembered of one llama.cpp server between two looks: whether it may be asked now, and its running totals. Pure.

No engine by itself: see `llamacpp`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from sovtui.adapters.engines._llamacpp_talk import Slots
from sovtui.core.activity import NOT_TOLD_YET, Activity

AGAIN_SECONDS = 10.0
"""How often it is asked whether a connection that does nothing waits for an answer."""
SLEEP_SECONDS = 4.0
"""How often one that may have fallen asleep is asked whether it has."""
RARELY_SECONDS = 60.0
"""How often what hardly changes is asked."""
LAST_SECONDS = 2.5
"""So long after its last work it may be asked what came of it: it falls asleep that much later."""
LATE_STEPS = 3.0
AWAKE_SECONDS = 4.0
"""So long after an answer nobody is asked whether it sleeps before it is asked the next."""

WAITS_OR_IDLES = "a connection is open and its process rests: to ask whether a request waits could keep it awake"


class Move(Enum):
    """What may be done about its figures now."""

    ASK = "ask"
    REST = "rest"
    """Nothing runs: that is known without asking."""
    LEAVE = "leave"
    """What runs is not known, and asking could wake it or keep it awake."""


@dataclass(slots=True)
class Steps:
    """The speed of what moves in steps: a prompt's tokens count when their batch is done, which may take longer than a look."""

    total: float = math.nan
    at: float = math.nan
    """When the total was last seen to move, or was known to stand."""
    looked: float = math.nan
    rate: float | None = None
    step_seconds: float = 0.0
    pending: bool = False

    def feed(self, now: float, total: float, pending: bool) -> float | None:
        """Tokens per second as of this look; None where a step is under way and it is not known how long it takes.

        `pending`: a prompt is being read. Between two steps the speed is that of the last; where the next is late, what it can be
        at most, if it is as large; where it is very late, nothing is known of it.
        """
        looked, began = self.looked, pending and not self.pending
        self.looked, self.pending = now, pending
        if math.isnan(self.total) or total < self.total:
            self.total, self.at, self.rate = total, now, None
            return None
        if total > self.total:
            self.step_seconds = now - self.at
            self.rate = (total - self.total) / self.step_seconds if self.step_seconds > 0 else None
            self.total, self.at = total, now
            return self.rate
        if not pending:
            self.at, self.rate = now, None
            return 0.0
        if began:
            self.at, self.rate = (looked + now) / 2, None  # it began between two looks
        if self.rate is None or now - self.at > LATE_STEPS * self.step_seconds:
            return None
        return min(self.rate, self.rate * self.step_seconds / (now - self.at))


@dataclass(slots=True)
class Server:
    """One server: the engine itself, or a model of a router."""

    can_sleep: bool = True
    """Its `/props` tells of sleep; builds before 2026 do not."""
    asleep: bool = False
    props_at: float = -math.inf
    """Monotonic times."""
    asked_at: float = -math.inf
    heard_at: datetime | None = None
    """The same as `asked_at`, by the time of day."""
    moved_at: float = -math.inf
    """When its process was last seen to work."""
    working: bool = False
    """Its last answer: something runs or waits."""
    rested: bool = False
    """Since it was last known that nothing runs, its process has not worked."""
    missing: set[str] = field(default_factory=set)
    """Paths that it does not have."""
    slot_count: int | None = None
    counters: dict[str, float] = field(default_factory=dict)
    """As last told; what it has not told since it began is not here."""
    slots: Slots | None = None
    made: float = 0.0
    """Decode tokens so far: those of ended requests and of running ones. Never goes back while it runs."""
    unsure: bool = False
    """`made` lacks tokens: without metrics a request that began and ended between two looks is not seen."""
    reading: Steps = field(default_factory=Steps)
    prompt_tok_s: float | None = None
    ran_seconds: float = 0.0
    """Requests times seconds, as the looks saw them."""
    ran_at: float = -math.inf

    def never_sleeps(self, use: Activity | None) -> bool:
        return not self.can_sleep or (use is not None and use.sleeps_after_seconds == 0)

    def move(self, use: Activity | None, blind: str, now: float, at: datetime | None = None) -> tuple[Move, str]:
        """Whether its metrics and slots may be asked now; and why not, as a sentence for the user. `at`: the time of day."""
        if use is not None and (use.works or self._worked_since(use, at)):
            self.moved_at, self.rested = now, False
            return Move.ASK, ""
        if use is not None and use.free:
            self.working, self.rested = False, True
            return Move.REST, ""
        if use is not None and use.cores is not None:  # it rests, and somebody is connected, or that cannot be seen
            if self.working or (self.never_sleeps(use) and not (self.rested and now - self.asked_at < AGAIN_SECONDS)):
                return Move.ASK, ""
            return (Move.REST, "") if self.rested else (Move.LEAVE, WAITS_OR_IDLES)
        if self.never_sleeps(use):
            return Move.ASK, ""
        reason = use.reason if use is not None else blind
        return Move.LEAVE, f"{reason}: to ask it could wake it or keep it awake" if reason else NOT_TOLD_YET

    def _worked_since(self, use: Activity, at: datetime | None) -> bool:
        """Whether it has worked since it was asked: once more then, and at once, for what it made last."""
        if at is None or use.worked_at is None or (self.heard_at is not None and self.heard_at >= use.worked_at):
            return False
        return (at - use.worked_at).total_seconds() <= LAST_SECONDS

    def doubtful(self, use: Activity | None, now: float) -> bool:
        """Whether it may have fallen asleep since it was last heard, so that `/props` is asked before it is asked more."""
        return not self.never_sleeps(use) and not self.working and now - self.asked_at > AWAKE_SECONDS

    def props_due(self, use: Activity | None, now: float) -> bool:
        """Whether it is time to ask `/props`, which keeps nobody awake but is long, of one that rests."""
        since = now - self.props_at
        if self.never_sleeps(use):
            return since >= RARELY_SECONDS
        after = use.sleeps_after_seconds if use is not None else None
        if after is not None and not self.asleep and self.moved_at > -math.inf:
            expected = max(self.moved_at, self.asked_at) + after + 1.0
            return now >= expected and (self.props_at < expected or since >= SLEEP_SECONDS)
        return since >= (AGAIN_SECONDS if self.asleep else SLEEP_SECONDS)

    # -- totals ----------------------------------------------------------------------------------

    def lost(self, counters: dict[str, float], decoded: str, slots: Slots) -> bool:
        """Whether a request has ended between the two answers: it is no longer in the slots and not yet in the counter."""
        if self.slots is None or decoded not in counters or decoded not in self.counters:
            return False
        gone = sum(count for task, count in self.slots.decoded.items() if task not in slots.decoded)
        return counters[decoded] - self.counters[decoded] < gone

    def take(
        self, counters: dict[str, float], slots: Slots | None, decoded: str, prompted: str, running: float, now: float
    ) -> None:
        """Count up after an answer. `counters` is empty without metrics; `slots` is None where they were not asked or are not told."""
        before, self.slots = self.slots, slots
        restarted = any(counters.get(name, value) < value for name, value in self.counters.items())
        if counters:
            total = counters.get(decoded, 0.0) + (sum(slots.decoded.values()) if slots else 0.0)
            self.made = total if restarted or not self.counters else max(self.made, total)
            self.unsure = False
            read = counters.get(prompted, 0.0) + (slots.reading_tokens if slots else 0.0)
            if restarted:
                self.reading = Steps()
            self.prompt_tok_s = self.reading.feed(now, max(read, 0.0 if restarted else self._read()), bool(slots and slots.reads))
            self.counters = counters
        elif slots is not None:
            self.unsure = before is None or before.tasks != slots.tasks or bool(before.decoded.keys() ^ slots.decoded.keys())
            if before is None or self.unsure:
                self.reading = Steps()
            else:
                self.made += sum(count - before.decoded.get(task, 0.0) for task, count in slots.decoded.items())
            self.prompt_tok_s = self.reading.feed(now, slots.read_tokens, slots.reads)
        if self.ran_at > -math.inf:
            self.ran_seconds += running * (now - self.ran_at)
        self.ran_at, self.asked_at, self.working, self.rested = now, now, running > 0, not running

    def rest(self, now: float) -> None:
        """Nothing runs: its counters stand where they stood."""
        self.slots, self.prompt_tok_s, self.unsure = None, 0.0, False
        if self.asked_at > -math.inf:
            self.reading.feed(now, self._read(), pending=False)
        self.ran_at = now
        self.working = False

    def _read(self) -> float:
        return 0.0 if math.isnan(self.reading.total) else self.reading.total
