"""What an action would come to: its own machine plays its preflight, with real looks, and is left before it does anything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sovtui.onbox import box, lock, locking, machine, receipt
from sovtui.onbox.effects import Hands
from sovtui.onbox.plan import parse
from sovtui.onbox.words import AskJobs, Began, Call, CheckRights, End, Kept, Look, Prove, Step, Wait, Weigh

_LOOKS = (Look, CheckRights, AskJobs, Weigh, Prove, Call, Wait)
"""What a preflight does. Whatever else is asked for, with `Measure` as the first, belongs to what comes after it."""
_NOTES = (Step, Kept)


def rehearse(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`busy` with who holds the box; else `rehearsed` with the outcome and its reason where the preflight ends it, both empty where it goes on.

    The same looks and questions as the action's, under no lock and without a receipt.
    """
    request = parse(raw)
    other = lock.holder()
    if other is not None:
        return {**other, "t": "busy"}
    beside = locking.runners()
    if beside.get(True):
        return {**beside[True], "t": "busy"}
    if beside.get(False) and not request.consent.beside:
        return {"t": "rehearsed", "outcome": "refused", "reason": locking.question(beside[False]), "asks": True}
    box.end_with_client()
    left = tuple(x for x in receipt.leftovers() if x in request.hold)
    request = replace(request, left=left, owed=receipt.owed(request.to))
    hands = Hands(request)
    state, effects = machine.advance(machine.begin(request), Began(time.monotonic()))
    while True:
        for effect in effects:
            if isinstance(effect, End):
                return {"t": "rehearsed", "outcome": effect.outcome, "reason": effect.reason, "asks": effect.asks is not None}
            if isinstance(effect, _LOOKS):
                hands.perform(effect)
            elif not isinstance(effect, _NOTES):
                return {"t": "rehearsed", "outcome": "", "reason": str(getattr(state, "said", ""))}
        state, effects = machine.advance(state, hands.take())
