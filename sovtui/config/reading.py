"""A file of the user's own, read whole: only a regular one, and only so much of it. Imports next to nothing: the first frame needs it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_GIVEN = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/", "/dev/null")
"""What a caller gives on purpose: nothing, or a pipe of its own, as a shell's `<(command)` is."""
CONFIG_BYTES = 4 << 20
"""No configuration is longer."""


def read(path: Path, most: int) -> bytes:
    """Raises `OSError`: a pipe that nobody writes to would be waited for without end, a device may never end."""
    file = os.open(path, _FLAGS)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            if not str(path).startswith(_GIVEN):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            os.set_blocking(file, True)
        data = bytearray()
        while part := os.read(file, most + 1 - len(data)):
            data += part
            if len(data) > most:
                raise OSError(errno.EFBIG, f"larger than {most >> 10} KiB", str(path))
        return bytes(data)
    finally:
        os.close(file)


def is_there(path: Path) -> bool:
    """Whether there is anything of that name, a link to nowhere or to itself among it: then it is read, and told what is wrong."""
    return os.path.lexists(path)
