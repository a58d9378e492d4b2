"""Of the servers that a survey found: those that are modes, a table for each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sovtui.config import beside, memory, scripts
from sovtui.config.care import word
from sovtui.config.proposal import Item, Line, Table, line
from sovtui.core import serving
from sovtui.core.servers import Certainty, Server, Servers, Sign
from sovtui.core.survey import Facts

SURE, LIKELY, GUESS = Certainty.SURE, Certainty.LIKELY, Certainty.GUESS
_FILLING = re.compile(
    r"(?i)(?<![a-z0-9])(?:vllm|sglang|llama[-_.]?cpp|llama[-_]server|comfyui|engine|server|serve|llm)(?![a-z0-9])"
)


def no_mode(server: Server) -> bool:
    """What only routes, loads what is asked for, or generates nothing: no mode starts it."""
    return server.engine in beside.NO_MODE or server.router or bool(server.side)


@dataclass
class Modes:
    """The modes of one host."""

    facts: Facts
    host: str
    known: Mapping[str, str]
    """Engines of the configuration by the survey's names."""
    servers: Sequence[Server]
    """What is a mode, in the order of their keys."""
    every: Servers
    names: set[str] = field(default_factory=lambda: {"none"})
    used: set[str] = field(default_factory=set)
    """Scripts of the owner that are of a mode."""

    def tables(self) -> list[Table]:
        tables = [self._table(server, number) for number, server in enumerate(self.servers, start=1)]
        services = frozenset(s.service for s in self.every.found if s.service)
        return tables + scripts.more_modes(self.facts, self.host, self.used, services, self.names, self._owned())

    def _owned(self) -> dict[str, str]:
        """Units by the containers that they run."""
        return {s.container: s.service for s in self.every.found if s.container and ":" not in s.service}

    def _table(self, server: Server, number: int) -> Table:
        twins = [one for one in self.servers if server.url and one.url == server.url and one is not server]
        clear = _clear(server, twins)
        force = clear and not server.hidden and bool(server.url)
        name, sign, own = self._name(server)
        lines = [Line("name", name, sign)]
        if number <= 9 and server.service:
            state = "it runs now" if server.running else "in the order of names"
            lines.append(line("key", str(number), f"any unused key; {state}", LIKELY))
        lines += _title(server, twins)
        lines += self._engine(server, clear, force)
        lines += self._services(server)
        lines += memory.needs(self.facts, server)
        if own is not None and server.service:
            self.used.add(own.script.path)
            lines += scripts.lines(own)
        about = [] if server.service else [f"{server.place} Shown, but no switch can start or stop it.".strip()]
        if server.key:
            about.append(beside.KEY)
        return Table(("host", self.host, "mode"), True, tuple(lines), tuple(about), bool(server.service) or force)

    def _name(self, server: Server) -> tuple[str, Sign, scripts.Own | None]:
        """Its name, why, and the owner's script for it."""
        model = re.sub(r"\.(?:gguf|llamafile|safetensors)\Z", "", server.model.rpartition("/")[2])
        bare = server.name or model or f"port-{server.port}"
        instance = server.name.partition("@")[2].replace("\\x2d", "-")
        name = word(instance) if instance and word(instance) != "it" else word(_FILLING.sub("-", bare), bare)
        sign = Sign("from the service's name" if server.name else "from what it serves", LIKELY)
        own = scripts.of_mode(self.facts, server, name, self.servers, self._owned())
        if own is not None and own.name and word(own.name) not in self.names:
            name, sign = word(own.name), Sign(f"{own.script.path} calls it so", LIKELY if own.sure else GUESS)
        base, count = name, 1
        while name in self.names:
            count += 1
            name = f"{base}-{count}"
        self.names.add(name)
        return name, sign, own

    def _engine(self, server: Server, clear: bool, force: bool) -> list[Line]:
        """Engine, address and model; what is not `force` stands behind a `#`."""
        engine = self.known.get(server.engine, "")
        shown = serving.shown(server.engine) or "an engine that is not known"
        lines: list[Line] = []
        if engine:
            lines.append(
                Line("engine", engine, replace(server.engine_sign, reason=f"{shown}: {server.engine_sign.reason}"), force)
            )
        elif server.engine:
            reason = f"{shown}, which this version does not read: whether it is up is taken from the unit"
            lines.append(line("engine", server.engine, reason, SURE, active=False))
        if server.hidden:
            reason = f"its address is not known: {server.hidden}"
            lines.append(line("url", server.url or "http://127.0.0.1:PORT", reason, GUESS, active=False))
        elif server.url:
            reason = server.port_sign.reason if clear else "another mode has this address too, and nothing distinguishes them"
            lines.append(Line("url", server.url, replace(server.port_sign, reason=reason), force))
        if server.model and not server.router:
            lines.append(Line("model", server.model, server.model_sign))
        elif engine and not no_mode(server):
            reason = "its command line does not say; what `/v1/models` lists when it runs"
            lines.append(line("model", "", reason, GUESS, active=False))
        return lines

    def _services(self, server: Server) -> list[Line]:
        if not server.service:
            return []
        runs = f"it runs the container {server.container}" if server.container and ":" not in server.service else "what serves it"
        why = server.service_sign or Sign(runs, server.engine_sign.certainty)
        instead = beside.project_instead(self.facts, server)
        return [Line("services", (Item(server.service, why),), why), *([instead] if instead else [])]


def _clear(server: Server, twins: Sequence[Server]) -> bool:
    """Whether something tells it from the other modes at its address: the model, or services of their own."""
    if all(one.model and server.model and one.model != server.model for one in twins):
        return True
    sure = all(one.model or one.port_sign.certainty is SURE for one in (server, *twins))
    return sure and all(one.service for one in (server, *twins))


def _title(server: Server, twins: Sequence[Server]) -> list[Line]:
    own = server.title if server.title not in (server.service, server.service.rpartition(":")[2]) else ""
    apart = _apart(server, twins)
    if apart and (not own or any(one.title == own for one in twins)):
        reason = f"what tells it from {', '.join(one.name for one in twins[:3])}"
        return [line("title", f"{own}: {apart}"[:60] if own else apart, reason, LIKELY)]
    return [line("title", own[:60], "the unit's own description")] if own else []


def _apart(server: Server, twins: Sequence[Server]) -> str:
    """What differs between modes at one address: model, context, share of the memory."""
    found = []
    model = server.model.rpartition("/")[2]
    if model and any(o.model != server.model for o in twins):
        found.append(model)
    if server.context and any(o.context and o.context != server.context for o in twins):
        found.append(f"{server.context:,} tokens of context".replace(",", " "))
    if server.gpu_ratio and any(o.gpu_ratio and o.gpu_ratio != server.gpu_ratio for o in twins):
        found.append(f"{server.gpu_ratio:.0%} of the GPU")
    return ", ".join(found)[:60]
