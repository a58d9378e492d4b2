"""What llama.cpp's `/slots` and a router's list of models say, as series and parts. Pure. No engine by itself: see `llamacpp`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sovtui.adapters.engines.scrape import Labels
from sovtui.core.clean import clean
from sovtui.core.model import Part

SEEN, BUSY, SLOTS, FULLEST = "slots.seen", "slots.busy", "slots.total", "slots.fullest"
SLOT_DECODED, SLOT_PROMPTED = "slots.decoded", "slots.prompted"
"""Our own names for what `/slots` tells."""


def take_slots(slots: list[Any], where: Labels, series: dict[str, dict[Labels, float]]) -> None:
    """The series of an answer of `/slots`. Reads counts only: slots hold prompts and parameters too."""
    rows = [slot for slot in slots if isinstance(slot, Mapping)]
    put(series, SEEN, 1.0, where)
    put(series, SLOTS, float(len(rows)), where)
    working = [slot for slot in rows if slot.get("is_processing") is True]
    put(series, BUSY, float(len(working)), where)
    fullest = 0.0
    for slot in working:
        task: Labels = (*where, ("slot", str(slot.get("id"))), ("task", str(slot.get("id_task"))))
        token = slot.get("next_token")  # a list since 2025; a slot that never worked has none
        token = token[0] if isinstance(token, list) and token else token
        decoded = token.get("n_decoded") if isinstance(token, Mapping) else None
        if isinstance(decoded, int):
            put(series, SLOT_DECODED, float(decoded), task)
        if isinstance(slot.get("n_prompt_tokens_processed"), int):
            put(series, SLOT_PROMPTED, float(slot["n_prompt_tokens_processed"]), task)
        used, room = slot.get("n_prompt_tokens"), slot.get("n_ctx")
        if isinstance(used, int) and isinstance(room, int) and room > 0:
            fullest = max(fullest, min(1.0, used / room))
    put(series, FULLEST, fullest, where)


def put(series: dict[str, dict[Labels, float]], name: str, value: float, labels: Labels = ()) -> None:
    series.setdefault(name, {})[labels] = value


def error_of(told: Any) -> str:
    error = told.get("error") if isinstance(told, Mapping) else None
    return clean(str(error.get("message", "")), 120) if isinstance(error, Mapping) else "it is not ready yet"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def length_of(row: Mapping[str, Any]) -> int | None:
    meta = row.get("meta")
    for value in (meta.get("n_ctx") if isinstance(meta, Mapping) else None, row.get("max_model_len")):
        if isinstance(value, int) and value > 0:
            return value
    return None


def state_of(row: Mapping[str, Any]) -> str:
    status = row.get("status")
    return str(status.get("value", "")) if isinstance(status, Mapping) else ""


def is_named(row: Mapping[str, Any], expected: str) -> bool:
    return not expected or expected == row["id"] or expected in listed(row.get("aliases"))


def part_of(row: Mapping[str, Any]) -> Part:
    """One model of a router. Its command line stays unread: it may hold keys."""
    status = row.get("status") if isinstance(row.get("status"), Mapping) else {}
    assert isinstance(status, Mapping)
    word = {"loaded": "ready", "loading": "starting", "sleeping": "asleep"}.get(
        state_of(row), clean(state_of(row), 20) or "unknown"
    )
    detail = ""
    if status.get("failed") is True:
        word, code = "failed", status.get("exit_code")
        detail = f" (exit code {code})" if isinstance(code, int) else ""
    meta = row.get("meta")
    size = meta.get("size") if isinstance(meta, Mapping) else None
    return Part(
        clean(str(row["id"]), 200), word, word == "failed", detail,
        size_bytes=size if isinstance(size, int) else None, context_tokens=length_of(row),
    )  # fmt: skip
