"""What a switch may do with each service: roles that must not meet, and what an owner's command needs. Used by `check`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Protocol

from sovtui.config.locate import Path
from sovtui.config.units import parse_duration
from sovtui.onbox.asking import MANNERS

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
PROVABLE = tuple(name for name, manner in MANNERS.items() if manner.tokens)
"""Engines that are asked for one token."""


ON_DEMAND = ("ollama", "llamaswap")
"""Engines that load a model when a request asks for it."""


class Say(Protocol):
    def __call__(self, path: Path, message: str, place: Path | None = None) -> None: ...


def _texts(value: Any) -> list[tuple[int, str]]:
    return [(i, x) for i, x in enumerate(value) if isinstance(x, str)] if isinstance(value, list) else []


def check_roles(path: Path, modes: list[tuple[int, dict[str, Any]]], switch: Mapping[str, Any], say: Say) -> None:
    """A service is of a mode, a tenant, of the floor, or held."""
    owner: dict[str, str] = {}
    for index, mode in modes:
        for _, service in _texts(mode.get("services")):
            owner.setdefault(service, f"mode `{mode.get('name', index)}`")
    floor = {service for _, service in _texts(switch.get("floor"))}
    tenants = {service for _, service in _texts(switch.get("tenants"))}
    for index, service in _texts(switch.get("tenants")):
        if service in floor:
            say((*path, "switch", "tenants", index), f"`{service}` is of the floor, which is never stopped")
    for index, service in _texts(switch.get("hold")):
        role = "the floor" if service in floor else "the tenants" if service in tenants else owner.get(service, "")
        if role:
            say((*path, "switch", "hold", index), f"`{service}` belongs to {role}; held is only what starts or restarts others")
    on_demand: dict[tuple[str, frozenset[str]], str] = {}
    for index, mode in modes:
        own_services = frozenset(service for _, service in _texts(mode.get("services")))
        if mode.get("engine") in ON_DEMAND and own_services:
            name, key = str(mode.get("name", index)), (str(mode.get("url")).rstrip("/"), own_services)
            if key in on_demand:
                say(
                    (*path, "mode", index, "services"),
                    f"`{on_demand[key]}` is another model of the same server: it loads what is asked for, there is nothing to switch",
                )
            on_demand.setdefault(key, name)
    known = {*owner, *tenants, *floor}
    for number, mode in modes:
        own = {service for _, service in _texts(mode.get("services"))}
        for index, service in _texts(mode.get("may_stay")):
            place = (*path, "mode", number, "may_stay", index)
            if service in own:
                say(place, f"`{service}` is of this mode itself")
            elif service not in known:
                say(place, f"`{service}` is of no mode and no tenant: nothing would stop it")


def check_command(path: Path, mode: Mapping[str, Any], say: Say) -> None:
    """The owner's own command, its environment, and the proofs."""
    command = mode.get("switch")
    if isinstance(command, list) and command:
        if not mode.get("services"):
            say((*path, "switch"), "needs `services` too: only they can prove what the command did")
        first = command[0]
        if isinstance(first, str) and not first.startswith("/"):
            say((*path, "switch", 0), f'expected a program with its whole path, found "{first}"')
        for index, word in _texts(command):
            if not word:
                say((*path, "switch", index), "is empty")
    if mode.get("switch_env") and not command:
        say((*path, "switch_env"), "is for the `switch` command, which is missing")
    env = mode.get("switch_env")
    for name in env if isinstance(env, dict) else ():
        if not _VARIABLE.fullmatch(name):
            say((*path, "switch_env", name), "is not the name of a variable")
    with contextlib.suppress(ValueError):
        if parse_duration(str(mode.get("switch_timeout", "1s"))) > 86400:
            say((*path, "switch_timeout"), "expected at most a day")
    factor = mode.get("loader_factor")
    if isinstance(factor, int | float) and not isinstance(factor, bool) and not 1 <= factor <= 10:
        say((*path, "loader_factor"), "expected 1 to 10: how many times the weights are in memory while loading")
    if factor not in (None, 1) and not mode.get("weights"):
        say((*path, "loader_factor"), "is of the `weights`, which are missing")
    if mode.get("proof") and (mode.get("engine") not in PROVABLE or not mode.get("url")):
        say((*path, "proof"), f"needs a `url` and an `engine` that can be asked for a token: {', '.join(PROVABLE)}")
