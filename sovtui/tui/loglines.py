"""Log lines as rows: time, sign of the level, text. Pure."""

from __future__ import annotations

from datetime import datetime

from rich.cells import cell_len

from sovtui.core import serving, text
from sovtui.core.model import ActionRun
from sovtui.core.servers import stem
from sovtui.core.state import Host
from sovtui.runtime.hub import LogLine
from sovtui.tui.panes.base import View
from sovtui.tui.present import Row, row, wrap

SKIPPED = "skipped"
"""The level of the line that stands for those that could not be kept."""
ROLES = {"error": "bad", "warning": "warn", "debug": "label", SKIPPED: "warn"}
BESIDE_FROM = 60
"""From this width on a long line goes on beside its time."""
SIGNS = {"error": "✖ ", "warning": "▲ ", SKIPPED: "… "}


def engine_of(host: Host, service: str) -> str:
    """The engine whose log a service's is: as configured, else as its name tells; empty where neither does."""
    for mode in (*host.spec.modes, *host.spec.beside):
        if service in mode.services and mode.engine:
            return mode.engine
    return serving.by_name(stem(service))


def line_rows(line: LogLine, width: int, *, wraps: bool, pan: int = 0, head: int = 0) -> list[Row]:
    """One line with its time and the sign of its level; without its first `head` characters. Where it is narrow what follows is below both."""
    role = ROLES.get(line.level, "plain")
    at = text.clock(line.at) if line.at else ""
    stamp = f"{at} " if at else ""
    sign = SIGNS.get(line.level, "  ")
    room = max(1, width - len(stamp) - 2)
    if not wraps:
        return [row((stamp, "label"), (sign, role), (line.text[head + pan :], role))]
    words = line.text[head:]
    if width < BESIDE_FROM and stamp:
        first = wrap(words, room)[0]
        rest = wrap(words[len(first) :].lstrip(" "), max(1, width - 2))[:11] if len(first) < len(words) else []
        return [row((stamp, "label"), (sign, role), (first, role)), *(row(("  ", role), (part, role)) for part in rest)]
    lines = wrap(words, room)[:12]
    blank = " " * len(stamp)
    return [row((blank if i else stamp, "label"), ("  " if i else sign, role), (part, role)) for i, part in enumerate(lines)]


def folded_row(count: int, at: datetime | None, key: str, width: int) -> Row:
    """What stands for questions of health checks that are not shown."""
    one = count == 1
    last = f", the last at {text.clock(at)}" if at is not None and not one else ""
    shows = f"; {key} shows {'it' if one else 'them'}" if key else ""
    long = f"· {count:,} health-check request{'' if one else 's'} hidden{last}{shows}"
    short = f"· {count:,} health check{'' if one else 's'} hidden{shows}"
    return row((long if cell_len(long) <= width else short, "label"))


def last_action(view: View | None) -> ActionRun | None:
    """The action that runs, or the newest one that is known."""
    if view is None or view.host is None:
        return None
    return view.host.action or next(iter(view.host.receipts), None)


def mark_row(run: ActionRun, width: int) -> Row:
    """The line across the log where an action began."""
    words = f"── {run.kind} {run.target}".rstrip() + f" began {text.clock(run.began_at)} "
    return row((words + "─" * max(0, width - cell_len(words)), "accent"))


def stamped(line: LogLine) -> str:
    """As it is copied."""
    return f"{text.moment(line.at)} {line.text}" if line.at else line.text
