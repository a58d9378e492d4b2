"""What engines that load and unload by themselves hold, how they are asked to, and how the effect is told. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sovtui.onbox import asking
from sovtui.onbox.phrases import size

LIST = {"ollama": "/api/ps", "comfyui": "/system_stats", "llamaswap": "/running"}
"""Where each tells what it holds."""
QUEUE = {"comfyui": "/prompt"}
"""Where it tells how much it has to do, if that keeps it from acting at once."""
CUTS = ("llamaswap",)
"""Engines that do not wait for a model's requests when they are asked to let it go."""
_ROWS = {"ollama": "models", "comfyui": "devices", "llamaswap": "running"}
TEN_YEARS = 10 * 365 * 86400.0
"""An end further ahead than this is none: for ever is told as one some 292 years ahead."""
CAME_BACK = 0.5
"""What is held must have shrunk to this share to count as freed."""


@dataclass(frozen=True)
class Held:
    """A model in memory, or what is held on one device. Bytes."""

    name: str
    size: float = 0.0
    on_gpu: float = 0.0
    pinned: bool = False
    leaving: bool = False
    """It is unloaded as soon as its request ends, or is on its way out."""
    coming: bool = False
    """It is on its way into memory."""


@dataclass(frozen=True)
class Proof:
    """Whether it is as it was asked for: `done`, `warned` (else than asked for), `waits` (not yet)."""

    word: str
    sentence: str


def held(engine: str, body: str, at: float) -> tuple[Held, ...] | None:
    """What it holds at this time of day; None where the answer is something else."""
    told = _json(body)
    rows: Any = told.get(_ROWS[engine]) if isinstance(told, dict) else None
    if not isinstance(rows, list):
        return None
    rows = [row for row in rows if isinstance(row, dict)]
    if engine == "ollama":
        return tuple(_model(row, at) for row in rows)
    if engine == "llamaswap":
        return tuple(_server(row) for row in rows)
    return tuple(Held(str(row.get("name", ""))[:200], _number(row.get("torch_vram_total"))) for row in rows)


def _model(row: dict[str, Any], at: float) -> Held:
    end = asking.moment(str(row.get("expires_at", "")))
    name = row.get("name") or row.get("model") or ""
    pinned = end is not None and end - at > TEN_YEARS
    return Held(
        str(name)[:300], _number(row.get("size")), _number(row.get("size_vram")), pinned, end is not None and end < at - 1
    )


def _server(row: dict[str, Any]) -> Held:
    """A server that llama-swap has started for a model. What it holds is not told."""
    state = row.get("state")
    return Held(str(row.get("model", ""))[:300], leaving=state == "stopping", coming=state == "starting")


def waiting(body: str) -> float:
    """How many prompts are in its queue, the running one included; 0 where that is not told."""
    told = _json(body)
    info = told.get("exec_info") if isinstance(told, dict) else None
    return _number(info.get("queue_remaining")) if isinstance(info, dict) else 0.0


def request(engine: str, kind: str, model: str, keep: float | None) -> tuple[str, str]:
    """Path and body of what is asked. No prompt: nothing is computed.

    llama-swap loads a model for whatever is asked of its server; its own page asks for the first page there.
    """
    if engine == "llamaswap":
        name = quote(model, safe="/")
        return (f"/api/models/unload/{name}", "{}") if kind == "unload" else (f"/upstream/{name}/", "")
    if engine == "comfyui":
        return "/free", json.dumps({"unload_models": True, "free_memory": True})
    body: dict[str, Any] = {"model": model, "stream": False}
    if kind in ("unload", "pin"):
        body["keep_alive"] = 0 if kind == "unload" else -1
    elif keep is not None:
        body["keep_alive"] = round(keep)
    return "/api/generate", json.dumps(body)


def refusal(status: int, body: str, engine: str = "", kind: str = "") -> str:
    """Why it did not do it, in its own words; empty where it did.

    What llama-swap's model says to being asked is no refusal: it is there, and that is proved by the list.
    """
    if status == 200:
        return ""
    if not status:
        return "it did not answer"
    told = _json(body)
    said = told.get("error") if isinstance(told, dict) else None
    own = isinstance(said, str) or body.startswith("llama-swap:") or (isinstance(told, dict) and "src" in told)
    if engine == "llamaswap" and kind == "load" and status < 500 and not own:
        return ""
    if isinstance(said, dict):
        said = said.get("message")
    words = " ".join((said if isinstance(said, str) else body).split())[:300]
    return f"it answers {status}{f': {words}' if words else ''}"


def find(rows: tuple[Held, ...], model: str) -> Held | None:
    """This model among them; a name without a tag means `latest`."""
    names = (model,) if ":" in model.rpartition("/")[2] else (model, f"{model}:latest")
    return next((row for row in rows if row.name in names), None)


def total(rows: tuple[Held, ...]) -> float:
    return sum(row.size for row in rows)


def proof(kind: str, model: str, before: tuple[Held, ...], now: tuple[Held, ...]) -> Proof:
    """How what it holds now compares with what was asked for."""
    if kind == "free":
        was, left = total(before), total(now)
        if was and left > CAME_BACK * was:
            return Proof("waits", f"it still holds {size(left)} of GPU memory")
        return Proof("done", f"{size(max(0.0, was - left))} of GPU memory came back" if was else "it held nothing")
    row = find(now, model)
    if kind == "unload":
        old = find(before, model)
        if row is not None:
            return Proof(
                "waits", "it is still in use: it is unloaded when its request ends" if row.leaving else "it is still loaded"
            )
        return Proof("done", f"{model} is unloaded" + (f": {size(old.size)} came back" if old and old.size else ""))
    if row is None or row.leaving:
        return Proof("waits", f"{model} is not in memory")
    if row.coming:
        return Proof("waits", f"{model} is still starting")
    if kind == "pin" and not row.pinned:
        return Proof("waits", f"{model} is in memory, but not pinned")
    stays = ", and stays until it is unloaded" if row.pinned else ""
    if 0 < row.on_gpu < row.size:
        share = max(1, round(100 * (row.size - row.on_gpu) / row.size))
        return Proof("warned", f"{model} is loaded, but {share} % of it on the CPU: it does not fit into GPU memory{stays}")
    where = " on the CPU alone" if row.size and not row.on_gpu else ""
    return Proof("done", f"{model} is loaded{where}{f', {size(row.size)}' if row.size else ''}{stays}")


def _json(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**62 else 0.0
