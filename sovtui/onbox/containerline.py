"""What `docker run`, `docker start` and `docker compose up` start, read from their words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CONTAINERS = frozenset(("docker", "podman", "nerdctl", "podman-remote"))
BOOLEAN = frozenset(
    ("--rm", "--init", "--privileged", "--read-only", "--detach", "--interactive", "--tty", "--publish-all", "--no-healthcheck",
     "--oom-kill-disable", "--replace", "--no-hosts", "--no-hostname", "--rmi", "--env-host", "--http-proxy", "--quiet",
     "--passwd", "--sig-proxy", "--disable-content-trust", "--tls-verify", "--unsetenv-all", "--read-only-tmpfs")
)  # fmt: skip
"""Options of `docker run` and `podman run` without a value; every other one has one."""


@dataclass(frozen=True)
class Port:
    """A port of a container that is published on the machine."""

    host: int
    inside: int
    address: str = ""


@dataclass(frozen=True)
class Project:
    """A compose project that is brought up."""

    files: tuple[str, ...] = ()
    folder: str = ""
    name: str = ""
    services: tuple[str, ...] = ()
    """Empty: all of them."""
    detached: bool = False


@dataclass(frozen=True)
class Run:
    """One program that a command line runs."""

    words: tuple[str, ...] = ()
    """Itself and what it is given; of a container what follows the image."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that the command line sets."""
    image: str = ""
    name: str = ""
    """The container's."""
    ports: tuple[Port, ...] = ()
    host_network: bool = False
    starts: tuple[str, ...] = ()
    """Containers that are there and are started."""
    project: Project | None = None
    detached: bool = False
    """What it starts does not end with it."""


def container(words: Sequence[str], env: Mapping[str, str]) -> Run:
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):  # the client's own options
        rest = (
            rest[2:]
            if rest[0] in ("-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--connection", "--url")
            else rest[1:]
        )
    if rest[:1] == ["container"]:
        rest = rest[1:]
    verb = rest[0] if rest else ""
    if verb == "compose":
        return Run(tuple(words), env, project=compose(rest[1:]))
    if verb in ("start", "restart", "unpause", "attach"):
        names = [word.strip("\"';") for word in after(rest, ("-t", "--time", "--detach-keys"), 0) if not word.startswith("-")]
        attached = any(re.match(r"-[A-Za-z]*a|--attach", word) for word in rest[1:]) or verb == "attach"
        return Run(tuple(words), env, starts=tuple(names), detached=not attached)
    if verb in ("run", "create"):
        return _run(rest, env)
    return Run(tuple(words), env)


def _run(words: Sequence[str], env: Mapping[str, str]) -> Run:
    own: dict[str, str] = {}
    ports: list[Port] = []
    name, entry, network, detached = "", "", "", words[0] == "create"
    index = 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        option, equals, value = word.partition("=")
        index += 1
        if not equals and not (option in BOOLEAN or re.match(r"-[ditPq]+\Z", option)):
            if re.match(r"-[ditq]*[pevu]\S", option) and not option.startswith("--"):
                option, value = option[:2], option[2:]
            else:
                value = words[index] if index < len(words) else ""
                index += 1
        detached = detached or option == "--detach" or re.match(r"-[itPq]*d[itPq]*\Z", option) is not None
        if option == "--name":
            name = value
        elif option in ("-p", "--publish"):
            ports += _published(value)
        elif option in ("-e", "--env"):
            variable, given, content = value.partition("=")
            own[variable] = content if given else env.get(variable, "")
        elif option == "--entrypoint":
            entry = value
        elif option in ("--network", "--net"):
            network = value
    image, args = (words[index], list(words[index + 1 :])) if index < len(words) else ("", [])
    entry_words = (
        [] if not entry else [word.strip("\"'") for word in entry.strip("[]").split(",")] if entry.startswith("[") else [entry]
    )
    return Run((*entry_words, *args), own, image, name, tuple(ports), network == "host", detached=detached)


def _published(value: str) -> list[Port]:
    """`8000:8000`, `127.0.0.1:30001:8000/tcp`, `[fd7a::7]:1:2`."""
    match = re.match(r"(?:(\[[^\]]*\]|[^:]*):)?(\d+):(\d+)(?:/tcp)?\Z", value.strip("\"'"))
    return [Port(int(match.group(2)), int(match.group(3)), (match.group(1) or "").strip("[]"))] if match else []


def compose(words: Sequence[str]) -> Project | None:
    """What `compose … up` brings up; None for anything else."""
    files: list[str] = []
    folder = name = ""
    index = 0
    while index < len(words) and words[index].startswith("-"):
        option, equals, value = words[index].partition("=")
        index += 1
        if not equals and option in (
            "-f",
            "--file",
            "-p",
            "--project-name",
            "--project-directory",
            "--profile",
            "--env-file",
            "--ansi",
            "--parallel",
            "--progress",
        ):
            value = words[index] if index < len(words) else ""
            index += 1
        if option in ("-f", "--file"):
            files.append(value)
        elif option in ("-p", "--project-name"):
            name = value
        elif option == "--project-directory":
            folder = value
    verb = words[index] if index < len(words) else ""
    if verb not in ("up", "start", "restart", "create"):
        return None
    rest = after(
        words[index:],
        ("--scale", "-t", "--timeout", "--exit-code-from", "--attach", "--no-attach", "--pull", "--wait-timeout"),
        0,
    )
    detached = verb != "up" or any(word in ("-d", "--detach", "--wait") for word in words[index:])
    return Project(tuple(files), folder, name, tuple(word for word in rest if not word.startswith("-")), detached)


def after(words: Sequence[str], values: Sequence[str], positionals: int) -> list[str]:
    """What follows a command's options and `positionals` more words. `values`: options that have the next word as value."""
    index = 1
    while index < len(words) and words[index].startswith("-") and words[index] != "-":
        if words[index] == "--":
            index += 1
            break
        index += 2 if words[index] in values else 1
    while index < len(words) and words[index] == "-":
        index += 1
    return list(words[index + positionals :])
