"""This machine's files: whole or not at all, on a full disk, in a folder that may not be written, and at kill -9 between any two calls."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sovtui.adapters.links import _known_hosts
from sovtui.adapters.tailnet.cache import Cache
from sovtui.config import files
from tests.fakes.world import FakeClock

BEFORE = b"[host.a]\nlink = 'local'\n" * 20
MORE = b"\n[host.b]\nlink = 'local'\n" * 20
KEY = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
NAME = "some.host"
LINE = f"{NAME} {KEY.export_public_key('openssh').decode().strip()}\n".encode()
CALLS = ("open", "write", "fsync", "link", "rename", "replace", "unlink", "close", "chmod", "ftruncate", "lseek")

WAYS: dict[str, tuple[bytes | None, bytes, Callable[[Path], Any]]] = {
    "a new configuration": (None, MORE, lambda path: files.create(path, MORE)),
    "one that grows": (BEFORE, BEFORE + MORE, lambda path: files.extend(path, BEFORE, MORE)),
    "one that is replaced": (BEFORE, MORE, lambda path: files.replace(path, MORE)),
    "a host key": (LINE, LINE + LINE, lambda path: _known_hosts.add(path, NAME, KEY)),
    "a host key after a torn line": (LINE[:-1], LINE + LINE, lambda path: _known_hosts.add(path, NAME, KEY)),
    "a first host key": (None, LINE, lambda path: _known_hosts.add(path, NAME, KEY)),
}
"""What is there before, what is there afterwards, what does it."""


def apart(do: Callable[[], Any]) -> int:
    """Do it in a process of its own. Its status: 0, the number of an `OSError`, or minus the signal."""
    child = os.fork()
    if not child:
        try:
            do()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(200)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def put(path: Path, before: bytes | None) -> None:
    for old in path.parent.iterdir():
        old.unlink()
    if before is not None:
        path.write_bytes(before)


def held(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("way", WAYS)
def test_a_disk_without_room_leaves_the_file_as_it_was(way: str, tmp_path: Path) -> None:
    before, after, do = WAYS[way]
    path = tmp_path / "file"
    for room in sorted({0, len(before or b""), len(before or b"") + 7, len(after) - 1}):  # bytes that a file may have

        def narrow(room: int = room) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            do(path)

        put(path, before)
        assert apart(narrow) == errno.EFBIG, room
        assert (held(path) or None) == before, room
        assert [one.name for one in tmp_path.iterdir() if one.name != "file"] == [], "nothing is left beside it"
    assert apart(lambda: do(path)) == 0 and held(path) == after


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_between_any_two_calls_leaves_the_old_or_the_new(way: str, tmp_path: Path) -> None:
    before, after, do = WAYS[way]
    path = tmp_path / "file"
    seen, number, status = set(), 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        number += 1
        count = 0

        def dies(real: Callable[..., Any], last: int, *args: Any, **words: Any) -> Any:
            nonlocal count
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **words)

        def killed(last: int = number) -> None:
            for name in CALLS:
                setattr(os, name, partial(dies, getattr(os, name), last))
            do(path)

        put(path, before)
        status = apart(killed)
        seen.add(held(path) or None)
        assert seen <= {before, after}
    assert number > 3 and status == 0 and seen == {before, after}


def test_what_may_not_be_written_is_left_and_a_folder_alone_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "file"
    for mode, folder, status in ((0o600, 0o500, 0), (0o400, 0o700, errno.EACCES), (0o400, 0o500, errno.EACCES)):
        path.parent.chmod(0o700)
        put(path, BEFORE)

        def nobody(mode: int = mode, folder: int = folder) -> None:
            path.chmod(mode)
            path.parent.chmod(folder)
            mine = path
            if not os.geteuid():  # root may write anything: somebody else, for whom the folders above are the root of everything
                os.chown(path.parent, 65534, 65534)
                os.chown(path, 65534, 65534)
                os.chroot(tmp_path)
                os.setgid(65534)
                os.setuid(65534)
                mine = Path("/folder/file")
            files.extend(mine, BEFORE, MORE)

        tmp_path.chmod(0o755)
        assert apart(nobody) == status
        assert held(path) == (BEFORE if status else BEFORE + MORE)


def test_links_and_rights_stay_and_what_has_changed_meanwhile_is_not_touched(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_bytes(BEFORE)
    real.chmod(0o640)
    link.symlink_to(real.name)
    files.extend(link, BEFORE, MORE)
    assert link.is_symlink() and real.read_bytes() == BEFORE + MORE and stat.S_IMODE(real.stat().st_mode) == 0o640
    with pytest.raises(files.Changed):
        files.extend(link, BEFORE, MORE)
    with pytest.raises(FileExistsError):
        files.create(link, MORE)
    files.create(tmp_path / "new" / "one", MORE)
    assert stat.S_IMODE((tmp_path / "new" / "one").stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["config.toml", "dotfiles.toml", "new"]


def test_the_tailnet_s_cache_stays_what_it_was(tmp_path: Path) -> None:
    cache, at = Cache(tmp_path / "tailnet.json"), FakeClock().now()
    cache.put("one", ("100.64.0.1",), at)

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
        cache.put("two", ("100.64.0.2",), at)

    assert apart(narrow) == 0, "no reason not to connect"
    assert cache.get("two") is None and cache.get("one") is not None
    assert [one.name for one in tmp_path.iterdir()] == ["tailnet.json"]
