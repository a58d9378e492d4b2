"""The machines behind one door: `begin(request)`, then `advance(state, event)` until it has ended. No I/O, no clock."""

from __future__ import annotations

from typing import Union

from sovtui.onbox import chores, models, switching
from sovtui.onbox.plan import MODEL_KINDS, Request
from sovtui.onbox.switchstate import Switching
from sovtui.onbox.words import Effects, Event

State = Union[Switching, chores.Chore, models.Errand]


def begin(request: Request) -> State:
    """The state before the first event, which must be `Began`."""
    if request.kind in MODEL_KINDS:
        return models.begin(request)
    return switching.begin(request) if request.kind == "switch" else chores.begin(request)


def advance(state: State, event: Event) -> tuple[State, Effects]:
    """The next state and what is to be done now, in order."""
    if isinstance(state, Switching):
        return switching.advance(state, event)
    if isinstance(state, models.Errand):
        return models.advance(state, event)
    return chores.advance(state, event)
