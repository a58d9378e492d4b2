"""What the process holds without need: given back. The C library's heap, where it is glibc's, is one for all threads.

A thread that imports gets a heap of its own there, and what each leaves free the others cannot use: 3 MiB after the start.
"""

from __future__ import annotations

import ctypes

from rich import cells
from rich.segment import Segment
from textual.geometry import Region

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def _glibc() -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
    return found if hasattr(found, "gnu_get_libc_version") else None


def share() -> None:
    """All threads that are begun from now on allocate where there is something free already. They take turns anyway."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return what is free to the system."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def forget() -> None:
    """Empty the caches of widths, cuts and regions: for a log whose lines come once each they only ever grow, to some MiB."""
    for owner in (cells, Segment, Region):
        for found in list(vars(owner).values()):
            if callable(clear := getattr(getattr(found, "__func__", found), "cache_clear", None)):
                clear()
