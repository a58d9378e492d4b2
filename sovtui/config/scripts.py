"""Of a survey's facts: the owner's own scripts, which mode each switches to, what they ask, and modes that only they tell of. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sovtui.config.care import word
from sovtui.config.check import service_problem
from sovtui.config.proposal import Item, Line, Table, line
from sovtui.core.server import Certainty, Server, Sign
from sovtui.core.serving import HELPER
from sovtui.core.survey import Facts, ScriptFact

NO_MODE_WORDS = ("none", "status", "start", "stop", "restart", "help", "list")
"""Words that an owner's script takes and that are no mode."""
_FILLING = re.compile(
    r"(?i)(?<![a-z0-9])(?:mode|switch|to|llm|use|run|serve|go|activate|enable|start|launch|up|on|the|set|do|load|ai)(?![a-z0-9])"
)
LIKELY, GUESS = Certainty.LIKELY, Certainty.GUESS


@dataclass(frozen=True, slots=True)
class Own:
    """A script of the owner that switches to one mode."""

    script: ScriptFact
    name: str
    """What it calls the mode; empty where it does not."""
    argument: str = ""
    """The word that it takes for it."""
    sure: bool = True
    """It starts what serves the mode; else only a name says so."""


def started(facts: Facts, script: ScriptFact, owned: Mapping[str, str]) -> frozenset[str]:
    """The services that a script starts, as a configuration has them."""
    found: set[str] = set()
    for name in script.starts:
        kind, _, rest = name.partition(":")
        if kind == "container":
            found.add(owned.get(rest, name))
        elif kind == "compose":
            place, _, service = rest.rpartition(":")
            for container in facts.containers:
                labels = container.labels
                where = (labels.get("com.docker.compose.project", ""), labels.get("com.docker.compose.project.working_dir", ""))
                if place in where and service in ("", labels.get("com.docker.compose.service", "")):
                    found.add(owned.get(container.name, f"container:{container.name}"))
        else:
            found.add(name)
    return frozenset(found)


def of_mode(facts: Facts, server: Server, name: str, modes: Sequence[Server], owned: Mapping[str, str]) -> Own | None:
    """The script that switches to what a server serves: one that starts it and no other mode, or one that takes a word for it."""
    others = {one.service for one in modes if one.service and one.service != server.service}
    named: Own | None = None
    for script in facts.scripts:
        if HELPER.search(script.path.rpartition("/")[2]):
            continue  # a health check that starts it again
        starts = started(facts, script, owned)
        words = [taken for taken in script.words if taken not in NO_MODE_WORDS]
        if server.service and server.service in starts and not starts & others and not words:
            return Own(script, of_file(script.path))
        if starts & others and server.service not in starts:
            continue  # it is of another
        if named is None and (own := _by_word(script, name)) is not None:
            named = own
    if named is not None:
        return named
    for script in facts.scripts:
        if not started(facts, script, owned) and len(called := of_file(script.path)) > 2 and called.lower() in _forms(name):
            return Own(script, called, sure=False)
    return None


def _forms(name: str) -> tuple[str, str]:
    return name.lower(), re.sub(r"\d+", "", name.lower())  # `qwen36` is what a script calls `qwen`


def _by_word(script: ScriptFact, name: str) -> Own | None:
    forms = _forms(name)
    words = [w for w in script.words if len(w) > 2 and any(w.lower() in form for form in forms) and w not in NO_MODE_WORDS]
    if not words:
        return None
    best = max(words, key=len)
    return Own(script, best if any(form.startswith(best.lower()) for form in forms) else "", best)


def of_file(path: str) -> str:
    """`forensic` of `/opt/modes/forensic-mode.sh`, `qwen` of `start-qwen`; empty where nothing is left."""
    name = re.sub(r"\.(?:sh|bash|zsh|py)\Z", "", path.rpartition("/")[2])
    if not _FILLING.search(name):
        return ""  # nothing says that it is of a mode
    left = re.sub(r"[-_.]+", "-", _FILLING.sub("-", name)).strip("-")
    return word(left) if left and left not in NO_MODE_WORDS else ""


def lines(own: Own) -> list[Line]:
    """The script as `switch`, for the operator to take up; with what answers its question."""
    script = own.script
    asks = f"it asks: `{script.asks}`" if script.asks else ""
    answered = bool(script.answer_env or script.answer_flag)
    reason = "your own script instead" + (f"; {asks}" if asks else ", it asks nothing")
    if asks and not answered:
        reason += ", and nothing in it shows what else would answer: a switch has no terminal"
    if not own.sure:
        reason += "; only its name says that it is for this"
    items = [Item(script.path, Sign(reason, GUESS))]
    if own.argument:
        items.append(Item(own.argument, Sign("its word for it", LIKELY)))
    if script.answer_flag:
        items.append(Item(script.answer_flag, Sign("answers what it asks", LIKELY)))
    found = [Line("switch", tuple(items), Sign("", GUESS), False)]
    if script.answer_env:
        found.append(line("switch_env", dict(script.answer_env), "answers what it asks", LIKELY, active=False))
    return found


def more_modes(
    facts: Facts, host: str, used: Collection[str], servers: frozenset[str], names: set[str], owned: Mapping[str, str]
) -> list[Table]:
    """Modes of which no engine tells, only a script that is called so and what it starts: `audio-mode.sh`."""
    tables = []
    for script in facts.scripts:
        starts = sorted(one for one in started(facts, script, owned) if not service_problem(one))
        name = of_file(script.path)
        called = re.search(r"(?i)(?<![a-z])mode(?![a-z])", script.path.rpartition("/")[2])
        if script.path in used or not starts or not name or not called or name in names or servers & set(starts):
            continue
        containers = [facts.container_of(one) for one in starts]
        gpu = all(one is not None and one.gpu for one in containers)
        names.add(name)
        sign = Sign(f"{script.path} starts {'it' if len(starts) == 1 else 'them'}", LIKELY if gpu else GUESS)
        table = [
            line("name", name, f"{script.path} is called so", LIKELY if gpu else GUESS),
            Line("services", tuple(Item(one, sign) for one in starts), sign),
            *lines(Own(script, name)),
        ]
        about = () if gpu else ("Of no engine and without the GPU, as far as is known: is it a mode?",)
        tables.append(Table(("host", host, "mode"), True, tuple(table), about, gpu))
    return tables
