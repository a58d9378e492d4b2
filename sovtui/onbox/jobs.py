"""What a job takes along, by what systemd says of its units. Nothing acts: systemd computes the jobs themselves only to run them.

`systemctl` has no dry run of a job, so its manager is asked for the relations along which it makes them: `systemctl show`, wave by wave.
Stops go on along the first group, also through units that do not run; a restart along the second, through what runs alone; a start along
the third, and what it starts stops what it conflicts with. Seen with systemd 252.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sovtui.onbox import box
from sovtui.onbox.plan import kind_of
from sovtui.onbox.services import systemctl
from sovtui.onbox.things import UP, Need, Take

_RESTARTED = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf")
_STOPPED = (*_RESTARTED, "PropagatesStopTo")
_STARTED = ("Requires", "BindsTo", "Wants", "Upholds")
_AGAINST = ("Conflicts", "ConflictedBy")
_USES = ("Requires", "Requisite", "BindsTo", "Wants", "Upholds")
_USED_BY = ("RequiredBy", "RequisiteOf", "BoundBy", "WantedBy", "UpheldBy")
_PROPERTIES = ",".join(
    dict.fromkeys(("Id", "Names", "ActiveState", "StopWhenUnneeded", *_STOPPED, *_STARTED, *_AGAINST, *_USES, *_USED_BY))
)
_RESTART_STOPS = 254
"""From this version on a restart stops for good what `PropagatesStopTo=` names."""
SECONDS = 15.0
Ask = Callable[[Sequence[str]], Sequence["Facts"]]


@dataclass(frozen=True)
class Facts:
    """One unit, and by the name of each relation the units that it has."""

    id: str
    names: tuple[str, ...]
    up: bool
    unneeded: bool
    """It stops by itself once nothing that runs uses it."""
    near: dict[str, tuple[str, ...]]

    def all(self, relations: Iterable[str]) -> tuple[str, ...]:
        return tuple(x for relation in relations for x in self.near.get(relation, ()))


def takes(needs: Sequence[Need], names: Sequence[str] = ()) -> tuple[tuple[Take, ...], str]:
    """What these jobs would take along, each unit named as `names` name it if they do; and why it cannot be told."""
    found: list[Take] = []
    for kind in ("system", "user"):
        wanted = [need for need in needs if kind_of(need.service)[0] == kind]
        if not wanted:
            continue
        try:
            version = _version(kind) if any(need.verb == "restart" for need in wanted) else 0
            known = [name for name in dict.fromkeys((*names, *(n.service for n in wanted))) if kind_of(name)[0] == kind]
            found += closure(wanted, known, lambda units, kind=kind: _facts(kind, units), version, kind)  # type: ignore[misc]
        except OSError as problem:
            return (), str(problem)
    return tuple(found), ""


def closure(needs: Sequence[Need], names: Sequence[str], ask: Ask, version: int = 0, kind: str = "system") -> list[Take]:
    """The same of one manager: `ask` tells the facts of units, in their order."""
    known: dict[str, Facts] = {}

    def learn(units: Iterable[str]) -> None:
        new = [unit for unit in dict.fromkeys(units) if unit not in known]
        for unit, facts in zip(new, ask(new) if new else ()):  # noqa: B905 - the box may have Python 3.9
            known[unit] = known[facts.id] = facts

    learn(kind_of(name)[1] for name in (*names, *(need.service for need in needs)))
    called = {known[kind_of(name)[1]].id: name for name in reversed(names)}
    roots = [(need.verb, known[kind_of(need.service)[1]].id, need) for need in needs]
    own = {(verb, unit) for verb, unit, _ in roots}
    jobs: dict[tuple[str, str], Need] = {}
    wave = list(roots)
    while wave:
        learn(unit for _, unit, _ in wave)
        following = []
        for verb, unit, by in wave:
            facts = known[unit]
            if (verb, facts.id) in jobs or (verb == "restart" and not facts.up and (verb, facts.id) not in own):
                continue
            jobs[verb, facts.id] = by
            if verb == "stop":
                following += [("stop", x, by) for x in facts.all(_STOPPED)]
                continue
            following += [("start", x, by) for x in facts.all(_STARTED)]
            following += [("stop", x, by) for x in facts.all(_AGAINST)]
            if verb == "restart":
                following += [("restart", x, by) for x in facts.all(_RESTARTED)]
                following += [("stop", x, by) for x in facts.all(("PropagatesStopTo",)) if version >= _RESTART_STOPS]
        wave = following
    stopped = {unit: by for (verb, unit), by in jobs.items() if verb == "stop"}
    _unneeded(stopped, known, learn)
    found = {("stop", unit): by for unit, by in stopped.items() if known[unit].up}
    found.update({key: by for key, by in jobs.items() if key[0] == "restart" and key[1] not in stopped})
    found.update({key: by for key, by in jobs.items() if key[0] == "start" and (key[1] in stopped or not known[key[1]].up)})
    for verb, root, by in roots:
        holders = known[root].near.get("UpheldBy", ()) if verb == "stop" else ()
        learn(holders)
        found.update({("uphold", x): by for x in holders if known[x].up and x not in stopped})
    prefix = "user:" if kind == "user" else ""
    return [
        Take(called.get(unit, prefix + unit), verb, by.verb, by.service)
        for (verb, unit), by in found.items()
        if (verb, unit) not in own
    ]


def _unneeded(stopped: dict[str, Need], known: dict[str, Facts], learn: Callable[[Iterable[str]], None]) -> None:
    """Adds what stops by itself once the others have stopped (`StopWhenUnneeded=`)."""
    todo = [unit for unit in stopped if known[unit].up]
    while todo:
        unit = todo.pop()
        learn(known[unit].all(_USES))
        for used in known[unit].all(_USES):
            facts = known[used]
            if not (facts.unneeded and facts.up) or facts.id in stopped:
                continue
            learn(facts.all(_USED_BY))
            if all(known[x].id in stopped or not known[x].up for x in facts.all(_USED_BY)):
                stopped[facts.id] = stopped[unit]
                todo.append(facts.id)


def _facts(kind: str, units: Sequence[str]) -> list[Facts]:
    """OSError with a sentence where its manager does not tell."""
    code, out, err = box.command(systemctl(kind, "show", "-p", _PROPERTIES, "--", *units), SECONDS)
    blocks = [block for block in out.split("\n\n") if block.strip()]
    if code or len(blocks) != len(units):
        who = f"the user manager of {box.user()}" if kind == "user" else "systemd"
        raise OSError(f"{who} does not tell what stops with what: {box.last_line(err) or f'systemctl ended with {code}'}")
    return [_read(block) for block in blocks]


def _read(block: str) -> Facts:
    told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    near = {name: _list(text) for name, text in told.items() if text and name[0].isupper()}
    return Facts(told["Id"], near.get("Names", ()), told.get("ActiveState") in UP, told.get("StopWhenUnneeded") == "yes", near)


def _list(text: str) -> tuple[str, ...]:
    """Names between blanks; in a shell's quotes, with every backslash doubled, where one has such characters."""
    return tuple(shlex.split(text)) if '"' in text or "'" in text else tuple(text.split())


def _version(kind: str) -> int:
    """0 where it is not told."""
    word = box.command(systemctl(kind, "show", "-p", "Version", "--value"), SECONDS)[1]
    digits = "".join(c if c.isdigit() else " " for c in word).split()
    return int(digits[0]) if digits else 0
