"""Units and timers as a survey tells them: what they start, when, by whom. Reads only; secrets stay on the box."""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sovtui.onbox import box, lookscripts, masking

HINT = re.compile(
    lookscripts.ENGINE_WORDS
    + r"|prometheus|alertmanager|victoria|exporter|grafana|restic|borg|rsync|rclone|kopia|duplicity|backup|"
    r"watchtower|auto-?update|docker\.service|podman|nvidia|cuda|gpu",
    re.IGNORECASE,
)
_ENGINE = re.compile(lookscripts.ENGINE_WORDS, re.IGNORECASE)
_PROPERTIES = (
    "Id,Description,LoadState,ActiveState,UnitFileState,Type,FragmentPath,ExecStart,Environment,EnvironmentFiles,User,"
    "TimeoutStopUSec,MainPID,ControlGroup,Triggers,Unit,TriggeredBy,TimersCalendar,TimersMonotonic,Restart,RemainAfterExit,"
    "WorkingDirectory,ExecStop"
)
_TOLD_VARIABLES = re.compile(
    r"(CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|OLLAMA_HOST|RESTIC_REPOSITORY\d*|BORG_REPO|.*PORT|HOST|"
    r"LLAMA_ARG_\w+|SERVER_ROOT_PATH|MODEL_ID|INFINITY_\w+)\Z"
)
_KEYS = ("LLAMA_API_KEY", "VLLM_API_KEY", "LITELLM_MASTER_KEY")
"""Secrets of which it is told that they are there."""
_NAME = re.compile(r"[A-Za-z0-9:_.@\\-]+\.(service|timer)")
MAX_UNITS = 300
MOST_INSTANCES = 40
AT_ONCE = 6
MOST_EXACT = 80
Told = dict[str, Any]


def units(kind: str) -> tuple[list[Told], int, str]:
    """Units of one manager (`system` or `user`) that may matter, how many there are, and why none could be seen."""
    names: dict[str, None] = {}
    templates: list[str] = []
    problem = ""
    for words in (["list-unit-files"], ["list-units", "--all"]):
        code, out, err = box.command([*_base(kind), *words, "--type=service", "--type=timer"], 15.0)
        if code:
            problem = box.last_line(err) or f"systemctl ended with {code}"
        for line in out.splitlines():
            name = line.split(maxsplit=1)[0] if line.strip() else ""
            if re.search(r"@\.service\Z", name):
                templates.append(name)
            elif _NAME.fullmatch(name) and not name.endswith("@.timer"):
                names[name] = None
    known = len(names)
    lone = []
    for template, found in instances(kind, templates).items():
        prefix = template.partition("@")[0] + "@"
        names.update(dict.fromkeys(found))
        if not any(name.startswith(prefix) for name in names):
            lone.append({"t": "template", "name": f"user:{template}" if kind == "user" else template})
    told, trouble = named(kind, list(names))
    return [*told[:MAX_UNITS], *lone], known, problem or trouble


def _base(kind: str) -> list[str]:
    return ["systemctl", *(["--user"] if kind == "user" else []), "--no-pager", "--no-legend", "--plain", "--full"]


def named(kind: str, names: Sequence[str], every: bool = False) -> tuple[list[Told], str]:
    """These units, or those of them that may matter, and why they could not be asked."""
    found: list[Told] = []
    problem = ""
    for start in range(0, len(names), 100):
        code, out, err = box.command([*_base(kind), "show", "-p", _PROPERTIES, "--", *names[start : start + 100]], 20.0)
        problem = problem or (box.last_line(err) if code else "")
        shown = [_shown(block) for block in re.split(r"\n\n(?=[A-Z][A-Za-z]+=)", out)]
        exact = _exact(kind, [one["Id"][0] for one in shown if one.get("ExecStart") and (every or _own(one))])
        for many in shown:
            told = _unit(kind, many, exact.get(many["Id"][0]), every) if many else None
            if told is not None:
                found.append(told)
    return found, problem


def instances(kind: str, templates: Sequence[str]) -> dict[str, list[str]]:
    """Of templates that name an engine: the instances that there are files for, as `EnvironmentFile=/etc/llm/%i.env` has them."""
    found: dict[str, list[str]] = {}
    if not templates:
        return found
    _, out, _ = box.command([*_base(kind), "cat", "--", *dict.fromkeys(templates)], 15.0)
    home, etc = os.path.expanduser("~"), "/etc" if kind == "system" else os.path.expanduser("~/.config")
    for part in re.split(r"^# (?=/\S+@\.service(?:\.d/\S+)?$)", out, flags=re.MULTILINE):
        name = re.search(r"([A-Za-z0-9:_.\\-]+@\.service)", part.split("\n", 1)[0])
        if name is None or not _ENGINE.search(part):
            continue
        mine = found.setdefault(name.group(1), [])
        for raw in re.findall(r"(?:^|[\s=\"'-])(/[^\s\"']*%[iI][^\s\"']*|%[hE][^\s\"']*%[iI][^\s\"']*)", part, re.MULTILINE):
            pattern = raw.replace("%h", home).replace("%E", etc)
            if re.search(r"%[^iI]", pattern) or re.search(r"[*?\[]", pattern):
                continue
            exact = re.escape(re.sub("%[iI]", "\0", pattern)).replace("\0", "([A-Za-z0-9_.:-]+)", 1).replace("\0", r"\1")
            for path in sorted(glob.glob(re.sub("%[iI]", "*", pattern)))[:MOST_INSTANCES]:
                if match := re.fullmatch(exact, path):
                    mine.append(name.group(1).replace("@.", f"@{match.group(1)}."))
    return {template: list(dict.fromkeys(names))[:MOST_INSTANCES] for template, names in found.items()}


def _exact(kind: str, names: Sequence[str]) -> dict[str, list[list[str]]]:
    """Command lines as lists, which `systemctl show` cannot tell: it leaves the quotes out."""
    waiting = list(names)[:MOST_EXACT]
    found: dict[str, list[list[str]]] = {}
    begin = ["busctl", *(["--user"] if kind == "user" else []), "--json=short", "get-property", "org.freedesktop.systemd1"]

    def work() -> None:
        while waiting:
            try:
                name = waiting.pop()
            except IndexError:
                return
            label = "".join(
                c if re.match("[A-Za-z0-9]", c) and (i or not c.isdigit()) else f"_{ord(c):02x}" for i, c in enumerate(name)
            )
            place = [f"/org/freedesktop/systemd1/unit/{label}", "org.freedesktop.systemd1.Service", "ExecStart"]
            code, out, _ = box.command([*begin, *place], 5.0)
            try:
                rows = json.loads(out)["data"] if code == 0 else []
                commands = [[str(word) for word in row[1]] for row in rows if row[1]]
            except (ValueError, LookupError, TypeError):
                continue
            if commands:
                found[name] = commands

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    return dict(found)


def _own(many: Mapping[str, list[str]]) -> bool:
    """Whether a unit is the owner's, or names an engine: the machine's own hundred need not be asked twice."""
    fragment = many.get("FragmentPath", [""])[0]
    return _local(fragment) or _ENGINE.search(" ".join([*many["Id"], *many.get("ExecStart", ())])) is not None


def _local(fragment: str) -> bool:
    return bool(fragment) and (not fragment.startswith(("/lib/", "/usr/lib/", "/run/")) or "/systemd/generator" in fragment)


def _shown(block: str) -> dict[str, list[str]]:
    many: dict[str, list[str]] = {}
    for line in block.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in _PROPERTIES.split(","):
            many.setdefault(key, []).append(value)
    return many if many.get("Id", [""])[0] else {}


def _unit(kind: str, many: dict[str, list[str]], exact: list[list[str]] | None, every: bool) -> Told | None:
    one = {key: values[0] for key, values in many.items()}
    name = one["Id"]
    if one.get("LoadState") not in ("loaded", "bad-setting", "error") or one.get("UnitFileState") == "masked":
        return None
    env = variables(one.get("Environment", ""), one.get("EnvironmentFiles", ""))
    folder = one.get("WorkingDirectory", "").lstrip("!-")
    fragment = one.get("FragmentPath", "")
    raw = exact or list(starts(many.get("ExecStart", [])))
    commands = [lookscripts.with_config(lookscripts.placed(expanded(argv, env), folder), folder) for argv in raw]
    readings = [lookscripts.read_through(argv, env, folder) for argv in commands]
    scripts = [line for reading in readings for line in reading.lines]
    said = " ".join([name, one.get("Description", ""), *(" ".join(argv) for argv in commands), *scripts])
    if not (every or one.get("ActiveState") == "failed" or HINT.search(said) or _local(fragment)):
        return None
    told: Told = {
        "t": "unit",
        "name": f"user:{name}" if kind == "user" else name,
        "description": masking.prose(one.get("Description", ""))[:200],
        "active": one.get("ActiveState", ""),
        "enabled": one.get("UnitFileState", ""),
        "type": one.get("Type", ""),
        "restart": one.get("Restart", ""),
        "user": one.get("User", ""),
        "remains": one.get("RemainAfterExit") == "yes",
        "transient": fragment.startswith("/run/") and "/transient/" in fragment,
        "unread": [
            path for path in _env_files(one.get("EnvironmentFiles", "")) if os.path.exists(path) and not os.access(path, os.R_OK)
        ],
        "stops": bool(many.get("ExecStop")),
        "folder": folder,
        "commands": [masking.words(argv)[:160] for argv in commands[:6]],
        "runs": [masking.words(argv)[:160] for reading in readings for argv in reading.commands][:20],
        "files": [path for reading in readings for path in reading.files][:20],
        "script": [line[:600] for line in scripts[:40]],
        "env": told_variables(env),
        "stop_timeout": one.get("TimeoutStopUSec", ""),
        "cgroup": one.get("ControlGroup", ""),
        "starts": one.get("Triggers") or one.get("Unit", ""),
        "started_by": one.get("TriggeredBy", ""),
        "calendar": [m.group(1) for v in many.get("TimersCalendar", []) for m in [re.search(r"OnCalendar=(.*?) ;", v)] if m],
        "every": [m.group(1) for v in many.get("TimersMonotonic", []) for m in [re.search(r"On\w+Sec=(.*?) ;", _usec(v))] if m],
    }
    return {key: value for key, value in told.items() if value not in ("", [], {}, False)}


def told_variables(env: Mapping[str, str]) -> dict[str, str]:
    """What engines take from their environment; of a secret only that it is there."""
    told = {n: masking.value(n, v)[:300] for n, v in env.items() if _TOLD_VARIABLES.match(n) and not masking.secret_name(n)}
    return {**told, **{name: masking.MASK for name in _KEYS if env.get(name)}}


def _usec(text: str) -> str:
    """`OnUnitActiveUSec=5min` is written like the setting it comes from."""
    return re.sub(r"On(UnitActive|UnitInactive)USec=", r"On\1Sec=", text)


def starts(values: Iterable[str]) -> Iterator[list[str]]:
    """The command lines in `ExecStart` as `systemctl show` writes them; quoting is lost there."""
    for value in values:
        match = re.search(r"argv\[\]=(.*?) ; ignore_errors=", value, re.DOTALL)
        if match and match.group(1).split():
            yield match.group(1).split()


def _env_files(told: str) -> list[str]:
    names = re.findall(r"(/\S+) \(ignore_errors=\w+\)", told)
    return [path for name in names for path in (sorted(glob.glob(name)) or [name])]


def variables(environment: str, files: str) -> dict[str, str]:
    """What a unit's command line may refer to: `Environment` and the environment files that can be read."""
    found: dict[str, str] = {}
    assigned = _split(environment)
    for path in _env_files(files):
        for line in box.read(path, lookscripts.MAX_SCRIPT).splitlines():
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
        text = lookscripts.substituted(word.replace("$$", "\0"), env).replace("\0", "$")
        found += _split(text) if whole else [text]
    return found


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
