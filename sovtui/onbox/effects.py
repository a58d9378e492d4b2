"""Does what a machine asks for: one effect at a time in the background, its event into the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from sovtui.onbox import box, jobs, journal, load, runs, services, web
from sovtui.onbox.authority import Authority
from sovtui.onbox.hiding import Hider
from sovtui.onbox.names import kind_of
from sovtui.onbox.plan import Request
from sovtui.onbox.script import Script
from sovtui.onbox.things import Answer, Probe, Unit
from sovtui.onbox.words import (
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
Post = Callable[[Event], None]


class Hands:
    """Performs effects on this machine. Never raises from `perform`: what goes wrong is in the event."""

    def __init__(self, request: Request, post: Post, hide: Hider | None = None) -> None:
        self._post = post
        self._hide = hide
        self._authority = Authority(request.host)
        self._began = time.monotonic()
        self._since: dict[str, float] = {}
        self._followed: set[str] = set()
        self._script: Script | None = None
        self._turn = threading.Lock()
        self._ran_at = 0.0

    def perform(self, effect: Effect) -> None:
        """Start it and return at once."""
        if isinstance(effect, Run) and effect.verb in ("start", "restart"):
            self._since[effect.service] = time.monotonic()
        threading.Thread(target=self._perform, args=(effect,), daemon=True).start()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Wait):
            time.sleep(effect.seconds)
            self._post(Tick(time.monotonic()))
        elif isinstance(effect, Look):
            self._look(effect)
        elif isinstance(effect, Run):
            ok, reason = _guarded(lambda: self._authority.control(effect.verb, effect.service))
            with self._turn:
                self._ran_at = time.monotonic()
                self._post(Ran(self._ran_at, effect.verb, effect.service, ok, reason))
        elif isinstance(effect, CheckRights):
            try:
                missing = self._authority.missing(effect.needs, effect.drop)
                lacking = tuple(n.service for n in effect.wishes if self._authority.missing((n,), False))
            except Exception as problem:  # noqa: BLE001 — the machine must get its answer
                missing, lacking = (f"rights cannot be checked: {problem}",), ()
            self._post(Rights(time.monotonic(), missing, lacking))
        elif isinstance(effect, AskJobs):
            try:
                takes, reason = jobs.takes(effect.needs, effect.names)
            except Exception as problem:  # noqa: BLE001 — the machine must get its answer
                takes, reason = (), f"{type(problem).__name__}: {problem}"
            self._post(JobsTold(time.monotonic(), takes, reason))
        elif isinstance(effect, Measure):
            self._post(Measured(time.monotonic(), box.figures()))
        elif isinstance(effect, Drop):
            ok, reason = _guarded(self._authority.drop)
            self._post(Dropped(time.monotonic(), ok, reason))
        elif isinstance(effect, Explain):
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
            self._post(replace(answer, ran=told.ran, well=told.well))
        elif isinstance(effect, Weigh):
            try:
                self._post(load.weigh(effect))
            except Exception:  # noqa: BLE001 — the machine must get its answer
                self._post(Weighed(time.monotonic()))
        elif isinstance(effect, Prove):
            try:
                self._post(load.prove(effect.url, effect.model, effect.timeout))
            except Exception as problem:  # noqa: BLE001 — the machine must get its answer
                self._post(Proved(time.monotonic(), False, f"{type(problem).__name__}: {problem}"))
        elif isinstance(effect, Call):
            try:
                status, body = web.call(effect.url, effect.path, effect.body, effect.timeout)
            except Exception as problem:  # noqa: BLE001 — the machine must get its answer
                status, body = 0, f"{type(problem).__name__}: {problem}".encode()
            self._post(Called(time.monotonic(), status, body.decode("utf-8", "replace"), time.time()))
        elif isinstance(effect, Command):
            ok, reason = _guarded(lambda: self._command(effect))
            self._post(CommandEnded(time.monotonic(), ok, reason))
        elif isinstance(effect, Halt):
            if self._script:
                self._script.end("was stopped")
        elif isinstance(effect, Follow) and effect.service not in self._followed:
            self._followed.add(effect.service)
            self._follow(effect.service)

    def _command(self, command: Command) -> tuple[bool, str]:
        try:
            self._script = Script(command, lambda text: self._post(Line(time.monotonic(), SCRIPT, text)), self._hide)
        except OSError as problem:
            return False, f"cannot be run: {command.argv[0]}: {problem.strerror or problem}"
        try:
            return self._script.wait()
        finally:
            self._script = None

    def _look(self, effect: Look) -> None:
        answers: list[Answer] = []

        def ask(probe: Probe) -> None:
            try:
                answers.append(web.ask(probe))
            except Exception:  # noqa: BLE001 — whatever it answers, it is not an engine
                answers.append(Answer(probe.url, 0, (), 0 if probe.health else None))

        threads = [threading.Thread(target=ask, args=(probe,), daemon=True) for probe in effect.probes]
        for thread in threads:
            thread.start()
        units, reason, began = self._units(effect)
        for thread in threads:
            thread.join()
        available = box.meminfo().get("MemAvailable")
        while True:
            with self._turn:
                if self._ran_at <= began:
                    told = None if available is None else float(available)
                    self._post(Looked(time.monotonic(), units, tuple(answers), reason, told))
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
                self._post(Line(time.monotonic(), service, text))
        except OSError:
            return


def _guarded(do: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return do()
    except Exception as problem:  # noqa: BLE001 — the machine must get its answer
        return False, f"{type(problem).__name__}: {problem}"
