"""How each engine says over HTTP that it is up and what it has. One table; nothing here wakes, loads or bills a model. Pure."""

from __future__ import annotations

import calendar
import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Manner:
    """The paths of one engine."""

    health: str = "/health"
    models: str = "/v1/models"
    """Lists what it serves or could serve; empty: it tells none, and then its health stands for both."""
    patience: float = 2.0
    """Timeout of its health check in seconds."""
    closed: tuple[int, ...] = (401, 403)
    """What it says to a list without a key: it is alive, and what it serves is not known."""
    tokens: bool = True
    """Whether one token can be asked of it without a bill."""
    core: bool = False
    """Whether another process computes than the one that answers: this one says that all is well while that one hangs."""


MANNERS = {
    "vllm": Manner(core=True),
    "sglang": Manner(patience=4.0, core=True),  # it generates a token there
    "llamacpp": Manner(),
    "ollama": Manner(health="/api/version", models="/api/tags"),
    "llamaswap": Manner(),
    "litellm": Manner(health="/health/liveliness", closed=(400, 401, 403, 500), tokens=False),  # /health bills
    "comfyui": Manner(health="/system_stats", models="", tokens=False),
}
_OTHER = Manner()


_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))$")


def moment(text: str) -> float | None:
    """A time with any number of decimals and a zone, as seconds since 1970; None where it is none."""
    match = _MOMENT.match(text)
    if not match:
        return None
    year, month, day, hours, minutes, seconds = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and year):
        return None
    ahead = 3600 * int(match[8]) + 60 * int(match[9]) if match[7] else 0
    return float(calendar.timegm((year, month, day, hours, minutes, seconds)) - (-ahead if match[7] == "-" else ahead))


def manner(engine: str) -> Manner:
    return MANNERS.get(engine, _OTHER)


def ids(body: bytes) -> tuple[str, ...]:
    """Every name by which a model of the list can be asked for: ids, aliases, and names without `:latest`."""
    try:
        told = json.loads(body)
    except ValueError:
        return ()
    rows: Any = (told.get("data") or told.get("models")) if isinstance(told, dict) else None
    found = []
    for row in rows[:200] if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        meta = row.get("meta")
        swap = meta.get("llamaswap") if isinstance(meta, dict) else None
        others = [row.get("aliases"), swap.get("aliases") if isinstance(swap, dict) else None]
        name = row.get("id") or row.get("name")
        for one in (name, *(alias for more in others if isinstance(more, list) for alias in more)):
            if isinstance(one, str) and one:
                found.append(one[:300])
                if one.endswith(":latest"):
                    found.append(one[: -len(":latest")])
    return tuple(dict.fromkeys(found))
