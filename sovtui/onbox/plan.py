"""A request as the client sends it, checked strictly: nothing that is not understood is ever acted on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from sovtui.onbox.names import BadRequest, check_id, check_service

WHO_CAN = {"load": ("ollama", "llamaswap"), "unload": ("ollama", "llamaswap"), "pin": ("ollama",), "free": ("comfyui",)}
"""What is asked of an engine that loads and unloads by itself, and which can be asked."""
MODEL_KINDS = tuple(WHO_CAN)
KINDS = ("switch", "drop-caches", "backup", "restart", *MODEL_KINDS)
NONE = "none"
"""The mode in which nothing runs."""
_WORD = re.compile(r"[^\x00-\x1f\x7f]{0,300}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_SWITCH = (
    "to", "drop_caches", "ready_timeout_s", "stop_timeout_s", "rollback", "hold", "drain_timeout_s", "reserve_bytes", "memory",
    "stuck",
)  # fmt: skip
_MODEL = ("engine", "model", "keep_s", "needs_bytes", "timeout_s", "memory", "reserve_bytes")
_MODE = (
    "name", "services", "url", "engine", "model", "may_stay", "needs_bytes", "weights_bytes", "loader_factor", "switch", "switch_env",
    "switch_timeout_s", "proof",
)  # fmt: skip


@dataclass(frozen=True)
class ModePlan:
    name: str
    services: tuple[str, ...] = ()
    url: str = ""
    engine: str = ""
    model: str = ""
    may_stay: tuple[str, ...] = ()
    """Services of other modes, or tenants, that need not be stopped for this one."""
    needs: float | None = None
    weights: float | None = None
    loader_factor: float = 1.0
    command: tuple[str, ...] = ()
    """The owner's own way to this mode; empty: its services are started."""
    env: tuple[tuple[str, str], ...] = ()
    command_timeout: float = 900.0
    proof: bool = False
    """A completion of one token must succeed."""


Named = Union[bool, tuple[str, ...]]


def covers(agreed: Named, names: Iterable[str]) -> bool:
    return agreed is True or set(names) <= set(agreed or ())


@dataclass(frozen=True)
class Consent:
    """What the operator is asked, or has said yes to. Of what is named: these alone, or True for whatever it may be."""

    busy: Named = ()
    """That what these modes work on is lost or slowed down."""
    not_fitting: bool = False
    stuck: bool = False
    """That the mode itself is stopped, ended and started anew, should it hang."""
    takes: Named = ()
    """That other units stop with what is stopped, or start anew with what is, each as `taking.named` names it."""
    beside: bool = False
    """That a user of whom nobody knows whether he is an operator runs an action too."""

    def told(self) -> dict[str, Any]:
        """As it is in a request, and in the receipt of one that asks."""
        return {key: value for key, value in vars(self).items() if value}


@dataclass(frozen=True)
class Request:
    """One wish, whole."""

    id: str
    kind: str
    target: str
    who: str
    host: str
    modes: tuple[ModePlan, ...] = ()
    floor: tuple[str, ...] = ()
    to: str = ""
    drop_caches: bool = True
    rollback: bool = True
    ready_timeout: float = 900.0
    stop_timeout: float = 120.0
    service: str = ""
    tenants: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    drain_timeout: float = 0.0
    reserve: float = 0.0
    memory: str = "auto"
    stuck: str = ""
    """Why whoever has watched the mode that is wanted says that it hangs or has died; empty where nobody says so."""
    consent: Consent = Consent()
    engine: ModePlan | None = None
    """The engine that is to load, unload or free."""
    model: str = ""
    keep: float | None = None
    """How long the model shall stay without a request, in seconds; None: as the engine does by itself."""
    needs: float | None = None
    """What the model takes at least, in bytes."""
    left: tuple[str, ...] = ()
    """Held by an action that was lost, of those that this one holds too. Set by the runner, never by a client."""
    owed: tuple[str, ...] = ()
    """What went down with the mode that is wanted now when it was left, and has not run since. Set by the runner too."""

    def mode(self, name: str) -> ModePlan:
        """The mode of that name; `none` has no services."""
        for mode in self.modes:
            if mode.name == name:
                return mode
        return ModePlan(name)


def parse(raw: Any) -> Request:
    """The request, or BadRequest."""
    if not isinstance(raw, Mapping):
        raise BadRequest("the request is not an object")
    if raw.get("v") != 1:
        raise BadRequest(f"version {raw.get('v')!r} of the request is not understood")
    kind = raw.get("kind")
    if kind not in KINDS:
        raise BadRequest(f"{kind!r} is not an action")
    plan = raw.get("plan", {})
    if not isinstance(plan, Mapping):
        raise BadRequest("the plan is not an object")
    _known(raw, ("v", "id", "kind", "target", "who", "host", "plan", "consent"), "request")
    allowed = {"switch": _SWITCH, "drop-caches": (), **dict.fromkeys(MODEL_KINDS, _MODEL)}
    _known(plan, (*allowed.get(kind, ("service",)), "modes", "floor", "tenants"), "plan")
    modes = tuple(_mode(item) for item in _list(plan.get("modes", []), "modes"))
    names = [mode.name for mode in modes]
    if len(set(names)) != len(names) or NONE in names:
        raise BadRequest("two modes have the same name, or one is called none")
    request = Request(
        id=check_id(raw.get("id")),
        kind=kind,
        target=_text(raw.get("target", ""), "target"),
        who=_text(raw.get("who", ""), "who"),
        host=_text(raw.get("host", ""), "host"),
        modes=modes,
        floor=_services(plan.get("floor", []), "floor"),
        to=_text(plan.get("to", ""), "to"),
        drop_caches=_flag(plan.get("drop_caches", True), "drop_caches"),
        rollback=_flag(plan.get("rollback", True), "rollback"),
        ready_timeout=_seconds(plan.get("ready_timeout_s", plan.get("timeout_s", 900.0)), "ready_timeout_s"),
        stop_timeout=_seconds(plan.get("stop_timeout_s", 120.0), "stop_timeout_s"),
        service=check_service(plan.get("service")) if kind in ("backup", "restart") else "",
        tenants=_services(plan.get("tenants", []), "tenants"),
        hold=_services(plan.get("hold", []), "hold"),
        drain_timeout=_amount(plan.get("drain_timeout_s", 0.0), "drain_timeout_s"),
        reserve=_amount(plan.get("reserve_bytes", 0.0), "reserve_bytes"),
        memory=_word(plan.get("memory", "auto"), ("auto", "unified", "discrete"), "memory"),
        stuck=_text(plan.get("stuck", ""), "stuck"),
        consent=_consent(raw.get("consent", {})),
        engine=_mode(plan.get("engine")) if kind in MODEL_KINDS else None,
        model=_text(plan.get("model", ""), "model"),
        keep=None if plan.get("keep_s") is None else _amount(plan["keep_s"], "keep_s"),
        needs=None if plan.get("needs_bytes") is None else _amount(plan["needs_bytes"], "needs_bytes"),
    )
    if request.engine is not None:
        if not request.engine.url or request.engine.engine not in WHO_CAN[kind]:
            raise BadRequest(f"{request.engine.name} cannot be asked to {kind}")
        if bool(request.model) is (kind == "free"):
            raise BadRequest(f"a {kind} without a model" if kind != "free" else "all is freed, not one model")
    both = [x for x in request.hold if x in request.floor or x in request.tenants or any(x in m.services for m in modes)]
    if both:
        raise BadRequest(f"{both[0]} is held and is also of a mode, a tenant or of the floor")
    if kind == "switch":
        if request.to != NONE and request.to not in names:
            raise BadRequest(f"there is no mode {request.to!r}")
        if request.to != NONE and not request.mode(request.to).services:
            raise BadRequest(f"mode {request.to} has no services")
    return request


def _known(raw: Mapping[str, Any], keys: tuple[str, ...], what: str) -> None:
    for key in raw:
        if key not in keys:
            raise BadRequest(f"the {what} has a key {key!r} that is not understood")


def _mode(raw: Any) -> ModePlan:
    if not isinstance(raw, Mapping):
        raise BadRequest("a mode is not an object")
    _known(raw, _MODE, "mode")
    name = _text(raw.get("name"), "name")
    url = _text(raw.get("url", ""), "url")
    if not name:
        raise BadRequest("a mode has no name")
    if url and not url.startswith(("http://", "https://")):
        raise BadRequest(f"the url of mode {name} is neither http nor https")
    engine, model = _text(raw.get("engine", ""), "engine"), _text(raw.get("model", ""), "model")
    command = tuple(_argument(item) for item in _list(raw.get("switch", []), "switch"))
    services = _services(raw.get("services", []), "services")
    if command and not services:
        raise BadRequest(f"mode {name} has a switch command but no services: nothing could prove what it did")
    return ModePlan(
        name,
        services,
        url,
        engine,
        model,
        may_stay=_services(raw.get("may_stay", []), "may_stay"),
        needs=None if raw.get("needs_bytes") is None else _amount(raw["needs_bytes"], "needs_bytes"),
        weights=None if raw.get("weights_bytes") is None else _amount(raw["weights_bytes"], "weights_bytes"),
        loader_factor=_amount(raw.get("loader_factor", 1.0), "loader_factor"),
        command=command,
        env=_environment(raw.get("switch_env", {})),
        command_timeout=_seconds(raw.get("switch_timeout_s", 900.0), "switch_timeout_s"),
        proof=_flag(raw.get("proof", False), "proof"),
    )


def _consent(raw: Any) -> Consent:
    if not isinstance(raw, Mapping):
        raise BadRequest("the consent is not an object")
    _known(raw, ("busy", "not_fitting", "stuck", "takes", "beside"), "consent")
    busy, takes = (_named(raw.get(key, False), key) for key in ("busy", "takes"))
    not_fitting, stuck, beside = (_flag(raw.get(key, False), key) for key in ("not_fitting", "stuck", "beside"))
    return Consent(busy, not_fitting, stuck, takes, beside)


def _named(value: Any, what: str) -> Named:
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)) or len(value) > 2000:
        raise BadRequest(f"{what} names nothing")
    return tuple(_text(item, what) for item in value)


def _environment(raw: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, Mapping) or len(raw) > 100:
        raise BadRequest("switch_env is not an object")
    for name, value in raw.items():
        if not isinstance(name, str) or not _VARIABLE.match(name) or not isinstance(value, str) or "\0" in value:
            raise BadRequest(f"switch_env: {name!r} is not a variable with a text")
    return tuple(sorted(raw.items()))


def _argument(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value or len(value) > 4000:
        raise BadRequest("switch is not a list of words")
    return value


def _word(value: Any, known: tuple[str, ...], what: str) -> str:
    if value not in known:
        raise BadRequest(f"{what} is none of {', '.join(known)}")
    return str(value)


def _amount(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**62:
        raise BadRequest(f"{what} is not a number")
    return float(value)


def hidden(request: Request) -> list[str]:
    """Values of `switch_env` that nobody may see: those that are no name in the plan anyway."""
    told = {request.target, *(name for mode in request.modes for name in (mode.name, mode.model, mode.url, *mode.services))}
    return [value for mode in request.modes for _, value in mode.env if value not in told]


def without_values(raw: Any) -> Any:
    """A request as it may be kept: of `switch_env` the names only."""
    if isinstance(raw, Mapping):
        return {
            k: dict.fromkeys(v, "…") if k == "switch_env" and isinstance(v, Mapping) else without_values(v)
            for k, v in raw.items()
        }
    return [without_values(item) for item in raw] if isinstance(raw, list) else raw


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) > 200:
        raise BadRequest(f"{what} is not a list")
    return list(value)


def _services(value: Any, what: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_service(item) for item in _list(value, what)))


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _WORD.match(value):
        raise BadRequest(f"{what} is not a short text")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{what} is neither true nor false")
    return value


def _seconds(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 864000:
        raise BadRequest(f"{what} is not a number of seconds")
    return float(value)
