"""The record: the last hour of states, every second of the last minutes and every ten seconds before. Reads no clock.

States share their parts, but figures change every second, so a list of them would grow to many MiB. Each host is therefore
packed whenever it has changed (see `packing`); what is large and seldom changes is kept by reference, and the curves as two
plain arrays each. An hour of a host takes about half a MiB. Of many hosts a few are packed each second, those to which
something has just happened before all others: for the rest a moment shows what was known up to ten seconds before it.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sovtui.core.held import Held
from sovtui.core.marks import Mark, turns
from sovtui.core.model import ActionRun, HostSpec
from sovtui.core.packing import Packed, Packer, unpack
from sovtui.core.state import CURVE_POINTS, FigureKey, Host, State

SPAN_SECONDS = 3600.0
FINE_SECONDS = 300.0
"""So far back every state is kept; further back one per block, and those in which something happened."""
BLOCK_SECONDS = 10
LEAST_SECONDS = 0.9
"""States that follow one another faster are not kept."""
TURNS_PER_BLOCK = 3
GAP_SECONDS = 30.0
"""A moment further from what was kept before it is not in the record: the client slept or was not there."""
BACK_SECONDS = 60.0
"""A clock that is set back by more begins a new record."""
CURVE_SECONDS = 660.0
AT_ONCE = 5
"""So many hosts are packed each second; of more than fifty, as many as it takes to pack each within a block."""
BUDGET_BYTES, BUDGET_PER_HOST_BYTES = 4 << 20, 1 << 20
"""What an hour may take, alerts and receipts with it; where that is not enough it reaches less far back."""
MOST_CURVES = 200
"""Of one host."""
NOTED = 300
"""Marks that are remembered."""

Points = tuple[tuple[float, float], ...]
_NO_SPEC = HostSpec("")


@dataclass(frozen=True, slots=True)
class _Kept:
    at: float
    turned: bool
    """Something happened since the one before."""
    bare: State
    """What of the state is kept as it is: all but hosts and sources."""
    sources: Packed
    hosts: tuple[_KeptHost, ...]

    def parts(self) -> Iterator[Packed]:
        yield self.sources
        for host in self.hosts:
            yield from (host.services, host.rest)

    def held(self) -> Iterator[object]:
        """All that it keeps, by reference or packed."""
        yield from self.parts()
        yield from (self.bare.alerts, self.bare.alerts_told, self.bare.firing, self.bare.hushes)
        for host in self.hosts:
            yield from (host.action, host.receipts)


@dataclass(frozen=True, slots=True)
class _KeptHost:
    spec: HostSpec
    action: ActionRun | None
    receipts: tuple[ActionRun, ...]
    services: Packed
    rest: Packed


class _Part:
    """One part of the state, packed again only when it is another."""

    def __init__(self) -> None:
        self._packer = Packer()
        self._value: object = None
        self._packed: Packed | None = None

    def packed(self, value: object) -> Packed:
        if self._packed is None or value is not self._value:
            self._value, self._packed = value, self._packer.pack(value)
        return self._packed


class _Series:
    """How one host was packed last."""

    def __init__(self) -> None:
        self.services, self.rest = _Part(), Packer()
        self.value: Host | None = None
        self.at = -math.inf
        self.kept: _KeptHost | None = None

    def keep(self, host: Host, at: float) -> None:
        """Specs, actions and receipts are shared with the states around; the curves are kept elsewhere.

        The services are half of all, and news of them come every few seconds only.
        """
        rest = self.rest.pack(replace(host, spec=_NO_SPEC, action=None, receipts=(), curves={}, services={}))
        self.value, self.at = host, at
        self.kept = _KeptHost(host.spec, host.action, host.receipts, self.services.packed(host.services), rest)


class Record:
    """Keeps states and hands them out again. Not thread-safe."""

    def __init__(self, *, span_seconds: float = SPAN_SECONDS, fine_seconds: float = FINE_SECONDS) -> None:
        self._span, self._fine = span_seconds, fine_seconds
        self._clear()

    def _clear(self) -> None:
        self._old: deque[_Kept] = deque()
        self._new: deque[_Kept] = deque()
        self._held = Held()
        self._turns_of_block = 0
        self._newest: State | None = None
        self._series: dict[str, _Series] = {}
        """By host."""
        self._sources = _Part()
        self._noted: deque[Mark] = deque(maxlen=NOTED)
        self._curves: dict[str, dict[FigureKey, tuple[array[float], array[float]]]] = {}

    # keeping

    def keep(self, state: State) -> None:
        """Add the newest state."""
        at, before = state.now.timestamp(), self._newest
        if before is not None:
            since = at - before.now.timestamp()
            if since < -BACK_SECONDS:
                self._clear()
                before = None
            elif since < LEAST_SECONDS:
                return
        happened = turns(before, state) if before is not None else ()
        self._noted.extend(happened)
        self._new.append(kept := self._pack(at, bool(happened), state, {mark.host for mark in happened}))
        self._held.hold(kept.held())
        self._keep_curves(state)
        self._newest = state
        self._forget(at)

    def _pack(self, at: float, turned: bool, state: State, first: set[str]) -> _Kept:
        for name in self._series.keys() - state.hosts.keys():
            del self._series[name]
        changed = []
        for name, host in state.hosts.items():
            series = self._series.setdefault(name, _Series())
            if series.value is not host:
                changed.append((name not in first, series.at, name, host, series))
        most = max(AT_ONCE, math.ceil(len(state.hosts) / BLOCK_SECONDS))
        changed.sort(key=lambda one: one[:3])
        for index, (_, last, name, host, series) in enumerate(changed):
            if index < most or name in first or last == -math.inf:
                series.keep(host, at)
        hosts = tuple(kept for name in state.hosts if (kept := self._series[name].kept) is not None)
        return _Kept(at, turned, replace(state, hosts={}, sources={}), self._sources.packed(state.sources), hosts)

    def _forget(self, now: float) -> None:
        while self._new and self._new[0].at < now - self._fine:
            self._thin(self._new.popleft())
        budget = BUDGET_BYTES + BUDGET_PER_HOST_BYTES * len(self._series)
        while self._old and (self._old[0].at < now - self._span or self._held.bytes > budget):
            self._held.release(self._old.popleft().held())
        while len(self._new) > 1 and self._held.bytes > budget:
            self._held.release(self._new.popleft().held())
        edge = now - self._span - CURVE_SECONDS
        for curves in self._curves.values():
            for times, values in curves.values():
                if times and times[0] < edge - 60.0:  # not at every second
                    gone = bisect_left(times, edge)
                    del times[:gone]
                    del values[:gone]

    def _thin(self, kept: _Kept) -> None:
        if not self._old or kept.at // BLOCK_SECONDS != self._old[-1].at // BLOCK_SECONDS:
            self._turns_of_block = 0
        elif kept.turned and self._turns_of_block < TURNS_PER_BLOCK:
            self._turns_of_block += 1
        else:
            self._held.release(kept.held())
            return
        self._old.append(kept)

    def _keep_curves(self, state: State) -> None:
        for name, host in state.hosts.items():
            before = self._newest.hosts.get(name) if self._newest is not None else None
            if before is not None and before.curves is host.curves:
                continue
            curves = self._curves.setdefault(name, {})
            for key, points in host.curves.items():
                times, values = curves.setdefault(key, (array("d"), array("d")))
                last = times[-1] if times else float("-inf")
                news = len(points)
                while news and points[news - 1][0] > last:
                    news -= 1
                times.extend(at for at, _ in points[news:])
                values.extend(value for _, value in points[news:])
            if len(curves) > MOST_CURVES:
                first = [key for key in curves if key not in host.curves]  # what is gone before what is there
                for key in [*first, *reversed(curves)][: len(curves) - MOST_CURVES]:
                    curves.pop(key, None)

    def prepend(self, older: Record) -> None:
        """Put a record of the time before in front of this one."""
        mine = self.oldest.timestamp() if self.oldest is not None else float("inf")
        for kept in reversed([k for k in (*older._old, *older._new) if k.at < mine]):
            (self._old if self._old else self._new).appendleft(kept)
            self._held.hold(kept.held())
        self._noted = deque((*(m for m in older._noted if m.at.timestamp() < mine), *self._noted), maxlen=NOTED)
        for host, curves in older._curves.items():
            for key, (times, values) in curves.items():
                own = self._curves.setdefault(host, {}).get(key, (array("d"), array("d")))
                until = bisect_left(times, own[0][0]) if own[0] else len(times)
                self._curves[host][key] = (times[:until] + own[0], values[:until] + own[1])
        self._newest = self._newest or older._newest

    # telling

    def __len__(self) -> int:
        """How many states are kept."""
        return len(self._old) + len(self._new)

    @property
    def held_bytes(self) -> int:
        """About what all of it takes but the curves, what is shared counted once: never much more than its budget."""
        return self._held.bytes

    @property
    def size_bytes(self) -> int:
        """What the packed states and the curves take, without what is shared."""
        packed = {id(p): p for kept in (*self._old, *self._new) for p in kept.parts()}
        keys = {id(p.key): len(p.key) for p in packed.values()}
        points = sum(len(times) for curves in self._curves.values() for times, _ in curves.values())
        return sum(len(p.body) for p in packed.values()) + sum(keys.values()) + points * 16

    @property
    def oldest(self) -> datetime | None:
        """The first moment that is kept."""
        kept = self._old or self._new
        return datetime.fromtimestamp(kept[0].at, UTC) if kept else None

    @property
    def newest(self) -> datetime | None:
        """The last moment that is kept."""
        kept = self._new or self._old
        return datetime.fromtimestamp(kept[-1].at, UTC) if kept else None

    @property
    def noted(self) -> tuple[Mark, ...]:
        """What has happened while it was kept, oldest first."""
        return tuple(self._noted)

    def at(self, moment: datetime) -> State | None:
        """The state as it was then, its `now` at or before the moment; None where nothing was kept."""
        wanted = moment.timestamp() + 0.001
        part = self._new if self._new and self._new[0].at <= wanted else self._old
        index = bisect_right(part, wanted, key=lambda kept: kept.at) - 1
        if index < 0 or wanted - part[index].at > GAP_SECONDS:
            return None
        state = _unpack(part[index])
        hosts = {name: replace(host, curves=self._cut(name, wanted)) for name, host in state.hosts.items()}
        return replace(state, hosts=hosts)

    def _cut(self, name: str, until: float) -> Mapping[FigureKey, Points]:
        """The curves of a host as they were: the newest ones, which may have been filled up since, as far as they reach back."""
        host = self._newest.hosts.get(name) if self._newest is not None else None
        found: dict[FigureKey, Points] = {}
        begin = until - CURVE_SECONDS
        for key, (times, values) in self._curves.get(name, {}).items():
            full = [p for p in host.curves.get(key, ()) if begin <= p[0] <= until] if host is not None else []
            first, end = bisect_left(times, begin), bisect_left(times, full[0][0]) if full else bisect_right(times, until)
            points = (*zip(times[first:end], values[first:end], strict=True), *full)
            if points:
                found[key] = points[-CURVE_POINTS:]
        return found


def _unpack(kept: _Kept) -> State:
    hosts = {
        one.spec.name: replace(
            unpack(one.rest), spec=one.spec, action=one.action, receipts=one.receipts, services=unpack(one.services)
        )
        for one in kept.hosts
    }
    return replace(kept.bare, hosts=hosts, sources=unpack(kept.sources))
