"""Quantity to string: the only formatter, shared by the screen and the command line.

Absent is never zero: `?` unknown, `n/a` not supported, a trailing `~` for stale, `0` for zero.
"""

from __future__ import annotations

from datetime import datetime

from sovtui.core.catalog import CATALOG, Unit
from sovtui.core.reading import Reading, Status

UNKNOWN_SIGN = "?"
UNSUPPORTED_SIGN = "n/a"
STALE_SIGN = "~"

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

WITHOUT = {"prometheus": "history is missing meanwhile; live figures come from the hosts themselves"}
"""What is lost, and what is not, while a source does not answer."""


def size(value_bytes: float) -> str:
    """`56.2 GiB`: powers of 1024, three significant figures."""
    sign, value = ("-", -value_bytes) if value_bytes < 0 else ("", value_bytes)
    index = 0
    while value >= 999.5 and index < len(_BYTE_UNITS) - 1:
        value /= 1024
        index += 1
    digits = 0 if index == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{sign}{value:.{digits}f} {_BYTE_UNITS[index]}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    if whole < 86400:
        hours, rest = divmod(whole // 60, 60)
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
    days, rest = divmod(whole // 3600, 24)
    return f"{days} d {rest} h" if rest and days < 10 else f"{days} d"


def age(seconds: float) -> str:
    """An age in one short word: `3s`, `4m`, `2h`, `9d`."""
    if seconds < 60:
        return f"{int(max(0.0, seconds))}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m"
    if seconds < 172800:
        return f"{int(seconds // 3600)}h"
    return f"{int(seconds // 86400)}d"


def quantity(value: float, unit: Unit) -> str:
    """A value with its unit, as the screen shows it."""
    match unit:
        case Unit.BYTES:
            return size(value)
        case Unit.RATIO:
            return f"{value * 100:.0f} %"
        case Unit.SECONDS:
            return f"{value * 1000:.0f} ms" if 0 < value < 1 else duration(value)
        case Unit.TOKENS_PER_SECOND:
            return f"{value:.0f} tok/s" if value >= 99.95 or value == 0 else f"{value:.1f} tok/s"
        case Unit.COUNT | Unit.TOKENS:
            return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"
        case Unit.WATTS:
            return f"{value:.0f} W"
        case Unit.CELSIUS:
            return f"{value:.0f} °C"
        case Unit.HERTZ:
            return f"{value / 1e6:.0f} MHz"
        case Unit.FLAG:
            return "yes" if value else "no"


def reading(figure: str, what: Reading, now: datetime | None = None) -> str:
    """A reading as text with the sign of its kind of nothing; stale ones carry their age if `now` is given."""
    if what.status is Status.UNSUPPORTED:
        return UNSUPPORTED_SIGN
    if what.value is None:
        return UNKNOWN_SIGN
    text = quantity(what.value, CATALOG[figure].unit)
    if what.status is Status.STALE:
        old = what.age_seconds(now) if now else None
        return f"{text} {STALE_SIGN}{age(old)}" if old is not None else f"{text} {STALE_SIGN}"
    return text


def clock(at: datetime) -> str:
    """Local wall time of a UTC moment, `14:03:07`."""
    return at.astimezone().strftime("%H:%M:%S")


def moment(at: datetime) -> str:
    """Local date and time with zone, for receipts: `2026-11-20 14:03:07 +0100`."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
