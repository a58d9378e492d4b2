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
    "travel": 4,
}
"""What stays on a key bar that is too short for all; 3 for what is not here."""
BELONGS: Mapping[str, Sequence[str]] = {
    "memory": ("drop-caches",),
    "services": ("restart", "logs", "filter"),
    "alerts": ("acknowledge", "unacknowledge", "filter"),
    "backups": ("backup",),
    "log": ("filter",),
}
"""Actions that come first on a phone while their pane is in front."""
LABEL_CELLS = 9
FULL_TITLES_FROM = 77


def key_touches(keys: Iterable[Key], view: View, current: str, *, thumbs: bool) -> list[Touch]:
    """The key bar. On a phone the mode that is hot needs no target: there is nothing to switch."""
    hot = [mode.name for mode in hot_modes(view.host)] if view.host else []
    touches = []
    for key in keys:
        lit = key.id == "switch" and key.target in hot
        if key.id in ("zoom", "palette") or (lit and thumbs and len(hot) == 1):
            continue
        shown = f"({key.key})" if key.refused else key.key or "·"
        label = cut(key.title.lower(), LABEL_CELLS)
        touches.append(Touch(key.name, shown, label, not key.refused, lit, weight=WEIGHTS.get(key.id, 3)))
    if thumbs:
        first = BELONGS.get(current, ())
        touches.sort(key=lambda touch: touch.id.split()[0] not in first)
    return [*touches, MORE]


def tab_touches(panes: Mapping[str, Pane], view: View, current: str, width: int) -> list[Touch]:
    """One tab per pane, with a badge where there is something to tell."""
    return [
        Touch(name, "", pane.SHORT if width < FULL_TITLES_FROM else pane.TITLE, current=name == current, badge=pane.badge(view))
        for name, pane in panes.items()
    ]
