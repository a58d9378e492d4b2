"""Back in time: which moment is shown, where its state comes from, and how one gets to another. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sovtui.core.marks import Mark, MarkKind, marks
from sovtui.core.model import Link, Source
from sovtui.core.state import State, initial
from sovtui.ports.errors import PortError
from sovtui.ports.past import Stretch
from sovtui.runtime.hub import Hub
from sovtui.tui import then as words
from sovtui.tui.arrange import Kind
from sovtui.tui.conduct import Push, Tell
from sovtui.tui.keymap import Key
from sovtui.tui.panes.base import Then
from sovtui.tui.present import Row
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.widgets.timeline import Axis

FIRST_STEP_SECONDS = 10.0
"""So far back the first press goes: something is to be seen at once."""
SETTLE_SECONDS = 2.0
"""A happening is shown this much after it began: then it has been noticed."""
PAUSE_SECONDS = 0.25
"""Nobody is asked before the moment has stood still for this long."""
BEFORE, AFTER = timedelta(minutes=25), timedelta(minutes=15)
"""What is asked for around a moment that is not held here."""
Start = Callable[[Coroutine[Any, Any, None]], object]
"""Lets something run that waits for the operator."""
STRETCHES = 2
"""So many of these are held."""


class Traveller:
    """One per screen. `changed` is called whenever another state is to be shown."""

    def __init__(self, hub: Hub, changed: Callable[[], None], tell: Tell, push: Push, start: Start) -> None:
        self._hub, self._changed, self._tell, self._push, self._start = hub, changed, tell, push, start
        self._live: State = hub.state
        self._shown: State | None = None
        self._then: Then | None = None
        self._stretches: list[Stretch] = []
        self._asking: asyncio.Task[None] | None = None
        self._note = ""
        self._trouble = False
        self.about: Callable[[], str] = lambda: ""
        """Key of the mark that the pane in front is about, or nothing."""
        self.begin: Callable[[], datetime | None] = lambda: None
        """Where to begin, if that is not shortly before now: when the host that is looked at was last heard of."""

    @property
    def on(self) -> bool:
        """Whether the moment shown is not now."""
        return self._then is not None

    @property
    def then(self) -> Then | None:
        return self._then

    def see(self, live: State) -> State:
        """Take the newest state; the one to show."""
        self._live = live
        return self._shown if self._shown is not None else live

    @property
    def live(self) -> State:
        return self._live

    def refusal(self) -> str:
        """Why no action can be started; empty while all is live."""
        return words.refusal(self._then, self._live.now) if self._then is not None else ""

    # moving

    def toggle(self) -> None:
        """Into the past, or back to now."""
        if self.on:
            self.leave()
        else:
            step = self._live.now - timedelta(seconds=FIRST_STEP_SECONDS)
            alive = self.begin()
            self.go(step if alive is None else min(step, alive))

    def hold(self, stretch: Stretch | None) -> None:
        """Something of the past that was asked for elsewhere: it need not be asked for again."""
        if stretch is not None and stretch not in self._stretches:
            self._stretches = [stretch, *self._stretches][:STRETCHES]

    def leave(self) -> None:
        """Back to now."""
        self._cancel()
        self._then = self._shown = None
        self._note, self._trouble = "", False
        self._stretches = self._stretches[:1] if self.begin() is not None else []
        self._changed()

    def go(self, moment: datetime) -> None:
        """Show this moment, or ask for it."""
        self._cancel()
        self._note, self._trouble = "", False
        if moment > self._live.now:
            moment = self._live.now
            self._tell("There is nothing later yet: Escape goes back to now", "begun")
        state, origin = self._held(moment)
        self._shown = state
        self._then = Then(moment, origin)
        if not origin:
            begin, end = moment - BEFORE, min(moment + AFTER, self._live.now)
            self._note = f"asking Prometheus for {_hours(begin, end, self._live.now)} …"
            self._asking = asyncio.create_task(self._ask(moment, begin, end), name="travel")
        self._changed()

    def _held(self, moment: datetime) -> tuple[State, str]:
        state = self._hub.record.at(moment)
        if state is not None:
            return state, "record"
        for stretch in self._stretches:
            if stretch.begin <= moment <= stretch.end:
                return stretch.at(moment), "prometheus"
        specs = tuple(host.spec for host in self._live.hosts.values())
        nothing = initial(specs, moment, demo=self._live.demo, read_only=self._live.read_only)
        reason = "nothing is known of this moment"
        nobody = Source("alertmanager", reason=reason)
        hosts = {name: replace(host, link=Link(kind="history", reason=reason)) for name, host in nothing.hosts.items()}
        return replace(nothing, hosts=hosts, sources={(nobody.name, ""): nobody}), ""

    async def _ask(self, moment: datetime, begin: datetime, end: datetime) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            stretch = await self._hub.past(begin, end)
        except PortError as error:
            self._note, self._trouble = f"Nothing is known of {words.clock(moment, self._live.now)}: {error.sentence()}", True
        else:
            self._stretches = [stretch, *self._stretches][:STRETCHES]
            if self._then is not None:
                self._shown, origin = self._held(self._then.moment)
                self._then = Then(self._then.moment, origin)
                self._trouble = not origin
            self._note = f"Nothing is known of {words.clock(moment, self._live.now)}" if self._trouble else ""
        self._asking = None
        self._changed()

    def _cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    # keys

    def key(self, key: str, character: str | None) -> bool:
        """Whether this key was one of ours, which is so only while travelling."""
        move = words.pressed(key, character) if self.on else None
        return move is not None and self.run(move.id)

    def run(self, id: str) -> bool:
        """Do what one of our commands says; whether it is one."""
        if id == "travel":
            self.toggle()
            return True
        move = words.BY_ID.get(id)
        if move is None:
            return False
        if self._then is None:
            return True
        moment = self._then.moment
        match id:
            case "then-live":
                self.leave()
            case "then-oldest":
                self.go(self._oldest(moment))
            case "then-newest":
                self.go(self._live.now)
            case "then-before" | "then-after":
                self._jump(later=id == "then-after")
            case "then-list":
                self._start(self.choose())
            case _:
                self.go(moment + timedelta(seconds=move.seconds))
        return True

    def touch(self, at: float) -> None:
        """A place on the line of time was tapped."""
        moment = datetime.fromtimestamp(at, UTC)
        if any(mark.at.timestamp() == at for mark in self.marks()):
            moment += timedelta(seconds=SETTLE_SECONDS)
        self.go(moment)

    def _oldest(self, moment: datetime) -> datetime:
        for stretch in self._stretches:
            if stretch.begin <= moment <= stretch.end and self._hub.record.at(moment) is None:
                return stretch.begin
        return self._hub.record.oldest or moment

    def marks(self) -> tuple[Mark, ...]:
        """All that is known to have happened, newest first."""
        noted = [*self._hub.record.noted, *(mark for stretch in self._stretches for mark in stretch.marks)]
        return marks(self._live, noted)

    def _jump(self, *, later: bool) -> None:
        assert self._then is not None
        here = self._then.moment - timedelta(seconds=SETTLE_SECONDS)
        worth = [mark.at for mark in self.marks() if mark.kind is not MarkKind.BACK]
        apart = timedelta(seconds=1.0)
        found = [at for at in worth if (at > here + apart if later else at < here - apart)]
        if not found:
            self._tell(f"No event is known {'after' if later else 'before'} this", "begun")
            return
        self.go((min(found) if later else max(found)) + timedelta(seconds=SETTLE_SECONDS))

    async def choose(self) -> None:
        """Ask where to go."""
        known = self.marks()
        about = self.about()
        first = next((mark for mark in known if about and mark.key.startswith(about)), None)
        answer: Any = await self._push(ChooseScreen("Events", words.choices(known, self._live.now, first)))
        if not answer:
            return
        kind, _, number = str(answer).partition(" ")
        if kind == "at":
            self.go(datetime.fromtimestamp(float(number), UTC) + timedelta(seconds=SETTLE_SECONDS))
        else:
            moment = self._then.moment if self._then is not None else self._live.now
            self.go(moment - timedelta(seconds=float(number)))

    # what is shown

    def keys(self, others: list[Key]) -> list[Key]:
        """The keys there are: `others`, or while travelling ours and those."""
        return words.keys(others, self._then, self._live.now) if self._then is not None else others

    def rows(self, width: int, kind: Kind) -> tuple[list[Row], Axis | None]:
        """What says that this is not now; nothing while it is."""
        if self._then is None or not width:
            return [], None
        oldest = self._hub.record.oldest
        return words.bar(
            self._then, self._live.now, self.marks(), width, kind, oldest=oldest, note=self._note, trouble=self._trouble
        )


def _hours(begin: datetime, end: datetime, now: datetime) -> str:
    return f"{words.clock(begin, now)[:-3]}–{words.clock(end, now)[-8:-3]}"
