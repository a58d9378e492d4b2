"""From a wish to its outcome: plan, ask if needed, execute, tell. Never waits for the network before it answers a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from textual.screen import Screen

from sovtui.actions.request import agreed, asked_anew
from sovtui.actions.spec import Plan, Verdict, Where, Wish
from sovtui.core.modes import Heat, mode_views
from sovtui.ports.errors import PortError
from sovtui.runtime.hub import Hub, Outcome
from sovtui.tui.keymap import NONE
from sovtui.tui.screens.acknowledge import AcknowledgeScreen
from sovtui.tui.screens.confirm import ConfirmScreen


class Tell(Protocol):
    """Says something to the operator. `severity`: begun (gone at once), information, warning or error."""

    def __call__(self, words: str, severity: str = "information") -> None: ...


Push = Callable[[Screen[Any]], Awaitable[Any]]
"""Opens a dialog and waits for its answer; None if it was left."""

DEFAULT_FOR_SECONDS = 7200.0


class Conductor:
    """One per screen."""

    def __init__(self, hub: Hub, push: Push, tell: Tell) -> None:
        self._hub = hub
        self._push = push
        self._tell = tell
        self._asking = False
        self._under_way: set[tuple[str, Where]] = set()
        """Hosts whose action is followed to its end here, or is being asked to end."""

    async def act(self, action: str, wish: Wish, key: str = "", *, careful: bool = False) -> None:
        """Carry out one wish, asking first where the plan says so; where thumbs press keys (`careful`) also before all is unloaded."""
        if self._asking:
            return
        plan = self._plan(action, wish, careful)
        if plan.verdict is Verdict.NO:
            self._tell(_sentence(plan.reason), "warning")
            return
        if plan.where is not Where.ALERTS and (wish.host, plan.where) in self._under_way:
            return  # a key that is held down, or pressed again before the box has answered: nothing is done twice
        if plan.verdict is Verdict.ASK:
            self._asking = True
            try:
                made = await self._ask(plan, key, careful)
            finally:
                self._asking = False
            if made is None:
                return
            plan = made
        else:
            self._tell(f"{plan.title} …", "begun")
        await self._execute(plan, key, careful)

    def _plan(self, action: str, wish: Wish, careful: bool) -> Plan:
        plan = self._hub.plan(action, wish)
        host = self._hub.state.hosts.get(wish.host)
        if not careful or (action, wish.target) != ("switch", NONE) or plan.verdict is not Verdict.GO or host is None:
            return plan
        loaded = [view for view in mode_views(host) if view.heat is not Heat.COLD]
        if not loaded:
            return plan
        known = [view.mode.title or view.mode.name for view in loaded if view.heat is not Heat.UNKNOWN]
        why = f"{' and '.join(known)} is stopped" if known else "Whatever is loaded is stopped"
        return replace(plan, verdict=Verdict.ASK, reason=f"{why}: no model will be loaded then.")

    async def _ask(self, plan: Plan, key: str, careful: bool) -> Plan | None:
        """The plan as agreed, or None. It is made anew after the answer; what was not asked about is asked about then."""
        wish = plan.wish
        if plan.action == "acknowledge":
            settings = self._hub.config.alertmanager
            seconds = float(settings.acknowledge_for) if settings else DEFAULT_FOR_SECONDS
            alert = next((a for a in self._hub.state.alerts if a.fingerprint == wish.target), None)
            options = await self._push(AcknowledgeScreen(plan, seconds, alert.summary if alert else ""))
            if options is None:
                return None
            wish = replace(wish, options={**wish.options, **options})
        elif not await self._push(ConfirmScreen(plan, key)):
            return None
        again = self._plan(plan.action, wish, careful)
        if again.verdict is Verdict.NO:
            self._tell(_sentence(again.reason), "warning")
            return None
        return again if agreed(again) <= agreed(plan) else await self._ask(again, key, careful)

    async def _execute(self, plan: Plan, key: str, careful: bool) -> None:
        """Carry it out; what the box names that nobody could know here is asked about, as often as it names something new."""
        while True:
            outcome = await self._told(plan)
            if outcome is None or outcome.run is None or not outcome.run.asks or self._asking:
                return
            self._asking = True
            try:
                anew = await self._ask(asked_anew(plan, outcome.run.asks, _sentence(outcome.run.reason)), key, careful)
            finally:
                self._asking = False
            if anew is None:
                return
            plan = anew

    async def _told(self, plan: Plan) -> Outcome | None:
        """Carried out and told; None where it could not be."""
        host, under_way = plan.wish.host, (plan.wish.host, plan.where)
        self._under_way.add(under_way)
        try:
            outcome = await self._hub.execute(plan)
            if plan.where is Where.RUNNING and not outcome.exit_code:
                self._tell(f"{plan.title}: asked. The actions pane shows what it does", "begun")
                if (host, Where.BOX) in self._under_way:
                    return None  # how it ends is told where it was begun
                outcome = await self._hub.follow(host, plan.wish.target)
        except PortError as error:
            self._tell(error.sentence(), "error")
            return None
        finally:
            self._under_way.discard(under_way)
        severity = {0: "information", 4: "warning", 5: "warning"}.get(outcome.exit_code, "error")
        self._tell(outcome.message or plan.title, severity)
        return outcome


def _sentence(words: str) -> str:
    words = words.strip()
    if not words:
        return "Not now."
    words = words[0].upper() + words[1:]
    return words if words[-1] in ".?!" else f"{words}."
