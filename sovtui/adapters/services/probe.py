"""The direct probe: one long-lived read-only sweep on the host, streamed as lines that say what changed.

Source of unit states (`systemctl show`), memory (`/proc/meminfo`), CPU and load (`/proc/stat`), disks, of whether engines work, of
which action holds the box's lock, and of GPUs (`nvidia-smi`) where nobody else tells them. Changes nothing; `onbox.probe` is the
other end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from sovtui.adapters.services.gpus import Gpus
from sovtui.core.activity import IDLE_CORES, Activity, address_of
from sovtui.core.clean import clean
from sovtui.core.events import ActionNoticed, ActivitySeen, ClockSeen, Event, Sample, Samples, ServicesSeen
from sovtui.core.metered import interval
from sovtui.core.model import Mode, Service
from sovtui.core.reading import fresh, unknown
from sovtui.core.serving import ASKED_AT_WORK
from sovtui.core.state import FigureKey
from sovtui.onbox.plan import supervisor_of
from sovtui.ports.clock import Clock
from sovtui.ports.errors import PortError
from sovtui.ports.link import Link, Patience
from sovtui.runtime import bundle
from sovtui.runtime.exchange import Exchange, lines
from sovtui.runtime.skews import Skews

SOURCE = "probe"
UNDECIDED_SECONDS = 0.1
DECIDED_SECONDS = 5.0
"""How often it is looked whether another source tells the GPUs."""
_FIELDS = [field.name for field in fields(Service)]
_PARTS, _AT = attrgetter(*_FIELDS), _FIELDS.index("at")
_MEMORY = ("total", "available", "droppable", "cached", "buffers", "shared", "swap_total", "swap_used")


class Probe:
    """Implements `ports.source.StreamSource` for one host."""

    name = SOURCE

    def __init__(
        self,
        host: str,
        services: Iterable[str],
        clock: Clock,
        interval_seconds: float = 1.0,
        engines: Iterable[Mode] = (),
        *,
        skews: Skews | None = None,
        gpus_elsewhere: Callable[[str], bool | None] | None = None,
    ) -> None:
        """`engines`: the modes and engines whose processes are looked at, as far as they are on that host.

        `skews`: what is known of the hosts' clocks; this source asks for the time, and tells all moments by this machine's.

        `gpus_elsewhere(host)`: whether another source reports its GPUs; None while that is not known. Without it they are never asked for.
        """
        self.host = host
        self._gpus_elsewhere = gpus_elsewhere
        self._skews = skews or Skews()
        self._services = tuple(services)
        self._engines = _by_address(engines)
        self._usual, self._interval = interval_seconds, interval_seconds
        self._run: Exchange | None = None
        self._telling: asyncio.Task[None] | None = None
        self._clock = clock

    def spare(self, on: bool) -> None:
        self._interval = interval(self._usual, metered=on)
        if self._run is not None:
            self._telling = asyncio.create_task(self._tell(self._run), name=f"pace {self.host}")

    async def _tell(self, run: Exchange) -> None:
        """The far end takes another pace while it runs: starting it again would send its program again."""
        with contextlib.suppress(PortError):
            await run.give(bundle.request_line({"interval": self._interval}))

    def _opened(self, run: Exchange) -> None:
        self._run = run

    async def _mind_gpus(self) -> None:
        """Tell the far end whether to ask for GPUs, as soon as it is known and whenever that changes, until cancelled."""
        assert self._gpus_elsewhere is not None
        told: bool | None = None
        while True:
            elsewhere = self._gpus_elsewhere(self.host)
            if elsewhere is not None and elsewhere is not told and self._run is not None:
                told = elsewhere
                with contextlib.suppress(PortError):
                    await self._run.give(bundle.request_line({"gpus": not elsewhere}))
            await self._clock.sleep(UNDECIDED_SECONDS if told is None else DECIDED_SECONDS)

    async def events(self, link: Link) -> AsyncGenerator[tuple[Event, ...], None]:
        """Batches until the link is lost. A beat renews the time of everything told before: unchanged is not old."""
        self._run = None
        gpus = Gpus(self.host, SOURCE)
        minding = None if self._gpus_elsewhere is None else asyncio.create_task(self._mind_gpus(), name=f"gpus {self.host}")
        try:
            async with aclosing(self._batches(link, gpus)) as batches:
                async for batch in batches:
                    yield batch
        except PortError as error:
            if silent := gpus.silent(str(error)):
                yield silent
            raise
        finally:
            if minding is not None:
                minding.cancel()
                await asyncio.gather(minding, return_exceptions=True)

    async def _batches(self, link: Link, gpus: Gpus) -> AsyncGenerator[tuple[Event, ...], None]:
        begun: tuple[Event, ...] = (gpus.begun(),) if self._gpus_elsewhere is not None else ()
        services: dict[str, Service] = {}
        figures: dict[FigureKey, float] = {}
        servers: dict[str, Activity] = {}
        clock: tuple[Event, ...] = ()
        """News of the host's clock: told with the first figures, for alone they are no answer."""
        engines = [{"at": at, "services": list(names), "fine": fine} for at, (names, fine) in self._engines.items()]
        request = {"services": list(self._services), "interval": self._interval, "engines": engines}
        async with aclosing(lines(link, "probe", request, Patience.WATCHES, self._opened)) as heard:
            async for line in heard:
                now = self._clock.now()
                if line.get("t") in ("hello", "beat"):
                    before = self._skews.of(self.host)
                    if self._skews.hear(self.host, line.get("now"), now, (link.latency_seconds or 0.0) / 2):
                        services = _carried(services, self._skews.of(self.host) - before)
                    skew = self._skews.told(self.host)
                    clock = () if skew is None else (ClockSeen(self.host, skew),)
                match line.get("t"):
                    case "services":
                        told = [self._service(raw, now) for raw in line.get("services", ())]
                        services.update({service.name: service for service in told})
                        yield (*clock, ServicesSeen(self.host, tuple(told)))
                    case "memory":
                        figures.update(_memory(line))
                        yield (*begun, *clock, self._samples(figures, now))
                        begun = ()
                    case "cpu":
                        for key, word in (("cpu.use_ratio", "use_ratio"), ("cpu.load_mean", "load"), ("cpu.count", "cpus")):
                            figures.update(_number(key, line.get(word)))
                        yield (self._samples(figures, now),)
                    case "disks":
                        gone = {
                            key: unknown("it is not mounted any more", SOURCE, now)
                            for key in figures
                            if key[0].startswith("disk.")
                        }
                        disks = _disks(line)
                        figures = {key: value for key, value in figures.items() if key not in gone} | disks
                        lost = tuple(
                            Sample(key, reading, mount) for (key, mount), reading in gone.items() if (key, mount) not in disks
                        )
                        yield (self._samples(figures, now), Samples(self.host, lost))
                    case "action":
                        yield (ActionNoticed(self.host, clean(str(line.get("id") or ""))),)
                    case "activity":
                        told_of = {
                            at: _activity(one, servers.get(at), now) for one in line.get("of", ()) if (at := str(one.get("at")))
                        }
                        servers |= told_of
                        yield (ActivitySeen(self.host, tuple(told_of.items())),)
                    case "beat":
                        renewed = tuple(_renewed(service, now) for service in services.values())
                        services = {service.name: service for service in renewed}
                        servers = {at: _still(one, now) for at, one in servers.items()}
                        seen = (ActivitySeen(self.host, tuple(servers.items())),) if servers else ()
                        again = gpus.renewed(line.get("gpus_ago"), now)
                        yield (*clock, self._samples(figures, now), *again, ServicesSeen(self.host, renewed), *seen)
                    case "gpus":
                        yield gpus.take(line, now)
                    case "problem":
                        reason = clean(str(line.get("reason", "")))
                        yield self._problem(str(line.get("what", "")), reason, services, now)

    def _samples(self, figures: Mapping[FigureKey, float], now: datetime) -> Samples:
        samples = (Sample(key, fresh(value, now, SOURCE), subject) for (key, subject), value in figures.items())
        return Samples(self.host, tuple(samples))

    def _problem(self, what: str, reason: str, services: dict[str, Service], now: datetime) -> tuple[Event, ...]:
        """Something on the host does not answer; what it told before is kept, with the reason."""
        if what.startswith("memory"):
            return (Samples(self.host, (Sample("memory.total_bytes", unknown(reason, SOURCE)),)),)
        kind = what.partition(" ")[0]
        mine = [n for n in self._services if supervisor_of(n) == kind]
        told = tuple(replace(services.get(n, Service(n)), reason=reason, at=now, source=SOURCE) for n in mine)
        return (ServicesSeen(self.host, told),)

    def _service(self, raw: Mapping[str, Any], now: datetime) -> Service:
        active, skew = clean(str(raw.get("active") or "unknown"), 32), self._skews.of(self.host)
        ended = active in ("failed", "inactive") or raw.get("result") not in ("", "success", None)
        return Service(
            name=clean(str(raw.get("name", "")), 256),
            active=active,
            sub=clean(str(raw.get("sub") or ""), 32),
            result=clean(str(raw.get("result") or ""), 32),
            since=_moment(raw.get("since"), skew),
            restarts=_whole(raw.get("restarts")),
            main_pid=_whole(raw.get("pid")) or None,
            memory_bytes=_whole(raw.get("memory")),
            description=clean(str(raw.get("description") or ""), 200),
            at=now,
            source=SOURCE,
            exit_status=_whole(raw.get("status")) if ended else None,
            next_run_at=_moment(raw.get("next"), skew),
        )


def _by_address(engines: Iterable[Mode]) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Services by the address of what they serve, and whether it is looked at finely; modes that share an address share its services."""
    found: dict[str, tuple[tuple[str, ...], bool]] = {}
    for mode in engines:
        if at := address_of(mode.url):
            names, fine = found.get(at, ((), False))
            found[at] = (tuple(dict.fromkeys((*names, *mode.services))), fine or mode.engine in ASKED_AT_WORK)
    return found


def _activity(raw: Mapping[str, Any], before: Activity | None, now: datetime) -> Activity:
    cores, connections, shared = _amount(raw.get("cores")), _amount(raw.get("open")), raw.get("shared")
    one = Activity(
        cores,
        None if connections is None else int(connections),
        _amount(raw.get("sleeps")),
        shared if isinstance(shared, bool) else None,
        clean(str(raw.get("why") or ""), 200),
        computed_at=before.computed_at if before is not None and before.cores is not None else None,
        worked_at=None
        if before is None
        else now
        if before.works
        else before.worked_at,  # until just now, as nothing else was told
    )
    return _still(one, now)


def _still(one: Activity, now: datetime) -> Activity:
    """The same, seen now."""
    computes = one.computed_at is None or one.cores is None or one.cores >= IDLE_CORES
    return replace(one, at=now, computed_at=now if computes else one.computed_at, worked_at=now if one.works else one.worked_at)


def _amount(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _carried(services: Mapping[str, Service], by: timedelta) -> dict[str, Service]:
    """The same, their moments by another skew."""
    if not by:
        return dict(services)
    return {
        name: replace(
            service,
            since=service.since + by if service.since is not None else None,
            next_run_at=service.next_run_at + by if service.next_run_at is not None else None,
        )
        for name, service in services.items()
    }


def _renewed(service: Service, now: datetime) -> Service:
    """The same, seen now. A beat renews all of them: `dataclasses.replace` takes three times as long."""
    parts = [*_PARTS(service)]
    parts[_AT] = now
    return Service(*parts)


def _moment(value: object, skew: timedelta) -> datetime | None:
    try:
        return datetime.fromtimestamp(value, UTC) + skew if isinstance(value, (int, float)) and value > 0 else None
    except (OverflowError, ValueError, OSError):
        return None  # a time no calendar has


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(key: str, value: object, subject: str = "") -> dict[FigureKey, float]:
    return {(key, subject): float(value)} if isinstance(value, (int, float)) and not isinstance(value, bool) else {}


def _disks(line: Mapping[str, Any]) -> dict[FigureKey, float]:
    figures: dict[FigureKey, float] = {}
    for disk in line.get("disks", ()):
        mount = clean(str(disk.get("mount") or ""), 100)
        for word in ("total", "free") if mount else ():
            figures.update(_number(f"disk.{word}_bytes", disk.get(word), mount))
    return figures


def _memory(line: Mapping[str, Any]) -> dict[FigureKey, float]:
    figures: dict[FigureKey, float] = {}
    for word in _MEMORY:
        figures.update(_number(f"memory.{word}_bytes", line.get(word, line.get(f"{word}_bytes"))))
    return figures
