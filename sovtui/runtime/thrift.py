"""Keeps the traffic of poor links low: judges each, tells links and sources to be sparing, counts what goes over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sovtui.config.schema import Config
from sovtui.core.events import Event, MeteredSeen, TrafficSeen
from sovtui.core.metered import Judge, Wish, interval
from sovtui.core.model import Traffic
from sovtui.core.state import State
from sovtui.ports.clock import Clock
from sovtui.ports.link import Link
from sovtui.ports.source import StreamSource
from sovtui.runtime.links import LinkKeeper

COUNT_EVERY_SECONDS = 5.0


class Thrift:
    """One per hub. `look` is called once a second."""

    def __init__(
        self,
        config: Config,
        keepers: Mapping[str, LinkKeeper],
        put: Callable[[Event], None],
        clock: Clock,
        vias: Mapping[str, str],
    ) -> None:
        """`vias`: the host through whose link a source that tells of all hosts is reached, by its name."""
        self._keepers, self._put, self._clock, self._vias = keepers, put, clock, vias
        self.streams: Iterable[StreamSource] = ()
        self._judges = {name: Judge(_wish(host.metered)) for name, host in config.host.items()}
        self._on: dict[str, bool] = {}
        self._told: dict[str, Link] = {}
        """The link that was last told, by host."""
        self._before: dict[str, tuple[int, int]] = {}
        """What went over links that are gone."""
        self._last: dict[str, tuple[int, int]] = {}
        self._counted_at = float("-inf")

    def wish(self, host: str, wish: Wish) -> None:
        """What the operator wants from now on, until sovtui ends."""
        judge = self._judges[host]
        judge.wish, judge.told = wish, True

    def interval(self, source: str, host: str, usual_seconds: float) -> float:
        """How long to wait before that source is asked again."""
        return interval(usual_seconds, metered=self._on.get(host or self._vias.get(source, ""), False))

    def look(self, state: State) -> bool:
        """Judge every link by its newest state. Whether something has changed, so that whoever waits may look again."""
        changed = False
        for name, host in state.hosts.items():
            judge = self._judges.get(name)
            if judge is None:
                continue
            why = judge.why(host, state.now)
            on = bool(why)
            link = self._keepers[name].link if name in self._keepers else None
            if on != self._on.get(name, False):
                self._on[name], changed = on, True
                for stream in self.streams:
                    if stream.host == name:
                        stream.spare(on)
            if link is not None and (on or name in self._told) and (self._told.get(name) is not link or changed):
                spare = getattr(link, "spare", None)
                if spare is not None:
                    spare(on)
                self._told[name] = link
            if why != host.metered:
                self._put(MeteredSeen(name, why))
        now = self._clock.monotonic()
        if now - self._counted_at >= COUNT_EVERY_SECONDS:
            self._counted_at = now
            self.count()
        return changed

    def count(self) -> None:
        """Tell what went over every link so far."""
        for name, keeper in self._keepers.items():
            told = getattr(keeper.link, "traffic_bytes", None)
            last = self._last.get(name)
            if told is not None:
                if last is not None and (told[0] < last[0] or told[1] < last[1]):  # another connection
                    before = self._before.get(name, (0, 0))
                    self._before[name] = (before[0] + last[0], before[1] + last[1])
                self._last[name] = told
                before = self._before.get(name, (0, 0))
                self._put(TrafficSeen(name, Traffic(before[0] + told[0], before[1] + told[1], self._clock.now())))


def _wish(configured: bool | str) -> Wish:
    return Wish.AUTO if configured == "auto" else Wish.ON if configured else Wish.OFF
