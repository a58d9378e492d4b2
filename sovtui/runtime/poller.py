"""One source, asked again and again: interval, timeout, backoff, and the word whether it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

from sovtui.core.events import SourceChanged
from sovtui.core.model import Source as SourceValue
from sovtui.core.state import source_failed
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Absent, PortError, Unsupported
from sovtui.ports.source import Source, StreamSource
from sovtui.runtime.links import LinkKeeper
from sovtui.runtime.store import Store

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 15.0


class Tried:
    """Set once a source has answered or failed for the first time; headless commands wait for it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()


Pace = Callable[[str, str, float], float]
"""Source, its host, its usual interval in seconds: how long to wait really."""


def usual(source: str, host: str, seconds: float) -> float:
    return seconds


async def poll_forever(source: Source, store: Store, clock: Clock, tried: Tried, wake: asyncio.Event, pace: Pace = usual) -> None:
    """Poll until cancelled. A source may fail in any way; the room goes on and says so."""
    failures = 0
    while True:
        wake.clear()  # whatever happens from here on is news for the next time
        began = clock.monotonic()
        try:
            async with asyncio.timeout(source.timeout_seconds):
                detail = await source.poll(store.state, store.put)
            failures = 0
            store.put(SourceChanged(SourceValue(source.name, source.host, True, "", clock.now(), detail)))
        except Absent as error:
            failures += 1  # asked ever more rarely, and not called silent: there is nobody who could answer
            store.put(SourceChanged(SourceValue(source.name, source.host, None, error.sentence())))
        except PortError as error:
            failures += 1
            _failed(source.name, source.host, error.sentence(), store)
        except TimeoutError:
            failures += 1
            _failed(source.name, source.host, f"{source.name} did not answer within {source.timeout_seconds:g} s", store)
        except Exception as error:
            failures += 1
            log.exception("source %s failed", source.name)
            _failed(
                source.name,
                source.host,
                f"{source.name} broke inside sovtui ({type(error).__name__}); sovtui.log in the state directory says where",
                store,
            )
        tried.event.set()
        spent = clock.monotonic() - began
        interval = pace(source.name, source.host, source.interval_seconds)
        if failures:
            interval = max(interval, min(LONGEST_PAUSE_SECONDS, source.interval_seconds * 2 ** min(failures, 6)))
        due = asyncio.get_running_loop().call_later(max(0.05, interval - spent), wake.set)  # a timeout would cost three turns
        try:
            await wake.wait()
        finally:
            due.cancel()


async def stream_forever(source: StreamSource, keeper: LinkKeeper, store: Store, clock: Clock, tried: Tried) -> None:
    """Follow a pushing source through every link its host gets, until cancelled."""
    failures, last = 0, None
    while True:
        link = await keeper.when_up()
        failures, last = failures if link is last else 0, link  # another link is another chance
        try:
            async with aclosing(source.events(link)) as batches:
                async for events in batches:
                    if failures or not tried.event.is_set():
                        failures = 0
                        store.put(SourceChanged(SourceValue(source.name, source.host, True, "", clock.now())))
                        tried.event.set()
                    for event in events:
                        store.put(event)
            reason = f"{source.name} on {source.host} ended by itself"
        except Unsupported as error:
            _failed(source.name, source.host, error.sentence(), store)
            tried.event.set()
            await link.wait_lost()  # it will not get better on this link
            continue
        except PortError as error:
            reason = error.sentence()
        except Exception as error:
            log.exception("stream %s failed", source.name)
            reason = f"{source.name} broke inside sovtui ({type(error).__name__}); sovtui.log in the state directory says where"
        failures += 1
        _failed(source.name, source.host, reason, store)
        tried.event.set()
        await clock.sleep(min(LONGEST_PAUSE_SECONDS, 0.2 * 2 ** min(failures, 8)))


def _failed(name: str, host: str, reason: str, store: Store) -> None:
    store.put(SourceChanged(SourceValue(name, host, False, reason)))
    for state in store.state.hosts.values():
        if host in ("", state.spec.name):
            store.put(source_failed(state, name, reason))
