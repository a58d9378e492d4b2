"""The on-box part as a command for a link: its sources go over standard input, nothing is installed on the box."""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "sovtui.onbox"
_ONBOX = Path(__file__).parents[1] / "onbox"
"""As files: what importlib has for resources takes a third of a MiB to load."""
MINIMUM = (3, 9)

# Also parsed by Pythons that are too old: they must be able to say so. Reads exactly its own part of standard input.
# The probe's first figures are told before that comes: sshd takes no input before the command runs, which costs a round trip.
LOADER = """
import sys
if sys.version_info < (3, 9):
    print('{"t":"error","reason":"Python 3.9 or newer is needed on this host; it has %d.%d"}' % sys.version_info[:2])
    sys.exit(3)
import json, os, zlib
if sys.argv[1] == "probe":
    try:
        with open("/proc/meminfo") as file:
            m = dict((line.split(":")[0], int(line.split()[1]) << 10) for line in file)
        print(json.dumps({"t": "memory", "total": m["MemTotal"], "available": m["MemAvailable"]}), flush=True)
    except (OSError, ValueError, KeyError, IndexError):
        pass
def take(n):
    b = b""
    while len(b) < n:
        c = os.read(0, n - len(b))
        if not c:
            sys.exit(3)
        b += c
    return b
blob = take(int(take(8)))
sources, space = json.loads(zlib.decompress(blob)), {}
exec(sources["sovtui.onbox.memory"], space)
space["install"](sources, blob)
from sovtui.onbox.main import main
status = main(sys.argv[1:])
sys.stdout.flush()
os._exit(status)
""".strip()


_DOCSTRING = re.compile(r'^( *)"""(?:[^"\\]|\\.|"(?!""))*"""\n', re.MULTILINE)
_COMMENT = re.compile(r"^ *#.*\n|^ *\n|  # .*$", re.MULTILINE)
_IMPORT = re.compile(r"^from sovtui\.onbox(?:\.(\w+))? import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)


def _without_prose(source: str) -> str:
    """The same program without docstrings, comments and empty lines: half the bytes on a phone's link.

    By pattern, since a start waits for it and a parser takes a hundred times as long; a test compares what the parser says.
    """
    return _COMMENT.sub("", _DOCSTRING.sub(lambda found: f"{found[1]}pass\n" if found[1] else "", source))


_ROOTS = {
    "probe": ("probe",),
    "logs": ("logs",),
    "follow": ("follow",),
    "list": ("follow",),
    "cancel": ("launch",),
    "rights": ("launch", "authority", "journal"),
    "start": ("launch", "runner", "main"),
    "survey": ("survey",),
    "serving": ("lookserving",),
}
"""What `main` imports for each verb; only that and what it needs is sent."""


def _sources() -> dict[str, str]:
    files = sorted(_ONBOX.glob("*.py"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files if file.stem != "__init__"}


def _needed(sources: Mapping[str, str], roots: tuple[str, ...]) -> set[str]:
    """The modules that `roots` import when they are imported, themselves included."""
    found: set[str] = set()
    todo = [*roots, "main", "memory"]
    while todo:
        name = todo.pop()
        if name in found or name not in sources:
            continue
        found.add(name)
        for module, several, one in _IMPORT.findall(sources[name]):
            todo += [module] if module else (word.split()[0] for word in (several or one).split(",") if word.strip())
    return found


_making = threading.Lock()


def payload(verb: str) -> bytes:
    """The on-box modules that a verb needs, compressed. Made once; up to 20 ms, ten times that on a phone: in a thread."""
    with _making:
        return _payload(verb)


@cache
def _payload(verb: str) -> bytes:
    sources = _sources()
    wanted = {"sovtui": "", PACKAGE: ""}
    for name in sorted(_needed(sources, _ROOTS[verb])):
        wanted[f"{PACKAGE}.{name}"] = _without_prose(sources[name])
    return zlib.compress(json.dumps(wanted, separators=(",", ":")).encode(), 9)


def command(verb: str, request: Mapping[str, Any], python: str = "python3") -> tuple[list[str], bytes]:
    """The argv for a link and the first bytes of its standard input.

    Verbs: probe, logs, follow, survey, serving (run with `stream`: they end when standard input closes); start, list, cancel, rights.
    """
    argv, head = opening(verb, python)
    return argv, head + request_line(request)


def opening(verb: str, python: str = "python3") -> tuple[list[str], bytes]:
    """The same without a request: the far side loads what it needs and waits for `request_line`."""
    blob = payload(verb)
    return [python, "-IS", "-c", LOADER, verb], b"%08d" % len(blob) + blob


def request_line(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"
