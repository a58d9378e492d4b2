"""LiteLLM's deployments and chains, from its lists. Pure. No engine by itself: see `litellm`; what happens to them: `_litellm_watch`.

`/v1/model/info` is no list of deployments: a wildcard has one row per model that LiteLLM knows (211 for `openai/*`, 1.8 MB), an
alias repeats the rows of its group. One deployment is one `model_info.id`.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from sovtui.core import outside
from sovtui.core.clean import clean

LOCAL_PROVIDERS = ("hosted_vllm", "ollama", "ollama_chat", "lm_studio", "llamafile", "vllm")
KINDS = {"fallbacks": "", "context_window_fallbacks": "when too long", "content_policy_fallbacks": "when refused"}
"""Chains by the setting they stand in, and when they are taken."""
HOPS = {"context_window_fallbacks": "ContextWindowExceededError", "content_policy_fallbacks": "ContentPolicyViolationError"}
"""How the class of the error ends that leads along such a chain; any other, or where there is no such chain, along the general ones."""
ANY = "*"
"""The group of the default chain (`default_fallbacks`): taken by a group that has none of its own."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place where a request may go."""

    id: str
    group: str
    """Its name as requests give it; the pattern of a wildcard."""
    model: str = ""
    where: str = ""
    """`local` or `cloud`."""
    host: str = ""
    cooldown_seconds: float | None = None
    """Its own `cooldown_time`: wins over everything."""
    wildcard: bool = False
    """It stands for many names: `group` is its pattern, or what they all begin with."""
    editable: bool = False
    """It is kept in a database: it may change while the proxy runs."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a request of `group` goes next."""

    kind: str
    group: str
    rungs: tuple[str, ...]

    @property
    def name(self) -> str:
        return clean(" → ".join((self.group, *self.rungs)), 200)


def deployments(info: object, aliases: Sequence[str] = ()) -> tuple[Deployment, ...]:
    """Of an answer of `/v1/model/info`, in its order. `aliases` are other names of groups."""
    data = _map(info).get("data")
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for number, row in enumerate(data if isinstance(data, list) else ()):
        if isinstance(row, Mapping):
            rows.setdefault(str(_map(row.get("model_info")).get("id") or f"\x00{number}"), []).append(row)
    return tuple(_deployment(id_, of, aliases) for id_, of in rows.items())


def _deployment(id_: str, rows: Sequence[Mapping[str, Any]], aliases: Sequence[str]) -> Deployment:
    names = list(dict.fromkeys(str(row.get("model_name") or "?") for row in rows))
    own = [name for name in names if name not in aliases] or names
    row = next(row for row in rows if str(row.get("model_name") or "?") == own[0])
    params, info = _map(row.get("litellm_params")), _map(row.get("model_info"))
    found = Deployment(
        "" if id_.startswith("\x00") else id_,
        clean(own[0], 120),
        clean(outside.text(params.get("model") or ""), 160),
        location(params, info),
        clean(urlsplit(str(params.get("api_base") or "")).netloc.rpartition("@")[2], 120),
        _seconds(info.get("cooldown_time"), params.get("cooldown_time")),
        editable=info.get("db_model") is True,
    )
    if len(own) == 1:
        return found
    return replace(found, group=f"{clean(_beginning(own), 119)}*", model="", wildcard=True)


def _beginning(names: Sequence[str]) -> str:
    """What all of them begin with."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def named(deployment: Deployment, info: object) -> Deployment:
    """A wildcard with its own pattern, of the answer for its id alone."""
    data = _map(info).get("data")
    row = _map(data[0]) if isinstance(data, list) and data else {}
    name = row.get("model_name")
    return replace(deployment, group=clean(name, 120)) if isinstance(name, str) and ANY in name else deployment


def _seconds(*choices: object) -> float | None:
    """The first of them that is a time, as LiteLLM takes it: one below zero is none."""
    numbers = (c for c in choices if isinstance(c, int | float) and not isinstance(c, bool))
    first = next(numbers, None)
    return float(first) if first is not None and first >= 0 else None


def cooldown_seconds(*settings: object) -> float | None:
    """The router's own, as configured; None where the key may not read it."""
    return _seconds(*(_map(one).get("cooldown_time") for one in settings))


def aliases(*settings: object) -> tuple[str, ...]:
    """Names that stand for a group."""
    return tuple(str(name) for one in settings for name in _map(_map(one).get("model_group_alias")))


def chains(*settings: object) -> tuple[Chain, ...]:
    """Every configured chain, each once; in the order of the settings, the default chain last."""
    found: dict[Chain, None] = {}
    for kind in KINDS:
        for one in settings:
            rows = _map(one).get(kind)
            for row in rows if isinstance(rows, list) else ():
                for group, rungs in _map(row).items():
                    names = [_rung(rung) for rung in rungs] if isinstance(rungs, list) else [_rung(rungs)]
                    if any(names):
                        found[Chain(kind, str(group), tuple(name for name in names if name))] = None
    return tuple(sorted(found, key=lambda chain: (tuple(KINDS).index(chain.kind), chain.group == ANY)))


def _rung(rung: object) -> str:
    """A group's name; or a mapping with other parameters for it."""
    return str(_map(rung).get("model") or "") if isinstance(rung, Mapping) else str(rung) if isinstance(rung, str) else ""


def chain_of(known: Sequence[Chain], group: str, to: str, error: str) -> Chain | None:
    """Which chain a hop from `group` to `to` went along; `error` is the class of what led to it."""
    special = next((kind for kind, ending in HOPS.items() if error.endswith(ending)), "")
    groups = (group, group.partition("/")[2], ANY)  # as LiteLLM looks: itself, without its provider, the default chain
    for kind in (special, "fallbacks"):
        found = [next((c for c in known if c.kind == kind and c.group == one and to in c.rungs), None) for one in groups]
        if any(found):
            return next(chain for chain in found if chain)
    return None


def location(params: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """`local` or `cloud`: as its owner says in `model_info.location`, else by its address, else by its provider."""
    said = info.get("location")
    if said in ("local", "cloud"):
        return str(said)
    host = _host(params.get("api_base"))
    if host:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return (
                "local"
                if host == "localhost" or "." not in host or host.endswith((".local", ".lan", ".internal", ".ts.net"))
                else "cloud"
            )
        return "cloud" if address.is_global else "local"  # a tailnet's 100.64.0.0/10 is neither global nor private
    provider = str(info.get("litellm_provider") or str(params.get("model") or "").partition("/")[0])
    return "local" if provider in LOCAL_PROVIDERS else "cloud"


def _host(api_base: object) -> str:
    try:
        return urlsplit(str(api_base or "")).hostname or ""
    except ValueError:
        return ""


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
