"""Backwards: stop what was started, bring back what ran before, by the same proofs. Pure."""

from __future__ import annotations

from dataclasses import replace

from sovtui.onbox import insisting, judge
from sovtui.onbox.ending import then
from sovtui.onbox.failing import enter_undo_start, fail
from sovtui.onbox.insisting import again
from sovtui.onbox.loading import start_services
from sovtui.onbox.phrases import span
from sovtui.onbox.switchstate import POLL, Result, Switching, starting
from sovtui.onbox.words import Looked, Wait


def on_undo_stop(s: Switching, seen: Looked) -> Result:
    stopping = s.commanding or any(verb == "stop" and x in s.started for verb, x in s.pending)
    if not seen.reason and not stopping and all(seen.unit(x).gone for x in s.started):
        return then(s, ", ".join(s.started), enter_undo_start)
    refused = [why for verb, x, why in s.refused if verb == "stop" and x in s.started and seen.unit(x).up]
    s, kills = insisting.end(s, seen, s.started, max(s.request.stop_timeout, insisting.PATIENCE))
    limit = s.request.stop_timeout + (insisting.GRACE if any(x in s.killed for x in s.started) else 0.0)
    if kills and not refused:
        return s, (*kills, Wait(POLL))
    if refused or s.now - s.since > limit:
        left = ", ".join(x for x in s.started if not seen.unit(x).gone) or "the switch command"
        why = next((f": {w}" for x in s.started if (w := insisting.why_not(s, x))), "")
        return fail(s, refused[0] if refused else f"{left} did not stop within {span(limit)}{why}")
    s, runs = again(s, seen, s.started)
    return s, (*runs, Wait(POLL))


def on_undo_clear(s: Switching, seen: Looked) -> Result:
    previous = s.request.mode(s.previous)
    others = [x for x in judge.foreign(s.request, previous) if not seen.unit(x).gone and x not in starting(s)]
    watched = (*others, *starting(s))
    revived = any(x in s.started for x in others)
    leaving = revived or any(seen.unit(x).active == "deactivating" or ("stop", x) in s.pending for x in watched)
    refused = any(verb == "stop" and x in others for verb, x, _ in s.refused)
    if leaving and not refused and s.now - s.since <= s.request.stop_timeout:
        s, runs = again(s, seen, (x for x in others if x in s.started))
        return s, (*runs, Wait(POLL))
    if seen.reason or others:
        return fail(s, seen.reason or f"{', '.join(others)} still runs")
    return start_services(replace(s, phase="undo-start", refused=()), seen)
