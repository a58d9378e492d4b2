"""A service's journal as JSON lines for a client."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box, journal
from sovtui.onbox.plan import check_service


def logs(request: Mapping[str, Any]) -> None:
    """Print `line` lines, then `problem` if some may be missing; ends with the client when following."""
    service = check_service(request.get("service"))
    times: dict[str, float | None] = {"since": None, "until": None}
    for key in times:
        wanted = str(request.get(key) or "")
        times[key] = journal.since_unix(wanted) if wanted else None
        if wanted and times[key] is None:
            box.say({"t": "error", "reason": f"{wanted!r} is not a time: 10m, 2h or 2026-11-20 16:13"})
            return
    lines = max(0, min(int(request.get("lines", 200)), 20000))
    follow = bool(request.get("follow", False))
    box.end_with_client()
    try:
        reader = journal.reader(service, lines, times["since"], follow, named=True, until=times["until"])
    except OSError as problem:
        reason = f"{problem.filename} was not found on this host" if problem.filename else str(problem)
        box.say({"t": "error", "reason": reason})
        return
    told = reader.problem
    if told:
        box.say({"t": "problem", "what": service, "reason": told})
    for line in reader if times["until"] is None else deque(reader, maxlen=lines):
        box.say({"t": "line", **line})
    if reader.problem != told:
        box.say({"t": "problem", "what": service, "reason": reader.problem})
