"""Whether a path is this user's or root's all the way: another user's socket, folder or link is none, wherever it lies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sovtui.adapters.ownership import speaker, stranger

MALLORY = 64321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user needs root")


def foreign_socket(place: Path) -> Path:
    (place / "d.sock").touch()
    os.chown(place / "d.sock", MALLORY, MALLORY)
    return place / "d.sock"


def foreign_folder(place: Path) -> Path:
    (place / "hers").mkdir()
    (place / "hers" / "d.sock").touch()
    os.chown(place / "hers", MALLORY, MALLORY)
    return place / "hers" / "d.sock"


def foreign_folder_above(place: Path) -> Path:
    (place / "hers" / "mine").mkdir(parents=True)
    (place / "hers" / "mine" / "d.sock").touch()
    os.chown(place / "hers", MALLORY, MALLORY)
    return place / "hers" / "mine" / "d.sock"


def link_of_a_stranger(place: Path) -> Path:
    (place / "real").touch()
    (place / "d.sock").symlink_to(place / "real")
    os.chown(place / "d.sock", MALLORY, MALLORY, follow_symlinks=False)
    return place / "d.sock"


def link_into_a_stranger_s_folder(place: Path) -> Path:
    (place / "d.sock").symlink_to(foreign_folder(place).relative_to(place))
    return place / "d.sock"


def back_out_of_a_stranger_s_folder(place: Path) -> Path:
    foreign_folder(place)
    (place / "way").symlink_to("hers/../mine")
    (place / "mine").touch()
    return place / "way"


@needs_root
@pytest.mark.parametrize(
    "made",
    [
        foreign_socket,
        foreign_folder,
        foreign_folder_above,
        link_of_a_stranger,
        link_into_a_stranger_s_folder,
        back_out_of_a_stranger_s_folder,
    ],
)
def test_what_a_stranger_has_on_the_way_is_named_with_its_owner(made: Callable[[Path], Path], tmp_path: Path) -> None:
    assert f"belongs to uid {MALLORY}, not to root or you" in stranger(str(made(tmp_path)))


def test_what_is_ours_all_the_way_is_ours_also_in_a_sticky_folder_and_behind_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "d.sock").touch()
    (tmp_path / "link").symlink_to("a/../a")
    assert stranger(str(tmp_path / "link" / "d.sock")) == ""
    (tmp_path / "a").chmod(0o1777)
    assert stranger(str(tmp_path / "a" / "d.sock")) == ""
    assert stranger("/bin/sh") == ""
    with pytest.raises(FileNotFoundError):
        stranger(str(tmp_path / "none"))


def test_a_folder_that_others_may_write_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "d.sock").touch()
    (tmp_path / "a").chmod(0o777)
    assert stranger(str(tmp_path / "a" / "b" / "d.sock")) == f"everybody may write to {tmp_path}/a"


@needs_root
def test_a_folder_of_a_group_of_others_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o775)
    assert stranger(str(tmp_path / "a")) == ""  # root's own group
    os.chown(tmp_path / "a", 0, MALLORY)
    assert stranger(str(tmp_path / "a")) == f"others of its group may write to {tmp_path}/a"


def test_a_link_in_circles_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "circles" in stranger(str(tmp_path / "a"))


@needs_root
@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="told by Linux")
def test_who_listens_counts_and_not_only_whose_the_socket_is(tmp_path: Path) -> None:
    for uid, said in ((0, ""), (MALLORY, f"what listens there runs as uid {MALLORY}, not as root or you")):
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(tmp_path / str(uid)))
            os.seteuid(uid)
            try:
                server.listen()
            finally:
                os.seteuid(0)
            client.connect(str(tmp_path / str(uid)))
            assert speaker(client) == said
