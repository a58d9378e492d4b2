"""Tells the links when it is worth to look at once: the network has changed, the machine has slept, the program was stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sovtui.ports.clock import Clock
from sovtui.ports.network import Network

LOOK_SECONDS = 1.0
POLL_SECONDS = 3.0
"""How often the way out is compared where the system does not tell of changes."""
SLEPT_SECONDS = 2.0
STOPPED_SECONDS = 4.0
"""Longer than planned between two looks: the program itself did not run (Ctrl+Z, a phone's freezer)."""


async def watch(
    network: Network, clock: Clock, addresses: Callable[[], Sequence[str]], wake: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Until cancelled: `wake` whenever something has happened that may have broken or mended a link.

    `addresses`: those of the hosts, the way to which is compared.
    """
    changed = asyncio.Event()
    unwatch = network.watch(changed.set)
    asleep, before = network.asleep_seconds(), clock.monotonic()
    way, looked = network.toward(addresses()), before
    try:
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                pass
            told = changed.is_set()
            changed.clear()
            now, slept = clock.monotonic(), network.asleep_seconds()
            away = slept - asleep > SLEPT_SECONDS or now - before - LOOK_SECONDS > STOPPED_SECONDS
            asleep, before = slept, now
            if unwatch is None and now - looked >= POLL_SECONDS:
                looked, last = now, way
                way = network.toward(addresses())
                told = told or way != last
            if told or away:
                await wake()
    finally:
        if unwatch is not None:
            unwatch()
