"""Which commands need rights. Pure; the client prints its drop-ins from the same list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sovtui.onbox.names import kind_of
from sovtui.onbox.plan import ModePlan, Request, parse

SYSTEMCTL = "/usr/bin/systemctl"
DROP = ("/usr/bin/tee", "/proc/sys/vm/drop_caches")
KILL = "--signal=SIGKILL"
PROGRAMS = ("systemctl", "tee")
VERBS = ("start", "stop", "restart", "reset-failed", "kill")


def command(verb: str, service: str) -> list[str] | None:
    """The command that needs rights for one service; None where none are needed (user units, containers)."""
    kind, name = kind_of(service)
    return [SYSTEMCTL, *words(verb), name] if kind == "system" else None


def words(verb: str) -> list[str]:
    """A verb as systemctl is told it; `kill` is of every process of the unit, and at once."""
    return [verb, KILL] if verb == "kill" else [verb]


def is_one(argv: Sequence[str]) -> bool:
    """Whether it is a command as `command` makes them, or `DROP`."""
    if tuple(argv) == DROP:
        return True
    return len(argv) > 2 and argv[0] == SYSTEMCTL and argv[1] in VERBS and list(argv[1:-1]) == words(argv[1])


def privileged_commands(request: Mapping[str, Any]) -> list[list[str]]:
    """Every command that this request may need as root, in order. BadRequest for one that is not understood."""
    return commands_of(parse(request))


def commands_of(request: Request) -> list[list[str]]:
    wanted: list[list[str] | None] = []
    if request.kind == "drop-caches":
        wanted.append(list(DROP))
    elif request.kind in ("backup", "restart"):
        wanted += _again("start" if request.kind == "backup" else "restart", request.service)
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
                wanted += _again("start", service)
        for service in target.services:
            if not target.command:
                wanted += _again("start", service)
            if service not in request.floor:
                wanted += [command("stop", service), *_kill(service, [target])]
        if request.drop_caches and not target.command:
            wanted.append(list(DROP))
    found: list[list[str]] = []
    for argv in wanted:
        if argv is not None and argv not in found:
            found.append(argv)
    return found


def _again(verb: str, service: str) -> list[list[str] | None]:
    """With what lets it start once it has failed too often."""
    return [command(verb, service), command("reset-failed", service)]


def _kill(service: str, owners: Sequence[ModePlan]) -> list[list[str] | None]:
    """To end an engine that hangs and does not stop; of a tenant nobody knows that it hangs, and it may have something to lose."""
    return [command("kill", service)] if any(mode.url for mode in owners) else []
