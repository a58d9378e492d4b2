"""A pane that follows a service's journal while it is visible and the host is reached: which service, from where, and again after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from sovtui.core.model import LinkPhase
from sovtui.core.modes import mode_views, serving
from sovtui.ports.errors import PortError, Unreachable
from sovtui.runtime.hub import LogLine
from sovtui.tui.backlog import Backlog
from sovtui.tui.loglines import engine_of
from sovtui.tui.logring import RING, Ring
from sovtui.tui.panes.base import Pane, View
from sovtui.tui.panes.inference import subject

LINES = 200
"""Of before, where it is followed from now on."""
FEW = 20
"""Where fewer of them say something, and the rest are questions of health checks, more are asked for."""
ENOUGH_SECONDS = 1.5
"""After which it is seen how many do."""
BREATH = 64
"""After so many lines at once the keys get their turn."""
AGAIN_SECONDS = 5.0


OpenLog = Callable[[str, str, str, int], AsyncIterator[LogLine]]
"""(host, service, since, lines) to its lines, oldest first, then as they come; an empty `since`: the newest."""


def default_service(view: View) -> str:
    """The first service of the hot mode, else of an engine that serves, else of the first mode that has any, else any service."""
    if view.host is None:
        return ""
    found = subject(view.host)
    modes = [found.mode] if found is not None else []
    modes += [v.mode for v in serving(view.host)]
    modes += [v.mode for v in mode_views(view.host)]
    for mode in modes:
        if mode.services:
            return mode.services[0]
    return next(iter(view.host.services), "")


class FollowingPane(Pane):
    """Knows which journal is read and how far; what is shown of it is for `LogPane`."""

    def __init__(self) -> None:
        super().__init__()
        self.open_log: OpenLog | None = None
        self.backlog: Backlog | None = None
        self.ring = Ring()
        self.service = ""
        self._wanted = ""
        """The service chosen by hand; empty follows the hot mode."""
        self._following: tuple[str, str] = ("", "")
        self._reader: asyncio.Task[None] | None = None
        self._trouble = ""
        self._then = False
        """The lines shown are those of another moment."""

    # what shows it

    def add(self, line: LogLine) -> None:
        """One more line."""
        raise NotImplementedError

    def _soon(self) -> None:
        """There is something new to show."""
        raise NotImplementedError

    def _anew(self) -> None:
        """Another journal is begun with: what is shown starts from nothing."""
        raise NotImplementedError

    def _to_other_moment(self) -> None:
        """What is shown is of another moment from now on."""
        raise NotImplementedError

    @property
    def _at_end(self) -> bool:
        """Whether the newest lines are what is looked at."""
        raise NotImplementedError

    # what is followed

    def follow(self, service: str) -> None:
        """Follow this service; an empty name follows the hot mode's first service."""
        self._wanted = service
        self._trouble = ""
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
            self._to_other_moment()
        if view.then is None:
            self.backlog.drop()
        elif self.display:
            self.backlog.look(view, self._pick(view))
        return self._then

    def _pick(self, view: View) -> str:
        if self._wanted and view.host is not None and self._wanted in view.host.services:
            return self._wanted
        return default_service(view)

    def _begin(self, target: tuple[str, str], since: str = "", lines: int = LINES) -> None:
        host = self.view.host if self.view is not None else None
        self.ring = Ring(engine_of(host, target[1]) if host is not None else "")
        self._anew()
        self._trouble = ""
        self._following = target
        self.service = target[1]
        self._reader = asyncio.create_task(self._follow(*target, since, lines), name=f"log {target[1]}")
        if lines == LINES and not since and host is not None and not host.metered:
            self.set_timer(ENOUGH_SECONDS, partial(self._enough, self._reader))

    def _enough(self, reader: asyncio.Task[None]) -> None:
        """What an idle engine said before is behind hundreds of questions: ask for more lines, once."""
        few = len(self.ring.lines) < FEW and self.ring.asked > LINES // 2
        if few and reader is self._reader and not reader.done() and self._at_end:
            target = self._following
            self._stop()
            self._begin(target, lines=RING)

    def _stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        self._following = ("", "")

    async def _follow(self, host: str, service: str, since: str, lines: int) -> None:
        assert self.open_log is not None
        came = 0
        try:
            async for line in self.open_log(host, service, since, RING if since else lines):
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

    def _told(self, view: View) -> tuple[Sequence[LogLine], str]:
        """The journal before a moment of the past, or a sentence that says why it is not here."""
        return self.backlog.lines(view, self._pick(view)) if self.backlog is not None else ((), "")

    def _again(self) -> None:
        if self._reader is not None and self._reader.done():
            self._trouble = ""
            self._check()
