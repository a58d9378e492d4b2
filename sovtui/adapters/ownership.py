"""Whether a path is ours: it, every link on the way and every folder above belong to root or to this user, and nobody else can change them.

What another user could have put there says nothing of who he is: a socket is not the daemon's because of its name.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from pathlib import Path

from sovtui.core.clean import clean

try:
    import grp
    import pwd
except ImportError:  # not on Windows
    grp = pwd = None  # type: ignore[assignment]

_MAX_LINKS = 40
_SYSTEM_GROUPS = (0, 1)
"""root (wheel) and daemon: nobody's own. macOS lets `daemon` write to /var/run."""
_ANDROID_SYSTEM = 1000
"""Owns /data and /data/data, in which Termux lives."""
_ADMIN = 80
"""On macOS: who is in it may become root, and writes to what Homebrew installs."""


def owners() -> frozenset[int]:
    """User ids that are believed: root and this user."""
    mine = {0, os.geteuid()} if hasattr(os, "geteuid") else {0}
    return frozenset(mine | ({_ANDROID_SYSTEM} if hasattr(sys, "getandroidapilevel") else set()))


def stranger(path: str) -> str:
    """Why the path is not ours, in words; empty: it is. Raises `OSError` where it is not there. Follows links, each of which must be ours."""
    if not hasattr(os, "geteuid"):
        return ""
    believed = owners()
    here, links = Path("/"), 0
    ahead = list((Path.cwd() / path).parts[1:])  # not made plain first: `..` behind a link is that of its target
    if wrong := _of_folder(here, here.lstat(), believed):
        return wrong
    while ahead:
        part = ahead.pop(0)
        if part == "..":
            here = here.parent
            continue
        there = here / part
        seen = there.lstat()
        if seen.st_uid not in believed:
            return _belongs(there, seen.st_uid)
        if stat.S_ISLNK(seen.st_mode):
            links += 1
            if links > _MAX_LINKS:
                return clean(f"{there} is a link that goes in circles", 300)
            target = there.readlink()
            here = Path("/") if target.is_absolute() else here
            ahead = [word for word in target.parts if word != "/"] + ahead
            continue
        if stat.S_ISDIR(seen.st_mode) and (wrong := _of_folder(there, seen, believed)):
            return wrong
        here = there
    return ""


def speaker(made: socket.socket) -> str:
    """Why who listens behind a connected Unix socket is not believed; empty: he is, or this system does not tell."""
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is None or not hasattr(os, "geteuid"):
        return ""
    _, uid, _ = struct.unpack("3i", made.getsockopt(socket.SOL_SOCKET, kind, struct.calcsize("3i")))
    return "" if uid in owners() else f"what listens there runs as {_name(uid)}, not as root or you"


def _of_folder(path: Path, seen: os.stat_result, believed: frozenset[int]) -> str:
    """In a sticky folder (/tmp) nobody takes away or renames what another has: there it is the owner of what is in it that counts."""
    if seen.st_uid not in believed:
        return _belongs(path, seen.st_uid)
    sticky = seen.st_mode & stat.S_ISVTX
    if seen.st_mode & stat.S_IWOTH and not sticky:
        return f"everybody may write to {clean(str(path), 200)}"
    if seen.st_mode & stat.S_IWGRP and not sticky and not _is_ours(seen.st_gid):
        return f"others of its group may write to {clean(str(path), 200)}"
    return ""


def _is_ours(group: int) -> bool:
    """A group of the system's, or one that this user has to himself."""
    if group in _SYSTEM_GROUPS or (sys.platform == "darwin" and group == _ADMIN):
        return True
    if group != os.getegid():
        return False
    try:
        me, its = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return True  # Android: an id for each app, and no list of them
    return its.gr_name == me and {*its.gr_mem} <= {me}


def _belongs(path: Path, uid: int) -> str:
    return f"{clean(str(path), 200)} belongs to {_name(uid)}, not to root or you"


def _name(uid: int) -> str:
    try:
        return clean(f"{pwd.getpwuid(uid).pw_name} (uid {uid})", 80)
    except KeyError:
        return f"uid {uid}"
