"""Of a survey's facts: engines that run beside the modes, and the compose projects that containers belong to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from sovtui.config.care import word
from sovtui.config.check import service_problem
from sovtui.config.proposal import Item, Line, Table, line
from sovtui.core import serving
from sovtui.core.servers import Certainty, Server, Sign
from sovtui.core.survey import Facts

PROJECT = "com.docker.compose.project"
MOST_TOGETHER = 6
"""A project of more containers than this is more than an engine and what it needs."""
NO_MODE = ("ollama", "llamaswap", "litellm")
KEY = 'It asks for a key: `bearer = { env = "NAME" }` says where sovtui finds it.'
LIKELY, GUESS = Certainty.LIKELY, Certainty.GUESS


def runs_beside(server: Server, known: Mapping[str, str], floor: Collection[Server], modes: Sequence[Server] = ()) -> bool:
    """Whether it is worth looking at: this version can read it, and it is no mode."""
    if server.engine not in known or not (server.url or server.hidden):
        return False
    if in_force(server, floor) or any(one.service and one.service == server.service for one in modes):
        return True
    return bool(server.service) and (bool(server.side or server.cpu_sign) or server.router or server.engine in NO_MODE)


def in_force(server: Server, floor: Collection[Server]) -> bool:
    """Whether it is always on, and where it answers is known. What is not stands behind a `#`."""
    return not server.hidden and (server.running or server.at_boot or server in floor)


def engines(
    facts: Facts, host: str, servers: Sequence[Server], known: Mapping[str, str], floor: Collection[Server], taken: Iterable[str]
) -> list[Table]:
    """One `[[host.NAME.engine]]` per server that is no mode. `taken`: names that modes have."""
    names = {name.lower() for name in taken} | {"none"}
    urls: set[str] = set()
    tables = []
    for server in servers:
        if server.url not in urls or not server.url:  # two processes of one server
            urls.add(server.url)
            tables.append(_table(facts, host, server, known, server in floor, names))
    return tables


def _table(facts: Facts, host: str, server: Server, known: Mapping[str, str], of_floor: bool, names: set[str]) -> Table:
    model = "" if server.router or server.engine in NO_MODE else server.model.rpartition("/")[2].removesuffix(".gguf")
    base = name = word(server.name or model or server.engine, server.engine)
    count = 1
    while name.lower() in names:
        count += 1
        name = f"{base}-{count}"
    names.add(name.lower())
    shown = serving.NAMES[server.engine]
    force = in_force(server, [server] if of_floor else [])
    why = f"{shown} on the CPU: {server.cpu_sign.reason}" if server.cpu_sign else f"{shown}: {server.engine_sign.reason}"
    lines = [
        line("name", name, "from the service's name" if server.name else "from what it serves" if model else "what it is", LIKELY)
    ]
    if server.title and server.title not in (server.service, server.service.rpartition(":")[2]):
        lines.append(line("title", server.title[:60], "the unit's own description"))
    lines += [
        Line("engine", known[server.engine], replace(server.engine_sign, reason=why)),
        Line(
            "url",
            server.url or "http://127.0.0.1:PORT",
            Sign(f"not known: {server.hidden}", GUESS) if server.hidden else server.port_sign,
        ),
    ]
    if server.model and not server.router and server.engine not in (*NO_MODE, "comfyui"):
        lines.append(Line("model", server.model, server.model_sign))
    services = services_of(facts, server)
    if services is not None:
        lines.append(services)
    role = "An engine of no mode: it is never switched" + (": it is of the floor." if of_floor else ".")
    about = [role]
    if server.side:
        about.append(f"It serves {server.side} and generates nothing: {server.side_sign.reason}.")
    if server.router:
        some = f": {', '.join(server.models[:8])}{', …' if len(server.models) > 8 else ''}" if server.models else ""
        about.append(f"A router: it loads the models that are asked for, each in a server of its own{some}.")
    if not server.service:
        about.append(f"{server.place} No switch can start or stop it.".strip())
    if not force:
        about.append(
            "It does not run now, and nothing starts it." if not server.hidden else f"Its address is not known: {server.hidden}."
        )
    if server.key or any(answer.key and answer.port == server.port for answer in facts.answers):
        about.append(KEY)
    return Table(("host", host, "engine"), True, tuple(lines), tuple(one for one in about if one), force)


def services_of(facts: Facts, server: Server) -> Line | None:
    """What runs it: its unit, its container, or the compose project whose containers are there for it."""
    if not server.service:
        return None
    project, others = together(facts, server)
    if project and others and not service_problem(f"compose:{project}"):
        reason = f"its container {server.container} and {', '.join(others)} are this project"
        return Line("services", (Item(f"compose:{project}", Sign(reason, LIKELY)),), Sign(reason, LIKELY))
    where = f"of the compose project {project}" if project else "what serves it"
    return Line("services", (Item(server.service, Sign(where, server.engine_sign.certainty)),), server.engine_sign)


def together(facts: Facts, server: Server) -> tuple[str, tuple[str, ...]]:
    """Its compose project, and the project's other containers, if those are few and none of them is an engine too."""
    mine = facts.container_of(server.service)
    project = mine.labels.get(PROJECT, "") if mine is not None else ""
    if mine is None or not project:
        return "", ()
    others = [c for c in facts.containers if c.name != mine.name and c.labels.get(PROJECT) == project]
    engines_too = [c for c in others if serving.of_image(c.image, c.command, c.env).engine or serving.by_name(c.name, c.image)]
    return project, () if engines_too or len(others) >= MOST_TOGETHER else tuple(c.name for c in others)


def project_instead(facts: Facts, server: Server) -> Line | None:
    """For a mode: the whole project instead of the one container, for the operator to take up; a switch would stop all of it."""
    project, others = together(facts, server)
    if not project or not others or service_problem(f"compose:{project}"):
        return None
    item = Item(f"compose:{project}", Sign(f"instead: with {', '.join(others)}, which a switch then stops too", GUESS))
    return Line("services", (item,), Sign("", GUESS), False)
