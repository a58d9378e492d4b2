"""Who may have a session of the connection now: sshd gives a few of them (MaxSessions, ten by default), some hosts one.

What a host gives is learned where it says no. From then on everything waits its turn: what is less patient comes first, and
what is more patient makes way for it, the most patient before the others. TCP streams are no sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MAX_SESSIONS = 8
"""Two of sshd's ten are left to whoever shares the connection."""
PATIENT_SECONDS = 5.0
"""How long something patient waits for its turn; then it is told that there is none, and may try again."""
AGAIN_SECONDS = 0.1
FREED_SECONDS = 5.0
"""How long a host may take to free a session that has ended here: it waits for its processes."""


class Crowded(Exception):
    """There is no session for something patient."""


class Sessions:
    """The turns of one connection."""

    def __init__(self, limit: int = MAX_SESSIONS) -> None:
        self.limit = limit
        self.granted = 0
        """How many the host has given so far."""
        self._taken = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._holding: list[tuple[int, Callable[[], None]]] = []
        self._leaving: list[Callable[[], None]] = []

    @property
    def free(self) -> bool:
        """Whether one could be had now without anybody making way."""
        return self._taken < self.limit and not self._waiting

    @property
    def few(self) -> str:
        """What the host gives, in words, where that is less than usual."""
        many = "one session at a time" if self.limit == 1 else f"{self.limit} sessions at a time"
        return f"gives {many} (MaxSessions in its sshd_config)" if self.limit < MAX_SESSIONS else ""

    async def take(self, patience: int = 0) -> None:
        """Wait for a turn. Raises `Crowded` if something patient gets none in time."""
        if self._taken < self.limit and all(other > patience for other, _ in self._waiting):
            self._taken += 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (patience, mine)
        self._waiting.append(entry)
        self._make_way()
        try:
            async with asyncio.timeout(PATIENT_SECONDS if patience and self.few else None):
                await mine
        except BaseException as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif mine.done() and not mine.cancelled():  # it was our turn already
                self.give_back()
            if isinstance(error, TimeoutError):
                raise Crowded from None
            raise

    def give_back(self) -> None:
        self._taken -= 1
        while self._waiting and self._taken < self.limit:
            entry = min(self._waiting, key=lambda one: one[0])  # the first of the least patient
            self._waiting.remove(entry)
            if not entry[1].done():
                self._taken += 1
                entry[1].set_result(None)
        self._make_way()

    def refused(self) -> bool:
        """The host has refused one for which there was a turn. Whether that is for the others that have one: then it gives fewer."""
        others = self._taken - 1
        if others > 0:
            self.limit = min(self.limit, others)
        return others > 0

    def hold(self, patience: int, leave: Callable[[], None]) -> None:
        """Something has its turn for long. `leave` tells it to make way; it is called at most once, and `left` is the answer."""
        if patience:
            self._holding.append((patience, leave))
            self._make_way()

    def left(self, patience: int, leave: Callable[[], None]) -> None:
        if (patience, leave) in self._holding:
            self._holding.remove((patience, leave))
        if leave in self._leaving:
            self._leaving.remove(leave)

    def _make_way(self) -> None:
        """As many leave as are waited for by less patient ones."""
        if self._taken < self.limit:
            return
        for number, (patience, _) in enumerate(sorted(self._waiting, key=lambda one: one[0]), 1):
            most = max(self._holding, key=lambda one: one[0], default=None)
            if most is None or most[0] <= patience or number <= len(self._leaving):
                continue
            self._holding.remove(most)
            self._leaving.append(most[1])
            most[1]()
