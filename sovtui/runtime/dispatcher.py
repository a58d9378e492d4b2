"""Carries out plans: starts them on the box and follows them, or speaks with Alertmanager."""

from __future__ import annotations

import asyncio
import getpass
import logging
import secrets
import socket
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta

from sovtui.actions.acknowledge import find_alert
from sovtui.actions.spec import Plan, Verdict, Where
from sovtui.config.schema import Config
from sovtui.core import outside, receipts
from sovtui.core.clean import Clean, clean
from sovtui.core.events import ActionChanged, CancelAsked, ReceiptsSeen
from sovtui.core.model import ActionRun
from sovtui.core.receipts import step_word
from sovtui.core.text import duration
from sovtui.onbox.plan import without_values
from sovtui.onbox.rights import privileged_commands
from sovtui.ports.alerts import Alerts
from sovtui.ports.clock import Clock
from sovtui.ports.errors import AnswerLost, PortError, Unreachable
from sovtui.ports.link import Link
from sovtui.runtime import box
from sovtui.runtime.exchange import NotBegun
from sovtui.runtime.hub import Outcome, Progress, Rehearsal
from sovtui.runtime.links import Links
from sovtui.runtime.skews import carried
from sovtui.runtime.standby import Standby
from sovtui.runtime.store import Store

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5
LOST_ANSWERS = 3
"""So often something that was asked is asked again where the answer did not come whole; each time it is safe to ask again."""
REHEARSAL_SECONDS = 90.0
"""A preflight may ask an engine for a token."""
RELINK_SECONDS = 120.0
"""How long a lost link may take to come back before following gives up (the action itself goes on)."""


class Dispatcher:
    """One per hub."""

    def __init__(self, config: Config, links: Links, store: Store, clock: Clock) -> None:
        self.config = config
        self._links = links
        self._store = store
        self._clock = clock
        self.alerts: Alerts | None = None
        """Set once the world has been opened."""
        self._following: dict[tuple[str, str], asyncio.Task[ActionRun]] = {}
        self._listeners: dict[tuple[str, str], list[Progress]] = {}
        self.standbys: dict[str, Standby] = {}
        """Warm starts by host; empty in headless use, which starts once and is gone."""
        self._background: set[asyncio.Task[Outcome]] = set()

    async def execute(self, plan: Plan, progress: Progress | None, wait: bool) -> Outcome:
        if plan.verdict is Verdict.NO:
            return Outcome(plan.exit_code, plan.reason)
        try:
            if plan.where is Where.ALERTS:
                return await self._alert(plan)
            if plan.where is Where.RUNNING:
                return await self.cancel(plan.wish.host, plan.wish.target)
            return await self._start(plan, progress, wait)
        except Unreachable as error:
            return Outcome(3, f"{plan.title}: {error.sentence()}")
        except PortError as error:
            return Outcome(1, f"{plan.title}: {error.sentence()}")

    async def _start(self, plan: Plan, progress: Progress | None, wait: bool) -> Outcome:
        host = plan.wish.host
        run_id = self._new_id(plan)
        request = _request(plan, run_id)
        reply = await self._start_surely(host, request)
        match reply.get("t"):
            case "started" | "exists":
                pass
            case "busy":
                return Outcome(4, self._busy(host, reply))
            case "refused":
                return Outcome(4, clean(outside.text(reply.get("reason")) or "the box refused"))
            case other:
                return Outcome(
                    1, f"{host} answered {clean(outside.text(other) or 'nothing')} to the start; nothing is known to run"
                )
        if not wait:
            begun = ActionRun(run_id, str(plan.request["kind"]), plan.wish.target, who(), self._clock.now())
            return Outcome(0, f"started as {run_id}. `sovtui follow {run_id}` shows it", begun)
        outcome = await self.follow(host, run_id, progress)
        run = outcome.run
        if run is None or run.outcome != "failed" or not run.steps or run.steps[-1].name != "preflight":
            return outcome
        helps = await self._what_helps(host, request)
        return replace(outcome, message=f"{outcome.message.rstrip('.')}. {helps}") if helps else outcome

    async def _what_helps(self, host: str, request: Mapping[str, object]) -> str:
        """Lines of sudoers, where it is rights that the request lacks there: by what the host says to our own commands, not by its text."""
        try:
            wanted = privileged_commands(request)
            if not wanted:
                return ""
            async with asyncio.timeout(box.ANSWER_SECONDS):
                found = await box.rights(await self._links.get(host), wanted)
        except (PortError, TimeoutError):
            return ""
        return found.advice[:1].upper() + found.advice[1:]

    async def rehearse(self, plan: Plan) -> Rehearsal:
        host = plan.wish.host
        run_id = self._new_id(plan)
        request = without_values(_request(plan, run_id))
        try:
            link = await self._links.get(host)
            async with asyncio.timeout(REHEARSAL_SECONDS):
                reply = await box.answer(link, "rehearse", request)
        except (Unreachable, TimeoutError) as error:
            return Rehearsal("not known", f"{host} does not say: {error or 'no answer in time'}", 3)
        except PortError as error:
            return Rehearsal("not known", error.sentence(), 1)
        reason = clean(outside.text(reply.get("reason")))
        match reply.get("t"), reply.get("outcome"):
            case "busy", _:
                return Rehearsal("no", self._busy(host, reply), 4)
            case "rehearsed", "" | "done" | "warned":
                return Rehearsal("go", reason)
            case "rehearsed", "refused" if reply.get("asks") is True:
                return Rehearsal("ask", reason)
            case "rehearsed", "refused":
                return Rehearsal("no", reason, 4)
            case "rehearsed", "failed":
                helps = await self._what_helps(host, request)
                return Rehearsal("no", f"{reason.rstrip('.')}. {helps}" if helps else reason, 1)
            case other:
                return Rehearsal("not known", f"{host} answered {clean(outside.text(other) or 'nothing')}", 1)

    def _there(self, host: str) -> datetime:
        """What the host's own clock says now."""
        return self._clock.now() - self._links.skews.of(host)

    def _new_id(self, plan: Plan) -> str:
        """By the host's clock: actions are sorted by it there."""
        return f"{self._there(plan.wish.host):%Y%m%dT%H%M%SZ}-{plan.request['kind']}-{secrets.token_hex(2)}"

    def _busy(self, host: str, reply: Mapping[str, object]) -> str:
        since = outside.unix(reply.get("since"))
        ago = f" since {duration(max(0.0, (self._there(host) - since).total_seconds()))}" if since is not None else ""
        kind, target, who, step = (clean(outside.text(reply.get(key))) for key in ("kind", "target", "who", "step"))
        what = f"{kind or 'an action'} {target}".strip()
        step = Clean(f", at step {step_word(step)}" if step else "")
        return f"{who or 'somebody'} runs {what} on {host}{ago}{step}. `sovtui follow` shows it"

    async def _start_surely(self, host: str, request: dict[str, object]) -> dict[str, object]:
        """Start once even if the link dies in between or an answer is lost: the same id a second time is answered with `exists`.

        Raises `AnswerLost` where it was asked and cannot be known whether it began.
        """
        link = await self._links.get(host)
        began, warm = self._clock.monotonic(), self.standbys.get(host)
        asked, lost = False, 0
        while True:
            try:
                async with asyncio.timeout(box.ANSWER_SECONDS):
                    said = await warm.ask(request) if warm is not None else None
                    return said or await box.answer(link, "start", request)
            except (PortError, TimeoutError) as error:
                again = isinstance(error, Unreachable | TimeoutError) and not isinstance(error, NotBegun)
                asked, lost = asked or again, lost + isinstance(error, AnswerLost)
                if not again or lost >= LOST_ANSWERS or self._clock.monotonic() - began > RELINK_SECONDS:
                    if not asked:
                        raise
                    raise self._unknown(host, str(request["id"]), error) from error
            link, warm = await self._relink(host), None

    @staticmethod
    def _unknown(host: str, run_id: str, error: Exception) -> AnswerLost:
        why = str(error) or "no answer in time"
        advice = f"`sovtui actions` shows it, and `sovtui follow {run_id}` follows it if it has"
        return AnswerLost(f"it is not known whether {run_id} has begun on {host}: {why}", advice)

    async def follow(self, host: str, run_id: str, progress: Progress | None) -> Outcome:
        """Follow to the end; several followers of one action share one stream."""
        key = (host, run_id)
        if progress is not None:
            self._listeners.setdefault(key, []).append(progress)
        task = self._following.get(key)
        if task is None:
            task = asyncio.create_task(self._follow(host, run_id), name=f"follow {run_id}")
            self._following[key] = task
            task.add_done_callback(lambda _: self._following.pop(key, None))
        try:
            run = await asyncio.shield(task)
        except Unreachable as error:
            return Outcome(3, f"{error.sentence()}. The action continues on {host}; `sovtui follow` finds it again")
        except PortError as error:
            return Outcome(1, error.sentence())
        finally:
            if progress is not None and key in self._listeners:
                self._listeners[key].remove(progress)
        return Outcome(receipts.exit_code(run), receipts.sentence(run), run)

    async def cancel(self, host: str, run_id: str) -> Outcome:
        """A step of the machine, not a kill: what it does next is seen by following."""
        try:
            await self._ask_to_cancel(host, run_id)
        except AnswerLost as error:
            why = f"it is not known whether {host} was asked to cancel {run_id}: {error}"
            return Outcome(3, f"{why}. `sovtui follow {run_id}` shows what it does")
        except (Unreachable, TimeoutError) as error:
            return Outcome(3, f"{host} cannot be asked to cancel {run_id}: {error or 'no answer in time'}")
        except PortError as error:
            return Outcome(4, error.sentence())
        self._store.put(CancelAsked(host, run_id))
        return Outcome(0, f"{run_id} is being cancelled. `sovtui follow {run_id}` shows how it ends")

    async def _ask_to_cancel(self, host: str, run_id: str) -> None:
        link = await self._links.get(host)
        for left in reversed(range(LOST_ANSWERS)):
            try:
                async with asyncio.timeout(box.ANSWER_SECONDS):
                    await box.answer(link, "cancel", {"id": run_id})
                return
            except AnswerLost:
                if not left:
                    raise
            await self._clock.sleep(AGAIN_SECONDS)

    async def _follow(self, host: str, run_id: str) -> ActionRun:
        """Over as many links as it takes; each goes on where the last one ended. Where nothing new comes it is given up."""
        link = await self._links.get(host)
        so_far, told, lost = box.Followed(), -1, 0
        while True:
            lost, told = (0, so_far.lines) if so_far.lines > told else (lost, told)
            try:
                async with aclosing(box.follow(link, run_id, so_far)) as runs:
                    async for seen in runs:
                        run = carried(seen, self._links.skews.of(host))
                        self._store.put(ActionChanged(host, run))
                        for listener in tuple(self._listeners.get((host, run_id), ())):
                            listener(run)
                if so_far.run is None:
                    raise PortError(f"there is no action {run_id or 'yet'} on {host}".replace("  ", " "))
                if not so_far.run.running:
                    return so_far.run
                await self._clock.sleep(AGAIN_SECONDS)  # the stream ended before the action: ask again
            except Unreachable as error:
                lost += isinstance(error, AnswerLost)
                if lost > LOST_ANSWERS or isinstance(error, NotBegun):
                    raise
                link = await self._relink(host)

    async def _relink(self, host: str) -> Link:
        """The link after a loss. The keeper notices at its own pace, so wait for a new one, not for the phase."""
        try:
            async with asyncio.timeout(RELINK_SECONDS):
                await self._clock.sleep(0.2)
                return await self._links.keepers[host].when_up()
        except TimeoutError:
            raise Unreachable(f"the link to {host} was lost and did not come back within {RELINK_SECONDS:g} s") from None

    async def receipts(self, host: str) -> tuple[ActionRun, ...]:
        link = await self._links.get(host)
        async with asyncio.timeout(box.ANSWER_SECONDS):
            runs = await box.list_runs(link, skews=self._links.skews, clock=self._clock)
        self._store.put(ReceiptsSeen(host, runs))
        return runs

    def follow_quietly(self, host: str, run_id: str) -> None:
        """Follow in the background so that the screen shows what another client started."""
        if (host, run_id) not in self._following:
            task = asyncio.create_task(self.follow(host, run_id, None), name=f"notice {run_id}")
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def aclose(self) -> None:
        tasks = [*self._following.values(), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _alert(self, plan: Plan) -> Outcome:
        alert = find_alert(self._store.state, plan.wish.target)
        settings = self.config.alertmanager
        if self.alerts is None or settings is None or alert is None:
            return Outcome(4, f"{plan.title}: that alert is no longer firing")
        if plan.action == "acknowledge":
            length = timedelta(seconds=float(plan.wish.options.get("for", settings.acknowledge_for)))
            comment = plan.wish.options.get("comment", "").strip()
            if not comment:
                return Outcome(2, "a comment is needed: say why, for the next reader")
            silence = await self.alerts.acknowledge(alert, author=settings.author or who(), comment=comment, duration=length)
            message = f"{alert.name} is acknowledged for {duration(length.total_seconds())} (silence {silence})"
        else:
            ended = await self.alerts.unacknowledge(alert)
            message = f"{alert.name} is active again; ended: {', '.join(ended) or 'nothing'}"
        self._store.put(await self.alerts.seen())
        return Outcome(0, message)


def who() -> str:
    """User and machine of this client, for receipts and silences."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return clean(f"{user}@{socket.gethostname()}", 80)


def _request(plan: Plan, run_id: str) -> dict[str, object]:
    """What the box is asked."""
    return {"v": 1, "id": run_id, "who": who(), "host": plan.wish.host, **plan.request}
