"""The one place where this machine's files are written: whole or not at all, whatever the disk does and whenever the program ends.

Everything here blocks, and raises `OSError` where the file is as it was before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

MODE = 0o600
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Changed(Exception):
    """The file is not the one that was read before; nothing is written."""


def create(path: Path, data: bytes) -> None:
    """A new file, with the folders above it. `FileExistsError` where there is one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _beside(path, data) as fresh:
        if path.is_symlink() or path.exists():
            raise FileExistsError(path)
        try:
            os.link(fresh, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links, or Android: then in one step, though over one that comes this moment
            fresh.replace(path)
    _settle(path.parent)


def replace(path: Path, data: bytes) -> None:
    """What the file holds now, with the folders above it. One that is there keeps its rights; a link stays one."""
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _beside(path, data) as fresh:
        with contextlib.suppress(FileNotFoundError):
            told = path.stat()
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            fresh.chmod(stat.S_IMODE(told.st_mode))
            if (told.st_uid, told.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(fresh, told.st_uid, told.st_gid)
        fresh.replace(path)
    _settle(path.parent)


def extend(path: Path, before: bytes, more: bytes) -> None:
    """Add to the end of a file that holds `before`. Raises `Changed` where it holds anything else."""
    if path.read_bytes() != before:
        raise Changed(path)
    try:
        replace(path, before + more)
    except PermissionError:  # the file is ours to write, the folder or the owner is not
        append(path, more)


def append(path: Path, line: bytes) -> None:
    """Add a line to a file that others add to as well, after a line break where the last one has none. Made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, MODE)
    try:
        size = os.fstat(file).st_size
        data = (b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b"") + line
        begin, done = size, 0
        try:
            while done < len(data):
                done += os.write(file, data[done:])
                begin = os.lseek(file, 0, os.SEEK_CUR) - done
            os.fsync(file)
        except OSError:
            if done and os.fstat(file).st_size == begin + done:  # nobody has added anything since
                os.ftruncate(file, begin)
            raise
    finally:
        os.close(file)


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """A file of its own in the same folder that holds all of it on the disk, and is gone afterwards."""
    file, name = tempfile.mkstemp(".new", f".{path.name}.", path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        yield fresh
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """The name is on the disk too. Some file systems cannot be asked for that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
