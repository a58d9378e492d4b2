"""Does what a machine asks for in the background, and hands it what came of it: a question never takes longer than its own time."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sovtui.onbox import box, jobs, journal, load, runs, services, web
from sovtui.onbox.authority import Authority
from sovtui.onbox.deadline import Question, within
from sovtui.onbox.hiding import Hider
from sovtui.onbox.names import kind_of
from sovtui.onbox.plan import Request
from sovtui.onbox.script import Script
from sovtui.onbox.things import Answer, Probe, Unit
from sovtui.onbox.words import (
    ASKED,
    SCRIPT,
    AskJobs,
    Call,
    Called,
    CheckRights,
    Command,
    CommandEnded,
    Drop,
    Dropped,
    Effect,
    Event,
    Explain,
    Explained,
    Follow,
    Halt,
    JobsTold,
    Line,
    Look,
    Looked,
    Measure,
    Measured,
    Prove,
    Proved,
    Ran,
    Rights,
    Run,
    Tick,
    Wait,
    Weigh,
    Weighed,
)

AWAITED = 10
"""How often the journal is asked at most until it tells of the start: on a busy machine it comes late."""
_SECONDS = {Look: 20.0, CheckRights: 120.0, AskJobs: 30.0, Measure: 10.0, Drop: 300.0, Explain: 30.0, Weigh: 30.0}
"""How long each question may take, all of it; that of an engine brings its own time, and a little more for what goes with it."""
BEFORE = 5.0


class Hands:
    """Performs effects on this machine. Never raises from `perform`: what goes wrong is in the event.

    Every question is answered in time: by what there is to say, or by that nothing was said.
    """

    def __init__(self, request: Request, hide: Hider | None = None) -> None:
        self._events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        self._asked = self._told = 0
        """The number of the last question, and of the last one whose answer was taken."""
        self._hide = hide
        self._authority = Authority(request.host)
        self._began = time.monotonic()
        self._since: dict[str, float] = {}
        self._followed: set[str] = set()
        self._script: Script | None = None
        self._turn = threading.Lock()
        self._ran_at = 0.0

    def take(self) -> Event:
        """The next event. An answer to a question that is not open any more is none."""
        while True:
            number, event = self._events.get()
            if not number:
                return event
            if self._told < number == self._asked:
                self._told = number
                return event

    def post(self, event: Event, number: int = 0) -> None:
        """`number`: of the question that it answers."""
        self._events.put((number, event))

    def perform(self, effect: Effect) -> None:
        """Start it and return at once. A question takes the place of the one before, whose answer nobody waits for any more."""
        if isinstance(effect, Run) and effect.verb in ("start", "restart"):
            self._since[effect.service] = time.monotonic()
        if isinstance(effect, ASKED):
            self._asked += 1
        work = self._ask if isinstance(effect, ASKED) else self._do
        threading.Thread(target=work, args=(effect, self._asked), daemon=True).start()

    def _do(self, effect: Effect, _: int) -> None:
        if isinstance(effect, Run):
            ok, reason = _guarded(lambda: self._authority.control(effect.verb, effect.service))
            with self._turn:
                self._ran_at = time.monotonic()
                self.post(Ran(self._ran_at, effect.verb, effect.service, ok, reason))
        elif isinstance(effect, Command):
            ok, reason = _guarded(lambda: self._command(effect))
            self.post(CommandEnded(time.monotonic(), ok, reason))
        elif isinstance(effect, Halt):
            if self._script:
                self._script.end("was stopped")
        elif isinstance(effect, Follow) and effect.service not in self._followed:
            self._followed.add(effect.service)
            self._follow(effect.service)

    def _ask(self, effect: Effect, number: int) -> None:
        if isinstance(effect, Wait):
            time.sleep(effect.seconds)
            self.post(Tick(time.monotonic()), number)
            return
        seconds = effect.timeout + BEFORE if isinstance(effect, (Prove, Call)) else _SECONDS[type(effect)]
        if isinstance(effect, (Look, Weigh)) and effect.seconds is not None:
            seconds = min(seconds, effect.seconds + BEFORE)
        try:
            within(seconds, lambda: self._answer(effect, number))
        except TimeoutError as late:
            self.post(_unanswered(effect, f"it {late}"), number)
        except Exception as problem:  # noqa: BLE001 - the machine must get its answer
            self.post(_unanswered(effect, f"{type(problem).__name__}: {problem}"), number)

    def _answer(self, effect: Effect, number: int) -> None:
        event: Event
        if isinstance(effect, Look):
            self._look(effect, number)
            return
        if isinstance(effect, CheckRights):
            missing = self._authority.missing(effect.needs, effect.drop)
            lacking = tuple(n.service for n in effect.wishes if self._authority.missing((n,), False))
            event = Rights(time.monotonic(), missing, lacking)
        elif isinstance(effect, AskJobs):
            takes, reason = jobs.takes(effect.needs, effect.names)
            event = JobsTold(time.monotonic(), takes, reason)
        elif isinstance(effect, Measure):
            event = Measured(time.monotonic(), box.figures())
        elif isinstance(effect, Drop):
            ok, reason = self._authority.drop()
            event = Dropped(time.monotonic(), ok, reason)
        elif isinstance(effect, Explain):
            event = self._explained(effect)
        elif isinstance(effect, Weigh):
            event = load.weigh(effect)
        elif isinstance(effect, Prove):
            event = load.prove(effect.url, effect.model, effect.timeout)
        else:
            assert isinstance(effect, Call)
            status, body, _ = web.full(effect.url, effect.path, effect.timeout, effect.body or None)
            event = Called(time.monotonic(), status, body.decode("utf-8", "replace"), time.time())
        self.post(event, number)

    def _explained(self, effect: Explain) -> Explained:
        ago = time.monotonic() - self._since.get(effect.service, self._began)
        since = time.time() - ago - 0.5  # by the clock as it goes now
        for _ in range(AWAITED):  # the last lines of a process reach the journal a moment after its end
            time.sleep(0.3)
            told = runs.story(effect.service, since, effect.oneshot)
            tells = told.well if told.ran and effect.over else told.ran
            if tells is not None or told.problem or kind_of(effect.service)[0] not in ("system", "user"):
                break
        lines, reason = journal.recent(effect.service, since)
        told = runs.named(effect.service, told)
        answer = Explained(time.monotonic(), effect.service, tuple(lines), reason or told.problem, told.skipped)
        return replace(answer, ran=told.ran, well=told.well)

    def _command(self, command: Command) -> tuple[bool, str]:
        try:
            self._script = Script(command, lambda text: self.post(Line(time.monotonic(), SCRIPT, text)), self._hide)
        except OSError as problem:
            return False, f"cannot be run: {command.argv[0]}: {problem.strerror or problem}"
        try:
            return self._script.wait()
        finally:
            self._script = None

    def _look(self, effect: Look, number: int) -> None:
        most = math.inf if effect.seconds is None else effect.seconds
        asked = [(probe, Question(min(most, web.patience(probe)), partial(web.ask, probe))) for probe in effect.probes]
        units, reason, began = self._units(effect)
        answers = tuple(_heard(probe, question) for probe, question in asked)
        available = box.meminfo().get("MemAvailable")
        while True:
            with self._turn:
                if self._ran_at <= began:
                    told = None if available is None else float(available)
                    self.post(Looked(time.monotonic(), units, answers, reason, told), number)
                    return
            units, reason, began = self._units(effect)  # a command ended meanwhile: what was seen may be from before it

    def _units(self, effect: Look) -> tuple[tuple[Unit, ...], str, float]:
        """The services, why they could not be seen, and when the look began."""
        began = time.monotonic()
        try:
            units, reason = services.units(effect.services)
        except Exception as problem:  # noqa: BLE001 — the machine must get its answer
            units, reason = (), f"{type(problem).__name__}: {problem}"
        return units, reason, began

    def _follow(self, service: str) -> None:
        try:
            for text in journal.follow(service, time.time()):
                self.post(Line(time.monotonic(), service, text))
        except OSError:
            return


def _heard(probe: Probe, question: Question[Answer]) -> Answer:
    try:
        return question.answer()
    except Exception as problem:  # noqa: BLE001 - whatever it answers, it is not an engine
        return Answer(probe.url, 0, (), 0 if probe.health else None, isinstance(problem, TimeoutError))


def _unanswered(effect: Effect, why: str) -> Event:
    """What the machine is told where a question came to nothing."""
    now = time.monotonic()
    if isinstance(effect, Look):
        return Looked(now, (), (), why)
    if isinstance(effect, CheckRights):
        return Rights(now, (f"rights cannot be checked: {why}",))
    if isinstance(effect, AskJobs):
        return JobsTold(now, (), why)
    if isinstance(effect, Measure):
        return Measured(now, ())
    if isinstance(effect, Drop):
        return Dropped(now, False, why)
    if isinstance(effect, Explain):
        return Explained(now, effect.service, (), why)
    if isinstance(effect, Prove):
        return Proved(now, False, why)
    return Called(now, 0, why, time.time()) if isinstance(effect, Call) else Weighed(now)


def _guarded(do: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return do()
    except Exception as problem:  # noqa: BLE001 — the machine must get its answer
        return False, f"{type(problem).__name__}: {problem}"
