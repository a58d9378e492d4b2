"""What llama.cpp's `/slots` and a router's list of models say, as counts and parts. Pure. No engine by itself: see `llamacpp`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sovtui.core import outside
from sovtui.core.clean import clean
from sovtui.core.model import Part
from sovtui.onbox.processes import option

Task = tuple[str, str]
"""Slot and task."""


@dataclass(frozen=True, slots=True)
class Slots:
    """An answer of `/slots`: counts only, since slots hold prompts and parameters too."""

    total: int = 0
    busy: int = 0
    decoded: Mapping[Task, float] = field(default_factory=dict)
    """Tokens that each running task has made so far."""
    reads: bool = False
    """A task still reads its prompt."""
    reading_tokens: float = 0.0
    """Computed prompt tokens of those: the server's counter does not have them yet."""
    read_tokens: float = 0.0
    """Computed prompt tokens of all running tasks."""
    fullest_ratio: float = 0.0
    """Of the slot that is fullest, as if each had a cache of its own of the size that it names."""
    pool_ratio: float = 0.0
    """Of all together, as if they shared one cache of that size."""
    tasks: frozenset[Task] = frozenset()
    """The last task of each slot, running or not."""


def slots_of(rows: list[Any]) -> Slots:
    """Idle slots may still hold a prompt: it makes room when room is wanted, so it does not count as used."""
    slots = [slot for slot in rows if isinstance(slot, Mapping)]
    working = [slot for slot in slots if slot.get("is_processing") is True]
    decoded: dict[Task, float] = {}
    reading = read = fullest = pool = 0.0
    reads = False
    for slot in working:
        token = slot.get("next_token")  # a list since 2025; a slot that never worked has none
        token = token[0] if isinstance(token, list) and token else token
        count = _whole(token.get("n_decoded")) if isinstance(token, Mapping) else 0
        decoded[_task(slot)] = float(count)
        processed = _whole(slot.get("n_prompt_tokens_processed"))
        read += processed
        if not count:
            reads, reading = True, reading + processed
        used, room = _whole(slot.get("n_prompt_tokens")), _whole(slot.get("n_ctx"))
        if room:
            fullest, pool = max(fullest, used / room), pool + used / room
    return Slots(
        len(slots), len(working), decoded, reads, reading, read, min(1.0, fullest), min(1.0, pool),
        frozenset(_task(slot) for slot in slots),
    )  # fmt: skip


def _task(slot: Mapping[str, Any]) -> Task:
    return str(slot.get("id")), str(slot.get("id_task"))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def error_of(told: Any) -> str:
    error = told.get("error") if isinstance(told, Mapping) else None
    return clean(outside.text(error.get("message", "")), 120) if isinstance(error, Mapping) else "it is not ready yet"


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


def port_of(row: Mapping[str, Any]) -> int | None:
    """Where the router has started its server. Nothing else of its command line is read: it may hold keys."""
    status = row.get("status")
    words = [str(word) for word in listed(status.get("args") if isinstance(status, Mapping) else None)]
    told = option(words, "--port")
    return int(told) if told.isdigit() and 0 < int(told) < 65536 else None


def part_of(row: Mapping[str, Any]) -> Part:
    """One model of a router."""
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
