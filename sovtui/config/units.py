"""Sizes and durations as a person writes them, both ways. Pure; must not know which key they are for."""

from __future__ import annotations

import math
import re

SIZE_HINT = 'a size such as "22 GB" or "16 GiB"'
DURATION_HINT = 'a duration such as "15m", "26h" or "2h30m"'

_BYTES = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGTP", start=1):
    _BYTES[_letter + "B"] = 1000**_power
    _BYTES[_letter + "IB"] = 1024**_power
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes of `22 GB` (10⁹), `22 GiB` (2³⁰) or `1048576`. Raises ValueError with what was expected."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected {SIZE_HINT}")
    unit = match[2].upper()
    if unit not in _BYTES:
        letter = unit[:1]
        known = f'"{match[1]} {letter}B" or "{match[1]} {letter}iB"' if f"{letter}B" in _BYTES and letter != "B" else SIZE_HINT
        raise ValueError(f"`{match[2]}` is not a unit of size; expected {known}")
    return _whole(float(match[1]) * _BYTES[unit])


def _whole(value: float) -> int:
    if not math.isfinite(value) or value < 1 or value > 2**62:
        raise ValueError(f"expected {SIZE_HINT}, more than nothing")
    return round(value)


def size_of(value: float) -> int:
    """Bytes given as a number. Raises ValueError."""
    return _whole(value)


def parse_duration(text: str) -> float:
    """Seconds of `15m`, `26h`, `2h30m`, `8d`, `90`. Raises ValueError with what was expected."""
    rest = text.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", rest, re.ASCII):
        return seconds_of(float(rest))
    total, position = 0.0, 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None:
            raise ValueError(f"expected {DURATION_HINT}")
        if match[2] not in _SECONDS:
            raise ValueError(f"`{match[2]}` is not a unit of time (ms, s, m, h, d, w); expected {DURATION_HINT}")
        total += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    if not rest:
        raise ValueError(f"expected {DURATION_HINT}")
    return seconds_of(total)


def seconds_of(value: float) -> float:
    """Seconds given as a number. Raises ValueError."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"expected {DURATION_HINT}, more than nothing")
    if value > 366 * 86400 * 10:
        raise ValueError(f"expected {DURATION_HINT}, at most ten years")
    return float(value)


def write_size(value: int) -> str:
    """The shortest exact way to write a size: `22 GB`, `16 GiB`, `1500 B`."""
    best = f"{value} B"
    for unit, factor in _BYTES.items():
        if factor > 1 and value % factor == 0:
            text = f"{value // factor} {unit.replace('IB', 'iB')}"
            best = min(best, text, key=len)
    return best


def write_duration(value: float) -> str:
    """The shortest exact way to write a duration: `15m`, `26h`, `2h30m`, `0.5s`."""
    if not float(value).is_integer():
        return f"{value!r}s"
    whole, parts = int(value), []
    if whole % 86400 == 0 and whole >= 172800:
        return f"{whole // 86400}d"
    for factor, unit in ((3600, "h"), (60, "m"), (1, "s")):
        count, whole = divmod(whole, factor)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
