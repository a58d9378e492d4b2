"""Runs the real on-box machine against the simulated box: the decisions are the product's, only the box is made up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from sovtui.core.clean import clean
from sovtui.demo.play import Play, Script
from sovtui.demo.world import World
from sovtui.onbox import machine, things, words
from sovtui.onbox.plan import parse


def drive(play: Play, plan: dict[str, Any]) -> Script:
    """The machine of this kind of action until it ends. Yields the seconds until it wants to look again."""
    parsed = parse(
        {
            "v": 1,
            "id": play.run.id,
            "kind": play.run.kind,
            "target": play.run.target,
            "who": play.run.who,
            "host": play.host,
            "plan": plan,
            "consent": {"busy": True, "not_fitting": True},
        }
    )
    box = Simulated(play.world, play.host)
    state = machine.begin(parsed)
    events: deque[words.Event] = deque([words.Began(box.now)])
    wait_until: float | None = None
    while not state.ended:
        events.extend(box.unasked())
        if play.cancelled:
            play.cancelled = False
            events.append(words.Cancelled(box.now))
        if wait_until is not None and not events and box.now >= wait_until - 1e-9:
            wait_until = None
            events.append(words.Tick(box.now))
        if not events:
            yield 0.25
            continue
        state, effects = machine.advance(state, events.popleft())
        for effect in effects:
            if isinstance(effect, words.ASKED):  # it takes the place of the one before
                wait_until, events = None, deque(event for event in events if isinstance(event, words.UNASKED))
                box.forget()
            match effect:
                case words.Wait(seconds):
                    wait_until = box.now + seconds
                case words.Step(name, told, seconds, detail, before):
                    play.step(name, told, seconds, detail, before)
                case words.Kept(unit, text):
                    play.line(unit, text)
                case words.Figures(when, values):
                    play.figures(when, values)
                case words.End(outcome, reason, seconds, status):
                    play.finish(outcome, reason, seconds, status)
                case words.Drop():
                    yield 1.0
                    play.world.memory.drop_caches(play.host)
                    events.append(words.Dropped(box.now, True))
                case _:
                    events.extend(box.answer(effect))


class Simulated:
    """What the box answers to a machine."""

    def __init__(self, world: World, host: str) -> None:
        self.world = world
        self.host = host
        self._running: list[tuple[str, str]] = []
        self._followed: dict[str, int] = {}
        self._calls: list[tuple[float, words.Call]] = []

    @property
    def now(self) -> float:
        return self.world.seconds

    def answer(self, effect: words.Effect) -> Iterator[words.Event]:
        """What is answered at once."""
        match effect:
            case words.Look(services, probes):
                yield words.Looked(
                    self.now, tuple(map(self._unit, services)), tuple(self._probe(p.url, p.health) for p in probes)
                )
            case words.CheckRights():
                yield words.Rights(self.now)
            case words.AskJobs():
                yield words.JobsTold(self.now)
            case words.Measure():
                values = (
                    ("memory.total_bytes", float(self.world.estate.hosts[self.host].total_bytes)),
                    ("memory.available_bytes", self.world.memory.available_bytes(self.host)),
                    ("memory.cached_bytes", self.world.memory.cached[self.host]),
                )
                yield words.Measured(self.now, values)
            case words.Weigh(probes):
                yield words.Weighed(self.now, tuple(things.Load(p.mode) for p in probes))
            case words.Prove():
                yield words.Proved(self.now, True, "one token came")
            case words.Command():
                yield words.CommandEnded(self.now, False, "cannot be run in the demo")
            case words.Explain(service):
                lines = tuple(clean(line.text) for line in self.world.journals.newest(self.host, service, 40))
                yield words.Explained(self.now, service, lines)
            case words.Call(url, _, body):
                self._calls.append((self.now + self.world.beside.takes_seconds(url, body), effect))
            case words.Run(verb, service):
                self._run(verb, service)
            case words.Follow(service):
                self._followed.setdefault(service, self.world.journals.written(self.host, service))

    def forget(self) -> None:
        """Nobody waits for the answer to what was called."""
        self._calls.clear()

    def unasked(self) -> Iterator[words.Event]:
        """Commands that have returned, and journal lines."""
        for verb, service in tuple(self._running):
            unit = self.world.units(self.host)[service]
            if unit.active == "deactivating" or (unit.active == "activating" and unit.sub == "start"):
                continue  # systemctl waits for the end of the job
            self._running.remove((verb, service))
            yield words.Ran(self.now, verb, service, True)
        for due, call in tuple(self._calls):
            if due <= self.now:
                self._calls.remove((due, call))
                status, body = self.world.beside.call(call.url, call.path, call.body)
                yield words.Called(self.now, status, body, self.world.now.timestamp())
        for service, seen in self._followed.items():
            total = self.world.journals.written(self.host, service)
            if total > seen:
                self._followed[service] = total
                for line in self.world.journals.newest(self.host, service, total - seen):
                    yield words.Line(self.now, service, clean(line.text))

    def _run(self, verb: str, service: str) -> None:
        match verb:
            case "start":
                self.world.start_service(self.host, service)
            case "stop":
                self.world.stop_service(self.host, service)
            case "restart":
                self.world.restart_service(self.host, service)
            case "reset-failed":
                self.world.reset_failed(self.host, service)
        self._running.append((verb, service))

    def _unit(self, name: str) -> things.Unit:
        unit = self.world.units(self.host).get(name)
        if unit is None:
            return things.Unit(name, "missing", load="not-found")
        alive = unit.main_pid is not None
        age = (self.world.now - unit.since).total_seconds()
        return things.Unit(
            name,
            unit.active,
            unit.sub,
            unit.result,
            "loaded",
            unit.main_pid or 0,
            3 if alive else 0,
            unit.restarts or 0,
            0 if unit.result in ("", "success") else 1,
            age if alive else None,
            began=round(self.now - age, 3) + 0.001 if unit.up else 0.0,
        )

    def _probe(self, url: str, health: bool) -> things.Answer:
        for mode in self.world.estate.config.host[self.host].mode:
            if mode.url == url and self.world.engines.ready(mode.name):
                return things.Answer(url, 200, (mode.model,) if mode.model else ("model",), 200 if health else None)
        return things.Answer(url, 0, (), 0 if health else None)
