"""What answers on a port: one harmless question after another.

Nothing asked here wakes, loads or bills a model, or keeps one awake: never `/health` of what is not known (LiteLLM calls every
deployment), never `/slots` and `/metrics` of llama.cpp (each wakes some builds and restarts their idle clock; a router loads),
never `/upstream` (llama-swap loads).
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable
from typing import Any

from sovtui.onbox import web

Told = dict[str, Any]
SECONDS = 2.0
_OWNERS = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "llama-swap": "llamaswap",
    "infinity": "infinity",
    "tabbyapi": "tabbyapi",
}
LLAMA = "llama.cpp"
"""How its server names itself in the header `Server`, whatever is asked."""


def ask(
    told: Told, prefixes: Iterable[str] = (), elsewhere: Iterable[str] = (), tls: bool = False, engine: str = ""
) -> Told | None:
    """What answers on a port; None where nothing known does.

    `prefixes`: paths that its own command line names; `elsewhere`: those that any does. `engine`: what its process is, if known.
    """
    host: str = told["address"]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    place = f"[{host}]:{told['port']}" if ":" in host else f"{host}:{told['port']}"
    best: Told | None = None
    for scheme in ("http", "https") if tls else ("http",):
        url = f"{scheme}://{place}"
        found = _ask(url, engine)
        if found is None:
            continue
        best = {"t": "answer", "port": told["port"], "url": url, **found} if found else None
        if found and found.get("state") != "elsewhere":
            return best
        for prefix in dict.fromkeys([*prefixes, *(elsewhere if found else ())]):
            inner = _ask(url + prefix, engine)
            if inner and inner.get("state") != "elsewhere":
                return {"t": "answer", "port": told["port"], "url": url + prefix, **inner}
        return best
    return best


def _ask(url: str, engine: str = "") -> Told | None:
    """`kind` and details; empty where it is not known, None where nobody speaks HTTP.

    `state` is `elsewhere` for a llama.cpp that serves below a path that is not known.
    """
    if engine == "litellm" and _is_litellm(url):  # what is asked without a key there is counted as failed
        return {"kind": "litellm", "by": "api", "key": True}
    status, body, server = web.full(url, "/v1/models", SECONDS)
    if status == 0:
        return None
    listed = _json(body)
    rows = _rows(listed)
    if server == LLAMA or _like_llama(status, listed):
        return _llama(url, status, rows)
    if status == 200 and rows is not None:
        return _models(url, rows)
    if _is_litellm(url):
        return {"kind": "litellm", "by": "api", "key": status != 200}
    if status in (401, 403):
        source = str(listed.get("src", "")) if isinstance(listed, dict) else ""
        kind = "llamaswap" if source == "llama-swap" else _by_metrics(url) or "openai"
        return {"kind": kind, "key": True}
    return _monitoring(url) or _others(url)


def _is_litellm(url: str) -> bool:
    alive, said = web.get(url, "/health/liveliness", SECONDS)
    return alive == 200 and b"alive" in said


def _models(url: str, rows: list[Any]) -> Told:
    owners = {str(row.get("owned_by", "")).lower() for row in rows}
    kind = next((_OWNERS[owner] for owner in owners if owner in _OWNERS), "")
    told: Told = {"kind": kind, "models": _ids(rows), "by": "owner" if kind else ""}
    if not kind:
        version = _told(url, "/api/version")
        if isinstance(version, dict) and "version" in version:
            told.update(kind="ollama", by="api")
        else:
            told.update(kind="litellm" if _is_litellm(url) else "openai", by="api")
    side = {"vllm": _side_of_vllm, "sglang": _side_of_sglang}.get(kind, lambda _: None)(url)
    if kind == "infinity":
        abilities = {str(one) for row in rows for one in row.get("capabilities") or []}
        side = "reranking" if abilities == {"rerank"} else "embeddings"
    if kind == "llamaswap":
        told["children"] = _children_of_swap(url)
    if side is not None:
        told["side"] = side
    lengths = [row.get("max_model_len") for row in rows if isinstance(row.get("max_model_len"), int)]
    if lengths:
        told["context"] = max(lengths)
    return told


def _ids(rows: list[Any]) -> list[str]:
    """Adapters and aliases of a model come after it."""
    rows = sorted(rows[:100], key=lambda row: bool(row.get("parent")))
    return [str(row.get("id", ""))[:300] for row in rows]


# -- llama.cpp ---------------------------------------------------------------------------------------------------------


def _like_llama(status: int, listed: Any) -> bool:
    """Its own way to refuse, which a proxy in front of it passes on."""
    error = listed.get("error") if isinstance(listed, dict) else None
    if not isinstance(error, dict) or error.get("code") != status:
        return False
    return error.get("type") in ("authentication_error", "not_found_error", "unavailable_error") and str(error.get("message")) in (
        "Invalid API Key", "File Not Found", "Loading model",
    )  # fmt: skip


def _llama(url: str, status: int, rows: list[Any] | None) -> Told:
    told: Told = {"kind": "llamacpp", "by": "owner"}
    if status == 503:
        return {**told, "state": "loading"}
    if status == 404 and web.get(url, "/health", SECONDS)[0] == 404:
        return {**told, "state": "elsewhere"}
    if rows:
        told["models"] = _ids(rows)
        context = [meta["n_ctx"] for row in rows if _has(meta := row.get("meta"), "n_ctx", int) and meta["n_ctx"] > 0]
        if context:
            told["context"] = max(context)
    code, body = web.get(url, "/props", SECONDS)
    props = _json(body) if code == 200 else None
    if 401 in (status, code):
        told["key"] = True
    if not isinstance(props, dict):
        return told
    if props.get("role") == "router":
        return {**told, "router": True, "children": _children_of_router(rows or [])}
    # A build of today, and awake: only then may it be asked, by a request that it refuses before it looks for work.
    if props.get("is_sleeping") is False and (side := _side_of_llama(url)) is not None:
        told["side"] = side
    if props.get("is_sleeping") is True:
        told["state"] = "asleep"
    return told


def _side_of_llama(url: str) -> str | None:
    """Whether it was started for embeddings or reranking: without a word of input it refuses either way, differently.

    Measured on builds 10434 and 11549: an awake server's idle clock does not start anew.
    """
    ranks = web.full(url, "/v1/rerank", SECONDS, "{}")[0]
    embeds = web.full(url, "/v1/embeddings", SECONDS, "{}")[0]
    if ranks == 501 and embeds == 501:
        return ""
    return "reranking" if ranks == 400 else "embeddings" if embeds in (400, 500) and ranks == 501 else None


def _children_of_router(rows: list[Any]) -> list[int]:
    """Ports of the servers that a router has started, one per model; 0 is none."""
    found: list[int] = []
    for row in rows:
        status = row.get("status")
        args: list[Any] = status["args"] if _has(status, "args", list) else []
        for index, word in enumerate(args[:-1]):
            if word == "--port" and str(args[index + 1]).isdigit() and int(args[index + 1]):
                found.append(int(args[index + 1]))
    return found


def _children_of_swap(url: str) -> list[int]:
    found: list[int] = []
    told = _told(url, "/running")
    running: list[Any] = told["running"] if _has(told, "running", list) else []
    for row in running:
        proxy = str(row.get("proxy", "")) if isinstance(row, dict) else ""
        if match := re.match(r"https?://(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d+)", proxy):
            found.append(int(match.group(1)))
    return found


# -- vLLM and SGLang ---------------------------------------------------------------------------------------------------


def _side_of_vllm(url: str) -> str | None:
    """A model that only pools has no routes that generate; None where its routes are not told, or older builds have all."""
    paths = _told(url, "/openapi.json")
    routes = paths["paths"] if _has(paths, "paths", dict) else {}
    if not routes:
        return None
    if any(path in routes for path in ("/v1/chat/completions", "/v1/completions")):
        return "" if "/v1/embeddings" not in routes else None
    return "embeddings" if "/v1/embeddings" in routes else "reranking" if "/v1/rerank" in routes or "/rerank" in routes else None


def _side_of_sglang(url: str) -> str | None:
    for path in ("/get_model_info", "/model_info"):
        told = _told(url, path)
        if isinstance(told, dict) and isinstance(told.get("is_generation"), bool):
            return "" if told["is_generation"] else "embeddings"
    return None


def _by_metrics(url: str) -> str:
    """Only of what is not llama.cpp: see above."""
    status, body, server = web.full(url, "/metrics", SECONDS)
    text = body.decode("utf-8", "replace") if status == 200 and server != LLAMA else ""
    for prefix, kind in (("vllm:", "vllm"), ("sglang:", "sglang"), ("llamaswap_", "llamaswap")):
        if re.search(rf"^{prefix}", text, re.MULTILINE):
            return kind
    return ""


# -- others ------------------------------------------------------------------------------------------------------------


def _monitoring(url: str) -> Told | None:
    status, body = web.get(url, "/api/v1/status/buildinfo", SECONDS)
    build = _json(body) if status == 200 else None
    if isinstance(build, dict) and isinstance(build.get("data"), dict):
        return {"kind": "prometheus", "version": str(build["data"].get("version", ""))[:40], **_prometheus(url)}
    status, body = web.get(url, "/api/v2/status", SECONDS)
    told = _json(body) if status == 200 else None
    if isinstance(told, dict) and "versionInfo" in told and "cluster" in told:
        return {"kind": "alertmanager", "version": str((told["versionInfo"] or {}).get("version", ""))[:40]}
    return None


def _prometheus(url: str) -> Told:
    """What it scrapes, and series that tell of backups."""
    status, body = web.get(url, "/api/v1/targets?state=active", SECONDS * 2)
    raw = _json(body) if status == 200 else None
    targets = []
    if isinstance(raw, dict):
        for row in ((raw.get("data") or {}).get("activeTargets") or [])[:200]:
            labels = row.get("labels") or {}
            targets.append(
                {
                    "job": str(labels.get("job", "")),
                    "instance": str(labels.get("instance", "")),
                    "health": str(row.get("health", "")),
                }
            )
    match = urllib.parse.quote('{__name__=~".*(backup|restic|borg).*(success|snapshot).*(time|timestamp).*"}')
    status, body = web.get(url, f"/api/v1/series?match[]={match}", SECONDS * 2)
    raw = _json(body) if status == 200 else None
    series = raw.get("data") if isinstance(raw, dict) else None
    rows = (
        [{str(k): str(v)[:200] for k, v in row.items()} for row in series[:40] if isinstance(row, dict)]
        if isinstance(series, list)
        else []
    )
    return {"targets": targets, "backup_series": rows}


def _others(url: str) -> Told:
    told = _told(url, "/system_stats")
    if _has(told, "system", dict) and "comfyui_version" in told["system"]:
        return {"kind": "comfyui", "version": str(told["system"]["comfyui_version"])[:40]}
    if _has(_told(url, "/api/ps"), "models", list):
        return {"kind": "ollama"}
    if _has(_told(url, "/running"), "running", list):
        return {"kind": "llamaswap", "children": _children_of_swap(url)}
    told = _told(url, "/info")
    if _has(told, "model_type", dict) and "model_id" in told:
        side = "reranking" if "reranker" in told["model_type"] else "embeddings"
        return {
            "kind": "tei",
            "models": [str(told["model_id"])[:300]],
            "side": side,
            "version": str(told.get("version", ""))[:40],
        }
    rows = _rows(_told(url, "/models")) or []
    if rows and all(row.get("owned_by") == "infinity" for row in rows):
        return {"kind": "infinity", "models": _ids(rows), "side": "embeddings"}
    kind = _by_metrics(url)
    if kind:
        return {"kind": kind}
    status, body = web.get(url, "/metrics", SECONDS)
    return {"kind": "node_exporter"} if status == 200 and b"\nnode_cpu_seconds_total" in body else {}


def _told(url: str, path: str) -> Any:
    """The JSON that is answered with 200; None for anything else."""
    status, body = web.get(url, path, SECONDS)
    return _json(body) if status == 200 else None


def _rows(listed: Any) -> list[Any] | None:
    """Of a list of models; None where it is none."""
    return [row for row in listed["data"] if isinstance(row, dict)] if _has(listed, "data", list) else None


def _has(value: Any, key: str, kind: type) -> bool:
    return isinstance(value, dict) and isinstance(value.get(key), kind)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
