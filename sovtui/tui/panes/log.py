"""A service's journal, followed while it is visible. Keeps a bounded ring; only visible lines are made into rows.

While it is held (paused, or scrolled back) nothing that is looked at moves or is lost: what comes meanwhile waits aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from sovtui.core import text
from sovtui.core.model import LinkPhase
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import Want
from sovtui.tui.following import FollowingPane
from sovtui.tui.keymap import LOCAL, key_of
from sovtui.tui.loglines import SKIPPED, engine_of, folded_row, last_action, line_rows, mark_row, stamped
from sovtui.tui.logring import Kept, Ring
from sovtui.tui.panes.base import Copy, View
from sovtui.tui.present import Row, row, wrap

COPIES = 30
REDRAW_SECONDS = 0.2
"""Lines that arrive within this time are shown together, where the log is what is looked at."""
BESIDE_SECONDS = 1.0
"""Beside another pane all but the first wait for the room's next drawing, so that one serves for all; this long at most."""
FOLD_KEY = next(key for pane, id, key, _, _ in LOCAL if (pane, id) == ("log", "fold"))
FOLDED_SECONDS = 5.0
"""How often the number of folded questions is told anew where nothing else has changed."""


class LogPane(FollowingPane):
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
        self._due: asyncio.TimerHandle | None = None
        self._back = 0
        """How many lines the view is scrolled back from the end."""
        self._paused = False
        self._anchor: datetime | None = None
        """The view begins here, whatever comes; None: it ends `_back` lines before the end."""
        self._visible: list[LogLine] = []
        self._whole = False
        """Lines are shown from their beginning, and questions of health checks too."""
        self._folded: tuple[int, datetime | None, datetime | None] = (0, None, None)
        """Questions so far, when the last was written, and when this was told."""
        self._told_of: tuple[Sequence[LogLine], Ring] = ((), Ring())
        self._wrap: bool | None = None
        self._pan = 0

    # what is followed

    def follow(self, service: str) -> None:
        self._anchor = None
        super().follow(service)

    def on_unmount(self) -> None:
        super().on_unmount()
        self._not_due()

    def _anew(self) -> None:
        self._folded = (0, None, None)
        self._back = 0
        self._paused = False

    def _to_other_moment(self) -> None:
        if not self._paused:
            self._to_end()
        self.redraw()

    @property
    def _at_end(self) -> bool:
        return not self.held and self._anchor is None

    def add(self, line: LogLine) -> None:
        """Keep one more line; it is shown within `REDRAW_SECONDS`, or `BESIDE_SECONDS`; a folded one is counted now and then."""
        if self.held:
            self.ring.put_aside(line)
        elif self.ring.add(line).asks and not self._shows_all and self._visible:
            return
        self._soon()

    @property
    def held(self) -> bool:
        """Whether what comes waits aside."""
        return self._paused or (self._back > 0 and self._anchor is None)

    @property
    def lines(self) -> list[LogLine]:
        """What is kept of what it says, oldest first."""
        return [kept.line for kept in self.ring.lines]

    @property
    def dropped(self) -> int:
        """Lines that are no longer kept."""
        return self.ring.dropped

    @property
    def waiting(self) -> int:
        """Lines that came while it was held."""
        return self.ring.waiting

    def _catch_up(self) -> int:
        """Take in what waited; how many lines of it are shown."""
        return sum(1 for kept in self.ring.catch_up() if self._keeps(kept.line) and (self._shows_all or not kept.asks))

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
            case "fold":
                self.action_fold()
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

    def action_fold(self) -> None:
        self._whole = not self._whole
        self._pan = 0
        if not self._paused:
            self._to_end()
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
        for back, kept in enumerate(self._kept()):
            if back > self._back and kept.line.level == "error":
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
        oldest = next((kept.line.at for kept in self.ring.lines if kept.line.at is not None), None)
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

    @property
    def _shows_all(self) -> bool:
        """Whether questions of health checks are lines like any other: who filters looks for something."""
        return self._whole or bool(self.filter)

    def _shown_ring(self) -> Ring:
        """The lines that are looked at: those of now, or those of a moment of the past."""
        if self.view is None or self.view.then is None:
            return self.ring
        told = self._told(self.view)[0]
        if told is not self._told_of[0] and told != self._told_of[0]:
            engine = engine_of(self.view.host, self._pick(self.view)) if self.view.host is not None else ""
            self._told_of = (told, Ring.of(told, engine))
        return self._told_of[1]

    def _kept(self) -> Iterator[Kept]:
        """The lines that are to be shown, newest first."""
        return (kept for kept in self._shown_ring().newest_first(self._shows_all) if self._keeps(kept.line))

    def copies(self, view: View) -> list[Copy]:
        shown = [line for line in self._visible if line.level != SKIPPED]
        if not shown:
            return []
        error = next((kept.line for kept in self._kept() if kept.line.level == "error"), None)
        found = [Copy("the last error", error.text)] if error is not None else []
        found.append(Copy(f"all {len(shown)} lines shown", "\n".join(stamped(line) for line in shown)))
        return found + [Copy(text.clock(line.at) if line.at else "line", line.text) for line in shown[: -COPIES - 1 : -1]]

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        foot = [row((line, "warn")) for line in wrap(self._trouble, width)[:2]] if self._trouble else []
        if view.host is not None and view.host.link.phase is not LinkPhase.UP:
            foot = [row((f"{text.STALE_SIGN} the link is {view.host.link.phase}: no new lines", "stale"))]
        note = ""
        if view.then is not None:
            foot, note = [], self._told(view)[1] or "no lines from before this moment are kept"
        elif self.dropped and height > 8:
            foot.append(row((f"{self.dropped} older lines no longer kept", "label")))
        room = height - len(foot)
        if self._anchor is not None:
            self._back = self._back_from(self._anchor, width, room)
        made, oldest = self._lines_up(view, width, room)
        count, at = self._questions(view, oldest)
        if count and not self._shows_all:
            if len(made) == room > 1:  # its row takes the oldest one's place
                made, oldest = self._lines_up(view, width, room - 1)
                count, at = self._questions(view, oldest)
            key = key_of("fold", FOLD_KEY, view.config.screen.keys)
            foot = [folded_row(count, at, key, width), *foot]
        if not made and note:
            return [row((line, "nothing")) for line in wrap(note, width)[:3]]
        if not made:
            nothing = (
                f"no line contains “{self.filter}”" if self.filter and self.lines else "" if self._trouble else "no lines yet"
            )
            if not self._following[1] and not self._pick(view):
                nothing = "no unit or container here has a log that can be read"
            return [row((nothing, "label")), *foot] if nothing and not count else foot
        made.reverse()
        self._visible.reverse()
        return [*made, *foot]

    def _lines_up(self, view: View, width: int, room: int) -> tuple[list[Row], Kept | None]:
        """Rows from the last line shown upwards, at most `room`, and the line furthest up."""
        made: list[Row] = []
        self._visible = []
        began = last_action(view)
        newer: datetime | None = None
        oldest: Kept | None = None
        for kept in islice(self._kept(), self._back, None):
            line = kept.line
            if began is not None and line.at is not None and line.at < began.began_at <= (newer or line.at):
                made.append(mark_row(began, width))
            newer = line.at or newer
            made += reversed(self._made(kept, width))
            self._visible.append(line)
            oldest = kept
            if len(made) >= room:
                break
        return made[:room], oldest

    def _questions(self, view: View, oldest: Kept | None) -> tuple[int, datetime | None]:
        """How many questions of health checks came since the line furthest up, until the last line shown, and when the last did.

        Told anew every few seconds only: a number that runs says no more, and costs bytes.
        """
        ring, now = self._shown_ring(), view.state.now
        until, at, told_at = self._folded
        if view.then is not None:
            until, at = ring.asked, ring.asked_at
        elif self._back:
            newer = next(islice(self._kept(), self._back - 1, None), None)
            until, at = (newer.asked, None) if newer is not None else (until, None)
        elif not self.held and (told_at is None or until == 0 or (now - told_at).total_seconds() >= FOLDED_SECONDS):
            until, at = ring.asked, ring.asked_at
            self._folded = (until, at, now)
        first = next(iter(ring.lines), None)
        since = oldest.asked if oldest is not None and oldest is not first else 0
        return max(0, until - since), at

    def _back_from(self, at: datetime, width: int, room: int) -> int:
        """How far back the view ends, if the first line from `at` on is to be its second row."""
        since = [kept for kept in reversed(list(self._kept())) if kept.line.at is not None and kept.line.at >= at]
        rows, shown = 1, 0
        for kept in since:
            rows += len(self._made(kept, width))
            if rows > room:
                break
            shown += 1
        return max(0, len(since) - shown)

    def _made(self, kept: Kept, width: int) -> list[Row]:
        head = 0 if self._whole else kept.head
        if self.filter and self.filter.casefold() not in kept.line.text[head:].casefold():
            head = 0  # what is looked for must be seen
        return line_rows(kept.line, width, wraps=self._wraps, pan=self._pan, head=head)
