"""What is being worked on, of engines that tell it elsewhere than in one page of metrics: asked without waking or loading any."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import quote, urlsplit

from sovtui.onbox import asking, web
from sovtui.onbox.things import Load

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?\s+([0-9.eE+-]+|NaN)")
_LLAMA = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
MOST_MODELS = 8


def ask_json(url: str, path: str) -> Any:
    status, body = web.get(url, path, 3.0)
    if status != 200:
        raise ValueError(f"{path} answered {status}")
    return json.loads(body)


def counts(text: str, names: tuple[str, ...]) -> dict[str, float]:
    """The sum of each metric over its series; of series split by priority only the one for all."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if not match or match.group(1) not in names or match.group(3) == "NaN":
            continue
        labels = match.group(2) or ""
        if 'priority="' in labels and 'priority=""' not in labels:
            continue
        found[match.group(1)] = found.get(match.group(1), 0.0) + float(match.group(3))
    return found


def llamacpp(mode: str, url: str) -> Load:
    """Its metrics never wake it. Its slots do: they are asked only where `/props` says that it is awake."""
    found = _llama_metrics(url, "/metrics")
    if found is not None:
        return Load(mode, *found, True, "its /metrics")
    props = ask_json(url, "/props")
    if props.get("role") == "router":
        return _router(mode, url)
    if props.get("is_sleeping"):
        return Load(mode, 0.0, 0.0, True, "it sleeps")
    slots = ask_json(url, "/slots")
    return Load(mode, float(sum(1 for slot in slots if slot.get("is_processing"))), 0.0, True, "its /slots")


def _router(mode: str, url: str) -> Load:
    """A model is asked about only once it is loaded, and so that asking does not load it."""
    running = waiting = 0.0
    for row in ask_json(url, "/models")["data"]:
        state = row["status"]["value"]
        if state == "loading":
            return Load(mode, 1.0, 0.0, True, "a request loads a model")
        if state == "loaded":
            found = _llama_metrics(url, f"/metrics?model={quote(row['id'], safe='')}&autoload=false")
            if found is None:
                return Load(mode)
            running, waiting = running + found[0], waiting + found[1]
    return Load(mode, running, waiting, True, "its models' /metrics")


def _llama_metrics(url: str, path: str) -> tuple[float, float] | None:
    status, body = web.get(url, path, 3.0)
    values = counts(body.decode("utf-8", "replace"), _LLAMA) if status == 200 else {}
    return (values[_LLAMA[0]], values.get(_LLAMA[1], 0.0)) if _LLAMA[0] in values else None


def ollama(mode: str, url: str) -> Load:
    """A loaded model is not busy, and nothing tells requests; but without a model none runs, and one whose time is over still works."""
    models = ask_json(url, "/api/ps")["models"]
    if not models:
        return Load(mode, 0.0, 0.0, True, "no model is loaded")
    if any(_over(str(model.get("expires_at", ""))) for model in models):
        return Load(mode, 1.0, 0.0, True, "a model is unloaded once its request ends")
    return Load(mode, source="/api/ps tells no requests")


def _over(text: str) -> bool:
    at = asking.moment(text)
    return at is not None and at + 1 < time.time()


def comfyui(mode: str, url: str) -> Load:
    """One number, the running one included: the queue itself would be whole workflows."""
    left = float(ask_json(url, "/prompt")["exec_info"]["queue_remaining"])
    return Load(mode, min(1.0, left), max(0.0, left - 1), True, "its queue")


def litellm(mode: str, url: str) -> Load:
    """Only where its page wants no key; it counts the asking itself."""
    status, body = web.get(url, "/metrics/", 3.0)
    name = "litellm_in_flight_requests"
    values = counts(body.decode("utf-8", "replace"), (name,)) if status == 200 else {}
    return Load(mode, max(0.0, values[name] - 1), 0.0, True, "its /metrics") if name in values else Load(mode)


def llamaswap(mode: str, url: str, of_engine: Any) -> Load:
    """Each model's own server at its own port: a request through llama-swap would start one, or keep it from its timeout."""
    running = waiting = 0.0
    rows = ask_json(url, "/running")["running"][:MOST_MODELS]
    for row in rows:
        if row["state"] == "starting":
            return Load(mode, 1.0, 0.0, True, "a request starts a model")
        command, base = str(row.get("cmd", "")), str(row.get("proxy", ""))
        here = urlsplit(base).hostname in ("localhost", "127.0.0.1", "::1")
        kind = next(
            (k for word, k in (("llama-server", "llamacpp"), ("sglang", "sglang"), ("vllm", "vllm")) if word in command), ""
        )
        load = of_engine(kind, base) if kind and here else Load(mode)
        if row["state"] == "ready" and not load.known:
            return Load(mode)
        running, waiting = running + load.running, waiting + load.waiting
    return Load(mode, running, waiting, True, "its models' own counts" if rows else "no model is loaded")
