"""One deadline for a whole question, whatever is waited for in it: a name, a connection, a byte, a command, a disk that hangs.

Who asks goes on when it is over; what cannot be broken off is left to itself. Goes by the monotonic clock: a pipe is waited for, since
what Python 3.9 has to wait for threads goes by the time of day.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, Optional, TypeVar

T = TypeVar("T")
_mine = threading.local()


class Question(Generic[T]):
    """Work in a thread of its own, begun at once. `answer` must be called, once."""

    def __init__(self, seconds: Optional[float], do: Callable[[], T], end: Callable[[], object] = int) -> None:
        """`seconds`: for all of it, at most as long as the question that it is part of; None: as long as that one.

        `end` breaks it off when they are over. TimeoutError where they are over already.
        """
        now = time.monotonic()
        self._until = min(math.inf if seconds is None else now + seconds, getattr(_mine, "until", math.inf))
        self._late = TimeoutError(f"did not answer within {self._until - now:.3g} s")
        if self._until <= now:
            raise self._late
        self._do, self._end = do, end
        self._told: list[tuple[Any, Optional[BaseException]]] = []
        self._ended, self._ending = os.pipe()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        _mine.until = self._until
        try:
            self._told.append((self._do(), None))
        except BaseException as problem:  # noqa: BLE001 - whoever asks gets it
            self._told.append((None, problem))
        os.close(self._ending)

    def answer(self) -> T:
        """What the work returns or raises; TimeoutError, "did not answer within …", once its time is over."""
        heard(self._ended, 0, self._until - time.monotonic())
        os.close(self._ended)
        if not self._told:
            self._end()
            raise self._late
        told, problem = self._told[0]
        if problem is not None:
            raise problem
        answer: T = told
        return answer


def heard(descriptor: int, events: int, seconds: float) -> bool:
    """Whether there is something to read from it, or its other end has gone, within so many seconds."""
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(None if seconds == math.inf else max(0.0, 1000 * seconds)))


def within(seconds: Optional[float], do: Callable[[], T], end: Callable[[], object] = int) -> T:
    """The answer of one question."""
    return Question(seconds, do, end).answer()


def each(seconds: float, jobs: Iterable[Callable[[], object]]) -> None:
    """All at once, until they have ended or so many seconds have passed. What goes wrong in one is its own business."""
    for question in [Question(seconds, job) for job in jobs]:
        with contextlib.suppress(Exception):
            question.answer()
