"""Files of the user's own that are none, never end, or wait for somebody: told, and waited for by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sovtui.config.load import load
from sovtui.config.problems import ConfigError
from sovtui.config.reading import read
from sovtui.tui import themes

MAKE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "not a regular file"),
    "a link to what never ends": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
    "a link to nowhere": (lambda path: path.symlink_to("/nowhere/at/all"), "no such file"),
    "a folder": (Path.mkdir, "is a directory"),
    "far too long": (lambda path: path.write_bytes(bytes(5 << 20)), "larger than"),
}


@pytest.mark.parametrize("what", MAKE)
def test_a_configuration_that_is_none_is_told(what: str, tmp_path: Path) -> None:
    path, (make, why) = tmp_path / "config.toml", MAKE[what]
    make(path)
    with pytest.raises(ConfigError, match=why):
        load(path)


def test_the_command_line_tells_so_too_where_nobody_named_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sovtui" / "config.toml"
    path.parent.mkdir()
    path.symlink_to(path)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    words = [sys.executable, "-m", "sovtui", "config", "check"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 2 and "too many levels of symbolic links" in done.stderr, done.stderr


def test_what_a_caller_gives_on_purpose_is_read(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"[screen]\n")
    os.close(theirs)
    try:
        assert read(Path(f"/dev/fd/{ours}"), 100) == b"[screen]\n"
    finally:
        os.close(ours)
    assert read(Path("/dev/null"), 100) == b""


def test_a_theme_that_is_none_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('primary = "#102030"\n')
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "folder.toml").mkdir()
    found = themes.load([tmp_path])
    assert list(found.themes) == ["good"]
    assert [problem.rpartition(": ")[2] for problem in found.problems] == [
        "Is a directory",
        "not a regular file",
        "not a regular file",
    ]
