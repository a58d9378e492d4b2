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
from sovtui.ports.errors import Absent, NotYet, PortError, Unsupported
from sovtui.ports.source import Source, StreamSource
from sovtui.runtime.links import LinkKeeper
from sovtui.runtime.store import Store

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 15.0
NOT_YET_SECONDS = 0.1
"""The first pause of a source whose inputs are not there yet; they come within a second, or take long."""


class Tried:
    """How far a source has come for the first time; headless commands wait for it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        """It has been asked: it has answered or failed, or said that it cannot tell yet."""
        self.whole = asyncio.Event()
        """It has answered or failed, with all that it needs to tell."""

    def set(self) -> None:
        self.event.set()
        self.whole.set()


Pace = Callable[[str, str, float], float]
"""Source, its host, its usual interval in seconds: how long to wait really."""


def usual(source: str, host: str, seconds: float) -> float:
    return seconds


async def poll_forever(source: Source, store: Store, clock: Clock, tried: Tried, wake: asyncio.Event, pace: Pace = usual) -> None:
    """Poll until cancelled. A source may fail in any way; the room goes on and says so."""
    failures = waits = 0
    _begin(source.name, source.host, store)
    while True:
        wake.clear()  # whatever happens from here on is news for the next time
        began, absent, soon = clock.monotonic(), False, False
        try:
            async with asyncio.timeout(source.timeout_seconds):
                detail = await source.poll(store.state, store.put)
            failures = waits = 0
            store.put(SourceChanged(SourceValue(source.name, source.host, True, "", clock.now(), detail, _left_out(source))))
        except NotYet as error:
            failures, waits, soon = 0, waits + 1, error.soon
            store.put(SourceChanged(SourceValue(source.name, source.host, None, error.sentence())))
        except Absent as error:
            failures, waits, absent = (
                failures + 1,
                0,
                True,
            )  # asked ever more rarely, and not called silent: there is nobody who could answer
            store.put(SourceChanged(SourceValue(source.name, source.host, None, error.sentence())))
        except PortError as error:
            failures, waits = failures + 1, 0
            _failed(source.name, source.host, error.sentence(), store)
        except TimeoutError:
            failures, waits = failures + 1, 0
            _failed(source.name, source.host, f"{source.name} did not answer within {source.timeout_seconds:g} s", store)
        except Exception as error:
            failures, waits = failures + 1, 0
            log.exception("source %s failed", source.name)
            _failed(
                source.name,
                source.host,
                f"{source.name} broke inside sovtui ({type(error).__name__}); sovtui.log in the state directory says where",
                store,
            )
        if waits:
            tried.event.set()
        else:
            tried.set()
        spent = clock.monotonic() - began
        interval = pace(source.name, source.host, source.interval_seconds)
        if failures:
            pause = min(LONGEST_PAUSE_SECONDS, source.interval_seconds * 2 ** min(failures, 6))
            interval = max(interval, pause) if absent or interval > source.interval_seconds else pause
        elif soon:
            interval, spent = min(interval, NOT_YET_SECONDS * 2 ** min(waits, 8)), 0.0
        due = asyncio.get_running_loop().call_later(max(0.05, interval - spent), wake.set)  # a timeout would cost three turns
        try:
            await wake.wait()
        finally:
            if not due.cancelled() and due.when() > asyncio.get_running_loop().time():
                failures = 0  # woken before its time: something has happened that may have mended it
            due.cancel()


async def stream_forever(source: StreamSource, keeper: LinkKeeper, store: Store, clock: Clock, tried: Tried) -> None:
    """Follow a pushing source through every link its host gets, until cancelled."""
    failures, last = 0, None
    _begin(source.name, source.host, store)
    while True:
        link = await keeper.when_up()
        failures, last = failures if link is last else 0, link  # another link is another chance
        try:
            async with aclosing(source.events(link)) as batches:
                async for events in batches:
                    known = store.state.sources.get((source.name, source.host))
                    left_out = _left_out(source)
                    if failures or known is None or known.ok is not True or known.left_out != left_out:
                        failures = 0  # known: also what it was called on a link that is gone
                        store.put(SourceChanged(SourceValue(source.name, source.host, True, "", clock.now(), left_out=left_out)))
                        tried.set()
                    for event in events:
                        store.put(event)
            reason = f"{source.name} on {source.host} ended by itself"
        except Unsupported as error:
            _failed(source.name, source.host, error.sentence(), store)
            tried.set()
            await link.wait_lost()  # it will not get better on this link
            continue
        except PortError as error:
            reason = error.sentence()
        except Exception as error:
            log.exception("stream %s failed", source.name)
            reason = f"{source.name} broke inside sovtui ({type(error).__name__}); sovtui.log in the state directory says where"
        failures += 1
        _failed(source.name, source.host, reason, store)
        tried.set()
        await clock.sleep(min(LONGEST_PAUSE_SECONDS, 0.2 * 2 ** min(failures, 8)))


def _left_out(source: Source | StreamSource) -> str:
    return str(getattr(source, "left_out", ""))


def _begin(name: str, host: str, store: Store) -> None:
    """A source is listed from the beginning: that it has not answered yet is told too."""
    if (name, host) not in store.state.sources:
        store.put(SourceChanged(SourceValue(name, host)))


def _failed(name: str, host: str, reason: str, store: Store) -> None:
    store.put(SourceChanged(SourceValue(name, host, False, reason)))
    for state in store.state.hosts.values():
        if host in ("", state.spec.name):
            store.put(source_failed(state, name, reason))
