"""When a backup last worked, as far as its unit, its receipts and Prometheus tell. Asks nobody: looks at the state only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sovtui.config.schema import BackupConfig
from sovtui.core.events import BackupsSeen
from sovtui.core.issues import lost
from sovtui.core.model import ActionRun, Backup, LinkPhase, Service
from sovtui.core.modes import RUNNING
from sovtui.core.state import Host, State
from sovtui.core.told import services_told, source_tried
from sovtui.ports.clock import Clock
from sovtui.ports.errors import NotYet, Unreachable
from sovtui.ports.source import Emit

SILENT_SECONDS = 20.0
"""Once Prometheus has not answered for so long, the box itself is believed instead of its metric."""


class BackupsSource:
    """Implements `ports.source.Source` for one host."""

    name = "backups"
    interval_seconds = 5.0
    timeout_seconds = 5.0

    def __init__(self, host: str, backups: Sequence[BackupConfig], clock: Clock) -> None:
        self.host = host
        self._backups = tuple(backups)
        self._clock = clock

    async def poll(self, state: State, emit: Emit) -> str:
        host = state.hosts.get(self.host)
        if host is None:
            return ""
        if lost(host.link):
            raise self._away(host, emit)
        if missing := self._missing(state, host):
            raise NotYet(missing)
        now = self._clock.now()
        runs = (*host.receipts, *([host.action] if host.action else []))
        silent = _is_silent(state, now)
        news = []
        for config in self._backups:
            old = host.backups.get(config.name) or Backup(config.name, config.service, float(config.max_age))
            new = judge(config, old, host.services.get(config.service), runs, now, silent=silent)
            if replace(new, at=old.at) != old or old.at is None:
                news.append(new)
        if news:
            emit(BackupsSeen(self.host, tuple(news)))
        return ""

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _missing(self, state: State, host: Host) -> str:
        """What has to be told before anything can be said of when a backup last worked; empty where all is."""
        if host.link.phase is not LinkPhase.UP:
            return f"{self.host} is not reached yet"
        if not services_told(state, self.host, [backup.service for backup in self._backups]):
            return "the services of its backups are not known yet"
        if any(s.mute is None for backup in self._backups if (s := host.services.get(backup.service)) is not None):
            return "the journal has not reported its backups' runs yet"
        if not host.receipts_told:
            return "the receipts have not been read yet"
        if any(backup.metric for backup in self._backups) and not source_tried(state, "prometheus"):
            return "Prometheus has not answered yet"
        return ""

    def _away(self, host: Host, emit: Emit) -> Unreachable:
        """Of a host that cannot be reached nothing new is known: what was told before stays."""
        why = f"{self.host} is not reached"
        untold = {backup.name for backup in self._backups if not backup.metric}
        blank = [b for b in host.backups.values() if b.name in untold and b.last_success_at is None and not b.reason]
        if blank:
            emit(BackupsSeen(self.host, tuple(replace(backup, reason=why) for backup in blank)))
        return Unreachable(f"{why}: {host.link.reason or host.link.phase}")


def _is_silent(state: State, now: datetime) -> bool:
    """Whether Prometheus cannot tell a metric: it does not answer, and has not for a while."""
    source = state.sources.get(("prometheus", ""))
    if source is None or source.ok is not False:
        return False
    return source.last_ok_at is None or (now - source.last_ok_at).total_seconds() > SILENT_SECONDS


def judge(
    config: BackupConfig,
    old: Backup,
    service: Service | None,
    runs: Sequence[ActionRun],
    now: datetime,
    *,
    silent: bool = False,
) -> Backup:
    """What is known now. A success once seen is not forgotten: systemd itself forgets it at the next failure.

    With a metric configured Prometheus tells the last success, and only the last result is taken from the unit. While
    Prometheus is `silent` a later success that the unit or a receipt tells counts, and the reason says who tells.
    """
    new = replace(old, service=config.service, max_age_seconds=float(config.max_age), at=now)
    known = service is not None and service.active not in ("unknown", "")
    if known and service is not None:
        result = _result(service)
        why = service.skipped
        if (run := _newest(config, runs)) is not None and _is_news(service, result, run):
            result = {"done": "success", "skipped": "skipped", "failed": "failed"}.get(run.outcome, "")
            why = run.reason.removeprefix("skipped, because ")
        new = replace(new, last_result=result, skipped=why if result == "skipped" else "")
    if config.metric and not silent:
        return new if new.last_success_at or new.reason else replace(new, reason="Prometheus has not reported its metric yet")
    found = [(old.last_success_at, old.source)] if old.last_success_at else []
    if known and service is not None and service.ended_at:
        found.append((service.ended_at, service.ended_by or service.source or "probe"))
    found += [(ended, "receipt") for run in runs if (ended := _receipt(config, run))]
    if found:
        at, source = max(found, key=lambda pair: pair[0])
        return replace(new, last_success_at=at, source=source, reason=_instead(source, known) if config.metric else "")
    why = _why_unknown(config, service)
    return replace(new, reason=f"Prometheus does not answer; {why}" if config.metric else why)


def _instead(source: str, known: bool) -> str:
    """Whose word it is while nobody can be asked for the metric."""
    if source == "prometheus":
        later = "; the box knows of no later one" if known else ""
        return f"as last reported by Prometheus, which does not answer now{later}"
    return f"from its {source if source in ('receipt', 'journal') else 'unit'}: Prometheus, which has its metric, does not answer"


def _result(service: Service) -> str:
    """How its last start went. One that was skipped is no run: what the run before did, well or not, is told by other means."""
    if service.active == "failed" or service.result not in ("", "success", "exec-condition"):
        return "failed"
    if service.active in RUNNING and not _is_done(service):
        return "running"
    last = service.ended_at
    if service.result == "exec-condition" or (service.skipped_at and (last is None or service.skipped_at >= last)):
        return "skipped"
    return "success" if last else ""


def _is_done(service: Service) -> bool:
    """A oneshot with `RemainAfterExit=yes`."""
    return service.active == "active" and service.sub == "exited"


def _is_news(service: Service, result: str, run: ActionRun) -> bool:
    """Whether a receipt tells of a later start than the journal, which is asked now and then; where systemd keeps a record, that tells."""
    known = max((at for at in (service.ended_at, service.skipped_at) if at), default=None)
    return not result or (not service.kept and result in ("success", "skipped") and known is not None and run.began_at > known)


def _newest(config: BackupConfig, runs: Sequence[ActionRun]) -> ActionRun | None:
    """The receipt of the newest start."""
    mine = [run for run in runs if run.kind == "backup" and run.target in (config.name, config.service) and run.outcome]
    return max(mine, key=lambda run: run.began_at, default=None)


def _receipt(config: BackupConfig, run: ActionRun) -> datetime | None:
    if run.kind == "backup" and run.target in (config.name, config.service) and run.outcome == "done":
        return run.began_at + timedelta(seconds=run.seconds or 0.0)
    return None


def _why_unknown(config: BackupConfig, service: Service | None) -> str:
    if service is None or service.active in ("unknown", ""):
        return f"{config.service} is not known yet" if service is None or not service.reason else service.reason
    if service.active == "missing":
        return f"there is no {config.service}"
    witness = (
        f", and {service.mute}" if service.mute else ", nor does its journal tell of one" if service.source == "probe" else ""
    )
    if _result(service) == "failed":
        return f"its last run failed; systemd does not keep when it last worked{witness}: a metric would"
    if _result(service) == "running":
        return "it runs now; when it last worked is not known"
    if not service.kept:
        return f"systemd keeps no record of its runs{witness}: a metric would"
    return f"systemd reports no run that ended well{witness}: a metric would"
