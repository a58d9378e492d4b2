"""The on-box part as a command for a link: its sources go over standard input, nothing is installed on the box."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "sovtui.onbox"
_ONBOX = Path(__file__).parents[1] / "onbox"
"""As files: what importlib has for resources takes a third of a MiB to load."""
MINIMUM = (3, 9)

# Also parsed by Pythons that are too old: they must be able to say so. Says that it is there before it reads anything: until then
# standard input belongs to whatever the login shell runs first. Reads exactly its own part of it.
# The probe's first figures stand for that word: they are told before the rest is here.
LOADER = """
import sys
mark = chr(30) + sys.argv[1]
def tell(line):
    sys.stdout.write(mark + line + chr(10))
    sys.stdout.flush()
first = '{"t":"ready"}'
if sys.argv[2] == "probe":
    try:
        with open("/proc/meminfo") as file:
            m = dict((line.split(":")[0], int(line.split()[1]) << 10) for line in file)
        first = '{"t":"memory","total":%d,"available":%d}' % (m["MemTotal"], m["MemAvailable"])
    except (OSError, ValueError, KeyError, IndexError):
        pass
sys.stdout.write(chr(10))
tell(first)
import json, os, zlib
def take(n):
    b = b""
    while len(b) < n:
        c = os.read(0, n - len(b))
        if not c:
            if not b:
                tell('{"t":"deaf"}')
            os._exit(3)
        b += c
    return b
status = 3
try:
    if sys.version_info < (3, 9):
        tell('{"t":"error","reason":"Python 3.9 or newer is needed on this host; it has %d.%d"}' % sys.version_info[:2])
    else:
        blob = take(int(take(8)))
        sources, space = json.loads(zlib.decompress(blob)), {}
        exec(sources["sovtui.onbox.memory"], space)
        space["install"](sources, blob)
        from sovtui.onbox.main import main
        status = main(sys.argv[2:], mark)
except BaseException as error:
    tell(json.dumps({"t": "error", "reason": "the on-box part failed: %r" % error}))
tell('{"t":"over","status":%d}' % status)
os._exit(status)
""".strip()

# For a login whose start-up files read standard input: it is closed at once, and what should come by it comes as an argument.
# It comes from a pipe then, which is closed when nobody reads the output any more.
ENCLOSED = (
    """
import base64, os, select, sys, threading
r, w = os.pipe()
os.dup2(r, 0)
def give():
    try:
        data = base64.b64decode(sys.argv[3])
        while data:
            data = data[os.write(w, data):]
        end = select.poll()
        end.register(1, 0)
        end.poll()
    finally:
        os.close(w)
thread = threading.Thread(target=give)
thread.daemon = True
thread.start()
""".strip()
    + "\n"
    + LOADER
)


_DOCSTRING = re.compile(r'^( *)"""(?:[^"\\]|\\.|"(?!""))*"""\n', re.MULTILINE)
_COMMENT = re.compile(r"^ *#.*\n|^ *\n|  # .*$", re.MULTILINE)
_INDENT = re.compile(r"^(?: {4})+", re.MULTILINE)
_IMPORT = re.compile(r"^from sovtui\.onbox(?:\.(\w+))? import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)


def _without_prose(source: str) -> str:
    """The same program without docstrings, comments, empty lines and wide indents: half the bytes on a phone's link.

    By pattern, since a start waits for it and a parser takes a hundred times as long; a test compares what the parser says.
    """
    bare = _COMMENT.sub("", _DOCSTRING.sub(lambda found: f"{found[1]}pass\n" if found[1] else "", source))
    return _INDENT.sub(lambda found: found[0][::4], bare)


_ROOTS = {
    "probe": ("probe",),
    "logs": ("logs",),
    "follow": ("follow",),
    "list": ("follow",),
    "cancel": ("launch",),
    "rights": ("launch", "authority", "journal"),
    "rehearse": ("rehearsal",),
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


@dataclass(frozen=True, slots=True)
class Call:
    """One run of the on-box part: how it is begun, and by what its lines are known."""

    argv: list[str]
    head: bytes
    """What its standard input begins with, once it has said that it is there; the request follows. Empty where nothing is to follow."""
    marker: bytes
    """Begins every line of its own. New for every run, and not in `argv` as it stands: who prints that has not said it."""


def call(verb: str, python: str = "python3") -> Call:
    """A run that waits for its request. Verbs: `_ROOTS`; probe, logs, follow, survey and serving end when standard input closes."""
    blob, word = payload(verb), secrets.token_hex(8)
    return Call([python, "-IS", "-c", LOADER, word, verb], b"%08d" % len(blob) + blob, marker(word))


def enclosed(verb: str, request: Mapping[str, Any], python: str = "python3") -> Call:
    """A run that has its request with it and needs no standard input. Whoever lists processes there sees the request."""
    first = call(verb, python)
    data = base64.b64encode(first.head + request_line(request)).decode("ascii")
    return Call([python, "-IS", "-c", ENCLOSED, first.argv[-2], verb, data], b"", first.marker)


def heard(argv: Sequence[str]) -> tuple[str, bytes] | None:
    """Verb and marker of a `call`, for whoever answers in the on-box part's place; None for any other command."""
    return (argv[5], marker(argv[4])) if len(argv) == 6 and argv[3] == LOADER else None


def request_in(data: bytes) -> dict[str, Any] | None:
    """The request that was given to a `call`, for the same; None while it is not whole."""
    try:
        request = json.loads(data[8 + int(data[:8]) :])
    except ValueError:
        return None
    return request if isinstance(request, dict) else None


def marker(word: str) -> bytes:
    """A record separator, as of RFC 7464, and the run's own word."""
    return b"\x1e" + word.encode("ascii")


def request_line(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"
