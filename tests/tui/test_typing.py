"""What is typed comes through at once, and while nothing is typed nobody looks."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from textual.events import Key

from sovtui.tui import terminal
from sovtui.tui.terminal import TerminalDriver, Waking


class Keyboard:
    """A driver that reads from a pipe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        self.keys: list[str] = []
        self.driver = TerminalDriver(SimpleNamespace())
        self.driver.fileno, self.end = os.pipe()
        self.driver.process_message = self._take  # type: ignore[method-assign]
        monkeypatch.setattr(terminal.select, "select", self._select)  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self.driver.run_input_thread, daemon=True)
        self._thread.start()

    def _take(self, message: Any) -> None:
        if isinstance(message, Key):
            self.keys.append(message.key)

    def _select(self, *words: Any) -> Any:
        self.looks += 1
        return _SELECT(*words)

    async def type(self, data: bytes) -> list[str]:
        """The keys that are seen within a moment."""
        self.keys.clear()
        os.write(self.end, data)
        await asyncio.sleep(0.6)
        return list(self.keys)

    async def stop(self) -> bool:
        self.driver.exit_event.set()
        await asyncio.to_thread(self._thread.join, 1.0)
        return not self._thread.is_alive()


_SELECT = select.select


async def test_keys_come_through_and_a_lone_escape_is_a_key(monkeypatch):
    keyboard = Keyboard(monkeypatch)
    assert await keyboard.type(b"a\x1b[B") == ["a", "down"]
    assert await keyboard.type(b"\x1b") == ["escape"]
    assert await keyboard.type(b"\x1bi") == ["escape", "i"], "typed fast, or collected on the way"
    assert await keyboard.type(b"\x1b\x1b[D") == ["escape", "left"]
    assert await keyboard.type("ü".encode()) == ["ü"]
    assert "b" in await keyboard.type(b"\xffb"), "what is no text ends nothing"
    before = keyboard.looks
    await asyncio.sleep(0.7)
    assert keyboard.looks == before, "nobody types and somebody looks"
    assert await keyboard.stop()


async def test_it_ends_when_it_is_told_and_when_nothing_will_be_typed_any_more(monkeypatch):
    keyboard = Keyboard(monkeypatch)
    os.close(keyboard.end)
    await asyncio.sleep(0.2)
    before = keyboard.looks
    await asyncio.sleep(0.2)
    assert keyboard.looks == before <= 2
    assert await keyboard.stop()


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
