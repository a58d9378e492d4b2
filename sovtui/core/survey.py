"""What a survey of a machine found, as values: nothing here judges. Texts are clean; secrets were masked on the machine itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sovtui.core.clean import clean

_URL = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[1-9]\d{0,4}(?:/[A-Za-z0-9._~/-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and who looked at it."""

    hostname: str = ""
    user: str = ""
    python: str = ""
    memory_bytes: int = 0
    board: str = ""
    tailnet: str = ""


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory_bytes: int | None = None
    """None where the card tells none: it has none of its own."""


@dataclass(frozen=True, slots=True)
class UnitFact:
    """A service or a timer, `user:` before those of the user manager."""

    name: str
    description: str = ""
    active: str = ""
    enabled: str = ""
    type: str = ""
    commands: tuple[tuple[str, ...], ...] = ()
    script: tuple[str, ...] = ()
    """Telling lines of the scripts that it runs."""
    runs: tuple[tuple[str, ...], ...] = ()
    """Commands in those scripts that start an engine or a container."""
    files: tuple[str, ...] = ()
    """Those scripts."""
    user: str = ""
    remains: bool = False
    """It counts as active after its command has ended."""
    transient: bool = False
    """Made by `systemd-run`: once stopped there is nothing to start it again by."""
    folder: str = ""
    """Where it runs."""
    stops: bool = False
    """It has a command of its own to stop with."""
    unread: tuple[str, ...] = ()
    """Files with its variables that this login may not read."""
    env: Mapping[str, str] = field(default_factory=dict)
    starts: str = ""
    """Of a timer: the unit."""
    started_by: str = ""
    calendar: tuple[str, ...] = ()
    every: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading")

    @property
    def at_boot(self) -> bool:
        return self.enabled in ("enabled", "enabled-runtime")

    @property
    def text(self) -> str:
        """All that it runs, for looking for words in."""
        return "\n".join([*(" ".join(argv) for argv in self.commands), *self.script])


@dataclass(frozen=True, slots=True)
class PortMap:
    host: int
    inside: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class ContainerFact:
    name: str
    id: str = ""
    image: str = ""
    state: str = ""
    restart: str = ""
    command: tuple[str, ...] = ()
    runs: tuple[tuple[str, ...], ...] = ()
    """Commands in the text of its shell that start an engine."""
    ports: tuple[PortMap, ...] = ()
    host_network: bool = False
    gpu: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.state in ("running", "restarting", "paused")


@dataclass(frozen=True, slots=True)
class PortFact:
    port: int
    address: str = ""
    service: str = ""
    """Empty where it is of none, or (without `pid`) where this login may not see whose it is."""
    pid: int | None = None
    user: str = ""
    """Who has opened it."""
    by: str = ""
    """How its service was told where its process may not be looked into: `command` (which names the port), `user` (who has no other)."""


@dataclass(frozen=True, slots=True)
class AnswerFact:
    """What answers on a port, told by its own endpoints."""

    port: int
    kind: str
    """An engine, `openai` (something else with that API), `prometheus`, `alertmanager`, `node_exporter`."""
    url: str = ""
    models: tuple[str, ...] = ()
    by: str = ""
    """`metrics`, `owner` or `api`: how the kind was told."""
    key: bool = False
    """It asks for a key."""
    version: str = ""
    targets: tuple[Mapping[str, str], ...] = ()
    backup_series: tuple[Mapping[str, str], ...] = ()
    router: bool = False
    """It loads models that are asked for, in servers of its own."""
    children: tuple[int, ...] = ()
    """Their ports."""
    side: str | None = None
    """`embeddings` or `reranking`, empty where it generates, None where that is not told."""
    state: str = ""
    """`loading`, `asleep`; `elsewhere`: it serves below a path that is not known."""
    context: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessFact:
    pid: int
    command: tuple[str, ...] = ()
    service: str = ""
    user: str = ""
    of: int | None = None
    """The engine's process that started it: it is a part of that."""
    under: str = ""
    """`tmux`, `screen`, `cron`, … where such a one started it."""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    pid: int
    service: str = ""
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ScriptFact:
    """A script of the owner: one that takes a word, or one per mode."""

    path: str
    words: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    """`NAME.service`, `container:NAME`, `compose:FOLDER-OR-PROJECT:SERVICE`."""
    asks: str = ""
    """The line with which it asks something."""
    answer_env: Mapping[str, str] = field(default_factory=dict)
    """Variables that answer it."""
    answer_flag: str = ""
    """The option that answers it."""


@dataclass(frozen=True, slots=True)
class CronFact:
    where: str
    line: str
    runs: tuple[tuple[str, ...], ...] = ()
    """Engines that it starts."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one survey told."""

    machine: Machine = field(default_factory=Machine)
    gpus: tuple[Gpu, ...] = ()
    units: tuple[UnitFact, ...] = ()
    containers: tuple[ContainerFact, ...] = ()
    ports: tuple[PortFact, ...] = ()
    answers: tuple[AnswerFact, ...] = ()
    processes: tuple[ProcessFact, ...] = ()
    gpu_processes: tuple[GpuProcess, ...] = ()
    scripts: tuple[ScriptFact, ...] = ()
    cron: tuple[CronFact, ...] = ()
    planned: tuple[tuple[str, ContainerFact], ...] = ()
    """Containers that do not exist, and the units that would have compose make them."""
    templates: tuple[str, ...] = ()
    """Units that name an engine and of which no instance is known: `llama@.service`."""
    problems: tuple[str, ...] = ()
    """What could not be looked at, in sentences."""

    def unit(self, name: str) -> UnitFact | None:
        return next((unit for unit in self.units if unit.name == name), None)

    def container_of(self, service: str) -> ContainerFact | None:
        """The container of `container:NAME` or `container-id:ID`."""
        kind, _, name = service.partition(":")
        if kind == "container":
            return next((c for c in self.containers if c.name == name), None)
        if kind == "container-id":
            return next((c for c in self.containers if c.id.startswith(name)), None)
        return None


def gather(lines: Iterable[Mapping[str, Any]]) -> Facts:
    """The facts in a survey's lines. What is not understood is left out; every text is cleaned."""
    by: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        by.setdefault(str(line.get("t", "")), []).append(line)
    machine = by.get("machine", [{}])[0]
    return Facts(
        machine=Machine(
            hostname=_text(machine, "hostname"),
            user=_text(machine, "user"),
            python=_text(machine, "python"),
            memory_bytes=_whole(machine, "memory") or 0,
            board=_text(machine, "board"),
            tailnet=_text(machine, "tailnet"),
        ),
        gpus=tuple(Gpu(_text(g, "name"), _whole(g, "memory")) for g in by.get("gpu", ())),
        units=tuple({u.name: u for u in map(_unit, by.get("unit", ()))}.values()),
        containers=tuple(_container(c) for c in by.get("container", ())),
        ports=tuple(
            PortFact(port, _text(p, "address"), _text(p, "service"), _whole(p, "pid"), _text(p, "user"), _text(p, "by"))
            for p in by.get("port", ())
            if (port := _whole(p, "port"))
        ),
        answers=tuple(_answer(a, port) for a in by.get("answer", ()) if (port := _whole(a, "port"))),
        processes=tuple(
            ProcessFact(
                pid,
                _texts(p.get("command")),
                _text(p, "service"),
                _text(p, "user"),
                _whole(p, "of"),
                _text(p, "under"),
                _map(p.get("env")),
            )
            for p in by.get("process", ())
            if (pid := _whole(p, "pid"))
        ),
        gpu_processes=tuple(
            GpuProcess(pid, _text(p, "service"), _whole(p, "memory"))
            for p in by.get("gpu_process", ())
            if (pid := _whole(p, "pid"))
        ),
        scripts=tuple(_script(s) for s in by.get("script", ())),
        cron=tuple(
            CronFact(_text(c, "from"), _text(c, "line"), tuple(_texts(argv) for argv in _list(c.get("runs"))))
            for c in by.get("cron", ())
        ),
        planned=tuple((_text(c, "unit"), _container(c)) for c in by.get("planned", ())),
        templates=tuple(_text(t, "name") for t in by.get("template", ())),
        problems=tuple(f"{_text(p, 'what')}: {_text(p, 'problem')}" for p in by.get("looked", ()) if p.get("problem")),
    )


def _unit(raw: Mapping[str, Any]) -> UnitFact:
    commands = raw.get("commands")
    return UnitFact(
        name=_text(raw, "name"),
        description=_text(raw, "description"),
        active=_text(raw, "active"),
        enabled=_text(raw, "enabled"),
        type=_text(raw, "type"),
        commands=tuple(_texts(argv) for argv in commands) if isinstance(commands, list) else (),
        script=_texts(raw.get("script")),
        runs=tuple(_texts(argv) for argv in _list(raw.get("runs"))),
        files=_texts(raw.get("files")),
        user=_text(raw, "user"),
        remains=raw.get("remains") is True,
        transient=raw.get("transient") is True,
        folder=_text(raw, "folder"),
        stops=raw.get("stops") is True,
        unread=_texts(raw.get("unread")),
        env=_map(raw.get("env")),
        starts=_text(raw, "starts"),
        started_by=_text(raw, "started_by"),
        calendar=_texts(raw.get("calendar")),
        every=_texts(raw.get("every")),
    )


def _container(raw: Mapping[str, Any]) -> ContainerFact:
    ports = raw.get("ports")
    return ContainerFact(
        name=_text(raw, "name"),
        id=_text(raw, "id"),
        image=_text(raw, "image"),
        state=_text(raw, "state"),
        restart=_text(raw, "restart"),
        command=_texts(raw.get("command")),
        runs=tuple(_texts(argv) for argv in _list(raw.get("runs"))),
        ports=tuple(
            PortMap(host, inside, _text(p, "address"))
            for p in (ports if isinstance(ports, list) else ())
            if (host := _whole(p, "host")) and (inside := _whole(p, "inside"))
        ),
        host_network=raw.get("host_network") is True,
        gpu=raw.get("gpu") is True,
        labels=_map(raw.get("labels")),
        env=_map(raw.get("env")),
    )


def _answer(raw: Mapping[str, Any], port: int) -> AnswerFact:
    return AnswerFact(
        port=port,
        kind=_text(raw, "kind"),
        url=url if _URL.fullmatch(url := _text(raw, "url")) else f"http://127.0.0.1:{port}",
        models=_texts(raw.get("models")),
        by=_text(raw, "by"),
        key=raw.get("key") is True,
        version=_text(raw, "version"),
        targets=tuple(_map(row) for row in _list(raw.get("targets"))),
        backup_series=tuple(_map(row) for row in _list(raw.get("backup_series"))),
        router=raw.get("router") is True,
        children=tuple(n for n in _list(raw.get("children")) if isinstance(n, int) and not isinstance(n, bool)),
        side=_text(raw, "side") if isinstance(raw.get("side"), str) else None,
        state=_text(raw, "state"),
        context=_whole(raw, "context"),
    )


def _script(raw: Mapping[str, Any]) -> ScriptFact:
    return ScriptFact(
        _text(raw, "path"),
        _texts(raw.get("words")),
        _texts(raw.get("starts")),
        _text(raw, "asks"),
        _map(raw.get("answer_env")),
        _text(raw, "answer_flag"),
    )


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key, "")
    return clean(value, 400) if isinstance(value, str) else ""


def _whole(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(clean(item, 4000) for item in _list(value) if isinstance(item, str))


def _map(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        return {}
    return {clean(str(k), 100): clean(v, 400) for k, v in value.items() if isinstance(v, str)}
