"""The first frame comes before the hub: what is pressed meanwhile is not lost, what fails is passed on."""

from __future__ import annotations

import subprocess
import sys
import threading

from sovtui.runtime.hub import Hub
from sovtui.tui.app import ControlRoom
from sovtui.tui.pictures import Still
from sovtui.tui.screens.opening import Opening
from sovtui.tui.screens.room import Room


async def test_the_room_follows_the_first_frame_with_the_keys_pressed_before_it(states, configs):
    go = threading.Event()

    def open_hub() -> Hub:
        assert go.wait(60)
        return Still(states(), configs())

    app = ControlRoom(open_hub)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.05)
        assert isinstance(app.screen, Opening)
        await pilot.press("tab")
        go.set()
        for _ in range(200):
            await pilot.pause(0.02)
            if isinstance(app.screen, Room) and app.room.current == "memory":
                break
        assert app.room.current == "memory", "the tab key went to the room"


async def test_q_quits_before_the_room_is_there():
    go = threading.Event()

    def open_hub() -> Hub:
        go.wait(60)
        raise AssertionError("nobody waits for it")

    app = ControlRoom(open_hub)
    async with app.run_test() as pilot:
        await pilot.pause(0.05)
        await pilot.press("q")
        go.set()
    assert app.return_code == 0


async def test_what_the_hub_raises_ends_the_screen_and_is_kept():
    error = RuntimeError("the file is wrong")

    def open_hub() -> Hub:
        raise error

    app = ControlRoom(open_hub)
    async with app.run_test() as pilot:
        for _ in range(200):
            await pilot.pause(0.02)
            if app.crash is not None:
                break
    assert app.crash is error and app.return_code == 1


def test_the_first_frame_imports_nothing_of_weight():
    """A start is imports: whoever adds one to the way to the first frame should know."""
    program = "import sys, sovtui.__main__, sovtui.cli.main, sovtui.cli.wiring, sovtui.tui.app; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"sovtui.core.model", "sovtui.config.schema", "sovtui.runtime", "sovtui.tui.panes", "cattrs", "httpx", "asyncssh"}
    assert not heavy & set(imported)
