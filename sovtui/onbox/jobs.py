"""What a job takes along, by what systemd says of its units. Nothing acts: systemd computes the jobs themselves only to run them.

`systemctl` has no dry run of a job, so its manager is asked for the relations along which it makes them: `systemctl show`, wave by wave.
Stops and restarts go on along the first groups, a start along the third, and what it starts stops what it conflicts with. A job that would
change nothing carries nothing on: systemd drops it, and with it what only that one had asked for. Seen with systemd 252, 255 and 257.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sovtui.onbox import box
from sovtui.onbox.names import kind_of
from sovtui.onbox.things import UP, Need, Take

_RESTARTS = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf")
_STOPS = (*_RESTARTS, "PropagatesStopTo")
_PULLS = ("Requires", "BindsTo", "Wants", "Upholds")
_AGAINST = ("Conflicts", "ConflictedBy")
_USES = ("Requires", "Requisite", "BindsTo", "Wants", "Upholds")
_USED_BY = ("RequiredBy", "RequisiteOf", "BoundBy", "WantedBy", "UpheldBy")
_STARTED = ("active", "reloading", "refreshing")
"""States that a start does not change."""
_PROPERTIES = ",".join(
    dict.fromkeys(("Id", "ActiveState", "StopWhenUnneeded", "TriggeredBy", *_STOPS, *_PULLS, *_AGAINST, *_USES, *_USED_BY))
)
_GRACEFUL = 254
"""From this version on `PropagatesStopTo=` is followed from the unit itself that is asked for alone, also where it is restarted."""
SECONDS = 15.0
Ask = Callable[[Sequence[str]], Sequence["Facts"]]


@dataclass(frozen=True)
class Facts:
    """One unit, and by the name of each relation the units that it has."""

    id: str
    active: str
    unneeded: bool
    """It stops by itself once nothing that runs uses it."""
    near: dict[str, tuple[str, ...]]

    @property
    def up(self) -> bool:
        return self.active in UP

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
            version = _version(kind)
            known = [name for name in dict.fromkeys((*names, *(n.service for n in wanted))) if kind_of(name)[0] == kind]
            found += closure(wanted, known, lambda units, kind=kind: _facts(kind, units), version, kind)  # type: ignore[misc]
        except OSError as problem:
            return (), str(problem)
    return tuple(found), ""


def closure(needs: Sequence[Need], names: Sequence[str], ask: Ask, version: int = 0, kind: str = "system") -> list[Take]:
    """The same of one manager, one job after the other: `ask` tells the facts of units, in their order."""
    units = _Units(ask)
    units.learn(kind_of(name)[1] for name in (*names, *(need.service for need in needs)))
    called = {units.known[kind_of(name)[1]].id: name for name in reversed(names)}
    own = {(need.verb, units.known[kind_of(need.service)[1]].id) for need in needs}
    found: dict[tuple[str, str], Need] = {}
    for need in needs:
        for verb, unit in _jobs(need, units, version):
            was = units.known[unit].up
            if (verb == "start" and (not was or unit in units.stopped)) or (
                verb != "start" and was and ("stop", unit) not in found
            ):
                found.setdefault((verb, unit), need)
    for need in needs:
        upholding = units.of(kind_of(need.service)[1], ("UpheldBy",)) if need.verb == "stop" else ()
        found.update({("uphold", x): need for x in upholding if units.known[x].up and x not in units.stopped})
        waking = units.of(kind_of(need.service)[1], ("TriggeredBy",)) if need.verb == "stop" else ()
        waking = tuple(x for x in waking if x.endswith((".socket", ".path")))  # a timer's time may be held, and is shown
        found.update({("wake", x): need for x in waking if units.known[x].up and x not in units.stopped})
    prefix = "user:" if kind == "user" else ""
    return [
        Take(called.get(unit, prefix + unit), verb, need.verb, need.service)
        for (verb, unit), need in found.items()
        if (verb, unit) not in own
    ]


class _Units:
    """What is known of units, and what has become of them by the jobs so far."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.known: dict[str, Facts] = {}
        self._now: dict[str, str] = {}
        self.stopped: set[str] = set()

    def learn(self, units: Iterable[str]) -> None:
        new = [unit for unit in dict.fromkeys(units) if unit not in self.known]
        for unit, facts in zip(new, self._ask(new) if new else ()):  # noqa: B905 - the box may have Python 3.9
            self.known[unit] = facts
            self.known.setdefault(facts.id, facts)

    def of(self, unit: str, relations: Iterable[str]) -> tuple[str, ...]:
        """What it has there, all of it known."""
        found = self.known[unit].all(relations)
        self.learn(found)
        return found

    def active(self, unit: str) -> str:
        facts = self.known[unit]
        return self._now.get(facts.id, facts.active)

    def up(self, unit: str) -> bool:
        return self.active(unit) in UP

    def after(self, verb: str, unit: str) -> None:
        self._now[unit] = "inactive" if verb == "stop" else "active"
        if verb == "stop":
            self.stopped.add(unit)


def _jobs(need: Need, units: _Units, version: int) -> list[tuple[str, str]]:
    """The jobs that one makes, itself the first; and they are taken as done."""
    jobs: dict[tuple[str, str], None] = {}
    wave = [(need.verb, kind_of(need.service)[1])]
    while wave:
        units.learn(unit for _, unit in wave)
        following = []
        told = version < _GRACEFUL or not jobs
        for verb, name in wave:
            facts = units.known[name]
            changes = units.active(name) not in _STARTED if verb == "start" else units.up(name)
            if (verb, facts.id) in jobs or (jobs and not changes):
                continue
            jobs[verb, facts.id] = None
            if verb == "stop":
                following += [("stop", x) for x in facts.all(_STOPS if told else _RESTARTS)]
                continue
            following += [("start", x) for x in facts.all(_PULLS)]
            following += [("stop", x) for x in facts.all(_AGAINST)]
            if verb == "restart":
                following += [("restart", x) for x in facts.all(_RESTARTS)]
                following += [("stop", x) for x in facts.all(("PropagatesStopTo",)) if told and version >= _GRACEFUL]
        wave = following
    for verb, unit in jobs:
        units.after(verb, unit)
    stopped = [unit for verb, unit in jobs if verb == "stop" and units.known[unit].up]
    for unit in stopped:  # what stops by itself (`StopWhenUnneeded=`) is looked at in its turn
        for used in units.of(unit, _USES):
            facts = units.known[used]
            if facts.unneeded and units.up(used) and not any(units.up(x) for x in units.of(used, _USED_BY)):
                jobs["stop", facts.id] = None
                units.after("stop", facts.id)
                stopped.append(facts.id)
    return list(jobs)


def _facts(kind: str, units: Sequence[str]) -> list[Facts]:
    """OSError with a sentence where its manager does not tell."""
    code, out, err = box.command(box.systemctl(kind, "show", "-p", _PROPERTIES, "--", *units), SECONDS)
    blocks = [block for block in out.split("\n\n") if block.strip()]
    if code or len(blocks) != len(units):
        who = f"the user manager of {box.user()}" if kind == "user" else "systemd"
        raise OSError(f"{who} does not answer what stops with what: {box.last_line(err) or f'systemctl ended with {code}'}")
    return [_read(block) for block in blocks]


def _read(block: str) -> Facts:
    told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    near = {name: _list(text) for name, text in told.items() if text and name[0].isupper()}
    return Facts(told["Id"], told.get("ActiveState", ""), told.get("StopWhenUnneeded") == "yes", near)


def _list(text: str) -> tuple[str, ...]:
    """Names between blanks; in a shell's quotes, with every backslash doubled, where one has such characters."""
    return tuple(shlex.split(text)) if '"' in text or "'" in text else tuple(text.split())


def _version(kind: str) -> int:
    """0 where it is not told."""
    word = box.command(box.systemctl(kind, "show", "-p", "Version", "--value"), SECONDS)[1]
    digits = "".join(c if c.isdigit() else " " for c in word).split()
    return int(digits[0]) if digits else 0
