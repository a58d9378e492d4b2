"""Units and containers as their supervisor has them: started, stopped, failed, restarting in a loop.

Must not know what a unit is for: engines and backups tell it what became of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sovtui.demo.estate import Estate
from sovtui.demo.journals import Journals
from sovtui.demo.moment import Moment


@dataclass(slots=True)
class Unit:
    """A unit or container as its supervisor has it."""

    name: str
    description: str
    active: str
    sub: str
    since: datetime
    result: str = ""
    restarts: int | None = 0
    main_pid: int | None = None
    memory_bytes: int | None = None
    restarts_every_seconds: float | None = None
    timer_seconds: float | None = None
    exit_status: int | None = None

    @property
    def up(self) -> bool:
        return self.active in ("active", "activating")


class Supervisor:
    """The units of all hosts."""

    def __init__(self, estate: Estate, moment: Moment, journals: Journals) -> None:
        self._moment = moment
        self._journals = journals
        self._last_pid = 48211
        self.units: dict[str, dict[str, Unit]] = {}
        for host, facts in estate.hosts.items():
            self.units[host] = {}
            for name, told in facts.services.items():
                running = told.active == "active"
                self.units[host][name] = Unit(
                    name,
                    told.description,
                    told.active,
                    told.sub,
                    moment.start - timedelta(seconds=told.age_seconds),
                    "success",
                    told.restarts,
                    self._pid() if running and told.memory_bytes else None,
                    told.memory_bytes if running else None,
                    told.restarts_every_seconds,
                    told.timer_seconds,
                )
                for line in told.journal:
                    journals.write(host, name, line)
        self._looping = [
            (host, unit) for host, units in self.units.items() for unit in units.values() if unit.restarts_every_seconds
        ]

    def found(self, host: str, service: str, age_seconds: float) -> None:
        """It has been running since before the beginning."""
        unit = self.units[host][service]
        unit.active, unit.sub, unit.since = "active", "running", self._moment.start - timedelta(seconds=age_seconds)
        unit.main_pid = self._pid()

    def start(self, host: str, service: str) -> None:
        unit = self.units[host][service]
        unit.active, unit.sub, unit.since, unit.result = "active", "running", self._moment.now, "success"
        unit.main_pid, unit.restarts = self._pid(), 0
        self._journals.write(host, service, f"Started {unit.description}.")

    def start_job(self, host: str, service: str) -> None:
        """Its command runs to an end by itself (`Type=oneshot`)."""
        unit = self.units[host][service]
        unit.active, unit.sub, unit.since, unit.main_pid = "activating", "start", self._moment.now, self._pid()
        self._journals.write(host, service, f"Starting {unit.description}...")

    def end_job(self, host: str, service: str) -> None:
        unit = self.units[host][service]
        unit.active, unit.sub, unit.result, unit.since = "inactive", "dead", "success", self._moment.now
        unit.main_pid = None
        self._journals.write(host, service, f"Finished {unit.description}.")

    def stop(self, host: str, service: str) -> None:
        """It is gone at once."""
        unit = self.units[host][service]
        unit.active, unit.sub, unit.since, unit.main_pid = "inactive", "dead", self._moment.now, None

    def begin_stop(self, host: str, service: str) -> None:
        """It was told to end and takes its time; `end` follows."""
        unit = self.units[host][service]
        unit.active, unit.sub, unit.since = "deactivating", "stop-sigterm", self._moment.now
        self._journals.write(host, service, f"Stopping {unit.description}...")

    def end(self, host: str, service: str, result: str) -> None:
        """Its process is gone, with this result."""
        unit = self.units[host][service]
        unit.active, unit.sub = ("inactive", "dead") if result == "success" else ("failed", "failed")
        unit.result, unit.since, unit.main_pid = result, self._moment.now, None
        told = "Deactivated successfully." if result == "success" else f"Failed with result '{result}'."
        self._journals.write(host, service, f"{service.removeprefix('container:')}: {told}")

    def reset_failed(self, host: str, service: str) -> None:
        unit = self.units[host][service]
        if unit.active == "failed":
            unit.active, unit.sub, unit.result = "inactive", "dead", "success"

    def loop_restarts(self) -> None:
        """Units that die again and again do so now, if it is time."""
        now = self._moment.now
        for host, unit in self._looping:
            if not unit.restarts_every_seconds or unit.active == "inactive":
                continue
            age = (now - unit.since).total_seconds()
            if unit.active == "active" and age >= unit.restarts_every_seconds:
                unit.active, unit.sub, unit.since, unit.main_pid = "activating", "auto-restart", now, None
                unit.result = "exit-code"
                self._journals.write(host, unit.name, "sqlite3.OperationalError: database is locked", "error")
            elif unit.active == "activating" and age >= 5:
                unit.active, unit.sub, unit.since, unit.main_pid = "active", "running", now, self._pid()
                unit.restarts = (unit.restarts or 0) + 1
                self._journals.write(host, unit.name, "INFO:     Started server process [1]")

    def _pid(self) -> int:
        self._last_pid += 37
        return self._last_pid
