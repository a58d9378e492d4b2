"""Which touch targets the key bar and the tabs offer, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sovtui.core.modes import hot_modes
from sovtui.tui.keymap import Key
from sovtui.tui.panes.base import Pane, View
from sovtui.tui.present import cut
from sovtui.tui.widgets.keybar import Touch

MORE = Touch("more", "≡", "more", weight=99)
"""The way to everything that has no room."""
WEIGHTS = {
    "switch": 9,
    "help": 8,
    "drop-caches": 7,
    "acknowledge": 6,
    "unacknowledge": 6,
    "logs": 5,
    "backup": 4,
    "quit": 3,
    "host": 1,
    "issues": 4,
    "link": 1,
    "metered": 0,
    "copy": 2,
    "travel": 4,
}
"""What stays on a key bar that is too short for all; 3 for what is not here."""
BELONGS: Mapping[str, Sequence[str]] = {
    "memory": ("drop-caches",),
    "services": ("open", "restart", "logs", "filter"),
    "alerts": ("acknowledge", "unacknowledge", "open", "filter"),
    "backups": ("open", "backup"),
    "actions": ("open", "filter"),
    "log": ("pause", "filter", "wrap", "fold", "last-error", "action-start"),
}
"""What comes first while its pane is in front, after the modes; on a phone before them."""
ELSEWHERE = ("zoom", "palette", "jump", "load", "pin", "unload", "free")
"""Not on the key bar."""
LABEL_CELLS = 9
FULL_TITLES_FROM = 77


def key_touches(keys: Iterable[Key], view: View, current: str, *, phone: bool) -> list[Touch]:
    """The key bar for the pane in front. On a phone the mode that is hot needs no target: there is nothing to switch."""
    first = BELONGS.get(current, ())
    hot = [mode.name for mode in hot_modes(view.host)] if view.host else []
    touches = []
    for key in keys:
        lit = key.id == "switch" and key.target in hot
        if key.id in ELSEWHERE or (key.id == "open" and "open" not in first) or (lit and phone and len(hot) == 1):
            continue
        shown = f"({key.key})" if key.refused else key.key or "·"
        label = cut(key.title.lower(), LABEL_CELLS)
        weight = (10 if phone else 8) if key.id in first else WEIGHTS.get(key.id, 3)
        touches.append(Touch(key.name, shown, label, not key.refused, lit, weight=weight))

    def place(touch: Touch) -> tuple[bool, int]:
        id = touch.id.split()[0]
        return not phone and id != "switch", first.index(id) if id in first else len(first)

    return [*sorted(touches, key=place), MORE]


def tab_touches(panes: Mapping[str, Pane], view: View, current: str, width: int) -> list[Touch]:
    """One tab per pane, with a badge where there is something to tell."""
    return [
        Touch(name, "", pane.SHORT if width < FULL_TITLES_FROM else pane.TITLE, current=name == current, badge=pane.badge(view))
        for name, pane in panes.items()
    ]
