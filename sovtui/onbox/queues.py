"""What is being worked on, of engines that tell it elsewhere than in one page of metrics: asked without waking or loading any."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from sovtui.onbox import asking, web
from sovtui.onbox.activity import Glimpse
from sovtui.onbox.things import Load

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?\s+([0-9.eE+-]+|NaN)")
_LLAMA = (
    "llamacpp:requests_processing",
    "llamacpp:requests_deferred",
    "llamacpp:tokens_predicted_total",
    "llamacpp:prompt_tokens_total",
)
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


def llamacpp(mode: str, url: str, groups: Sequence[str]) -> Load:
    """Some builds are woken by `/metrics`, others by `/slots`, and both keep one awake: they are asked only where somebody is
    connected and `/props`, which is harmless, says that it is awake. `groups`: control groups of its services.

    One that is asked and does not say how its requests stand is at work if its process is, and stuck if not.
    """
    seen = Glimpse(url, groups)
    if seen.connections() == 0:
        return Load(mode, 0.0, 0.0, True, "nobody is connected to it")
    status, body = web.get(url, "/props", 3.0)
    props = json.loads(body) if status == 200 else {}
    if props.get("role") == "router":
        return _router(mode, url)
    if props.get("is_sleeping"):
        return Load(mode, 0.0, 0.0, True, "it sleeps")
    load, answered = _llama(mode, url, "")
    if load.known or not seen.connections():
        return load
    works = seen.works()
    if works:
        return Load(mode, 1.0, 0.0, True, "its process works, and somebody is connected", (float(seen.ticks()),))
    if works is False and not answered:
        return Load(mode, 1.0, 0.0, True, "somebody is connected, and it does not say how its requests stand", (0.0,))
    return load


def _llama(mode: str, url: str, query: str) -> tuple[Load, bool]:
    """What a server that is awake tells of its requests, by its metrics and its slots; and whether it has answered at all."""
    status, body = web.get(url, f"/metrics{query}", 3.0)
    values = counts(body.decode("utf-8", "replace"), _LLAMA) if status == 200 else {}
    running, waiting = values.get(_LLAMA[0], 0.0), values.get(_LLAMA[1], 0.0)
    if _LLAMA[0] in values and not running + waiting:
        return Load(mode, 0.0, 0.0, True, "its /metrics"), True
    told, body = web.get(url, f"/slots{query}", 3.0)
    slots = [slot for slot in _rows(body) if slot.get("is_processing")] if told == 200 else []
    moves = (*(values.get(name, 0.0) for name in _LLAMA[2:]), *(float(_moved(slot)) for slot in slots))
    if _LLAMA[0] in values:
        return Load(mode, running, waiting, True, "its /metrics", moves), True
    if told != 200:
        return Load(mode), bool(status or told)
    return Load(mode, float(len(slots)), 0.0, True, "its /slots", moves if slots else ()), True


def _rows(body: bytes) -> list[Any]:
    rows = json.loads(body)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _moved(slot: Any) -> int:
    """Tokens of its task so far: computed of its prompt, and made."""
    made = slot.get("next_token")
    made = made[0] if isinstance(made, list) and made else made
    counts_ = (slot.get("n_prompt_tokens_processed"), made.get("n_decoded") if isinstance(made, dict) else 0)
    return sum(count for count in counts_ if isinstance(count, int))


def _router(mode: str, url: str) -> Load:
    """A model is asked about only once it is loaded, and so that asking does not load it."""
    running = waiting = 0.0
    progress: tuple[float, ...] = ()
    for row in ask_json(url, "/models")["data"]:
        state = row["status"]["value"]
        if state == "loading":
            return Load(mode, 1.0, 0.0, True, "a request loads a model")
        if state == "loaded":
            load, _ = _llama(mode, url, f"?model={quote(row['id'], safe='')}&autoload=false")
            if not load.known:
                return Load(mode)
            running, waiting, progress = running + load.running, waiting + load.waiting, (*progress, *load.progress)
    return Load(mode, running, waiting, True, "its models' own counts", progress)


def ollama(mode: str, url: str) -> Load:
    """A loaded model is not busy, and nothing tells requests; but without a model none runs, and one whose time is over still works."""
    models = ask_json(url, "/api/ps")["models"]
    if not models:
        return Load(mode, 0.0, 0.0, True, "no model is loaded")
    if any(_over(str(model.get("expires_at", ""))) for model in models):
        return Load(mode, 1.0, 0.0, True, "a model is unloaded once its request ends")
    return Load(mode, source="/api/ps reports no requests")


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
