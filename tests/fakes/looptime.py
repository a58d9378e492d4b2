"""An event loop in which computing takes no time: what a test waits for comes in the same order on any machine, however busy it is.

Its time stands still while anything is ready to run. Where nothing is, it goes straight to the next timer, without waiting for it.
Only where a thread of the pool, a process or a socket is waited for does it pass as it does outside: they keep no other time.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for files as ever, and is told by the loop how long that may take."""

    loop: LoopTime | None = None
    own = 0
    """How many files the loop watches for itself."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if loop is None or timeout is None or timeout <= 0:
            return super().select(timeout)
        if len(self.get_map()) <= self.own and not loop.awaits():
            if not (ready := super().select(0)):
                loop.now += timeout
            return ready
        began = time.monotonic()
        ready = super().select(timeout)
        loop.now += min(time.monotonic() - began, timeout) if ready else timeout
        return ready


class LoopTime(asyncio.SelectorEventLoop):
    """`time()` begins with this machine's, so that moments of both can be set against each other."""

    def __init__(self) -> None:
        selector = _Selector()
        self.now = time.monotonic()
        self._jobs = 0
        """Calls that threads of a pool still work at."""
        self._children: list[Any] = []
        super().__init__(selector)
        selector.own = len(selector.get_map())
        selector.loop = self

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        job = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        job.add_done_callback(self._done)
        return job

    def _done(self, job: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    async def _make_subprocess_transport(self, *args: Any, **words: Any) -> Any:
        made = await super()._make_subprocess_transport(*args, **words)  # type: ignore[misc]
        self._children.append(made)
        return made

    def awaits(self) -> bool:
        """Whether something is under way that no file tells of."""
        self._children = [child for child in self._children if child.get_returncode() is None]
        return bool(self._jobs or self._children)


def loop_time() -> float:
    """Of the loop that runs, else this machine's: what takes the place of `time.monotonic` in code that times itself by that."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
