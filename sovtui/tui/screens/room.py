"""The control room: status, panes, keys. It arranges and passes on; it decides nothing about the box."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.geometry import Size
from textual.layout import Layout
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from sovtui.actions import all_specs
from sovtui.actions.spec import Wish
from sovtui.core.model import LinkPhase
from sovtui.core.state import State
from sovtui.runtime.hub import Hub
from sovtui.tui.arrange import HEIGHT_OF_THUMBS, LEAST, ORDER, TWO_ROWS_OF_TILES_FROM, Kind, Placed, arrange, bars, kind_of
from sovtui.tui.conduct import Conductor
from sovtui.tui.keymap import Key, actions, matches, screen_keys
from sovtui.tui.offers import every_key, farewell, host_choices, menu_choices
from sovtui.tui.palette import Command
from sovtui.tui.panes import pane_classes
from sovtui.tui.panes.actions import acting
from sovtui.tui.panes.base import ListPane, Pane, View
from sovtui.tui.panes.log import LogPane
from sovtui.tui.present import Row, paragraph
from sovtui.tui.screens.choose import Choice, ChooseScreen
from sovtui.tui.screens.help import HelpScreen
from sovtui.tui.status import notice, status_rows
from sovtui.tui.touches import MORE, key_touches, tab_touches
from sovtui.tui.widgets.keybar import KeyBar, TabBar
from sovtui.tui.widgets.lines import LOOKS, Lines


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


class Room(Screen[None]):
    """One screen for everything. Reads the hub's state through `take`; speaks to the hub by wishes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*Screen.COMPONENT_CLASSES, *LOOKS}
    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "next_pane(1)", "next pane", show=False),
        Binding("shift+tab", "next_pane(-1)", "previous pane", show=False),
        Binding("enter", "zoom", "zoom", show=False),
        Binding("escape", "back", "back", show=False),
        Binding("ctrl+c", "leave", "quit", show=False),
    ]

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub
        self._specs = all_specs()
        self.view: View | None = None
        self.host_name = next(iter(hub.state.hosts), "")
        self.current = "inference"
        self.zoomed = False
        self._panes: dict[str, Pane] = {name: pane() for name, pane in pane_classes().items()}
        self._keys: list[Key] = []
        self._laid: object = None
        self._conductor = Conductor(hub, self._push, self.tell)

    # building

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Lines(id="notice")
        yield TabBar(id="tabs")
        yield Body(*self._panes.values())
        field = Input(placeholder="only what holds …", id="filter")
        field.cursor_blink = False
        yield field
        yield KeyBar(id="keys", more=MORE)
        yield Lines(id="small")

    def on_mount(self) -> None:
        log = self._panes["log"]
        assert isinstance(log, LogPane)
        log.open_log = lambda host, service: self._hub.logs(host, service)
        self.query_one("#filter").display = False
        self.query_one("#small").display = False
        self.show_pane(self.current)

    def on_resize(self) -> None:
        self.lay_out()
        self.draw()

    @property
    def kind(self) -> Kind:
        return kind_of(self.size.width)

    def pane(self, name: str) -> Pane:
        return self._panes[name]

    # data

    def take(self, state: State) -> None:
        """The newest state. All that changes the screen from outside comes through here."""
        if self.host_name not in state.hosts:
            self.host_name = next(iter(state.hosts), "")
        self.view = View(state, self.host_name, self._hub.config)
        self.draw()

    def draw(self) -> None:
        """Bring everything visible up to date with the view."""
        view = self.view
        if view is None or not self.is_mounted or not self.size.width:
            return
        self.lay_out()
        kind = self.kind
        self.query_one("#status", Lines).show(status_rows(view, self.size.width, kind))
        if not self._roomy:
            self.query_one("#small", Lines).show(self._small(view))
            return
        self.query_one("#notice", Lines).show(self._notice_rows(view))
        for pane in self._panes.values():
            pane.view = view
        self._offer(view)

    def _notice_rows(self, view: View) -> list[Row]:
        words, role = notice(view)
        return paragraph(f"▲ {words}", self.size.width, role)[: 3 if self.kind is Kind.PHONE else 2] if words else []

    def _small(self, view: View) -> list[Row]:
        least = f"This is {self.size.width}×{self.size.height}; sovtui shows its panes from {LEAST[0]}×{LEAST[1]} on."
        words, role = notice(view)
        return [*paragraph(least, self.size.width, "label"), *(paragraph(words, self.size.width, role) if words else [])]

    def _chosen(self, view: View) -> dict[str, str]:
        """What an action without a name would be about, by kind of target."""
        found = {}
        if view.host is not None:
            for target, name in (("service", "services"), ("alert", "alerts"), ("backup", "backups")):
                pane = self._panes[name]
                assert isinstance(pane, ListPane)
                found[target] = pane.chosen(view)
        return found

    def _offer(self, view: View) -> None:
        overrides = view.config.screen.keys
        self._keys = [
            *actions(view, self._specs, self._hub.plan, self._chosen(view)),
            *screen_keys(view, overrides),
        ]
        tall = self.kind is Kind.PHONE and self.size.height >= HEIGHT_OF_THUMBS
        tiles = 2 if self.size.height >= TWO_ROWS_OF_TILES_FROM else 1
        bar = self.query_one("#keys", KeyBar)
        bar.offer(key_touches(self._keys, view, self.current, thumbs=tall), tall=tall, tiles=tiles)
        if self.kind is Kind.PHONE:
            self.query_one("#tabs", TabBar).offer(tab_touches(self._panes, view, self.current, self.size.width), tall=tall)

    # arranging

    @property
    def _roomy(self) -> bool:
        return self.size.width >= LEAST[0] and self.size.height >= LEAST[1]

    def lay_out(self) -> None:
        """Give every part its place; does nothing if all places stay the same."""
        view, size = self.view, self.size
        if view is None or not size.width or not self.is_mounted:
            return
        kind, roomy = self.kind, self._roomy
        filtering = bool(self.query_one("#filter").display)
        heights = bars(kind, size.height, roomy=roomy, notice=len(self._notice_rows(view)) if roomy else 0, filtering=filtering)
        rest = size.height - sum(heights.values())
        regions = {}
        if roomy:
            width = size.width if kind is Kind.PHONE else size.width // 2
            wants = {name: pane.want(view, width - 2) for name, pane in self._panes.items()}
            regions = arrange(
                Size(size.width, rest), wants, current=self.current, zoomed=self.zoomed, acting=acting(view.host, view.state.now)
            )
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
        body.placed.regions = regions
        if self.current in regions:
            self._panes[self.current].display = True
            if not isinstance(self.focused, Input):
                self.set_focus(self._panes[self.current], scroll_visible=False)
        for name, pane in self._panes.items():
            pane.display = name in regions
        body.refresh(layout=True)

    def show_pane(self, name: str) -> None:
        """Make a pane the current one and visible."""
        self.current = name
        self.lay_out()
        pane = self._panes[name]
        if pane.display and self.focused is not pane:
            self.set_focus(pane, scroll_visible=False)
        self.draw()

    def action_next_pane(self, by: int) -> None:
        self.show_pane(ORDER[(ORDER.index(self.current) + by) % len(ORDER)])

    def action_zoom(self) -> None:
        self.zoomed = not self.zoomed
        self.show_pane(self.current)

    def action_back(self) -> None:
        pane = self._panes[self.current]
        if isinstance(self.focused, Input):
            pane.filter = ""
            self._close_filter()
        elif self.zoomed:
            self.action_zoom()
        elif pane.filter:
            pane.filter = ""
        else:
            self.show_pane("inference")

    def action_leave(self) -> None:
        self.run_screen("quit")

    @on(Pane.Chosen)
    def _pane_chosen(self, message: Pane.Chosen) -> None:
        message.stop()
        if message.name != self.current and self._panes[message.name].has_focus:
            self.current = message.name
            self.draw()

    @on(ListPane.Moved)
    def _moved(self, message: ListPane.Moved) -> None:
        message.stop()
        if self.view is not None:
            self._offer(self.view)

    # keys and touches

    def on_key(self, event: events.Key) -> None:
        if isinstance(self.focused, Input):
            return
        host = self.view.host if self.view else None
        if host is not None and host.link.phase is LinkPhase.DOWN:
            self._hub.reconnect(self.host_name)
        for key in self._keys:
            if matches(key.key, event.key, event.character):
                event.stop()
                event.prevent_default()
                self.press(key)
                return

    @on(KeyBar.Touched)
    def _touched(self, message: KeyBar.Touched) -> None:
        message.stop()
        if message.bar.id == "tabs":
            self.show_pane(message.id)
        elif message.id == MORE.id:
            self.run_worker(self._menu(), exit_on_error=False)
        else:
            self._press_name(message.id)

    @on(StatusBar.Tapped)
    def _status_tapped(self) -> None:
        if self.view is not None and len(self.view.state.hosts) > 1:
            self.run_screen("host")

    def _press_name(self, name: str) -> None:
        for key in self._keys:
            if key.name == name:
                self.press(key)
                return

    def press(self, key: Key) -> None:
        """Do what a key says."""
        if key.id in self._specs:
            self.run_worker(self._act(key), name=key.name, group="act", exit_on_error=False)
        else:
            self.run_screen(key.id)

    async def _act(self, key: Key) -> None:
        target = key.target
        host = self.view.host if self.view else None
        if key.choose and host is not None:
            choices = [
                Choice(b.name, b.name, b.service, str(i) if i < 10 else "") for i, b in enumerate(host.backups.values(), 1)
            ]
            target = await self._push(ChooseScreen("Run which backup?", choices))
            if not target:
                return
        await self._conductor.act(key.id, Wish(self.host_name, target), key.key)

    def run_screen(self, id: str) -> None:
        """What concerns the screen alone."""
        match id:
            case "logs":
                log, services = self._panes["log"], self._panes["services"]
                assert isinstance(log, LogPane) and isinstance(services, ListPane)
                log.follow(services.chosen(self.view) if self.current == "services" and self.view else "")
                self.show_pane("log")
            case "filter":
                self._open_filter()
            case "zoom":
                self.action_zoom()
            case "host":
                self.run_worker(self._choose_host(), exit_on_error=False)
            case "help":
                self.app.push_screen(self._help())
            case "palette":
                self.app.push_screen(CommandPalette(id="--command-palette"))
            case "quit":
                self.app.exit(message=farewell(self.view))

    def _help(self) -> HelpScreen:
        overrides = self._hub.config.screen.keys
        modes = self.view.host.spec.modes if self.view and self.view.host else ()
        keys = " ".join([*(m.key for m in modes if m.key), "0"])
        return HelpScreen(self._specs, overrides, keys, read_only=bool(self.view and self.view.state.read_only))

    async def _menu(self) -> None:
        answer = await self._push(ChooseScreen("Commands", menu_choices(self._keys, self._panes)))
        if answer:
            kind, _, name = answer.partition(" ")
            if kind == "pane":
                self.show_pane(name)
            else:
                self._press_name(name)

    async def _choose_host(self) -> None:
        if self.view is None:
            return
        answer = await self._push(ChooseScreen("Which host?", host_choices(self.view)))
        if answer:
            self.go_to_host(answer)

    def go_to_host(self, name: str) -> None:
        """Look at another host."""
        if self.view is not None and name in self.view.state.hosts:
            self.host_name = name
            self.take(self.view.state)

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
        self.set_focus(self._panes[self.current], scroll_visible=False)
        self.lay_out()
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a text is typed only Escape and Enter mean anything here."""
        return not (isinstance(self.focused, Input) and action in ("next_pane", "zoom", "leave"))

    # palette

    def commands(self) -> list[Command]:
        """Every action on every target, every pane, host and theme."""
        view = self.view
        if view is None:
            return []
        keys = every_key(view, self._specs, self._hub.plan)
        found = [Command(k.words, k.refused or k.help, partial(self.press, k)) for k in keys]
        found += [
            Command(f"Show {pane.TITLE.lower()}", "pane", partial(self.show_pane, name)) for name, pane in self._panes.items()
        ]
        found += [Command(f"Host {name}", "look at this host", partial(self.go_to_host, name)) for name in view.state.hosts]
        themes = sorted(self.app.available_themes)
        found += [Command(f"Theme {name}", "colours, until sovtui ends", partial(self._theme, name)) for name in themes]
        return found

    def _theme(self, name: str) -> None:
        self.app.theme = name

    # telling and asking

    def tell(self, words: str, severity: str = "information") -> None:
        """A passing notice. Foreign text is inert in it."""
        seconds = 2.0 if severity == "begun" else max(5.0, len(words) / 12)
        level: Any = "information" if severity == "begun" else severity
        sign = {"warning": "▲ ", "error": "✖ "}.get(severity, "")
        self.notify(sign + words, severity=level, timeout=seconds, markup=False)

    async def _push(self, screen: Screen[Any]) -> Any:
        return await self.app.push_screen_wait(screen)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A failure of ours is told, not fatal: the room stays."""
        if event.state is WorkerState.ERROR:
            self.log.error(event.worker.error)
            self.tell(f"This did not work, and it is sovtui's fault: {event.worker.error!r}", "error")
