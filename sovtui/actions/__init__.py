"""Actions: one file each. Found by its file name; there is no list to edit."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from sovtui.actions.spec import Spec


@cache
def all_specs() -> dict[str, Spec]:
    """Every action's SPEC by its id, in footer order."""
    specs = []
    for info in pkgutil.iter_modules(__path__):
        spec = getattr(importlib.import_module(f"{__name__}.{info.name}"), "SPEC", None)
        if isinstance(spec, Spec):
            specs.append(spec)
    return {spec.id: spec for spec in sorted(specs, key=lambda s: (s.order, s.id))}
