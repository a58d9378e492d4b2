"""Takes the lock: one action per box, over all users. `lock` tells who holds it.

Users meet at one file: in /run/lock where everybody may write there, and in /tmp. What a neighbour puts there instead (a pipe, a folder,
a link, a file of his own), or holds, is passed over and told, never waited for: only root, this user and who may become root counts.
So that nobody can lead two actions to different locks in that way, each takes all that it can, first one in its user's home that no
neighbour reaches; and it looks for the runners of other users themselves. One of a user of whom nobody knows what he may do is asked about.
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
from sovtui.onbox.lock import Unfit, counts, is_operator, neighbours, open_, own, shared


class Held:
    """The lock, while this object lives."""

    def __init__(self, descriptors: dict[str, int], passed: list[str]) -> None:
        self._descriptors = descriptors
        self.beside: Optional[dict[str, Any]] = None
        """The action that somebody runs who does not count: `who, id, kind`."""
        self.passed = passed
        """Places that were passed over, in sentences."""

    def tell(self, info: dict[str, Any]) -> None:
        """Say who holds it and where it is."""
        data = json.dumps(info).encode()[:4000]
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):
                os.pwrite(descriptor, data, 0)
                os.ftruncate(descriptor, len(data))

    def release(self) -> None:
        """An operator's file stays; of whoever else it would only be in the way of the others."""
        for path, descriptor in self._descriptors.items():
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                if path in shared() and not is_operator(os.geteuid()) and os.fstat(descriptor).st_uid == os.geteuid():
                    os.unlink(path)  # who has it open already sees that it is gone
            os.close(descriptor)


def take(patience: float = 0.6) -> Optional[Held]:
    """Take the lock; None if somebody holds it who counts. Tries for a moment, because a look at it holds it for an instant too."""
    end = time.monotonic() + patience
    with contextlib.suppress(OSError):
        os.makedirs(box.state(), 0o700, exist_ok=True)
    held = Held({}, [])
    for path in (own(), *shared()):
        try:
            descriptor = _take(path, end)
        except Unfit as why:
            held.passed.append(f"the lock {path} is passed over: {why}")
            continue
        if descriptor is None:
            held.release()
            return None
        held._descriptors[path] = descriptor
    found = runners()
    if found.get(True):
        held.release()
        return None
    held.beside = found.get(False)
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


def runners() -> dict[bool, dict[str, Any]]:
    """An action of another user that began before this process, by its runner: seen though no lock is common. True: of one who counts.

    What runs in a container is on another host, which has processes of its own. One in no home of its user's is none that takes this lock.
    """
    found: dict[bool, dict[str, Any]] = {}
    if os.environ.get("SOVTUI_LOCK"):
        return found
    mine = (_began(os.getpid()), os.getpid())
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
            uid = os.stat(f"/proc/{pid}").st_uid
            words = box.read(f"/proc/{pid}/cmdline", 4096).split("\0")
            runs = len(words) == 5 and words[2] == words[3] + "/runner.py" and words[3].startswith(pwd.getpwuid(uid).pw_dir + "/")
            inner = runs and any(
                len(x.split()) > 2 for x in box.read(f"/proc/{pid}/status").splitlines() if x.startswith("NSpid:")
            )
            if runs and not inner and uid != os.geteuid() and (_began(pid), pid) < mine:
                action = os.path.basename(words[3])[:100]
                found[counts(uid)] = {"who": _name(uid), "id": action, "kind": action.partition("-")[2].rpartition("-")[0]}
    return found


def question(beside: dict[str, Any]) -> str:
    """What is asked of an action beside one that may be an operator's or a neighbour's make-believe."""
    return (
        f"{beside['who']} runs {beside['kind'] or 'an action'} ({beside['id']}) on this host, and is not known as an operator here "
        "(root, or in group sudo, wheel, admin or sovtui). Nothing was touched; confirm it to go on"
    )


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
