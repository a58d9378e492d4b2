"""The box's lock and receipts: at most one action per host, and time for world and actions together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sovtui.core.model import ActionRun, Step
from sovtui.demo.drive import drive
from sovtui.demo.estate import GIB
from sovtui.demo.play import Play, Script
from sovtui.demo.world import World
from sovtui.onbox.names import BadRequest

DONE, FAILED = "done", "failed"
Records = list[dict[str, Any]]
"""One receipt, record by record."""


class Stage:
    """Runs at most one play per host, as the lock on a real box does, and keeps the receipts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.playing: dict[str, Play] = {}
        self.receipts: dict[str, tuple[ActionRun, ...]] = dict.fromkeys(world.estate.hosts, ())
        self._scripts: dict[str, tuple[Script, float]] = {}
        box = world.estate.box
        self.receipts[box] = tuple(_earlier(world))
        self._records: dict[str, list[Records]] = {host: [written(r, host) for r in runs] for host, runs in self.receipts.items()}

    def start(self, host: str, request: Mapping[str, Any], who: str) -> ActionRun:
        """Start an action; the caller has looked that none runs. Raises `onbox.plan.BadRequest`."""
        kind, target = str(request["kind"]), str(request.get("target", ""))
        now = self.world.now
        run_id = str(request.get("id", "")) or f"{now:%Y%m%dT%H%M%SZ}-{kind}-{len(self.receipts[host]):04d}"
        run = ActionRun(run_id, kind, target, who, now)
        play = Play(self.world, host, run)
        play.tell(t="begin", v=1, id=run.id, kind=kind, target=target, who=who, host=host, request=dict(request))
        self.playing[host] = play
        self._scripts[host] = (drive(play, dict(request.get("plan", {}))), self.world.seconds)
        try:
            self._perform(host)
        except BadRequest:
            del self.playing[host], self._scripts[host]
            raise
        self._records[host].insert(0, play.records)
        return play.run

    def receipts_of(self, host: str) -> list[Records]:
        """The receipts as they lie on the box, newest first; that of a running action still grows."""
        return self._records[host]

    def advance(self, seconds: float) -> None:
        """Let time pass in the world and in the plays, in small steps."""
        while seconds > 1e-9:
            step = min(0.25, seconds)
            seconds -= step
            self.world.advance(step)
            for host in tuple(self._scripts):
                self._perform(host)

    @property
    def busy(self) -> bool:
        """Whether any action runs."""
        return bool(self._scripts)

    def cancel(self, host: str, run_id: str) -> bool:
        """Ask the running action to end; whether it is one."""
        play = self.playing.get(host)
        if play is None or play.run.id != run_id or not play.run.running:
            return False
        play.cancelled = True
        return True

    def current(self, host: str) -> ActionRun | None:
        """The running action, or the last one that was played here."""
        play = self.playing.get(host)
        return play.run if play else None

    def _perform(self, host: str) -> None:
        script, due = self._scripts[host]
        play = self.playing[host]
        while due <= self.world.seconds + 1e-9:
            try:
                due += next(script)
            except StopIteration:
                del self._scripts[host]
                self.receipts[host] = (play.run, *self.receipts[host])
                return
        self._scripts[host] = (script, due)


def _earlier(world: World) -> Iterator[ActionRun]:
    """Receipts of before, newest first."""
    now, estate = world.now, world.estate
    backups = estate.config.host[estate.box].backup

    def run(hours: float, kind: str, target: str, who: str, seconds: float, outcome: str = DONE, reason: str = "") -> ActionRun:
        began = now - timedelta(hours=hours)
        step = Step(kind, "done" if outcome == DONE else "failed", began, seconds)
        figures = (("before.memory.available_bytes", 31.2 * GIB), ("after.memory.available_bytes", 57.9 * GIB))
        return ActionRun(
            f"{began:%Y%m%dT%H%M%SZ}-{kind}-0000", kind, target, who, began, (step,), (), outcome, reason, seconds, figures
        )

    if estate.hot:
        yield run(1.2, "switch", estate.hot, "ops@thinclient", 168.0)
        yield run(3.9, "switch", estate.next_mode, "ops@phone", 41.0)
    yield run(4.1, "drop-caches", "", "ops@thinclient", 2.4)
    for backup in backups[1:2]:
        if estate.hosts[estate.box].backups.get(backup.name, (None, ""))[1] != "failed":
            yield run(17.2, "backup", backup.name, "ops@thinclient", 161.0)
            continue
        yield run(
            31.0, "backup", backup.name, "timer", 18.0, FAILED, f"{backup.service} failed: mount /mnt/{backup.name} is busy"
        )


def written(run: ActionRun, host: str) -> Records:
    """The receipt of an ended action as its records."""

    def at(moment: datetime) -> str:
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"

    begin = {"t": "begin", "v": 1, "id": run.id, "kind": run.kind, "target": run.target, "who": run.who, "host": host}
    records: Records = [{**begin, "at": at(run.began_at), "request": {}}]
    for step in run.steps:
        told = {"name": step.name, "state": step.state, "seconds": step.seconds, "detail": step.detail}
        records.append({"t": "step", "at": at(step.began_at), **told})
    for when in ("before", "after"):
        values = {name.removeprefix(f"{when}."): value for name, value in run.figures if name.startswith(f"{when}.")}
        records.append({"t": "figures", "at": at(run.began_at), "when": when, "values": values})
    end = run.began_at + timedelta(seconds=run.seconds or 0)
    status = 0 if run.outcome == DONE else 1
    records.append(
        {"t": "end", "at": at(end), "outcome": run.outcome, "reason": run.reason, "seconds": run.seconds, "exit": status}
    )
    return records
