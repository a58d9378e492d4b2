"""`doctor`: what works, what does not, what to do about it; and the smallest sudoers drop-in or polkit rule for the actions."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sovtui.actions.request import box_plan
from sovtui.actions.switch import NONE
from sovtui.cli import documents, output
from sovtui.cli.exits import Exit
from sovtui.cli.session import Session
from sovtui.config.login import missing, warnings
from sovtui.config.paths import theme_files
from sovtui.config.schema import Config, HostConfig
from sovtui.config.specs import watched
from sovtui.core import path_words, tailnet_words, text
from sovtui.core.catalog import Unit
from sovtui.core.clean import clean
from sovtui.core.issues import clock_words
from sovtui.core.model import EnginePhase, LinkPhase, Mode, PathKind
from sovtui.core.state import Host, State
from sovtui.core.told import needless
from sovtui.onbox import rights
from sovtui.ports.errors import PortError
from sovtui.runtime.hub import Hub

SOMEBODY = "operator"
"""Stands for the login name where the address does not tell it."""
MISSING_SHOWN = 3
"""Missing rights written out; the drop-in has them all."""


HUNG_ADVICE = "`sovtui switch` to this mode stops it, ends what does not stop, and starts it anew"
RENEW = "renew it on that machine with `tailscale up --force-reauth`, but not over a link that goes through the tailnet"


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    ok: bool | None
    """None: not known, or only advice."""
    detail: str = ""
    advice: str = ""
    exit_code: int = Exit.FAILED
    """What the command ends with if this is the worst."""

    @property
    def sign(self) -> str:
        return "?" if self.ok is None else "ok" if self.ok else "NO"


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
                    checks += [check async for check in rights_checks(hub, host.spec.name, settings)]
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
        why = next((s.reason for s in host.services.values() if s.active == "unknown" and s.reason), "not told")
        yield Check(f"{name}: services", None, f"{len(unknown)} not known: {why}")
    if host.services and not missing and not unknown:
        yield Check(f"{name}: services", True, f"{len(host.services)} known")
    for mode in (*host.spec.modes, *host.spec.beside):
        yield from _engine_checks(host, mode)
    for backup in host.backups.values():
        if backup.last_success_at is None:
            yield Check(f"{name}: backup {backup.name}", None, f"its last success is not known: {backup.reason or 'not told'}")


def _engine_checks(host: Host, mode: Mode) -> Iterable[Check]:
    engine = host.engines.get(mode.name)
    if engine is None:
        return
    beside = mode in host.spec.beside
    what = f"{host.spec.name}: {'engine' if beside else 'mode'} {mode.name}"
    if engine.phase in (EnginePhase.WRONG_MODEL, EnginePhase.DEAD, EnginePhase.HUNG):
        serves = f"; it lists {', '.join(engine.models)}" if engine.models else ""
        again = HUNG_ADVICE if engine.phase is EnginePhase.HUNG and not beside and mode.services else ""
        yield Check(what, False, f"{engine.phase}: {engine.reason}{serves}", again)
    elif engine.denied:
        yield Check(what, False, engine.denied)
    elif engine.phase is EnginePhase.UNKNOWN and engine.reason:
        yield Check(what, None, f"its state cannot be told: {engine.reason}")
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


async def rights_checks(hub: Hub, name: str, settings: HostConfig) -> AsyncIterator[Check]:
    """What the host itself says of this login's rights: nothing is run there but `sudo -n -l`."""
    wanted = commands(settings)
    try:
        found = await hub.rights(name, wanted)
    except (PortError, TimeoutError) as error:
        yield Check(f"{name}: rights", None, f"could not be asked: {error or 'no answer in time'}")
        return
    if found.missing:
        advice = "add to sudoers there: " + "; ".join(found.missing[:MISSING_SHOWN])
        more = len(found.missing) - MISSING_SHOWN
        advice += f"; and {more} more, see `sovtui doctor --sudoers`" if more > 0 else ""
        advice += ". A polkit rule (`--polkit`) does as well, but cannot be asked about"
        yield Check(
            f"{name}: rights", False, f"{found.user} lacks {len(found.missing)} of {len(wanted)} rights", advice, Exit.REFUSED
        )
    elif wanted:
        yield Check(f"{name}: rights", True, f"{found.user} may run all {len(wanted)} commands that actions need")
    if not found.journal:
        yield Check(
            f"{name}: journal", False, f"{found.user} cannot read it", f"there, as root: usermod -aG systemd-journal {found.user}"
        )
    if found.lingers is False:
        why = "the user manager ends with the session, and a running action with it"
        yield Check(f"{name}: lingering", None, why, "there, as the same user: loginctl enable-linger")


def login_checks(config: Config) -> Iterable[Check]:
    """What is not wise about how sources are logged in to. No secret is looked at."""
    for source, what, advice in warnings(config):
        yield Check(f"{source}: login", None, what, advice)


def key_checks(config: Config, state: State) -> Iterable[Check]:
    """Keys of engines that cannot be had here, told also of engines that do not run now. No secret is looked at."""
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
            yield Check(what, True, source.detail)
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


# --- rights ---------------------------------------------------------------------------------------------------------


def commands(host: HostConfig) -> list[list[str]]:
    """Every command that some action on this host needs as root, each once."""
    requests: list[dict[str, Any]] = [{"kind": "drop-caches", "plan": {}}] if host.role == "box" else []
    targets = [mode.name for mode in host.mode if mode.services]
    requests += [{"kind": "switch", "target": t, "plan": box_plan(host, t)} for t in ([*targets, NONE] if targets else [])]
    requests += [{"kind": "backup", "target": b.name, "plan": {"service": b.service}} for b in host.backup]
    requests += [{"kind": "restart", "target": s, "plan": {"service": s}} for s in watched(host)]
    found: list[list[str]] = []
    for request in requests:
        whole = {"v": 1, "id": "20000101T000000Z-rights-0000", "who": "", "host": "", **request}
        found += [argv for argv in rights.privileged_commands(whole) if argv not in found]
    return found


def sudoers(config: Config, named: str | None) -> str:
    """One drop-in per host, to be read before it is installed."""
    blocks = []
    for name, user, wanted in _wanted(config, named):
        lines = [f"# {name}: /etc/sudoers.d/sovtui", "# Install with: visudo -f /etc/sudoers.d/sovtui", *_stand_in(user, "#")]
        lines += [rights.sudoers_line(user or SOMEBODY, argv) for argv in wanted]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def polkit(config: Config, named: str | None) -> str:
    """The same as a polkit rule per host, for whoever gives no sudo; what polkit cannot give is said."""
    blocks = []
    for name, user, wanted in _wanted(config, named):
        lines = [f"// {name}: /etc/polkit-1/rules.d/50-sovtui.rules, mode 644", *_stand_in(user, "//")]
        if list(rights.DROP) in wanted:
            lines += [
                "// Dropping the page cache is no matter of polkit. Keep this line in sudoers, or set `drop_caches = false`:",
                f"//   {rights.sudoers_line(user or SOMEBODY, rights.DROP)}",
            ]
        blocks.append("\n".join([*lines, rights.polkit_rule(user or SOMEBODY, wanted)]))
    return "\n\n".join(blocks)


def _wanted(config: Config, named: str | None) -> Iterable[tuple[str, str, list[list[str]]]]:
    """Per host that needs rights: its name, who logs in there (empty if not known), the commands."""
    for name, host in config.host.items():
        if named in (None, name) and (wanted := commands(host)):
            yield name, host.address.rpartition("@")[0] if host.link == "ssh" else getpass.getuser(), wanted


def _stand_in(user: str, comment: str) -> list[str]:
    return [] if user else [f"{comment} `{SOMEBODY}` stands for the user that logs in there: put the real name."]
