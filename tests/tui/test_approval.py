"""A login that is held: its address, copied, as a QR code, given up, taken away."""

from __future__ import annotations

import asyncio

import pytest

from sovtui.core import qr
from sovtui.ports.link import Question
from sovtui.tui.screens.approval import ApprovalScreen

pytestmark = pytest.mark.screen
URL = "https://login.tailscale.com/a/c2e8ee2fe1cf"
QUESTION = Question("approval", "spark waits for an approval", f"The server lets this login in:\n{URL}\nOpen it.", URL)


def text(s) -> str:
    return str(s.screen.query_one("Written").plain)


async def opened(s) -> asyncio.Task[str | None]:
    asked = asyncio.create_task(s.hub.ask(QUESTION))
    await s.until(lambda: isinstance(s.screen, ApprovalScreen) and bool(text(s).strip()))
    await s.read()
    return asked


async def test_the_address_is_shown_and_copied_and_escape_gives_up(stage):
    async with stage() as s:
        asked = await opened(s)
        assert URL in text(s) and "waiting" in text(s)
        await s.press("y")
        assert s.app.clipboard == URL and not asked.done()
        await s.press("enter")
        assert not asked.done(), "nothing but Escape answers it"
        await s.press("escape")
        assert await asked is None


async def test_it_goes_away_once_the_login_goes_on(stage):
    async with stage() as s:
        asked = await opened(s)
        asked.cancel()
        await s.until(lambda: s.screen is s.room)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (44, 80)])
async def test_the_code_is_shown_whole_or_not_at_all(stage, size):
    async with stage(size=size) as s:
        asked = await opened(s)
        await s.press("r")
        await s.until(lambda: "waiting" not in text(s))
        assert text(s).split("\n") in [qr.half_blocks(qr.modules(URL, border)) for border in (1, 2)]
        box = s.screen.query_one("#text")
        assert box.max_scroll_y == 0, "no part of it is out of sight"
        await s.press("r")
        await s.until(lambda: URL in text(s).replace("\n", ""))
        asked.cancel()


async def test_a_screen_that_is_too_small_says_what_it_needs(stage):
    async with stage(size=(60, 14)) as s:
        asked = await opened(s)
        await s.press("r")
        await s.until(lambda: "does not fit" in text(s))
        asked.cancel()
