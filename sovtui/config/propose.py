"""From a survey's facts to a proposed configuration that passes its own check. Pure: reads no file, no clock.

What would stop, start or kill something on a mere guess is written behind a `#`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sovtui.config import asmodes, beside, care, memory
from sovtui.config.care import word
from sovtui.config.check import service_problem
from sovtui.config.proposal import Item, Line, Proposal, Table, line
from sovtui.core import serving
from sovtui.core.servers import Certainty, Server, Sign, find
from sovtui.core.survey import AnswerFact, Facts

LOADERS = ("ollama", "llamaswap")
"""Engines that load models by themselves. A router of llama.cpp is one too."""
LOCAL = ("127.0.0.1", "localhost", "::1")
SURE, LIKELY, GUESS = Certainty.SURE, Certainty.LIKELY, Certainty.GUESS


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator said."""

    name: str
    """The table's name, `[host.NAME]`."""
    link: str
    address: str = ""


def host_name(address: str, hostname: str) -> str:
    """What to call the host: the name in the address, else (for a mere IP address, or this machine) its own."""
    name = address.rpartition("@")[2]
    name = re.sub(r":\d+\Z", "", name) if name.count(":") == 1 else name
    if not name or name in LOCAL or re.fullmatch(r"[\d.]+|\[?[0-9a-fA-F:]*:[0-9a-fA-F:.]*\]?(?::\d+)?", name):
        name = hostname
    return word(name.split(".")[0], "box")


def propose(facts: Facts, asked: Asked, engines: Collection[str]) -> Proposal:
    """The whole proposal. `engines` are the names that `engine =` may have."""
    servers = find(facts)
    known = _known(engines)
    usable = [s for s in servers.found if not s.service or not service_problem(s.service)]
    modes = [s for s in usable if not asmodes.no_mode(s) and not s.cpu_sign and (s.engine or s.held_bytes)]
    modes.sort(key=lambda s: (not s.running, not s.service, not s.at_boot, s.name, s.port or 0))
    modes = [s for s in modes if s.service or not any(o.service and o.port == s.port for o in modes)]
    modes = [s for i, s in enumerate(modes) if not s.service or s.service not in {o.service for o in modes[:i]}]
    # What no switch can stop excludes nothing: it is a mode only where there is no other.
    alone = sorted((s for s in modes if s.engine in known and not s.hidden), key=lambda s: s.engine == "comfyui")
    modes = [s for s in modes if s.service] or alone[:1]
    floor = [
        s
        for s in usable
        if s not in modes and s.service and not s.router and (s.cpu_sign or s.engine == "ollama") and (s.running or s.at_boot)
    ]
    if not modes:  # then what loads by itself is what there is to look at; being of the floor, no switch stops it
        loaders = [s for s in usable if (s.engine in LOADERS or s.router) and s.engine in known and s.service and s.url]
        modes = [s for s in loaders if s.running or s.at_boot][:1]
        floor += [s for s in modes if s not in floor]
    besides = [s for s in usable if s not in modes and beside.runs_beside(s, known, floor, modes)]
    rest = [s for s in usable if s not in modes and s not in floor and s not in besides and s.service]
    backups = care.backups(facts, usable, asked.name)
    jobs = [str(one.value) for table in backups for one in table.lines if one.key == "service"]
    holds = care.holds(facts, usable, jobs)
    shown = [s for s in besides if beside.in_force(s, floor)]
    taken = {*jobs, *(item.value for item in holds), *(s.service for s in (*modes, *floor, *shown))}
    watch = care.watched(facts, rest, taken)
    tables = [_host(facts, asked, bool(modes or floor or besides or rest), watch)]
    mode_tables = asmodes.Modes(facts, asked.name, known, modes, servers).tables()
    named = [str(one.value) for table in mode_tables for one in table.lines if one.key == "name"]
    tables += [*mode_tables, *beside.engines(facts, asked.name, besides, known, floor, named)]
    listed = {
        str(item.value)
        for t in mode_tables
        for one in t.lines
        if one.key == "services" and isinstance(one.value, tuple)
        for item in one.value
    }
    switch = _switch(facts, asked, modes, floor, holds, {s.service for s in usable} | set(servers.owned) | listed)
    tables += [switch] if switch is not None else []
    tables += [*backups, *_sources(facts, asked)]
    unseen = tuple(
        f"Could not be looked at: {problem.rstrip('.?! ')}." for problem in facts.problems if "no systemd" not in problem
    )
    return Proposal(asked.name, tuple(tables), (*_notes(facts, usable, modes), *servers.notes), unseen)


# --- the host ---------------------------------------------------------------------------------------------------------


def _host(facts: Facts, asked: Asked, serves: bool, watch: Line | None) -> Table:
    machine = facts.machine
    lines = [line("link", asked.link, "this machine" if asked.link == "local" else "reached by ssh for this look")]
    if asked.address:
        lines.append(line("address", asked.address, "as you gave it"))
    if not serves and not facts.gpus:
        nas = "nas" in asked.name.lower()
        reason = (
            "its name" if nas else "Prometheus runs here" if _answering(facts, "prometheus") else "no engine and no GPU was found"
        )
        lines.append(line("role", "nas" if nas else "management", reason, LIKELY))
    if machine.tailnet:
        lines.append(line("tailnet", machine.tailnet, "`tailscale status` there calls it so"))
    lines.append(memory.kind(facts))
    if instance := _instance(facts, asked):
        lines.append(instance)
    if watch is not None:
        lines.append(watch)
    return Table(("host", asked.name), lines=tuple(lines))


def _instance(facts: Facts, asked: Asked) -> Line | None:
    """Needed only where one Prometheus here tells of several machines."""
    machines: dict[str, str] = {}
    for answer in facts.answers:
        for row in answer.targets:
            if "node" in row.get("job", "").lower() or row.get("instance", "").endswith(":9100"):
                name = re.sub(r":\d+\Z", "", row.get("instance", ""))
                machines[name.split(".")[0] if not re.fullmatch(r"[\d.]+", name) else name] = name
    if len(machines) < 2:
        return None
    for own in (asked.name, facts.machine.hostname, facts.machine.tailnet, *LOCAL):
        if own in machines:
            value = f'instance=~"{re.escape(machines[own])}([.:].*)?"'
            return line("instance", value, f"Prometheus here knows {len(machines)} machines; this is what it calls this one")
    reason = f"Prometheus here knows {', '.join(sorted(machines)[:5])}; which one is this?"
    return line("instance", f'instance=~"{asked.name}([.:].*)?"', reason, GUESS, active=False)


def _known(engines: Collection[str]) -> dict[str, str]:
    """The names of the configuration by the survey's."""
    return {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in engines}


# --- the switch -------------------------------------------------------------------------------------------------------


def _switch(
    facts: Facts, asked: Asked, modes: Sequence[Server], floor: Sequence[Server], holds: tuple[Item, ...], known: set[str]
) -> Table | None:
    lines: list[Line] = []
    if modes and facts.gpus:
        if memory.unified(facts):
            lines.append(line("drop_caches", True, "one memory: stale weights in the page cache make the next start fail"))
        else:
            lines.append(line("drop_caches", False, "weights go to the card, which the page cache does not share", LIKELY))
    if floor:
        items = tuple(Item(s.service, _floor_sign(s)) for s in floor)
        lines.append(Line("floor", items, Sign("no switch ever stops these", LIKELY)))
    if holds and modes:
        lines.append(Line("hold", holds, Sign("stopped for the time of a switch, started again whatever happens", SURE)))
    held = {item.value for item in holds}
    others = [c for c in facts.containers if c.gpu and c.name not in known and f"container:{c.name}" not in known | held]
    items = tuple(
        Item(f"container:{c.name}", Sign("it asks for the GPU, and a switch would stop it: is that meant?", GUESS))
        for c in others
        if not service_problem(f"container:{c.name}")
    )
    if items and modes:
        lines.append(Line("tenants", items, Sign("hold the GPU and are no mode", GUESS), False))
    return Table(("host", asked.name, "switch"), lines=tuple(lines)) if lines else None


def _floor_sign(server: Server) -> Sign:
    shown = serving.shown(server.engine) or "it serves models"
    if server.cpu_sign:
        return Sign(f"{shown} on the CPU ({server.cpu_sign.reason}), always on", server.cpu_sign.certainty)
    return Sign(f"{shown} loads and unloads models by itself, always on", LIKELY)


# --- sources and notes ------------------------------------------------------------------------------------------------


def _answering(facts: Facts, kind: str) -> AnswerFact | None:
    return next((answer for answer in facts.answers if answer.kind == kind), None)


def _sources(facts: Facts, asked: Asked) -> list[Table]:
    tables = []
    for kind in ("prometheus", "alertmanager"):
        answer = _answering(facts, kind)
        if answer is None:
            continue
        version = f", version {answer.version}" if answer.version else ""
        lines = (
            line("url", answer.url, f"it answers there{version}"),
            line("via", asked.name, "through this host's link: nothing has to listen on the network"),
        )
        tables.append(Table((kind,), lines=lines))
    return tables


def _notes(facts: Facts, servers: Sequence[Server], modes: Sequence[Server]) -> tuple[str, ...]:
    notes = []
    if not servers:
        names = ", ".join(serving.NAMES.values())
        notes.append(f"No engine was found, running or not, in units, containers, processes and on ports: looked for {names}.")
    if _answering(facts, "prometheus") is None:
        notes.append(
            "No Prometheus answers here: figures come from the probe and from the engines. One elsewhere? `sovtui init` that machine too."
        )
    if any(s.engine == "litellm" for s in servers):
        notes.append(
            "LiteLLM runs here; its chains need a key to be read: write [[profile]] yourself, see `sovtui config schema`."
        )
    unread = [s for s in servers if s.engine in serving.OTHERS and (s.side or not s.service)]
    for one in unread[:4]:
        what = f"{serving.shown(one.engine)}{f' ({one.side})' if one.side else ''} on port {one.port}"
        notes.append(
            f"{what} is not read by this version{'; its service is watched.' if one.service else f'. {one.place}'.rstrip()}"
        )
    at_once = [s for s in modes if s.running]
    if len(at_once) > 1:
        names = ", ".join(s.name for s in at_once[:5])
        notes.append(
            f"{names} run at the same time; as modes they exclude each other, and a switch to one stops the others. "
            "What is to stay whatever is switched: write [[host.NAME.engine]] instead, or `may_stay`."
        )
    for template in facts.templates[:4]:
        notes.append(
            f"{template} is a template that names an engine; which instances there are is not known: name them in `services`."
        )
    for c in facts.cron:
        begun = [serving.shown(one.engine) for argv in c.runs for one in serving.several(argv) if one.engine]
        if begun:
            notes.append(
                f"{begun[0]} is started by {c.where} (`{c.line[:100]}`): no switch can stop it or start it again; make a unit of it."
            )
    fights = [c for c in facts.cron if re.search(r"systemctl|docker|podman", c.line) and not c.line.startswith("@reboot")]
    notes += [f"Cron starts or stops things ({c.where}): {c.line[:120]}; a switch cannot hold that." for c in fights[:3]]
    saves = [c for c in facts.cron if c not in fights and re.search(r"restic|borg|backup|rsync", c.line)]
    notes += [f"Cron backs up ({c.where}): {c.line[:120]}; sovtui watches units, make a timer of it." for c in saves[:3]]
    exposed = [s.container for s in servers if s.unprotected and s.container]
    updater = next((c for c in facts.containers if c.running and "watchtower" in f"{c.name} {c.image}"), None)
    if exposed and updater is not None:
        notes.append(
            f"{updater.name} may recreate {', '.join(exposed[:3])}: the label com.centurylinklabs.watchtower.enable=false opts out."
        )
    return tuple(notes)
