"""The one mutable cell. Events go in, subscribers hear of slices that changed, at most once per loop turn.

For a screen that is too often: many sources that each answer once a second would have it drawn as many times. Routine news
(`core.state.is_routine`) then wait for each other; all else is told at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sovtui.core.events import Event, Tick
from sovtui.core.state import State, is_routine, reduce

T = TypeVar("T")

FOR_A_SCREEN_SECONDS = 0.95
"""How often a screen hears of routine news: a little below a second, so that no figure of one a second is left out."""
GATHER_SECONDS = 0.05
"""How long routine news wait for others of the same answer."""
LEAST_SECONDS = 0.05
"""How long a screen waits for the next news of any kind: it draws no faster, whatever comes."""
TICK_SECONDS = 0.6
"""How long a tick waits for figures, so that they and it are told together."""


class _Subscription:
    __slots__ = ("last", "notify", "select")

    def __init__(self, select: Callable[[State], Any], notify: Callable[[Any], None], last: Any) -> None:
        self.select = select
        self.notify = notify
        self.last = last


class Store:
    """Holds the state; not thread-safe: everything happens on one event loop."""

    def __init__(self, state: State, *, routine_every_seconds: float = 0.0) -> None:
        """`routine_every_seconds`: routine news are told at most that often; 0 tells them at once like everything."""
        self._state = state
        self._subscriptions: list[_Subscription] = []
        self._every = routine_every_seconds
        self._told_at = -routine_every_seconds
        self._due_at = 0.0
        self._telling: asyncio.Handle | None = None

    @property
    def state(self) -> State:
        return self._state

    def put(self, event: Event) -> None:
        """Reduce one event. Subscribers are told once, after the current loop turn or when routine news are due."""
        old = self._state
        new = reduce(old, event)
        if new is old:
            return
        self._state = new
        if not self._subscriptions:
            return
        wait = 0.0
        if self._every and is_routine(old, event):
            wait = TICK_SECONDS if isinstance(event, Tick) else GATHER_SECONDS
        self._schedule(wait)

    def _schedule(self, wait: float) -> None:
        loop = asyncio.get_running_loop()
        at = max(loop.time() + wait, self._told_at + self._every) if wait else 0.0
        if self._every and not wait and loop.time() < self._told_at + LEAST_SECONDS:
            at = self._told_at + LEAST_SECONDS
        if self._telling is not None:
            if at >= self._due_at:
                return
            self._telling.cancel()
        self._due_at = at
        self._telling = loop.call_at(at, self._tell) if at else loop.call_soon(self._tell)

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        """Call `notify` now and whenever `select` gives something else. Returns what ends it."""
        first = select(self._state)
        subscription = _Subscription(select, notify, first)
        self._subscriptions.append(subscription)
        notify(first)

        def unsubscribe() -> None:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

        return unsubscribe

    def _tell(self) -> None:
        self._telling = None
        self._told_at = asyncio.get_running_loop().time()
        for subscription in tuple(self._subscriptions):
            value = subscription.select(self._state)
            if value is subscription.last or value == subscription.last:
                continue
            subscription.last = value
            subscription.notify(value)
