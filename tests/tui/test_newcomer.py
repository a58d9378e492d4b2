"""What somebody who has never seen it needs at night, on a phone: each within four keys or four taps from the start, without the help."""

from __future__ import annotations

from typing import Any

import pytest
from textual.geometry import Region

from sovtui.core.model import AlertState
from sovtui.runtime.hub import LogLine
from sovtui.tui.screens.acknowledge import AcknowledgeScreen
from sovtui.tui.screens.confirm import ConfirmScreen
from sovtui.tui.screens.detail import DetailScreen
from sovtui.tui.screens.dialog import Written
from sovtui.tui.widgets.keybar import KeyBar

from .conftest import Stage

pytestmark = pytest.mark.screen

MOST = 4
PHONES = pytest.mark.parametrize("size", [(44, 80), (44, 38), (48, 30), (40, 20)], ids=lambda s: f"{s[0]}x{s[1]}")
WHY = [LogLine(None, "mount: /mnt/nas: device is busy", "error")]


class Thumb:
    """Taps what can be seen, and counts."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.count = 0

    async def tab(self, name: str) -> None:
        await self._at("#tabs", next(region for region, id in self._stage.room.query_one("#tabs", KeyBar)._places if id == name))

    async def tile(self, name: str) -> None:
        bar = self._stage.room.query_one("#keys", KeyBar)
        await self._at("#keys", next(region for region, id in bar._places if id.split()[0] == name or id == name))

    async def answer(self, id: str) -> None:
        answers = self._stage.screen.query_one("#answers")
        await self._at("#answers", next(region for region, name in answers._places if name == id))

    async def row(self, pane: str, holding: str) -> None:
        shown = self._stage.text(pane).splitlines()
        y = next(i for i, line in enumerate(shown) if holding in line)
        await self._at(f"#{pane}", Region(3, y + 1, 3, 1))

    async def _at(self, widget: str, region: Region) -> None:
        self.count += 1
        await self._stage.read()
        await self._stage.pilot.click(widget, offset=(region.x + region.width // 2, region.y + region.height // 2))
        await self._stage.pilot.pause(0.05)


class Fingers:
    """Presses keys, and counts."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.count = 0

    async def __call__(self, *keys: str) -> None:
        for key in keys:
            self.count += 1
            await self._stage.press(key)
            await self._stage.pilot.pause(0.02)


async def armed(s: Stage) -> None:
    """Once the question may be answered: a held key must not answer it, which takes the screen a moment."""
    await s.until(lambda: isinstance(s.screen, ConfirmScreen))
    await s.read()


@PHONES
async def test_switch_a_model(stage: Any, size: tuple[int, int]) -> None:
    async with stage(size=size) as s:
        press = Fingers(s)
        await press("2")
        await armed(s)
        await press("2")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[-1].wish.target == "mistral" and press.count <= MOST
    async with stage(size=size) as s:
        thumb = Thumb(s)
        await thumb.tile("switch mistral")
        await armed(s)
        await thumb.answer("yes")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[-1].wish.target == "mistral" and thumb.count <= MOST
    async with stage(size=size) as s:
        thumb = Thumb(s)
        await thumb.row("inference", "Mistral Small 4 ")
        await armed(s)
        await thumb.answer("yes")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[-1].wish.target == "mistral" and thumb.count <= MOST


@PHONES
async def test_acknowledge_an_alert(stage: Any, size: tuple[int, int]) -> None:
    async with stage(size=size) as s:
        press = Fingers(s)
        await press("a")
        await s.until(lambda: isinstance(s.screen, AcknowledgeScreen))
        await press("enter")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[-1].action == "acknowledge" and press.count <= MOST
    async with stage(size=size) as s:
        thumb = Thumb(s)
        await thumb.tab("alerts")
        await thumb.row("alerts", "BackupLate")
        await thumb.tile("acknowledge")
        await s.until(lambda: isinstance(s.screen, AcknowledgeScreen))
        await thumb.answer("yes")
        await s.until(lambda: bool(s.hub.executed))
        found = next(a for a in s.hub.state.alerts if a.fingerprint == s.hub.executed[-1].wish.target)
        assert found.name == "BackupLate" and found.state is AlertState.ACTIVE and thumb.count <= MOST


@PHONES
async def test_read_why_a_unit_failed(stage: Any, size: tuple[int, int]) -> None:
    async with stage(size=size, lines=WHY) as s:
        press = Fingers(s)
        await press("g", "s", "enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen) and "device is busy" in s.screen.query_one(Written).plain)
        seen = s.screen.query_one(Written).plain
        assert "failed: exit-code, status 32" in seen and press.count <= MOST
    async with stage(size=size, lines=WHY) as s:
        thumb = Thumb(s)
        await thumb.tab("services")
        await thumb.row("services", "backup-nas")
        await s.until(lambda: isinstance(s.screen, DetailScreen) and "device is busy" in s.screen.query_one(Written).plain)
        written, text = s.screen.query_one(Written), s.screen.query_one("#text")
        rows = [y for y, line in enumerate(written.shown) if "device is busy" in line.plain]
        assert rows[0] < text.size.height, "it is seen without scrolling"
        assert thumb.count <= MOST
        await thumb.answer("leave")
        await s.until(lambda: s.screen is s.room)


@PHONES
async def test_find_last_nights_backup(stage: Any, size: tuple[int, int]) -> None:
    async with stage(size=size, lines=[LogLine(None, "done: 14.2 GiB")]) as s:
        press = Fingers(s)
        await press("g", "b")
        line = next(line for line in s.text("backups").splitlines() if "local" in line)
        assert "ok" in line and "17h ago" in line
        await press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen) and "14.2 GiB" in s.screen.query_one(Written).plain)
        assert "2026-11-20" in s.screen.query_one(Written).plain and press.count <= MOST
    async with stage(size=size) as s:
        thumb = Thumb(s)
        await thumb.tab("backups")
        await thumb.row("backups", "nas")
        await thumb.row("backups", "nas")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        assert "late" in s.screen.query_one(Written).plain and thumb.count <= MOST


@pytest.mark.truth(of="screen")
async def test_nothing_moves_under_a_finger(stage: Any) -> None:
    async with stage(size=(44, 80)) as s:
        before = {name: s.pane(name).region for name in ("inference", "services", "backups")}
        thumb = Thumb(s)
        await thumb.row("services", "gitea")
        assert s.room.current == "services" and s.pane("services").cursor == "gitea.service"
        assert {name: s.pane(name).region for name in before} == before
        await thumb.row("services", "gitea")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        await s.press("escape")
        await thumb.tab("services")
        assert s.pane("services").region.y < before["inference"].bottom, "a tab brings its pane to the top"


@pytest.mark.truth(of="screen")
async def test_a_first_tap_on_another_pane_only_chooses(stage: Any) -> None:
    async with stage() as s:
        thumb = Thumb(s)
        await thumb.row("services", "backup-nas")
        await s.pilot.pause(0.05)
        assert s.screen is s.room and s.room.current == "services"
        await thumb.row("services", "backup-nas")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
