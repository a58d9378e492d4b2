"""The lock among neighbours: whatever another user puts in its place or holds, nothing waits for him, and two actions never both act."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sovtui.onbox import lock, locking

MALLORY = 64321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="being another user needs root")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where all users meet, and where others may go: two folders that everybody may write to, as /run/lock and /tmp are."""
    monkeypatch.delenv("SOVTUI_LOCK", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    common = Path(tempfile.mkdtemp(prefix="sovtui-lock-"))
    common.chmod(0o755)
    for name in ("run", "tmp"):
        (common / name).mkdir()
        (common / name).chmod(0o1777)
    for module in (lock, locking):
        monkeypatch.setattr(module, "shared", lambda: [str(common / "run" / "lock"), str(common / "tmp" / "lock")])
    yield common
    shutil.rmtree(common)


@contextlib.contextmanager
def neighbour(*argv: str, uid: int = MALLORY) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, user=uid, group=uid, extra_groups=[], cwd="/", start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def until_held(path: Path) -> None:
    while True:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return


def link_there(path: Path) -> None:
    (path.parent / "victim").write_text("x")
    path.symlink_to(path.parent / "victim")


def twice_there(path: Path) -> None:
    (path.parent / "victim").write_text("x")
    path.hardlink_to(path.parent / "victim")


def socket_there(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


THINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "it is a pipe"),
    "folder": (Path.mkdir, "it is a folder"),
    "link": (link_there, "it is a link"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "it is a link"),
    "a file of two names": (twice_there, "it is no file of its own"),
    "socket": (socket_there, "it is no plain file"),
}


@pytest.mark.parametrize("thing", THINGS)
def test_what_is_no_file_is_passed_over_with_a_sentence(thing: str, place: Path) -> None:
    make, said = THINGS[thing]
    path = place / "run" / "lock"
    make(path)
    assert lock.holder() is None
    held = locking.take()
    assert held
    assert held.passed == [f"the lock {path} is passed over: {said}"]
    held.tell({"id": "i", "who": "me"})
    assert lock.holder() == {"id": "i", "who": "me"}
    assert locking.take(0.05) is None
    held.release()
    if (place / "run" / "victim").exists():
        assert (place / "run" / "victim").read_text() == "x"


@needs_root
@pytest.mark.parametrize("mode", [0o600, 0o666])
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, Path.mkdir])
def test_what_another_user_put_there_is_passed_over(make: Callable[[Path], object], mode: int, place: Path) -> None:
    path = place / "run" / "lock"
    make(path)
    path.chmod(mode)
    os.chown(path, MALLORY, MALLORY)
    held = locking.take()
    assert held
    assert f"it belongs to uid {MALLORY}, who is no operator" in held.passed[0]
    assert len(held.passed) == 1
    held.release()


@needs_root
@pytest.mark.skipif(shutil.which("flock") is None, reason="util-linux's flock is not here")
def test_who_holds_it_without_being_an_operator_does_not_block(place: Path) -> None:
    """Neither on a file of his own nor on one of ours, which everybody may lock."""
    hers, ours = place / "run" / "lock", place / "tmp" / "lock"
    for path in (hers, ours):
        path.write_text('{"id": "i", "who": "root", "kind": "switch"}')
        path.chmod(0o666)
    os.chown(hers, MALLORY, MALLORY)
    with neighbour("flock", "-x", str(hers), "sleep", "600"), neighbour("flock", "-x", str(ours), "sleep", "600"):
        until_held(hers)
        until_held(ours)
        assert lock.holder() is None
        held = locking.take(0.05)
        assert held
        assert [text.partition(" is passed over: ")[2] for text in held.passed] == [
            f"it belongs to uid {MALLORY}, who is no operator",
            f"uid {MALLORY} holds it, who is no operator",
        ]
        assert locking.take(0.05) is None, "our own lock is one that no neighbour reaches"
        held.release()


def test_what_a_neighbour_takes_away_again_does_not_let_two_act(place: Path) -> None:
    """Both places are spoiled when the first begins, and neither when the second does."""
    for name in ("run", "tmp"):
        os.mkfifo(place / name / "lock")
    first = locking.take()
    assert first and len(first.passed) == 2
    for name in ("run", "tmp"):
        (place / name / "lock").unlink()
    first.tell({"id": "first"})
    assert lock.holder() == {"id": "first"}
    assert locking.take(0.05) is None
    first.release()
    second = locking.take()
    assert second and not second.passed
    for name in ("run", "tmp"):  # and the other way round
        (place / name / "lock").unlink()
        (place / name / "lock").mkdir()
    assert locking.take(0.05) is None
    second.release()


@needs_root
def test_another_operator_s_action_is_seen_though_no_lock_is_common(place: Path) -> None:
    """By its process, and whose that is; of two that look at once the earlier goes on."""
    folder = place / "sovtui" / "actions" / "20261130T120000Z-switch-ab12"
    folder.mkdir(parents=True)
    look = (
        "import sys, pwd, types; from sovtui.onbox import locking as x; x.counts = lambda uid: uid in map(int, sys.argv[2:]);"
        "pwd.getpwuid = lambda uid: types.SimpleNamespace(pw_name='mallory', pw_dir=sys.argv[1]); print(x.runners())"
    )

    def seen(*operators: int, home: Path = place) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "SOVTUI_LOCK"}
        words = [sys.executable, "-c", look, str(home), *map(str, operators)]
        return subprocess.run(words, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout.strip()

    (folder / "runner.py").write_text("echo; sleep 600 & wait\n")
    runner = ("/bin/sh", "-e", str(folder / "runner.py"), str(folder))
    told = {"who": "mallory", "id": folder.name, "kind": "switch"}
    with neighbour(*runner) as process:
        while f"{folder}\0" not in Path(f"/proc/{process.pid}/cmdline").read_text():
            pass
        assert seen(MALLORY) == str({True: told})
        assert seen(0) == str({False: told}), "whether he is one is not known"
        assert seen(MALLORY, home=place / "other") == "{}", "what is in no home takes another lock"
        assert locking.runners() == {}, "it began after this process"
    assert seen(MALLORY) == "{}"


def test_who_may_become_root_is_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    users = {1: ("anna", 100), 2: ("bert", 50), 3: ("cleo", 100)}
    groups = {"wheel": (10, ["anna"]), "sovtui": (50, [])}

    def user(uid: int) -> object:
        return SimpleNamespace(pw_name=users[uid][0], pw_gid=users[uid][1])

    def group(name: str) -> object:
        return SimpleNamespace(gr_gid=groups[name][0], gr_mem=groups[name][1])

    monkeypatch.setattr(pwd, "getpwuid", user)
    monkeypatch.setattr(grp, "getgrnam", group)
    monkeypatch.setattr(os, "geteuid", lambda: 3)
    assert [lock.counts(uid) for uid in (0, 1, 2, 3, 4)] == [True, True, True, True, False]
    monkeypatch.setattr(os, "geteuid", lambda: 4)
    assert not lock.counts(3)
