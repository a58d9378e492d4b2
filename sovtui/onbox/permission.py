"""Whether sudo or polkit would let this user run a command: each is asked itself and decides itself, and nothing is run.

sudo is asked to run the very command in a folder that cannot be there. It looks for its rule, asks for the password and for the
terminal if it wants them, and gives up before it runs anything: in the end because that folder may not be named, or is not there.
What it says until then is what it will say. Whether a rule denies the command is told by `sudo -l COMMAND`.

polkit tells nobody but its own services about one unit. systemd is asked for a job of that unit and verb that it never makes, one whose
mode does not go with the verb. It asks polkit first, and refuses the job after that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sovtui.onbox import box

NOWHERE = "/proc/sovtui-only-asks"
"""Nobody can make it. It stands in sudo's log, for whoever reads that."""
SECONDS = 15.0
AS_ROOT = ("sudo", "-n", "-u", "root")
_FOLDERS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin", "/run/current-system/sw/bin")
_VERSION = re.compile(r"Sudo version (\d+)\.(\d+)\.(\d+)")
_WITH_FOLDER = (1, 9, 3)
_IN_THE_END = re.compile(r"not permitted to use the -D option|unable to change directory to " + re.escape(NOWHERE))
_GUARDED = ("a password is required", "must have a tty")
_METHODS = {"start": ("StartUnit", "triggering"), "stop": ("StopUnit", "isolate"), "restart": ("RestartUnit", "isolate")}
_NO_SUCH_JOB = re.compile(r"only valid for (start|stop)")
_DENIED = ("nteractive authentication required", "ccess denied")


@dataclass(frozen=True)
class Told:
    """An answer. `ok` is None where it cannot be told without doing it; `words` are the other program's own."""

    ok: bool | None
    words: str = ""


def programs(name: str) -> list[str]:
    """Where a program of the system lies: each file once."""
    found: dict[tuple[int, int], str] = {}
    for folder in _FOLDERS:
        path = f"{folder}/{name}"
        try:
            seen = os.stat(path)
        except OSError:
            continue
        if os.access(path, os.X_OK):
            found.setdefault((seen.st_dev, seen.st_ino), path)
    return list(found.values())


def version() -> tuple[int, ...] | None:
    """Of sudo; empty where it is another program that is called so, None where there is none."""
    code, out, _ = box.command(["sudo", "-V"], SECONDS)
    if code == 127:
        return None
    found = _VERSION.search(out)
    return tuple(int(number) for number in found.groups()) if found else ()


def by_sudo(argv: Sequence[str], known: tuple[int, ...] | None) -> Told:
    """Whether sudo would run this as root without a question. `known`: its version."""
    if known is None:
        return Told(False, "there is no sudo")
    code, _, err = box.command([*AS_ROOT, "-l", "--", *argv], SECONDS)
    listed = _words(code, err)
    if known < _WITH_FOLDER:
        why = "whether it asks for a password is not known: only sudo 1.9.3 and later say so without running it"
        return Told(None, why) if not code else Told(False, listed or "sudo does not allow it")
    denied = code != 0 and not any(word in listed for word in _GUARDED)
    code, _, err = box.command([*AS_ROOT, "-D", NOWHERE, "--", *argv], SECONDS)
    if _IN_THE_END.search(err):
        return Told(not denied, listed or "sudo does not allow it" if denied else "")
    words = _words(code, err)
    return Told(False, words) if code not in (0, 124) and words else Told(None, words or "sudo does not answer")


def _words(code: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[0].removeprefix("sudo: ")[:200] if code and lines else ""


def by_polkit(verb: str, unit: str) -> Told:
    """Whether polkit would let this user do so with a unit of the system."""
    if verb not in _METHODS:  # no such job can be asked for; but who may not even stop it may not do this either
        may_stop = by_polkit("stop", unit)
        return Told(None, f"polkit cannot be asked about `{verb}`") if may_stop.ok else may_stop
    method, mode = _METHODS[verb]
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    asked = ["busctl", "--system", "--allow-interactive-authorization=no", "call", *manager, method, "ss", unit, mode]
    err = box.command(asked, SECONDS)[2]
    if _NO_SUCH_JOB.search(err):
        return Told(True)
    if any(word in err for word in _DENIED):
        return Told(False, "polkit does not allow it")
    return Told(None, box.last_line(err) or "systemd does not answer")
