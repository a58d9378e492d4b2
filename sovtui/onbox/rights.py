"""Which commands need rights, and the smallest sudoers lines or polkit rule that give them. Pure; the client prints with the same code."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sovtui.onbox.plan import ModePlan, Request, kind_of, parse

SYSTEMCTL = "/usr/bin/systemctl"
DROP = ("/usr/bin/tee", "/proc/sys/vm/drop_caches")
KILL = "--signal=SIGKILL"


def command(verb: str, service: str) -> list[str] | None:
    """The command that needs rights for one service; None where none are needed (user units, containers)."""
    kind, name = kind_of(service)
    return [SYSTEMCTL, *words(verb), name] if kind == "system" else None


def words(verb: str) -> list[str]:
    """A verb as systemctl is told it; `kill` is of every process of the unit, and at once."""
    return [verb, KILL] if verb == "kill" else [verb]


def sudoers_line(user: str, argv: Sequence[str]) -> str:
    """One line of sudoers for exactly this command."""
    words = [re.sub(r"([\\,:=])", r"\\\1", word) for word in argv]
    return f"{user} ALL=(root) NOPASSWD: {' '.join(words)}"


def polkit_rule(user: str, commands: Sequence[Sequence[str]]) -> str:
    """A rule file that lets this user start and stop exactly these units. Only systemctl asks polkit: other commands are left out.

    Both verbs always: polkit cannot be asked whether it would allow one, so the other, which then changes nothing, is tried.
    """
    units: dict[str, list[str]] = {}
    for verb, unit in sorted(((argv[1], argv[-1]) for argv in commands if argv[0] == SYSTEMCTL), key=lambda pair: pair[1]):
        verbs = units.setdefault(unit, ["start", "stop"])
        if verb not in verbs:
            verbs.append(verb)
    return "\n".join(
        [
            "polkit.addRule(function(action, subject) {",
            '    if (action.id != "org.freedesktop.systemd1.manage-units" || subject.user != ' + json.dumps(user) + ") {",
            "        return polkit.Result.NOT_HANDLED;",
            "    }",
            "    var allowed = {",
            *(f"        {json.dumps(unit)}: {json.dumps(verbs)}," for unit, verbs in units.items()),
            "    };",
            '    var verbs = allowed[action.lookup("unit")] || [];',
            '    return verbs.indexOf(action.lookup("verb")) >= 0 ? polkit.Result.YES : polkit.Result.NOT_HANDLED;',
            "});",
        ]
    )


def privileged_commands(request: Mapping[str, Any]) -> list[list[str]]:
    """Every command that this request may need as root, in order. BadRequest for one that is not understood."""
    return commands_of(parse(request))


def commands_of(request: Request) -> list[list[str]]:
    wanted: list[list[str] | None] = []
    if request.kind == "drop-caches":
        wanted.append(list(DROP))
    elif request.kind == "backup":
        wanted.append(command("start", request.service))
    elif request.kind == "restart":
        wanted.append(command("restart", request.service))
    elif request.kind == "switch":
        target = request.mode(request.to)
        for service in request.hold:
            wanted += [command("stop", service), command("start", service)]
        own = [s for mode in request.modes for s in mode.services]
        kept = (*target.services, *target.may_stay, *request.floor)
        for service in dict.fromkeys(s for s in [*own, *request.tenants] if s not in kept):
            owners = [mode for mode in request.modes if service in mode.services]
            if not target.command:
                wanted += [command("stop", service), *_kill(service, owners)]
            if request.rollback and not all(mode.command for mode in owners or [ModePlan("")]):
                wanted.append(command("start", service))
        for service in target.services:
            if not target.command:
                wanted.append(command("start", service))
            if service not in request.floor:
                wanted += [command("stop", service), *_kill(service, [target])]
        if request.drop_caches and not target.command:
            wanted.append(list(DROP))
    found: list[list[str]] = []
    for argv in wanted:
        if argv is not None and argv not in found:
            found.append(argv)
    return found


def _kill(service: str, owners: Sequence[ModePlan]) -> list[list[str] | None]:
    """To end an engine that hangs and does not stop; of a tenant nobody knows that it hangs, and it may have something to lose."""
    return [command("kill", service)] if any(mode.url for mode in owners) else []


_ENTRY = re.compile(r"^\s+\(([^)]*)\)\s*(.*)$")


def needs_password(listing: str, argv: Sequence[str]) -> bool:
    """Whether `sudo -l`'s listing shows that this (allowed) command would ask for a password.

    `sudo -l COMMAND` says yes for commands that want a password too; what counts is the last entry that matches.
    """
    text = " ".join(argv)
    needs = True
    joined = re.sub(r"\n {6,}(?!\()", " ", listing)
    for line in joined.splitlines():
        match = _ENTRY.match(line)
        if not match:
            continue
        rest, password = match.group(2), True
        for spec in re.split(r"(?<!\\),\s*", rest):
            tags = re.match(r"((?:[A-Z_]+:\s*)*)(.*)$", spec)
            if not tags:
                continue
            if "NOPASSWD:" in tags.group(1):
                password = False
            elif "PASSWD:" in tags.group(1):
                password = True
            pattern = re.sub(r"\\([,:=\\])", r"\1", tags.group(2).strip())
            if pattern == "ALL" or pattern in (text, argv[0]) or fnmatch.fnmatchcase(text, pattern):
                needs = password
    return needs
