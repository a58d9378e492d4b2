"""What is typed comes through at once, and while nothing is typed nobody looks."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key

from sovtui.tui import terminal
from sovtui.tui.terminal import TerminalDriver, Waking


class Keyboard:
    """A driver that reads from a pipe. What is waited for has a minute: on a busy machine threads come late."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: list[float | None] = []
        """How long it was ready to wait for a key, one number for each look."""
        self._keys: queue.Queue[str] = queue.Queue()
        self.driver = TerminalDriver(SimpleNamespace())
        self.driver.fileno, self.end = os.pipe()
        self.driver.process_message = self._take  # type: ignore[method-assign]
        monkeypatch.setattr(terminal.select, "select", self._select)  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self.driver.run_input_thread, daemon=True)
        self._thread.start()

    def _take(self, message: Any) -> None:
        if isinstance(message, Key):
            self._keys.put(message.key)

    def _select(self, reads: Any, writes: Any, errors: Any, wait: float | None = None) -> Any:
        self.waits.append(wait)
        return _SELECT(reads, writes, errors, wait)

    async def type(self, data: bytes) -> list[str]:
        """The keys that are seen, up to one that is typed once it would be seen by itself."""
        os.write(self.end, data)
        seen: list[str] = []
        if data.endswith(b"\x1b"):
            seen.append(await self._key())
        os.write(self.end, b".")
        while (key := await self._key()) != "full_stop":
            seen.append(key)
        return seen

    async def _key(self) -> str:
        return await asyncio.to_thread(self._keys.get, timeout=MINUTE)

    async def rests(self) -> None:
        """Wait until it waits for a key, for as long as that takes."""
        async with asyncio.timeout(MINUTE):
            while not self.waits or self.waits[-1] is not None:
                await asyncio.to_thread(time.sleep, 0.01)

    async def stop(self) -> bool:
        self.driver.exit_event.set()
        await asyncio.to_thread(self._thread.join, MINUTE)
        return not self._thread.is_alive()


_SELECT = select.select
MINUTE = 60.0


async def test_keys_come_through_and_a_lone_escape_is_a_key(monkeypatch):
    keyboard = Keyboard(monkeypatch)
    assert await keyboard.type(b"a\x1b[B") == ["a", "down"]
    assert await keyboard.type(b"\x1b") == ["escape"]
    assert await keyboard.type(b"\x1bi") == ["escape", "i"], "typed fast, or collected on the way"
    assert await keyboard.type(b"\x1b\x1b[D") == ["escape", "left"]
    assert await keyboard.type("ü".encode()) == ["ü"]
    assert "b" in await keyboard.type(b"\xffb"), "what is no text ends nothing"
    await keyboard.rests()  # while nobody types, nobody looks
    assert await keyboard.stop()


async def test_a_lone_escape_is_a_key_even_where_the_machine_stops_us_until_long_after_it_was_due(monkeypatch):
    now, tick = 0.0, XTermParser.tick

    def stopped(parser: XTermParser) -> Iterator[Any]:
        nonlocal now
        yield from tick(parser)
        now += 10

    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    monkeypatch.setattr("textual._parser.get_time", lambda: now)
    monkeypatch.setattr(XTermParser, "tick", stopped)
    keyboard = Keyboard(monkeypatch)
    try:
        assert await keyboard.type(b"\x1b") == ["escape"]
    finally:
        assert await keyboard.stop()


async def test_it_ends_when_it_is_told_and_when_nothing_will_be_typed_any_more(monkeypatch):
    keyboard = Keyboard(monkeypatch)
    waits, told = threading.Event(), keyboard.driver.exit_event.wait

    def wait() -> bool:
        waits.set()
        return told()

    monkeypatch.setattr(keyboard.driver.exit_event, "wait", wait)
    os.close(keyboard.end)
    assert await asyncio.to_thread(waits.wait, MINUTE)
    assert await keyboard.stop()
    assert len(keyboard.waits) <= 2


def test_an_event_can_be_waited_for_like_a_file():
    event = Waking()
    for _ in range(3):
        assert not select.select([event], [], [], 0)[0]
        event.set()
        event.set()
        assert select.select([event], [], [], 0)[0] and event.is_set()
        event.clear()
        event.clear()
        assert not event.is_set()
