"""Figures as the box says them, in receipts and sentences."""

from __future__ import annotations


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
