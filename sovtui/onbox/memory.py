"""Import this package from memory: the loader sends its sources, nothing is written to disk. Knows nothing of the rest."""

from __future__ import annotations

import base64
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

payload: bytes = b""
"""The compressed sources as they came; `launch` writes them into the runner. Empty where the package is installed."""


class _Finder(MetaPathFinder, Loader):
    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources
        self._packages = {name.rpartition(".")[0] for name in sources}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname in self._sources:
            return spec_from_loader(fullname, self, is_package=fullname in self._packages)
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        exec(compile(self._sources[name], f"<{name}>", "exec"), module.__dict__)


def install(sources: dict[str, str], blob: bytes) -> None:
    """From now on `sovtui.*` comes from `sources`."""
    sys.meta_path.insert(0, _Finder(sources))
    from sovtui.onbox import memory

    memory.payload = blob


def as_file(blob: bytes) -> str:
    """A Python file that runs the action in the directory given as its argument; with `release`, only lets go what it held."""
    return (
        "import base64, json, sys, zlib\n"
        f'blob = base64.b64decode("{base64.b64encode(blob).decode()}")\n'
        "sources, space = json.loads(zlib.decompress(blob)), {}\n"
        'exec(sources["sovtui.onbox.memory"], space)\n'
        'space["install"](sources, blob)\n'
        "from sovtui.onbox import runner\n"
        "runner.main(*sys.argv[1:])\n"
    )
