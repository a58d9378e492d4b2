"""Letters to jump by: one per pane, always the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sovtui.tui.panes.base import Pane
from sovtui.tui.widgets.keybar import Touch


def letters(names: Iterable[str], taken: str = "") -> dict[str, str]:
    """Letter to name: the first letter of each name that none before it has; `taken` is kept free."""
    found: dict[str, str] = {}
    for name in names:
        letter = next((c for c in (*name, *"xyzvwuqrst") if c.isalpha() and c not in found and c not in taken), "")
        if letter:
            found[letter] = name
    return found


STAY = Touch("", "esc", "stay", weight=1)


def jump_touches(by_letter: Mapping[str, str], panes: Mapping[str, Pane], current: str) -> list[Touch]:
    """The key bar while a letter is asked for."""
    return [*(Touch(n, letter, panes[n].TITLE.lower(), current=n == current) for letter, n in by_letter.items()), STAY]


def jump_tabs(by_letter: Mapping[str, str], tabs: Iterable[Touch]) -> list[Touch]:
    """The tabs while a letter is asked for: each shows its own instead of what it has to tell."""
    by_name = {name: letter for letter, name in by_letter.items()}
    return [replace(tab, key=by_name.get(tab.id, ""), badge=(f" {by_name.get(tab.id, '')} ", "key")) for tab in tabs]
