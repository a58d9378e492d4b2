"""Looks closely: opens an entry in full with its log, and copies what is worth copying. Changes nothing on any host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing

from sovtui.core import text
from sovtui.core.clean import JOINED, one_line
from sovtui.ports.errors import PortError
from sovtui.runtime.hub import Hub, LogLine
from sovtui.tui.conduct import Push, Tell
from sovtui.tui.keymap import Key
from sovtui.tui.loglines import engine_of, folded_row, line_rows
from sovtui.tui.logring import Ring
from sovtui.tui.panes.base import Copy, ListPane, Pane, View
from sovtui.tui.present import BLANK, Row, cut, paragraph, row
from sovtui.tui.screens.choose import Choice, ChooseScreen
from sovtui.tui.screens.detail import DetailScreen

LINES = 60
"""Lines of its log that are shown with an entry."""
MORE_LINES = 600
"""Asked for where nearly all of those are questions of health checks."""
FEW = 10
"""Fewer lines than these say something."""
ERRORS = 3
"""How many different errors stand above it."""
LOG_SECONDS = 10.0
"""How long they may take."""
COPY_CHARS = 32_000
"""More than this some terminals drop as a whole."""


class Inspector:
    """One per screen. `view` gives the newest view; `clipboard` takes what is copied."""

    def __init__(
        self, hub: Hub, push: Push, tell: Tell, view: Callable[[], View | None], clipboard: Callable[[str], None]
    ) -> None:
        self._hub = hub
        self._push = push
        self._tell = tell
        self._view = view
        self._clipboard = clipboard
        self._screen: DetailScreen | None = None

    def renew(self) -> None:
        """The view is new: bring what is open up to date."""
        if self._screen is not None:
            self._screen.renew()

    async def open(self, pane: ListPane, keys: Sequence[Key]) -> str:
        """Show the chosen entry until it is left. Answers the name of the key that was pressed in it, or nothing."""
        view = self._view()
        if view is None or self._screen is not None:
            return ""
        id = pane.chosen(view)
        if not id or not pane.story(view, id, 80):
            return ""
        pane.hold(id)  # its keys are about this entry, even if another comes before it meanwhile
        service = pane.journal_of(view, id)
        lines: list[LogLine] = []
        said = ["reading the log …"] if service else [""]

        def make(width: int) -> list[Row]:
            now = self._view() or view
            rows = pane.story(now, id, width) or [row(("this entry no longer exists", "nothing"))]
            lead = pane.lead(now, id, width)
            until = now.then.moment if now.then is not None else None
            told = [line for line in lines if until is None or line.at is None or line.at <= until]
            none = "no lines from before this moment" if lines and not told else said[0]
            errors = error_rows(told, width)
            gaps = ([BLANK] if errors else [], [BLANK] if lead or errors else [])
            log = log_rows(service, told, none, width, self._engine(service)) if service else []
            return [*lead, *gaps[0], *errors, *gaps[1], *rows, *log]

        self._screen = DetailScreen(pane.entry_title(view, id), make, keys)
        reader = asyncio.create_task(self._read(view.host_name, service, lines, said)) if service else None
        try:
            return await self._push(self._screen) or ""
        finally:
            self._screen = None
            if reader is not None:
                reader.cancel()

    async def show(self, title: str, write: Callable[[View, int], list[Row]]) -> None:
        """Show what `write` makes of the newest view until it is left."""
        view = self._view()
        if view is None or self._screen is not None:
            return
        self._screen = DetailScreen(title, lambda width: write(self._view() or view, width))
        try:
            await self._push(self._screen)
        finally:
            self._screen = None

    async def _read(self, host: str, service: str, lines: list[LogLine], said: list[str]) -> None:
        try:
            lines += await self._log(host, service)
            said[0] = "" if lines else "the log is empty, or this login may not read it"
        except PortError as error:
            said[0] = error.sentence()
        except TimeoutError:
            said[0] = f"{host} did not return the log within {LOG_SECONDS:.0f} s"
        self.renew()

    async def _log(self, host: str, service: str) -> list[LogLine]:
        found: list[LogLine] = []
        async with asyncio.timeout(LOG_SECONDS):
            for count in (LINES, MORE_LINES):
                async with aclosing(self._hub.logs(host, service, lines=count, follow=False)) as told:
                    found = [line async for line in told][-count:]
                if len(found) < count or len(Ring.of(found, self._engine(service)).lines) >= FEW:
                    break
        return found

    def _engine(self, service: str) -> str:
        view = self._view()
        return engine_of(view.host, service) if view is not None and view.host is not None else ""

    # copying

    async def copy(self, pane: Pane) -> None:
        """Copy from a pane, asking what where there is a choice."""
        view = self._view()
        copies = pane.copies(view) if view is not None and view.host is not None else []
        if view is None or not copies:
            self._tell(f"There is nothing to copy in {pane.TITLE.lower()}.", "warning")
            return
        chosen = copies[0]
        if len(copies) > 1:
            choices = [
                Choice(str(i), one.title, cut(one.text.split("\n")[0], 200), str(i + 1) if i < 9 else "")
                for i, one in enumerate(copies)
            ]
            answer = await self._push(ChooseScreen("Copy what?", choices))
            if not answer:
                return
            chosen = copies[int(answer)]
        await self._copy(view.host_name, chosen)

    async def _copy(self, host: str, what: Copy) -> None:
        words = what.text
        if what.log:
            try:
                errors = [line.text for line in await self._log(host, what.log) if line.level == "error"]
            except (PortError, TimeoutError) as error:
                told = error.sentence() if isinstance(error, PortError) else f"{host} did not return the log in time."
                self._tell(told, "error")
                return
            if not errors:
                self._tell(f"There is no error in the last {LINES} lines of {what.log}.", "warning")
                return
            words = errors[-1]
        words = one_line(words, len(words) * 4)
        first, *more = words.split(JOINED)
        left_out = max(0, len(words) - COPY_CHARS)
        self._clipboard(words[-COPY_CHARS:] if left_out else words)
        shown = cut(first, 60)
        several = f" and {len(more)} more lines, as one" if more else ""
        note = f"; the first {left_out} characters did not fit" if left_out else ""
        tmux = ". In tmux it needs: set -s set-clipboard on" if os.environ.get("TMUX") else ""
        self._tell(f"Copied: {shown}{several}{note}{tmux}", "information")


def log_rows(service: str, lines: Sequence[LogLine], said: str, width: int, engine: str = "") -> list[Row]:
    """The log, oldest first, each line in full; questions of health checks are counted."""
    rows = [BLANK, row((cut(f"log of {service}, newest last", width), "label"))]
    rows += paragraph(said, width, "label") if said else []
    ring = Ring.of(lines, engine)
    for kept in list(ring.lines)[-LINES:]:
        rows += line_rows(kept.line, width, wraps=True)
    return [*rows, folded_row(ring.asked, ring.asked_at, "", width)] if ring.asked else rows


def error_rows(lines: Sequence[LogLine], width: int) -> list[Row]:
    """The last errors of a log: they are what one looks for."""
    errors = {line.text: line for line in lines if line.level == "error"}
    last = list(errors.values())[-ERRORS:]
    if not last:
        return []
    at = last[-1].at
    head = row(("last errors" if len(last) > 1 else "last error", "label"), (f"  {text.moment(at)}" if at else "", "label"))
    return [head, *(line for error in last for line in paragraph(f"✖ {error.text}", width, "bad"))]
