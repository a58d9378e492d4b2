"""A configuration for a machine of which nobody has written one: what serves there now, to be looked at. Pure.

Made of what `sovtui init` proposes; but nobody has read that yet, so nothing in it can be switched: it names no key, and no unit of
a mode. What runs at the same time excludes nothing: one engine is shown in full, the others beside it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from sovtui.config.care import word
from sovtui.config.load import loads
from sovtui.config.problems import ConfigError
from sovtui.config.proposal import write
from sovtui.config.propose import LOADERS, Asked, host_name, propose
from sovtui.config.schema import Config, EngineConfig, HostConfig, ModeConfig
from sovtui.core.serving import NAMES
from sovtui.core.survey import AnswerFact, Facts

Entry = ModeConfig | EngineConfig


def found(facts: Facts, units: Sequence[str], hostname: str, engines: Collection[str], before: Config | None = None) -> Config:
    """What listens now. `units` are watched too. With `before`, what was found then and is silent now stays, as it was called."""
    name = host_name("", hostname)
    proposed = _proposed(facts, name, engines)
    host = proposed.host.get(name, HostConfig(link="local"))
    old = before.host.get(name) if before is not None else None
    listening = {port.port for port in facts.ports}
    told = _told_apart([*(entry for entry in entries(host) if _port(entry) in listening), *_others(facts, host)])
    told = _merged(entries(old), told, listening)
    chief = _chief(told, old)
    first = [chief] if chief is not None else []
    services = [service for entry in (*first, *told) for service in entry.services]
    made = HostConfig(
        link="local",
        memory=host.memory,
        mode=tuple(_as_mode(entry) for entry in told if entry is chief),
        engine=tuple(_as_engine(entry) for entry in told if entry is not chief),
        watch=tuple(dict.fromkeys([*services, *host.switch.floor, *units, *(old.watch if old is not None else ())])),
    )
    sources = [proposed, before or Config()]
    prometheus, alertmanager = (
        next(filter(None, (getattr(c, n) for c in sources)), None) for n in ("prometheus", "alertmanager")
    )
    return Config(
        host={name: made},
        prometheus=replace(prometheus, via="") if prometheus is not None else None,
        alertmanager=replace(alertmanager, via="") if alertmanager is not None else None,
    )


def _proposed(facts: Facts, name: str, engines: Collection[str]) -> Config:
    """What `init` would propose, as far as it is of things that run."""
    running = replace(facts, containers=tuple(c for c in facts.containers if c.running))
    try:
        return loads(write(propose(running, Asked(name, "local"), engines).tables), "what was found", engines=engines)
    except ConfigError:  # a mistake of ours; `init` says so, and here there is more to look at than engines
        return Config()


def entries(host: HostConfig | None) -> list[Entry]:
    """Modes and engines alike."""
    return [*host.mode, *host.engine] if host is not None else []


def _port(entry: Entry) -> int | None:
    told = re.search(r":(\d+)(?:/|\Z)", entry.url)
    return int(told[1]) if told else None


def _others(facts: Facts, host: HostConfig) -> list[Entry]:
    """What speaks OpenAI's protocol and is no engine by name: it lists models, so it can be looked at."""
    known = {_port(entry) for entry in entries(host)}
    rows = [answer for answer in facts.answers if answer.kind == "openai" and not answer.key and answer.port not in known]
    return [EngineConfig(name=_name(row), engine="", url=row.url) for row in rows]


def _name(answer: AnswerFact) -> str:
    model = answer.models[0].rpartition("/")[2] if answer.models else ""
    return word(model, f"port-{answer.port}")


def _told_apart(every: Iterable[Entry]) -> list[Entry]:
    """One of each address, with a title that says what it is and where."""
    by_url: dict[str, Entry] = {}
    for entry in every:
        what = entry.title or entry.model or NAMES.get(entry.engine, entry.name)
        by_url.setdefault(entry.url, replace(entry, title=f"{what} (port {_port(entry)})"))
    return list(by_url.values())


def _merged(old: Iterable[Entry], new: Sequence[Entry], listening: Collection[int]) -> list[Entry]:
    """What is there now, under the names that it had; what fell silent stays, unless it is there again at another port."""
    before = {entry.url: entry for entry in old}
    now = {entry.url for entry in new}
    moved = {(entry.engine, entry.model) for entry in new if entry.url not in before}
    stay = [e for e in before.values() if e.url not in now and ((e.engine, e.model) not in moved or _port(e) in listening)]
    kept: list[Entry] = []
    names: set[str] = {entry.name.lower() for entry in stay} | {"none"}
    fresh: list[Entry] = []
    for entry in new:
        was = before.get(entry.url)
        if was is not None and (was.engine, was.model) == (entry.engine, entry.model) and was.name.lower() not in names:
            names.add(was.name.lower())
            kept.append(replace(entry, name=was.name))
        else:
            fresh.append(entry)
    for entry in fresh:
        name, count = entry.name, 1
        while name.lower() in names:
            count += 1
            name = f"{entry.name}-{count}"
        names.add(name.lower())
        kept.append(replace(entry, name=name))
    place = {url: number for number, url in enumerate([*before, *(entry.url for entry in new)])}
    return sorted([*stay, *kept], key=lambda entry: list(place).index(entry.url))


def _chief(every: Sequence[Entry], old: HostConfig | None) -> Entry | None:
    """The one that is shown in full: the same as before, else the first that `init` would make a mode, or that loads models by itself.

    One that writes text comes before one that paints: there is more to tell of it.
    """
    was = old.mode[0].url if old is not None and old.mode else ""
    modes = [entry for entry in every if isinstance(entry, ModeConfig)]
    alone = [entry for entry in every if entry.engine in ("", *LOADERS)]
    ranked = sorted([*modes, *alone], key=lambda entry: entry.engine == "comfyui")
    return next((entry for entry in every if entry.url == was), next(iter(ranked), None))


def _as_mode(entry: Entry) -> ModeConfig:
    return ModeConfig(name=entry.name, title=entry.title, engine=entry.engine, url=entry.url, model=entry.model)


def _as_engine(entry: Entry) -> EngineConfig:
    return EngineConfig(
        name=entry.name, title=entry.title, engine=entry.engine, url=entry.url, model=entry.model, services=entry.services
    )
