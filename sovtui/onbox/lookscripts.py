"""Scripts as a survey reads them: what their lines say, and which engines and containers the commands in them start. Runs nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sovtui.onbox import box, commandline, enginewords, masking, shellwords
from sovtui.onbox.containerline import Run

ENGINE_WORDS = (
    r"vllm|sglang|llama[-_.]?(?:server|cpp|swap|file)|ollama|litellm|comfy|koboldcpp|tabbyapi|lmdeploy|trtllm|aphrodite|"
    r"text-generation|text-embeddings|infinity[-_]emb|whisper|llm"
)
MAX_SCRIPT = 1 << 16
DEEPEST = 3
"""Scripts that scripts run."""
MOST_COMMANDS = 40
_LINE = re.compile(
    ENGINE_WORDS + r"|\b(?:restic|borg|rsync|rclone|kopia|duplicity|systemctl|docker|podman)\b|RESTIC_REPOSITORY|BORG_REPO",
    re.IGNORECASE,
)
SHELL = re.compile(r"#!.*\b(?:ba|da|z|k|fi)?sh\b")
_COMMAND = re.compile(r"\b(?:restic|borg|rsync|rclone|kopia|duplicity|systemctl|docker|podman)\b")
"""What is told of scripts in other languages."""
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_SOURCED = re.compile(r"^[ \t]*(?:source|\.)[ \t]+([\"']?)([^\s\"';&|]+)\1.*$", re.MULTILINE)
_PATH = ("/usr/local/bin", "/usr/local/sbin", "~/.local/bin", "~/bin", "/opt/bin")


@dataclass
class Reading:
    """What the scripts of a command line hold."""

    lines: list[str] = field(default_factory=list)
    """Those that start engines, control units or back up, as they are written, without what is not known to be harmless."""
    commands: list[list[str]] = field(default_factory=list)
    """Those that start an engine or a container, as words."""
    files: list[str] = field(default_factory=list)


def read_through(argv: Sequence[str], env: Mapping[str, str], folder: str = "") -> Reading:
    """Every script that a command line runs, and those that these run. `folder`: where it is run."""
    reading = Reading()
    text, _ = commandline.shell_text(argv) if argv and enginewords.base(argv[0]) in enginewords.SHELLS else ("", [])
    if text:
        reading.lines.append(masking.text(substituted(text, env)))
        reading.commands += in_text(argv, env)
    _visit(argv, env, folder, reading, 0)
    return reading


def in_text(argv: Sequence[str], env: Mapping[str, str]) -> list[list[str]]:
    """The commands of a `sh -c TEXT` that start an engine or a container."""
    if not argv or enginewords.base(argv[0]) not in enginewords.SHELLS:
        return []
    text, args = commandline.shell_text(argv)
    known: shellwords.Known = {**env, "@": list(args[1:]), **{str(i): word for i, word in enumerate(args)}}
    found = []
    for command in shellwords.commands(text, known)[:200]:
        if any(enginewords.engine(run) or run.starts or run.project for run in commandline.runs(command)):
            found.append(command)
    return found[:MOST_COMMANDS]


def _visit(argv: Sequence[str], env: Mapping[str, str], folder: str, reading: Reading, depth: int) -> None:
    for run in commandline.runs(argv, env):
        if depth and len(reading.commands) < MOST_COMMANDS and (enginewords.engine(run) or run.starts or run.project):
            reading.commands.append(placed(argv, folder))
            return
        path = "" if enginewords.engine(run) else _file(run.words, folder)
        if not path or path in reading.files or depth >= DEEPEST:
            continue
        text = box.read(path, MAX_SCRIPT)
        if not text.startswith("#!") or "\0" in text:
            continue
        reading.files.append(path)
        shell = SHELL.match(text) is not None
        lines = telling(text, env)
        reading.lines += map(masking.text, lines) if shell else [masking.code(line) for line in lines if _COMMAND.search(line)]
        if shell:
            args = list(run.words[run.words.index(path) + 1 :] if path in run.words else run.words[1:])
            _follow(text, path, args, {**env, **run.env}, folder, reading, depth)


def _follow(text: str, path: str, args: list[str], env: Mapping[str, str], folder: str, reading: Reading, depth: int) -> None:
    known: shellwords.Known = {"HOME": os.path.expanduser("~"), **env, "@": args, "*": " ".join(args), "0": path}
    known.update({str(number): word for number, word in enumerate(args[:9], 1)})
    for command in shellwords.commands(with_sourced(text, path), known):
        if command[0] == "cd" and len(command) > 1:
            place = os.path.dirname(path) if command[1] == "$(…)" else command[1]
            folder = place if place.startswith("/") else os.path.join(folder, place) if folder else ""
        else:
            _visit(command, env, folder, reading, depth + 1)


def placed(argv: Sequence[str], folder: str) -> list[str]:
    """With the whole path of a script that is named from `folder`: `main.py` of ComfyUI tells nothing alone."""
    words = list(argv)
    for index, word in enumerate(words[:8]):
        relative = word.startswith(("./", "../")) or (word.endswith(".py") and not word.startswith(("/", "-")))
        if folder and relative and "=" not in word and words[index - 1 : index] != ["-m"]:
            words[index] = os.path.normpath(os.path.join(folder, word))
            break
    return words


def with_config(argv: Sequence[str], folder: str = "", mounts: Mapping[str, str] | None = None) -> list[str]:
    """With what the file says that `--config` of vLLM or SGLang names; the command line wins. `mounts`: a container's paths, here."""
    words = list(argv)
    if enginewords.engine(Run(tuple(words))) not in ("vllm", "sglang"):
        return words
    name = next((words[i + 1] for i, word in enumerate(words[:-1]) if word == "--config"), "")
    name = name or next((word[9:] for word in words if word.startswith("--config=")), "")
    for inside, outside in sorted((mounts or {}).items(), key=lambda pair: -len(pair[0])):
        if name.startswith(inside.rstrip("/") + "/") or name == inside:
            name = outside.rstrip("/") + name[len(inside.rstrip("/")) :]
            break
    text = box.read(os.path.join(folder, name), MAX_SCRIPT) if name and (folder or name.startswith("/")) else ""
    given = {word.partition("=")[0] for word in words}
    for key, value in re.findall(r"^([A-Za-z][\w-]*):[ \t]*(.*?)[ \t]*(?:#.*)?$", text, re.MULTILINE):
        option, value = f"--{key.replace('_', '-')}", value.strip("\"'")
        if option not in given and value.lower() != "false":
            words += [option, *(value.strip("[]").replace('"', "").split(",")[:1] if value and value.lower() != "true" else [])]
    return words


def _file(words: Sequence[str], folder: str) -> str:
    """The script that a program is, by its whole path; empty where it is none that can be read."""
    if not words or words[0].startswith("-") or "$" in words[0]:
        return ""
    word = words[0]
    if "/" in word:
        places = [word if word.startswith("/") else os.path.join(folder, word) if folder else ""]
    else:
        places = [os.path.join(os.path.expanduser(place), word) for place in _PATH]
    for place in places:
        if place and os.path.isfile(place) and os.path.getsize(place) <= MAX_SCRIPT:
            return place
    return ""


def with_sourced(text: str, path: str, depth: int = 0) -> str:
    """With the files in place that a script reads its variables from."""

    def content(match: re.Match[str]) -> str:
        name = match.group(2).replace("${HOME}", "~").replace("$HOME", "~")
        place = os.path.expanduser(name)
        if not place.startswith("/") and "$" not in place:
            place = os.path.join(os.path.dirname(path), place)
        if os.path.basename(place) == "activate" or depth > 1:
            return match.group(0)
        found = box.read(place, MAX_SCRIPT)
        return with_sourced(found, place, depth + 1) if found and "\0" not in found else match.group(0)

    return _SOURCED.sub(content, text)


def substituted(text: str, env: Mapping[str, str]) -> str:
    """With the values of simple variables in place; one that holds a secret stays a name, one that is not known too."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(3)
        if masking.secret_name(name):
            return match.group(0)
        return env.get(name, match.group(2) if match.group(2) is not None else match.group(0))

    return _VARIABLE.sub(value, text)


def telling(text: str, env: Mapping[str, str] | None = None) -> list[str]:
    """The telling lines of a script, continued ones joined, its own simple variables in place."""
    known = dict(env or {})
    found = []
    for line in _lines(text):
        assigned = re.match(
            r"(?:export\s+|local\s+|readonly\s+)?([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|[^\s;&|]*)\s*$", line
        )
        if assigned:
            known.setdefault(assigned.group(1), substituted(assigned.group(2).strip("\"'"), known))
        if _LINE.search(line):
            found.append(substituted(line, known))
    return found


def _lines(text: str) -> Iterator[str]:
    for raw in re.sub(r"\\\n\s*", " ", text).splitlines():
        line = raw.strip()
        if line and not line.startswith("#"):
            yield line
