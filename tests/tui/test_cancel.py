"""Cancelling what runs: by key, tile, menu and palette, at every size, and only while there is something to cancel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sovtui.actions.spec import Plan, Where
from sovtui.core.events import CancelAsked
from sovtui.core.model import Step
from sovtui.core.state import State, reduce
from sovtui.runtime.hub import Outcome
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.confirm import ConfirmScreen
from sovtui.tui.screens.dialog import Written
from sovtui.tui.screens.help import HelpScreen
from sovtui.tui.widgets.keybar import KeyBar

from .conftest import SIZES

pytestmark = pytest.mark.screen

EVERY_SIZE = pytest.mark.parametrize("size", [*SIZES.values(), (44, 38)], ids=lambda s: f"{s[0]}x{s[1]}")


@EVERY_SIZE
async def test_it_is_seen_tapped_and_asked_about(stage, states, size):
    async with stage("healthy", size) as s:
        assert "cancel" not in s.bar("keys")
        s.hub.put(states("switching"))
        await s.pilot.pause()
        assert "x cancel" in s.bar("keys") if size[0] >= 80 else "cancel" in s.bar("keys")
        await s.read()
        bar = s.room.query_one("#keys", KeyBar)
        region = next(region for region, id in bar._places if id.startswith("cancel"))
        await s.pilot.click("#keys", offset=(region.x + region.width // 2, region.y + region.height // 2))
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        words = " ".join(s.screen.query_one("Written").plain.split())
        assert "What it has started is stopped, and Qwen 3.6 PrismaQuant is brought back." in words
        await s.read()
        await s.press("x")
        await s.until(lambda: bool(s.hub.executed))
        (plan,) = s.hub.executed
        assert plan.action == "cancel" and plan.where is Where.RUNNING
        assert plan.wish.target == states("switching").hosts["spark"].action.id
        s.hub.put(states("healthy"))
        await s.pilot.pause()
        assert "cancel" not in s.bar("keys")


async def test_key_menu_palette_and_help_offer_it(stage):
    async with stage("switching") as s:
        assert any(command.title == "Cancel: switch mistral" for command in s.room.commands())
        s.room.run_worker(s.room._menu(), exit_on_error=False)
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        assert any(choice.title == "Cancel: switch mistral" and choice.key == "x" for choice in s.screen.choices)
        await s.press("q")
        await s.press("?")
        assert isinstance(s.screen, HelpScreen) and "Ask the action that runs to end" in s.screen.query_one(Written).plain
        await s.press("q", "x")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
    async with stage("healthy") as s:
        await s.press("x")
        assert s.screen is s.room and s.hub.executed == []
        assert not any(command.title.startswith("Cancel") for command in s.room.commands())
    async with stage("switching", read_only=True) as s:
        await s.press("x")
        assert s.screen is s.room and "cancel" not in s.bar("keys")


async def test_once_asked_it_is_said_and_not_asked_again(stage, states):
    state = states("switching")
    asked = reduce(state, CancelAsked("spark", state.hosts["spark"].action.id))
    async with stage(asked) as s:
        assert "cancelling switch mistral" in s.bar("status") and "being cancelled" in s.text("actions")
        await s.press("x")
        await s.until(lambda: any("asked to end already" in words for words in s.toasts()))
        assert s.screen is s.room and s.hub.executed == []


def going_back(state: State) -> State:
    host = state.hosts["spark"]
    assert host.action is not None
    steps = (*(replace(step, state="failed") for step in host.action.steps), Step("undo-stop", "running", state.now))
    return replace(state, hosts={**state.hosts, "spark": replace(host, action=replace(host.action, steps=steps))})


async def test_what_goes_back_already_cannot_be_cancelled_and_the_key_says_why(stage, states):
    async with stage(going_back(states("switching"))) as s:
        assert "cancel" not in s.bar("keys")
        await s.press("x")
        await s.until(lambda: any("going back already" in words for words in s.toasts()))
        assert s.screen is s.room


async def test_what_cancelling_would_do_has_changed_since_it_was_asked(stage, states):
    """The switch has begun to stop things meanwhile: that is another answer."""
    state = states("switching")
    host = state.hosts["spark"]
    before = replace(host.action, steps=host.action.steps[:1])
    early = replace(state, hosts={**state.hosts, "spark": replace(host, action=before)})
    async with stage(early) as s:
        await s.press("x")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        first = s.screen
        assert "Nothing has been changed yet" in " ".join(first.query_one("Written").plain.split())
        s.hub.put(state)
        await s.read()
        await s.press("x")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen) and s.screen is not first)
        assert s.hub.executed == [] and "brought back" in " ".join(s.screen.query_one("Written").plain.split())


async def test_a_key_that_is_held_down_does_nothing_twice(stage):
    """Before the box has answered, the state does not say yet that something runs."""
    async with stage() as s:
        answer = asyncio.Event()

        async def slow(plan: Plan, progress: Any = None, *, wait: bool = True) -> Outcome:
            s.hub.executed.append(plan)
            await answer.wait()
            return Outcome(0, "done")

        s.hub.execute = slow
        await s.press("c")
        await s.until(lambda: bool(s.hub.executed))
        await s.press("c", "c", "c")
        await s.pilot.pause(0.5)
        assert len(s.hub.executed) == 1
        answer.set()
        await s.until(lambda: "done" in "".join(s.toasts()).lower())
        await s.press("c")
        await s.until(lambda: len(s.hub.executed) == 2)
