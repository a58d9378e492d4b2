"""Load, unload or pin a model of an engine that does so by itself; free what such an engine holds. A pure machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sovtui.onbox import judge, loaded, signatures
from sovtui.onbox.forecast import Pool, forecast
from sovtui.onbox.phrases import span
from sovtui.onbox.plan import Consent, ModePlan, Request, covers
from sovtui.onbox.things import LoadProbe
from sovtui.onbox.words import (
    Began,
    Call,
    Called,
    Cancelled,
    Effects,
    Event,
    Figures,
    Follow,
    Kept,
    Line,
    Look,
    Looked,
    Measure,
    Measured,
    Step,
    Tick,
    Wait,
    Weigh,
    Weighed,
)
from sovtui.onbox.work import Work, close, finish

POLL = 0.5
SETTLE_SECONDS = 15.0
"""So long after its answer may it take until what was asked for is seen."""


@dataclass(frozen=True)
class Errand(Work):
    """Where such an action is."""

    first: Looked | None = None
    before: tuple[loaded.Held, ...] = ()
    queue: float = 0.0
    answered: float = 0.0
    """When the engine had answered: from then on the effect is looked for."""
    said: str = ""
    detail: str = ""

    @property
    def engine(self) -> ModePlan:
        assert self.request.engine is not None
        return self.request.engine


Result = tuple[Errand, Effects]


def begin(request: Request) -> Errand:
    return Errand(request)


def advance(s: Errand, event: Event) -> Result:
    """What follows from an event."""
    if s.ended:
        return s, ()
    s = replace(s, now=event.now)
    if isinstance(event, Began):
        s = replace(s, began=s.now, since=s.now, step="preflight", phase="look")
        services = tuple(dict.fromkeys([*s.engine.services, *judge.all_services(s.request)]))
        return s, (Step("preflight", "running"), Look(services))
    if isinstance(event, Cancelled):
        if s.cancelled:
            return s, ()
        s = replace(s, cancelled=event.words)
        if s.phase in ("look", "list", "queue", "weigh", "before"):
            return finish(s, "cancelled", f"{s.cancelled} before anything was changed")
        return s, (Step(s.step, "running", None, f"{event.words}: its answer is waited for"),) if s.phase == "ask" else ()
    if isinstance(event, Line):
        return _on_line(s, event)
    if s.phase == "look" and isinstance(event, Looked):
        return _on_look(s, event)
    if s.phase in ("list", "check", "undo-check") and isinstance(event, Called):
        return _on_list(s, event)
    if s.phase == "queue" and isinstance(event, Called):
        return _enter_before(replace(s, queue=loaded.waiting(event.body) if event.status == 200 else 0.0))
    if s.phase == "weigh" and isinstance(event, Weighed):
        return _on_weighed(s, event)
    if isinstance(event, Measured):
        return _on_measured(s, event)
    if s.phase in ("ask", "undo") and isinstance(event, Called):
        return _on_answer(s, event)
    if isinstance(event, Tick):
        return (s, (_list(s),)) if s.phase in ("check", "undo-check") else (s, ())
    return s, ()


def _list(s: Errand) -> Call:
    return Call(s.engine.url, loaded.LIST[s.engine.engine])


def _on_line(s: Errand, event: Line) -> Result:
    """What the engine writes meanwhile: kept, and its progress is that of the step."""
    if signatures.is_noise(event.text) or signatures.is_bar(event.text):
        return s, ()
    words = signatures.progress(event.text)
    news: Effects = ()
    if words and words != s.said and s.phase == "ask":
        s, news = replace(s, said=words), (Step(s.step, "running", None, words),)
    return s, (Kept(event.service, event.text), *news)


# -- before anything is changed ----------------------------------------------------------------------


def _on_look(s: Errand, seen: Looked) -> Result:
    if seen.reason:
        return finish(s, "failed", f"the box cannot be looked at: {seen.reason}")
    down = [x for x in s.engine.services if not seen.unit(x).serving]
    if down:
        return finish(s, "failed", f"{down[0]} does not run")
    s = replace(s, first=seen, phase="list")
    return s, (_list(s),)


def _on_list(s: Errand, answer: Called) -> Result:
    rows = loaded.held(s.engine.engine, answer.body, answer.at) if answer.status == 200 else None
    if s.phase != "list":
        return _on_check(s, rows)
    if rows is None:
        why = loaded.refusal(answer.status, answer.body) or "what it says is not understood"
        return finish(s, "failed", f"{s.engine.name} cannot be asked what it has loaded: {why}")
    s = replace(s, before=rows)
    brings = s.request.kind in ("load", "pin") and loaded.find(rows, s.request.model) is None
    if brings:
        first = s.first or Looked(s.now, ())
        others = [m for m in s.request.modes if m.name != s.engine.name and all(first.unit(x).serving for x in m.services)]
        probes = tuple(LoadProbe(m.name, m.engine, m.url, m.services) for m in others if m.url)
        known = judge.all_services(s.request)
        return replace(s, phase="weigh"), (Weigh(probes, s.engine.services or known, known),)
    if s.request.kind == "unload" and s.engine.engine in loaded.CUTS:
        mine = LoadProbe(s.engine.name, s.engine.engine, s.engine.url, s.engine.services)
        return replace(s, phase="weigh"), (Weigh((mine,)),)
    if s.engine.engine in loaded.QUEUE:
        return replace(s, phase="queue"), (Call(s.engine.url, loaded.QUEUE[s.engine.engine]),)
    return _enter_before(s)


def _on_weighed(s: Errand, weighed: Weighed) -> Result:
    """Refuse what would slow others down, cut them off or would not fit and was not agreed to."""
    consent = s.request.consent
    busy = [x for x in weighed.loads if x.total]
    names = tuple(x.mode for x in busy)
    if not covers(consent.busy, names):
        told = "; ".join(f"{x.mode} is busy ({x.source})" for x in busy)
        return finish(s, "refused", f"{told}. Nothing was touched; confirm it to go on", Consent(busy=names))
    if s.request.kind == "unload":
        return _enter_before(s)
    values = dict(weighed.values)
    free = values.get("gpu.memory.free_bytes")
    used = values.get("gpu.memory.used_bytes")
    unified = None if s.request.memory == "auto" else s.request.memory == "unified"
    pool = Pool(
        values.get("memory.available_bytes"),
        values.get("memory.droppable_bytes"),
        free,
        None if free is None or used is None else free + used,
        unified,
    )
    told_fit = forecast(
        s.request.model, s.request.needs, pool, reserve=s.request.reserve, drop_caches=False, foreign=weighed.foreign
    )
    if told_fit.bad and not consent.not_fitting:
        why = f"{told_fit.sentence.rstrip('.')}. Nothing was touched; confirm it to go on"
        return finish(s, "refused", why, Consent(not_fitting=True))
    words = told_fit.sentence.rstrip(".") if told_fit.word != "unknown" else ""
    return _enter_before(replace(s, detail=words))


def _enter_before(s: Errand) -> Result:
    return replace(s, phase="before"), (Measure(),)


# -- the asking --------------------------------------------------------------------------------------


def _on_measured(s: Errand, measured: Measured) -> Result:
    if s.phase == "after":
        done, effects = finish(s, s.outcome, s.reason)
        return done, (Figures("after", measured.values), *effects)
    if s.phase != "before":
        return s, ()
    request = s.request
    path, body = loaded.request(s.engine.engine, request.kind, request.model, request.keep)
    ended = (Figures("before", measured.values), Step("preflight", "done", s.now - s.since, s.detail))
    s = replace(s, phase="ask", step=request.kind, since=s.now)
    timeout = request.ready_timeout if request.kind in ("load", "pin") else _end_seconds(s)
    return s, (
        *ended,
        Step(request.kind, "running", None, f"{request.model} in {s.engine.name}" if request.model else s.engine.name),
        *(Follow(service) for service in s.engine.services),
        Call(s.engine.url, path, body, timeout),
    )


def _end_seconds(s: Errand) -> float:
    """How long it may take to let go: where a server is stopped for it, as long as that may take."""
    return s.request.stop_timeout if s.engine.engine in loaded.CUTS else 30.0


def _on_answer(s: Errand, answer: Called) -> Result:
    why = loaded.refusal(answer.status, answer.body, s.engine.engine, s.request.kind)
    if s.phase == "undo":
        s = replace(s, phase="undo-check", answered=s.now)
        return s, (_list(s),)
    if why:
        late = s.now - s.since >= s.request.ready_timeout and not answer.status
        words = f"it did not answer within {span(s.request.ready_timeout)}" if late else why
        return close(s, "cancelled" if s.cancelled else "failed", f"{s.engine.name} did not do it: {words}")
    if s.cancelled and s.request.kind in ("load", "pin") and loaded.find(s.before, s.request.model) is None:
        path, body = loaded.request(s.engine.engine, "unload", s.request.model, None)
        s = replace(s, phase="undo")
        return s, (Call(s.engine.url, path, body, _end_seconds(s)),)
    if s.queue:
        count = f"{s.queue:.0f} {'prompt' if s.queue == 1 else 'prompts'}"
        return close(s, "done", f"it frees its memory once the {count} in its queue have ended")
    s = replace(s, phase="check", answered=s.now)
    return s, (_list(s),)


def _on_check(s: Errand, rows: tuple[loaded.Held, ...] | None) -> Result:
    kind = "unload" if s.phase == "undo-check" else s.request.kind
    if rows is None:
        found = loaded.Proof("waits", f"{s.engine.name} does not report what it has loaded")
    else:
        found = loaded.proof(kind, s.request.model, s.before, rows)
    if found.word == "waits":
        if s.now - s.answered < SETTLE_SECONDS:
            return s, (Wait(POLL),)
        found = loaded.Proof("warned", found.sentence)
    if s.phase == "undo-check":
        ended = "was unloaded again" if found.word == "done" else f"was loaded all the same: {found.sentence}"
        return close(s, "cancelled", f"{s.cancelled}: {s.request.model} {ended}")
    return close(s, found.word, found.sentence)
