"""A scene in a process and a network of its own: what looks at every port of a machine must not meet the servers of other tests.

`apart(scene, folder)` runs a function of a test module there and passes on how it ended. Where no network can be made (no right to)
it runs in the machine's own. Run as a program it is the other side.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import inspect
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
SECONDS = 240.0


@cache
def own_network() -> tuple[str, ...]:
    """What stands before a command that is to have a network of its own."""
    if shutil.which("unshare") is None:
        return ()
    for words in (("unshare", "-n", "--"), ("unshare", "-r", "-n", "--")):
        if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            return words
    return ()


def apart(scene: Callable[[Path], Any], folder: Path, **env: str) -> str:
    """Run it; what it printed. AssertionError with its traceback if it failed."""
    argv = [*own_network(), sys.executable, "-m", "tests.fakes.apart", scene.__module__, scene.__name__, str(folder)]
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", "")}
    home["XDG_CACHE_HOME"] = home["XDG_CACHE_HOME"] or str(Path("~/.cache").expanduser())
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **home, **env})
    assert done.returncode == 0, f"{scene.__name__}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def _loopback_up() -> None:
    """A new network has its loopback, but off."""
    with socket.socket() as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def main(module: str, name: str, folder: str) -> None:
    if own_network():
        _loopback_up()
    scene = getattr(importlib.import_module(module), name)
    made = scene(Path(folder))
    if inspect.isawaitable(made):
        asyncio.run(_wait(made))


async def _wait(made: Any) -> None:
    await made


if __name__ == "__main__":
    main(*sys.argv[1:4])
