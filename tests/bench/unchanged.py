"""The control room on a healthy box that answers once a second and always the same: `python -m tests.bench.unchanged`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from sovtui.core.events import Sample, Samples, Tick
from sovtui.core.reading import Status
from sovtui.core.state import State
from sovtui.demo import build, scenario
from sovtui.runtime.store import Store
from sovtui.tui.app import run
from sovtui.tui.pictures import Still

T = TypeVar("T")


class Unchanged(Still):
    """Every second: a tick, and every fresh figure told anew with the value it had."""

    def __init__(self) -> None:
        super().__init__(scenario("healthy"), build("spark").config)
        self._store = Store(self._state)
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        return self._store.state

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        return self._store.subscribe(select, notify)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = self.state.now + timedelta(seconds=1)
            for host in self.state.hosts.values():
                again = [
                    Sample(figure, replace(reading, at=now), subject)
                    for (figure, subject), reading in host.figures.items()
                    if reading.status is Status.FRESH
                ]
                self._store.put(Samples(host.spec.name, tuple(again)))
            self._store.put(Tick(now))


if __name__ == "__main__":
    sys.exit(run(Unchanged()))
