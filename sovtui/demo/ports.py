"""The simulated estate behind the real ports: links that speak the on-box verbs, sources, alerts. For `runtime.control.Control`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sovtui.core.events import AlertsSeen
from sovtui.core.model import Alert
from sovtui.core.state import State
from sovtui.demo.estate import SOURCE
from sovtui.demo.feed import clean_alerts, path_seen
from sovtui.demo.journals import Line as JournalLine
from sovtui.demo.stage import Stage
from sovtui.demo.world import World
from sovtui.onbox.names import BadRequest
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Malformed, Unreachable
from sovtui.ports.link import Ask, ByteStream, Completed, LineStream, Link, Patience
from sovtui.ports.source import Emit
from sovtui.runtime import bundle

CONNECT_SECONDS = 0.4
LOOK_SECONDS = 0.25
"""How often a follower looks for news."""
PRIORITIES = {"fatal": 3, "error": 3, "warning": 4}


class FastClock:
    """The demo's time: begins at a moment and runs `speed` times as fast as the clock under it."""

    def __init__(self, clock: Clock, start: datetime, speed: float) -> None:
        self._clock = clock
        self._start = start
        self._speed = speed
        self._began = clock.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (self._clock.monotonic() - self._began) * self._speed

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds / self._speed)


class Theatre:
    """The stage and its clock: whoever looks first lets time pass up to now."""

    def __init__(self, stage: Stage, clock: Clock, speed: float = 1.0) -> None:
        self.stage = stage
        self.clock = FastClock(clock, stage.world.now, speed)
        self.speed = speed
        self._told = 0.0
        self._cut: dict[str, asyncio.Event] = {}

    @property
    def world(self) -> World:
        return self.stage.world

    def catch_up(self) -> None:
        now = self.clock.monotonic()
        self.stage.advance(now - self._told)
        self._told = now

    def unplug(self, host: str, reason: str) -> None:
        """Break a host's link; it cannot be made again before `plug`."""
        self.world.down[host] = reason
        self._cut.setdefault(host, asyncio.Event()).set()

    def plug(self, host: str) -> None:
        self.world.down.pop(host, None)
        self._cut.pop(host, None)

    async def wait_cut(self, host: str) -> str:
        await self._cut.setdefault(host, asyncio.Event()).wait()
        return self.world.down.get(host, "the connection was closed")

    def check(self, host: str) -> None:
        if host in self.world.down:
            raise Unreachable(self.world.down[host])


class DemoDialer:
    """Implements `ports.link.Dialer`."""

    kind = "demo"

    def __init__(self, theatre: Theatre, host: str) -> None:
        self._theatre = theatre
        self._host = host

    @property
    def address(self) -> str:
        return self._theatre.world.estate.config.host[self._host].address

    async def dial(self, ask: Ask | None) -> Link:
        await self._theatre.clock.sleep(CONNECT_SECONDS)
        self._theatre.check(self._host)
        return DemoLink(self._theatre, self._host)


class DemoLink:
    """Implements `ports.link.Link`: understands the commands of `runtime.bundle`, nothing else."""

    kind = "demo"

    def __init__(self, theatre: Theatre, host: str) -> None:
        self._theatre = theatre
        self._host = host
        self._closed = asyncio.Event()

    @property
    def host(self) -> str:
        return self._host

    @property
    def latency_seconds(self) -> float | None:
        return round(self._theatre.world.latency_seconds(self._host), 4)

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float) -> Completed:
        lines = []
        async with self.stream(argv, stdin=stdin) as stream:
            async for line in stream.lines():
                lines.append(line + b"\n")
            result = await stream.result()
        return Completed(result.exit_status, b"".join(lines), result.stderr)

    @asynccontextmanager
    async def stream(
        self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE
    ) -> AsyncIterator[LineStream]:
        self._theatre.check(self._host)
        await self._theatre.clock.sleep(self._theatre.world.latency_seconds(self._host))
        called = bundle.heard(argv)
        lines = DemoLines(*called, self._answer) if called is not None else DemoLines("", b"", self._answer)
        try:
            yield lines
        finally:
            await lines.aclose()

    async def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> ByteStream:
        raise Unreachable(f"nothing listens on {host}:{port}: this is a demo")

    async def wait_lost(self) -> str:
        closed = asyncio.ensure_future(self._closed.wait())
        cut = asyncio.ensure_future(self._theatre.wait_cut(self._host))
        try:
            await asyncio.wait({closed, cut}, return_when=asyncio.FIRST_COMPLETED)
            return cut.result() if cut.done() else "the link was closed"
        finally:
            closed.cancel()
            cut.cancel()

    async def aclose(self) -> None:
        self._closed.set()

    # The on-box verbs.

    async def _answer(self, verb: str, request: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        self._theatre.catch_up()
        match verb:
            case "start":
                yield _line(self._start(request))
            case "list":
                for run in self._theatre.stage.receipts_of(self._host)[: int(request.get("limit", 50))]:
                    ended = any(record["t"] == "end" for record in run)
                    yield _line({"t": "action", "id": run[0]["id"], "running": not ended, "lines": list(run)})
            case "rehearse":
                yield _line({"t": "rehearsed", "outcome": "", "reason": ""})
            case "cancel":
                asked = self._theatre.stage.cancel(self._host, str(request.get("id", "")))
                yield _line({"t": "cancelling"} if asked else {"t": "error", "reason": f"{request.get('id')} does not run"})
            case "follow":
                async for line in self._follow(str(request.get("id") or "")):
                    yield line
            case "logs":
                async for line in self._logs(request):
                    yield line
            case _:
                yield _line({"t": "error", "reason": f"the demo cannot {verb}"})

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        stage = self._theatre.stage
        if any(run[0]["id"] == request.get("id") for run in stage.receipts_of(self._host)):
            return {"t": "exists", "id": request.get("id")}
        running = stage.current(self._host)
        if running is not None and running.running:
            return {
                "t": "busy",
                "id": running.id,
                "who": running.who,
                "kind": running.kind,
                "target": running.target,
                "since": running.began_at.timestamp(),
                "step": running.steps[-1].name if running.steps else "",
            }
        try:
            run = stage.start(self._host, request, str(request.get("who", "")))
        except BadRequest as problem:
            return {"t": "error", "reason": str(problem)}
        return {"t": "started", "id": run.id, "by": "demo"}

    async def _follow(self, run_id: str) -> AsyncGenerator[bytes, None]:
        runs = self._theatre.stage.receipts_of(self._host)
        records = next((run for run in runs if run_id in ("", run[0]["id"])), None)
        if records is None:
            yield _line({"t": "error", "reason": f"there is no action {run_id} of this user on this host".replace("  ", " ")})
            return
        told = 0
        while True:
            while told < len(records):
                record = records[told]
                told += 1
                yield _line(record)
                if record["t"] == "end":
                    return
            await self._look()

    async def _logs(self, request: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        world, service = self._theatre.world, str(request.get("service", ""))
        if service not in world.units(self._host):
            yield _line({"t": "error", "reason": f"there is no {service} on {self._host}"})
            return
        if request.get("until"):
            for line in world.journals.before(self._host, service, float(request["until"]), int(request.get("lines", 200))):
                yield _journal_line(line)
            return
        seen = max(0, world.journals.written(self._host, service) - int(request.get("lines", 200)))
        while True:
            total = world.journals.written(self._host, service)
            for line in world.journals.newest(self._host, service, total - seen):
                yield _journal_line(line)
            seen = total
            if not request.get("follow"):
                return
            await self._look()

    async def _look(self) -> None:
        await self._theatre.clock.sleep(LOOK_SECONDS)
        self._theatre.check(self._host)
        self._theatre.catch_up()


class DemoLines:
    """Implements `ports.link.LineStream`: one run of an on-box verb. Without one, a command that is not there."""

    def __init__(self, verb: str, marker: bytes, answer: Callable[[str, dict[str, Any]], AsyncGenerator[bytes, None]]) -> None:
        self._verb, self._marker, self._answer = verb, marker, answer
        self._given = b""
        self._request: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._lines = self._spoken()

    async def _spoken(self) -> AsyncGenerator[bytes, None]:
        if not self._verb:
            return
        yield self._marker + _line({"t": "ready"})
        async with aclosing(self._answer(self._verb, await self._request)) as told:
            async for line in told:
                yield self._marker + line
        yield self._marker + _line({"t": "over", "status": 0})

    def lines(self) -> AsyncIterator[bytes]:
        return self._lines

    async def write(self, data: bytes) -> None:
        self._given += data
        request = bundle.request_in(self._given)
        if request is not None and not self._request.done():
            self._request.set_result(request)

    async def result(self) -> Completed:
        told = b"" if self._verb else b"the demo understands only sovtui's own commands"
        return Completed(0 if self._verb else 127, b"", told)

    async def aclose(self) -> None:
        await self._lines.aclose()


class DemoSource:
    """Implements `ports.source.Source`: one look at a host per second."""

    name = SOURCE
    timeout_seconds = 5.0

    def __init__(self, theatre: Theatre, host: str, get_link: Callable[[str], Any]) -> None:
        self._theatre = theatre
        self._get_link = get_link
        self.host = host
        self.interval_seconds = 1.0 / theatre.speed
        self._history = False

    async def poll(self, state: State, emit: Emit) -> str:
        await self._get_link(self.host)
        self._theatre.check(self.host)
        self._theatre.catch_up()
        if not self._history:
            self._history = True
            for curve in self._theatre.world.curves(self.host):
                emit(curve)
        for event in (*self._theatre.world.events(self.host), *path_seen(self._theatre.world, self.host, state.hosts[self.host])):
            emit(event)
        return "scripted estate"

    async def aclose(self) -> None: ...


class DemoAlerts:
    """Implements `ports.alerts.Alerts`."""

    def __init__(self, theatre: Theatre, via: str) -> None:
        self._theatre = theatre
        self._via = via

    async def seen(self) -> AlertsSeen:
        self._theatre.check(self._via)
        self._theatre.catch_up()
        return AlertsSeen(clean_alerts(self._theatre.world.alerts.firing), self._theatre.clock.now())

    async def acknowledge(self, alert: Alert, *, author: str, comment: str, duration: timedelta) -> str:
        self._theatre.check(self._via)
        self._theatre.catch_up()
        try:
            return self._theatre.world.alerts.acknowledge(alert.fingerprint, author, comment, duration)
        except KeyError:
            raise Malformed(f"{alert.name} no longer fires") from None

    async def unacknowledge(self, alert: Alert) -> tuple[str, ...]:
        self._theatre.check(self._via)
        try:
            return self._theatre.world.alerts.unacknowledge(alert.fingerprint)
        except KeyError:
            raise Malformed(f"{alert.name} no longer fires") from None


class DemoAlertsSource:
    """Implements `ports.source.Source` for the list of alerts."""

    name = "alertmanager"
    host = ""
    timeout_seconds = 5.0

    def __init__(self, theatre: Theatre, alerts: DemoAlerts, via: str, get_link: Callable[[str], Any]) -> None:
        self._theatre = theatre
        self._alerts = alerts
        self._via = via
        self._get_link = get_link
        self.interval_seconds = 2.0 / theatre.speed

    async def poll(self, state: State, emit: Emit) -> str:
        await self._get_link(self._via)
        emit(await self._alerts.seen())
        return "scripted estate"

    async def aclose(self) -> None: ...


def _journal_line(line: JournalLine) -> bytes:
    return _line({"t": "line", "at": line.at.timestamp(), "text": line.text, "priority": PRIORITIES.get(line.level, 6)})


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()
