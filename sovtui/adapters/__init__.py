"""What speaks to the outside: links, services, figures, engines, alerts, backups. Nothing above knows their libraries."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

# httpx's command line, which nobody calls here, would bring click and half of Rich along where they are installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


class _OnceNeeded(ModuleType):
    """Stands for a module until something of it is looked at. (The standard library's LazyLoader loads at the second `import`.)"""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # who looks through all modules needs nothing of this one
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = importlib.import_module(self.__name__)
        vars(self).update(vars(real))
        return getattr(real, name)


# httpcore names it for its locks, of which `links._http_locks` has others: over a link nothing of it is needed.
sys.modules.setdefault("anyio", _OnceNeeded("anyio"))
