"""Whether an engine works, told by what asks it nothing: processor time of its processes, and who is connected to its port.

A question can wake a model that sleeps, or keep one from falling asleep; the kernel's own counts do neither. Reads `/proc` only.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sovtui.onbox import cgroups, processes

Told = dict[str, Any]
RESOLVE_EVERY = 60.0
"""Seconds after which it is looked anew which processes an engine has."""
LEAST_EVERY = 3.0
"""The same where one has begun or ended, or none was found: some do that every second."""
COUNT_EVERY = 5.0
"""Seconds between two counts of the connections of an engine that rests: for each the kernel walks a large table, some milliseconds."""
LOOPBACK = "127.0.0.1"
"""Where what an engine has started for itself is asked."""
LEAST_TICKS, LEAST_SHARE = 2, 0.01
"""What counts as work in one look: fewer ticks come from rounding, a smaller share from whoever asks how it is."""
LEAST_FINE_SECONDS, LEAST_FINE_SHARE = 0.005, 0.005
"""The same where it is counted finely: one question for how it is takes a few tenths of a millisecond."""


class Activity:
    """The engines of one host."""

    def __init__(self, engines: Iterable[Mapping[str, Any]]) -> None:
        """Of each `at` (`host:port`, as it is asked), its `services`, and whether it is looked at finely (`fine`): a little work tells.

        Names are looked up beside: that may take seconds.
        """
        self._watched: list[_Watched] = []
        self._elsewhere: list[Told] = []
        for one in engines:
            place = (*str(one["at"]).rpartition(":")[::2], tuple(one.get("services", ())), bool(one.get("fine")))
            if processes.is_literal(place[0]):
                self._place(*place)
            else:
                threading.Thread(target=self._place, args=place, daemon=True).start()

    def _place(self, host: str, port: str, services: tuple[str, ...], fine: bool) -> None:
        if port.isdigit() and processes.is_here(host):
            self._watched.append(_Watched(host, int(port), services, fine))
        else:
            self._elsewhere.append({"at": f"{host}:{port}", "why": "it runs on another machine"})

    def look(self, groups: Mapping[str, Sequence[str]]) -> list[Told]:
        """One entry per engine, and one per server that it has started on a port of its own. `groups`: control groups by service.

        `at`; `cores`: processors used since the last look, 0 for none to speak of, absent where that is not known; `open`:
        connections, absent while it works; `sleeps`: seconds until it sleeps, 0 for never; `shared`: whether its slots share one
        cache; `why` alone: why nothing is known.
        """
        now, sockets = time.monotonic(), processes.Sockets()
        return [*self._elsewhere, *(told for one in tuple(self._watched) for told in one.look(groups, now, sockets))]


class _Watched:
    """One engine."""

    def __init__(self, host: str, port: int, services: tuple[str, ...], fine: bool) -> None:
        self._host, self._port, self._services, self._fine = host, port, services, fine
        self._found_at = float("-inf")
        self._sign: object = None
        self._pids: tuple[int, ...] = ()
        self._meters: dict[int, Meter] = {}
        """By port."""

    def look(self, groups: Mapping[str, Sequence[str]], now: float, sockets: processes.Sockets) -> list[Told]:
        mine = [group for name in self._services for group in groups.get(name, ())]
        sign = self._seen(mine)
        gone = any(not os.path.exists(f"/proc/{pid}") for pid in self._pids)
        changed = gone or not self._pids or sign != self._sign
        if now - self._found_at >= (LEAST_EVERY if changed else RESOLVE_EVERY):
            self._resolve(mine)
            self._sign, self._found_at = self._seen(mine), now
        if not self._meters:
            return [{"at": f"{self._host}:{self._port}", "why": "its process is not found"}]
        own = f"{self._host}:{self._port}"
        return [
            {"at": own if port == self._port else f"{LOOPBACK}:{port}", **meter.read(now, sockets)}
            for port, meter in self._meters.items()
        ]

    def _seen(self, groups: Sequence[str]) -> object:
        """What is another one once a process has begun or ended: the members of its groups, else what it has started."""
        return [(group, cgroups.direct(group)) for group in groups] or processes.children(min(self._pids, default=0))

    def _resolve(self, groups: Sequence[str]) -> None:
        """Which processes it has, and which of them serve on a port of their own: a router's models, llama-swap's."""
        pids, inner = processes.serving(self._port, groups)
        self._pids = tuple(sorted(pids))
        wanted = {self._port: (self._pids, inner)} if pids else {}
        for pid in self._pids:
            port = processes.port_of(processes.argv(pid))
            if port and port not in (self._port, inner):
                wanted[port] = ((pid,), port)
        self._meters = {
            port: self._meters.get(port, Meter(mine, local, self._fine)).of(mine, local) for port, (mine, local) in wanted.items()
        }


class Meter:
    """Processor time of some processes, and the connections to their port."""

    def __init__(self, pids: Sequence[int], port: int, fine: bool = False) -> None:
        self._pids: tuple[int, ...] = ()
        self._port, self._fine = port, fine
        self._used: dict[tuple[int, str], int] = {}
        """By process, and by thread where it is counted finely."""
        self._known: set[int] = set()
        """Processes that were there at the last look: a thread of theirs that was not has begun since."""
        self._read_at: float | None = None
        self._open: int | None = None
        self._counted_at = float("-inf")
        self._facts: Told = {}
        self.of(pids, port)

    def of(self, pids: Sequence[int], port: int) -> Meter:
        """The same with other processes: one has come, or has ended."""
        if (tuple(pids), port) != (self._pids, self._port):
            self._pids, self._port = tuple(pids), port
            self._facts = next((told for pid in pids if (told := processes.settings(pid))), {})
        return self

    def read(self, now: float, sockets: processes.Sockets) -> Told:
        """See `Activity.look`."""
        told: Told = dict(self._facts)
        used, unit, least, share = self._count()
        spent = sum(max(0, count - self._used.get(who, count if who[0] not in self._known else 0)) for who, count in used.items())
        before, self._used, self._read_at = self._read_at, used, now
        self._known = set(self._pids)
        works = False
        if before is not None and now > before:
            seconds = now - before
            works = spent >= max(least, share * seconds * unit)
            told["cores"] = float(f"{spent / unit / seconds:.1g}") if works else 0.0  # a second digit never stands still
        if works:
            self._open, self._counted_at = None, float("-inf")
        elif now - self._counted_at >= COUNT_EVERY:
            self._open, self._counted_at = sockets.connections(self._pids[0], self._port), now
        if self._open is not None:
            told["open"] = self._open
        return told

    def _count(self) -> tuple[dict[tuple[int, str], int], int, float, float]:
        """What its processes have used so far; in which part of a second, and what counts as work: at least so much, and such a share."""
        if self._fine:
            fine = {(pid, thread): count for pid in self._pids for thread, count in processes.nanoseconds(pid).items()}
            if fine:
                return fine, 10**9, LEAST_FINE_SECONDS * 10**9, LEAST_FINE_SHARE
        return {(pid, ""): processes.ticks(pid) for pid in self._pids}, processes.HZ, LEAST_TICKS, LEAST_SHARE


class Glimpse:
    """One engine, looked at once; for whoever is on the machine itself."""

    def __init__(self, url: str, groups: Sequence[str] = ()) -> None:
        """`groups`: control groups of its services."""
        host, _, port = processes.address_of(url).rpartition(":")
        self._pids: set[int] = set()
        if processes.is_here(host):
            self._pids, self._port = processes.serving(int(port), groups)

    def connections(self) -> int | None:
        """How many are open to it, idle ones included; None where that is not known."""
        return processes.Sockets().connections(min(self._pids), self._port) if self._pids else None

    def works(self, seconds: float = 0.4) -> bool | None:
        """Whether it uses the processor, seen for so long; None where that is not known."""
        if not self._pids:
            return None
        meter = Meter(sorted(self._pids), self._port)
        meter.read(time.monotonic(), processes.Sockets())
        time.sleep(seconds)
        return bool(meter.read(time.monotonic(), processes.Sockets())["cores"])

    def ticks(self) -> int:
        """Processor time so far, in the kernel's units: it moves while it works."""
        return sum(processes.ticks(pid) for pid in self._pids)
