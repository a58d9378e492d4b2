"""Takes the lock: one action per box, over all users. `lock` tells who holds it.

Every user must come to the same file: in /run/lock where everybody may write there, and in /tmp. What another user puts there instead (a
pipe, a folder, a link, a file of his own), or whom he lets hold it, is passed over and told, never waited for: only root, this user and
who may become root counts. So that nobody can lead two actions to different locks in that way, each takes all that it can, and first one
that no neighbour reaches, in its user's home; and it looks for the runners of the others themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import stat
import time
from typing import Any, Optional

from sovtui.onbox import box
from sovtui.onbox.lock import Unfit, counts, neighbours, open_, own, shared


class Held:
    """The lock, while this object lives."""

    def __init__(self, descriptors: list[int], passed: list[str]) -> None:
        self._descriptors = descriptors
        self.passed = passed
        """Places that were passed over, in sentences."""

    def tell(self, info: dict[str, Any]) -> None:
        """Say who holds it and where it is."""
        data = json.dumps(info).encode()[:4000]
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.pwrite(descriptor, data, 0)
                os.ftruncate(descriptor, len(data))

    def release(self) -> None:
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def take(patience: float = 0.6) -> Optional[Held]:
    """Take the lock; None if somebody holds it who counts. Tries for a moment, because a look at it holds it for an instant too."""
    end = time.monotonic() + patience
    with contextlib.suppress(OSError):
        os.makedirs(box.state(), 0o700, exist_ok=True)
    held = Held([], [])
    for path in (own(), *shared()):
        try:
            descriptor = _take(path, end)
        except Unfit as why:
            held.passed.append(f"the lock {path} is passed over: {why}")
            continue
        if descriptor is None:
            held.release()
            return None
        held._descriptors.append(descriptor)
    if rival() is not None:
        held.release()
        return None
    if not held._descriptors:
        raise OSError("; ".join(held.passed))
    return held


def _take(path: str, end: float) -> Optional[int]:
    while True:
        descriptor = _opened(path)
        late = time.monotonic() > end
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            others = neighbours(descriptor) if late else set()
            os.close(descriptor)
            if not isinstance(problem, BlockingIOError):
                raise Unfit(problem.strerror) from None
            if others:
                raise Unfit(f"{', '.join(map(_name, sorted(others)))} holds it, who is no operator") from None
        else:
            with contextlib.suppress(OSError):
                mine, there = os.fstat(descriptor), os.stat(path)
                if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                    return descriptor
            os.close(descriptor)  # somebody removed the file in between
        if late:
            return None
        time.sleep(0.02)


def rival() -> Optional[dict[str, Any]]:
    """Another operator's action that runs, by its process, where that began before ours: seen though no lock is common to both."""
    if os.environ.get("SOVTUI_LOCK"):
        return None
    mine = (_began(os.getpid()), os.getpid())
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError, ValueError):
            uid = os.stat(f"/proc/{pid}").st_uid
            words = box.read(f"/proc/{pid}/cmdline", 4096).split("\0")
            runs = len(words) == 5 and words[2].endswith("/runner.py") and os.path.dirname(words[2]) == words[3]
            if runs and uid != os.geteuid() and counts(uid) and (_began(pid), pid) < mine:
                action = os.path.basename(words[3])
                return {"who": _name(uid), "id": action, "kind": action.partition("-")[2].rpartition("-")[0]}
    return None


def _began(pid: int) -> int:
    """Ticks since boot."""
    return int(box.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])


def _opened(path: str) -> int:
    """First without O_CREAT: with it, fs.protected_regular refuses another user's file in a sticky directory."""
    try:
        descriptor = open_(path, os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR, os.O_RDONLY)
        if descriptor is None:
            raise Unfit("it cannot be made")
    except Unfit as why:
        raise Unfit(_what(path) or str(why) or "it is no file of its own") from None
    with contextlib.suppress(OSError):
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600 if path == own() else 0o666)  # whatever the umask took
    return descriptor


def _what(path: str) -> str:
    """What is wrong with it, in words; empty: nothing that can be seen."""
    try:
        seen = os.lstat(path)
    except OSError:
        return ""
    kinds = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISREG, ""))
    kind = next((name for test, name in kinds if test(seen.st_mode)), "no plain file")
    owner = "" if counts(seen.st_uid) else f"it belongs to {_name(seen.st_uid)}, who is no operator"
    return " and ".join(filter(None, (f"it is {kind}" if kind else "", owner)))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
