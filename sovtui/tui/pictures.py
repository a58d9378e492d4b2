"""Pictures of the screen: SVG and PNG of frozen states, the same bytes every time. Only PNG needs resvg_py."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sovtui.actions import all_specs
from sovtui.actions.spec import Plan, Wish
from sovtui.config.schema import Config
from sovtui.core.metered import Wish as Metered
from sovtui.core.model import ActionRun
from sovtui.core.record import Record
from sovtui.core.state import State
from sovtui.ports.errors import Unsupported
from sovtui.ports.link import Ask
from sovtui.ports.past import Stretch
from sovtui.runtime.hub import Hub, LogLine, Outcome, Progress, Rehearsal, Rights, TailnetView
from sovtui.tui.app import ControlRoom
from sovtui.tui.backlog import PAUSE_SECONDS

T = TypeVar("T")
FONT = "DejaVu Sans Mono"
_FONT_PLACES = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/TTF"), Path("/usr/share/fonts/dejavu"))
_FONT_FILES = ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSansMono-Oblique.ttf", "DejaVuSansMono-BoldOblique.ttf")


Lines = Callable[[str, str], Sequence[LogLine]]
"""(host, service) to the lines its journal holds."""


def _no_lines(host: str, service: str) -> Sequence[LogLine]:
    return ()


class Still:
    """A hub that never changes: one state, for pictures and tests."""

    def __init__(self, state: State, config: Config, lines: Lines = _no_lines, record: Record | None = None) -> None:
        self._state = state
        self.record = record or Record()
        self._config = config
        self._lines = lines

    @property
    def config(self) -> Config:
        return self._config

    @property
    def state(self) -> State:
        return self._state

    def subscribe(self, select: Callable[[State], T], notify: Callable[[T], None]) -> Callable[[], None]:
        notify(select(self._state))
        return lambda: None

    async def past(self, begin: datetime, end: datetime) -> Stretch:
        raise Unsupported("this is a picture: nobody can be asked about the time before")

    async def start(self) -> None:
        """Nothing starts."""

    async def settle(self, seconds: float, *, whole: bool = False) -> tuple[str, ...]:
        return ()

    async def aclose(self) -> None:
        """Nothing is open."""

    def set_ask(self, ask: Ask | None) -> None:
        """Nothing is asked."""

    def plan(self, action: str, wish: Wish) -> Plan:
        return all_specs()[action].plan(self._state, self._config, wish)

    async def execute(self, plan: Plan, progress: Progress | None = None, *, wait: bool = True) -> Outcome:
        return Outcome(4, "this is a picture: nothing is done")

    async def rehearse(self, plan: Plan) -> Rehearsal:
        return Rehearsal("not known", "this is a picture: nothing is asked")

    async def follow(self, host: str, run_id: str = "", progress: Progress | None = None) -> Outcome:
        return Outcome(4, "this is a picture: nothing is followed")

    async def cancel(self, host: str, run_id: str) -> Outcome:
        return Outcome(4, "this is a picture: nothing is cancelled")

    async def receipts(self, host: str) -> tuple[ActionRun, ...]:
        return self._state.hosts[host].receipts

    async def rights(self, host: str, commands: Sequence[Sequence[str]]) -> Rights:
        return Rights("", None, False)

    async def tailnet(self, host: str) -> TailnetView:
        raise Unsupported("no machine is there that could be asked")

    async def logs(
        self, host: str, service: str, *, lines: int = 200, since: str = "", follow: bool = True, until: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        """What is there; never more."""
        for line in self._lines(host, service)[-lines:]:
            yield line
        if follow:
            await asyncio.Event().wait()

    def meter(self, host: str, wish: Metered) -> None:
        """There is no link."""

    def reconnect(self, host: str = "") -> None:
        """There is no link."""


async def picture(hub: Hub, size: tuple[int, int], *, theme: str | None = None, keys: tuple[str, ...] = ()) -> str:
    """The screen as SVG, after some keys were pressed."""
    app = ControlRoom(hub, theme)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.3)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.3)
        if keys:
            await pilot.pause(PAUSE_SECONDS + 0.3)  # back in time the log is asked for after a while
        return own_font(app.export_screenshot(title="sovtui"))


def own_font(svg: str) -> str:
    """No font is fetched from anywhere: the family is one that machines have."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", f"'{FONT}', monospace").replace(
        "font-family: arial", f"font-family: '{FONT}', monospace"
    )
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def fonts() -> list[str]:
    """The font files of this machine that the pictures are drawn with."""
    return [str(place / name) for name in _FONT_FILES for place in _FONT_PLACES if (place / name).is_file()]


def to_png(svg: str) -> bytes:
    """The SVG as PNG. Raises RuntimeError if the font is not there: without it the columns drift."""
    import resvg_py

    found = fonts()
    if not found:
        raise RuntimeError(f"no file of {FONT} was found in {', '.join(map(str, _FONT_PLACES))}")
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_files=found, skip_system_fonts=True))
