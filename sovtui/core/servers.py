"""What serves models on a machine, put together from all that a survey saw: units, containers, processes, answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sovtui.core import serving
from sovtui.core.serving import DEFAULT_PORTS, NAMES, Serving
from sovtui.core.survey import AnswerFact, ContainerFact, Facts, UnitFact


class Certainty(StrEnum):
    """How sure something is."""

    SURE = "sure"
    """Seen: it answers so, a command line says so."""
    LIKELY = "likely"
    """Told by a name, a default, an estimate."""
    GUESS = "guess"
    """Could as well be otherwise."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Why something is thought to be so, and how sure that is."""

    reason: str
    certainty: Certainty

    def __bool__(self) -> bool:
        return bool(self.reason)


NO_SIGN = Sign("", Certainty.GUESS)


@dataclass(frozen=True, slots=True)
class Server:
    """Something that serves models."""

    service: str
    """`NAME.service`, `user:NAME.service`, `container:NAME`; empty for a process of none of them."""
    engine: str = ""
    engine_sign: Sign = NO_SIGN
    title: str = ""
    running: bool = False
    at_boot: bool = False
    port: int | None = None
    port_sign: Sign = NO_SIGN
    url: str = ""
    model: str = ""
    model_sign: Sign = NO_SIGN
    cpu_sign: Sign = NO_SIGN
    """That it uses no accelerator."""
    gpu_ratio: float | None = None
    held_bytes: int | None = None
    """GPU memory that its processes hold now."""
    container: str = ""
    """The container that a unit runs."""
    unprotected: bool = False
    """A container that an updater may recreate."""

    @property
    def name(self) -> str:
        """The service without prefix and suffix."""
        return stem(self.service)


@dataclass(frozen=True, slots=True)
class Servers:
    """All of them, and what could not be placed."""

    found: tuple[Server, ...] = ()
    notes: tuple[str, ...] = ()
    owned: frozenset[str] = field(default_factory=frozenset)
    """Containers that units run, by name."""


def stem(service: str) -> str:
    """`vllm-qwen36` of `user:vllm-qwen36.service`."""
    name = service.rpartition(":")[2]
    return name.removesuffix(".service").removesuffix(".timer")


def find(facts: Facts) -> Servers:
    """Every engine on the machine, running or not."""
    wrapped = _wrapped(facts)
    found: dict[str, Server] = {}
    for unit in facts.units:
        if unit.name.endswith(".service") and (server := _of_unit(unit, wrapped.get(unit.name))):
            found[unit.name] = server
    owned = {container.name: unit for unit, container in wrapped.items()}
    for container in facts.containers:
        if container.name not in owned and (server := _of_container(container)):
            found[server.service] = server
    loose, notes = _of_processes(facts, found, owned)
    notes += _answered(facts, found, loose, owned)
    for name, server in found.items():
        held = [p.memory_bytes for p in facts.gpu_processes if p.memory_bytes and owner(facts, p.service, owned) == name]
        found[name] = replace(server, held_bytes=sum(held) or None)
    return Servers((*found.values(), *loose), tuple(notes), frozenset(owned))


def owner(facts: Facts, service: str, owned: dict[str, str]) -> str:
    """The service that a process belongs to: a container's unit, else the container, else the unit."""
    container = facts.container_of(service)
    if container is not None:
        return owned.get(container.name, f"container:{container.name}")
    return "" if service.startswith("container-id:") else service


def _wrapped(facts: Facts) -> dict[str, ContainerFact]:
    """Units that run a container, and which."""
    by_name = {container.name: container for container in facts.containers}
    found = {}
    for unit in facts.units:
        if not unit.name.endswith(".service"):
            continue
        told = [reading.container for reading in _readings(unit) if reading.container]
        docker = "docker" in unit.text or "podman" in unit.text
        # Only a unit that starts the container in the foreground, or is named like it, is its owner.
        name = next((name for name in told if name in by_name), stem(unit.name) if docker else "")
        if name in by_name and not serving.HELPER.search(stem(unit.name).replace(name, "")) and not unit.started_by:
            found[unit.name] = by_name[name]
    return found


def _readings(unit: UnitFact) -> list[Serving]:
    lines: list[Sequence[str]] = [*unit.commands, *(line.split() for line in unit.script)]
    return [serving.read(argv) for argv in lines]


def _of_unit(unit: UnitFact, container: ContainerFact | None) -> Server | None:
    readings = _readings(unit)
    name = stem(unit.name)
    reading = next((r for r in readings if r.engine), None)
    if unit.started_by or (unit.type == "oneshot" and container is None and (reading is None or not reading.container)):
        return None  # a job
    if reading is None and container is not None:
        reading = replace(_of_words(container), container=container.name)
        reading = reading if reading.engine else None
    if reading is not None:
        sign = Sign("its command line", Certainty.SURE)
    else:
        engine = serving.by_name(name, unit.description)
        if not engine:
            return None
        told = next((r for r in readings if r.port or r.model), readings[0] if readings else Serving())
        reading = replace(
            told, engine=engine, model=told.model or serving.model_of(engine, unit.commands[0] if unit.commands else ())
        )
        sign = Sign("its name says so", Certainty.LIKELY)
    if container is not None:
        inner = _of_words(container)
        reading = replace(
            reading,
            container=container.name,
            port=reading.port or inner.port,
            model=reading.model or inner.model,
            gpu_ratio=reading.gpu_ratio or inner.gpu_ratio,
            cpu_only=reading.cpu_only or inner.cpu_only,
        )
    server = _server(unit.name, reading, sign, unit.description)
    cpu = server.cpu_sign or _cpu_sign(unit.env, name, unit.description)
    return replace(server, running=unit.running, at_boot=unit.at_boot, cpu_sign=cpu, unprotected=_unprotected(container))


def _of_container(container: ContainerFact) -> Server | None:
    reading = _of_words(container)
    sign = Sign("its image and command", Certainty.SURE)
    if not reading.engine:
        engine = serving.by_name(container.name, container.image)
        if not engine:
            return None
        reading, sign = replace(reading, engine=engine), Sign("its name says so", Certainty.LIKELY)
    server = _server(f"container:{container.name}", reading, sign, "")
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


def _of_words(container: ContainerFact) -> Serving:
    argv = (container.image, *container.command)
    found = serving.read(argv)
    inside = found.port or DEFAULT_PORTS.get(found.engine or serving.by_name(container.name, container.image))
    mapped = next((p.host for p in container.ports if p.inside == inside), None)
    if mapped is None and container.ports and not container.host_network:
        mapped = container.ports[0].host
    model = found.model or serving.model_of(found.engine or serving.by_name(container.name, container.image), argv)
    address = next((serving.elsewhere(p.address) for p in container.ports if p.host == mapped), "")
    return replace(
        found, port=mapped or found.port, model=model, address=address or (found.address if container.host_network else "")
    )


def _unprotected(container: ContainerFact | None) -> bool:
    if container is None:
        return False
    labels = container.labels
    return labels.get("com.centurylinklabs.watchtower.enable") != "false" and labels.get("watchdocker.skip") != "true"


def _cpu_sign(env: object, *names: str) -> Sign:
    if isinstance(env, dict):
        for key in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
            if env.get(key) in ("-1", "none", "void"):
                return Sign(f"{key} is {env[key]}", Certainty.SURE)
    return Sign("its name says CPU", Certainty.LIKELY) if serving.names_cpu(*names) else NO_SIGN


def _server(service: str, reading: Serving, sign: Sign, title: str) -> Server:
    port, port_sign = reading.port, Sign("its command line", Certainty.SURE)
    if port is None:
        port = DEFAULT_PORTS.get(reading.engine)
        port_sign = Sign(f"{NAMES.get(reading.engine, 'its')} default port", Certainty.LIKELY) if port else NO_SIGN
    return Server(
        service,
        reading.engine,
        sign,
        title,
        port=port,
        port_sign=port_sign,
        url=f"{'https' if reading.tls else 'http'}://{reading.address or '127.0.0.1'}:{port}" if port else "",
        model=reading.model,
        model_sign=Sign("its command line", Certainty.LIKELY) if reading.model else NO_SIGN,
        cpu_sign=Sign(f"`{reading.cpu_only}` in its command line", Certainty.SURE) if reading.cpu_only else NO_SIGN,
        gpu_ratio=reading.gpu_ratio,
        container=reading.container,
    )


def _of_processes(facts: Facts, found: dict[str, Server], owned: dict[str, str]) -> tuple[list[Server], list[str]]:
    """Engines that run under a unit whose command line did not say so, or under no unit at all."""
    loose: dict[int | None, Server] = {}
    notes: list[str] = []
    for process in facts.processes:
        reading = serving.read(process.command)
        if not reading.engine:
            continue
        name = owner(facts, process.service, owned)
        sign = Sign("a process of it runs", Certainty.SURE)
        if name in found:
            old = found[name]
            seen = _server(name, reading, sign, old.title)
            told = Certainty.SURE not in (old.port_sign.certainty,) and reading.port is not None
            found[name] = replace(
                old,
                running=True,
                port=seen.port if told else old.port,
                port_sign=seen.port_sign if told else old.port_sign,
                url=seen.url if told else old.url,
                model=old.model or seen.model,
                model_sign=old.model_sign or seen.model_sign,
                gpu_ratio=old.gpu_ratio or seen.gpu_ratio,
            )
        elif name and (unit := facts.unit(name)) is not None:
            found[name] = replace(_server(name, reading, sign, unit.description), running=True, at_boot=unit.at_boot)
        elif process.service.startswith("container-id:"):
            notes.append(f"{NAMES[reading.engine]} runs in a container that this login may not see.")
        elif not name:
            loose.setdefault(reading.port, replace(_server("", reading, sign, ""), running=True))
    return list(loose.values()), list(dict.fromkeys(notes))


def _answered(facts: Facts, found: dict[str, Server], loose: list[Server], owned: dict[str, str]) -> list[str]:
    """What answers, given to whom it belongs: whose socket it is, else who runs and has that port."""
    notes = []
    sockets = {port.port: owner(facts, port.service, owned) for port in facts.ports if port.service}
    for answer in facts.answers:
        if answer.kind not in NAMES and answer.kind != "openai":
            continue
        name = sockets.get(answer.port, "")
        if name not in found:
            name = next((s.service for s in found.values() if s.running and s.port == answer.port), "")
        if name:
            found[name] = _with(found[name], answer)
            continue
        mine = [i for i, server in enumerate(loose) if server.port == answer.port]
        if mine:
            loose[mine[0]] = _with(loose[mine[0]], answer)
        elif (unit := facts.unit(sockets.get(answer.port, ""))) is not None:
            blank = Server(unit.name, title=unit.description, running=True, at_boot=unit.at_boot)
            found[unit.name] = _with(blank, answer)
        elif answer.kind in NAMES:
            loose.append(_with(Server("", running=True), answer))
        else:
            notes.append(
                f"Something with OpenAI's API answers on port {answer.port}; which unit or container it is could not be told."
            )
    return notes


def _with(server: Server, answer: AnswerFact) -> Server:
    how = {"metrics": f"its /metrics on port {answer.port}", "owner": f"/v1/models on port {answer.port}"}
    reason = how.get(answer.by, f"what answers on port {answer.port}")
    told = answer.kind in NAMES
    return replace(
        server,
        running=True,
        engine=answer.kind if told else server.engine,
        engine_sign=Sign(reason, Certainty.SURE) if told else server.engine_sign,
        port=answer.port,
        port_sign=Sign("it answers there", Certainty.SURE),
        url=answer.url or f"http://127.0.0.1:{answer.port}",
        model=answer.models[0] if answer.models and answer.kind in ("vllm", "sglang", "llamacpp", "openai") else server.model,
        model_sign=Sign("/v1/models lists it", Certainty.SURE) if answer.models else server.model_sign,
    )
