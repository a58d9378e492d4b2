"""A box that lies: a real sshd on loopback, where `python3` and `systemctl` are ours and say what a case tells them to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.pretend import SERVICES, write
from tests.bench.remote import _client, _sshd, family
from tests.bench.terminal import environment
from tests.hostile.case import Case
from tests.hostile.screen import Screen
from tests.hostile.stage import Stage

_PYTHON = (
    '#!/bin/sh\n[ -e {folder}/lie ] && PYTHONPATH={repo} exec {python} -m tests.hostile.liar {folder} "$@"\n'
    'case " $* " in *" probe "*) : > {folder}/honest;; esac\nexec {python} "$@"\n'
)
_SYSTEMCTL = (
    "#!/bin/sh\n[ -e {folder}/lie.systemctl ] && PYTHONPATH={repo} exec {python} -m tests.hostile.liar {folder} systemctl\n"
)


HONEST = "honest"
"""A file that is there once the probe was begun as it should be."""


class BoxStage(Stage):
    """A lie begins with a new session, as after a login: what ran before is ended."""

    def __init__(self, screen: Screen, folder: Path, sshd: subprocess.Popen[bytes], *, timed: bool) -> None:
        super().__init__("box", screen, folder, timed=timed)
        self._folder, self._sshd = folder, sshd

    def give(self, case: Case) -> None:
        (self._folder / ("lie.systemctl" if case.at == "systemctl" else "lie")).write_text(case.name)
        self._anew(whole=case.at in ("list", "login"))

    def take_back(self) -> None:
        for name in ("lie", "lie.systemctl"):
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / HONEST).unlink(missing_ok=True)
        self._anew(whole=True)  # over a new link it is tried again at once

    def healthy(self) -> bool:
        """The probe that is ours runs again, and the screen has heard so."""
        return (self._folder / HONEST).exists() and super().healthy()

    def _anew(self, *, whole: bool) -> None:
        """End what our programs run there; with `whole` the sessions too, so that the client logs in again."""
        for pid in [*family(self._sshd.pid)][::-1]:
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                ours = b"python" in words or b"liar" in words
                if pid != self._sshd.pid and (ours or (whole and b"sshd" in words)):
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def box_stage(*, timed: bool) -> Iterator[Stage]:
    with TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        home = folder / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        (folder / "units").mkdir()
        for number in range(SERVICES):
            write(folder, number, 0)
        (folder / "lines_per_second").write_text("1")
        port, sshd = _sshd(stack, folder, home)
        place = {"folder": folder, "python": sys.executable, "repo": Path(__file__).parents[2]}
        told = (folder / "bin" / "systemctl").read_text().removeprefix("#!/bin/sh\n")
        (folder / "bin" / "systemctl").write_text(_SYSTEMCTL.format(**place) + told)
        (folder / "bin" / "python3").write_text(_PYTHON.format(**place))
        (folder / "bin" / "python3").chmod(0o755)
        _client(home, port, 1, 1)
        config = home / ".config" / "sovtui" / "config.toml"
        config.write_text(config.read_text().partition("[[host.bench.mode]]")[0])
        screen = Screen(environment(home), home)
        stack.callback(screen.close)
        made = BoxStage(screen, folder, sshd, timed=timed)
        made.settle()
        yield made
