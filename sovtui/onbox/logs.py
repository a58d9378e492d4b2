"""A service's journal as JSON lines for a client."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box, journal
from sovtui.onbox.deadline import within
from sovtui.onbox.names import check_service

SECONDS = 60.0
"""How long a journal may take to tell what is in it, where it is not followed."""
MISSED = 2000
"""Lines written while the link was down that are still told: as many as a screen keeps."""
MARK_EVERY = 40
"""Lines after which a place is named that a client can go on from; in between it counts."""


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
        after = str(request.get("after") or "")
        if after:
            after = _missed(service, lines, after, int(request.get("skip", 0)))
        reader = journal.reader(service, lines, times["since"], follow, named=True, until=times["until"], after=after)
    except OSError as problem:
        reason = f"{problem.filename} was not found on this host" if problem.filename else str(problem)
        box.say({"t": "error", "reason": reason})
        return
    told = reader.problem
    if told:
        box.say({"t": "problem", "what": service, "reason": told})

    def pour() -> None:
        for number, line in enumerate(reader if times["until"] is None else deque(reader, maxlen=lines)):
            _tell(line, follow and number % MARK_EVERY == 0, number == 0)

    try:
        within(None if follow else SECONDS, pour, reader.kill)
    except TimeoutError as late:
        box.say({"t": "problem", "what": service, "reason": f"its journal {late}: lines may be missing"})
    if reader.problem != told:
        box.say({"t": "problem", "what": service, "reason": reader.problem})


def _tell(line: dict[str, Any], mark: bool, first: bool = False) -> None:
    """`first`: with the time by this host's clock, so that the times of the lines can be carried over."""
    place, each = line.pop("place", ""), line.pop("each", False)
    now = {"now": time.time()} if first else {}
    box.say({"t": "line", **line, **({"cursor": place} if place and (mark or each) else {}), **now})


def _missed(service: str, lines: int, after: str, skip: int) -> str:
    """Tell what was written since a client was cut off, at least the last `MISSED` lines; the place from which to go on."""
    kept: deque[dict[str, Any]] = deque(maxlen=max(MISSED, lines))
    count = 0
    reader = journal.reader(service, lines, None, False, named=True, after=after)

    def read() -> None:
        nonlocal after, count
        for line in reader:
            count += 1
            after = line["place"] or after
            if count > skip:
                kept.append(line)

    with contextlib.suppress(TimeoutError):  # then those that came until then
        within(SECONDS, read, reader.kill)
    if count - skip > len(kept):
        box.say({"t": "problem", "what": service, "reason": f"{count - skip - len(kept)} lines came meanwhile and are left out"})
    for number, line in enumerate(kept, 1):
        _tell(line, number == len(kept))
    if not kept:
        box.say({"t": "place", "cursor": after})
    return after
