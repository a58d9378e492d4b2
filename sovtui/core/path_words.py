"""The path of a link in few words, as the status line has room for. Pure, and light: every start reads it."""

from __future__ import annotations

from datetime import datetime

from sovtui.core.model import PathKind, TailnetPath


def path(value: TailnetPath, now: datetime) -> str:
    """`direct 2 ms`, `relay fra 48 ms`, `peer relay`, `idle`, `offline 3 h`, `key expired`, `unknown`."""
    if value.expired:
        return "key expired"
    took = f" {latency(value.latency_seconds)}" if value.latency_seconds is not None else ""
    match value.kind:
        case PathKind.DIRECT:
            return f"direct{took}"
        case PathKind.RELAY:
            return f"relay{f' {short(value.via, 12)}' if value.via else ''}{took}"
        case PathKind.PEER_RELAY:
            return f"peer relay{took}"
        case PathKind.IDLE:
            return "idle"
        case PathKind.OFFLINE:
            return f"offline {_rough((now - value.since).total_seconds())}" if value.since is not None else "offline"
        case PathKind.UNKNOWN:
            return "unknown"


def latency(seconds: float) -> str:
    """`0.4 ms`, `2 ms`, `1.2 s`; `<1 ms` for the zero of a client that tells whole milliseconds."""
    if seconds <= 0:
        return "<1 ms"
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.00095 else f"{seconds * 1000:.0f} ms"


def short(name: str, limit: int = 64) -> str:
    """A name cut to what a line can carry."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _rough(seconds: float) -> str:
    """An age in its largest unit: `40 s`, `12 min`, `3 h`, `2 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0.0, seconds))} s"
