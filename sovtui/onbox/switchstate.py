"""Where a switch is, and the small moves that every phase of it uses. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sovtui.onbox import judge, signatures
from sovtui.onbox.plan import ModePlan, Request
from sovtui.onbox.words import Effect, Effects, Kept, Line, Look, Looked, Probe, Ran, Run, Step

POLL = 0.5
MEMORY_LIMIT = 60.0
BLIND_LIMIT = 30.0
HEALTH_EVERY = 5.0
"""SGLang generates a token for each `/health`."""
STEADY = 2.0
"""How long units without HTTP must stay active, and a wrong model must stay wrong."""


@dataclass(frozen=True)
class Switching:
    """Where a switch is; nothing else is remembered."""

    request: Request
    phase: str = ""
    step: str = ""
    now: float = 0.0
    began: float = 0.0
    since: float = 0.0
    """When the step began."""
    previous: str = ""
    to_stop: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    touched: bool = False
    """Something was stopped or started: from here on a failure is rolled back."""
    base: tuple[tuple[str, int], ...] = ()
    pending: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    returned: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    available: float = 0.0
    """MemAvailable when last seen to rise, and before anything was done."""
    available_before: float = 0.0
    still: int = 0
    answers: bool = False
    """The engine's HTTP is up."""
    health_at: float = -1e9
    steady_at: float | None = None
    wrong_at: float | None = None
    said: str = ""
    said_at: float = -1e9
    mode: str = ""
    """The mode being waited for: the target, or on the way back the previous one."""
    cancelled: bool = False
    undoing: bool = False
    failure: str = ""
    warnings: tuple[str, ...] = ()
    outcome: str = ""
    reason: str = ""
    ended: bool = False

    @property
    def target(self) -> ModePlan:
        return self.request.mode(self.request.to)


Result = tuple[Switching, Effects]


def looking(s: Switching) -> Look:
    """What the phase has to see."""
    if s.phase == "gone":
        return Look(s.to_stop, _gone_probes(s))
    if s.phase in ("start", "ready", "undo-start"):
        mode = s.request.mode(s.mode)
        if s.phase == "ready":
            rare = mode.engine == "sglang" and not (s.answers and s.now - s.health_at >= HEALTH_EVERY)
            return Look(mode.services, judge.probe_of(mode, not rare))
        return Look(mode.services)
    if s.phase in ("clear", "undo-clear"):
        mode = s.request.mode(s.mode)
        return Look((*judge.foreign(s.request, mode), *mode.services))
    if s.phase == "verify":
        return Look(judge.all_services(s.request), judge.probe_of(s.target, False))
    return Look(s.started if s.phase == "undo-stop" else s.to_stop)


def _gone_probes(s: Switching) -> tuple[Probe, ...]:
    """Ports that must be silent now: of modes all of whose services were to stop or are not running."""
    skip = s.target.url if s.started else ""  # the target is on its way up already
    silent = [m for m in s.request.modes if m.services and all(x in s.to_stop for x in m.services) and judge.asks_http(m)]
    return tuple({m.url: judge.probe_of(m, False)[0] for m in silent if m.url != skip}.values())


def run(s: Switching, verb: str, services: tuple[str, ...]) -> tuple[Switching, Effects]:
    pending = (*s.pending, *((verb, x) for x in services))
    refused = tuple(item for item in s.refused if (item[0], item[1]) not in [(verb, x) for x in services])
    return replace(s, pending=pending, refused=refused), tuple(Run(verb, x) for x in services)


def ran(s: Switching, event: Ran) -> Switching:
    pending = list(s.pending)
    if (event.verb, event.service) in pending:
        pending.remove((event.verb, event.service))
    s = replace(s, pending=tuple(pending))
    if event.verb == "start" and event.ok:
        s = replace(s, returned=(*s.returned, event.service))
    if not event.ok and not (s.undoing and event.verb == "start" and event.service in s.started):
        s = replace(s, refused=(*s.refused, (event.verb, event.service, event.reason)))
    return s


def noted(s: Switching, seen: Looked) -> Switching:
    """Remember what was seen up, and that a start by hand sets the count of restarts back."""
    base = tuple((name, min(count, seen.unit(name).restarts)) for name, count in s.base)
    up = tuple(u.name for u in seen.units if u.serving and u.name not in s.seen)
    return replace(s, base=base, seen=(*s.seen, *up)) if not seen.reason else s


def said(s: Switching, event: Line) -> Result:
    if signatures.is_noise(event.text) or s.phase in ("closing", "figures", "undo-stop"):
        return s, ()
    if signatures.is_ready(event.text):
        s = replace(s, health_at=-1e9)  # worth asking at once
    effects: list[Effect] = []
    bar = signatures.is_bar(event.text)
    words = signatures.progress(event.text)
    news = bool(words) and words != s.said and (not bar or s.now - s.said_at >= 1.0)
    if not bar or news:
        effects.append(Kept(event.service, event.text))
    if news:
        s = replace(s, said=words, said_at=s.now)
        if s.step in ("start", "ready", "undo-start", "undo-ready"):
            effects.append(Step(s.step, "running", None, words))
    return s, tuple(effects)


def step(s: Switching, name: str, detail: str = "") -> tuple[Switching, Effects]:
    return replace(s, step=name, since=s.now), (Step(name, "running", None, detail),)


def done(s: Switching, detail: str) -> tuple[Switching, Effects]:
    return replace(s, step=""), (Step(s.step, "done", s.now - s.since, detail),)


def plus(effects: Effects, result: Result) -> Result:
    return result[0], (*effects, *result[1])
