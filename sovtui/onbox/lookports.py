"""Who listens: sockets, the processes behind them, and which of those are engines. Reads only."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box, enginewords, lookscripts, lookunits, masking
from sovtui.onbox.containerline import Run

Told = dict[str, Any]
NOT_HTTP = frozenset(
    [
        *(21, 22, 23, 25, 53, 88, 110, 111, 139, 143, 389, 445, 465, 515, 587, 631, 636, 873, 993, 995, 1883, 2049, 3306, 3389),
        *(5353, 5355, 5432, 5672, 5900, 6379, 8333, 9050, 9051, 9735, 10009, 11211, 27017),
    ]
)
"""Ports of things that speak something else; they are left alone."""
_CGROUP_UNIT = re.compile(r"/([A-Za-z0-9:_.@\\-]+\.service)(?:/|\Z)")
_CGROUP_CONTAINER = re.compile(r"(?:docker|libpod|cri-containerd|containerd)[-/]([0-9a-f]{12,64})")
_STARTERS = re.compile(r"(tmux|screen|supervisord|PM2|crond?|atd|sshd|code-server|jupyter)", re.IGNORECASE)
MOST_PROCESSES = 80
ELSEWHERE = "elsewhere"


def listening() -> list[Told]:
    """TCP sockets that listen: `address`, `port`, `user`, and `service` and `pid` where this user may see whose they are."""
    sockets: dict[str, Told] = {}
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in box.read(path).splitlines()[1:]:
            cells = line.split()
            if len(cells) > 9 and cells[3] == "0A":
                host, _, port = cells[1].rpartition(":")
                told: Told = {"t": "port", "address": _address(host, family), "port": int(port, 16), "user": _user(cells[7])}
                sockets[cells[9]] = told
    for pid in _pids():
        try:
            handles = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for handle in handles:
            try:
                target = os.readlink(f"/proc/{pid}/fd/{handle}")
            except OSError:
                continue
            if target.startswith("socket:[") and target[8:-1] in sockets:
                told = sockets[target[8:-1]]
                told.setdefault("pid", pid)
                told.setdefault("service", service_of(pid))
    unseen = [told for told in sockets.values() if "pid" not in told]
    if unseen:
        _attribute(unseen)
    unique: dict[tuple[str, int], Told] = {}
    for told in sorted(sockets.values(), key=lambda told: "pid" not in told):
        unique.setdefault((told["address"], told["port"]), told)
    return sorted(unique.values(), key=lambda told: told["port"])


def _attribute(unseen: list[Told]) -> None:
    """Of sockets whose process this user may not look into: the service of the one process of their user that names the port, or of all.

    `by` is `command` or `user`.
    """
    by_user: dict[str, list[tuple[list[str], str]]] = {}
    for pid in _pids():
        user = _user(str(_owner(pid)))
        if any(told["user"] == user for told in unseen):
            words = [word for word in box.read(f"/proc/{pid}/cmdline", 32768).split("\0") if word]
            if words:
                by_user.setdefault(user, []).append((words, service_of(pid)))
    for told in unseen:
        number = re.compile(rf"(?:\A|[=:]){told['port']}\Z")
        every = by_user.get(told["user"], [])
        naming = {service for words, service in every if any(number.search(word) for word in words[1:])} - {ELSEWHERE}
        all_ = {service for _, service in every} - {ELSEWHERE}
        for how, services in (("command", naming), ("user", all_)):
            if len(services) == 1 and "" not in services:
                told.update(service=services.pop(), by=how)
                break


def _user(uid: str) -> str:
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError):
        return uid


def _address(text: str, family: int) -> str:
    raw = bytes.fromhex(text)
    words = struct.unpack(f">{len(raw) // 4}I", raw)
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def service_of(pid: int) -> str:
    """`vllm.service`, `user:x.service` or `container-id:…` of a process, by its control group; empty for a login's own.

    `ELSEWHERE` for one of another machine in this one (nspawn, LXC): its units are not this machine's.
    """
    text = box.read(f"/proc/{pid}/cgroup", 4096)
    container = _CGROUP_CONTAINER.search(text)
    if container:
        return f"container-id:{container.group(1)}"
    root = _root()
    for line in text.splitlines():
        path = line.split(":", 2)[-1]
        if root and path.startswith(root + "/"):
            path = path[len(root) :]
        first = path.strip("/").partition("/")[0]
        if ".slice/" in path and (first == "machine.slice" or not first.endswith(".slice")):
            return ELSEWHERE
        names = _CGROUP_UNIT.findall(path)
        if names and names[-1].startswith("user@"):
            return ""
        if names:
            return ("user:" if "/user@" in path else "") + str(names[-1])
    return ""


def _root() -> str:
    """Where this machine's control groups begin, if it is one in another and sees the whole path."""
    for line in box.read("/proc/1/cgroup", 4096).splitlines():
        path = line.split(":", 2)[-1]
        if path.endswith("/init.scope"):
            return path[: -len("/init.scope")]
    return ""


def processes() -> list[Told]:
    """Processes that are engines. `of` is the engine that started it: then it is a part of that, no server of its own."""
    table = {pid: (_argv(pid), _parent(pid)) for pid in _pids()}
    table.pop(os.getpid(), None)
    engines = {pid: name for pid, (argv, _) in table.items() if argv and (name := enginewords.engine(Run(tuple(argv))))}
    found = []
    for pid in list(engines)[:MOST_PROCESSES]:
        service = service_of(pid)
        if service == ELSEWHERE or (not service and not _same_network(pid)):
            continue
        above = list(_above(pid, table))
        starter = next((match.group(1).lower() for one in above if (match := _STARTERS.match(_name(one)))), "")
        told: Told = {
            "t": "process",
            "pid": pid,
            "of": next((one for one in above if one in engines), 0),
            "under": starter,
            "user": _user(str(_owner(pid))),
            "command": [word[:600] for word in masking.words(table[pid][0])[:160]],
            "service": service,
            "env": lookunits.told_variables(_environment(pid)),
        }
        found.append({key: value for key, value in told.items() if value not in ("", 0, {})})
    return found


def _same_network(pid: int) -> bool:
    """Whether a process has the network that this one has: what it listens on is here. True where that may not be seen."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return True


def _argv(pid: int) -> list[str]:
    """Its command line; a script that is named from where it runs gets its whole path, where that can be seen."""
    argv = [word for word in box.read(f"/proc/{pid}/cmdline", 32768).split("\0") if word]
    if enginewords.is_python(argv):
        target, _, module = enginewords.python_target(argv)
        if target and not module and not target.startswith("/") and target in argv:
            with contextlib.suppress(OSError):
                argv[argv.index(target)] = os.path.join(os.readlink(f"/proc/{pid}/cwd"), target)
    return lookscripts.with_config(argv)


def _parent(pid: int) -> int:
    rest = box.read(f"/proc/{pid}/stat", 1024).rpartition(")")[2].split()
    return int(rest[1]) if len(rest) > 1 and rest[1].isdigit() else 0


def _above(pid: int, table: Mapping[int, tuple[list[str], int]]) -> list[int]:
    """Its ancestors, the nearest first."""
    found: list[int] = []
    while pid in table and table[pid][1] > 1 and table[pid][1] not in found and len(found) < 40:
        pid = table[pid][1]
        found.append(pid)
    return found


def _name(pid: int) -> str:
    return box.read(f"/proc/{pid}/comm", 64).strip()


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _environment(pid: int) -> dict[str, str]:
    """Readable for one's own processes only."""
    text = box.read(f"/proc/{pid}/environ", 1 << 17)
    return dict(item.partition("=")[::2] for item in text.split("\0") if "=" in item)
