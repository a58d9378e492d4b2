"""Commands that only read: status, alerts, receipts, logs. They change nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sovtui.actions.cancel import outlook
from sovtui.cli import documents, output
from sovtui.cli.diagnostics import Narrator, link_told, say, sentence
from sovtui.cli.exits import Exit, Failure
from sovtui.cli.session import Session, find_service, reach, unknown, until
from sovtui.config.specs import watched
from sovtui.config.units import parse_duration, write_duration
from sovtui.core.model import ActionRun, LinkPhase
from sovtui.core.state import Host, State
from sovtui.core.told import awaits_firing
from sovtui.ports.errors import PortError, Unreachable
from sovtui.runtime.hub import Hub, Outcome

WATCH_SECONDS = 1.0


async def status(session: Session, *, as_json: bool, watch: bool) -> int:
    """One screen. Exit 3 if a box (or the host of `--host`) cannot be reached: what is known is printed all the same."""
    named = session.named_host()
    async with session.hub(named, whole=True) as hub:
        while True:
            hosts = [h for h in hub.state.hosts.values() if named in (None, h.spec.name)]
            if as_json:
                output.write(documents.dumps(documents.status(hub.state, hosts), indent=None if watch else 2))
            else:
                clear = "\x1b[H\x1b[2J\x1b[3J" if watch and os.isatty(1) else ""
                output.write(clear + output.status(hub.state, hosts) + ("\n" if watch and not clear else ""))
            if not watch:
                return _reached(hosts, named)
            await asyncio.sleep(WATCH_SECONDS)


def _reached(hosts: list[Host], named: str | None) -> int:
    asked = [h for h in hosts if named is not None or h.spec.role == "box"] or hosts
    lost = [h for h in asked if h.link.phase is not LinkPhase.UP]
    for host in lost:
        say(sentence(f"{host.spec.name} cannot be reached: {host.link.reason or host.link.phase}"))
    return Exit.UNREACHABLE if lost else Exit.DONE


async def alerts(session: Session, *, as_json: bool) -> int:
    async with alerts_known(session) as hub:
        state = hub.state
        if as_json:
            output.write(documents.dumps([documents.alert(a) for a in state.alerts]))
        elif state.alerts:
            output.write(output.alerts(state))
        elif not state.alerts_untold:
            say("No alert is firing.")
        if state.alerts_untold:
            say(sentence(f"Some may be missing: {state.alerts_untold}"))
        return Exit.DONE


@asynccontextmanager
async def alerts_known(session: Session) -> AsyncIterator[Hub]:
    """A hub whose alerts are known. Failure 3 if Alertmanager cannot be reached, 2 if none is configured."""
    settings = session.config.alertmanager
    if settings is None:
        raise Failure(Exit.USAGE, "No [alertmanager] is configured. `sovtui config schema` shows its keys.")
    async with session.hub(settings.via or None) as hub:
        await until(hub, lambda state: state.alerts_at is not None or _failed(state) != "", 8.0)
        await until(hub, lambda state: not awaits_firing(state), 8.0)
        why = _failed(hub.state)
        if hub.state.alerts_at is None or why:
            link = hub.state.hosts[settings.via].link if settings.via else None
            if link is not None and link.phase is not LinkPhase.UP:
                why = f"{settings.via} cannot be reached: {link.reason or 'no answer'}"
            raise Failure(Exit.UNREACHABLE, sentence(f"Alertmanager at {settings.url} cannot be read: {why or 'no answer'}"))
        yield hub


def _failed(state: State) -> str:
    return next((s.reason or "it failed" for s in state.sources.values() if s.name == "alertmanager" and s.ok is False), "")


async def receipts(session: Session, *, as_json: bool) -> int:
    """Of `--host`, else of every box, newest first."""
    named = session.named_host()
    hosts = [named] if named else [n for n, h in session.config.host.items() if h.role == "box"] or list(session.config.host)
    found: list[tuple[str, ActionRun]] = []
    code = Exit.DONE
    async with session.hub(named) as hub:
        for host in hosts:
            try:
                found += [(host, run) for run in await read_receipts(hub, host)]
            except Failure as failure:
                code = Exit(failure.code)
                for line in failure.sentences:
                    say(line)
    found.sort(key=lambda f: f[1].began_at, reverse=True)
    if as_json:
        output.write(documents.dumps([{"host": host, **documents.run(run)} for host, run in found]))
    elif found:
        output.write(output.actions(found))
    elif code is Exit.DONE:
        say(f"No action has run on {', '.join(hosts)} yet.")
    return code


async def read_receipts(hub: Hub, host: str) -> tuple[ActionRun, ...]:
    """A host's receipts. Failure with the reason if they cannot be read."""
    await reach(hub, host)
    try:
        return await hub.receipts(host)
    except (Unreachable, TimeoutError) as error:
        raise Failure(
            Exit.UNREACHABLE, sentence(f"The receipts of {host} cannot be read: {error or 'no answer in time'}")
        ) from None
    except PortError as error:
        raise Failure(Exit.FAILED, sentence(f"The receipts of {host} cannot be read: {error.sentence()}")) from None


async def follow(session: Session, run_id: str) -> int:
    """Attaches to an action: the one named, else the running one, else the newest."""
    named = session.named_host()
    async with session.hub(named) as hub:
        host, run = await _whose(session, hub, named, run_id)
        narrator = Narrator()
        with link_told(hub, host):
            return (await followed(hub.follow(host, run.id, narrator), narrator, host, run.id)).exit_code


async def cancel(session: Session, run_id: str) -> int:
    """Asks the running action, or the one named, to end safely; says first what that does now."""
    named = session.named_host()
    async with session.hub(named) as hub:
        if hub.state.read_only:
            raise Failure(Exit.REFUSED, "sovtui was started read-only. Start it without --read-only to change anything.")
        host, run = await _whose(session, hub, named, run_id)
        if run.running:
            settings = session.config.host[host]
            seen = outlook(run, hub.state.hosts[host].spec, rollback=settings.switch.rollback)
            if seen.refused:
                raise Failure(Exit.REFUSED, sentence(f"{run.id} cannot be cancelled any more: {seen.refused}"))
            say(seen.reason)
        outcome = await hub.cancel(host, run.id)
        say(sentence(outcome.message))
        return outcome.exit_code


async def _whose(session: Session, hub: Hub, named: str | None, run_id: str) -> tuple[str, ActionRun]:
    boxes = [named] if named else [n for n, h in session.config.host.items() if h.role == "box"] or [session.box()]
    failures: list[Failure] = []
    known: list[tuple[str, ActionRun]] = []
    for host in boxes:
        try:
            known += [(host, run) for run in await read_receipts(hub, host)]
        except Failure as failure:
            failures.append(failure)
    if run_id:
        exact = [(h, r) for h, r in known if r.id == run_id] or [(h, r) for h, r in known if r.id.startswith(run_id)]
        if len(exact) == 1:
            return exact[0]
        if len(exact) > 1:
            raise Failure(Exit.USAGE, f"Several actions begin with `{run_id}`:", *(f"  {r.id}" for _, r in exact))
    running = [(h, r) for h, r in known if r.running]
    if not run_id and running:
        return running[0]
    if not run_id and known:
        return max(known, key=lambda k: k[1].began_at)
    if failures:
        raise failures[0]
    if not run_id:
        raise Failure(Exit.USAGE, f"No action has run on {', '.join(boxes)} yet.")
    raise Failure(Exit.USAGE, unknown("action", run_id, [r.id for _, r in known]) + " `sovtui actions` lists them.")


async def followed(work: Coroutine[Any, Any, Outcome], narrator: Narrator, host: str, run_id: str = "") -> Outcome:
    """Awaits an outcome and tells it. Interrupting leaves the action running on the box, and says so."""
    try:
        outcome = await work
    except asyncio.CancelledError:
        known = narrator.run.id if narrator.run else run_id
        if known:
            say(f"Interrupted. The action continues on {host}; follow it with: sovtui --host {host} follow {known}")
        else:
            say(f"Interrupted before {host} had answered. If the action began, it continues; see: sovtui --host {host} follow")
        raise
    say(sentence(outcome.message))
    return outcome


def _since(words: str) -> str:
    """A duration, or a moment with its zone: what the box understands."""
    if not words:
        return ""
    try:
        return write_duration(parse_duration(words))
    except ValueError as error:
        try:
            return datetime.fromisoformat(words).astimezone().isoformat()
        except ValueError:
            raise Failure(Exit.USAGE, f'--since: {error}, or a moment such as "2026-11-20 16:13".') from None


async def logs(session: Session, service: str, *, follow: bool, since: str, lines: int) -> int:
    """A watched service's journal, on standard output as it is."""
    since = _since(since)
    host, full = session.choose("service", service, find_service, watched)
    async with session.hub(host, settle=1.0) as hub:
        await reach(hub, host)
        told = False
        try:
            with link_told(hub, host):
                async for line in hub.logs(host, full, lines=lines, since=since, follow=follow):
                    output.write(output.log_line(line))
                    told = True
        except Unreachable as error:
            raise Failure(Exit.UNREACHABLE, sentence(error.sentence())) from None
        except PortError as error:
            raise Failure(Exit.FAILED, sentence(error.sentence())) from None
        if not told:
            say(f"The journal of {full} has nothing{f' since {since}' if since else ''}.")
    return Exit.DONE
