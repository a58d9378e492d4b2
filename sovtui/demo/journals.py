"""The journals of all services: lines as they were written, not clean."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from sovtui.demo.moment import Moment

LOG_LINES = 500
"""Lines kept of a service."""
VLLM_STAMP, SGLANG_STAMP = "%V%", "%S%"
"""In the text of a line: where the engine writes the time of writing."""


@dataclass(frozen=True, slots=True)
class Line:
    """A journal line as it was written: not clean."""

    at: datetime
    text: str
    level: str = "info"


class Journals:
    """Every service's lines, by host and service."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._lines: dict[tuple[str, str], deque[Line]] = {}
        self._written: dict[tuple[str, str], int] = {}

    def write(self, host: str, service: str, text: str, level: str = "info", at: datetime | None = None) -> None:
        """Add a line; of now, or of a time before the beginning."""
        key, now = (host, service), at or self._moment.now
        text = text.replace(VLLM_STAMP, f"{now:%m-%d %H:%M:%S}").replace(SGLANG_STAMP, f"{now:%Y-%m-%d %H:%M:%S}")
        self._lines.setdefault(key, deque(maxlen=LOG_LINES)).append(Line(now, text, level))
        self._written[key] = self._written.get(key, 0) + 1

    def written(self, host: str, service: str) -> int:
        """How many lines were ever written; a follower knows from it what is new."""
        return self._written.get((host, service), 0)

    def before(self, host: str, service: str, until: float, lines: int) -> tuple[Line, ...]:
        """The newest lines of before a unix time, oldest first."""
        return tuple(line for line in self._lines.get((host, service), ()) if line.at.timestamp() <= until)[-lines:]

    def newest(self, host: str, service: str, lines: int) -> tuple[Line, ...]:
        """The newest lines, oldest first."""
        kept = self._lines.get((host, service), ())
        return tuple(kept)[-lines:] if lines > 0 else ()
