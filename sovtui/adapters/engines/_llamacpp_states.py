"""What llama.cpp's server is: loading, ready, asleep, another model; alone or as a router. No engine by itself: see `llamacpp`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import httpx

from sovtui.adapters.engines._llamacpp_live import AGAIN_SECONDS, RARELY_SECONDS, Move, Server
from sovtui.adapters.engines._llamacpp_talk import error_of, is_named, length_of, listed, part_of, port_of, state_of
from sovtui.adapters.engines.base import Past, json_at, wrong_model
from sovtui.core import outside
from sovtui.core.activity import Activity
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase

ROUTER_EVERY_SECONDS = 4.0
"""While a router or one of its models works."""


def server_of(past: Past, model: str = "") -> Server:
    """What is remembered of the server itself, or of a router's model."""
    servers: dict[str, Server] = past.own.setdefault("servers", {})
    return servers.setdefault(model, Server())


def activity_of(past: Past, model: str = "") -> Activity | None:
    """What its host tells of the server's process; of a router's model by the port that the router has started it on."""
    if not model:
        return past.activity.get(past.address)
    port = past.own.get("ports", {}).get(model)
    return past.activity.get(f"127.0.0.1:{port}") if port else None


async def probe(client: httpx.AsyncClient, expected: str, past: Past, monotonic: float) -> Engine:
    """Ready is 200 on `/health` and the expected id; while it loads every path answers 503. A router tells per model."""
    status, told = await json_at(client, "/health", headers=ONCE)
    if status == 503:
        words = error_of(told)
        past.models_at = float("-inf")  # what loads may be another one
        return Engine(EnginePhase.STARTING, progress="loading the model" if "oading" in words else words, reason=words)
    if status != 200:
        return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /health says {status}")
    if past.failures:
        past.models_at = float("-inf")  # it may be another process
    if (not past.ready or _models_due(past, monotonic)) and (wrong := await _learn(client, past, monotonic)):
        return wrong
    if past.own.get("router"):
        return _routed(expected, past)
    names = past.own.get("names", past.models)
    models = tuple(clean(m, 200) for m in past.models)
    if expected and names and expected not in names:
        return Engine(EnginePhase.WRONG_MODEL, models, reason=wrong_model(past.models, expected))
    past.ready = True
    past.own["move"] = await decide(client, past, monotonic)
    if server_of(past).asleep:
        reason = past.note or "it sleeps: the next request loads its weights again"
        return Engine(EnginePhase.ASLEEP, models, past.context_tokens, past.version, reason=reason, wakes=True)
    return Engine(EnginePhase.READY, models, past.context_tokens, past.version, reason=past.note)


ONCE = (("connection", "close"),)
"""A connection of ours that stays open would look like somebody's request."""


def _models_due(past: Past, monotonic: float) -> bool:
    since = monotonic - past.models_at
    if not past.own.get("router"):
        return since >= RARELY_SECONDS
    used = [activity_of(past), *(activity_of(past, model) for model in past.own.get("loaded", ()))]
    if any(use is None or use.cores is None or use.works for use in used):
        return since >= ROUTER_EVERY_SECONDS
    stays = all(use is not None and use.sleeps_after_seconds == 0 for use in used)
    return since >= (RARELY_SECONDS if stays else AGAIN_SECONDS)


async def decide(client: httpx.AsyncClient, past: Past, monotonic: float, model: str = "") -> tuple[Move, str]:
    """What may be done about its figures now; `/props` is asked first where it may have fallen asleep since it was last heard."""
    server, use = server_of(past, model), activity_of(past, model)
    if not model and server.props_at == float("-inf"):
        await look(client, past, monotonic)
    move, why = server.move(use, past.blind, monotonic, past.at)
    if server.doubtful(use, monotonic) if move is Move.ASK else not model and server.props_due(use, monotonic):
        await look(client, past, monotonic, model)
    return (Move.REST if move is Move.ASK and server.asleep else move), why


async def look(client: httpx.AsyncClient, past: Past, monotonic: float, model: str = "") -> Mapping[str, object]:
    """`/props`, taken in as far as it is about sleep and slots: it neither wakes a server nor keeps it awake. Empty where it is refused."""
    status, props = await json_at(client, f"{past.own.get('base', '')}/props{query_of(model)}", headers=ONCE)
    server = server_of(past, model)
    server.props_at = monotonic
    if status == 404:
        server.can_sleep = False  # no build that sleeps is without it
    if status != 200 or not isinstance(props, Mapping):
        return {}
    server.can_sleep = isinstance(props.get("is_sleeping"), bool)
    server.asleep = props.get("is_sleeping") is True
    if isinstance(props.get("total_slots"), int):
        server.slot_count = props["total_slots"]
    for told, path in (("endpoint_metrics", "/metrics"), ("endpoint_slots", "/slots")):
        if props.get(told) is False:
            server.missing.add(path)
    return props


def query_of(model: str) -> str:
    """A router is asked about a model so that asking does not load it."""
    return f"?model={quote(model, safe='')}&autoload=false" if model else ""


async def _learn(client: httpx.AsyncClient, past: Past, monotonic: float) -> Engine | None:
    """Fill in `past` from `/props` and the list of models; an engine if what answers is something else."""
    props = await look(client, past, monotonic)
    past.note = ""
    if props:
        settings = props.get("default_generation_settings")
        length = settings.get("n_ctx") if isinstance(settings, Mapping) else None
        past.context_tokens = length if isinstance(length, int) and length > 0 else None
        past.version = clean(outside.text(props.get("build_info") or ""), 40)
        past.own["router"] = props.get("role") == "router"
    path = "/models" if past.own.get("router") else "/v1/models"
    status, told = await json_at(client, path, headers=ONCE)
    past.models_at = monotonic
    if status in (401, 403):
        past.note = "it wants an API key: which model it serves cannot be checked"
        return None
    data = told.get("data") if isinstance(told, Mapping) else None
    if status != 200 or not isinstance(data, list):
        return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: {path} says {status}")
    rows = [row for row in data if isinstance(row, Mapping) and isinstance(row.get("id"), str)]
    past.models = tuple(str(row["id"])[:300] for row in rows)
    past.own["names"] = (*past.models, *(str(a) for row in rows for a in listed(row.get("aliases"))))
    past.own["rows"] = rows if past.own.get("router") else []
    if past.context_tokens is None:
        past.context_tokens = max((n for row in rows if (n := length_of(row))), default=None)
    return None


def _routed(expected: str, past: Past) -> Engine:
    """What a router says of the expected model, or of all."""
    rows = past.own.get("rows", ())
    parts = [part_of(row) for row in rows]
    past.own["loaded"] = [str(row["id"]) for row in rows if state_of(row) == "loaded" and is_named(row, expected)]
    past.own["ports"] = {str(row["id"]): port for row in rows if (port := port_of(row))}
    mine = [p for p, row in zip(parts, rows, strict=True) if is_named(row, expected)]
    if expected and not mine:
        names = tuple(p.name for p in parts)
        return Engine(
            EnginePhase.WRONG_MODEL, names, version=past.version, reason=wrong_model(names, expected), parts=tuple(parts)
        )
    past.ready = True
    states = {p.state for p in mine}
    shown = tuple(sorted(parts, key=lambda p: p.state == "unloaded"))
    held = tuple(p.name for p in (*mine, *parts) if p.state != "unloaded")
    models = tuple(dict.fromkeys(held)) or tuple(p.name for p in mine)
    length = next((p.context_tokens for p in mine if p.context_tokens), None)
    if "ready" in states:
        return Engine(EnginePhase.READY, models, length, past.version, parts=shown)
    if states & {"starting", "downloading"}:
        begun = next(p for p in mine if p.state in ("starting", "downloading"))
        words = "downloading the model" if begun.state == "downloading" else "the router loads it"
        return Engine(EnginePhase.STARTING, models, length, past.version, words, parts=shown)
    if "failed" in states and expected:
        return Engine(EnginePhase.DEAD, models, length, past.version, reason=f"its last load failed{mine[0].detail}", parts=shown)
    reason = "it sleeps: the next request wakes it" if "asleep" in states else "not loaded: the next request loads it"
    return Engine(EnginePhase.ASLEEP, models, length, past.version, reason=reason, wakes=True, parts=shown)
