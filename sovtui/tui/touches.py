"""Which touch targets the key bar and the tabs offer, and where. Pure.

A place belongs to an action: to the same one in every state of the host. What can not be done now is shown as off where it is
otherwise. Only the last places are for what the pane in front can do; they change with the pane, and with nothing else, except that
the log's place is that of cancelling while something runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from sovtui.actions import all_specs
from sovtui.core.modes import hot_modes, switchable
from sovtui.core.state import Host
from sovtui.tui.arrange import ORDER
from sovtui.tui.keymap import LOCAL, NONE, SCREEN, SHORT, Key, key_of
from sovtui.tui.panes.base import Pane, View
from sovtui.tui.present import cell_len, cut, tell_apart
from sovtui.tui.widgets.keybar import Touch

MORE = Touch("more", "≡", "more", weight=99)
"""The way to everything that has no room."""
BLANK = Touch("", "", "")
CANCEL = "cancel"
BELONGS: Mapping[str, Sequence[str]] = {
    "memory": ("drop-caches",),
    "services": ("open", "restart", "filter", "logs"),
    "alerts": ("open", "acknowledge", "filter", "unacknowledge"),
    "backups": ("open", "backup"),
    "actions": ("open", "cancel", "filter"),
    "log": ("pause", "wrap", "filter", "fold", "last-error", "action-start"),
}
"""What is about the pane in front."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that is for one thing in each pane."""

    usual: str
    panes: Mapping[str, str]
    """Where it is for something else: an empty text for nothing."""


LOOK = Slot("logs", {"log": "pause"})
"""Looks only, whatever the pane; while something runs that can be cancelled, this is where."""
ONLY = Slot("logs", {"services": "restart", "alerts": "acknowledge", "backups": "open", "actions": "open", "log": "pause"})
"""In its place where there is no other for the pane in front: looks only, or asks."""
SLOTS = (
    Slot("drop-caches", {"services": "restart", "alerts": "acknowledge", "backups": "backup", "actions": "open", "log": "wrap"}),
    Slot("issues", dict.fromkeys(("services", "alerts", "backups", "actions"), "open") | {"log": "fold"}),
    Slot("travel", dict.fromkeys(("services", "alerts", "actions", "log"), "filter")),
    Slot("acknowledge", {"log": "last-error"}),
    Slot("backup", {"alerts": "unacknowledge", "log": "action-start"}),
    Slot("host", {}),
    Slot("metered", {}),
    Slot("link", {}),
)
"""What there is no room for is left out from the end. What a later one is for is in that one's place, if it is there."""
LABEL_CELLS = 9
MODE_CELLS = (9, 8, 7, 6)
"""Of the names of modes on a row of words, where more of them fit so."""
FULL_TITLES_FROM = 77


@cache
def _known() -> Mapping[str, tuple[str, str]]:
    """Id to its key, if nobody has given it another, and its short word: of all actions and keys of the screen and of panes."""
    found = {spec.id: (spec.key, SHORT.get(spec.id, spec.id.split("-")[0])) for spec in all_specs().values()}
    found |= {id: (key, title) for id, key, title, _ in SCREEN}
    return found | {id: (key, title) for _, id, key, title, _ in LOCAL}


def _label(id: str) -> str:
    return cut(_known()[id][1].lower(), LABEL_CELLS)


def _default_key(id: str) -> str:
    return _known()[id][0]


class _Bar:
    """The targets of one host and one pane."""

    def __init__(self, keys: Iterable[Key], view: View, current: str) -> None:
        self._keys = tuple(keys)
        self._view, self._current = view, current
        self._hot = [mode.name for mode in hot_modes(view.host)] if view.host else []

    def modes(self, cells: int = LABEL_CELLS) -> list[Touch]:
        """In their order, and `none`."""
        host, view = self._view.host, self._view
        if host is None or view.state.read_only or not switchable(host.spec):
            return []
        names = (*(mode.name for mode in host.spec.modes), NONE)
        labels = tell_apart(names, cells)
        default = {mode.name: mode.key for mode in host.spec.modes} | {NONE: "0"}
        return [self._touch("switch", default[name], labels[name], name) for name in names]

    def slots(self, there: Sequence[Slot]) -> list[Touch]:
        """What each of these is for, in the pane in front."""
        usual, found = {slot.usual for slot in there}, []
        for index, slot in enumerate(there):
            id = slot.panes.get(self._current, slot.usual)
            elsewhere = usual | {later.panes.get(self._current, "") for later in there[index + 1 :]}
            found.append(self.of(slot.usual if id in elsewhere else id))
        return found

    def of(self, id: str) -> Touch:
        """One of the actions or of the screen's keys, in the place that is its own."""
        if not self.possible(id):
            return BLANK
        return self._touch(id, key_of(id, _default_key(id), self._view.config.screen.keys), _label(id))

    def look(self, slot: Slot) -> Touch:
        """Cancelling while something runs that can be cancelled, else what the slot is for."""
        if any(key.id == CANCEL and not key.refused for key in self._keys):
            return replace(self.of(CANCEL), current=True)
        return self.of(slot.panes.get(self._current, slot.usual))

    def _touch(self, id: str, default: str, label: str, target: str = "") -> Touch:
        key = next((key for key in self._keys if key.id == id and (not target or key.target == target)), None)
        if key is None:
            return Touch(id, default or "·", label, enabled=False)
        lit = id == "switch" and key.target in self._hot
        return Touch(key.name, key.key or "·", label, not key.refused, lit)

    def possible(self, id: str) -> bool:
        """Whether it can ever be done on this host, so that its place is kept."""
        spec, host, view = all_specs().get(id), self._view.host, self._view
        if spec is None:
            return id != "host" or len(view.state.hosts) > 1
        if host is None or (spec.dangerous and view.state.read_only):
            return False
        return id == CANCEL or _kinds(host, view).get(spec.target, False)


def _kinds(host: Host, view: View) -> dict[str, bool]:
    return {
        "": host.spec.role == "box" or bool(host.spec.modes),
        "service": bool(host.services or host.spec.services),
        "backup": bool(host.backups or host.spec.backups),
        "alert": view.config.alertmanager is not None,
    }


def tile_touches(keys: Iterable[Key], view: View, current: str, columns: int, rows: int) -> list[Touch]:
    """As many tiles as there are places: the modes from the first one on, the pane's own, and at the end log or cancel, and the menu."""
    bar, count = _Bar(keys, view, current), columns * rows
    modes = bar.modes()[: max(0, count - (2 if rows == 1 else 3))]
    there = [slot for slot in SLOTS if bar.possible(slot.usual) or slot.panes][: max(0, count - 2 - len(modes))]
    free = [BLANK] * (count - 2 - len(modes) - len(there))
    return [*modes, *bar.slots(there), *free, bar.look(LOOK if there else ONLY), MORE]


def line_touches(keys: Iterable[Key], view: View, current: str, width: int) -> list[Touch]:
    """A row of words: modes, what there is room for, log or cancel, help and the menu. Each has the width of the longest it may say."""
    bar = _Bar(keys, view, current)
    touches, slots = max((_line(bar, view, width, LOOK, cells) for cells in MODE_CELLS[:2]), key=lambda found: len(found[0]))
    touches = touches if slots else _line(bar, view, width, ONLY)[0]
    modes = sum(touch.id.startswith("switch") for touch in touches)
    if modes > 1 and _sum(touches) + modes - 1 <= width:  # where there is no room: all of them are off at once, read as a list
        touches[: modes - 1] = [_wider(touch) for touch in touches[: modes - 1]]
    return touches


def _line(bar: _Bar, view: View, width: int, last: Slot, most: int = LABEL_CELLS) -> tuple[list[Touch], bool]:
    """`last` is what there is beside cancelling. `most`: cells of a mode's name. Also whether the first of the slots has room."""
    look = replace(bar.look(last), cells=_widest((CANCEL, last.usual, *last.panes.values()), view))
    names = [cells for cells in MODE_CELLS if cells <= most]
    room = width - (last is ONLY)  # it may be off
    ends = [look, bar.of("help"), MORE], [look, MORE]
    tries = ((end, bar.modes(cells)) for end in ends for cells in names)
    end, modes = next((found for found in tries if _sum(found[0]) + _sum(found[1]) <= room), (ends[-1], bar.modes()))
    room -= _sum(end)
    while _sum(modes) > room:
        modes.pop()
    room -= _sum(modes)
    if last is ONLY and modes:
        modes[-1] = _wider(modes[-1])
    there: list[tuple[Slot, int]] = []
    apart: list[int] = []
    """Of these, a cell is before them."""
    for slot in SLOTS if last is LOOK else ():
        ids = [id for id in (slot.usual, *slot.panes.values()) if bar.possible(id)]
        if not ids:
            continue
        cells = _widest(ids, view)
        gap = _runs_together(there[-1] if there else None, slot, view)
        if cells + gap <= room:
            apart += [len(there)] * gap
            there.append((slot, cells))
            room -= cells + gap
    slots = [replace(touch, cells=cells) for touch, (_, cells) in zip(bar.slots([slot for slot, _ in there]), there, strict=True)]
    found = [*modes, *slots]
    for index in apart:
        if before := len(modes) + index:
            found[before - 1] = _wider(found[before - 1])
    return [*found, *end], any(slot is SLOTS[0] for slot, _ in there)


def _runs_together(before: tuple[Slot, int] | None, slot: Slot, view: View) -> int:
    """1 where what is before a slot (without one: a mode) may be as wide as its place while the slot says `(a)ack`, else 0."""

    def said(slot: Slot, pane: str) -> str:
        return slot.panes.get(pane, slot.usual)

    for pane in ORDER:
        if said(slot, pane) in all_specs() and (before is None or _widest((said(before[0], pane),), view) >= before[1]):
            return 1
    return 0


def _wider(touch: Touch) -> Touch:
    """With a cell between it and the next."""
    return replace(touch, cells=_cells(touch) + 1)


def _sum(touches: Sequence[Touch]) -> int:
    return sum(map(_cells, touches))


def _cells(touch: Touch) -> int:
    return touch.cells or cell_len(touch.key) + cell_len(touch.label) + 2


def _widest(ids: Iterable[str], view: View) -> int:
    keys = view.config.screen.keys
    return max(cell_len(key_of(id, _default_key(id), keys) or "·") + cell_len(_label(id)) + 2 for id in ids)


def tab_touches(panes: Mapping[str, Pane], view: View, current: str, width: int) -> list[Touch]:
    """One tab per pane, with a badge where there is something to tell."""
    return [
        Touch(name, "", pane.SHORT if width < FULL_TITLES_FROM else pane.TITLE, current=name == current, badge=pane.badge(view))
        for name, pane in panes.items()
    ]
