"""The owner's own scripts that switch: one for all (`switch.sh qwen`) or one per mode (`forensic-mode.sh`), and what they ask."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sovtui.onbox import box, commandline, lookquestions, lookscripts, shellwords

Told = dict[str, Any]
_PLACES = ("~", "~/bin", "~/scripts", "~/.local/bin", "/usr/local/bin", "/usr/local/sbin", "/opt", "/srv", "/data")
_PROFILES = (
    "~/.bashrc", "~/.bash_aliases", "~/.bash_profile", "~/.bash_login", "~/.profile", "~/.zshrc", "~/.zprofile", "~/.zshenv",
    "~/.config/fish/config.fish", "/etc/profile", "/etc/bash.bashrc", "/etc/environment",
)  # fmt: skip
_NAMED = re.compile(r"(?<![\w.$}/-])((?:~|\$HOME|\$\{HOME\})?(?:/[\w.+@-]+)+)")
_SYSTEM = re.compile(
    r"/(?:|usr(?:/(?!local/s?bin)[\w.-]+)*|bin|sbin|lib\w*|etc(?:/.*)?|proc(?:/.*)?|sys(?:/.*)?|dev(?:/.*)?|run(?:/.*)?|var(?:/.*)?|"
    r"tmp|boot|snap|nix|home|root/\.\w.*|mnt|media)\Z"
)
"""Folders that are no owner's; their parents are not looked into either."""
_PASSED = re.compile(
    r"(?:\..*|node_modules|site-packages|dist-packages|__pycache__|venv|env|lib|lib64|include|share|models?|weights|checkpoints|"
    r"datasets?|hub|cache|build|blobs|snapshots|logs?|tests?|docs?)\Z"
)
_LIKELY = re.compile(r"(switch|mode|llm|model|engine|gpu|start|serve|use|run)", re.IGNORECASE)
_WORD = re.compile(r"^\s*\(?([A-Za-z][A-Za-z0-9_-]*(?:\s*\|\s*[A-Za-z][A-Za-z0-9_-]*)*)\)", re.MULTILINE)
_SWITCHES = re.compile(r"(mode|switch)", re.IGNORECASE)
_FUNCTION = re.compile(r"^\s*(?:function\s+)?([A-Za-z_][\w-]*)\s*(?:\(\))?\s*\{\s*$(.*?)^\s*\}", re.MULTILINE | re.DOTALL)
_CONTROL = re.compile(r"\b(systemctl|docker|podman)\b")
MOST_FOLDERS, MOST_READ, MOST_TOLD, DEEP = 400, 500, 40, 3


def scripts(units: Iterable[Told] = (), cron: Iterable[Told] = ()) -> list[Told]:
    """Executable scripts that control units or containers, below the usual places and any that units, cron or profiles name."""
    found: list[Told] = []
    candidates = list(_candidates(_folders(units, cron)))
    candidates.sort(key=lambda path: _LIKELY.search(os.path.basename(path)) is None)
    for path in candidates[:MOST_READ]:
        told = script(path)
        if told is not None:
            found.append(told)
    return found[:MOST_TOLD]


def _folders(units: Iterable[Told], cron: Iterable[Told]) -> list[tuple[str, int]]:
    """Where to look, and how deep."""
    texts = [line["line"] for line in cron]
    for unit in units:
        texts += [" ".join(argv) for argv in unit.get("commands", ())]
        texts += [*unit.get("files", ()), *unit.get("script", ()), unit.get("folder", "")]
    texts += [box.read(path, lookscripts.MAX_SCRIPT) for path in _profiles()]
    named: dict[str, int] = {}
    for text in texts:
        for word in _NAMED.findall(text):
            path = os.path.expanduser(re.sub(r"\A\$(?:HOME|\{HOME\})", "~", word))
            folder = path if os.path.isdir(path) else os.path.dirname(path)
            parent = os.path.dirname(folder)
            if _own(folder):
                named.setdefault(folder, DEEP)
                if parent.count("/") > 1 and _own(parent) and parent != os.path.expanduser("~"):
                    named.setdefault(parent, DEEP)
    usual = {os.path.expanduser(place): 2 if place in ("/opt", "/srv", "/data", "~/scripts") else 0 for place in _PLACES}
    return [(folder, deep) for folder, deep in {**usual, **named}.items() if os.path.isdir(folder)][:MOST_FOLDERS]


def _own(folder: str) -> bool:
    return bool(folder) and not _SYSTEM.match(folder) and "/site-packages" not in folder


def _profiles() -> list[str]:
    return [os.path.expanduser(path) for path in _PROFILES] + sorted(glob.glob("/etc/profile.d/*.sh"))[:40]


def _candidates(folders: Sequence[tuple[str, int]]) -> Iterator[str]:
    seen: set[str] = set()
    count = 0
    waiting = list(folders)
    while waiting and count < MOST_FOLDERS:
        folder, deep = waiting.pop(0)
        folder = os.path.realpath(folder)
        count += 1
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)[:400]
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if deep and not _PASSED.match(entry.name):
                        waiting.append((entry.path, deep - 1))
                elif entry.is_file() and (path := os.path.realpath(entry.path)) not in seen:
                    seen.add(path)
                    if os.access(path, os.X_OK) and 16 < os.path.getsize(path) <= lookscripts.MAX_SCRIPT:
                        yield entry.path
            except OSError:
                continue


def script(path: str) -> Told | None:
    """One script: the words that it takes, what it starts, and what it asks. None where it controls nothing."""
    if not os.access(path, os.X_OK):
        return None
    text = box.read(path, lookscripts.MAX_SCRIPT)
    if not text.startswith("#!") or "\0" in text or not _CONTROL.search(text):
        return None
    whole = lookscripts.with_sourced(text, path)
    words = [word.strip() for group in _WORD.findall(text) for word in group.split("|")]
    started = _started(whole, path) if lookscripts.SHELL.match(text) else []
    if not words and not started:
        return None
    told: Told = {
        "t": "script",
        "path": path,
        "words": list(dict.fromkeys(words))[:30],
        "starts": list(dict.fromkeys(started))[:40],
        **lookquestions.questions(text),
    }
    return {key: value for key, value in told.items() if value not in ("", [], {})}


def _started(text: str, path: str, known: shellwords.Known | None = None, whole: str = "", depth: int = 0) -> list[str]:
    """Units, containers and services of compose that it starts: `x.service`, `user:x.service`, `container:x`, `compose:FOLDER:x`.

    `known` are the words of a function's call, `whole` is the script that it is of.
    """
    found: list[str] = []
    folder = os.path.dirname(path)
    functions = dict(_FUNCTION.findall(whole or text))
    for command in shellwords.commands(text, {"HOME": os.path.expanduser("~"), "0": path, **(known or {})}):
        if command[:1] == ["cd"] and len(command) > 1:
            place = os.path.dirname(path) if command[1] == "$(…)" else command[1]
            folder = place if place.startswith("/") else os.path.join(folder, place)
        if command[0] in functions and depth < 3:
            args: shellwords.Known = {"@": command[1:], **{str(i): word for i, word in enumerate(command[1:10], 1)}}
            found += _started(functions[command[0]], path, args, whole or text, depth + 1)
        for run in commandline.runs(command):
            if run.words and os.path.basename(run.words[0]) == "systemctl":
                found += _units(run.words, again=_SWITCHES.search(os.path.basename(path)) is not None)
            names = run.starts or ((run.name,) if run.image and run.name else ())
            found += [f"container:{name}" for name in names if "$" not in name]
            if run.project:
                where = run.project.folder or (os.path.dirname(run.project.files[0]) if run.project.files else "") or folder
                where = os.path.normpath(os.path.join(folder, where))
                found += [f"compose:{run.project.name or where}:{one}" for one in run.project.services or ("",)]
    return found


def _units(words: Sequence[str], again: bool) -> list[str]:
    """What `systemctl` starts. What it starts again counts only (`again`) where the script is called like one that switches."""
    rest = [word for word in words[1:] if not word.startswith("-")]
    if not rest or rest[0] not in ("start", "enable", "isolate", *(("restart", "reload-or-restart") if again else ())):
        return []
    if rest[0] == "enable" and "--now" not in words:
        return []
    prefix = "user:" if "--user" in words else ""
    names = [
        word if re.search(r"\.(?:service|target|timer)\Z", word) else f"{word}.service" for word in rest[1:] if "$" not in word
    ]
    return [prefix + name for name in names]
