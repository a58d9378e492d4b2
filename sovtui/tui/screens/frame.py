"""Where the room's parts are: bars, panes, the filter field, and which pane is in front. Knows nothing of actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.layout import Layout
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from sovtui.tui.arrange import LEAST, ORDER, Kind, Placed, arrange, bars, kind_of, order
from sovtui.tui.jump import letters
from sovtui.tui.narrow import NarrowCompositor
from sovtui.tui.panes import pane_classes
from sovtui.tui.panes.actions import acting
from sovtui.tui.panes.base import Pane, View
from sovtui.tui.present import Row
from sovtui.tui.widgets.keybar import KeyBar, TabBar
from sovtui.tui.widgets.lines import LOOKS, Lines
from sovtui.tui.widgets.timeline import TimelineBar

FILTER_HINT = "filter …"
"""In the filter field while it is empty."""
JUMP = "g"
"""Pressed twice it goes to the first line; no pane has it as its letter."""


class Body(Widget):
    """Holds the panes where `placed` puts them."""

    def __init__(self, *panes: Pane) -> None:
        super().__init__(*panes, id="body")
        self.placed = Placed()

    @property
    def layout(self) -> Layout:
        return self.placed


class StatusBar(Lines):
    """The status line; a tap asks for another host."""

    class Tapped(Message):
        """It was tapped."""

    def on_click(self) -> None:
        self.post_message(self.Tapped())


class Frame(Screen[None]):
    """The screen without its keys. What is in front (`current`, `zoomed`, filters) survives every change of size."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*Screen.COMPONENT_CLASSES, *LOOKS}
    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "next_pane(1)", "next pane", show=False),
        Binding("shift+tab", "next_pane(-1)", "previous pane", show=False),
        Binding("enter", "open", "open", show=False),
        Binding("escape", "back", "back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._compositor = NarrowCompositor()
        self.view: View | None = None
        self.current = ORDER[0]
        self.zoomed = False
        self._lead = self.current
        """The pane that the others are arranged around. A tap does not change it: nothing may move under a finger."""
        self.jumping = False
        """A letter is asked for: the next key goes to the pane that shows it."""
        self._every: dict[str, Pane] = {name: pane() for name, pane in pane_classes().items()}
        self.first = ORDER[0]
        """The pane in front of the others: what is served, or what matters of a host where nothing is."""
        self._laid: object = None
        self._own = False
        """What is drawn is another host, because the operator wanted that."""
        self._were: dict[str, Region] = {}
        """Where the parts that can be tapped are."""
        self._travel_height = 0
        """Rows that say which moment is shown; none while it is now."""

    # what the room adds

    def draw(self) -> None:
        """Bring everything visible up to date with the view."""
        raise NotImplementedError

    def _next_rows(self, view: View) -> list[Row]:
        """Rows above the status line."""
        raise NotImplementedError

    def _notice_rows(self, view: View) -> list[Row]:
        """Rows below the status line."""
        raise NotImplementedError

    # building

    def compose(self) -> ComposeResult:
        yield Lines(id="next")
        yield StatusBar(id="status")
        yield TimelineBar(id="travel")
        yield Lines(id="notice")
        yield TabBar(id="tabs")
        yield Body(*self._every.values())
        field = Input(placeholder=FILTER_HINT, id="filter")
        field.cursor_blink = False
        small = Lines(id="small")
        field.display = small.display = False
        yield field
        yield KeyBar(id="keys")
        yield small

    def on_resize(self) -> None:
        self.lay_out()
        self.draw()

    @property
    def kind(self) -> Kind:
        return kind_of(self.size.width)

    @property
    def _panes(self) -> dict[str, Pane]:
        """Those there are for this host, now."""
        return {name: self._every[name] for name in order(self.first)}

    def pane(self, name: str) -> Pane:
        return self._every[name]

    def lead_with(self, name: str) -> None:
        """Put this pane where the first one is."""
        if name == self.first:
            return
        old, self.first = self.first, name
        self.current, self._lead = (name if one == old else one for one in (self.current, self._lead))
        self._laid = None

    # arranging

    @property
    def _roomy(self) -> bool:
        return self.size.width >= LEAST[0] and self.size.height >= LEAST[1]

    def lay_out(self, *, own: bool = False) -> None:
        """Give every part its place; does nothing if all places stay the same. `own`: the operator has asked for it."""
        view, size = self.view, self.size
        if view is None or not size.width or not self.is_mounted:
            return
        kind, roomy = self.kind, self._roomy
        filtering = bool(self.query_one("#filter").display)
        notice = len(self._notice_rows(view)) if roomy else 0
        travel = self._travel_height if roomy else 0
        first = len(self._next_rows(view))
        heights = bars(kind, size.height, roomy=roomy, notice=notice, filtering=filtering, travel=travel, next=first)
        rest = size.height - sum(heights.values())
        regions = {}
        if roomy:
            width = size.width if kind is Kind.PHONE else size.width // 2
            wants = {name: pane.want(view, width - 2) for name, pane in self._panes.items()}
            whole, busy = Size(size.width, rest), acting(view.host, view.state.now)
            lead = self.current if self.zoomed else self._lead
            regions = arrange(whole, wants, current=lead, zoomed=self.zoomed, acting=busy, first=self.first)
            if self.current not in regions:
                self._lead = self.current
                regions = arrange(whole, wants, current=self.current, acting=busy, first=self.first)
        signature = (size, tuple(heights.items()), tuple(regions.items()))
        if signature == self._laid:
            return
        self._laid = signature
        for id, height in heights.items():
            widget = self.query_one(f"#{id}")
            widget.styles.height = max(1, height)
            if id != "filter":
                widget.display = height > 0
        body = self.query_one(Body)
        body.display = roomy
        self.query_one("#small").display = not roomy
        self._shift(heights, regions, own)
        body.placed.regions = regions
        if self.current in regions:
            self._panes[self.current].display = True
            if not isinstance(self.focused, Input):
                self._focus(self._panes[self.current])
        for name, pane in self._every.items():
            pane.display = name in regions
        self._panes[self.current].refresh(layout=True)  # of a child: the body keeps what it arranged until one of those asks

    def _shift(self, heights: Mapping[str, int], regions: Mapping[str, Region], own: bool) -> None:
        """What is somewhere else from now on is not tapped by whoever aimed at what was there."""
        above = ("next", "status", "travel", "notice")
        top = sum(heights[id] for id in above)
        places = {"tabs": Region(0, top, 1, heights["tabs"]), "keys": Region(0, 0, 1, heights["keys"])}
        places |= {name: region.translate((0, top + heights["tabs"])) for name, region in regions.items()}
        bars = {id: self.query_one(f"#{id}", KeyBar) for id in ("tabs", "keys")}
        for name, place in places.items():
            before, part = self._were.get(name), bars.get(name) or self._every[name]
            if self._were and place != before:
                (part.steady.trust if own else part.steady.moved)()
        self._were = places

    def show_pane(self, name: str) -> None:
        """Make a pane the current one and visible. One that is not there for this host: the first."""
        name = name if name in self._panes else self.first
        self.current = self._lead = name
        self.lay_out(own=True)
        pane = self._panes[name]
        if pane.display:
            self._focus(pane)
        self.draw()

    def _focus(self, pane: Pane) -> None:
        if self.focused is not pane:
            pane.brought = True
            self.set_focus(pane, scroll_visible=False)

    def jump(self, on: bool = True) -> None:
        """Ask for a letter, or stop asking."""
        self.jumping = on
        by_name = {name: letter for letter, name in self.letters.items()}
        for name, pane in self._panes.items():
            pane.letter = by_name.get(name, "") if on else ""
        self.draw()

    @property
    def letters(self) -> dict[str, str]:
        """Letter to pane."""
        return letters(self._panes, taken=JUMP)

    def land(self, key: str) -> None:
        """A key was pressed while a letter was asked for: go there; once more `g` to the first line; all else stays."""
        name = self.letters.get(key.lower(), "")
        self.jump(False)
        if name:
            self.show_pane(name)
        elif key == JUMP:
            self._panes[self.current].first()

    def action_next_pane(self, by: int) -> None:
        names = order(self.first)
        self.show_pane(names[(names.index(self.current) + by) % len(names)])

    def action_zoom(self) -> None:
        self.zoomed = not self.zoomed
        self.show_pane(self.current)

    def action_back(self) -> None:
        pane = self._panes[self.current]
        if self.jumping:
            self.jump(False)
        elif isinstance(self.focused, Input):
            pane.filter = ""
            self._close_filter()
        elif self.zoomed:
            self.action_zoom()
        elif pane.filter:
            pane.filter = ""
        else:
            self.show_pane(self.first)

    @on(Pane.Chosen)
    def _pane_chosen(self, message: Pane.Chosen) -> None:
        message.stop()
        if message.name != self.current and self._every[message.name].has_focus and message.name in self._panes:
            self.current = message.name
            self.draw()

    # filter

    def _open_filter(self) -> None:
        if not self._panes[self.current].FILTERS:
            self.show_pane("services")
        field = self.query_one("#filter", Input)
        field.value = self._panes[self.current].filter
        field.display = True
        self.set_focus(field, scroll_visible=False)
        self.lay_out()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, message: Input.Changed) -> None:
        message.stop()
        if message.input.display:
            self._panes[self.current].filter = message.value

    @on(Input.Submitted, "#filter")
    def _close_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = False
        self._focus(self._panes[self.current])
        self.lay_out()
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a text is typed only Escape and Enter mean anything here."""
        return not (isinstance(self.focused, Input) and action in ("next_pane", "open", "leave"))
