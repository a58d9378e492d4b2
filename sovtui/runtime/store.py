"""The one mutable cell. Events go in, subscribers hear of slices that changed, at most once per loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sovtui.core.events import Event
from sovtui.core.state import State, reduce

T = TypeVar("T")


class _Subscription:
    __slots__ = ("last", "notify", "select")

    def __init__(self, select: Callable[[State], Any], notify: Callable[[Any], None], last: Any) -> None:
        self.select = select
        self.notify = notify
        self.last = last


class Store:
    """Holds the state; not thread-safe: everything happens on one event loop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._subscriptions: list[_Subscription] = []
        self._scheduled = False

    @property
    def state(self) -> State:
        return self._state

    def put(self, event: Event) -> None:
        """Reduce one event. Subscribers are told once, after the current loop turn."""
        new = reduce(self._state, event)
        if new is self._state:
            return
        self._state = new
        if self._subscriptions and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._tell)

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
        self._scheduled = False
        for subscription in tuple(self._subscriptions):
            value = subscription.select(self._state)
            if value is subscription.last or value == subscription.last:
                continue
            subscription.last = value
            subscription.notify(value)
