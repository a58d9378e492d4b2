"""A service's journal, followed while it is visible. Keeps a bounded ring; only visible lines are made into rows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType

from sovtui.core import text
from sovtui.core.model import LinkPhase
from sovtui.core.modes import mode_views
from sovtui.ports.errors import PortError, Unreachable
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Pane, View
from sovtui.tui.panes.inference import subject
from sovtui.tui.present import Row, row, wrap

RING = 2000
ROLES = {"error": "bad", "warning": "warn", "debug": "label"}
REDRAW_SECONDS = 0.2
"""Lines that arrive within this time are shown together."""
AGAIN_SECONDS = 5.0

OpenLog = Callable[[str, str], AsyncIterator[LogLine]]
"""(host, service) to its lines, oldest first, then as they come."""


def default_service(view: View) -> str:
    """The first service of the hot mode, else of the first mode that has any, else any service."""
    if view.host is None:
        return ""
    found = subject(view.host)
    modes = [found.mode] if found is not None else []
    modes += [v.mode for v in mode_views(view.host)]
    for mode in modes:
        if mode.services:
            return mode.services[0]
    return next(iter(view.host.services), "")


class LogPane(Pane):
    NAME = "log"
    TITLE = "Log"
    SHORT = "Log"
    FILTERS = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,space", "pause", "pause", show=False),
        Binding("w", "wrap", "wrap", show=False),
        Binding("up,k", "scroll(1)", "up", show=False),
        Binding("down,j", "scroll(-1)", "down", show=False),
        Binding("pageup", "scroll(10)", "page up", show=False),
        Binding("pagedown", "scroll(-10)", "page down", show=False),
        Binding("home,g", "scroll(99999)", "first", show=False),
        Binding("end,G", "scroll(-99999)", "last", show=False),
        Binding("left", "pan(-16)", "left", show=False),
        Binding("right", "pan(16)", "right", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.open_log: OpenLog | None = None
        self.lines: deque[LogLine] = deque(maxlen=RING)
        self.dropped = 0
        """Lines that fell off the ring's far end."""
        self.service = ""
        self._wanted = ""
        """The service chosen by hand; empty follows the hot mode."""
        self._following: tuple[str, str] = ("", "")
        self._reader: asyncio.Task[None] | None = None
        self._due = False
        self._back = 0
        """How many lines the view is scrolled back from the end."""
        self._paused_at: int | None = None
        """Lines seen when it was paused."""
        self._seen = 0
        self._wrap: bool | None = None
        self._pan = 0
        self._trouble = ""

    # what is followed

    def follow(self, service: str) -> None:
        """Follow this service; an empty name follows the hot mode's first service."""
        self._wanted = service
        self._trouble = ""
        self._check()
        self.redraw()

    def watch_view(self) -> None:
        super().watch_view()
        self._check()

    def on_show(self) -> None:
        self._check()

    def on_hide(self) -> None:
        self._check()

    def on_unmount(self) -> None:
        self._stop()

    def _check(self) -> None:
        """Start, change or stop following, by what is visible and reachable."""
        view = self.view
        visible = self.display and view is not None and view.host is not None
        up = visible and view is not None and view.host is not None and view.host.link.phase is LinkPhase.UP
        if view is not None and view.then is not None and self._reader is not None:
            return  # what was hot then has no journal of its own: the lines that are here are shown up to the moment
        if not up or view is None or self.open_log is None:
            if not visible or (view is not None and (view.host_name, self._pick(view)) != self._following):
                self._stop()
            return
        target = (view.host_name, self._pick(view))
        if target == self._following and self._reader is not None and not self._reader.done():
            return
        if not target[1]:
            self._stop()
            return
        if self._reader is not None and self._reader.done() and target == self._following and self._trouble:
            return  # it said why; it is tried again by its timer
        self._stop()
        self._begin(target)

    def _pick(self, view: View) -> str:
        if self._wanted and view.host is not None and self._wanted in view.host.services:
            return self._wanted
        return default_service(view)

    def _begin(self, target: tuple[str, str]) -> None:
        self.lines.clear()
        self.dropped = self._back = self._seen = 0
        self._paused_at = None
        self._trouble = ""
        self._following = target
        self.service = target[1]
        self._reader = asyncio.create_task(self._follow(*target), name=f"log {target[1]}")

    def _stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        self._following = ("", "")

    async def _follow(self, host: str, service: str) -> None:
        assert self.open_log is not None
        try:
            async for line in self.open_log(host, service):
                self.add(line)
            self._trouble = "the journal has ended"
        except PortError as error:
            self._trouble = error.sentence()
            if isinstance(error, Unreachable):
                self.set_timer(AGAIN_SECONDS, self._again)
        self._soon()

    def _again(self) -> None:
        if self._reader is not None and self._reader.done():
            self._trouble = ""
            self._check()

    def add(self, line: LogLine) -> None:
        """Keep one more line; it is shown within `REDRAW_SECONDS`."""
        if len(self.lines) == RING:
            self.dropped += 1
        self.lines.append(line)
        self._seen += 1
        if (self._back or self._paused_at is not None) and self._keeps(line):
            self._back += 1
        self._soon()

    def _soon(self) -> None:
        if not self._due and self.is_attached:
            self._due = True
            self.set_timer(REDRAW_SECONDS, self._now)

    def _now(self) -> None:
        self._due = False
        self.redraw()

    # keys

    def action_pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = self._seen
        else:
            self._paused_at, self._back = None, 0
        self.redraw()

    def action_wrap(self) -> None:
        self._wrap = not self._wraps
        self._pan = 0
        self.redraw()

    def action_scroll(self, by: int) -> None:
        self._back = max(0, min(self._back + by, len(self.lines) - 1))
        self.redraw()

    def action_pan(self, by: int) -> None:
        self._pan = max(0, self._pan + by)
        self.redraw()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll(3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll(-3)

    # what is shown

    @property
    def _wraps(self) -> bool:
        return self._wrap if self._wrap is not None else self.size.width < 76

    def want(self, view: View, width: int) -> Want:
        return Want(10, least=5, stretch=4)

    def heading(self, view: View) -> str:
        words = self.service or self._pick(view)
        if self._paused_at is not None:
            words += f"  PAUSED, {self._seen - self._paused_at} new" if self._seen > self._paused_at else "  PAUSED"
        elif self._back:
            words += "  scrolled back, end returns"
        elif view.then is not None:
            timed = any(line.at is not None for line in self.lines)
            words += f"  until {text.clock(view.then.moment)}" if timed else "  live only: its lines carry no times"
        return words

    def badge(self, view: View) -> tuple[str, str]:
        return ("‖", "warn") if self._paused_at is not None else ("", "")

    def _keeps(self, line: LogLine) -> bool:
        then = self.view.then if self.view is not None else None
        if then is not None and line.at is not None and line.at > then.moment:
            return False
        return not self.filter or self.filter.casefold() in line.text.casefold()

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        foot = [row((line, "warn")) for line in wrap(self._trouble, width)[:2]] if self._trouble else []
        if view.host is not None and view.host.link.phase is not LinkPhase.UP:
            foot = [row((f"{text.STALE_SIGN} the link is {view.host.link.phase}: no new lines", "stale"))]
        if self.dropped and height > 8:
            foot.append(row((f"{self.dropped} older lines no longer kept", "label")))
        room = height - len(foot)
        made: list[Row] = []
        kept = (line for line in reversed(self.lines) if self._keeps(line))
        for line in islice(kept, self._back, None):
            made += reversed(self._made(line, width))
            if len(made) >= room:
                break
        if not made and view.then is not None and self.lines:
            oldest = next((line.at for line in self.lines if line.at is not None), None)
            since = f": the oldest is of {text.clock(oldest)}" if oldest else ""
            return [row((f"no line of before this moment is here{since}", "nothing")), *foot]
        if not made:
            nothing = f"no line holds “{self.filter}”" if self.filter and self.lines else "" if self._trouble else "no lines yet"
            return [row((nothing, "label")), *foot]
        made = made[:room]
        made.reverse()
        return [*made, *foot]

    def _made(self, line: LogLine, width: int) -> list[Row]:
        role = ROLES.get(line.level, "plain")
        at = text.clock(line.at) if line.at else ""
        stamp = f"{at} " if at and width >= 60 else ""
        sign = {"error": "✖ ", "warning": "▲ "}.get(line.level, "  ")
        room = max(1, width - cell_len(stamp) - 2)
        if not self._wraps:
            return [row((stamp, "label"), (sign, role), (line.text[self._pan :], role))]
        lines = wrap(line.text, room)[:12]
        blank = " " * cell_len(stamp)
        return [row((blank if i else stamp, "label"), ("  " if i else sign, role), (part, role)) for i, part in enumerate(lines)]
