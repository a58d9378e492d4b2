"""Forwards: stop the others, wait until they have ended and their memory is released, drop the page cache. Pure."""

from __future__ import annotations

from dataclasses import replace

from sovtui.onbox import insisting
from sovtui.onbox.ending import close, then
from sovtui.onbox.failing import fail
from sovtui.onbox.insisting import again
from sovtui.onbox.loading import enter_command, enter_start
from sovtui.onbox.phrases import size, span
from sovtui.onbox.switchstate import MEMORY_LIMIT, POLL, Result, Switching, done, looking, plus, run, step
from sovtui.onbox.words import Drop, Dropped, Looked, Measure, Measured, Step, Wait


def enter_stop(s: Switching) -> Result:
    if s.target.command and not s.stuck:
        names = ("stop", "gone", "memory", "drop-caches")
        return plus(tuple(Step(name, "skipped", 0.0, "the mode's own command does it") for name in names), enter_command(s))
    if not s.to_stop:
        skipped = tuple(Step(name, "skipped", 0.0, "nothing to stop") for name in ("stop", "gone", "memory"))
        return plus(skipped, _enter_drop(s))
    s, effects = step(replace(s, phase="stop", touched=True), "stop", ", ".join(s.to_stop))
    s, runs = run(s, "stop", s.to_stop)
    return s, (*effects, *runs, Wait(0.2))


def on_stop(s: Switching, seen: Looked) -> Result:
    up = [x for x in s.to_stop if seen.unit(x).up]
    refused = [(x, why) for verb, x, why in s.refused if verb == "stop" and x in up]
    if refused and not seen.reason:
        return fail(s, f"{refused[0][0]} could not be stopped: {refused[0][1]}")
    if not seen.reason and (not up or not any(x in up for verb, x in s.pending if verb == "stop")):
        s, ended = done(s, ", ".join(s.to_stop))
        s, effects = step(replace(s, phase="gone"), "gone")
        return s, (*ended, *effects, looking(s))
    s, kills = insisting.end(s, seen, s.hung)
    limit = insisting.limit(s, seen, s.hung)
    if s.now - s.since > limit:
        return plus(kills, _not_stopped(s, f"{', '.join(up) or 'the services'} did not stop within {span(limit)}", up))
    return s, (*kills, Wait(POLL))


def _not_stopped(s: Switching, reason: str, left: list[str]) -> Result:
    """What cannot be ended cannot be started anew either, and nothing else was stopped for it."""
    why = "; ".join(w for x in left if (w := insisting.why_not(s, x)))
    if why:
        reason = f"{reason}: {why}"
    elif any(x in s.killed for x in left):
        reason = f"{reason}, not even by SIGKILL: its process waits in the kernel"
    return close(s, "failed", reason) if s.stuck else fail(s, reason)


def on_gone(s: Switching, seen: Looked) -> Result:
    left = [x for x in s.to_stop if not seen.unit(x).gone]
    ports = [a.url for a in seen.answers if a.alive]
    if not left and not ports and not seen.reason:
        s, ended = done(s, "no process left, ports closed")
        s, effects = step(replace(s, phase="memory", still=0), "memory")
        return s, (*ended, *effects, Measure())
    s, kills = insisting.end(s, seen, s.hung)
    s, more = insisting.end_left_behind(s, seen, s.to_stop)
    kills = (*kills, *more)
    limit = insisting.limit(s, seen, s.hung)
    if s.now - s.since > limit:
        what = (
            f"{', '.join(left)} still has processes"
            if left
            else f"{', '.join(ports)} still answers though its services are stopped"
        )
        return plus(kills, _not_stopped(s, seen.reason or f"{what} after {span(limit)}", left))
    s, runs = again(s, seen, s.to_stop)
    return s, (*kills, *runs, Wait(POLL))


def on_memory(s: Switching, measured: Measured) -> Result:
    available = (measured.value("memory.available_bytes") or 0.0) + (measured.value("gpu.memory.free_bytes") or 0.0)
    margin = max(64 * 1048576.0, 0.002 * (measured.value("memory.total_bytes") or 0.0))
    rising = available > s.available + margin or s.still == 0
    s = replace(s, available=max(available, s.available) if s.still else available, still=1 if rising else s.still + 1)
    shown = measured.value("memory.available_bytes") or 0.0
    detail = f"{size(shown)} available, {size(shown - s.available_before)} more than before"
    if s.still > 3:
        return then(s, detail, _enter_drop)
    if s.now - s.since > MEMORY_LIMIT:
        return then(s, f"{detail}; still rising after {span(MEMORY_LIMIT)}", _enter_drop)
    return s, (Wait(POLL),)


def _enter_drop(s: Switching) -> Result:
    if s.target.command:
        return plus((Step("drop-caches", "skipped", 0.0, "the mode's own command does it"),), enter_command(s))
    if s.request.drop_caches:
        s, effects = step(replace(s, phase="drop"), "drop-caches")
        return s, (*effects, Drop())
    s, effects = enter_start(s)
    return s, (Step("drop-caches", "skipped", 0.0, "not wanted"), *effects)


def on_drop(s: Switching, dropped: Dropped) -> Result:
    if dropped.ok:
        return then(s, "page cache dropped", enter_start)
    warning = f"the page cache could not be dropped: {dropped.reason}"
    s = replace(s, warnings=(*s.warnings, warning))
    return plus((Step(s.step, "failed", s.now - s.since, dropped.reason),), enter_start(s))
