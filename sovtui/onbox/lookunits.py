"""Units and timers as a survey tells them: what they start, when, by whom. Reads only; secrets stay on the box."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from sovtui.onbox import box, masking

ENGINE_WORDS = (
    r"vllm|sglang|llama[-_.]?(?:server|cpp|swap|file)|ollama|litellm|comfy|koboldcpp|tabbyapi|lmdeploy|trtllm|aphrodite|"
    r"text-generation|infinity-emb|whisper|llm"
)
HINT = re.compile(
    ENGINE_WORDS + r"|prometheus|alertmanager|victoria|exporter|grafana|restic|borg|rsync|rclone|kopia|duplicity|backup|"
    r"watchtower|auto-?update|docker\.service|podman|nvidia|cuda|gpu",
    re.IGNORECASE,
)
_LINE = re.compile(
    ENGINE_WORDS + r"|\b(?:restic|borg|rsync|rclone|kopia|duplicity|systemctl|docker|podman)\b|RESTIC_REPOSITORY|BORG_REPO",
    re.IGNORECASE,
)
_SHELL = re.compile(r"\b(?:ba|da|z|k|fi)?sh\b")
_COMMAND = re.compile(r"\b(?:restic|borg|rsync|rclone|kopia|duplicity|systemctl|docker|podman)\b")
"""What is told of scripts in other languages."""
_PROPERTIES = (
    "Id,Description,LoadState,ActiveState,UnitFileState,Type,FragmentPath,ExecStart,Environment,EnvironmentFiles,User,"
    "TimeoutStopUSec,MainPID,ControlGroup,Triggers,Unit,TriggeredBy,TimersCalendar,TimersMonotonic,Restart"
)
_TOLD_VARIABLES = re.compile(
    r"(CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|OLLAMA_HOST|RESTIC_REPOSITORY\d*|BORG_REPO|.*PORT)\Z"
)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
MAX_SCRIPT = 1 << 16
MAX_UNITS = 300
Told = dict[str, Any]


def units(kind: str) -> tuple[list[Told], int, str]:
    """Units of one manager (`system` or `user`) that may matter, how many there are, and why none could be seen."""
    base = ["systemctl", *(["--user"] if kind == "user" else []), "--no-pager", "--no-legend", "--plain", "--full"]
    names: dict[str, None] = {}
    problem = ""
    for words in (["list-unit-files"], ["list-units", "--all"]):
        code, out, err = box.command([*base, *words, "--type=service", "--type=timer"], 15.0)
        if code:
            problem = box.last_line(err) or f"systemctl ended with {code}"
        for line in out.splitlines():
            name = line.split(maxsplit=1)[0] if line.strip() else ""
            if re.fullmatch(r"[A-Za-z0-9:_.@\\-]+\.(service|timer)", name) and not re.search(r"@\.(service|timer)\Z", name):
                names[name] = None
    found: list[Told] = []
    wanted = list(names)
    for start in range(0, len(wanted), 100):
        code, out, err = box.command([*base, "show", "-p", _PROPERTIES, "--", *wanted[start : start + 100]], 20.0)
        problem = problem or (box.last_line(err) if code else "")
        for block in re.split(r"\n\n(?=[A-Z][A-Za-z]+=)", out):
            told = _unit(kind, block)
            if told is not None:
                found.append(told)
    return found[:MAX_UNITS], len(names), problem


def _unit(kind: str, block: str) -> Told | None:
    many: dict[str, list[str]] = {}
    for line in block.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in _PROPERTIES.split(","):
            many.setdefault(key, []).append(value)
    one = {key: values[0] for key, values in many.items()}
    name = one.get("Id", "")
    if not name or one.get("LoadState") not in ("loaded", "bad-setting", "error") or one.get("UnitFileState") == "masked":
        return None
    env = variables(one.get("Environment", ""), one.get("EnvironmentFiles", ""))
    commands = [expanded(argv, env) for argv in starts(many.get("ExecStart", []))]
    scripts = [line for argv in commands for line in script_lines(argv, env)]
    local = not one.get("FragmentPath", "").startswith(("/lib/", "/usr/lib/", "/run/"))
    said = " ".join([name, one.get("Description", ""), *(" ".join(argv) for argv in commands), *scripts])
    if one.get("ActiveState") != "failed" and not HINT.search(said) and not (local and one.get("FragmentPath")):
        return None
    told: Told = {
        "t": "unit",
        "name": f"user:{name}" if kind == "user" else name,
        "description": one.get("Description", "")[:200],
        "active": one.get("ActiveState", ""),
        "enabled": one.get("UnitFileState", ""),
        "type": one.get("Type", ""),
        "restart": one.get("Restart", ""),
        "user": one.get("User", ""),
        "commands": [masking.words(argv)[:120] for argv in commands[:6]],
        "script": [masking.text(line)[:600] for line in scripts[:40]],
        "env": {n: masking.plain(v)[:300] for n, v in env.items() if _TOLD_VARIABLES.match(n) and not masking.secret_name(n)},
        "stop_timeout": one.get("TimeoutStopUSec", ""),
        "cgroup": one.get("ControlGroup", ""),
        "starts": one.get("Triggers") or one.get("Unit", ""),
        "started_by": one.get("TriggeredBy", ""),
        "calendar": [m.group(1) for v in many.get("TimersCalendar", []) for m in [re.search(r"OnCalendar=(.*?) ;", v)] if m],
        "every": [m.group(1) for v in many.get("TimersMonotonic", []) for m in [re.search(r"On\w+Sec=(.*?) ;", _usec(v))] if m],
    }
    return {key: value for key, value in told.items() if value not in ("", [], {})}


def _usec(text: str) -> str:
    """`OnUnitActiveUSec=5min` is written like the setting it comes from."""
    return re.sub(r"On(UnitActive|UnitInactive)USec=", r"On\1Sec=", text)


def starts(values: Iterable[str]) -> Iterator[list[str]]:
    """The command lines in `ExecStart` as `systemctl show` writes them; quoting is lost there."""
    for value in values:
        match = re.search(r"argv\[\]=(.*?) ; ignore_errors=", value, re.DOTALL)
        if match and match.group(1).split():
            yield match.group(1).split()


def variables(environment: str, files: str) -> dict[str, str]:
    """What a unit's command line may refer to: `Environment` and the environment files that can be read."""
    found: dict[str, str] = {}
    try:
        assigned = shlex.split(environment)
    except ValueError:
        assigned = environment.split()
    for path in re.findall(r"(/\S+) \(ignore_errors=\w+\)", files):
        for line in box.read(path, MAX_SCRIPT).splitlines():
            if re.match(r"\s*[A-Za-z_][A-Za-z0-9_]*=", line):
                name, _, value = line.strip().partition("=")
                found[name] = value.strip().strip("\"'")
    for item in assigned:
        name, equals, value = item.partition("=")
        if equals:
            found.setdefault(name, value)
    return found


def expanded(argv: list[str], env: dict[str, str]) -> list[str]:
    """With the values of variables in place; one that holds a secret stays a name, one that is not known too."""
    found: list[str] = []
    for word in argv:
        whole = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
        text = substituted(word, env)
        found += text.split() if whole else [text]
    return found


def substituted(text: str, env: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(3)
        if masking.secret_name(name):
            return match.group(0)
        return env.get(name, match.group(2) if match.group(2) is not None else match.group(0))

    return _VARIABLE.sub(value, text)


def script_lines(argv: list[str], env: dict[str, str]) -> list[str]:
    """Of the scripts that a command line names, the lines that start engines, control units or back up."""
    found: list[str] = []
    for word in argv[:4]:
        if word.startswith("/") and os.path.isfile(word) and os.path.getsize(word) <= MAX_SCRIPT:
            text = box.read(word, MAX_SCRIPT)
            first = text.split("\n", 1)[0]
            if first.startswith("#!") and "\0" not in text:
                found += [line for line in telling(text, env) if _SHELL.search(first) or _COMMAND.search(line)]
    if len(argv) > 2 and os.path.basename(argv[0]) in ("sh", "bash", "dash", "zsh") and argv[1] in ("-c", "-lc", "-ec"):
        found.append(substituted(" ".join(argv[2:]), env))
    return found


def telling(text: str, env: dict[str, str] | None = None) -> list[str]:
    """The telling lines of a script, continued ones joined, its own simple variables in place."""
    known = dict(env or {})
    found = []
    for raw in re.sub(r"\\\n\s*", " ", text).splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        assigned = re.match(
            r"(?:export\s+|local\s+|readonly\s+)?([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|[^\s;&|]*)\s*$", line
        )
        if assigned:
            known.setdefault(assigned.group(1), substituted(assigned.group(2).strip("\"'"), known))
        if _LINE.search(line):
            found.append(substituted(line, known))
    return found
