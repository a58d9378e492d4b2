"""A small pretended box on which the machines' effects act: services, memory, ports, a clock. No real time passes."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sovtui.onbox import jobs, machine
from sovtui.onbox.names import kind_of
from sovtui.onbox.plan import Request, parse
from sovtui.onbox.things import Answer, Load, LoadProbe, Need, Take, Unit
from sovtui.onbox.words import (
    ASKED,
    SCRIPT,
    AskJobs,
    Began,
    Brought,
    Call,
    Called,
    Cancelled,
    CheckRights,
    Command,
    CommandEnded,
    Drop,
    Dropped,
    Effect,
    End,
    Event,
    Explain,
    Explained,
    Figures,
    Follow,
    Halt,
    Held,
    JobsTold,
    Kept,
    Line,
    Look,
    Looked,
    Measure,
    Measured,
    Prove,
    Proved,
    Ran,
    Released,
    Rights,
    Run,
    Step,
    Tick,
    Took,
    Wait,
    Weigh,
    Weighed,
)
from tests.box.pretend_loader import Loader

GIB = float(1 << 30)
REVERSE = {
    "Requires": "RequiredBy", "Requisite": "RequisiteOf", "BindsTo": "BoundBy", "PartOf": "ConsistsOf", "Wants": "WantedBy",
    "Upholds": "UpheldBy", "Conflicts": "ConflictedBy", "StopPropagatedFrom": "PropagatesStopTo",
}  # fmt: skip
WALL = 1.79e9
"""The time of day when the world's clock shows zero."""


@dataclass
class Service:
    """One pretended service. `fate`: what happens at its next start."""

    name: str
    active: str = "inactive"
    result: str = "success"
    sub: str = ""
    load: str = "loaded"
    url: str = ""
    ids: tuple[str, ...] = ()
    load_seconds: float = 5.0
    stop_seconds: float = 1.0
    notify: bool = False
    fate: str = ""
    """`fail`, `exit0`, `crash` (after ready), `restart`, `hang`, `wrong`, `refuse`, `stuck` (never stops), `stray`, `job`.

    `podman`: its process ends, and its restart policy brings it back after a while, whether it was stopped meanwhile or not; `unseen`
    the same, told as if it had ended for good.
    """
    revive_seconds: float = 1.0
    ready_at: float | None = None
    began: float | None = None
    restarts: int = 0
    procs: int = 0
    requests: float = 0.0
    """That it works on now."""
    hangs: str = ""
    """`silent`: its port takes connections and answers nothing; `core`: it says that it is well and computes nothing;
    `refuses`: it runs, and nobody listens; `closed`: as `core`, and it wants a key. A start ends it."""
    hangs_again: int = 0
    """So many of its next starts hang too, each until its start is given up."""
    deaf: str = ""
    """What it does not heed: `term`, `kill` too, or `denied`: nobody may kill it."""
    stop_limit: float | None = None
    tokens_made: float = 0.0
    cpu: float | None = None
    near: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What its unit file says of others: `Requires`, `PartOf`, `Conflicts` and the like."""
    unneeded: bool = False
    since: float | None = None
    lines: list[str] = field(default_factory=list)
    skips: str = ""
    """Why its starts are no runs, as the journal tells it; `mute`: nobody tells; `kept`: systemd itself keeps the record of it."""
    runs: int = 0
    main: float = 0.0
    """When the main process of its last run began."""
    oneshot: bool = False
    limited: bool = False
    forgotten: bool = False
    """Nothing refers to it: at its end systemd keeps no record."""
    told: bool | None = None
    """Whether the journal tells that it ran."""


class World:
    """Services by name, and everything that was done to them."""

    def __init__(self, *services: Service) -> None:
        self.now = 100.0
        self.services = {s.name: s for s in services}
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.missing: tuple[str, ...] = ()
        self.lacking: tuple[str, ...] = ()
        """What may not be started, of what can be done without."""
        self.questions: list[AskJobs] = []
        self.drop_reason = ""
        self.blind_until = 0.0
        self.commands: list[tuple[str, str]] = []
        self.drops = 0
        self.looks: list[Look] = []
        self.watch: Callable[[], None] = lambda: None
        self.script: Callable[[World, Command, Callable[[Event], None]], None] = owners_script
        self.halted = 0
        self.scripts: list[tuple[str, ...]] = []
        self.droppable = 0.0
        self.foreign: tuple[tuple[str, float], ...] = ()
        self.tokens = True
        self.proofs: list[tuple[float, float]] = []
        """When a token was asked for, and how long it might take."""
        self.stopping: dict[str, list[Callable[[], None]]] = {}
        """What is to be told once a service that does not heed its stop has ended all the same."""
        self.eaten = 0.0
        """Memory that somebody else takes."""
        self.loaders: dict[str, Loader] = {}
        """What answers calls, by address."""
        self.gpu: tuple[float, float] | None = None
        """Free and used memory of a card."""

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + seconds, next(self.order), do))

    def run_until(self, when: float) -> None:
        while self.queue and self.queue[0][0] <= when:
            self.now, _, do = heapq.heappop(self.queue)
            do()
            self.watch()
        self.now = max(self.now, when)

    # what services do

    def begin(self, s: Service) -> None:
        s.active, s.result, s.sub, s.began = "activating" if s.notify else "active", "success", "", self.now
        s.procs, s.ready_at = 1, None
        s.runs, s.main = s.runs + 1, self.now
        fate = s.fate
        s.hangs, s.deaf = "", ""
        if s.hangs_again:
            s.hangs_again, fate = s.hangs_again - 1, "hang"
        if fate in ("fail", "exit0"):
            self.at(2.0, lambda: self.die(s, "failed" if fate == "fail" else "inactive"))
        elif fate == "restart":
            self.at(2.0, lambda: self._restarted(s))
        elif fate in ("podman", "unseen"):
            self.at(2.0, lambda: self._ended(s))
        elif fate != "hang":
            self.at(s.load_seconds, lambda: self.ready(s))

    def _ended(self, s: Service) -> None:
        """What stops a container that runs is heeded; what stops one that is dead already is not."""
        if s.procs and s.active == "active":
            self.die(s, "failed")
            if s.fate == "podman":
                s.active, s.sub = "activating", "auto-restart"
            self.at(s.revive_seconds, lambda: self._revived(s))

    def _revived(self, s: Service) -> None:
        s.restarts += 1
        self.begin(s)

    def _restarted(self, s: Service) -> None:
        if s.procs:
            s.restarts, s.active, s.sub = s.restarts + 1, "activating", "auto-restart"

    def ready(self, s: Service) -> None:
        if s.procs:
            s.active, s.ready_at = "active", self.now
            if s.fate == "crash":
                self.at(0.1, lambda: self.die(s, "inactive"))

    def die(self, s: Service, active: str) -> None:
        if s.procs:
            s.active, s.procs, s.ready_at, s.began = active, 0, None, None
            s.result = "exit-code" if active == "failed" else "success"

    def start_up(self, name: str) -> World:
        """Bring it up without any time passing."""
        s = self.services[name]
        s.active, s.procs, s.ready_at, s.began = "active", 1, self.now, self.now
        return self

    def holds(self) -> list[str]:
        """Services that hold memory now."""
        return [s.name for s in self.services.values() if s.procs]

    # effects

    def perform(self, effect: Effect, post: Callable[[Event], None]) -> None:
        if isinstance(effect, Wait):
            self.at(effect.seconds, lambda: post(Tick(self.now)))
        elif isinstance(effect, Look):
            self.looks.append(effect)
            self.at(0.05, lambda: post(self.seen(effect)))
        elif isinstance(effect, CheckRights):
            self.at(0.05, lambda: post(Rights(self.now, self.missing, self._lacking(effect))))
        elif isinstance(effect, AskJobs):
            self.questions.append(effect)
            takes = tuple(self.takes(effect.needs, effect.names))
            self.at(0.05, lambda: post(JobsTold(self.now, takes)))
        elif isinstance(effect, Measure):
            self.at(0.01, lambda: post(Measured(self.now, self.figures())))
        elif isinstance(effect, Drop):
            self.drops += 1
            self.at(0.5, lambda: post(Dropped(self.now, not self.drop_reason, self.drop_reason)))
        elif isinstance(effect, Explain):
            asked = self.services[effect.service]
            lines, skips = tuple(asked.lines), asked.skips if asked.skips not in ("mute", "kept") else ""
            ran = False if skips else asked.told
            self.at(0.1, lambda: post(Explained(self.now, effect.service, lines, "", skips, ran)))
        elif isinstance(effect, Weigh):
            self.at(0.05, lambda: post(self.weighed(effect)))
        elif isinstance(effect, Prove):
            self._prove(effect, post)
        elif isinstance(effect, Command):
            self.scripts.append(effect.argv)
            self.script(self, effect, post)
        elif isinstance(effect, Halt):
            self.halted = len(self.scripts)
            self.at(0.3, lambda: post(CommandEnded(self.now, False, "was stopped")))
        elif isinstance(effect, Run):
            self.commands.append((effect.verb, effect.service))
            self.control(effect, post)
        elif isinstance(effect, Call):
            self._call(effect, post)
        else:
            assert isinstance(effect, Follow), effect
            for text in self.services[effect.service].lines:
                self.at(1.0, lambda text=text: post(Line(self.now, effect.service, text)))  # type: ignore[misc]

    def _prove(self, effect: Prove, post: Callable[[Event], None]) -> None:
        self.proofs.append((self.now, effect.timeout))
        here = [s for s in self.services.values() if s.url == effect.url and s.procs]
        hangs = here[0].hangs if here else ""
        if hangs == "closed":
            self.at(0.2, lambda: post(Proved(self.now, True, "not proved: it asks for a key", certain=False)))
        elif hangs:
            self.at(effect.timeout, lambda: post(Proved(self.now, False, "it did not answer", True)))
        else:
            self.at(0.2, lambda: post(Proved(self.now, self.tokens, "one token" if self.tokens else "HTTP 500")))

    def _call(self, call: Call, post: Callable[[Event], None]) -> None:
        loader, method = self.loaders.get(call.url), "POST" if call.body else "GET"

        def answer() -> None:
            if loader is None:
                post(Called(self.now, 0))
                return
            status, told = loader.answer(method, call.path, call.body, WALL + self.now)
            post(
                Called(
                    self.now, status, told if isinstance(told, str) else "" if told is None else json.dumps(told), WALL + self.now
                )
            )

        seconds = loader.seconds(method, call.path) if loader is not None else 0.0
        if seconds >= call.timeout:
            self.at(call.timeout, lambda: post(Called(self.now, 0)))
        else:
            self.at(0.05 + seconds, answer)

    def _lacking(self, effect: CheckRights) -> tuple[str, ...]:
        return tuple(need.service for need in effect.wishes if need.service in self.lacking)

    def takes(self, needs: Sequence[Need], names: Sequence[str] = ()) -> list[Take]:
        """What systemd would take along, by its own rule."""
        units = [need for need in needs if kind_of(need.service)[0] == "system"]
        return jobs.closure(units, [x for x in names if kind_of(x)[0] == "system"], self._facts)

    def _facts(self, units: Sequence[str]) -> list[jobs.Facts]:
        found = []
        for unit in units:
            s = self.services.get(unit, Service(unit))
            near = {key: list(others) for key, others in s.near.items()}
            for other in self.services.values():
                for key, named in other.near.items():
                    if unit in named:
                        near.setdefault(REVERSE[key], []).append(other.name)
            told = {key: tuple(others) for key, others in near.items()}
            found.append(jobs.Facts(unit, s.active, s.unneeded, told))
        return found

    def along(self, verb: str, service: str) -> None:
        """What a job of this verb does to others, at once."""
        for take in self.takes([Need(verb, service)]) if verb in ("start", "stop", "restart") else ():
            other = self.services[take.service]
            if take.verb == "stop":
                self._stopped(other)
            elif take.verb != "uphold":
                other.procs = 0
                self.begin(other)

    def control(self, run: Run, post: Callable[[Event], None]) -> None:
        s = self.services[run.service]
        self.along(run.verb, run.service)

        def end(ok: bool, reason: str = "") -> None:
            post(Ran(self.now, run.verb, run.service, ok, reason))

        if s.fate == "refuse-" + run.verb:
            self.at(0.1, lambda: end(False, "Access denied"))
        elif run.verb == "reset-failed":
            s.result = "success"
            end(True)
        elif run.verb == "kill":
            if s.deaf == "denied":
                self.at(0.1, lambda: end(False, "ops may not run `systemctl kill`"))
                return
            if s.procs and s.deaf != "kill":
                s.deaf, s.fate = "", s.fate if s.fate not in ("stuck", "stray") else ""
                self.at(0.5, lambda: self._stopped(s))
            self.at(0.1, lambda: end(True))
        elif run.verb == "stop":
            if (s.fate == "stuck" or s.deaf) and s.procs:
                s.active = "deactivating"
                self.stopping.setdefault(s.name, []).append(lambda: end(True))
                if s.stop_limit not in (None, float("inf")) and s.deaf != "kill":
                    self.at(s.stop_limit or 0.0, lambda: self._stopped(s))
            elif s.procs or (s.active == "activating" and s.fate != "podman"):
                s.active = "deactivating"
                self.at(s.stop_seconds, lambda: self._stopped(s))
                self.at(s.stop_seconds, lambda: end(True))
            else:
                self.at(0.05, lambda: end(True))
        elif run.verb == "restart" and s.skips:
            self._stopped(s)
            self.at(0.1, lambda: end(True))
        elif run.verb == "restart":
            s.procs = 0
            self.begin(s)
            self.at(0.1, lambda: end(s.active != "failed"))
        elif s.active in ("active", "activating") or s.skips:
            self.at(0.05, lambda: end(True))
        else:
            self.at(0.05, lambda: self._started(s, end))

    def _stopped(self, s: Service) -> None:
        self.die(s, "inactive")
        for end in self.stopping.pop(s.name, []):
            end()
        s.sub = ""
        s.active = "inactive"
        if s.fate == "stray":
            s.procs = 1

    def _started(self, s: Service, end: Callable[..., None]) -> None:
        s.restarts = 0
        self.begin(s)
        if s.fate == "job":
            self.at(3.0, lambda: self.die(s, "failed" if s.lines else "inactive"))
            self.at(3.1, lambda: end(not s.lines, "Job failed"))
        elif s.notify:
            self.at(s.load_seconds + 0.01, lambda: end(s.active == "active", "Job failed"))
        else:
            end(True)

    def seen(self, look: Look) -> Looked:
        if self.now < self.blind_until:
            return Looked(self.now, (), (), "systemd does not answer")
        units = []
        for name in look.services:
            s = self.services.get(name)
            if s is None:
                units.append(Unit(name, "missing", load="not-found"))
                continue
            age = None if s.began is None else self.now - s.began
            known = s.runs and not (s.forgotten and not s.procs)
            run: dict[str, Any] = {"invocation": f"run {s.runs}", "began": s.main} if known else {}
            if s.skips == "kept":
                run |= {"skipped": "ConditionPathExists=/nope was not met", "skipped_at": self.now}
            pid = 7 if s.procs and s.active != "inactive" else 0
            units.append(
                Unit(
                    name,
                    s.active,
                    s.sub,
                    s.result,
                    s.load,
                    pid,
                    s.procs,
                    s.restarts,
                    1,
                    age,
                    s.cpu,
                    since=s.since,
                    stop_limit=s.stop_limit,
                    oneshot=s.oneshot,
                    limited=s.limited,
                    **run,
                )
            )
        answers = []
        for probe in look.probes:
            here = [s for s in self.services.values() if s.url == probe.url and s.ready_at is not None and s.procs]
            ids = ("another",) if here and here[0].fate == "wrong" else here[0].ids if here else ()
            status = 200 if here else 0
            silent = bool(here) and here[0].hangs == "silent"
            if here and here[0].hangs in ("silent", "refuses"):
                status, ids = 0, ()
            if here and here[0].hangs == "closed":
                status, ids = 401, ()
            health = 200 if status == 401 else status
            answers.append(Answer(probe.url, status, ids, health if probe.health else None, silent))
        return Looked(self.now, tuple(units), tuple(answers), available=self.available())

    def weighed(self, weigh: Weigh) -> Weighed:
        loads = tuple(self._load(p) for p in weigh.probes)
        values = (*self.figures(), ("memory.droppable_bytes", self.droppable))
        held = tuple((x, 40 * GIB) for x in weigh.services if self.services[x].procs)
        return Weighed(self.now, loads, values, held, self.foreign)

    def _load(self, probe: LoadProbe) -> Load:
        mine = [self.services[x] for x in probe.services]
        if any(s.hangs in ("silent", "refuses") for s in mine):
            return Load(probe.mode)
        moves = (sum(s.tokens_made for s in mine),)
        return Load(probe.mode, sum(s.requests for s in mine), 0.0, True, "its /metrics", moves)

    def available(self) -> float:
        small = ("floor.service", "x.timer", "x.service")
        return 120 * GIB - 40 * GIB * sum(1 for x in self.holds() if x not in small) - self.eaten

    def figures(self) -> tuple[tuple[str, float], ...]:
        available = self.available()
        card = () if self.gpu is None else (("gpu.memory.free_bytes", self.gpu[0]), ("gpu.memory.used_bytes", self.gpu[1]))
        return (
            ("memory.total_bytes", 128 * GIB),
            ("memory.available_bytes", available),
            ("memory.free_bytes", available - 5 * GIB),
            *card,
        )


def owners_script(world: World, command: Command, post: Callable[[Event], None]) -> None:
    """`switch.sh MODE`: stops every engine, then starts the one of that mode."""
    name = command.argv[-1] + ".service"
    begun = len(world.scripts)

    def killed() -> bool:
        return world.halted >= begun  # a killed one stays dead, also while a later one runs

    def tell(text: str) -> None:
        if not killed():
            post(Line(world.now, SCRIPT, text))

    def stop() -> None:
        if not killed():
            for one in ("a.service", "b.service", "c.service"):
                if one != name and world.services[one].procs:
                    world._stopped(world.services[one])

    def start() -> None:
        if not killed():
            world.begin(world.services[name])

    def end() -> None:
        if not killed():
            post(CommandEnded(world.now, True))

    world.at(1.0, lambda: tell("stopping"))
    world.at(2.0, stop)
    world.at(4.0, start)
    world.at(6.0, end)


def request(kind: str = "switch", to: str = "b", consent: dict[str, Any] | None = None, **plan: Any) -> Request:
    """A request to a box with two modes, a third that shares with the second, and a floor."""
    modes = [
        {"name": "a", "services": ["a.service"], "url": "http://x:1", "engine": "vllm", "model": "model-a"},
        {"name": "b", "services": ["b.service"], "url": "http://x:2", "engine": "sglang", "model": "model-b"},
        {"name": "c", "services": ["c.service", "b.service"], "engine": ""},
    ]
    whole: dict[str, Any] = {"modes": modes, "floor": ["floor.service"], **plan}
    if kind == "switch":
        whole = {"to": to, "ready_timeout_s": 60, "stop_timeout_s": 20, **whole}
    return parse(
        {
            "v": 1,
            "id": f"20261120T161300Z-{kind}-ab12",
            "kind": kind,
            "target": to,
            "who": "t",
            "host": "box",
            "plan": whole,
            "consent": consent or {},
        }
    )


def box(**fates: str) -> World:
    """Modes a (hot), b and c, the floor; fates by letter: `b="fail"`."""
    world = World(
        Service("a.service", url="http://x:1", ids=("model-a",), lines=["all is well"]),
        Service("b.service", url="http://x:2", ids=("model-b",), lines=["ValueError: No available memory for the cache blocks."]),
        Service("c.service"),
        Service("floor.service"),
        Service("x.timer"),
        Service("x.service"),
        Service("t.service"),
        Service("job.service", fate="job", lines=["Fatal: unable to open repository"]),
    )
    for letter, fate in fates.items():
        world.services[f"{letter}.service"].fate = fate
    return world.start_up("a.service").start_up("floor.service")


@dataclass
class Story:
    """What a run of a machine left behind."""

    world: World
    steps: list[Step]
    end: End | None
    figures: list[Figures]
    lines: list[Kept]
    events: int
    held: list[str] = field(default_factory=list)
    """What is held and not released, as its receipt would tell."""
    owed: dict[str, str] = field(default_factory=dict)
    """What went down with a mode and was not brought back, and with which, as its receipt would tell."""

    @property
    def outcome(self) -> str:
        assert self.end
        return self.end.outcome

    @property
    def reason(self) -> str:
        assert self.end
        return self.end.reason

    def names(self, state: str = "done") -> list[str]:
        return [step.name for step in self.steps if step.state == state]


def play(
    world: World,
    wish: Request,
    kill_after: int | None = None,
    cancel_at: str = "",
    cancel_by: str = "asked",
    on_step: Callable[[Step, World], None] | None = None,
    limit: float = 5000.0,
) -> Story:
    """Run a machine to its end, or until it is killed after that many events, or cancelled when a step begins."""
    state = machine.begin(wish)
    story = Story(world, [], None, [], [], 0)
    inbox: list[tuple[int, Event]] = [(0, Began(world.now))]
    asked = answered = 0

    def posting(number: int) -> Callable[[Event], None]:
        return lambda event: inbox.append((number, event))

    stop_at = world.now + limit
    while True:
        while not inbox:
            assert world.queue, "nothing is going to happen any more"
            world.run_until(world.queue[0][0])
            assert world.now < stop_at, "it goes on for ever"
        number, event = inbox.pop(0)
        if number and (number != asked or number == answered):
            continue  # nobody waits for this answer any more
        answered = number or answered
        if kill_after is not None and story.events >= kill_after:
            return story
        story.events += 1
        before = asked
        state, effects = machine.advance(state, event)
        for effect in effects:
            if isinstance(effect, Step):
                story.steps.append(effect)
                if effect.state == "running":
                    if on_step:
                        on_step(effect, world)
                    if effect.name == cancel_at:
                        inbox.append((0, Cancelled(world.now, cancel_by)))
            elif isinstance(effect, Figures):
                story.figures.append(effect)
            elif isinstance(effect, Kept):
                story.lines.append(effect)
            elif isinstance(effect, Held):
                story.held += [x for x in effect.services if x not in story.held]
            elif isinstance(effect, Released):
                story.held = [x for x in story.held if x not in effect.services]
            elif isinstance(effect, Took):
                story.owed.update(dict.fromkeys(effect.services, effect.mode))
            elif isinstance(effect, Brought):
                for x in effect.services:
                    story.owed.pop(x, None)
            elif isinstance(effect, End):
                story.end = effect
            else:
                asked += isinstance(effect, ASKED)
                world.perform(effect, posting(asked if isinstance(effect, ASKED) else 0))
        assert asked - before <= 1, "two questions at once"
        assert number == 0 or asked > before or state.ended, f"it waits for nothing after {event}"
        world.watch()
        if state.ended:
            assert story.end
            return story
        assert asked > answered, f"it waits for nothing after {event}"
