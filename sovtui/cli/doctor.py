"""`doctor`: what works, what does not, what to do about it; and the smallest sudoers drop-in or polkit rule for the actions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sovtui.cli import documents, output, rights
from sovtui.cli.checks import Check
from sovtui.cli.exits import Exit
from sovtui.cli.session import Session
from sovtui.config.login import missing, warnings
from sovtui.config.paths import theme_files
from sovtui.config.schema import Config, HostConfig
from sovtui.core import path_words, tailnet_words, text
from sovtui.core.catalog import Unit
from sovtui.core.clean import clean
from sovtui.core.issues import clock_words
from sovtui.core.model import EnginePhase, LinkPhase, Mode, PathKind
from sovtui.core.state import Host, State
from sovtui.core.told import needless
from sovtui.ports.errors import PortError
from sovtui.runtime.hub import Hub

HUNG_ADVICE = "`sovtui switch` to this mode stops it, ends what does not stop, and starts it again"
RENEW = "renew it on that machine with `tailscale up --force-reauth`, but not over a link that goes through the tailnet"


async def doctor(session: Session, path: Path | None, *, as_json: bool) -> int:
    named = session.named_host()
    checks = [_config_check(session.config, path)]
    theme = session.config.screen.theme
    if theme not in theme_files():
        checks.append(Check("theme", None, f"no theme file is named {theme}; Textual may have one", "`sovtui themes` lists them"))
    checks += login_checks(session.config)
    async with session.hub(named, whole=True) as hub:
        state = hub.state
        for host in state.hosts.values():
            if named in (None, host.spec.name):
                settings = session.config.host[host.spec.name]
                checks += host_checks(host, settings)
                checks += path_checks(host, state.now)
                if host.link.phase is LinkPhase.UP and host.path is not None and host.spec.kind != "demo":
                    checks += [check async for check in box_tailnet_checks(hub, host.spec.name, state)]
                if host.link.phase is LinkPhase.UP and host.spec.kind != "demo":
                    checks += [check async for check in rights.checks(hub, host.spec.name, settings)]
        checks += [check for check in key_checks(session.config, state) if named is None or check.what.startswith(f"{named}: ")]
        checks += source_checks(state, named)
    if as_json:
        output.write(documents.dumps({"version": documents.VERSION, "checks": [_document(check) for check in checks]}))
    else:
        output.write("\n".join(line for check in checks for line in _lines(check)))
    return max((c.exit_code for c in checks if c.ok is False), default=Exit.DONE)


def _config_check(config: Config, path: Path | None) -> Check:
    if path is None:
        return Check(
            "configuration", None, "none; this machine is shown", "`sovtui init [USER@]HOST` looks at a host and proposes one"
        )
    return Check(
        "configuration", True, f"{path}: {len(config.host)} hosts, {sum(len(h.mode) for h in config.host.values())} modes"
    )


def host_checks(host: Host, settings: HostConfig) -> Iterable[Check]:
    link, name = host.link, host.spec.name
    if link.phase is not LinkPhase.UP:
        advice = "`ssh` from this machine to that address must work without a question" if link.kind == "ssh" else ""
        yield Check(f"{name}: link", False, f"{link.phase}: {link.reason or 'no answer'}", advice, Exit.UNREACHABLE)
        return
    quality = f", {text.quantity(link.latency_seconds, Unit.SECONDS)}" if link.latency_seconds else ""
    yield Check(f"{name}: link", True, f"{link.kind} {link.address}{quality}")
    if (words := clock_words(host)) is not None:
        yield Check(f"{name}: clock", None, words, "look at `timedatectl` on both")
    missing = [s.name for s in host.services.values() if s.active == "missing"]
    unknown = [s.name for s in host.services.values() if s.active == "unknown"]
    if missing:
        yield Check(
            f"{name}: services", False, f"not there: {', '.join(missing)}", "check the names in the configuration", Exit.USAGE
        )
    if unknown:
        why = next((s.reason for s in host.services.values() if s.active == "unknown" and s.reason), "not reported")
        yield Check(f"{name}: services", None, f"{len(unknown)} not known: {why}")
    if host.services and not missing and not unknown:
        yield Check(f"{name}: services", True, f"{len(host.services)} known")
    for mode in (*host.spec.modes, *host.spec.beside):
        yield from _engine_checks(host, mode)
    for backup in host.backups.values():
        if backup.last_success_at is None:
            yield Check(
                f"{name}: backup {backup.name}", None, f"its last success is not known: {backup.reason or 'not reported'}"
            )
        if backup.last_result == "skipped":
            why = f"its last start was skipped, because {backup.skipped or 'a condition was not met'}"
            yield Check(f"{name}: backup {backup.name}", None, why, f"there: systemctl status {backup.service}")


def _engine_checks(host: Host, mode: Mode) -> Iterable[Check]:
    engine = host.engines.get(mode.name)
    if engine is None:
        return
    beside = mode in host.spec.beside
    what = f"{host.spec.name}: {'engine' if beside else 'mode'} {mode.name}"
    if engine.phase in (EnginePhase.WRONG_MODEL, EnginePhase.DEAD, EnginePhase.HUNG):
        serves = f"; it lists {', '.join(engine.models)}" if engine.models else ""
        again = ""
        if engine.phase in (EnginePhase.HUNG, EnginePhase.DEAD) and mode.services:
            again = f"`sovtui restart {mode.services[0]}` starts it again" if beside else HUNG_ADVICE
        yield Check(what, False, f"{engine.phase}: {engine.reason}{serves}", again)
    elif engine.denied:
        yield Check(what, False, engine.denied)
    elif engine.phase is EnginePhase.UNKNOWN and engine.reason:
        yield Check(what, None, f"its state is not known: {engine.reason}")
    elif engine.phase is EnginePhase.ABSENT and beside and not mode.services:
        yield Check(what, None, f"it does not run: {engine.reason}")


def path_checks(host: Host, now: datetime) -> Iterable[Check]:
    """How the link goes through the tailnet, as this machine sees it. That nobody can be asked is no fault."""
    path, name = host.path, host.spec.name
    if path is None:
        return
    words = path_words.path(path, now)
    checked = ", host keys verified by the tailnet" if path.verified else ""
    known = path.kind in (PathKind.DIRECT, PathKind.RELAY, PathKind.PEER_RELAY, PathKind.IDLE)
    why = f": {path.reason}" if path.reason and path.reason not in host.link.reason else ""
    yield Check(f"{name}: path", True if known else None, f"{words}{checked}{why}")
    for note in path.notes:
        yield Check(f"{name}: tailnet key", None, note, RENEW)


async def box_tailnet_checks(hub: Hub, name: str, state: State) -> AsyncIterator[Check]:
    """The same as the box's own daemon sees it, asked over the link: its key, and the way to us."""
    what = f"{name}: path, from there"
    try:
        view = await hub.tailnet(name)
    except (PortError, TimeoutError) as error:
        yield Check(what, None, f"could not be asked: {error or 'no answer in time'}")
        return
    yield Check(what, True if view.net.running else None, tailnet_words.seen_from_box(view.net, view.we, name, state.now))
    path = state.hosts[name].path
    for note in tailnet_words.about_keys(replace(view.net, me=None), view.net.me, name, state.now):
        if path is None or note not in path.notes:
            yield Check(f"{name}: tailnet key", None, note, RENEW)


def login_checks(config: Config) -> Iterable[Check]:
    """What is not wise about how sources are logged in to. No secret is looked at."""
    for source, what, advice in warnings(config):
        yield Check(f"{source}: login", None, what, advice)


def key_checks(config: Config, state: State) -> Iterable[Check]:
    """Keys of engines that are not available here, told also of engines that do not run now. No secret is looked at."""
    told = {(name, mode) for name, host in state.hosts.items() for mode, engine in host.engines.items() if engine.denied}
    for name, mode, what in missing(config, os.environ):
        if (name, mode) not in told:
            advice = "set it where sovtui is started, or give `bearer` another reference"
            yield Check(f"{name}: key of {mode}", False, what, advice)


def source_checks(state: State, named: str | None) -> Iterable[Check]:
    for source in state.sources.values():
        if (named is not None and source.host not in ("", named)) or needless(source):
            continue
        what = f"{source.host}: {source.name}" if source.host else source.name
        if source.ok:
            yield Check(what, True, "; ".join(word for word in (source.detail, source.left_out) if word))
        elif source.ok is None or source.name == "nvml":  # nobody configured that one: many machines have no such card
            yield Check(what, None, source.reason or "not asked")
        else:
            yield Check(what, False, source.reason or "it failed", exit_code=Exit.UNREACHABLE)


def _document(check: Check) -> dict[str, Any]:
    return {"what": check.what, "ok": check.ok, "detail": clean(check.detail), "advice": clean(check.advice)}


def _lines(check: Check) -> Iterable[str]:
    yield clean(f"{check.sign:<3} {check.what}{f': {check.detail}' if check.detail else ''}")
    if check.advice:
        yield clean(f"      {check.advice}")
