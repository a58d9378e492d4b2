"""What serves models on a machine, put together from all that a survey saw: units, containers, processes, answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sovtui.core import matching, serving
from sovtui.core.server import FOREIGN, NO_SIGN, Certainty, Server, Sign, made_of, owner, stem
from sovtui.core.serving import DEFAULT_PORTS, IN_IMAGES, Serving
from sovtui.core.survey import ContainerFact, Facts, UnitFact

__all__ = ["NO_SIGN", "Certainty", "Server", "Servers", "Sign", "find", "stem"]


@dataclass(frozen=True, slots=True)
class Servers:
    """All of them, and what could not be placed."""

    found: tuple[Server, ...] = ()
    notes: tuple[str, ...] = ()
    owned: frozenset[str] = field(default_factory=frozenset)
    """Containers that units, routers or llama-swap run, by name."""


def find(facts: Facts) -> Servers:
    """Every engine on the machine, running or not."""
    wrapped = _wrapped(facts)
    owned = {container.name: unit for unit, containers in wrapped.items() for container in containers}
    found: list[Server] = []
    for unit in facts.units:
        if unit.name.endswith(".service") and not unit.transient and not FOREIGN.match(unit.name):
            found += _of_unit(unit, wrapped.get(unit.name, ()))
    for container in facts.containers:
        if container.name not in owned and (server := _of_container(container)):
            found.append(server)
    notes = matching.processes(facts, found, owned)
    notes += matching.answers(facts, found, owned)
    parts = matching.parts(facts, found)
    for index, server in enumerate(found):
        first = next(i for i, one in enumerate(found) if one.service == server.service)
        if server.service and first == index:
            held = [
                p.memory_bytes for p in facts.gpu_processes if p.memory_bytes and owner(facts, p.service, owned) == server.service
            ]
            found[index] = replace(server, held_bytes=sum(held) or None)
    return Servers(tuple(map(_judged, found)), tuple(dict.fromkeys(notes)), frozenset(owned) | parts)


def _judged(server: Server) -> Server:
    """With what its model's name tells, where nothing better does."""
    if server.side or server.router or server.side_sign or server.engine not in ("vllm", "sglang", "llamacpp", ""):
        return server
    kind = serving.by_model(server.model) or (serving.by_model(server.name) if not server.model else "")
    return replace(server, side=kind, side_sign=Sign("its model's name", Certainty.LIKELY)) if kind else server


# -- units -------------------------------------------------------------------------------------------------------------


def _wrapped(facts: Facts) -> dict[str, list[ContainerFact]]:
    """Units that run containers, and which, the engine first."""
    by_name = {container.name: container for container in facts.containers}
    found: dict[str, list[ContainerFact]] = {}
    for unit in facts.units:
        if not unit.name.endswith(".service") or _job(unit) or unit.transient:
            continue
        readings = readings_of(unit)
        # Only a unit that starts a container, ends with it or ends it, or is named like it, is its owner.
        told = [by_name[name] for reading in readings if holds(unit, reading) for name in reading.containers if name in by_name]
        told += [container for reading in readings if holds(unit, reading) for container in _of_project(facts, unit, reading)]
        planned = not told and any(reading.project and holds(unit, reading) for reading in readings)
        told += [container for name, container in facts.planned if planned and name == unit.name]
        told = list({container.name: container for container in told}.values())
        name = stem(unit.name)
        if not told and name in by_name and ("docker" in unit.text or "podman" in unit.text):
            told = [by_name[name]]
        if not told or serving.HELPER.search(name.replace(told[0].name, "")):
            continue
        engines = [container for container in told if _of_container(container)]
        if len(engines) < 2 or planned:  # several are switched one by one, once they exist
            found[unit.name] = [*engines, *(container for container in told if container not in engines)]
    return found


def holds(unit: UnitFact, reading: Serving) -> bool:
    """Whether the containers that a unit starts end when it is stopped."""
    return not reading.detached or unit.stops or unit.type in ("notify", "forking")


def _of_project(facts: Facts, unit: UnitFact, reading: Serving) -> list[ContainerFact]:
    project = reading.project
    if project is None:
        return []
    folder = project.folder or (project.files[0].rpartition("/")[0] if project.files else "") or unit.folder
    found = []
    for container in facts.containers:
        labels = container.labels
        mine = labels.get("com.docker.compose.project", "")
        where = labels.get("com.docker.compose.project.working_dir", "")
        placed = where == folder if where else mine == folder.rpartition("/")[2]
        same = mine and (mine == project.name or (not project.name and placed))
        if same and (not project.services or labels.get("com.docker.compose.service") in project.services):
            found.append(container)
    return found


def readings_of(unit: UnitFact) -> list[Serving]:
    """What each of its commands serves, those in its scripts included."""
    lines: list[Sequence[str]] = [*unit.commands, *unit.runs]
    found = [reading for argv in lines for reading in serving.several(argv, unit.env)]
    if any(reading.engine for reading in found):
        return found
    return found + [reading for line in unit.script for reading in serving.in_text(line, unit.env)]


def _job(unit: UnitFact) -> bool:
    """Whether it does something and ends."""
    return unit.started_by.endswith(".timer") or (unit.type == "oneshot" and not unit.remains)


def _of_unit(unit: UnitFact, containers: Sequence[ContainerFact]) -> list[Server]:
    if _job(unit):
        return []
    container = containers[0] if containers else None
    readings = readings_of(unit)
    engines: dict[tuple[str, int | None], Serving] = {}
    for reading in sorted(readings, key=lambda one: one.port is None):
        if not reading.engine or (reading.containers and not holds(unit, reading)):
            continue
        if reading.port is not None or not any(engine == reading.engine for engine, _ in engines):
            engines.setdefault((reading.engine, reading.port), reading)
    name = stem(unit.name)
    sign = Sign("its command line", Certainty.SURE)
    found = list(engines.values())
    if not found:
        inner = [(one, server) for one in containers if (server := _of_container(one)) is not None]
        found = [replace(of_words(one), engine=server.engine, container=one.name) for one, server in inner]
        sign = inner[0][1].engine_sign if inner else sign
    if not found:
        # What is known to do something else is no engine, whatever it is called.
        known = [reading for reading in readings if reading.other]
        engine = "" if known and len(known) == len(readings) and container is None else serving.by_name(name, unit.description)
        if not engine:
            return []
        told = next((r for r in readings if r.port or r.model), readings[0] if readings else Serving())
        model = told.model or serving.model_of(engine, unit.commands[0] if unit.commands else ())
        found, sign = [replace(told, engine=engine, model=model)], Sign("its name says so", Certainty.LIKELY)
    made = []
    for reading in found:
        if container is not None and reading is found[0] and container.name == (reading.container or container.name):
            reading = _with_container(reading, of_words(container), container.name)
        server = made_of(unit.name, reading, sign, unit.description)
        cpu = server.cpu_sign or _cpu_sign(unit.env, name, unit.description)
        if server.hidden and unit.unread:
            server = replace(server, hidden=f"{server.hidden}: {unit.unread[0]} is not for this login")
        made.append(
            replace(server, running=unit.running, at_boot=unit.at_boot, cpu_sign=cpu, unprotected=_unprotected(container))
        )
    return made


def _with_container(reading: Serving, inner: Serving, name: str) -> Serving:
    return replace(
        reading,
        container=name,
        port=reading.port or inner.port,
        model=reading.model or inner.model,
        gpu_ratio=reading.gpu_ratio or inner.gpu_ratio,
        cpu_only=reading.cpu_only or inner.cpu_only,
        context=reading.context or inner.context,
        side=reading.side or inner.side,
        side_by=reading.side_by or inner.side_by,
        router=reading.router and inner.router,
    )


# -- containers --------------------------------------------------------------------------------------------------------


def _of_container(container: ContainerFact) -> Server | None:
    reading = of_words(container)
    sign = Sign("its image and command", Certainty.SURE)
    if not reading.engine:
        engine = "" if reading.other else serving.by_name(container.name, container.image)
        if not engine:
            return None
        reading, sign = replace(reading, engine=engine), Sign("its name says so", Certainty.LIKELY)
    server = made_of(f"container:{container.name}", reading, sign, "")
    cpu = server.cpu_sign or _cpu_sign(container.env, container.name, container.image)
    if server.port_sign.certainty is Certainty.SURE:
        server = replace(server, port_sign=Sign("its published port, or its command", Certainty.SURE))
    boot = container.restart in ("always", "unless-stopped")
    return replace(
        server,
        running=container.running,
        at_boot=boot,
        cpu_sign=cpu,
        container=container.name,
        unprotected=_unprotected(container),
    )


def of_words(container: ContainerFact) -> Serving:
    """What its image and its command serve, at the port that is published."""
    found = serving.of_image(container.image, container.command, container.env)
    if not found.engine:
        inner = [serving.of_image(container.image, argv, container.env) for argv in container.runs]
        found = next((one for one in inner if one.engine), found)
    engine = found.engine or serving.by_name(container.name, container.image)
    inside = found.port or IN_IMAGES.get(engine) or DEFAULT_PORTS.get(engine)
    mapped = next((p.host for p in container.ports if p.inside == inside), None)
    if mapped is None and container.ports and not container.host_network:
        mapped = container.ports[0].host
    own = found.port or (IN_IMAGES.get(engine) if container.host_network else None)
    model = found.model or serving.model_of(engine, (container.image, *container.command), container.env)
    address = next((serving.elsewhere(p.address) for p in container.ports if p.host == mapped), "")
    return replace(found, port=mapped or own, model=model, address=address or (found.address if container.host_network else ""))


def _unprotected(container: ContainerFact | None) -> bool:
    if container is None:
        return False
    labels = container.labels
    return labels.get("com.centurylinklabs.watchtower.enable") != "false" and labels.get("watchdocker.skip") != "true"


# -- what both have ----------------------------------------------------------------------------------------------------


def _cpu_sign(env: object, *names: str) -> Sign:
    if isinstance(env, dict):
        for key in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
            if env.get(key) in ("-1", "none", "void"):
                return Sign(f"{key} is {env[key]}", Certainty.SURE)
    return Sign("its name says CPU", Certainty.LIKELY) if serving.names_cpu(*names) else NO_SIGN
