"""A service's journal, followed while it is visible. Keeps a bounded ring; only visible lines are made into rows.

While it is held (paused, or scrolled back) nothing that is looked at moves or is lost: what comes meanwhile waits aside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from sovtui.core import text
from sovtui.core.model import LinkPhase
from sovtui.core.modes import mode_views
from sovtui.ports.errors import PortError, Unreachable
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import Want
from sovtui.tui.backlog import Backlog
from sovtui.tui.loglines import SKIPPED, last_action, line_rows, mark_row, stamped
from sovtui.tui.panes.base import Copy, Pane, View
from sovtui.tui.panes.inference import subject
from sovtui.tui.present import Row, row, wrap

RING = 2000
LATER = 1500
"""Lines kept of those that come while it is held: fewer than the ring, so that what was looked at and what was skipped stay in it."""
BREATH = 64
"""After so many lines at once the keys get their turn."""
COPIES = 30
REDRAW_SECONDS = 0.2
"""Lines that arrive within this time are shown together, where the log is what is looked at."""
BESIDE_SECONDS = 1.0
"""Beside another pane all but the first wait for the room's next drawing, so that one serves for all; this long at most."""
AGAIN_SECONDS = 5.0

OpenLog = Callable[[str, str, str], AsyncIterator[LogLine]]
"""(host, service, since) to its lines, oldest first, then as they come; an empty `since`: the newest."""


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
        Binding("space", "pause", "pause", show=False),
        Binding("up,k", "scroll(1)", "up", show=False),
        Binding("down,j", "scroll(-1)", "down", show=False),
        Binding("pageup", "scroll(10)", "page up", show=False),
        Binding("pagedown", "scroll(-10)", "page down", show=False),
        Binding("home", "scroll(99999)", "first", show=False),
        Binding("end,G", "scroll(-99999)", "last", show=False),
        Binding("left", "pan(-16)", "left", show=False),
        Binding("right", "pan(16)", "right", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.open_log: OpenLog | None = None
        self.backlog: Backlog | None = None
        self.lines: deque[LogLine] = deque(maxlen=RING)
        self.dropped = 0
        """Lines that fell off the ring's far end."""
        self.service = ""
        self._wanted = ""
        """The service chosen by hand; empty follows the hot mode."""
        self._following: tuple[str, str] = ("", "")
        self._reader: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None
        self._back = 0
        """How many lines the view is scrolled back from the end."""
        self._paused = False
        self._later: deque[LogLine] = deque(maxlen=LATER)
        """What came while it was held."""
        self._skipped = 0
        """How many of those there were too many of."""
        self._anchor: datetime | None = None
        """The view begins here, whatever comes; None: it ends `_back` lines before the end."""
        self._visible: list[LogLine] = []
        self._wrap: bool | None = None
        self._pan = 0
        self._trouble = ""
        self._then = False
        """The lines shown are those of another moment."""

    # what is followed

    def follow(self, service: str) -> None:
        """Follow this service; an empty name follows the hot mode's first service."""
        self._wanted = service
        self._trouble = ""
        self._anchor = None
        self._check()
        self.redraw()

    def viewed(self) -> None:
        super().viewed()
        self._check()

    def on_show(self) -> None:
        self._check()

    def on_hide(self) -> None:
        self._check()

    def on_unmount(self) -> None:
        self._stop()
        self._not_due()

    def _check(self) -> None:
        """Start, change or stop following, by what is visible and reachable."""
        view = self.view
        visible = self.display and view is not None and view.host is not None
        up = visible and view is not None and view.host is not None and view.host.link.phase is LinkPhase.UP
        if self._of_then(view):
            return
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

    def _of_then(self, view: View | None) -> bool:
        """Whether another moment is shown: its lines are asked for once, what is followed now goes on unseen."""
        if view is None or self.backlog is None:
            return False
        if (view.then is not None) is not self._then:
            self._then = view.then is not None
            if not self._paused:
                self._to_end()
            self.redraw()
        if view.then is None:
            self.backlog.drop()
        elif self.display:
            self.backlog.look(view, self._pick(view))
        return self._then

    def _pick(self, view: View) -> str:
        if self._wanted and view.host is not None and self._wanted in view.host.services:
            return self._wanted
        return default_service(view)

    def _begin(self, target: tuple[str, str], since: str = "") -> None:
        self.lines.clear()
        self._later.clear()
        self.dropped = self._back = self._skipped = 0
        self._paused = False
        self._trouble = ""
        self._following = target
        self.service = target[1]
        self._reader = asyncio.create_task(self._follow(*target, since), name=f"log {target[1]}")

    def _stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        self._following = ("", "")

    async def _follow(self, host: str, service: str, since: str = "") -> None:
        assert self.open_log is not None
        came = 0
        try:
            async for line in self.open_log(host, service, since):
                self.add(line)
                came += 1
                if came % BREATH == 0:
                    await asyncio.sleep(0)
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
        """Keep one more line; it is shown within `REDRAW_SECONDS`, or `BESIDE_SECONDS`."""
        if self.held:
            self._skipped += len(self._later) == LATER
            self._later.append(line)
        else:
            self._keep(line)
        self._soon()

    @property
    def held(self) -> bool:
        """Whether what comes waits aside."""
        return self._paused or (self._back > 0 and self._anchor is None)

    @property
    def waiting(self) -> int:
        """Lines that came while it was held."""
        return len(self._later) + self._skipped

    def _keep(self, line: LogLine) -> None:
        self.dropped += len(self.lines) == RING
        self.lines.append(line)

    def _catch_up(self) -> int:
        """Take in what waited; how many lines of it are shown."""
        news = list(self._later)
        if self._skipped:
            news.insert(0, LogLine(None, f"{self._skipped:,} lines skipped", SKIPPED))
        self._later.clear()
        self._skipped = 0
        for line in news:
            self._keep(line)
        return sum(1 for line in news if self._keeps(line))

    def _soon(self) -> None:
        if self._due is None and self.is_attached:
            soon = REDRAW_SECONDS if self.has_focus or not self._visible else BESIDE_SECONDS
            self._due = asyncio.get_running_loop().call_later(soon, self.redraw)

    def _not_due(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def redraw(self) -> None:
        self._not_due()
        super().redraw()

    # keys

    def perform(self, id: str) -> None:
        match id:
            case "pause":
                self.action_pause()
            case "wrap":
                self.action_wrap()
            case "last-error":
                self._to_error()
            case "action-start":
                self._to_action()

    def first(self) -> None:
        self.action_scroll(99999)

    def watch_filter(self) -> None:
        if not self._paused:
            self._to_end()
        self.redraw()

    def action_pause(self) -> None:
        self._paused = not self._paused
        if not self._paused:
            self._to_end()
        self._anchor = None
        self.redraw()

    def _to_end(self) -> None:
        self._anchor, self._back = None, 0
        self._catch_up()

    def action_wrap(self) -> None:
        self._wrap = not self._wraps
        self._pan = 0
        self.redraw()

    def action_scroll(self, by: int) -> None:
        self._anchor = None
        back = self._back + by
        if back <= 0 and self.waiting:
            back += self._catch_up()
        self._back = max(0, min(back, sum(1 for _ in self._kept()) - 1))
        self.redraw()

    def _to_error(self) -> None:
        """To the error before the last line shown."""
        for back, line in enumerate(self._kept()):
            if back > self._back and line.level == "error":
                self._anchor, self._back = None, back
                self.redraw()
                return
        self.notify("No error before this in the lines kept.", severity="warning", markup=False)

    def _to_action(self) -> None:
        """To where the last action began; lines from then are asked for if they are not here."""
        run = last_action(self.view)
        if run is None:
            self.notify("No action is known on this host.", severity="warning", markup=False)
            return
        oldest = next((line.at for line in self.lines if line.at is not None), None)
        if (oldest is None or oldest > run.began_at) and self._following[1] and self.open_log is not None and not self._then:
            target = self._following
            self._stop()
            self._begin(target, f"{run.began_at.timestamp():.0f}")
        self._anchor, self._paused = run.began_at, False
        self._catch_up()
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
        if view.then is not None:
            return f"{self._pick(view)}  until {text.clock(view.then.moment)}"
        words = self.service or self._pick(view)
        new = f", {self.waiting:,} new" if self.waiting else ""
        if self._paused:
            words += f"  PAUSED{new}"
        elif self._anchor is not None:
            words += "  from the action's start, G returns"
        elif self._back:
            words += f"  scrolled back{new}, G returns"
        return words

    def badge(self, view: View) -> tuple[str, str]:
        return ("‖", "warn") if self._paused else ("", "")

    def _keeps(self, line: LogLine) -> bool:
        return not self.filter or line.level == SKIPPED or self.filter.casefold() in line.text.casefold()

    def _kept(self) -> Iterator[LogLine]:
        """The lines that the filter lets through, newest first."""
        lines = self.lines if self.view is None or self.view.then is None else self._told(self.view)[0]
        return (line for line in reversed(lines) if self._keeps(line))

    def _told(self, view: View) -> tuple[Sequence[LogLine], str]:
        """The journal before a moment of the past, or a sentence that says why it is not here."""
        return self.backlog.lines(view, self._pick(view)) if self.backlog is not None else ((), "")

    def copies(self, view: View) -> list[Copy]:
        shown = [line for line in self._visible if line.level != SKIPPED]
        if not shown:
            return []
        error = next((line for line in self._kept() if line.level == "error"), None)
        found = [Copy("the last error", error.text)] if error is not None else []
        found.append(Copy(f"all {len(shown)} lines shown", "\n".join(stamped(line) for line in shown)))
        return found + [Copy(text.clock(line.at) if line.at else "line", line.text) for line in shown[: -COPIES - 1 : -1]]

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        foot = [row((line, "warn")) for line in wrap(self._trouble, width)[:2]] if self._trouble else []
        if view.host is not None and view.host.link.phase is not LinkPhase.UP:
            foot = [row((f"{text.STALE_SIGN} the link is {view.host.link.phase}: no new lines", "stale"))]
        note = ""
        if view.then is not None:
            foot, note = [], self._told(view)[1] or "no lines of before this moment are kept"
        elif self.dropped and height > 8:
            foot.append(row((f"{self.dropped} older lines no longer kept", "label")))
        room = height - len(foot)
        if self._anchor is not None:
            self._back = self._back_from(self._anchor, width, room)
        made: list[Row] = []
        self._visible = []
        began = last_action(view)
        newer: datetime | None = None
        for line in islice(self._kept(), self._back, None):
            if began is not None and line.at is not None and line.at < began.began_at <= (newer or line.at):
                made.append(mark_row(began, width))
            newer = line.at or newer
            made += reversed(self._made(line, width))
            self._visible.append(line)
            if len(made) >= room:
                break
        if not made and note:
            return [row((line, "nothing")) for line in wrap(note, width)[:3]]
        if not made:
            nothing = f"no line holds “{self.filter}”" if self.filter and self.lines else "" if self._trouble else "no lines yet"
            return [row((nothing, "label")), *foot]
        made = made[:room]
        made.reverse()
        self._visible.reverse()
        return [*made, *foot]

    def _back_from(self, at: datetime, width: int, room: int) -> int:
        """How far back the view ends, if the first line from `at` on is to be its second row."""
        since = [line for line in reversed(list(self._kept())) if line.at is not None and line.at >= at]
        rows, shown = 1, 0
        for line in since:
            rows += len(self._made(line, width))
            if rows > room:
                break
            shown += 1
        return max(0, len(since) - shown)

    def _made(self, line: LogLine, width: int) -> list[Row]:
        return line_rows(line, width, wraps=self._wraps, pan=self._pan)
