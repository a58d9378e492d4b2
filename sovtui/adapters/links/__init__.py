"""How a host is reached: one file per kind of link, found by its name.

A link is a module here with a class `Dialer(host, address, …)`. To add one, add its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, cast

from sovtui.ports.link import Dialer


def dialer_for(kind: str, host: str, address: str = "", **words: Any) -> Dialer:
    """Return the dialer of `host`; `words` are what its kind takes besides. Raises `ValueError` for a kind that no file here makes, or an address it cannot read."""
    module = None
    if kind.isidentifier() and not kind.startswith("_"):
        try:
            module = importlib.import_module(f"{__name__}.{kind}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{kind}":
                raise
    if module is None or not hasattr(module, "Dialer"):
        raise ValueError(f"no link is called {kind!r}; there are: {', '.join(kinds())}")
    return cast(Dialer, module.Dialer(host, address, **words))


def kinds() -> list[str]:
    """The words that `dialer_for` knows."""
    names = sorted(entry.name for entry in pkgutil.iter_modules(__path__) if not entry.name.startswith("_"))
    return [name for name in names if hasattr(importlib.import_module(f"{__name__}.{name}"), "Dialer")]
