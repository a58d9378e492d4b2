"""What the screen shows, as text with its styles, kept in `tests/tui/snapshots`: `python -m tests.snapshots` writes all anew.

One file per picture: the cells as text, then the styles of each row as runs (`a4 b12`: four cells of style a, twelve of b), then
what the letters stand for. A difference is read like any other diff; the letters change their meaning only in the last part.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual.pilot import Pilot
from textual.strip import Strip

from sovtui.demo import still
from sovtui.tui.app import ControlRoom
from sovtui.tui.screens.detail import DetailScreen
from sovtui.tui.screens.dialog import Written

FOLDER = Path(__file__).parent / "tui" / "snapshots"
SIZES = ((120, 40), (80, 24), (44, 80))
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SETTLE_SECONDS = 0.25
"""The log shows what came within a fifth of a second together."""


@dataclass(frozen=True)
class Scene:
    """One run of the program, and what is looked at in it."""

    scenario: str
    estate: str = "spark"
    sizes: tuple[tuple[int, int], ...] = SIZES
    keys: tuple[str, ...] = ()
    name: str = ""
    theme: str = "sovtui-dark"

    def files(self) -> list[str]:
        """Names of its snapshots."""
        name = self.name or (self.scenario if self.estate == "spark" else f"{self.scenario}-{self.estate}")
        return [f"{name}-{w}x{h}.txt" for w, h in self.sizes]


SCENES = (
    Scene("healthy", sizes=(*SIZES, (48, 30), (40, 20), (30, 12))),
    Scene("troubled", sizes=((120, 40), (44, 80))),
    Scene("hostile", sizes=((120, 40),)),
    *(Scene(name) for name in ("switching", "failed", "link-down", "alerting", "empty")),
    Scene("healthy", "mesh", ((120, 40),)),
    Scene("healthy", "modes", ((120, 40),)),
    Scene("healthy", sizes=((120, 40),), theme="sovtui-light", name="light"),
    Scene("troubled", sizes=((44, 80), (40, 20)), keys=("g", "s", "enter"), name="why"),
    Scene("healthy", sizes=((80, 24),), keys=("2",), name="question"),
)


def text_of(strips: Iterable[Strip]) -> str:
    """A snapshot's text."""
    letters: dict[str, str] = {}
    shown: list[str] = []
    styled: list[str] = []
    for strip in strips:
        shown.append("|" + "".join(segment.text for segment in strip).rstrip())
        runs = []
        for look, cells in groupby(_cells(strip)):
            letter = letters.setdefault(look, LETTERS[len(letters)] if len(letters) < len(LETTERS) else f"<{len(letters)}>")
            runs.append(f"{letter}{sum(1 for _ in cells)}")
        styled.append(" ".join(runs))
    legend = [f"{letter} = {look}" for look, letter in letters.items()]
    return "\n".join([*shown, "", *styled, "", *legend]) + "\n"


def _cells(strip: Strip) -> Iterable[str]:
    for segment in strip:
        yield from [_look(segment)] * segment.cell_length


def _look(segment: Segment) -> str:
    style = segment.style
    return str(style.without_color + style.from_color(style.color, style.bgcolor)) if style else "none"


def screen_text(app: ControlRoom) -> str:
    """What the terminal shows now."""
    return text_of(app.screen._compositor.render_strips())


@asynccontextmanager
async def played(scene: Scene) -> AsyncIterator[tuple[ControlRoom, Pilot[Any]]]:
    """The program in the scene's state, its keys pressed."""
    app = ControlRoom(still(scene.scenario, scene.estate), scene.theme)
    async with app.run_test(size=scene.sizes[0]) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        for key in scene.keys:
            await pilot.press(key)
            await pilot.pause(0.02)
        if isinstance(app.screen, DetailScreen):
            while "reading the log" in app.screen.query_one(Written).plain:
                await pilot.pause(0.02)
        yield app, pilot


async def taken(scene: Scene) -> list[tuple[str, str]]:
    """(file name, text) of each size."""
    found = []
    async with played(scene) as (app, pilot):
        for name, size in zip(scene.files(), scene.sizes, strict=True):
            if tuple(app.size) != size:
                await pilot.resize_terminal(*size)
                await pilot.pause(0.05)
            found.append((name, screen_text(app)))
    return found


def in_utc() -> None:
    """The same times in the pictures wherever they are taken."""
    os.environ["TZ"] = "UTC"
    time.tzset()


def write(folder: Path = FOLDER) -> list[Path]:
    """All of them anew; what no scene makes any more goes."""
    in_utc()
    os.environ.pop("NO_COLOR", None)
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: text for scene in SCENES for name, text in asyncio.run(taken(scene))}
    for old in folder.glob("*.txt"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(path)
