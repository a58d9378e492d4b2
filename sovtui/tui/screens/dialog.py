"""What all dialogs share: a framed box with text that scrolls, and tap targets below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, OptionList

from sovtui.tui.arrange import PHONE_BELOW
from sovtui.tui.inert import inert
from sovtui.tui.present import Row
from sovtui.tui.steady import CHANGED, STEADY_SECONDS, moment
from sovtui.tui.widgets.keybar import KeyBar, Touch
from sovtui.tui.widgets.lines import LOOKS, Sheet

Answer = TypeVar("Answer")
SHORT_BELOW = 18
SHORT_WIDE_BELOW = 30
"""Below this many rows the answers are one row high: on a phone, and where a mouse points rather than a thumb."""


def answer_rows(size: Size) -> int:
    """How high the answers are."""
    return 3 if size.height >= (SHORT_BELOW if size.width < PHONE_BELOW else SHORT_WIDE_BELOW) else 1


def text_rows(size: Size, *, whole: bool = False) -> int:
    """What is left for text and fields. `whole`: the dialog takes the whole screen."""
    return (size.height if whole else round(size.height * 0.92)) - answer_rows(size) - 3


class Written(Sheet):
    """Rows made for whatever width there is."""

    def __init__(self, make: Callable[[int], Sequence[Row]]) -> None:
        super().__init__()
        self._make = make

    def write(self, wide: int) -> list[Row]:
        return list(self._make(max(10, wide)))


class Answers(KeyBar):
    """The tap targets of a dialog: few, wide, three rows high."""

    LEAST_CELLS = 12
    GAP_CELLS = 2


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """A modal question. Escape, and q where nothing is typed, always leave without doing anything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave", show=False),
        Binding("q", "leave", "leave", show=False),  # a phone's keyboard has no Escape; a field that is typed in keeps its q
        Binding("ctrl+c", "leave", "leave", show=False, priority=True),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {*ModalScreen.COMPONENT_CLASSES, *LOOKS}
    AUTO_FOCUS: ClassVar[str | None] = ""
    TITLE = ""
    ANSWERS: ClassVar[type[Answers]] = Answers
    UNASKED: ClassVar[bool] = False
    """It comes by itself: also its closing is an answer that a key on its way must not give."""
    _opened = float("inf")
    _told = False
    FILLS_PHONE: ClassVar[bool] = False
    """On a phone it takes the whole screen."""

    def touches(self) -> Sequence[Touch]:
        """The answers."""
        return (Touch("leave", "esc", "Leave"),)

    def body(self, width: int) -> Sequence[Row]:
        """The text."""
        return ()

    def fields(self) -> ComposeResult:
        """Inputs between text and answers."""
        yield from ()

    def heading(self) -> str:
        return self.TITLE or ""

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Content(inert(self.heading()))  # Content: no markup
            with VerticalScroll(id="text", can_focus=False):
                yield Written(self.body)
            with Vertical(id="fields"):
                yield from self.fields()
            yield self.ANSWERS(id="answers")

    def on_mount(self) -> None:
        if self.made:
            self._opened = moment()
            self.query_one("#answers", Answers).steady.moved()  # a finger that was on its way does not answer
            self.reoffer()

    @property
    def made(self) -> bool:
        """Its parts are there. They never come where Escape was on its way while it opened; all events come all the same."""
        return bool(self.query("#answers"))

    @property
    def settled(self) -> bool:
        """It has been there long enough to have been read: what is pressed now is meant for it."""
        return moment() - self._opened >= STEADY_SECONDS

    def too_soon(self) -> None:
        """Say, once, why nothing happens."""
        if not self._told:
            self._told = True
            self.notify(CHANGED, timeout=2.0, markup=False)

    @on(KeyBar.TooSoon)
    def _tapped_too_soon(self, message: KeyBar.TooSoon) -> None:
        message.stop()
        self.too_soon()

    def on_resize(self, event: events.Resize) -> None:
        if not self.made:
            return
        self.query_one("#answers", Answers).styles.height = answer_rows(event.size)
        whole = self.FILLS_PHONE and event.size.width < PHONE_BELOW
        self.set_class(whole, "-fills")
        room = text_rows(event.size, whole=whole)
        fields = [field for field in self.query("#fields > *") if field.display]
        taken = sum(3 if isinstance(field, Input) or event.size.height >= 30 else 1 for field in fields)
        self.query_one("#text").styles.max_height = max(2, room - taken)
        self.query_one("#fields").styles.max_height = max(3, room)
        self.reoffer()

    def reoffer(self) -> None:
        """Show the answers, as they are now."""
        self.query_one("#answers", Answers).offer(self.touches(), tall=answer_rows(self.size) > 1)

    @on(KeyBar.Touched)
    def _touched(self, message: KeyBar.Touched) -> None:
        message.stop()
        self.answer(message.id)

    def answer(self, id: str) -> None:
        """One of the answers was tapped."""
        if id == "leave":
            self.action_leave()

    def action_leave(self) -> None:
        if self.UNASKED and not self.settled:
            self.too_soon()
        else:
            self.dismiss(None)

    def scroll_text(self, by: int) -> None:
        self.query_one("#text", Widget).scroll_relative(y=by, animate=False)

    def on_key(self, event: events.Key) -> None:
        if isinstance(self.focused, OptionList):
            return  # there they go from one entry to the next
        if event.key in ("down", "up", "pagedown", "pageup"):
            step = 1 if event.key in ("down", "up") else 8
            self.scroll_text(step if "down" in event.key else -step)
            event.stop()
