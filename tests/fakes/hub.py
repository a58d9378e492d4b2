"""A hub whose world is a list of events: implements `runtime.hub.Hub` for the command line's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sovtui.actions import all_specs
from sovtui.actions.spec import Plan, Wish
from sovtui.config.schema import Config
from sovtui.config.specs import host_specs
from sovtui.core.events import (
    AlertsSeen,
    BackupsSeen,
    EngineSeen,
    Event,
    LinkChanged,
    Sample,
    Samples,
    ServicesSeen,
    SourceChanged,
)
from sovtui.core.metered import Wish as Metered
from sovtui.core.model import ActionRun, Alert, Backup, Engine, EnginePhase, Link, LinkPhase, Service, Source, Step
from sovtui.core.reading import fresh
from sovtui.core.record import Record
from sovtui.core.state import State, initial, reduce
from sovtui.ports.errors import PortError, Unsupported
from sovtui.ports.link import Ask
from sovtui.ports.past import Stretch
from sovtui.runtime.hub import LogLine, Outcome, Progress, Rehearsal, Right, Rights, TailnetView

T = TypeVar("T")
NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
ID = "20261120T200000Z-switch-ab12"


class FakeHub:
    """`executed` and `options` tell what it was asked to do."""

    def __init__(
        self,
        config: Config,
        events: Iterable[Event] = (),
        *,
        read_only: bool = False,
        outcome: Outcome | None = None,
        progress: Iterable[ActionRun] = (),
        receipts: Mapping[str, tuple[ActionRun, ...] | PortError] | None = None,
        lines: Iterable[LogLine] = (),
        hang: bool = False,
        tailnet: TailnetView | None = None,
        rehearsal: Rehearsal | None = None,
        rights: Mapping[str, tuple[str, bool, str]] | None = None,
        slow: tuple[str, ...] = (),
    ) -> None:
        """`rights`: of a command what `Right` says of it; any other may be run by sudo."""
        self._config = config
        self._state = initial(host_specs(config), NOW, read_only=read_only)
        for event in events:
            self._state = reduce(self._state, event)
        self._outcome = outcome or Outcome(0, "qwen is hot")
        self._progress = tuple(progress)
        self._receipts = receipts or {}
        self._lines = tuple(lines)
        self._hang = hang
        self.record = Record()
        self.executed: list[Plan] = []
        self.options: dict[str, object] = {}
        self.cancelled: list[tuple[str, str]] = []
        self.followed: list[tuple[str, str]] = []
        self.asked_logs: dict[str, object] = {}
        self.closed = False
        self.rehearsal = rehearsal or Rehearsal("go")
        self.rights_of = dict(rights or {})
        self.tailnet_found = tailnet
        self.slow = slow

    @property
    def config(self) -> Config:
        return self._config

    @property
    def state(self) -> State:
        return self._state

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        notify(select(self._state))
        return lambda: None

    async def past(self, begin: datetime, end: datetime) -> Stretch:
        raise Unsupported("nothing is kept here")

    async def start(self) -> None:
        return

    async def settle(self, seconds: float, *, whole: bool = False) -> tuple[str, ...]:
        return self.slow if whole else ()

    async def aclose(self) -> None:
        self.closed = True

    def plan(self, action: str, wish: Wish) -> Plan:
        return all_specs()[action].plan(self._state, self._config, wish)

    async def execute(self, plan: Plan, progress: Progress | None = None, *, wait: bool = True) -> Outcome:
        self.executed.append(plan)
        if not wait:
            return self._outcome
        return await self._tell(progress)

    async def rehearse(self, plan: Plan) -> Rehearsal:
        return self.rehearsal

    async def follow(self, host: str, run_id: str = "", progress: Progress | None = None) -> Outcome:
        self.followed.append((host, run_id))
        return await self._tell(progress)

    async def cancel(self, host: str, run_id: str) -> Outcome:
        self.cancelled.append((host, run_id))
        return self._outcome

    async def _tell(self, progress: Progress | None) -> Outcome:
        for run in self._progress:
            if progress is not None:
                progress(run)
        if self._hang:
            await asyncio.Event().wait()
        return self._outcome

    async def receipts(self, host: str) -> tuple[ActionRun, ...]:
        found = self._receipts.get(host, ())
        if isinstance(found, PortError):
            raise found
        return found

    async def rights(self, host: str, commands: Sequence[Sequence[str]]) -> Rights:
        asked = tuple(Right(tuple(argv), *self.rights_of.get(" ".join(argv), ("sudo",))) for argv in commands)
        return Rights("ops", True, True, 1000, ("/usr/bin/systemctl", "/usr/bin/tee"), asked)

    async def tailnet(self, host: str) -> TailnetView:
        if self.tailnet_found is None:
            raise Unsupported("there is no command `tailscale` there")
        return self.tailnet_found

    async def logs(
        self, host: str, service: str, *, lines: int = 200, since: str = "", follow: bool = True, until: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        self.asked_logs = {"host": host, "service": service, "lines": lines, "since": since, "follow": follow}
        for line in self._lines:
            yield line

    def set_ask(self, ask: Ask | None) -> None:
        return

    def meter(self, host: str, wish: Metered) -> None:
        """There is no link."""

    def reconnect(self, host: str = "") -> None:
        return


def run(state: str = "running", outcome: str = "", seconds: float | None = None, lines: tuple[str, ...] = ()) -> ActionRun:
    """A switch at its first step."""
    step = Step("stop mistral.service", state, NOW, seconds)
    return ActionRun(ID, "switch", "qwen", "me@phone", NOW, (step,), lines, outcome, seconds=seconds)


def healthy(*, busy: bool = False) -> list[Event]:
    """`spark` up, qwen hot, mistral cold, one alert, the backup in time."""
    numbers = {
        "memory.total_bytes": 128e9,
        "memory.available_bytes": 40e9,
        "memory.droppable_bytes": 12e9,
    }
    engine = {"engine.decode_tok_s": 57.2 if busy else 0.0, "engine.running": 2.0 if busy else 0.0, "engine.waiting": 0.0}
    return [
        LinkChanged("spark", Link(LinkPhase.UP, "ssh", "ops@spark", NOW, latency_seconds=0.023)),
        ServicesSeen(
            "spark",
            (
                Service("qwen.service", "active", "running", "success", NOW),
                Service("mistral.service", "inactive", "dead", "success", NOW),
                Service("nas.service", "inactive", "dead", "success", NOW),
                Service("broken.service", "failed", "failed", "exit-code", NOW, restarts=3),
            ),
        ),
        EngineSeen("spark", "qwen", Engine(EnginePhase.READY, ("qwen36",), 131072, "0.20", at=NOW)),
        Samples("spark", tuple(Sample(k, fresh(v, NOW, "probe")) for k, v in numbers.items())),
        Samples("spark", tuple(Sample(k, fresh(v, NOW, "engine"), "qwen") for k, v in engine.items())),
        Samples("spark", (Sample("gpu.use_ratio", fresh(0.87, NOW, "prometheus"), "0"),)),
        BackupsSeen("spark", (Backup("nas", "nas.service", 93600.0, NOW - timedelta(hours=9), "success", NOW),)),
        SourceChanged(Source("alertmanager", "", True, last_ok_at=NOW)),
        AlertsSeen(
            (
                Alert(
                    "0123456789abcdef", "EngineDown", "critical", since=NOW - timedelta(minutes=5), summary="no \x1b[31manswer"
                ),
                Alert("0123ffff89abcdef", "DiskFull", "warning", summary="/data"),
                Alert("ffff000000000000", "DiskFull", "warning", summary="/var"),
            ),
            NOW,
        ),
    ]
