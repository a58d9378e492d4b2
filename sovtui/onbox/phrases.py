"""Figures as the box says them, in receipts and sentences, and what its steps are called on a screen."""

from __future__ import annotations

STEPS = {
    "lock": "lock passed over",
    "hold": "pause",
    "gone": "wait for exit",
    "memory": "wait for memory",
    "drop-caches": "drop caches",
    "ready": "wait until ready",
    "proof": "test request",
    "release": "resume",
    "bring-back": "start again",
    "undo-stop": "rollback: stop",
    "undo-start": "rollback: start",
    "undo-ready": "rollback: ready",
}
"""By their names in receipts, which are a contract."""


def step(name: str) -> str:
    """What a step is called on a screen and in a sentence."""
    return STEPS.get(name, name)


def size(value: float) -> str:
    """`93.1 GiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if abs(value) >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value / 1024:.0f} KiB"


def span(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 and seconds % 1 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
