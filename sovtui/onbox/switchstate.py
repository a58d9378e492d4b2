"""Where a switch is, and the small moves that every phase of it uses. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sovtui.onbox import judge, signatures
from sovtui.onbox.phrases import size, span
from sovtui.onbox.plan import ModePlan
from sovtui.onbox.things import LoadProbe, Probe
from sovtui.onbox.words import SCRIPT, Effect, Effects, Kept, Line, Look, Looked, Ran, Run, Step
from sovtui.onbox.work import Work

POLL = 0.5
MEMORY_LIMIT = 60.0
BLIND_LIMIT = 30.0
HEALTH_EVERY = 5.0
"""SGLang generates a token for each `/health`."""
STEADY = 2.0
"""How long units without HTTP must stay active, and a wrong model must stay wrong."""


@dataclass(frozen=True)
class Switching(Work):
    """Where a switch is; nothing else is remembered."""

    previous: str = ""
    to_stop: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    touched: bool = False
    """Something was stopped or started: from here on a failure is rolled back."""
    hold: tuple[str, ...] = ()
    """What fights the operator and is up; `held` once it was asked to stop: all of it must be started again."""
    held: tuple[str, ...] = ()
    releasing: bool = False
    floor_up: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()
    """Of the target, before anything was done."""
    first: Looked | None = None
    stuck: str = ""
    """Why the wanted mode, which runs, is stopped, ended and started anew."""
    pulse: tuple[float, ...] = ()
    """What moved last when it was asked whether it works on anything."""
    hung: tuple[str, ...] = ()
    """Services that may not heed a stop; `killed` those that did not."""
    killed: tuple[str, ...] = ()
    woken: tuple[str, ...] = ()
    """What may start again by itself what is stopped, in clauses."""
    drained: int = 0
    probes: tuple[LoadProbe, ...] = ()
    """Who was asked how much there is to do."""
    load: float = 0.0
    told: tuple[str, ...] = ()
    """Which of them did say."""
    commanding: bool = False
    """The owner's command runs."""
    command_failed: str = ""
    own: Looked | None = None
    """What was seen before the owner's command; `launched`: of the mode, what it has started; `down`: since when what is down is;
    `left`: of the others, what was gone once."""
    launched: tuple[str, ...] = ()
    down: tuple[tuple[str, float], ...] = ()
    left: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    """The last lines of the owner's command."""
    heard_at: float = 0.0
    """When the start last said something, and what its units had used by then."""
    used: tuple[float, float] | None = None
    hinted_at: float = 0.0
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
    undoing: bool = False
    failure: str = ""
    warnings: tuple[str, ...] = ()

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
        beside = left_behind(s) if s.undoing else judge.foreign(s.request, mode)  # something may start one of them again
        if s.phase == "ready":
            rare = mode.engine == "sglang" and not (s.answers and s.now - s.health_at >= HEALTH_EVERY)
            probes = judge.probe_of(mode, not rare)
            return Look((*mode.services, *beside), probes, left(s, s.request.ready_timeout))
        return Look((*starting(s), *beside))
    if s.phase in ("clear", "undo-clear", "command"):
        mode = s.request.mode(s.mode)
        return Look(tuple(dict.fromkeys((*judge.foreign(s.request, mode), *starting(s)))))
    if s.phase == "verify":
        return Look(judge.all_services(s.request), (*judge.probe_of(s.target, False), *judge.loose_probes(s.request)))
    if s.phase in ("hold", "release"):
        return Look((*s.held, *judge.jobs_of(s.held)))
    return Look(s.started if s.phase == "undo-stop" else s.to_stop)


def left(s: Switching, seconds: float) -> float:
    """What is left of the time for this step, or a little more than nothing: its end does not wait for who is being asked."""
    return max(0.1, s.since + seconds - s.now)


def starting(s: Switching) -> tuple[str, ...]:
    """The services of the mode being waited for; on the way back also the tenants that come with it."""
    mode = s.request.mode(s.mode)
    return judge.brought_back(s.request, mode, s.to_stop) if s.undoing else mode.services


def left_behind(s: Switching) -> tuple[str, ...]:
    """On the way back: what this switch had started and what does not belong to what it goes back to."""
    return tuple(x for x in s.started if x not in starting(s)) if s.undoing else ()


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
    if signatures.is_noise(event.text) or s.phase in (
        "closing",
        "figures",
        "undo-stop",
        "release",
        "bring-look",
        "bring-jobs",
        "bring",
    ):
        return s, ()
    s = replace(s, heard_at=s.now, used=None)
    if event.service == SCRIPT:
        s = replace(s, script=(*s.script, event.text)[-200:])
    if signatures.is_ready(event.text):
        s = replace(s, health_at=-1e9)  # worth asking at once
    effects: list[Effect] = []
    bar = signatures.is_bar(event.text)
    words = signatures.progress(event.text)
    news = bool(words) and words != s.said and (not bar or s.now - s.said_at >= 1.0)
    if not bar or news:
        effects.append(Kept(event.service, event.text))
    if event.service == SCRIPT and not news and s.step in ("start", "undo-start") and s.now - s.said_at >= 1.0:
        news, words = True, event.text[:120]
    if news:
        s = replace(s, said=words, said_at=s.now)
        if s.step in ("start", "ready", "undo-start", "undo-ready"):
            effects.append(Step(s.step, "running", None, words))
    return s, tuple(effects)


def step(s: Switching, name: str, detail: str = "") -> tuple[Switching, Effects]:
    return replace(s, step=name, since=s.now), (Step(name, "running", None, detail),)


def done(s: Switching, detail: str, before: str | None = None) -> tuple[Switching, Effects]:
    return replace(s, step=""), (Step(s.step, "done", s.now - s.since, detail, before),)


def plus(effects: Effects, result: Result) -> Result:
    return result[0], (*effects, *result[1])


SILENT = 60.0
"""After that long without a line, what the start uses is told instead, every half of it."""


def hinted(s: Switching, seen: Looked) -> Result:
    """A start that says nothing: tell by what it uses whether it works or hangs."""
    units = [seen.unit(x) for x in s.request.mode(s.mode).services]
    told = [(u.cpu or 0.0, u.read or 0.0) for u in units if u.cpu is not None or u.read is not None]
    if seen.reason or not told:
        return s, ()
    used = (sum(cpu for cpu, _ in told), sum(read for _, read in told))
    if s.used is None or used[0] < s.used[0]:
        return replace(s, used=used, hinted_at=max(s.hinted_at, s.now)), ()
    silent = s.now - max(s.heard_at, s.since)
    if silent < SILENT or s.now - s.hinted_at < SILENT / 2:
        return s, ()
    cpu, read = used[0] - s.used[0], used[1] - s.used[1]
    read_part = f", read +{size(read)}" if read >= 1 << 20 else ""
    works = cpu >= 0.05 * silent or read >= silent * (1 << 20)
    words = f"silent for {span(silent)}, " + (
        f"but CPU +{cpu:.0f} s{read_part}" if works else f"and idle (CPU +{cpu:.0f} s): it may hang"
    )
    return replace(s, hinted_at=s.now), (Step(s.step, "running", None, words),)


def guarded(s: Switching, seen: Looked) -> str:
    """Why a start must be stopped now, before the kernel does it; empty while enough memory is left."""
    reserve = s.request.reserve
    if s.undoing or not reserve or seen.available is None or seen.available >= reserve:
        return ""
    return f"available memory fell to {size(seen.available)}, below the reserve of {size(reserve)}"
