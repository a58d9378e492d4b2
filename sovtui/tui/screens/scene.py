"""What the control room shows: the newest state or an earlier one, of one host, in every part. Knows no key and no action."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.screen import Screen

from sovtui.core.state import State
from sovtui.runtime.hub import Hub
from sovtui.tui.arrange import LEAST, Kind
from sovtui.tui.backlog import Backlog
from sovtui.tui.inert import inert
from sovtui.tui.panes.base import ListPane, View
from sovtui.tui.panes.host import HostPane, first_pane
from sovtui.tui.panes.log import LogPane
from sovtui.tui.present import Row, paragraph
from sovtui.tui.said import Said
from sovtui.tui.screens.frame import Frame
from sovtui.tui.silence import Silence
from sovtui.tui.status import next_rows, notice, status_rows
from sovtui.tui.travel import Traveller
from sovtui.tui.widgets.lines import Lines
from sovtui.tui.widgets.timeline import TimelineBar


class Scene(Frame):
    """The frame with everything in it but the bars of keys. All that changes it from outside comes through `take`."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub
        self.host_name = next(iter(hub.state.hosts), "")
        self._said = Said()
        self.travel = Traveller(hub, self._travelled, self.tell, self._push, partial(self.run_worker, exit_on_error=False))
        self.travel.about = self._about
        self.silence = Silence(hub, self._heard)
        self.travel.begin = lambda: self.silence.last_alive(self.travel.live, self.host_name)

    def on_mount(self) -> None:
        log = self._panes["log"]
        assert isinstance(log, LogPane)
        log.open_log = lambda host, service, since, lines: self._hub.logs(host, service, since=since, lines=lines)
        log.backlog = Backlog(self._hub, log.redraw)
        self.show_pane(self.current)

    # what the room adds

    def _offer(self, view: View) -> None:
        """Bring the bars of keys up to date with the view."""
        raise NotImplementedError

    def _renew(self) -> None:
        """Bring up to date what is open above the panes."""
        raise NotImplementedError

    # data

    def take(self, state: State) -> None:
        """The newest state."""
        state = self.travel.see(state)
        if self.host_name not in state.hosts:
            self.host_name = next(iter(state.hosts), "")
        self.view = View(state, self.host_name, self._hub.config, self.travel.then)
        self.lead_with(first_pane(self.view))
        if not self.travel.on:
            self._host_pane.last = self.silence.see(self.view)
        self.draw()
        for words in self._said.news(self.travel.live) if self.is_mounted else ():
            self.tell(words)
        self._renew()

    def go_to_host(self, name: str) -> None:
        """Look at another host."""
        if self.view is not None and name in self.view.state.hosts:
            self.host_name = name
            self.take(self.travel.live)

    @property
    def _host_pane(self) -> HostPane:
        pane = self._every[HostPane.NAME]
        assert isinstance(pane, HostPane)
        return pane

    def _heard(self) -> None:
        """Something was told of a host that is silent."""
        self.travel.hold(self.silence.stretch)
        self._host_pane.last = self.silence.last
        if self.is_mounted:
            self.take(self.travel.live)
            self._host_pane.redraw()

    def _travelled(self) -> None:
        """Another moment is to be shown."""
        self.set_class(self.travel.on, "-then")
        self.take(self.travel.live)

    def _about(self) -> str:
        """What the pane in front is about, as the beginning of a mark's key."""
        pane = self._panes[self.current]
        kind = {"alerts": "alert", "actions": "action"}.get(self.current)
        return f"{kind} {pane.cursor}" if kind and isinstance(pane, ListPane) and pane.cursor else ""

    def draw(self) -> None:
        """Bring everything visible up to date with the view."""
        view = self.view
        if view is None or not self.is_mounted or not self.size.width:
            return
        kind = self.kind
        told, axis = self.travel.rows(self.size.width, kind)
        self._travel_height = len(told)
        self.lay_out(own=self._own)
        self.query_one("#travel", TimelineBar).tell(told, axis)
        self.query_one("#next", Lines).show(self._next_rows(view))
        self.query_one("#status", Lines).show(status_rows(view, self.size.width, kind))
        if not self._roomy:
            self.query_one("#small", Lines).show(self._small(view))
            return
        self.query_one("#notice", Lines).show(self._notice_rows(view))
        for pane in self._panes.values():
            pane.look(view)
        self._offer(view)

    def _next_rows(self, view: View) -> list[Row]:
        return next_rows(view, self.size.width)

    def _notice_rows(self, view: View) -> list[Row]:
        words, role = notice(view)
        return paragraph(f"▲ {words}", self.size.width, role)[: 3 if self.kind is Kind.PHONE else 2] if words else []

    def _small(self, view: View) -> list[Row]:
        least = f"This is {self.size.width}×{self.size.height}; sovtui needs at least {LEAST[0]}×{LEAST[1]}."
        words, role = notice(view)
        return [*paragraph(least, self.size.width, "label"), *(paragraph(words, self.size.width, role) if words else [])]

    # telling and asking

    def tell(self, words: str, severity: str = "information") -> None:
        """A passing notice. Foreign text is inert in it."""
        seconds = 2.0 if severity == "begun" else max(5.0, len(words) / 12)
        level: Any = "information" if severity == "begun" else severity
        sign = {"warning": "▲ ", "error": "✖ "}.get(severity, "")
        self.notify(sign + inert(words), severity=level, timeout=seconds, markup=False)

    async def _push(self, screen: Screen[Any]) -> Any:
        return await self.app.push_screen_wait(screen)
