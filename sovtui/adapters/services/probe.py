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
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sovtui.adapters.services.gpus import Gpus
from sovtui.core import outside
from sovtui.core.activity import IDLE_CORES, Activity, address_of
from sovtui.core.clean import Clean, clean
from sovtui.core.events import ActionNoticed, ActivitySeen, ClockSeen, Event, Sample, Samples, ServicesSeen
from sovtui.core.metered import interval
from sovtui.core.model import Mode, Service
from sovtui.core.reading import fresh, unknown
from sovtui.core.serving import ASKED_AT_WORK
from sovtui.core.state import FigureKey
from sovtui.onbox.names import supervisor_of
from sovtui.ports.clock import Clock
from sovtui.ports.errors import PortError, TimedOut
from sovtui.ports.link import Link, Patience
from sovtui.runtime import bundle
from sovtui.runtime.exchange import Exchange, lines
from sovtui.runtime.pace import Tap
from sovtui.runtime.skews import Skews

SOURCE = "probe"
UNDECIDED_SECONDS = 0.1
DECIDED_SECONDS = 5.0
"""How often it is looked whether another source tells the GPUs."""
SILENT_SECONDS = 30.0
"""It tells every few seconds that all is as it was: one that is silent for so long, and twice its interval, hangs."""
LINES_AT_ONCE, LINES_PER_SECOND = 200, 40.0
"""A sweep a second tells what changed in ten lines."""
MOST_DISKS = 100
MUCH_JUNK = 1000
"""Lines between the probe's own: no login shell writes so many."""
_FIELDS = [field.name for field in fields(Service)]
_PARTS, _AT = attrgetter(*_FIELDS), _FIELDS.index("at")
_MOMENTS = ("since", "next_run_at", "ended_at", "skipped_at")
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
        records: Iterable[str] = (),
    ) -> None:
        """`engines`: the modes and engines whose processes are looked at, as far as they are on that host.

        `skews`: what is known of the hosts' clocks; this source asks for the time, and tells all moments by this machine's.

        `records`: those of the services of whose runs the journal is asked where systemd keeps no record.

        `gpus_elsewhere(host)`: whether another source reports its GPUs; None while that is not known. Without it they are never asked for.
        """
        self.host = host
        self._gpus_elsewhere = gpus_elsewhere
        self._skews = skews or Skews()
        self._services = tuple(services)
        self._wanted = frozenset(self._services)
        self._foreign = 0
        """The most services of one line that nobody had asked for."""
        self._records = tuple(records)
        self._engines = _by_address(engines)
        self._usual, self._interval = interval_seconds, interval_seconds
        self._run: Exchange | None = None
        """The one that can be told more."""
        self._heard: Exchange | None = None
        self._telling: asyncio.Task[None] | None = None
        self._clock = clock

    @property
    def left_out(self) -> str:
        """See `ports.source.Source`."""
        junk = self._heard.unread if self._heard is not None else 0
        told = f"more than {10 ** (len(str(junk)) - 1)} lines of something else left out" if junk > MUCH_JUNK else ""
        return ", ".join(word for word in (outside.left_out([(self._foreign, "services that nobody asked for")]), told) if word)

    def spare(self, on: bool) -> None:
        self._interval = interval(self._usual, metered=on)
        if self._run is not None:
            self._telling = asyncio.create_task(self._tell(self._run), name=f"pace {self.host}")

    async def _tell(self, run: Exchange) -> None:
        """The far end takes another pace while it runs: starting it again would send its program again."""
        with contextlib.suppress(PortError):
            await run.give(bundle.request_line({"interval": self._interval}))

    def _opened(self, run: Exchange) -> None:
        self._heard, self._run = run, run if run.takes_input else None
        self._foreign = 0

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
        request = {
            "services": list(self._services),
            "records": list(self._records),
            "interval": self._interval,
            "engines": engines,
        }
        async with aclosing(lines(link, "probe", request, Patience.WATCHES, self._opened)) as heard:
            async for line in self._in_time(heard):
                now = self._clock.now()
                if line.get("t") in ("hello", "beat"):
                    before = self._skews.of(self.host)
                    if self._skews.hear(self.host, line.get("now"), now, (link.latency_seconds or 0.0) / 2):
                        services = _carried(services, self._skews.of(self.host) - before)
                    skew = self._skews.told(self.host)
                    clock = () if skew is None else (ClockSeen(self.host, skew),)
                match line.get("t"):
                    case "services":
                        told = [self._service(raw, now) for raw in self._asked_for(line.get("services"))]
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
                        yield (ActionNoticed(self.host, clean(outside.text(line.get("id")), 200)),)
                    case "activity":
                        told_of = {
                            at: _activity(one, servers.get(at), now)
                            for one in outside.rows(line.get("of"))
                            if (at := outside.text(one.get("at"))) in self._engines
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
                        reason = clean(outside.text(line.get("reason")))
                        yield self._problem(outside.text(line.get("what")), reason, services, now)

    async def _in_time(self, heard: AsyncGenerator[Mapping[str, Any], None]) -> AsyncGenerator[Mapping[str, Any], None]:
        """The lines, no faster than the screen can tell them apart. Raises `TimedOut` where none comes any more."""
        tap = Tap(LINES_AT_ONCE, LINES_PER_SECOND)
        while True:
            seconds = SILENT_SECONDS + 2 * self._interval
            try:
                async with asyncio.timeout(seconds):
                    line = await anext(heard)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise TimedOut(f"the probe on {self.host} has told nothing for {seconds:g} s") from None
            yield line
            await tap.one()

    def _asked_for(self, told: object) -> list[Mapping[str, Any]]:
        rows = outside.rows(told)
        wanted = {name: row for row in rows if (name := outside.text(row.get("name"))) in self._wanted}
        self._foreign = max(self._foreign, sum(outside.text(row.get("name")) not in self._wanted for row in rows))
        return list(wanted.values())

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
        active, skew = _word(raw, "active", 32) or "unknown", self._skews.of(self.host)
        ended = active in ("failed", "inactive") or raw.get("result") not in ("", "success", None)
        return Service(
            name=_word(raw, "name", 256),
            active=active,
            sub=_word(raw, "sub", 32),
            result=_word(raw, "result", 32),
            since=_moment(raw.get("since"), skew),
            restarts=_whole(raw.get("restarts")),
            main_pid=_whole(raw.get("pid")) or None,
            memory_bytes=_whole(raw.get("memory")),
            description=_word(raw, "description", 200),
            at=now,
            source=SOURCE,
            exit_status=_whole(raw.get("status")) if ended else None,
            next_run_at=_moment(raw.get("next"), skew),
            once=raw.get("once") is True,
            ended_at=_moment(raw.get("ended"), skew),
            ended_by=clean(str(raw.get("by") or ""), 32),
            skipped_at=_moment(raw.get("skipped_at"), skew),
            skipped=clean(str(raw.get("skipped") or ""), 300),
            kept=raw.get("kept") is not False,
            mute=None if (mute := raw.get("mute", "")) is None else clean(str(mute), 300),
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
        _word(raw, "why", 200),
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


def _word(raw: Mapping[str, Any], key: str, limit: int) -> Clean:
    return clean(outside.text(raw.get(key) or ""), limit)


def _amount(value: object) -> float | None:
    told = outside.number(value)
    return told if told is not None and told >= 0 else None


def _carried(services: Mapping[str, Service], by: timedelta) -> dict[str, Service]:
    """The same, their moments by another skew."""
    if not by:
        return dict(services)
    return {
        name: replace(service, **{field: at + by for field in _MOMENTS if (at := getattr(service, field)) is not None})
        for name, service in services.items()
    }


def _renewed(service: Service, now: datetime) -> Service:
    """The same, seen now. A beat renews all of them: `dataclasses.replace` takes three times as long."""
    parts = [*_PARTS(service)]
    parts[_AT] = now
    return Service(*parts)


def _moment(value: object, skew: timedelta) -> datetime | None:
    told = outside.unix(value)
    return told + skew if told is not None and told.timestamp() > 0 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(key: str, value: object, subject: str = "") -> dict[FigureKey, float]:
    told = outside.number(value)
    return {} if told is None else {(key, subject): told}


def _disks(line: Mapping[str, Any]) -> dict[FigureKey, float]:
    figures: dict[FigureKey, float] = {}
    for disk in outside.rows(line.get("disks"))[:MOST_DISKS]:
        mount = _word(disk, "mount", 100)
        for word in ("total", "free") if mount else ():
            figures.update(_number(f"disk.{word}_bytes", disk.get(word), mount))
    return figures


def _memory(line: Mapping[str, Any]) -> dict[FigureKey, float]:
    figures: dict[FigureKey, float] = {}
    for word in _MEMORY:
        figures.update(_number(f"memory.{word}_bytes", line.get(word, line.get(f"{word}_bytes"))))
    return figures
