"""What the box is told of a host's modes: the one place where configuration becomes a request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sovtui.actions.spec import Plan, Verdict, Where, Wish
from sovtui.config.schema import HostConfig, ModeConfig
from sovtui.core.model import Mode
from sovtui.core.state import Host

ROUTERS = ("litellm",)
"""Engines that hold no memory of an accelerator: their work is that of others."""


def box_modes(settings: HostConfig) -> list[dict[str, Any]]:
    return [_mode(mode) for mode in settings.mode]


def _mode(m: ModeConfig) -> dict[str, Any]:
    """Only what differs from the default: a request crosses a phone's link and lies in the receipt."""
    told: dict[str, Any] = {"name": m.name, "services": list(m.services), "url": m.url, "engine": m.engine, "model": m.model}
    extra = {
        "may_stay": list(m.may_stay),
        "needs_bytes": m.needs,
        "weights_bytes": m.weights,
        "switch": list(m.switch),
        "switch_env": dict(m.switch_env),
        "proof": m.proof,
    }
    told.update({key: value for key, value in extra.items() if value})
    if m.weights:
        told["loader_factor"] = m.loader_factor
    if m.switch:
        told["switch_timeout_s"] = float(m.switch_timeout)
    return told


def box_kept(settings: HostConfig) -> dict[str, Any]:
    """What a smaller action must not touch, or say that it does."""
    switch = settings.switch
    extra = {"floor": list(switch.floor), "tenants": list(switch.tenants)}
    return {"modes": box_modes(settings), **{key: value for key, value in extra.items() if value}}


def consent(wish: Wish, busy: Iterable[str] = (), not_fitting: bool = False, stuck: bool = False) -> dict[str, Any]:
    """What the operator is asked and then has said yes to, by name: here, and before where the box had asked.

    `busy`: modes and engines whose work would be lost. Everything only where the operator has said so beforehand.
    """
    if wish.options.get("consent") == "all":
        return dict.fromkeys(("busy", "not_fitting", "stuck", "takes", "beside"), True)
    own = {"busy": tuple(busy), "not_fitting": not_fitting, "stuck": stuck}
    return _together(own, wish.agreed)


def _together(*consents: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, what in (item for one in consents for item in one.items()):
        if isinstance(what, bool) or isinstance(found.get(kind), bool):
            found[kind] = what is True or found.get(kind) is True
        else:
            found[kind] = [*dict.fromkeys((*found.get(kind, ()), *what))]
    return {kind: what for kind, what in found.items() if what}


def agreed(plan: Plan) -> set[str]:
    """All that is consented to with it, and what cancelling would do. More than was asked about is asked about first."""
    found = {*plan.names, *(plan.steps if plan.where is Where.RUNNING else ())}
    for kind, what in (plan.request.get("consent") or {}).items():
        found |= {kind} if what is True else {f"{kind} {name}" for name in what}
    return found


def asked_anew(plan: Plan, asks: Mapping[str, Any], reason: str) -> Plan:
    """The same, where the box refused it until somebody says yes to what it has named."""
    wish = replace(plan.wish, agreed=_together(plan.wish.agreed, asks))
    told = {**plan.request, "consent": _together(plan.request.get("consent") or {}, asks)}
    return replace(plan, wish=wish, verdict=Verdict.ASK, reason=reason, request=told)


def box_plan(settings: HostConfig, target: str) -> dict[str, Any]:
    """What the on-box machine needs to know to switch this host."""
    switch = settings.switch
    plan: dict[str, Any] = {
        "to": target,
        "modes": box_modes(settings),
        "floor": list(switch.floor),
        "drop_caches": switch.drop_caches,
        "ready_timeout_s": float(switch.ready_timeout),
        "stop_timeout_s": float(switch.stop_timeout),
        "rollback": switch.rollback,
        "memory": settings.memory,
    }
    extra = {
        "tenants": list(switch.tenants),
        "hold": list(switch.hold),
        "drain_timeout_s": float(switch.drain_timeout or 0.0),
        "reserve_bytes": switch.reserve,
    }
    plan.update({key: value for key, value in extra.items() if value})
    return plan


def box_engine(host: Host, engine: Mode) -> dict[str, Any]:
    """What an action on an engine that loads by itself needs to know: that one, and who else may be at work."""

    def told(one: Mode) -> dict[str, Any]:
        return {"name": one.name, "services": list(one.services), "url": one.url, "engine": one.engine, "model": one.model}

    others = [m for m in (*host.spec.modes, *host.spec.beside) if m.url != engine.url and m.engine not in ROUTERS]
    return {"engine": told(engine), "modes": [told(m) for m in others]}
