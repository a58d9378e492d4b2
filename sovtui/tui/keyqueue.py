"""Keys that come in one go, as over a bad link, are done one after the other.

Textual gives each key to what has the focus when it is read, also where the keys before it still wait: what was typed after
the key that opens a field, or leaves a question, would go where it is not meant for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

STALL_SECONDS = 0.25
"""A key that takes longer than this does not hold up the next one."""


class KeyQueue:
    """The keys of one application. `give` hands one to what has the focus now; it may still wait there when it returns."""

    def __init__(self, app: App[Any], give: Callable[[events.Key], Awaitable[None]]) -> None:
        self._app = app
        self._give = give
        self._waiting: deque[events.Key] = deque()
        self._given = 0
        self._busy = False
        self._stall: asyncio.TimerHandle | None = None

    async def put(self, key: events.Key) -> None:
        """Now, or once those before it are done. Called by the application's own loop of messages."""
        self._waiting.append(key)
        if not self._busy:
            await self._next()

    async def _next(self) -> None:
        if not self._waiting:
            return
        self._busy, self._given = True, self._given + 1
        number = self._given
        self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS, self._app.call_later, self._done, number)
        focused = self._app.focused or self._app.screen
        await self._give(self._waiting.popleft())
        self._after(focused, number)

    def _after(self, pump: MessagePump, number: int) -> None:
        """Come behind it in the queue of each that it goes to: from what has the focus up to the application."""
        while pump is not self._app:
            above = pump._parent or self._app
            if pump.call_later(self._after, above, number):
                return
            pump = above  # that one is closing
        self._app.call_later(self._done, number)

    async def _done(self, number: int) -> None:
        if number == self._given and self._busy:
            self._busy = False
            if self._stall is not None:
                self._stall.cancel()
            await self._next()
