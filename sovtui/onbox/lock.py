"""One action per box, over all users: an flock held by the runner for its life. The file says who, since when, at which step.

Every user must come to the same path, or there would be two locks: /run/lock where everybody may write there, else /tmp.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from typing import Any

NAME = "sovtui.lock"


def path() -> str:
    override = os.environ.get("SOVTUI_LOCK")
    if override:
        return override
    with contextlib.suppress(OSError):
        if os.stat("/run/lock").st_mode & stat.S_IWOTH:
            return "/run/lock/" + NAME
    return "/tmp/" + NAME


def _open(create: bool) -> int | None:
    """The lock's descriptor. First without O_CREAT: with it, fs.protected_regular refuses another user's file in a sticky directory."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    for extra in (0, os.O_CREAT | os.O_EXCL, 0):
        if extra and not create:
            return None
        try:
            descriptor = os.open(path(), flags | extra, 0o666)
        except (FileNotFoundError, FileExistsError):
            continue
        if extra:
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, 0o666)
        return descriptor
    return None


class Held:
    """The lock, while this object lives."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, info: dict[str, Any]) -> None:
        """Say who holds it and where it is."""
        data = json.dumps(info).encode()[:4000]
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, data, 0)
            os.ftruncate(self._descriptor, len(data))

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def take(patience: float = 0.6) -> Held | None:
    """Take the lock; None if somebody holds it. Tries for a moment, because a look at it holds it for an instant too."""
    end = time.monotonic() + patience
    while True:
        descriptor = _open(create=True)
        if descriptor is None:
            raise OSError(f"the lock {path()} cannot be opened")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            with contextlib.suppress(OSError):
                mine, there = os.fstat(descriptor), os.stat(path())
                if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                    return Held(descriptor)
            os.close(descriptor)  # somebody removed the file in between
        if time.monotonic() > end:
            return None
        time.sleep(0.02)


def holder() -> dict[str, Any] | None:
    """Who holds the lock: `who, id, kind, target, since, step`, as far as it is told; None if nobody does."""
    try:
        descriptor = os.open(path(), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        return _parse(os.pread(descriptor, 4096, 0))
    finally:
        os.close(descriptor)


def _parse(data: bytes) -> dict[str, Any]:
    """Anybody may have written there: only short texts are taken over. The end of what stood there before may not be cut off yet."""
    try:
        raw = json.JSONDecoder().raw_decode(data.decode())[0]
        names = ("who", "id", "kind", "target", "since", "step")
        return {name: raw[name][:300] for name in names if isinstance(raw.get(name), str)}
    except (ValueError, AttributeError, TypeError):
        return {}
