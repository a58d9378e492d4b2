"""The switch: a pure machine. It never starts a mode before every other one is seen to be gone.

Its phases, in order: `preflight`, `clearing`, `loading`; where one fails `failing` and `undoing`; and `ending`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sovtui.onbox import clearing, ending, failing, loading, preflight, taking, undoing
from sovtui.onbox.plan import Request
from sovtui.onbox.switchstate import BLIND_LIMIT, POLL, Result, Switching, left, looking, ran, said
from sovtui.onbox.words import Began, Cancelled, CommandEnded, Event, Line, Looked, Measure, Ran, Tick, Wait, Weigh


def begin(request: Request) -> Switching:
    return Switching(request)


def advance(s: Switching, event: Event) -> Result:
    """What follows from an event."""
    if s.ended:
        return s, ()
    s = replace(s, now=event.now)
    if isinstance(event, Began):
        return preflight.begin(s)
    if isinstance(event, Cancelled):
        if s.undoing:
            return s, ()
        s = replace(s, cancelled=event.words)
        return (s, ()) if s.phase in _AT_THE_END else failing.fail(s, s.cancelled)  # whatever is being asked: nobody waits for it
    if isinstance(event, Line):
        return said(s, event)
    if isinstance(event, Ran):
        return taking.advance(s, event)[:2] if event.service in s.bring_open else (ran(s, event), ())
    if isinstance(event, CommandEnded):
        return replace(s, commanding=False, command_failed="" if event.ok else event.reason or "failed"), ()
    if isinstance(event, Tick):
        if s.phase == "drain":
            return s, (Weigh(s.probes, seconds=left(s, s.request.drain_timeout)),)
        if s.phase == "bring":
            return s, (taking.look(s),)
        return s, (Measure() if s.phase == "memory" else looking(s),)
    if isinstance(event, Looked) and event.reason and s.phase in _PATIENT and s.now - s.since < BLIND_LIMIT:
        return s, (Wait(POLL),)
    handler: Any = _HANDLERS[s.phase]
    result: Result = handler(s, event)
    return result


_AT_THE_END = ("release", "bring-look", "bring-jobs", "bring", "closing", "figures")
_PATIENT = ("clear", "undo-clear", "verify")
"""Phases that would fail at once where systemd does not answer for a moment."""
_HANDLERS = {
    "look": preflight.on_look,
    "listen": preflight.on_listen,
    "pulse": preflight.on_pulse,
    "token": preflight.on_token,
    "jobs": preflight.on_jobs,
    "rights": preflight.on_rights,
    "weigh": preflight.on_weigh,
    "before": preflight.on_before,
    "hold": preflight.on_hold,
    "drain": preflight.on_drain,
    "stop": clearing.on_stop,
    "gone": clearing.on_gone,
    "memory": clearing.on_memory,
    "drop": clearing.on_drop,
    "clear": loading.on_clear,
    "start": loading.on_start,
    "command": loading.on_command,
    "ready": loading.on_ready,
    "proof": loading.on_proved,
    "verify": loading.on_verify,
    "explain": failing.on_explain,
    "undo-stop": undoing.on_undo_stop,
    "undo-clear": undoing.on_undo_clear,
    "undo-start": loading.on_start,
    "release": ending.on_release,
    "bring-look": ending.on_bring,
    "bring-jobs": ending.on_bring,
    "bring": ending.on_bring,
    "closing": ending.on_closing,
    "figures": ending.on_figures,
}
