"""The simulated estate. Time passes only through `advance`; every random number comes from one seeded generator.

It plays what a supervisor, a kernel and an engine do (units, memory that comes back late, loads, requests, journals); each
of them is a module of its own, and here they meet: what a command does to several of them, and in which order time moves
them. It knows no hub, no store and no asyncio; it must not decide anything that an action decides.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

from sovtui.core.clean import clean
from sovtui.core.events import BackupsSeen, Curve, EngineSeen, Event, Samples, ServicesSeen
from sovtui.core.model import Service
from sovtui.demo.alerts import Alerts
from sovtui.demo.backups import Backups
from sovtui.demo.beside import Beside
from sovtui.demo.engines import Engines
from sovtui.demo.estate import SOURCE, Estate
from sovtui.demo.figures import Figures
from sovtui.demo.hardware import Hardware
from sovtui.demo.journals import Journals
from sovtui.demo.memory import Memory
from sovtui.demo.moment import Moment
from sovtui.demo.supervisor import Supervisor, Unit
from sovtui.demo.traffic import Traffic


class World:
    """All hosts of one estate at one moment."""

    def __init__(self, estate: Estate, start: datetime, *, seed: int = 7) -> None:
        chance = random.Random(seed)  # noqa: S311 - a simulation
        self.estate = estate
        self.down: dict[str, str] = {}
        """Hosts that cannot be reached, and why."""
        self._moment = moment = Moment(start)
        self.journals = Journals(moment)
        self.alerts = Alerts(moment, estate.usual_alerts(start))
        self.memory = Memory(estate)
        self._supervisor = Supervisor(estate, moment, self.journals)
        self._backups = Backups(estate, moment, self._supervisor, self.journals, self.alerts)
        self.engines = Engines(estate, moment, chance, self.memory, self._supervisor, self.journals)
        self.traffic = Traffic(estate, moment, chance, self.engines, self.journals)
        self._hardware = Hardware(estate, chance)
        self.beside = Beside(estate, moment, self.memory, self._supervisor, lambda: self.traffic.requests)
        self._figures = Figures(estate, moment, self.memory, self._hardware, self.engines, self.traffic)
        self._again: set[str] = set()
        """Services to be started again once they are gone."""

    # Time.

    @property
    def start(self) -> datetime:
        return self._moment.start

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._moment.seconds

    @property
    def now(self) -> datetime:
        return self._moment.now

    def advance(self, seconds: float) -> None:
        """Let time pass. Fractions of a grid step are kept for the next call."""
        for dt in self._moment.pass_by(seconds):
            self._step(dt)

    def _step(self, dt: float) -> None:
        self.traffic.come_and_go()
        for mode in self.engines.move(dt):
            for service in self.engines.configs[mode].services:
                if service in self._again:
                    self._again.remove(service)
                    self.start_service(self.estate.box, service)
        self.memory.move(dt)
        self.traffic.drift(dt)
        self._hardware.move(dt, working=self.traffic.working(), loading=self.engines.loading())
        if self._moment.steps % 4 == 0:
            self._each_second()

    def _each_second(self) -> None:
        self._supervisor.loop_restarts()
        self._backups.each_second()
        self.alerts.expire()
        self.beside.move()
        if self._moment.steps % 40 == 0:
            self.traffic.tell()
        self._figures.keep()

    # What an action does to the box. Nothing here waits: look again after `advance`.

    def start_service(self, host: str, service: str) -> None:
        """As `systemctl start`: returns at once, the engine loads from now on."""
        if self.units(host)[service].up:
            return
        if self._backups.makes(host, service):
            self._backups.start(host, service)
            return
        self._supervisor.start(host, service)
        if mode := self.engines.mode_of(host, service):
            self.engines.start(mode)

    def stop_service(self, host: str, service: str) -> None:
        """As `systemctl stop --no-block`."""
        if not self.units(host)[service].up:
            return
        mode = self.engines.mode_of(host, service)
        if mode not in self.engines.running:
            self._backups.stop(host, service)
            self._supervisor.stop(host, service)
            return
        self._supervisor.begin_stop(host, service)
        self.engines.stop(mode)
        self.traffic.end()

    def restart_service(self, host: str, service: str) -> None:
        """As `systemctl restart --no-block`."""
        unit = self.units(host)[service]
        if unit.restarts_every_seconds:
            unit.restarts_every_seconds = None
            self.alerts.resolve(lambda alert: alert.label("name") == service.removeprefix("container:"))
        self.stop_service(host, service)
        if unit.active == "deactivating":
            self._again.add(service)
        else:
            self.start_service(host, service)

    def reset_failed(self, host: str, service: str) -> None:
        """As `systemctl reset-failed`."""
        self._supervisor.reset_failed(host, service)

    # What a scenario or a test does to it.

    def kill_engine(self, mode: str, reason: str) -> None:
        """Its unit stays up and its memory stays held, but it no longer answers."""
        self.engines.kill(mode, reason)
        self.traffic.end()

    def hold_requests(self, running: int, waiting: int = 0) -> None:
        """From now on exactly this many requests: for pictures and tests."""
        self.traffic.hold(running, waiting)

    def release_requests(self) -> None:
        self.traffic.release()

    # What a look at the box tells.

    def units(self, host: str) -> dict[str, Unit]:
        """The units of a host by name."""
        return self._supervisor.units[host]

    def loaded(self) -> tuple[str, ...]:
        """Modes whose engine holds memory now. Never more than one, or somebody has broken the mutex."""
        return tuple(self.engines.running)

    def latency_seconds(self, host: str) -> float:
        return self._hardware.latency_seconds[host]

    def services(self, host: str) -> tuple[Service, ...]:
        return tuple(
            Service(
                name=u.name,
                active=u.active,
                sub=u.sub,
                result=u.result,
                since=u.since,
                restarts=u.restarts,
                main_pid=u.main_pid,
                memory_bytes=self._service_memory(host, u),
                description=clean(u.description),
                at=self.now,
                source=SOURCE,
                exit_status=u.exit_status if u.active == "failed" else None,
                next_run_at=self._next_run(u),
            )
            for u in self.units(host).values()
        )

    def _next_run(self, unit: Unit) -> datetime | None:
        if not unit.timer_seconds or unit.active != "active":
            return None
        done = self.now.timestamp() // unit.timer_seconds
        return datetime.fromtimestamp((done + 1) * unit.timer_seconds, UTC)

    def events(self, host: str) -> tuple[Event, ...]:
        """Everything that one look at a host tells."""
        events: list[Event] = [Samples(host, tuple(self._figures.samples(host))), ServicesSeen(host, self.services(host))]
        if host == self.estate.box:
            events += [EngineSeen(host, mode, self.engines.seen(mode)) for mode in self.estate.modes]
            events += [EngineSeen(host, name, self.beside.seen(name)) for name in self.beside.configs]
            events.append(Samples(host, tuple(self.beside.samples())))
        if backups := self._backups.seen(host):
            events.append(BackupsSeen(host, backups))
        return tuple(events)

    def curves(self, host: str) -> tuple[Curve, ...]:
        """The history of a host's figures up to now."""
        return self._figures.curves(host)

    def _service_memory(self, host: str, unit: Unit) -> int | None:
        mode = self.engines.mode_of(host, unit.name)
        if mode in self.engines.running:
            apart = self.estate.hosts[host].gpu_total_bytes is not None  # then its control group does not see the most of it
            return int(self.memory.held[mode] * (0.07 if apart else 1.0))
        return unit.memory_bytes if unit.main_pid is not None else None
