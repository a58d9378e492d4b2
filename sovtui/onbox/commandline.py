"""Which programs a command line really runs, wrappers taken off: shells, `env`, `nice`, `uv run`, `tmux new`, `docker run`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sovtui.onbox import containerline, shellwords
from sovtui.onbox.containerline import CONTAINERS, Run, after
from sovtui.onbox.enginewords import HELPER, READERS, SHELLS, base, engine

DEEPEST = 8
_PLAIN = ((), 0)
WRAPPERS: dict[str, tuple[Sequence[str], int]] = {
    "exec": (("-a",), 0), "builtin": _PLAIN, "command": _PLAIN, "nohup": _PLAIN, "setsid": _PLAIN, "time": (("-o", "-f"), 0),
    "nice": (("-n", "--adjustment"), 0), "ionice": (("-c", "-n", "--class", "--classdata"), 0), "chrt": (("-T", "-P", "-D"), 1),
    "taskset": ((), 1), "timeout": (("-s", "-k", "--signal", "--kill-after"), 1), "stdbuf": (("-i", "-o", "-e"), 0),
    "numactl": (
        ("-i", "-N", "-m", "-C", "-P", "-w", "--interleave", "--cpunodebind", "--membind", "--physcpubind", "--preferred"), 0,
    ),
    "sudo": (("-u", "-g", "-C", "-D", "-h", "-p", "-R", "-T", "-U", "--user", "--group", "--chdir", "--host", "--prompt"), 0),
    "doas": (("-u", "-C"), 0), "gosu": ((), 1), "su-exec": ((), 1), "setuidgid": ((), 1), "s6-setuidgid": ((), 1),
    "chpst": (("-u", "-U", "-b", "-e", "-d", "-m", "-l", "-L", "-n", "-/", "-s", "-o", "-p"), 0),
    "setpriv": (("--reuid", "--regid", "--groups", "--bounding-set", "--inh-caps", "--ambient-caps", "--securebits"), 0),
    "tini": (("-p", "-e"), 0), "docker-init": (("-p", "-e"), 0), "dumb-init": (("-r", "--rewrite"), 0), "catatonit": _PLAIN,
    "prlimit": _PLAIN, "choom": (("-n",), 0), "cgexec": (("-g",), 0), "unshare": _PLAIN, "firejail": _PLAIN, "chroot": ((), 1),
    "systemd-run": (
        ("-p", "-u", "-E", "-d", "-M", "-H", "--property", "--unit", "--slice", "--uid", "--gid", "--nice", "--setenv",
         "--description", "--working-directory", "--service-type", "--machine", "--host"), 0,
    ),
    "systemd-inhibit": (("--what", "--who", "--why", "--mode"), 0), "systemd-cat": (("-t", "-p", "--identifier", "--priority"), 0),
    "flock": (("-w", "-E", "--timeout", "--conflict-exit-code"), 1), "envdir": ((), 1), "chronic": _PLAIN, "unbuffer": _PLAIN,
    "xvfb-run": (("-n", "-s", "-e", "-f", "-p", "-w"), 0), "dbus-run-session": _PLAIN, "eatmydata": _PLAIN, "nocache": _PLAIN,
    "catchsegv": _PLAIN, "gamemoderun": _PLAIN, "prime-run": _PLAIN, "vglrun": _PLAIN, "fakeroot": _PLAIN, "with-contenv": _PLAIN,
    "strace": (("-o", "-e", "-s", "-p"), 0), "ltrace": (("-o", "-e"), 0), "valgrind": _PLAIN,
    "uvx": (("--from", "--with", "-p", "--python", "--index-url", "--extra-index-url", "--env-file"), 0),
}  # fmt: skip
"""Programs that run what stands behind them: their options with a value of its own, and how many words follow the options."""
_PYTHON_RUNS = ("--with", "-p", "--python", "--project", "--directory", "--extra", "--group", "--env-file", "--index-url",
                "--extra-index-url", "--from", "--spec", "-n", "--name", "--prefix", "--cwd", "-e", "--environment",
                "--manifest-path", "-f", "--file", "--config", "-c")  # fmt: skip
SUB_WRAPPERS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "uv": (("run", "tool run"), _PYTHON_RUNS), "pipx": (("run",), _PYTHON_RUNS), "poetry": (("run",), ()), "pdm": (("run",), ()),
    "pipenv": (("run",), ()), "hatch": (("run",), ()), "rye": (("run",), ()), "pixi": (("run",), _PYTHON_RUNS),
    "conda": (("run",), _PYTHON_RUNS), "mamba": (("run",), _PYTHON_RUNS), "micromamba": (("run",), (*_PYTHON_RUNS, "-r")),
    "mise": (("exec", "x"), ()), "asdf": (("exec",), ()), "dotenv": (("run",), ("-f", "--file")), "doppler": (("run",), ("-p", "-c")),
    "op": (("run",), ("--env-file",)), "infisical": (("run",), ("--env", "--path")), "nsys": (("profile", "launch"), ("-o", "-t", "-w")),
    "nix": (("run", "develop", "shell"), ("-c", "--command")), "gdb": (("--args",), ()),
}  # fmt: skip
"""The same, after a word of their own."""
_STARTER = re.compile(r"(?i)\.(?:ba|z)?sh\Z|entry-?point|wrapper|(?:^|[-_.])(?:run|start|exec|launch|serve|with)(?:[-_.]|\Z)")


def runs(words: Sequence[str], env: Mapping[str, str] | None = None, depth: int = 0) -> list[Run]:
    """What a command line runs: one program, or several where it is a shell's."""
    own, rest = shellwords.assigned(words)
    known = {**(env or {}), **own}
    if not rest or depth > DEEPEST:
        return []
    name = base(rest[0])
    if name in SHELLS:
        text, args = shell_text(rest)
        if not text:
            return [Run(tuple(rest[_first(rest) :] or rest), known)]
        place: shellwords.Known = {
            "@": list(args[1:]),
            "0": args[0] if args else name,
            **{str(i): word for i, word in enumerate(args[1:10], 1)},
        }
        found = shellwords.commands(text, {**known, **place})
        return [run for command in found for run in runs(command, env, depth + 1)]
    if name == "env":
        return _env(rest, known, depth)
    if name in ("su", "runuser", "script", "flock", "sg") and (text := _option(rest, "-c", "--command")):
        return [run for command in shellwords.commands(text, known) for run in runs(command, env, depth + 1)]
    if name in ("su", "runuser"):
        following = rest[rest.index("--") + 1 :] if "--" in rest else after(rest, ("-u", "-g", "-s", "-G"), 0)
        return runs(following, known, depth + 1)
    if name == "command" and rest[1:2] and rest[1] in ("-v", "-V"):
        return [Run(tuple(rest), known)]
    if name in WRAPPERS:
        return runs(after(rest, *WRAPPERS[name]), known, depth + 1) or [Run(tuple(rest), known)]
    if name in SUB_WRAPPERS:
        inner = _sub(rest, *SUB_WRAPPERS[name])
        return runs(inner, known, depth + 1) if inner else [Run(tuple(rest), known)]
    if name in ("tmux", "screen"):
        return _terminal(rest, known, depth) or [Run(tuple(rest), known)]
    if name in ("apptainer", "singularity"):
        inner = _sub(
            rest, ("exec", "run"), ("-B", "--bind", "--env", "--env-file", "-H", "--home", "-W", "--pwd", "-S", "--overlay")
        )
        return [replace(run, image=inner[0]) for run in runs(inner[1:], known, depth + 1) or [Run((), known)]] if inner else []
    if name in ("distrobox", "distrobox-enter", "toolbox") and "--" in rest:
        return runs(rest[rest.index("--") + 1 :], known, depth + 1)
    if name in CONTAINERS:
        return [_inside(containerline.container(rest, known), depth)]
    if name in ("docker-compose", "podman-compose"):
        return [Run(tuple(rest), known, project=containerline.compose(rest[1:]))]
    if (inner := _started(rest)) and name not in READERS:
        return runs(inner, known, depth + 1)
    return [Run(tuple(rest), known)]


def _started(words: Sequence[str]) -> list[str]:
    """What a script that starts others (`entrypoint.sh vllm serve m`, `with-gpu -- llama-server`) is given to start."""
    name = base(words[0])
    if HELPER.search(name) or (not _STARTER.search(name) and "--" not in words[1:4]):
        return []
    rest = list(words[words.index("--") + 1 :]) if "--" in words[1:4] else list(words[_first(words) :])
    return rest if len(rest) > 1 and any(engine(run) for run in runs(rest, depth=DEEPEST - 2)) else []


def _first(words: Sequence[str]) -> int:
    """Where the options end."""
    index = 1
    while index < len(words) and words[index].startswith(("-", "+")):
        index += 2 if words[index] in ("-o", "-O", "+o", "+O", "--rcfile", "--init-file") else 1
    return index


def _inside(run: Run, depth: int) -> Run:
    """A container's command without the wrappers in it."""
    if not run.image or not run.words or run.words[0].startswith("-"):
        return run
    inner = next((one for one in runs(run.words, run.env, depth + 1) if engine(one)), None)
    return run if inner is None else replace(run, words=inner.words, env=inner.env)


def shell_text(words: Sequence[str]) -> tuple[str, list[str]]:
    """The text of `sh -c TEXT`, and the words behind it; empty where it runs a file."""
    words = list(words[1:] if base(words[0]) == "busybox" else words)
    for index in range(1, len(words)):
        word = words[index]
        if re.match(r"-[A-Za-z]*c[A-Za-z]*\Z", word):
            return (words[index + 1], words[index + 2 :]) if index + 1 < len(words) else ("", [])
        if not word.startswith(("-", "+")) and words[index - 1] not in ("-o", "-O", "+o", "+O"):
            break
    return "", []


def _env(words: Sequence[str], env: Mapping[str, str], depth: int) -> list[Run]:
    index = 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        if word in ("-S", "--split-string") and index + 1 < len(words):
            return runs([*words[index + 1].split(), *words[index + 2 :]], env, depth + 1)
        if word.startswith("--split-string="):
            return runs([*word.partition("=")[2].split(), *words[index + 1 :]], env, depth + 1)
        if word.startswith("-S") or re.match(r"-[iv0]+S", word):
            return runs([*word.partition("S")[2].split(), *words[index + 1 :]], env, depth + 1)
        index += 2 if word in ("-u", "-C", "--unset", "--chdir") else 1
    return runs(words[index:], env, depth + 1)


def _sub(words: Sequence[str], subs: Sequence[str], values: Sequence[str]) -> list[str]:
    """What follows one of the words `subs` and its options."""
    for index in range(1, min(len(words), 12)):
        for sub in subs:
            parts = sub.split()
            if list(words[index : index + len(parts)]) == parts:
                last = index + len(parts) - 1
                if "--" in words[last + 1 : last + 8]:
                    return list(words[words.index("--", last + 1) + 1 :])
                if (
                    any(part in ("-c", "--command") for part in values)
                    and sub in ("run", "develop", "shell")
                    and words[0] == "nix"
                ):
                    text = _option(words[last:], "-c", "--command")
                    return list(words[words.index(text, last) :]) if text else []
                return after(words[last:], values, 0)
        if not words[index].startswith("-") and words[index - 1] not in values:
            return []
    return []


def _terminal(words: Sequence[str], env: Mapping[str, str], depth: int) -> list[Run]:
    """What is started in a session of tmux or screen."""
    name = base(words[0])
    if name == "screen":
        if "stuff" in words:
            text = " ".join(words[words.index("stuff") + 1 :]).replace("\\n", "\n").replace("^M", "\n")
            return [run for command in shellwords.commands(text, env) for run in runs(command, env, depth + 1)]
        index = 1
        while index < len(words) and words[index].startswith("-"):
            index += 2 if re.match(r"-[A-Za-z]*[SchptTesr]\Z", words[index]) else 1
        return runs(words[index:], env, depth + 1)
    index = next(
        (
            i
            for i, word in enumerate(words)
            if re.match(r"(?:new|new-session|new-window|neww|split-window|splitw|respawn-(?:pane|window))\Z", word)
        ),
        0,
    )
    if index:
        rest = after(words[index:], ("-s", "-n", "-c", "-e", "-t", "-x", "-y", "-F", "-f", "-l", "-p"), 0)
    else:
        index = next((i for i, word in enumerate(words) if word in ("send-keys", "send")), 0)
        rest = after(words[index:], ("-t", "-N"), 0) if index else []
        rest = [" ".join(word for word in rest if word not in ("Enter", "C-m", "KPEnter"))]
    if len(rest) == 1:
        return [run for command in shellwords.commands(rest[0], env) for run in runs(command, env, depth + 1)]
    return runs(rest, env, depth + 1)


def _option(words: Sequence[str], *names: str) -> str:
    for index, word in enumerate(words):
        for name in names:
            if word == name and index + 1 < len(words):
                return words[index + 1]
            if word.startswith(name + "=") and name.startswith("--"):
                return word[len(name) + 1 :]
    return ""
