"""Disks without room and disks that may not be written, under the home, the temporary files and the lock."""

from __future__ import annotations

import shlex
from typing import Any

from tests.hostile.case import NASTY
from tests.hostile.here import CONFIG, HOME, Here, configured, nothing

OWN = f"mount -t tmpfs -o size=64k small {HOME}"
FILL = f"cat /dev/zero > {HOME}/fill 2> /dev/null || true"
CLOSE = f"mount -o remount,ro {HOME}"
NO_TMP = "; ".join(
    f"mount -t tmpfs -o size=4k small {place}; cat /dev/zero > {place}/fill 2> /dev/null || true"
    for place in ("/tmp", "/var/tmp")
)
"""And none where a command begins, which Python tries at last: that is the home."""
AS_IT_WAS = "cannot be written, and is as it was"


def asked(name: str, before: str, command: str, status: int, words: str = "", config: str | None = CONFIG) -> Here:
    """Something is asked of the command line."""
    return Here(name, "disks", nothing, words=words, before=before, command=command, status=status, config=config)


def pressed(name: str, before: str, keys: bytes, words: str = "", **more: Any) -> Here:
    """A key is pressed on the screen."""
    return Here(name, "disks", nothing, words=words, before=before, keys=keys, config="", **more)


FULL, EMPTY_FULL = f"{OWN}; {configured()}; {FILL}", f"{OWN}; {FILL}"
READ_ONLY, EMPTY_READ_ONLY = f"{OWN}; {configured()}; {CLOSE}", f"{OWN}; {CLOSE}"
CASES = [
    asked("a first configuration, no room", EMPTY_FULL, "init --write", 1, AS_IT_WAS, None),
    asked("one more host, no room", FULL, "init --host more --write", 1, AS_IT_WAS),
    asked("a first configuration, read-only", EMPTY_READ_ONLY, "init --write", 1, "(?i)read-only file system", None),
    asked("one more host, read-only", READ_ONLY, "init --host more --write", 1, "(?i)read-only file system"),
    asked(
        "what is printed has no room",
        "",
        "config example spark > /dev/full",
        1,
        "the output cannot be written: (?i:no space left)",
    ),
    asked(
        "what is printed as JSON has no room",
        FULL,
        "status --json > /dev/full",
        1,
        "the output cannot be written: (?i:no space left)",
    ),
    asked("a home without room", FULL, "status", 0),
    asked("another machine, and no room for temporary files", f"{READ_ONLY}; {NO_TMP}", "init me@127.0.0.1:1", 3, "refused"),
    asked("a home that is read-only, and no room for temporary files", f"{READ_ONLY}; {NO_TMP}", "status --json", 0),
]
"""What the command line says there."""
SETTINGS = f"{HOME}/.config/sovtui"
THEMES, CONFIGURATION, STATE = f"{SETTINGS}/themes", f"{SETTINGS}/config.toml", f"{HOME}/.local/state/sovtui"
NASTY_WORDS = shlex.quote(NASTY.encode("utf-8", "replace").decode().replace("\0", ""))


def theme(name: str, before: str, words: str = "") -> Here:
    """A file of the user's own themes, which are looked at every two seconds."""
    return pressed(name, f"mkdir -p {THEMES}; {before.format(f'{THEMES}/x.toml')}", b"", words, seconds=5.0)


def broken(name: str, before: str, words: str) -> Here:
    """A configuration that cannot be read, and what `status` says of it."""
    return asked(name, f"rm {CONFIGURATION}; {before.format(CONFIGURATION)}", "status", 2, words, "")


CASES += [
    asked("receipts, a home without room", FULL, "actions --json", 0),
    asked("receipts as text, a home without room", FULL, "actions", 0),
    asked("the configuration as it is, a home without room", FULL, "config show", 0, "The one"),
    asked("themes, a home that is read-only", READ_ONLY, "themes", 0, "sovtui-dark"),
    pressed("a switch, no room for its receipt", FULL, b"1", "nothing is started|cannot be written: No space left"),
    pressed("a switch, the home is read-only", READ_ONLY, b"1", "(?i)read-only file system"),
    pressed("a switch, room for a page", f"{OWN}; {configured()}; {FILL}; truncate -s -4096 {HOME}/fill", b"1", "nothing is started"),
    pressed("a switch, no room for temporary files", NO_TMP, b"1", "Switch to one failed"),
    pressed("a switch, no room where the lock lies", "cat /dev/zero > /run/lock/fill 2> /dev/null || true", b"1", "Switch to one failed"),
    pressed("a switch, where the lock lies is read-only", "mount -o remount,ro /run/lock", b"1", "Switch to one failed|Read-only file system"),
    pressed("a switch, its receipts' folder is a file", f"mkdir -p {STATE}; rm -rf {STATE}/actions; touch {STATE}/actions", b"1", "✖ Switch here to The one: "),
    pressed("a home that is emptied", f"find {HOME} -mindepth 1 -delete", b"1", "Switch to one failed"),
    pressed("a home that is full and gone", f"{FULL}; umount -l {HOME}", b"1", "Switch to one failed"),
    theme("a theme that is a pipe", "mkfifo {}"),
    theme("a theme that is a folder", "mkdir {}", "x.toml"),
    theme("a theme that leads nowhere", "ln -s /nowhere {}"),
    theme("a theme that leads to what never ends", "ln -s /dev/zero {}"),
    theme("a theme of 2 MiB", "head -c 2000000 /dev/zero > {}", "x.toml"),
    theme("a theme of nasty bytes", f"printf %s {NASTY_WORDS} > {{}}".replace("{{}}", "{}"), "x.toml"),
    theme("a theme that may not be read", "touch {0}; chown 61234 {0}; chmod 600 {0}", "x.toml"),
    broken("a configuration that is a folder", "mkdir {}", "config.toml"),
    broken("a configuration that may not be read", "touch {0}; chown 61234 {0}; chmod 600 {0}", "(?i)config.toml.*permission denied"),
    broken("a configuration of nasty bytes", f"printf %s {NASTY_WORDS} > {{}}".replace("{{}}", "{}"), "config.toml"),
    broken("a configuration of zeros", "head -c 3000000 /dev/zero > {}", "config.toml"),
    broken("a configuration that leads to itself", "ln -s {0} {0}", "config.toml"),
    broken("a configuration that is a pipe", "mkfifo {}", "config.toml"),
    broken("a configuration that never ends", "ln -s /dev/zero {}", "config.toml"),
]  # fmt: skip
