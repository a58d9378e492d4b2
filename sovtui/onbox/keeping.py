"""Where an action's files are written: whole or not at all, and with room on the disk for the rest of its receipt."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Optional

_KEEP_SIZE = 1
"""Of fallocate(2): the room is set aside behind the end of the file."""


def put(path: str, text: str) -> None:
    """A small file. OSError where it is as it was before."""
    fresh = f"{path}.{os.getpid()}.new"
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def set_aside(descriptor: int, size: int) -> Optional[bool]:
    """Room for `size` bytes from the beginning of a file: nobody else gets it. None where this system cannot; False: there is none."""
    try:
        allocate = ctypes.CDLL(None, use_errno=True).fallocate
        failed = allocate(descriptor, _KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size))
    except (OSError, AttributeError, ValueError):
        return None
    return True if not failed else False if ctypes.get_errno() in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None


def give_back(descriptor: int) -> None:
    """Of a file that has its end: what was set aside behind it. A change of size is what every file system takes notice of."""
    with contextlib.suppress(OSError):
        size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, size + 1)
        os.ftruncate(descriptor, size)
