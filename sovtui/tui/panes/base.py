"""What all panes share: a view that is set once per turn, rows made from it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from sovtui.config.schema import Config
from sovtui.core.state import Host, State
from sovtui.tui.arrange import Want
from sovtui.tui.inert import inert
from sovtui.tui.present import Row, cut, row, wrap
from sovtui.tui.steady import Steady
from sovtui.tui.widgets.lines import Lines


@dataclass(frozen=True, slots=True)
class Then:
    """A moment that is not now."""

    moment: datetime
    origin: str = ""
    """Who tells of it: `record`, `prometheus`, or nobody (yet)."""


@dataclass(frozen=True, slots=True)
class View:
    """What a pane may see: the state, which host is looked at, the configuration, and whether the state is of another moment."""

    state: State
    host_name: str
    config: Config
    then: Then | None = None

    @property
    def host(self) -> Host | None:
        return self.state.hosts.get(self.host_name)


@dataclass(frozen=True, slots=True)
class Copy:
    """Something worth copying."""

    title: str
    text: str = ""
    log: str = ""
    """A service: what is copied is the last error in its log."""


class Pane(Lines, can_focus=True):
    """A titled, framed list of rows."""

    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    SHORT: ClassVar[str] = ""
    """Title on a narrow tab, at most five characters."""
    FILTERS: ClassVar[bool] = False
    """Whether `/` works here."""
    BINDINGS: ClassVar[list[BindingType]] = []

    filter: reactive[str] = reactive("", init=False, repaint=False)
    """Only what holds this text is shown; empty for everything."""
    letter: reactive[str] = reactive("", init=False, repaint=False)
    """The letter that jumps here, while one is asked for."""

    class Chosen(Message):
        """The pane was touched or focused: it is the one that keys are about."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class TooSoon(Message):
        """Something was tapped that was not there a moment ago."""

    def __init__(self) -> None:
        super().__init__(id=self.NAME)
        self.steady = Steady()
        """What each line stands for, where a tap on it does something."""
        self.view: View | None = None
        """The newest."""
        self.brought = False
        """It is about to be focused by a key or a tab, not by a tap on itself."""
        self._tapped_from_outside = False

    # what a pane defines

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        """The rows to show. Pure."""
        raise NotImplementedError

    def want(self, view: View, width: int) -> Want:
        """Rows wanted at this width, borders included."""
        raise NotImplementedError

    def badge(self, view: View) -> tuple[str, str]:
        """A few characters for its tab, with a role; empty if there is nothing to tell."""
        return "", ""

    def heading(self, view: View) -> str:
        """Words after the title."""
        return ""

    def copies(self, view: View) -> list[Copy]:
        """What is worth copying now, the likeliest first."""
        return []

    def meant(self) -> Mapping[int, str]:
        """What a tap on each line is about; without those on which one does nothing."""
        return {}

    def first(self) -> None:
        """Go to the first line."""

    def perform(self, id: str) -> None:
        """Do what one of its own keys (`keymap.LOCAL`) says."""

    # the machinery

    def look(self, view: View) -> None:
        """Show this view from now on: all that is ever done to a pane from outside.

        No reactive attribute: what Textual does around one takes a tenth of what a pane does itself, every second.
        """
        if view != self.view:
            self.view = view
            self.viewed()

    def viewed(self) -> None:
        """There is another view."""
        self.redraw()

    def watch_filter(self) -> None:
        self.redraw()

    def watch_letter(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Make the rows anew and show what changed. Does nothing while it is hidden."""
        view = self.view
        size = self.size
        if view is None or not self.display or not size:
            return
        heading = self.heading(view)
        if self.filter:
            heading = f"{heading}  /{self.filter}" if heading else f"/{self.filter}"
        letter = f" {self.letter} " if self.letter else ""
        heading = inert(heading)
        name = f"◀ {self.TITLE}" if view.then is not None else self.TITLE
        title = cut(f"{name} · {heading}" if heading else name, max(4, size.width - 2 - len(letter)))
        if (letter, title) != (self._letter, self._title):
            self._letter, self._title = letter, title
            self.border_title = Content.assemble((letter, "bold reverse"), " " if letter else "", title)  # not parsed: no markup
        if view.host is None:
            self.show([row(("no host is configured", "nothing"))])
            return
        self.show(self.rows(view, size.width, size.height))
        self.steady.show(self.meant())

    _title = _letter = ""

    def on_resize(self) -> None:
        self.redraw()

    def on_show(self) -> None:
        self.redraw()

    def on_hide(self) -> None:
        self.steady.trust()

    def on_mouse_down(self) -> None:
        self.steady.press()

    def on_focus(self, event: events.Focus) -> None:
        self._tapped_from_outside = not self.brought and not event.from_app_focus
        self.brought = False
        self.post_message(self.Chosen(self.NAME))
        self.call_next(self.redraw)  # only then does `has_focus` say so

    def on_blur(self) -> None:
        self.call_next(self.redraw)

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Chosen(self.NAME))


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a list: an identity that outlives its place, and its rows."""

    id: str
    rows: Sequence[Row]
    text: str = ""
    """What the filter looks at."""


class Later(Sequence[Row]):
    """One row that is made when it is looked at: of a long list few are shown."""

    def __init__(self, make: Callable[[], Row]) -> None:
        self._make = make

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        return (self._make(),)[index]


class ListPane(Pane):
    """A pane with a cursor. The cursor stays on its entry when the order changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "move(-10)", "page up", show=False),
        Binding("pagedown", "move(10)", "page down", show=False),
        Binding("home", "move(-9999)", "first", show=False),
        Binding("end,G", "move(9999)", "last", show=False),
    ]
    FILTERS = True
    DETAIL_FROM: ClassVar[int] = 99
    """From this height on the chosen entry is told in full below the list."""

    class Moved(Message):
        """Another entry was chosen."""

    class Opened(Message):
        """The chosen entry was tapped once more: it is to be shown in full."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = ""
        self._held = False
        """Whether the cursor was put where it is by hand; until then it is on the first entry."""
        self._items: list[Item] = []
        self._made: tuple[View, list[Item]] | None = None
        """All entries of a view: the keys ask again for what has just been drawn."""
        self._top = 0
        self._owners: list[str] = []
        self.aim = Steady()
        """What Enter opens."""
        self.room = 0
        """Rows there are for the list as it was last drawn, with what stands above it."""

    def items(self, view: View, width: int) -> list[Item]:
        """All entries in their order."""
        raise NotImplementedError

    def nothing(self, view: View, width: int) -> list[Row]:
        """What is shown where there is no entry."""
        return [row(("none", "label"))]

    def detail(self, view: View, cursor: str, width: int) -> list[Row]:
        """The chosen entry in full."""
        return []

    def head(self, view: View, width: int) -> list[Row]:
        """Rows above the list."""
        return []

    def lead(self, view: View, id: str, width: int) -> list[Row]:
        """What matters most of an entry, above the errors in its log."""
        return []

    def story(self, view: View, id: str, width: int) -> list[Row]:
        """Everything that is known of an entry, wrapped; empty if it is gone."""
        return []

    def entry_title(self, view: View, id: str) -> str:
        """What an entry is called."""
        return id

    def journal_of(self, view: View, id: str) -> str:
        """The service whose log tells about an entry; empty if none does."""
        return ""

    def chosen(self, view: View) -> str:
        """The entry that an action would be about; also while the pane is hidden."""
        known = self._made
        items = known[1] if known is not None and known[0] is view else self.items(view, 80)
        ids = [item.id for item in self._kept(items)]
        return self.cursor if self._held and self.cursor in ids else ids[0] if ids else ""

    def meant(self) -> Mapping[int, str]:
        return {y: owner for y, owner in enumerate(self._owners) if owner}

    def watch_filter(self) -> None:
        for known in (self.steady, self.aim):
            known.trust()  # whoever types sees what is left
        self.redraw()

    def redraw(self) -> None:
        super().redraw()
        if self.display and self._items:
            self.aim.show({"": self.cursor})

    def stays(self, view: View) -> bool:
        """Whether the cursor stays on its entry once the pane is in front, also where nobody has put it there."""
        return True

    def _kept(self, items: list[Item]) -> list[Item]:
        if not self.filter:
            return items
        wanted = self.filter.casefold()
        return [item for item in items if wanted in (item.text or " ".join(r.plain for r in item.rows)).casefold()]

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        self.room = height
        head = self.head(view, width)
        everything = self.items(view, width - 1)
        self._made = (view, everything)
        self._items = self._kept(everything)
        if not self._items:
            self._owners = []
            if self.filter and everything:
                return [
                    *head,
                    *[row((line, "label")) for line in wrap(f"none of {len(everything)} contains “{self.filter}”", width)],
                ]
            return [*head, *self.nothing(view, width)]
        ids = [item.id for item in self._items]
        if not self._held or self.cursor not in ids:
            self.cursor, self._held = ids[0], self.has_focus and self.stays(view)
        detail = self.detail(view, self.cursor, width) if height >= self.DETAIL_FROM else []
        room = max(1, height - len(head) - (len(detail) + 1 if detail else 0))
        flat = [(item.id, item.rows, index) for item in self._items for index in range(len(item.rows))]
        chosen = "chosen" if self.has_focus else "cursor"

        def made(id: str, rows: Sequence[Row], index: int) -> Row:
            mark = chosen if id == self.cursor else ""
            sign = ("▸" if mark else " ") if index == 0 else " "
            return Row(((sign, "sign"), *rows[index].spans), mark)

        if len(flat) > room:
            places = [i for i, (owner, *_) in enumerate(flat) if owner == self.cursor]
            shown = room - 1 if room > 1 else room
            self._top = max(self._top, places[-1] - shown + 1)
            self._top = min(self._top, places[0])
            self._top = max(0, min(self._top, len(flat) - shown))
            above = len({owner for owner, *_ in flat[: self._top]} - {self.cursor})
            below = len({owner for owner, *_ in flat[self._top + shown :]} - {self.cursor})
            more = "  ".join(words for words in (f"↑ {above} more" if above else "", f"↓ {below} more" if below else "") if words)
            body = [made(*line) for line in flat[self._top : self._top + shown]]
            self._owners = [""] * len(head) + [owner for owner, *_ in flat[self._top : self._top + shown]]
            if room > 1:
                body.append(row((f" {more}", "label")))
        else:
            self._top = 0
            body = [made(*line) for line in flat]
            self._owners = [""] * len(head) + [owner for owner, *_ in flat]
        if detail:
            body += [Row()] * (room - len(body)) + [row(("─" * width, "label"))] + detail
        return [*head, *body]

    def action_move(self, by: int) -> None:
        ids = [item.id for item in self._items]
        if not ids:
            return
        at = ids.index(self.cursor) if self.cursor in ids else 0
        self._go(ids[max(0, min(len(ids) - 1, at + by))])

    def first(self) -> None:
        self.action_move(-9999)

    def hold(self, id: str) -> None:
        """Stay on this entry whatever comes before it, as if it had been chosen by hand."""
        self.cursor, self._held = id, True
        self.aim.trust()

    def _choose(self, id: str) -> None:
        if id:
            self.hold(id)
            self.redraw()
            self.post_message(self.Moved())

    def _go(self, id: str) -> None:
        """As chosen with a key or a wheel: whoever does that sees it move."""
        self.steady.trust()
        self._choose(id)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-1)

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        came, self._tapped_from_outside = self._tapped_from_outside, False
        if place is None or not 0 <= place.y < len(self._owners):
            return
        owner = self._owners[place.y]
        if not self.steady.holds(place.y):
            self.post_message(self.TooSoon())
            return
        if owner and owner == self.cursor and not came:
            self.post_message(self.Opened())
        self._choose(owner)
