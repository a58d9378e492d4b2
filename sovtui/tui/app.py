"""Wiring: hub to screen, theme, terminal. Draws nothing and decides nothing.

What the first frame does not need is imported after it: the hub and the room.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from textual.app import App
from textual.binding import BindingType
from textual.command import Provider
from textual.screen import Screen

from sovtui.tui import themes
from sovtui.tui.arrange import HEIGHT_OF_THUMBS, PHONE_BELOW, WIDE_FROM
from sovtui.tui.narrow import narrow
from sovtui.tui.palette import RoomProvider
from sovtui.tui.screens.opening import Opening

if TYPE_CHECKING:
    from sovtui.ports.link import Question
    from sovtui.runtime.hub import Hub
    from sovtui.tui.screens.room import Room

OpenHub = Callable[[], "Hub"]
"""Reads the configuration and makes the hub. Called in a thread; what it raises ends the program and is raised by `run`."""

GRACE_SECONDS = 3.0
"""After a signal the terminal is given back within this time, even if it no longer takes output."""
LOOK_SECONDS = 2.0
"""How often it is checked that the terminal is still there."""

SETTLED_SECONDS = 5.0
"""After this time everything that is imported late is there."""


class ControlRoom(App[None]):
    """The application: one room, one hub."""

    TITLE = "sovtui"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {RoomProvider}
    BINDINGS: ClassVar[list[BindingType]] = []
    ENABLE_COMMAND_PALETTE = True
    ALLOW_SELECT = False
    HORIZONTAL_BREAKPOINTS = [(0, "-phone"), (PHONE_BELOW, "-normal"), (WIDE_FROM, "-wide")]  # noqa: RUF012  # declared as an instance variable by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (HEIGHT_OF_THUMBS, "-tall")]  # noqa: RUF012

    room: Room
    """There from the moment when the hub is."""

    def __init__(self, hub: Hub | OpenHub, theme: str | None = None) -> None:
        """`hub`: a hub, or what makes one after the first frame. `theme` is the operator's wish for this time."""
        # With NO_COLOR the terminal's own colours must be chosen before the filters are made: no colour code is sent then.
        plain = "NO_COLOR" in os.environ
        super().__init__(ansi_color=True if plain else None)
        self.animation_level = "none"
        self.crash: Exception | None = None
        self._given = hub
        self.hub: Hub | None = None
        self._wished = themes.LOW_BANDWIDTH[0] if plain else theme
        self._choose_theme(self._wished or themes.DEFAULT, themes.load(only=self._wished or themes.DEFAULT))
        self._asking = asyncio.Lock()
        self._unsubscribe: Callable[[], None] | None = None

    def _choose_theme(self, name: str, found: themes.Found) -> list[str]:
        """Take this theme if it is there. Sentences about what is wrong with theme files."""
        problems = list(found.problems)
        for one in found.themes.values():
            self.register_theme(one)
        if name not in self.available_themes:
            problems.append(f"there is no theme {name!r}; sovtui themes lists them")
            name = themes.DEFAULT if themes.DEFAULT in self.available_themes else "textual-dark"
        self.theme = name
        return problems

    def get_default_screen(self) -> Screen[Any]:
        return Opening()

    async def on_mount(self) -> None:
        if callable(self._given):
            self.call_after_refresh(lambda: self.run_worker(self._open(), exit_on_error=False))
        else:
            await self._enter(self._given)

    async def _open(self) -> None:
        """Make the hub. A thread does it, so that keys are answered and resizes drawn meanwhile."""
        assert callable(self._given)
        gc.enable()  # `__main__` stopped it for the first frame
        try:
            hub = await asyncio.to_thread(self._given)
            await asyncio.to_thread(importlib.import_module, "sovtui.tui.screens.room")
            await self._enter(hub)
        except Exception as error:  # noqa: BLE001 - `run` raises it, when the terminal is given back
            self.crash = error
            self.exit(return_code=1)

    async def _enter(self, hub: Hub) -> None:
        """Put the room over the opening, for good; then let the hub connect."""
        from sovtui.tui.screens.room import Room

        opening = self.screen
        self.hub, self.room = hub, Room(hub)
        problems = self._choose_theme(self._wished or hub.config.screen.theme or themes.DEFAULT, themes.load())
        hub.set_ask(self.ask)
        self._unsubscribe = hub.subscribe(lambda state: state, self.room.take)
        await self.push_screen(self.room)
        for problem in problems:
            self.room.tell(problem, "warning")
        for key in opening.pressed if isinstance(opening, Opening) else ():
            self.post_message(key)
        self.set_interval(LOOK_SECONDS, self._look_for_terminal)
        await hub.start()
        self.set_timer(SETTLED_SECONDS, self._settle)

    @staticmethod
    def _settle() -> None:
        """What has been made so far stays: the collector need not look at it ever again."""
        gc.collect()
        gc.freeze()

    async def on_unmount(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self.hub is not None:
            self.hub.set_ask(None)
            await self.hub.aclose()

    async def ask(self, question: Question) -> str | None:
        """Put a question of a link to the operator; one at a time. None: refused, or the question is no longer asked."""
        async with self._asking:
            from sovtui.tui.screens.ask import AskScreen

            answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            screen = AskScreen(question)

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

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        super()._display(screen, narrow(renderable))

    def _look_for_terminal(self) -> None:
        if not self.is_headless and terminal_gone():
            self.exit(return_code=128 + signal.SIGHUP)


def terminal_gone() -> bool:
    """Whether whoever held the other end of the terminal has closed it."""
    stdin = sys.__stdin__
    try:
        if stdin is None or not stdin.isatty():
            return stdin is None or stdin.closed
        poll = select.poll()
        poll.register(stdin.fileno(), select.POLLIN)
        return any(mask & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, mask in poll.poll(0))
    except (OSError, ValueError):
        return True


def run(hub: Hub | OpenHub, theme: str | None = None) -> int:
    """Show the control room until it is left. Returns the exit status: 0, or 128 and the signal that ended it.

    Raises what the making of the hub raised, once the terminal is given back.
    """
    app = ControlRoom(hub, theme)
    before = _attributes()

    def leave(number: int, _frame: FrameType | None) -> None:
        # The loop may be blocked by a terminal that takes no output; then this thread ends the process all the same.
        killer = threading.Timer(GRACE_SECONDS, _end, (128 + number, before))
        killer.daemon = True
        killer.start()
        app.exit(return_code=128 + number)

    old = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        app.run(mouse=True)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if app.crash is not None:
        raise app.crash
    return app.return_code or 0


def _attributes() -> Any:
    try:
        import termios

        return termios.tcgetattr(sys.__stdin__.fileno()) if sys.__stdin__ else None
    except (ImportError, OSError, ValueError):
        return None
    except Exception as error:  # noqa: BLE001  # termios.error is not an OSError
        del error
        return None


_RESTORE = "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[0m"


def _end(status: int, attributes: Any) -> None:
    """Give the terminal back as far as it lets us, and end."""
    try:
        import termios

        if attributes is not None and sys.__stdin__ is not None:
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, attributes)
        os.set_blocking(2, False)
        os.write(2, _RESTORE.encode())
    finally:
        os._exit(status)
