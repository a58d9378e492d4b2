"""Panes: one file each, named after it. Found by `arrange.ORDER`, and the one that stands in for the first; each gets its data through `view` alone."""

from __future__ import annotations

import importlib
from functools import cache

from sovtui.tui.arrange import HOST, ORDER
from sovtui.tui.panes.base import Pane


@cache
def pane_classes() -> dict[str, type[Pane]]:
    """Every pane's class by its name, in order."""
    found = {}
    for name in (*ORDER, HOST):
        module = importlib.import_module(f"{__name__}.{name}")
        found[name] = getattr(module, f"{name.capitalize()}Pane")
    return found
