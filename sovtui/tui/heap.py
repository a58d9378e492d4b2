"""The C library's heap, where it is glibc's: one for all threads, and what is free in it given back.

A thread that imports gets a heap of its own there, and what each leaves free the others cannot use: 3 MiB after the start.
"""

from __future__ import annotations

import ctypes

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
