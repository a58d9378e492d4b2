"""A phone's keyboard has no Escape, no Alt and no function keys: whatever is open is left by a plain key or by a tap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.command import CommandPalette

from sovtui.actions import all_specs
from sovtui.ports.link import Question
from sovtui.tui.keymap import LOCAL, SCREEN
from sovtui.tui.screens.dialog import Dialog
from sovtui.tui.widgets.keybar import KeyBar

from .conftest import Stage

pytestmark = pytest.mark.screen
PHONE = (44, 80)
Open = Callable[[Stage], Awaitable[Any]]


def keys(*pressed: str) -> Open:
    async def press(s: Stage) -> None:
        await s.press(*pressed)

    return press


def asking(kind: str) -> Open:
    async def ask(s: Stage) -> Any:
        assert s.hub.ask is not None
        task: asyncio.Task[str | None] = asyncio.create_task(s.hub.ask(Question(kind, "A question", "What it is about")))  # type: ignore[arg-type]
        return task

    return ask


async def menu(s: Stage) -> None:
    await tap(s, "#keys", "more")


async def tap(s: Stage, bar: str, id: str) -> None:
    found = s.screen.query_one(bar, KeyBar)
    await s.until(lambda: any(name == id for _, name in found._places))
    await s.read()
    region = next(region for region, name in found._places if name == id)
    await s.pilot.click(bar, offset=(region.x + region.width // 2, region.y + region.height // 2))
    await s.pilot.pause()


DIALOGS: dict[str, Open] = {
    "help": keys("?"),
    "menu": menu,
    "hosts": keys("h"),
    "issues": keys("i"),
    "link": keys("n"),
    "backups": keys("b"),
    "copy": keys("y"),
    "moments": keys("t", "m"),
    "confirm": keys("2"),
    "acknowledge": keys("a"),
    "entry": keys("g", "s", "o"),
    "host key": asking("host-key"),
    "passphrase": asking("secret"),
    "code": asking("shown"),
}
TYPED = ("acknowledge", "passphrase", "code")
"""There a letter is a letter: a tap leaves them."""


async def opened(s: Stage, name: str) -> Any:
    before = len(s.hub.executed)
    made = await DIALOGS[name](s)
    await s.until(lambda: isinstance(s.screen, Dialog))
    await s.read()
    return made, before


@pytest.mark.parametrize("name", DIALOGS)
async def test_every_dialog_is_left_by_a_tap(stage, name):
    async with stage("troubled", size=PHONE) as s:
        made, before = await opened(s, name)
        await tap(s, "#answers", "leave")
        await s.until(lambda: s.screen is s.room)
        assert len(s.hub.executed) == before, "nothing was done"
        assert made is None or await made is None


@pytest.mark.parametrize("name", [name for name in DIALOGS if name not in TYPED])
async def test_every_dialog_without_a_field_is_left_by_a_plain_key(stage, name):
    async with stage("troubled", size=PHONE) as s:
        made, before = await opened(s, name)
        await s.press("q")
        await s.until(lambda: s.screen is s.room)
        assert len(s.hub.executed) == before and s.app.is_running
        assert made is None or await made is None


@pytest.mark.parametrize("name", TYPED)
async def test_a_letter_that_is_typed_leaves_nothing(stage, name):
    async with stage("troubled", size=PHONE) as s:
        made, _ = await opened(s, name)
        await s.press("q")
        assert isinstance(s.screen, Dialog)
        await tap(s, "#answers", "leave")
        assert made is None or await made is None


async def test_the_palette_is_left_by_a_tap_beside_it(stage):
    async with stage("troubled", size=PHONE) as s:
        await s.press(":")
        await s.until(lambda: isinstance(s.screen, CommandPalette))
        await s.pilot.click(offset=(20, 78))
        await s.until(lambda: s.screen is s.room)


async def test_zoom_filter_jump_and_the_past_end_without_escape(stage):
    async with stage("troubled", size=PHONE) as s:
        await s.press("z")
        assert s.room.zoomed
        await s.press("z")
        assert not s.room.zoomed
        await s.press("g")
        assert s.room.jumping
        await s.press("x")
        assert not s.room.jumping
        await s.press("t")
        assert s.room.travel.on
        await tap(s, "#keys", "then-live")
        assert not s.room.travel.on
        await s.press("g", "s", "slash", "g", "i", "t", "enter")
        assert s.pane("services").filter == "git"
        await s.press("slash", "backspace", "backspace", "backspace", "enter")
        assert s.pane("services").filter == "" and s.room.focused is s.pane("services")


def test_no_key_of_ours_needs_alt_or_a_function_key():
    """What a phone's keyboard types by itself. Control and Escape are on Termux's own row of keys, and never the only way."""
    every = [spec.key for spec in all_specs().values()] + [key for _, key, *_ in SCREEN] + [key for _, _, key, *_ in LOCAL]
    for key in every:
        assert len(key) <= 1, key


async def test_every_command_is_reached_by_taps_alone(stage):
    """By the list that a tap on the bar opens."""
    async with stage("troubled", size=PHONE) as s:
        await menu(s)
        await s.until(lambda: isinstance(s.screen, Dialog))
        offered = {choice.id.split()[1] for choice in s.screen.choices if choice.id.startswith("key ")}
        assert {id for id, *_ in SCREEN} <= offered
        assert {"switch", "drop-caches", "backup", "restart", "acknowledge"} <= offered
