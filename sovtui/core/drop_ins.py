"""What gives a login the rights for single commands: lines of sudoers, a rule of polkit. Pure.

Two readers read a line of sudoers: its own grammar, in which a backslash makes `:`, `,`, `=`, `#` and blanks ordinary, and then
fnmatch(3), which the arguments are a pattern for. A line here allows the command as it stands and no other; found by asking sudo 1.9.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sovtui.onbox.rights import PROGRAMS, SYSTEMCTL

MAX_UID = 2**32 - 2
PLACES = tuple(
    f"{folder}/{name}"
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin", "/run/current-system/sw/bin")
    for name in PROGRAMS
)
"""Where a host may say that a program lies: another place would be nobody's business to run as root."""
_ORDINARY = re.compile(r"[a-z_][a-z0-9_.-]*")
_GLOB, _GRAMMAR = "*?[]!", ":,=# \t"


def quoted(word: str) -> str:
    """One word of a command for both readers."""
    return "".join("\\" * 4 if c == "\\" else f"\\{c}" if c in _GLOB + _GRAMMAR else c for c in word)


def user(name: str, uid: int | None = None) -> str:
    """A login for sudoers: by its number, which can mean nobody else, else by its name.

    Names are compared without regard to capitals, and `ALL`, an alias or a group are words of the same form.
    """
    if uid is not None and 0 <= uid <= MAX_UID:
        return f"#{uid}"
    if _ORDINARY.fullmatch(name):
        return name
    if re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        return f'"{name}"'
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or chr(byte) in "_-." else f"\\x{byte:02x}" for byte in name.encode()
    )


def placed(argv: Sequence[str], programs: Sequence[str]) -> list[str]:
    """The command with its program where it lies on that host."""
    name = argv[0].rpartition("/")[2]
    path = next((path for path in programs if path in PLACES and path.rpartition("/")[2] == name), argv[0])
    return [path, *argv[1:]]


def sudoers_line(who: str, argv: Sequence[str]) -> str:
    """One line for exactly this command. `who`: see `user`."""
    return f"{who} ALL=(root) NOPASSWD: {' '.join([argv[0], *(quoted(word) for word in argv[1:])])}"


def no_tty_line(who: str) -> str:
    """For a sudo that wants a terminal."""
    return f"Defaults:{who} !requiretty"


def polkit_rule(name: str, commands: Sequence[Sequence[str]]) -> str:
    """A rule file that lets this user do exactly this with exactly these units. Only systemctl asks polkit: other commands are left out."""
    units: dict[str, list[str]] = {}
    for verb, unit in sorted(((argv[1], argv[-1]) for argv in commands if argv[0] == SYSTEMCTL), key=lambda pair: pair[1]):
        verbs = units.setdefault(unit, [])
        if verb not in verbs:
            verbs.append(verb)
    return "\n".join(
        [
            "polkit.addRule(function(action, subject) {",
            '    if (action.id != "org.freedesktop.systemd1.manage-units" || subject.user != ' + json.dumps(name) + ") {",
            "        return polkit.Result.NOT_HANDLED;",
            "    }",
            "    var allowed = {",
            *(f"        {json.dumps(unit)}: {json.dumps(verbs)}," for unit, verbs in units.items()),
            "    };",
            '    var verbs = allowed[action.lookup("unit")] || [];',
            '    return verbs.indexOf(action.lookup("verb")) >= 0 ? polkit.Result.YES : polkit.Result.NOT_HANDLED;',
            "});",
        ]
    )
