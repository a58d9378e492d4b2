"""Who holds the box: one action at a time, over all users, by flocks that its runner holds for its life (`locking`).

The files say who, since when, at which step. What another user puts in their place, or holds, is passed over: only root, this user and
who may become root counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import json
import os
import pwd
import stat
from typing import Any, Optional

from sovtui.onbox import box

NAME = "sovtui.lock"
GROUPS = ("sudo", "wheel", "admin", "sovtui")
"""Whose members are operators. The last one is for those who have only single lines of sudoers."""
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def shared() -> list[str]:
    """Where all users meet, in their order."""
    override = os.environ.get("SOVTUI_LOCK")
    if override:
        return [override]
    with contextlib.suppress(OSError):
        if os.stat("/run/lock").st_mode & stat.S_IWOTH:
            return ["/run/lock/" + NAME, "/tmp/" + NAME]
    return ["/tmp/" + NAME]


def own() -> str:
    """This user's own; a home may be shared by several machines."""
    return os.path.join(box.state(), f"lock-{os.uname().nodename}")


def counts(uid: int) -> bool:
    """Whether this user's lock is one: root's, ours, an operator's."""
    return uid == os.geteuid() or is_operator(uid)


def is_operator(uid: int) -> bool:
    """Root, and who may become root as far as groups tell."""
    if uid == 0:
        return True
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(uid)
        for name in GROUPS:
            with contextlib.suppress(KeyError):
                group = grp.getgrnam(name)
                if user.pw_gid == group.gr_gid or user.pw_name in group.gr_mem:
                    return True
    return False


class Unfit(Exception):
    """What lies there is no lock. The error, if it was one."""


def open_(path: str, *how: int) -> Optional[int]:
    """The lock's descriptor, opened in the first of these ways that works, without waiting. None: it is not there."""
    for flags in how:
        try:
            descriptor = os.open(path, flags | _FLAGS, 0o600 if path == own() else 0o666)
        except (FileNotFoundError, FileExistsError):
            continue
        except OSError as problem:
            if problem.errno == errno.EACCES and flags != os.O_RDONLY:
                continue  # root's, to be read only
            raise Unfit(problem.strerror) from None
        seen = os.fstat(descriptor)
        if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and counts(seen.st_uid):
            return descriptor
        os.close(descriptor)
        raise Unfit
    return None


def _holders(descriptor: int) -> set[int]:
    """The users whose processes hold it, by the kernel; empty where that cannot be seen."""
    seen, found = os.fstat(descriptor), set()
    file = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}:{seen.st_ino}"
    for line in box.read("/proc/locks").splitlines():
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[5:6] == [file]:
            with contextlib.suppress(OSError):
                found.add(os.stat("/proc/" + words[4]).st_uid)
    return found


def neighbours(descriptor: int) -> set[int]:
    """Who holds it, where none of them counts."""
    found = _holders(descriptor)
    return set() if any(counts(uid) for uid in found) else found


def holder() -> Optional[dict[str, Any]]:
    """Who holds the lock: `who, id, kind, target, since, step`, as far as it is told; None if nobody does."""
    for path in (own(), *shared()):
        with contextlib.suppress(OSError, Unfit):
            descriptor = open_(path, os.O_RDONLY)
            if descriptor is None:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                if not neighbours(descriptor):
                    return _parse(os.pread(descriptor, 4096, 0))
            finally:
                os.close(descriptor)
    return None


def _parse(data: bytes) -> dict[str, Any]:
    """Anybody may have written there: only short texts are taken over. The end of what stood there before may not be cut off yet."""
    try:
        raw = json.JSONDecoder().raw_decode(data.decode())[0]
        names = ("who", "id", "kind", "target", "since", "step")
        return {name: raw[name][:300] for name in names if isinstance(raw.get(name), str)}
    except (ValueError, AttributeError, TypeError):
        return {}
