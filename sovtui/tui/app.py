"""Wiring: hub to screen, theme, terminal. Draws nothing and decides nothing.

What the first frame does not need is imported after it: the hub and the room.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.geometry import Size
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES
from textual.timer import Timer

from sovtui.config.surroundings import look, served
from sovtui.core.clean import one_line
from sovtui.tui import heap, themes
from sovtui.tui.arrange import HEIGHT_OF_THUMBS, PHONE_BELOW, THREE_ROWS_FROM, TWO_ROWS_FROM, WIDE_FROM
from sovtui.tui.ending import QUIT_SECONDS, Ending
from sovtui.tui.keyqueue import KeyQueue
from sovtui.tui.narrow import narrow
from sovtui.tui.palette import RoomProvider
from sovtui.tui.screens.opening import Opening
from sovtui.tui.terminal import TerminalDriver, driver_for
from sovtui.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sovtui.config.surroundings import Glyphs
    from sovtui.ports.link import Question
    from sovtui.runtime.hub import Hub
    from sovtui.tui.screens.room import Room

OpenHub = Callable[[], "Hub"]
"""Reads the configuration and makes the hub. Called in a thread; what it raises ends the program and is raised by `run`."""
THEME_SECONDS = 2.0
"""How soon a changed theme file is seen."""
SETTLE_SECONDS = 0.2
"""After the last change of size, when it is the last."""
SETTLED_SECONDS = 5.0
"""After this time everything that is imported late is there."""
NEW_OBJECTS = 2000
"""So many more than before are looked through for what nobody uses: every few minutes. Little of what a second makes needs that."""
GIVE_BACK_SECONDS = 45.0
"""How often memory that is free is given back to the system."""
CLOSE_SECONDS = 2.0
"""How long links and sources may take to close; then the program ends without them."""
AT_ONCE = {"ctrl+c": "quit_now", "ctrl+q": "quit_now", "ctrl+z": "suspend_process"}
"""Keys that never wait for those before them, and what they do."""


class ControlRoom(App[None]):
    """The application: one room, one hub."""

    TITLE = "sovtui"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {RoomProvider}
    BINDINGS: ClassVar[list[BindingType]] = [Binding(key, action, show=False, priority=True) for key, action in AT_ONCE.items()]
    ENABLE_COMMAND_PALETTE = True
    ALLOW_SELECT = False
    HORIZONTAL_BREAKPOINTS = [(0, "-phone"), (PHONE_BELOW, "-normal"), (WIDE_FROM, "-wide")]  # noqa: RUF012  # declared as an instance variable by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (HEIGHT_OF_THUMBS, "-tall"), (TWO_ROWS_FROM, "-taller"), (THREE_ROWS_FROM, "-tallest")]  # noqa: RUF012

    room: Room
    """There from the moment when the hub is."""

    def __init__(self, hub: Hub | OpenHub, theme: str | None = None, glyphs: Glyphs = "auto") -> None:
        """`hub`: a hub, or what makes one after the first frame. `theme` and `glyphs` are the operator's wishes."""
        if not os.environ.get("NO_COLOR", "x"):
            del os.environ["NO_COLOR"]  # empty means that it is not set; Textual thinks otherwise
        self.terminal = look(os.environ, glyphs if callable(hub) else hub.config.screen.glyphs)
        plain = not self.terminal.colour  # then Textual must not make greys of colours: the driver leaves all codes out
        super().__init__(
            driver_class=None if served(os.environ) else driver_for(self.terminal), ansi_color=True if plain else None
        )
        self.animation_level = "none"
        self.crash: Exception | None = None
        self.ending: Ending | None = None
        self._settled: Size | None = None
        self._settling: Timer | None = None
        self._resizes = 0
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._given = hub
        self.hub: Hub | None = None
        self._themes_seen: themes.Signature = ()
        self._problems: tuple[str, ...] = ()
        self._wanted = ""
        """A theme that was asked for and is not there yet."""
        self._wished = themes.MONO if plain else theme
        first = self._wished or themes.DEFAULT
        self._take_themes(themes.load(only=first))
        self.theme = first if first in self.available_themes else "textual-dark"  # what is wrong with it is told in the room
        self._problems = ()
        self._asking = asyncio.Lock()
        self._keys = KeyQueue(self, super().on_event)
        self._unsubscribe: Callable[[], None] | None = None

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and event.key not in AT_ONCE:
            await self._keys.put(event)
        else:
            await super().on_event(event)

    def copy_to_clipboard(self, text: str) -> None:
        """One clean line, whatever it is and whoever copies it."""
        super().copy_to_clipboard(one_line(text, len(text) * 4))

    # themes

    def _choose_theme(self, name: str) -> None:
        if name not in self.available_themes:
            self._problems += (f"there is no theme {name!r}; sovtui themes lists them",)
            self._wanted, name = name, themes.DEFAULT if themes.DEFAULT in self.available_themes else "textual-dark"
        self.theme = name

    def _take_themes(self, found: themes.Found) -> tuple[str, ...]:
        """Make these the themes there are. Returns what is newly wrong with a file; such a file's theme stays as it was."""
        gone = {name for name in self.available_themes if name not in found.themes and name != self.theme}
        for name in gone - set(BUILTIN_THEMES) if not found.problems else ():
            self.unregister_theme(name)
        changed = {name for name, one in found.themes.items() if self.available_themes.get(name) != one}
        for name in changed:
            self.register_theme(found.themes[name])
        if self._wanted in changed:
            self.theme, self._wanted = self._wanted, ""
        elif self.theme in changed:
            self.mutate_reactive(App.theme)
        new = tuple(problem for problem in found.problems if problem not in self._problems)
        self._problems = found.problems
        return new

    async def _follow_themes(self) -> None:
        """Look for changed files, beside the event loop. Costs a few `stat` calls while there are none."""
        while True:
            await asyncio.sleep(THEME_SECONDS)
            seen = await asyncio.to_thread(themes.signature)
            if seen != self._themes_seen:
                self._themes_seen = seen
                for problem in self._take_themes(await asyncio.to_thread(themes.load)):
                    self.room.tell(problem, "warning")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.STYLES

    def get_default_screen(self) -> Screen[Any]:
        return Opening()

    async def on_mount(self) -> None:
        self._running_loop = asyncio.get_running_loop()
        if callable(self._given):
            self.call_after_refresh(lambda: self.run_worker(self._open(), exit_on_error=False))
        else:
            await self._enter(self._given, *await asyncio.to_thread(_read_themes))

    async def _open(self) -> None:
        """Make the hub. A thread does it, so that keys are answered and resizes drawn meanwhile."""
        assert callable(self._given)
        gc.enable()  # `__main__` stopped it for the first frame
        try:
            hub, read = await asyncio.gather(asyncio.to_thread(self._given), asyncio.to_thread(_read_themes))
            await asyncio.to_thread(importlib.import_module, "sovtui.tui.screens.room")
            await self._enter(hub, *read)
        except Exception as error:  # noqa: BLE001 - `run` raises it, when the terminal is given back
            self.crash = error
            self.exit(return_code=1)

    async def _enter(self, hub: Hub, seen: themes.Signature, found: themes.Found) -> None:
        """Put the room over the opening, for good; then let the hub connect."""
        from sovtui.tui.screens.room import Room

        opening = self.screen
        self.hub, self.room = hub, Room(hub)
        self._themes_seen = seen
        self._take_themes(found)
        self._choose_theme(self._wished or hub.config.screen.theme or themes.DEFAULT)
        hub.set_ask(self.ask)
        self._unsubscribe = hub.subscribe(lambda state: state, self.room.take)
        await self.push_screen(self.room)
        for problem in self._problems:
            self.room.tell(problem, "warning")
        for key in opening.pressed if isinstance(opening, Opening) else ():
            self.post_message(key)
        await hub.start()
        self.run_worker(self._follow_themes(), exit_on_error=False)
        if callable(self._given):  # the process is ours alone
            self.set_timer(SETTLED_SECONDS, self._set_aside)

    def _set_aside(self) -> None:
        """What has been made so far stays: the collector need not look at it ever again. What is free is given back, now and then."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
        self.give_back()
        self.set_interval(GIVE_BACK_SECONDS, self.give_back)

    def give_back(self) -> None:
        """Let go of what was only kept to be quick, and of what is free. So often that what an answer far too long has taken is gone within a minute; nothing on the screen changes."""
        for widget in self.room.query(Lines):
            widget.forget()
        heap.forget()
        gc.collect()  # it also lets go of what Python keeps in store for the next tuples and lists
        heap.give_back()

    def on_exit_app(self) -> None:
        """Nothing more is drawn: what came from now on would meet a room without its parts."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    async def on_unmount(self) -> None:
        self.on_exit_app()
        if self.ending is not None:
            self.ending.end(self.return_code or 0, QUIT_SECONDS)
        if self.hub is not None:
            self.hub.set_ask(None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.hub.aclose(), CLOSE_SECONDS)

    async def ask(self, question: Question) -> str | None:
        """Put a question of a link to the operator; one at a time. None: refused, or the question is no longer asked."""
        async with self._asking:
            from sovtui.tui.screens.approval import ApprovalScreen
            from sovtui.tui.screens.ask import AskScreen

            answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            held = question.kind == "approval"
            screen = ApprovalScreen(question, self.terminal.ascii) if held else AskScreen(question)

            def settle(answer: str | None) -> None:
                if not answered.done():
                    answered.set_result(answer)

            def show() -> None:
                if not answered.done():
                    self.push_screen(screen, settle)

            self.call_later(show)
            try:
                return await answered
            except asyncio.CancelledError:
                if screen in self.screen_stack:
                    screen.dismiss(None)
                raise

    def on_resize(self, event: events.Resize) -> None:
        """A size that was left and came back within a moment is no change to Textual, but the terminal has lost cells meanwhile."""
        self._resizes += 1 if event.size != self._settled else 2
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, partial(self._settle, event.size))

    def _settle(self, size: Size) -> None:
        if self._resizes > 1 and self._settled is not None:
            self.refresh()
        self._settling, self._settled, self._resizes = None, size, 0

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        super()._display(screen, narrow(renderable))

    # leaving

    def leave(self, status: int) -> bool:
        """End with this status; from any thread. False before there is anything to end."""
        loop = self._running_loop
        if loop is None:
            return False
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended already
            loop.call_soon_threadsafe(partial(self.exit, return_code=status))
        return True

    def action_quit_now(self) -> None:
        if self.hub is None:
            self.exit()
        else:
            self.room.run_screen("quit")

    def action_suspend_process(self) -> None:
        if isinstance(self._driver, TerminalDriver):
            self._driver.leave_for_a_while()

    def _handle_exception(self, error: Exception) -> None:
        """Textual's one place for what nobody caught."""
        self.crash = self.crash or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """No traceback with the values of variables on the terminal: `run` passes the error on, and it goes to a file."""
        self.exit(return_code=1)

    def panic(self, *renderables: RenderableType) -> None:
        if self.crash is None:
            self.crash = RuntimeError("the screen failed")
            self.crash.add_note("\n".join(self._words(renderable) for renderable in renderables))
        self.exit(return_code=1)

    def _words(self, renderable: RenderableType) -> str:
        return "".join(segment.text for segment in self.console.render(renderable))


def _read_themes() -> tuple[themes.Signature, themes.Found]:
    """Which files there are, then what is in them: what changes in between is seen as a change."""
    return themes.signature(), themes.load()


def run(hub: Hub | OpenHub, theme: str | None = None, glyphs: Glyphs = "auto") -> int:
    """Show the control room until it is left. Returns the exit status: 0, or 128 and the signal that ended it.

    Raises what the making of the hub raised and what nobody caught inside, once the terminal is given back.
    """
    heap.share()  # before there is any thread
    app = ControlRoom(hub, theme, glyphs)
    with Ending(app.leave) as app.ending:
        app.run(mouse=True)
    if app.crash is not None:
        raise app.crash
    return app.return_code or 0
