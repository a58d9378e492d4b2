"""The control room: what its keys and touches do. It passes on; it decides nothing about the box."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from sovtui.actions import all_specs
from sovtui.actions.spec import Wish
from sovtui.core.issues import Issue, issues
from sovtui.core.metered import Wish as Metered
from sovtui.core.model import LinkPhase
from sovtui.runtime.hub import Hub
from sovtui.tui.arrange import HEIGHT_OF_THUMBS, Kind, tile_rows
from sovtui.tui.conduct import Conductor
from sovtui.tui.estate import PANES, host_choices, issue_choices
from sovtui.tui.inspector import Inspector
from sovtui.tui.jump import STAY, jump_tabs, jump_touches
from sovtui.tui.keymap import Key, actions, local_keys, matches, screen_keys
from sovtui.tui.linkfacts import METERED, link_rows
from sovtui.tui.offers import every_key, farewell, menu_choices, target_choices
from sovtui.tui.palette import Command
from sovtui.tui.panes.base import ListPane, Pane, View
from sovtui.tui.panes.inference import InferencePane
from sovtui.tui.panes.log import LogPane
from sovtui.tui.screens.choose import Choice, ChooseScreen
from sovtui.tui.screens.frame import StatusBar
from sovtui.tui.screens.help import HelpScreen, mode_keys
from sovtui.tui.screens.scene import Scene
from sovtui.tui.steady import CHANGED, Steady
from sovtui.tui.then import touches as then_touches
from sovtui.tui.touches import BELONGS, MORE, line_touches, tab_touches, tile_touches
from sovtui.tui.widgets.keybar import KeyBar, TabBar
from sovtui.tui.widgets.timeline import TimelineBar


class Room(Scene):
    """One screen for everything. Speaks to the hub by wishes."""

    CSS_PATH = "../sovtui.tcss"
    """Read with the room, not with the app: the first frame does without it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "leave", "quit", show=False),
        Binding("f1", "help", "help", show=False),
    ]

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._specs = all_specs()
        self._keys: list[Key] = []
        self._steady = Steady()
        """What each key would do."""
        self._list: ChooseScreen | None = None
        """What is open and wants to be told anew."""
        self._conductor = Conductor(hub, self._push, self.tell)
        self._inspector = Inspector(hub, self._push, self.tell, lambda: self.view, self._to_clipboard)

    def _renew(self) -> None:
        self._inspector.renew()
        if self._list is not None:
            self._list.renew()

    # keys

    def _chosen(self, view: View) -> dict[str, str]:
        """What an action without a name would be about, by kind of target."""
        found = {}
        if view.host is not None:
            for target, name in (("service", "services"), ("alert", "alerts"), ("backup", "backups")):
                pane = self._panes[name]
                assert isinstance(pane, ListPane)
                found[target] = pane.chosen(view)
        return found

    def _offer(self, view: View, *, moved: bool = False) -> None:
        overrides = view.config.screen.keys
        self._keys = self.travel.keys(
            [
                *actions(view, self._specs, self._hub.plan, self._chosen(view)),
                *screen_keys(view, overrides),
                *local_keys(self.current, overrides),
            ]
        )
        tall = self.kind is Kind.PHONE and self.size.height >= HEIGHT_OF_THUMBS
        tiles, bar = tile_rows(self.size.height), self.query_one("#keys", KeyBar)
        columns = max(1, self.size.width // bar.LEAST_CELLS)
        self._steady.show({key.key: key.name for key in self._keys if key.key and key.id in self._specs}, own=self._own or moved)
        if self.jumping:
            touches = [STAY] if self.kind is Kind.PHONE else jump_touches(self.letters, self._panes, self.current)
            columns = 0
        elif self.travel.on:
            touches = then_touches(self._keys, thumbs=tall, tiles=tiles)
        elif tall:
            touches = tile_touches(self._keys, view, self.current, columns, tiles)
        else:
            touches = line_touches(self._keys, view, self.current, self.size.width)
        bar.offer(touches, tall=tall, columns=columns if tall else 0, own=moved)
        if self.kind is Kind.PHONE:
            tabs = tab_touches(self._panes, view, self.current, self.size.width)
            self.query_one("#tabs", TabBar).offer(jump_tabs(self.letters, tabs) if self.jumping else tabs, tall=tall)

    def action_leave(self) -> None:
        self.run_screen("quit")

    @on(ListPane.Moved)
    def _moved(self, message: ListPane.Moved) -> None:
        message.stop()
        if self.view is not None:
            self._offer(self.view, moved=True)

    def go_to_host(self, name: str) -> None:
        self._own = True
        for pane in self._every.values():
            pane.steady.trust()
        try:
            super().go_to_host(name)
        finally:
            self._own = False

    # keys and touches

    def on_key(self, event: events.Key) -> None:
        if isinstance(self.focused, Input):
            return
        if self.jumping:
            event.stop()
            event.prevent_default()
            self.land(event.character or event.key)
            return
        host = self.travel.live.hosts.get(self.host_name)
        phase = host.link.phase if host is not None and not self.travel.on else LinkPhase.UP
        if phase is LinkPhase.DOWN or (phase is LinkPhase.REFUSED and event.key == "enter"):
            self._hub.reconnect(self.host_name)
        if self.travel.key(event.key, event.character):
            event.stop()
            event.prevent_default()
            return
        for key in self._keys:
            if matches(key.key, event.key, event.character):
                event.stop()
                event.prevent_default()
                self._steady.press()
                if key.id in self._specs and not self._steady.holds(key.key):
                    self._too_soon()
                else:
                    self.press(key)
                return

    @on(KeyBar.TooSoon)
    @on(Pane.TooSoon)
    def _too_soon(self) -> None:
        self.tell(CHANGED, "begun")

    @on(KeyBar.Touched)
    def _touched(self, message: KeyBar.Touched) -> None:
        message.stop()
        if message.bar.id == "tabs" or self.jumping:
            self.jump(False)
            self.show_pane(message.id or self.current)
        elif message.id == MORE.id:
            self.run_worker(self._menu(), exit_on_error=False)
        else:
            self._press_name(message.id)

    @on(ListPane.Opened)
    def _opened(self, message: ListPane.Opened) -> None:
        message.stop()
        self.run_screen("open")

    @on(InferencePane.Switched)
    def _switched(self, message: InferencePane.Switched) -> None:
        message.stop()
        self._press_name(f"switch {message.mode}")

    @on(TimelineBar.Touched)
    def _time_touched(self, message: TimelineBar.Touched) -> None:
        message.stop()
        self.travel.touch(message.at)

    @on(StatusBar.Tapped)
    def _status_tapped(self) -> None:
        if self.view is not None and len(self.view.state.hosts) > 1:
            self.run_screen("host")

    def _press_name(self, name: str) -> None:
        for key in self._keys:
            if key.name == name:
                self.press(key)
                return
        spec = self._specs.get(name.partition(" ")[0])
        if spec is not None:
            self.tell(f"{spec.title}: there is nothing for it now.", "begun")

    def press(self, key: Key) -> None:
        """Do what a key says."""
        if self.travel.on and key.id in self._specs:
            self.tell(self.travel.refusal(), "warning")
        elif key.id in self._specs:
            self.run_worker(self._act(key), name=key.name, group="act", exit_on_error=False)
        elif key.target in self._panes:
            self.show_pane(key.target)
            self._panes[key.target].perform(key.id)
        else:
            self.run_screen(key.id)

    async def _act(self, key: Key) -> None:
        target = key.target
        if key.choose and self.view is not None:
            spec = self._specs[key.id]
            target = await self._push(ChooseScreen(f"{spec.title}: which?", target_choices(self.view, spec)))
            if not target:
                return
        await self._conductor.act(key.id, Wish(self.host_name, target), key.key, careful=self.kind is Kind.PHONE)

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
            case "open":
                self.run_worker(self._open(), group="open", exit_on_error=False)
            case "copy":
                self.run_worker(self._inspector.copy(self._panes[self.current]), group="open", exit_on_error=False)
            case "jump":
                self.jump()
            case "zoom":
                self.action_zoom()
            case "host":
                self.run_worker(self._choose_host(), exit_on_error=False)
            case "link":
                self.run_worker(self._inspector.show("The link", link_rows), group="open", exit_on_error=False)
            case "metered":
                self._meter()
            case "issues":
                self.run_worker(self._choose_issue(), exit_on_error=False)
            case "help":
                self.app.push_screen(self._help())
            case "palette":
                self.app.push_screen(CommandPalette(id="--command-palette"))
            case "quit":
                self.app.exit(message=farewell(View(self.travel.live, self.host_name, self._hub.config)))
            case _:
                self.travel.run(id)

    def action_help(self) -> None:
        self.run_screen("help")

    def action_open(self) -> None:
        self.run_screen("open")

    async def _open(self) -> None:
        pane, view = self._panes[self.current], self.view
        if view is None or not isinstance(pane, ListPane) or not pane.chosen(view):
            self.action_zoom()
            return
        if not pane.aim.holds(""):
            self._too_soon()
            return
        mine = BELONGS.get(self.current, ())
        keys = [key for key in self._keys if key.id in (*mine, "copy") and key.id not in ("open", "filter")]
        name = await self._inspector.open(pane, keys)
        if name:
            self._press_name(name)

    def _to_clipboard(self, words: str) -> None:
        self.app.copy_to_clipboard(words)

    def _help(self, *, glossary: bool = False) -> HelpScreen:
        overrides = self._hub.config.screen.keys
        state = self.travel.live
        hosts = [self.view.host] if self.view and self.view.host and self.view.host.spec.modes else state.hosts.values()
        modes = [mode.key for host in hosts for mode in host.spec.modes]
        there = {
            id: spec for id, spec in self._specs.items() if spec.served(state.hosts.values()) and (modes or spec.target != "mode")
        }
        return HelpScreen(there, overrides, mode_keys(modes), read_only=state.read_only, glossary=glossary)

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
        answer = await self._listed("Which host?", lambda: host_choices(self.travel.live))
        if answer:
            self.go_to_host(answer)

    async def _choose_issue(self) -> None:
        if self.view is None:
            return
        answer = await self._listed("Issues", lambda: issue_choices(self.travel.live))
        found = next((issue for issue in issues(self.travel.live) if answer and issue.key == answer), None)
        if found is not None:
            self.go_to_issue(found)

    def _meter(self, wish: Metered | None = None) -> None:
        """Use the link of this host sparingly, or as usual."""
        host = self.travel.live.hosts.get(self.host_name)
        if host is None or host.link.kind == "local":
            self.tell("This machine needs no link: there is nothing to meter.", "warning")
            return
        wish = wish or (Metered.OFF if host.metered else Metered.ON)
        self._hub.meter(self.host_name, wish)
        self.tell(METERED[wish].format(self.host_name), "information")

    def go_to_issue(self, issue: Issue) -> None:
        """Look at what is wrong, where it is."""
        if self.travel.on:
            self.travel.leave()
        if issue.host:
            self.go_to_host(issue.host)
        pane = self._every[PANES[issue.kind]]
        if isinstance(pane, ListPane) and issue.target:
            pane.filter = ""
            pane.hold(issue.target)
        self.show_pane(pane.NAME)

    async def _listed(self, title: str, make: Callable[[], list[Choice]]) -> Any:
        """One of a list that is told anew while it is open."""
        self._list = ChooseScreen(title, make(), make)
        try:
            return await self._push(self._list)
        finally:
            self._list = None

    # palette

    def commands(self) -> list[Command]:
        """Every action on every target, every pane, host and theme; what is there once for each service comes last."""
        view = self.view
        if view is None:
            return []
        keys = [*every_key(view, self._specs, self._hub.plan), *local_keys("", view.config.screen.keys)]
        of_services = {id for id, spec in self._specs.items() if spec.target == "service"}
        found = [Command(k.words, k.refused or k.help, partial(self.press, k)) for k in keys if k.id not in of_services]
        found += [
            Command(f"Show {pane.TITLE.lower()}", "pane", partial(self.show_pane, name)) for name, pane in self._panes.items()
        ]
        found.append(
            Command("Metered link: automatic", "by path and round trip", partial(self._meter, Metered.AUTO)),
        )
        found.append(Command("Glossary", "what the words on the screen mean", self._explain))
        found += [Command(f"Host {name}", "look at this host", partial(self.go_to_host, name)) for name in view.state.hosts]
        themes = sorted(self.app.available_themes)
        found += [Command(f"Theme {name}", "colours, until sovtui ends", partial(self._theme, name)) for name in themes]
        return found + [Command(k.words, k.refused, partial(self.press, k)) for k in keys if k.id in of_services]

    def _explain(self) -> None:
        self.app.push_screen(self._help(glossary=True))

    def _theme(self, name: str) -> None:
        self.app.theme = name

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A failure of ours is told, not fatal: the room stays."""
        if event.state is WorkerState.ERROR:
            self.log.error(event.worker.error)
            self.tell(f"sovtui has an internal error: {event.worker.error!r}", "error")
