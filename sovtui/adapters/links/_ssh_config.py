"""What the operator's ssh_config says of a host, as OpenSSH itself reads it: `ssh -G HOST`.

Patterns, Include, Match (exec, final, …), the system's file and canonical names are then right by definition, and what a
newer ssh brings is too. Where there is no ssh, asyncssh's parser answers (`_ssh_parse`). Nothing is connected here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sovtui.adapters import children
from sovtui.adapters.links._target import Target
from sovtui.core.clean import Clean, clean
from sovtui.ports.errors import Refused, Unreachable

try:
    import pwd
except ImportError:  # not on Windows
    pwd = None  # type: ignore[assignment]

READ_SECONDS = 20.0
"""For ssh to answer: `Match exec` may run a command, and canonical names ask the DNS."""
SYSTEM_FILES = (Path("/etc/ssh/ssh_config"), Path(os.environ.get("PREFIX", "/usr/local")) / "etc/ssh/ssh_config")
_PATHS = re.compile(r"\s+(?=[~/])")
_LISTS = ("kexalgorithms", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms", "casignaturealgorithms")
_OLD = re.compile("sha1|ssh-rsa")
_ADDED = re.compile(r"^[ \t]*\w+[ \t=]+\"?[+^].*(sha1|ssh-rsa)", re.MULTILINE)
_usual: dict[str, dict[str, tuple[str, ...]]] = {}
"""What each ssh says without any file, asked once."""


@dataclass(frozen=True, slots=True)
class Said:
    """What applies to one host: keyword (lower case) to its values, unexpanded but for what ssh itself expands."""

    values: Mapping[str, tuple[str, ...]]
    usual: Mapping[str, tuple[str, ...]]
    """The same where no file says anything: a value that equals it was not chosen by anybody."""
    notes: tuple[Clean, ...] = ()
    """What of the files could not be taken into account, in sentences."""

    def one(self, keyword: str) -> str:
        """Its (first) value; empty where there is none, or `none`."""
        value = next(iter(self.values.get(keyword, ())), "")
        return "" if value.lower() == "none" else value

    def yes(self, keyword: str) -> bool:
        return self.one(keyword).lower() in ("yes", "true")

    def no(self, keyword: str) -> bool:
        return self.one(keyword).lower() in ("no", "false", "off")

    def chosen(self, keyword: str) -> tuple[str, ...]:
        """Its values, where somebody chose them; `none` is an empty tuple too."""
        values = self.values.get(keyword, ())
        return () if values == self.usual.get(keyword, ()) else tuple(v for v in values if v.lower() != "none")

    def silenced(self, keyword: str) -> bool:
        """Whether the files say `none`."""
        return [value.lower() for value in self.values.get(keyword, ())] == ["none"]


async def read(target: Target, files: Sequence[Path] | None, label: str) -> Said:
    """What applies to `target`. `files`: read instead of the user's and the system's. Raises `Refused`, `Unreachable`."""
    ssh = ssh_program()
    if ssh is not None:
        told, mine, theirs = None, "", ""
        with contextlib.suppress(OSError), _config(files) as places:  # there may be no room for a file
            chosen, mine, theirs = places
            told = await _ask([ssh, *(["-F", chosen] if chosen else [])], target, label)
        if told is not None:
            usual = _usual.get(ssh)
            if usual is None:
                usual = _usual[ssh] = await _ask([ssh, "-F", "none"], Target("host"), label) or {}
            values = {word: tuple(_at(mine, theirs, v) for v in values) for word, values in told.items()}
            return Said({**values, **await _added(target, files, label, values, usual)}, usual)
    from sovtui.adapters.links import _ssh_parse

    return await _ssh_parse.read(target, user_files(files), label)


async def _added(
    target: Target, files: Sequence[Path] | None, label: str, told: Mapping[str, object], usual: Mapping[str, object]
) -> dict[str, tuple[str, ...]]:
    """Lists of algorithms to which the files add with `+` what this ssh has in them anyway: `ssh -G` does not tell those from its own."""
    hidden = [word for word in _LISTS if word in told and told[word] == usual.get(word) and _OLD.search(str(told[word]))]
    texts = await asyncio.to_thread(lambda: [path.read_text("utf-8", "replace") for path in user_files(files)]) if hidden else []
    if not any(_ADDED.search(text) for text in texts):
        return {}
    from sovtui.adapters.links import _ssh_parse

    with contextlib.suppress(Refused):
        read = await _ssh_parse.read(target, user_files(files), label)
        return {word: read.values[word] for word in hidden if read.values.get(word, ("",))[0][:1] in ("+", "^")}
    return {}


def ssh_program() -> str | None:
    return shutil.which("ssh")


def user_files(files: Sequence[Path] | None) -> list[Path]:
    """The files that ssh would read, in its order, as far as they are there."""
    if files is not None:
        return list(files)
    return [path for path in (Path.home() / ".ssh" / "config", *SYSTEM_FILES) if path.is_file()]


async def _ask(ssh: list[str], target: Target, label: str) -> dict[str, tuple[str, ...]] | None:
    """`ssh -G`, parsed. None: this ssh cannot tell."""
    words = [*(["-l", target.user] if target.user else []), *(["-p", str(target.port)] if target.port else [])]
    status, out, errors = await _run([*ssh, "-T", "-G", *words, "--", target.name], label)
    if status:
        lines = [line for line in errors.splitlines() if line.strip() and ": terminating," not in line]
        text = clean("; ".join(lines[:3]) or f"ssh -G ended with status {status}", 400)
        if re.search(r"usage:|(unknown|illegal|invalid) option", errors):
            return None
        if "resolve" in text:
            raise Unreachable(
                f"cannot resolve the name {target.name} of {label}: {text}", "Check the name, the DNS or the tailnet."
            )
        raise Refused(f"the ssh configuration for {label} cannot be used: {text}", "Correct ssh_config.")
    told: dict[str, tuple[str, ...]] = {}
    for line in out.splitlines():
        word, _, value = line.partition(" ")
        word = word.lower()
        values = _PATHS.split(value) if word.endswith("knownhostsfile") else [value]
        told[word] = (*told.get(word, ()), *values)
    return told if "hostname" in told else None


async def _run(argv: list[str], label: str) -> tuple[int, str, str]:
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await children.start(argv, stdin=none, stdout=pipe, stderr=pipe)
    except OSError:
        return 1, "", "usage:"
    try:
        async with asyncio.timeout(READ_SECONDS):
            out, errors = await process.communicate()
    except TimeoutError:
        raise Refused(
            f"ssh did not read its configuration for {label} within {READ_SECONDS:g} s",
            "Look at Match exec and CanonicalizeHostname in ssh_config.",
        ) from None
    finally:
        if process.returncode is None:
            await children.end(process)
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


@contextlib.contextmanager
def _config(files: Sequence[Path] | None) -> Iterator[tuple[str, str, str]]:
    """The file for `ssh -F` (empty: none, ssh finds its own), our home and the one that ssh takes.

    ssh takes its home from the system's list of users and not from HOME, which is what says where a home is everywhere else.
    Where they differ, HOME counts here: a file that includes those of that home is handed to ssh.
    """
    mine, theirs = str(Path.home()), _listed_home()
    if files is None and mine == theirs:
        yield "", mine, theirs
    elif files is not None and len(files) <= 1:
        yield str(files[0]) if files else "none", mine, theirs
    else:
        with tempfile.NamedTemporaryFile("w", prefix="sovtui-ssh-", suffix=".conf") as file:
            file.write("".join(f'Include "{path}"\n' for path in user_files(files)))
            file.flush()
            yield file.name, mine, theirs


def _listed_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir if pwd is not None else str(Path.home())
    except KeyError:
        return str(Path.home())


def _at(mine: str, theirs: str, value: str) -> str:
    """A path under the home that ssh took, under ours."""
    return mine + value.removeprefix(theirs) if mine != theirs and value.startswith(f"{theirs}/") else value
