"""What is proved while the owner's own command runs: that what it has started lives, and that no other mode comes back. Pure.

The command may stop and start what it likes, so a service counts from the moment when the command has started it, and one that is down
counts as dead only when nobody has brought it up again for a while; what has been killed for memory counts at once.
"""

from __future__ import annotations

from dataclasses import replace

from sovtui.onbox import judge
from sovtui.onbox.switchstate import Switching
from sovtui.onbox.things import Unit
from sovtui.onbox.words import Effects, Follow, Looked

GRACE = 10.0
"""So long one that has ended may stay down: the command may try again."""


def watched(s: Switching, seen: Looked) -> tuple[Switching, Effects, str, str]:
    """What to follow now, and why the command is to be ended, with the service whose journal tells more; empty if it goes on."""
    if seen.reason:
        return s, (), "", ""
    if s.own is None:
        return replace(s, own=seen), (), "", ""
    effects: Effects = ()
    for service in s.request.mode(s.mode).services:
        unit, before = seen.unit(service), s.own.unit(service)
        up = unit.serving and not unit.restarting
        down = dict(s.down)
        if service not in s.launched and _started(unit, before, service in down):
            effects = (*effects, Follow(service))
            s = replace(s, launched=(*s.launched, service), base=(*s.base, (service, unit.restarts)))
        if up:
            down.pop(service, None)
        else:
            down.setdefault(service, s.now)
        s = replace(s, down=tuple(down.items()))
        if service in s.launched or unit.result == "oom-kill" != before.result:
            why = _dead(s, unit, service)
            if why:
                return s, effects, f"{why} while {s.mode}'s own command was still at work", service
    others = () if s.undoing else judge.foreign(s.request, s.target)
    s = replace(s, left=tuple(dict.fromkeys((*s.left, *(x for x in others if seen.unit(x).gone)))))
    back = [x for x in s.left if not seen.unit(x).gone]
    loads = any(seen.unit(x).serving for x in s.launched)
    why = f"{', '.join(back)} came back while {s.mode} was loading; something else starts it" if back and loads else ""
    return s, effects, why, ""


def _started(unit: Unit, before: Unit, was_down: bool) -> bool:
    """Whether the command has started it: it runs and did not, or it has run and ended since the command began."""
    if unit.serving:
        return was_down or not before.serving
    return unit.active == "failed" and not before.serving and (before.active, before.since) != (unit.active, unit.since)


def _dead(s: Switching, unit: Unit, service: str) -> str:
    if unit.restarts > dict(s.base).get(service, 0) or unit.restarting:
        return f"{service} died and was restarted{judge.how(unit)}"
    since = dict(s.down).get(service)
    if since is None:
        return ""
    if unit.result == "oom-kill":
        return f"{service} was killed for lack of memory"
    if s.now - since >= GRACE:
        return f"{service} {'failed' if unit.active == 'failed' else 'ended'}{judge.how(unit)}"
    return ""
