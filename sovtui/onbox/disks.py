"""How full the host's own disks are. A disk that dies blocks whoever looks at it, so a thread of its own looks."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

from sovtui.onbox import box

EVERY = 20.0
"""Seconds between two looks."""
FIRST = 0.3
MOST = 24
_POOLS = ("zfs", "btrfs", "bcachefs")
_IMAGES = ("/dev/loop", "/dev/zram", "/dev/ram")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_SMALL = 64 << 20
"""Less than this is no place where anything grows."""


class Disks:
    """What the thread saw last."""

    def __init__(self) -> None:
        self._seen: list[dict[str, Any]] = []
        self._looked = threading.Event()
        threading.Thread(target=self._look_on, daemon=True).start()

    def told(self) -> list[dict[str, Any]]:
        """Mount point, size and what a user may still write, in bytes, the root first; empty before the first look.

        Waits a moment for that one: who only asks once wants to know of a full disk too.
        """
        self._looked.wait(0.0 if self._looked.is_set() else FIRST)
        return self._seen

    def _look_on(self) -> None:
        while True:
            self._seen = look()
            self._looked.set()
            time.sleep(EVERY)


def look() -> list[dict[str, Any]]:
    """Every file system on a disk of this host, each once. May block for as long as a dying disk does."""
    found: dict[object, dict[str, Any]] = {}
    for place in places(box.read("/proc/self/mounts")):
        try:
            device, told = os.stat(place).st_dev, os.statvfs(place)
        except OSError:
            continue
        total = told.f_blocks * told.f_frsize
        if total < _SMALL or device in found:
            continue
        used = (told.f_blocks - told.f_bfree) * told.f_frsize
        free = told.f_bavail * told.f_frsize
        found[device] = {"mount": place, "total": used + free, "free": free}
    return list(found.values())[:MOST]


def places(mounts: str) -> list[str]:
    """Mount points on disks of `/proc/self/mounts`, the shortest first: a bind mount is told by the place it shows."""
    found = {"/"}
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 4:
            continue
        device, place, kind = words[0], _ESCAPED.sub(lambda found: chr(int(found[1], 8)), words[1]), words[2]
        on_disk = device.startswith("/dev/") and not device.startswith(_IMAGES)
        if on_disk or kind in _POOLS:
            found.add(place)
    return sorted(found, key=lambda place: (len(place), place))
