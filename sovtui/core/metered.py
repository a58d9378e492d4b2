"""Whether a link is used sparingly: as configured, as wished, or as its path and latency suggest. Pure; the caller keeps the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sovtui.core.model import LinkPhase
from sovtui.core.state import Host

SLOW_SECONDS = 0.3
"""A round trip from here on, for `FOR_SECONDS`, is that of a poor link."""
QUICK_SECONDS = 0.15
"""Below this, for as long, it is none any more. Between the two nothing changes."""
FOR_SECONDS = 30.0
INTERVAL_SECONDS = 10.0
"""How often a metered host is looked at, at least: once before a figure is stale."""
TIMES = 5.0
"""How much more rarely what is asked anyway less often is asked."""
LONGEST_SECONDS = 300.0
KEEPALIVE_SECONDS = 5.0
"""Of a metered link: a loss is noticed after three times that."""


class Wish(StrEnum):
    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(slots=True)
class Judge:
    """What is remembered of one link between two looks."""

    wish: Wish = Wish.AUTO
    told: bool = False
    """The wish is the operator's, of now, and not the configuration's."""
    _since: datetime | None = None
    _poor: bool = False
    _why: str = field(default="")

    def why(self, host: Host, now: datetime) -> str:
        """Why the link is metered, for the operator; empty where it is not."""
        if self.wish is not Wish.AUTO:
            if self.wish is Wish.OFF:
                return ""
            return "as you chose" if self.told else "as configured"
        if host.link.phase is not LinkPhase.UP or host.link.kind == "local":
            self._since = None  # what it was it stays, until it is up long enough to be judged
            return self._why if self._poor and host.link.kind != "local" else ""
        relayed = host.path is not None and host.path.relayed
        latency = host.link.latency_seconds
        poor = relayed or (latency is not None and latency >= SLOW_SECONDS)
        good = not relayed and latency is not None and latency < QUICK_SECONDS
        if poor == self._poor or (self._poor and not good):
            self._since = None
            if poor:
                self._why = self._word(host)
        elif self._since is None:
            self._since = now
        elif (now - self._since).total_seconds() >= FOR_SECONDS:
            self._poor, self._since, self._why = poor, None, self._word(host) if poor else ""
        return self._why if self._poor else ""

    @staticmethod
    def _word(host: Host) -> str:
        if host.path is not None and host.path.relayed:
            return "its path is a relay"
        return "its round trips are slow"


def interval(usual_seconds: float, *, metered: bool) -> float:
    """How long to wait between two looks at something that is usually looked at so often."""
    if not metered:
        return usual_seconds
    return max(usual_seconds, INTERVAL_SECONDS, min(LONGEST_SECONDS, TIMES * usual_seconds))
