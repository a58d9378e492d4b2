"""Adapters found by their file's name: listing names imports nothing, loading one imports one."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path
from typing import Any

from sovtui.adapters.engines.base import EngineAdapter

_SHARED = frozenset({"base", "scrape", "watch"})
"""Files among the engines that are not one."""
_GROUP = "sovtui.engines"
"""Entry points for engines that live elsewhere; asked only for a name that is not found here."""


def engine_names() -> tuple[str, ...]:
    """The engines that come with the package."""
    folder = Path(__file__).parent / "engines"
    return tuple(sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if m.name not in _SHARED and m.name[0] != "_"))


def load_engine(name: str) -> EngineAdapter:
    """The engine of that name. Raises `LookupError` with a sentence that names the nearest."""
    names = engine_names()
    found: Any = None
    if name in names:
        found = importlib.import_module(f"sovtui.adapters.engines.{name}").ENGINE
    else:
        from importlib.metadata import entry_points  # looking through all that is installed: 50 ms and 2 MiB

        found = next((entry.load() for entry in entry_points(group=_GROUP, name=name)), None)
    if found is None:
        near = difflib.get_close_matches(name, names, 1)
        raise LookupError(
            f"there is no engine {name!r}; {f'did you mean {near[0]!r}?' if near else 'there are ' + ', '.join(names)}"
        )
    if not isinstance(found, EngineAdapter):
        raise LookupError(f"the engine {name!r} does not offer what an engine must")
    return found


def load_engines(names: set[str] | frozenset[str]) -> dict[str, EngineAdapter]:
    """Those of `names` that exist; the others are left to the configuration's own check."""
    loaded = {}
    for name in sorted(names):
        try:
            loaded[name] = load_engine(name)
        except LookupError:
            continue
    return loaded
