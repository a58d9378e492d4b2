"""This machine as a hostile place: the screen in mounts of its own, where disks fill up and another local user was before it.

The screen is root without root's powers: what another user has closed is closed to it, as to any user. Only root may set that up.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.remote import family
from tests.bench.terminal import environment
from tests.hostile.case import Case, Pieces
from tests.hostile.screen import Screen
from tests.hostile.stage import Row, Stage

ROOT = Path(__file__).parents[2]
HOME = "/mnt"
"""In the namespace alone."""
OTHER = 61234
"""The uid of another local user."""
CONFIG = """\
[host.here]
link = "local"

[[host.here.mode]]
name = "one"
key = "1"
title = "The one"
engine = "vllm"
url = "http://127.0.0.1:9"
services = ["one.service"]
switch = ["/bin/true"]
switch_timeout = "5s"

[host.here.switch]
ready_timeout = "5s"

[[host.here.mode]]
name = "two"
key = "2"
services = ["two.service"]
"""
FAR = """
[host.far]
link = "ssh"
address = "ops@127.0.0.1"
tailnet = "spark"
"""
"""What a neighbour's tailnet daemon could tell of."""
SMALL = "mount -t tmpfs -o {} tmpfs {}"
PLACES = {HOME: "size=4m", "/run/lock": "size=1m,mode=1777", "/tmp": "size=4m,mode=1777", "/var/tmp": "size=4m,mode=1777"}
UNPOWERED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@dataclass(frozen=True, slots=True)
class Here(Case):
    """`before` is run as root in the namespace, `other` as the other user; `command` is run as the user, beside the screen.

    What the command says counts as shown.
    """

    before: str = ""
    other: str = ""
    daemon: str = ""
    """Python of the other user's that goes on; `wait` says when it is there."""
    wait: str = ":"
    command: str = ""
    """Of sovtui, with what follows it in a shell."""
    status: int = 0
    config: str | None = ""
    """What the configuration holds after the command; None: nothing is there, empty: no matter."""


def nothing() -> Pieces:
    """Nobody sends anything."""
    return iter(())


def configured(text: str = CONFIG) -> str:
    return f"mkdir -p {HOME}/.config/sovtui; printf %s {shlex.quote(text)} > {HOME}/.config/sovtui/config.toml"


def asking(case: Here) -> str:
    """The line that runs its command, from the home."""
    return f"cd {HOME}; PYTHONPATH={ROOT}:$PYTHONPATH {shlex.quote(sys.executable)} -m sovtui {case.command}; echo status $?"


def wrong(case: Here, said: str, home: Path) -> list[str]:
    """What is not so after the command of a case."""
    found = []
    if case.command and f"status {case.status}\n" not in said:
        found.append(f"it did not end with {case.status}: {said[-200:]!r}")
    found += [f"it says {word!r}" for word in ("Traceback", "unexpected", "crash") if word in said]
    path = home / ".config" / "sovtui" / "config.toml"
    if case.config != "":
        held = path.read_text() if path.exists() else None
        beside = [file.name for file in path.parent.glob("*") if file != path] if path.parent.exists() else []
        if held != case.config or beside:
            found.append(f"the configuration is not as it was: {held!r}, beside it {beside}")
    return found


class HereStage(Stage):
    """What a case has mounted, made and started is undone after it."""

    def __init__(self, kind: str, screen: Screen, env: dict[str, str], config: str, *, timed: bool) -> None:
        super().__init__(kind, screen, ROOT / "build", timed=timed)
        self._env, self._config = env, config
        self._begun: list[subprocess.Popen[bytes]] = []
        self._asked: subprocess.Popen[bytes] | None = None
        self._said = ""

    def within(self, line: str, *before: str) -> subprocess.Popen[bytes]:
        """A shell's line in the namespace of the screen."""
        argv = ["nsenter", f"--mount=/proc/{self.screen.terminal.pid}/ns/mnt", f"--wd={ROOT}", *before, "sh", "-c", line]
        return subprocess.Popen(
            argv, env=self._env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )  # fmt: skip

    def give(self, case: Case) -> None:
        assert isinstance(case, Here)
        self._said, self._asked = "", None
        if case.before:
            done = self.within(case.before)
            out, _ = done.communicate(timeout=60)
            assert done.returncode == 0, out.decode()
        if case.other:
            self._begun.append(self.within(case.other, "setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"))
            time.sleep(0.3)
        if case.daemon:
            code = f"import os, socket; os.umask(0); os.setgroups([]); os.setgid({OTHER}); os.setuid({OTHER})\n{case.daemon}"
            self._begun.append(self.within(f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"))
            assert self.within(case.wait).wait(60) == 0
        if case.command:
            self._asked = self.within(asking(case), *UNPOWERED)

    def asked(self, case: Case) -> bool:
        return True

    def shown(self) -> str:
        if self._asked is not None and self._asked.poll() is not None and not self._said:
            assert self._asked.stdout is not None
            self._said = self._asked.stdout.read().decode("utf-8", "replace")
            self._asked.stdout.close()
        return f"{super().shown()}\n{self._said}"

    def healthy(self) -> bool:
        """No notice is left of what a key of the case has begun. One of a failure stays for long: it is clicked away."""
        for y, line in enumerate(self.screen.look().cells()):
            at = "".join(cell or " " for cell in line).find("✖ Switch ")
            if at >= 0:
                self.screen.terminal.press(b"\x1b[<0;%d;%dM\x1b[<0;%d;%dm" % (at + 1, y + 1, at + 1, y + 1))
                time.sleep(0.3)
                return False
        return super().healthy()

    def over(self) -> bool:
        return self._asked is None or self._asked.poll() is not None

    def check(self, case: Case, row: Row) -> None:
        assert isinstance(case, Here)
        row.wrong += wrong(case, self._said, self.place)

    @property
    def place(self) -> Path:
        """The home, as seen from here."""
        return Path(f"/proc/{self.screen.terminal.pid}/root{HOME}")

    def take_back(self) -> None:
        for process in [*self._begun, *([self._asked] if self._asked is not None else [])]:
            for pid in [*family(process.pid)][::-1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(60)
            if process.stdout is not None:
                process.stdout.close()
        self._begun.clear()
        again = "; ".join(
            f"while [ $(grep -c ' {place} ' /proc/self/mounts) -gt 1 ]; do umount -l {place} || break; done; "
            f"mount -o remount,rw,{options} {place}; find {place} -mindepth 1 -delete"
            for place, options in PLACES.items()
        )
        done = self.within(f"{again}; {configured(self._config)}")
        out, _ = done.communicate(timeout=60)
        assert done.returncode == 0, out.decode()


def setting(config: str) -> tuple[list[str], dict[str, str]]:
    """Words before those of a command that is to be run in mounts of its own, and its environment."""
    site = ROOT / "build" / "hostile"
    site.mkdir(parents=True, exist_ok=True)
    env = environment(site, HOME=HOME)
    env.pop("TMPDIR", None)
    made = "; ".join(f"mkdir -p {place}; {SMALL.format(options, place)}" for place, options in PLACES.items())
    line = f'set -e; {made}; {configured(config)}; exec {" ".join(UNPOWERED)} "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", line, "sh"], env


def alone(case: Here) -> list[str]:
    """What is wrong with a case's command, without a screen beside it."""
    before, env = setting(CONFIG)
    with subprocess.Popen([*before, "cat"], env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(b"ready\n")
        holder.stdin.flush()
        holder.stdout.readline()
        line = f"{case.before or ':'}\nexec {' '.join(UNPOWERED)} sh -c {shlex.quote(asking(case))}"
        done = subprocess.run(
            ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", f"--wd={ROOT}", "sh", "-c", line],
            env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=180, check=False,
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        found = wrong(case, said, Path(f"/proc/{holder.pid}/root{HOME}"))
        if not re.search(case.words, said):
            found.append(f"{case.words!r} is not said: {said[-500:]!r}")
        holder.stdin.close()
    return found


@contextlib.contextmanager
def here_stage(kind: str, *, timed: bool) -> Iterator[Stage]:
    config = CONFIG + (FAR if kind == "neighbour" else "")
    before, env = setting(config)
    with contextlib.ExitStack() as stack:
        screen = Screen(env, Path(HOME), before)
        stack.callback(screen.close)
        played = HereStage(kind, screen, env, config, timed=timed)
        screen.log = played.place / ".local" / "state" / "sovtui" / "sovtui.log"
        played.settle()
        yield played
