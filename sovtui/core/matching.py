"""Which server a process or an answer belongs to: what runs and answers, given to the units and containers it is of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sovtui.core import serving
from sovtui.core.server import FOREIGN, NO_SIGN, Certainty, Server, Sign, made_of, owner
from sovtui.core.serving import NAMES, OTHERS, Serving
from sovtui.core.survey import AnswerFact, Facts, PortFact, ProcessFact

SURE, LIKELY = Certainty.SURE, Certainty.LIKELY
BY_HAND = "It was started by hand"
MODELS = ("vllm", "sglang", "llamacpp", "openai", *OTHERS)
"""Whose list of models is what they serve; the others list what they could load or route to."""


def processes(facts: Facts, found: list[Server], owned: Mapping[str, str]) -> list[str]:
    """Adds what runs: to the server of its unit or container, or as one of its own. Returns what could not be placed."""
    notes: list[str] = []
    for process in facts.processes:
        if process.of:
            continue  # a part of the engine that started it
        reading = serving.read(process.command, process.env)
        if not reading.engine:
            continue
        service, place = _home(facts, process.service, owned)
        if process.service.startswith("container-id:") and not service:
            notes.append(f"{serving.shown(reading.engine)} runs in a container that this login may not see.")
            continue
        index = _mine(found, service, reading)
        if index is not None and not (place and not service and facts.unit(found[index].service) is None):
            found[index] = _running(found[index], reading)
            continue
        unit = facts.unit(service)
        server = made_of(service, reading, Sign("a process of it runs", SURE), unit.description if unit is not None else "")
        at_boot = unit is not None and unit.at_boot
        if service or not any(not one.service and one.port == server.port for one in found):
            found.append(replace(server, running=True, at_boot=at_boot, place="" if service else place or _started(process)))
    return notes


def _home(facts: Facts, service: str, owned: Mapping[str, str]) -> tuple[str, str]:
    """The service that can be started and stopped for a process, or why there is none."""
    name = owner(facts, service, owned)
    unit = facts.unit(name)
    if FOREIGN.match(name):
        return "", f"{name.rpartition(':')[2]} has started it, which has more to run."
    if unit is not None and unit.transient:
        return "", f"It runs in {name}, made by `systemd-run`: once stopped, there is nothing to start it again by."
    return name, ""


def _started(process: ProcessFact) -> str:
    where = f" in {process.under}" if process.under in ("tmux", "screen") else ""
    who = f" by {process.under}" if process.under and not where and process.under not in ("sshd",) else ""
    return (
        f"It was started{who}, as {process.user}."
        if who
        else f"{BY_HAND}{where}{f', as {process.user}' if process.user else ''}."
    )


def _mine(found: Sequence[Server], service: str, reading: Serving) -> int | None:
    """The server of this service that a process is; None where it is another one, or there is none yet."""
    if not service:  # a login of its own (`sudo -u`) has taken it out of the group of the unit that runs it
        alike = [i for i, one in enumerate(found) if one.service and one.running and one.engine == reading.engine]
        return next((i for i in alike if found[i].port == reading.port and found[i].port_sign.certainty is SURE), None)
    mine = [i for i, one in enumerate(found) if one.service == service]
    if service.startswith("container:") or any(found[i].container for i in mine):
        return next((i for i in mine if found[i].engine == reading.engine), mine[0] if mine else None)
    for index in mine:
        if found[index].port == reading.port and reading.port:
            return index
    for index in mine:
        one = found[index]
        if (one.engine == reading.engine or one.engine_sign.certainty is not SURE) and (
            reading.port is None or one.port_sign.certainty is not SURE
        ):
            return index
    return None


def _running(old: Server, reading: Serving) -> Server:
    """With what the command line of its process tells, which is what a unit's variables and scripts came to."""
    seen = made_of(old.service, reading, Sign("a process of it runs", SURE), old.title)
    if old.container:
        port = old
    else:
        port = seen if reading.port is not None or reading.prefix or old.port_sign.certainty is not SURE else old
    sure = old.engine_sign.certainty is SURE
    return replace(
        old,
        running=True,
        engine=old.engine if sure else seen.engine,
        engine_sign=old.engine_sign if sure else seen.engine_sign,
        port=port.port,
        port_sign=port.port_sign,
        url=port.url,
        model=seen.model or old.model,
        model_sign=seen.model_sign or old.model_sign,
        cpu_sign=old.cpu_sign or seen.cpu_sign,
        gpu_ratio=seen.gpu_ratio or old.gpu_ratio,
        context=seen.context or old.context,
        side=seen.side or old.side,
        side_sign=seen.side_sign or old.side_sign,
        router=seen.router,
        key=seen.key or old.key,
        hidden=seen.hidden if port is seen else old.hidden,
    )


# -- what answers ------------------------------------------------------------------------------------------------------


def answers(facts: Facts, found: list[Server], owned: Mapping[str, str]) -> list[str]:
    """Adds what answers to whom it belongs: whose socket it is, else who runs and has that port. Returns what could not be placed."""
    notes: list[str] = []
    inner = {port for answer in facts.answers for port in answer.children}
    for answer in facts.answers:
        if (answer.kind not in NAMES and answer.kind not in OTHERS and answer.kind != "openai") or answer.port in inner:
            continue
        port = _port(facts, answer)
        service, place = _home(facts, port.service, owned)
        service = service or ("" if port.pid and not place else _published(facts, answer.port, owned))
        index = _answering(facts, found, answer, port, service)
        if index is not None:
            found[index] = _with(found[index], answer)
            continue
        unit = facts.unit(service)
        if unit is not None:
            blank = Server(unit.name, title=unit.description, running=True, at_boot=unit.at_boot, service_sign=_by(port))
            found.append(_with(blank, answer))
        elif service:
            found.append(_with(Server(service, running=True), answer))
        elif answer.kind == "openai":
            notes.append(
                f"Something with OpenAI's API answers on port {answer.port}; which unit or container it is is not known."
            )
        else:
            found.append(_with(Server("", running=True, place=place or _unseen(facts, port)), answer))
    return notes


def parts(facts: Facts, found: list[Server]) -> set[str]:
    """Takes out what a router or llama-swap has started: containers of theirs, and the processes without a service."""
    inner = {port for answer in facts.answers for port in answer.children}
    mine = [one for one in found if one.port in inner and not one.answered and (one.container or not one.service)]
    found[:] = [one for one in found if one not in mine]
    return {one.container for one in mine if one.container}


def _port(facts: Facts, answer: AnswerFact) -> PortFact:
    ports = [port for port in facts.ports if port.port == answer.port]
    return next((port for port in ports if port.pid), ports[0] if ports else PortFact(answer.port))


def _by(port: PortFact) -> Sign:
    """Why a service is the one that listens, where its process may not be looked into."""
    if port.by == "command":
        return Sign(f"a process of it names port {port.port}", LIKELY)
    return Sign(f"the only service of {port.user}, who listens there", LIKELY) if port.by == "user" else NO_SIGN


def _published(facts: Facts, port: int, owned: Mapping[str, str]) -> str:
    """The one running container that listens on a port, by what is published or by its own words; or its unit."""
    found = []
    for container in facts.containers:
        words = serving.of_image(container.image, container.command, container.env)
        if container.running and (
            any(one.host == port for one in container.ports) or (container.host_network and words.port == port)
        ):
            found.append(owned.get(container.name, f"container:{container.name}"))
    return found[0] if len(found) == 1 else ""


def _unseen(facts: Facts, port: PortFact) -> str:
    if port.pid:
        return f"{BY_HAND}{f', as {port.user}' if port.user else ''}: process {port.pid}."
    if port.user and port.user != facts.machine.user:
        return f"Its owner is not known: it runs as {port.user}, of whom this login may not see more."
    return "Its owner is not known."


def _answering(facts: Facts, found: Sequence[Server], answer: AnswerFact, port: PortFact, service: str) -> int | None:
    if service and any(one.service == service for one in found):
        mine = [i for i, one in enumerate(found) if one.service == service]
        fits = [i for i in mine if found[i].port == answer.port]
        fits += [i for i in mine if not found[i].answered and found[i].port_sign.certainty is not SURE]
        return fits[0] if fits else mine[0] if found[mine[0]].container and not found[mine[0]].answered else None
    listens = [i for i, one in enumerate(found) if one.running and one.port == answer.port]
    listens.sort(key=lambda i: (found[i].engine != answer.kind, not found[i].service))
    if listens and not (service and not found[listens[0]].container):
        return listens[0]
    if service or port.pid:
        return None
    return _unknown(facts, found, answer, port)


def _unknown(facts: Facts, found: Sequence[Server], answer: AnswerFact, port: PortFact) -> int | None:
    """Of a socket whose process may not be seen: the one running unit of its user that can be meant."""
    candidates = []
    for index, one in enumerate(found):
        unit = facts.unit(one.service)
        if unit is None or not one.running or one.answered or one.port_sign.certainty is SURE:
            continue
        if one.engine in (answer.kind, "") and (not port.user or (unit.user or "root") == port.user):
            candidates.append(index)
    return candidates[0] if len(candidates) == 1 else None


def _with(server: Server, answer: AnswerFact) -> Server:
    how = {"metrics": f"its /metrics on port {answer.port}", "owner": f"/v1/models on port {answer.port}"}
    reason = how.get(answer.by, f"what answers on port {answer.port}")
    told = answer.kind in NAMES or answer.kind in OTHERS
    router = answer.router or (server.router and not answer.models)
    listed = answer.models and answer.kind in MODELS and not router
    side, side_sign = server.side, server.side_sign
    if answer.side and not side:
        side, side_sign = answer.side, Sign("its own answers", SURE)
    elif answer.side == "" and not side:
        side_sign = Sign("it generates", SURE)
    hidden = answer.state == "elsewhere"
    sure = Sign("it answers there", SURE)
    return replace(
        server,
        running=True,
        answered=True,
        engine=answer.kind if told else server.engine,
        engine_sign=Sign(reason, SURE) if told else server.engine_sign,
        port=answer.port,
        port_sign=sure,
        url=server.url if hidden and server.url else answer.url or f"http://127.0.0.1:{answer.port}",
        model="" if router else answer.models[0] if listed else server.model,
        model_sign=Sign("/v1/models lists it", SURE) if listed else server.model_sign,
        side="" if router else side,
        side_sign=side_sign,
        router=router,
        key=server.key or answer.key,
        context=answer.context or server.context,
        models=answer.models if router or answer.kind in ("ollama", "llamaswap") else (),
        hidden="it answers below a path (`--api-prefix`) that could not be read" if hidden and server.url.count("/") < 3 else "",
    )
