"""Backups and the jobs that make them. A job that is through ends the alert that said its backup is late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sovtui.core.model import Backup
from sovtui.demo.alerts import Alerts
from sovtui.demo.estate import SOURCE, Estate
from sovtui.demo.journals import Journals
from sovtui.demo.moment import Moment
from sovtui.demo.supervisor import Supervisor, Unit

JOB_SECONDS = 8


class Backups:
    """The backups of all hosts."""

    def __init__(self, estate: Estate, moment: Moment, supervisor: Supervisor, journals: Journals, alerts: Alerts) -> None:
        self._moment = moment
        self._supervisor = supervisor
        self._journals = journals
        self._alerts = alerts
        self._jobs: dict[tuple[str, str], int] = {}
        """Seconds that a job runs already."""
        self._of: dict[str, dict[str, Backup]] = {}
        for host, facts in estate.hosts.items():
            configs = {backup.name: backup for backup in estate.config.host[host].backup}
            self._of[host] = {}
            for name, (age, result) in facts.backups.items():
                config, last = configs[name], None if age is None else moment.start - timedelta(seconds=age)
                max_age = float(config.max_age)
                self._of[host][name] = Backup(name, config.service, max_age, last, result, moment.start, SOURCE)
                unit = supervisor.units[host][config.service]
                if result == "success" and last is not None:
                    for seconds, line in (
                        (41, f"Starting {unit.description}..."),
                        (1, "done: 14.2 GiB in 41 832 files, 208 MiB new, archive read back"),
                        (0, f"Finished {unit.description}."),
                    ):
                        journals.write(host, unit.name, line, at=last - timedelta(seconds=seconds))
                if result == "failed":
                    self._fail(host, name, unit)

    def _fail(self, host: str, name: str, unit: Unit) -> None:
        """It failed before the beginning, and its journal says why."""
        unit.active, unit.sub, unit.result, unit.exit_status = "failed", "failed", "exit-code", 32
        for seconds, text, level in (
            (18, f"Starting {unit.description}...", "info"),
            (17, "repository: 14.2 GiB in 41 832 files", "info"),
            (0.4, f"mount: /mnt/{name}: /dev/disk/by-label/{name} is busy.", "error"),
            (0.3, f"the copy to {name} was not made: nothing is mounted", "error"),
            (0.1, f"{unit.name}: Main process exited, code=exited, status=32/n/a", "warning"),
            (0, f"{unit.name}: Failed with result 'exit-code'.", "warning"),
        ):
            self._journals.write(host, unit.name, text, level, unit.since - timedelta(seconds=seconds))

    def makes(self, host: str, service: str) -> bool:
        """Whether `service` is the job of a backup."""
        return any(backup.service == service for backup in self._of[host].values())

    def start(self, host: str, service: str) -> None:
        self._jobs[(host, service)] = 0
        for name, backup in self._of[host].items():
            if backup.service == service:
                self._of[host][name] = replace(backup, last_result="running")
        self._supervisor.start_job(host, service)

    def stop(self, host: str, service: str) -> None:
        self._jobs.pop((host, service), None)

    def each_second(self) -> None:
        """Jobs that run write a line, and are done after eight."""
        for (host, service), spent in tuple(self._jobs.items()):
            self._jobs[(host, service)] = spent + 1
            if spent < JOB_SECONDS:
                text = f"{100 * spent // JOB_SECONDS} % of 14.2 GiB read, {spent * 27} MiB new"
                self._journals.write(host, service, text)
                continue
            del self._jobs[(host, service)]
            self._journals.write(host, service, "done: 14.2 GiB in 41 832 files, 212 MiB new, archive read back")
            self._supervisor.end_job(host, service)
            for name, backup in tuple(self._of[host].items()):
                if backup.service == service:
                    self._of[host][name] = replace(backup, last_result="success", last_success_at=self._moment.now)
                    self._end_alert(name)

    def seen(self, host: str) -> tuple[Backup, ...]:
        return tuple(replace(backup, at=self._moment.now) for backup in self._of[host].values())

    def _end_alert(self, name: str) -> None:
        self._alerts.resolve(lambda alert: alert.name == "BackupLate" and alert.label("destination") == name)
