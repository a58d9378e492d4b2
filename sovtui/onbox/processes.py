"""Processes as `/proc` tells them: whose a port is, what was asked of them on the command line, what they use. Asks nobody."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sovtui.onbox import box, cgroups

HZ = os.sysconf("SC_CLK_TCK")
_AROUND = re.compile(
    r"(?:sh|bash|dash|zsh|fish|env|sudo|su|tini|dumb-init|catatonit|conmon|docker|podman|docker-compose|nohup|timeout|tee|sleep|"
    r"systemd-cat|logger|curl|wget|runsv|s6-\S*)\Z"
)
"""Programs around an engine, or beside it in a container: their processor time is not its own."""
_LLAMA = re.compile(r"(?:llama-server|llamafile)")
_LISTENS, _CONNECTED = "0A", "01"


# -- one process -------------------------------------------------------------------------------------


def argv(pid: int) -> list[str]:
    """Its command line; empty for a kernel thread and for one that has ended."""
    return [word for word in box.read(f"/proc/{pid}/cmdline", 1 << 16).split("\0") if word]


def _stat(pid: int) -> list[str]:
    """The words of `/proc/PID/stat` after its name: state first, then its parent."""
    return box.read(f"/proc/{pid}/stat", 4096).rpartition(")")[2].split()


def ticks(pid: int) -> int:
    """Processor time of all its threads since it began, in 1/`HZ` s; 0 for one that has ended."""
    words = _stat(pid)
    return int(words[11]) + int(words[12]) if len(words) > 12 else 0


def nanoseconds(pid: int) -> dict[str, int]:
    """The same for each of its threads that still run, finely; empty where the kernel does not count so."""
    found: dict[str, int] = {}
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        text = box.read(f"/proc/{pid}/task/{thread}/schedstat", 200).partition(" ")[0]
        if text.isdigit():
            found[thread] = int(text)
    return found


def port_of(words: Sequence[str]) -> int:
    """The port that a command line names with `--port`; 0 where it names none."""
    told = option(words, "--port")
    return int(told) if told.isdigit() and int(told) < 65536 else 0


def option(words: Sequence[str], *names: str) -> str:
    """The last value of an option, `--name value` or `--name=value`; empty where it is not given."""
    found = ""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else words[index + 1] if index + 1 < len(words) else ""
    return found


def settings(pid: int) -> dict[str, Any]:
    """What the command line and, where this user may read it, the environment of llama.cpp's server say; nothing of others.

    `sleeps`: seconds of idleness after which it sleeps, 0 for never; `shared`: whether its slots share one cache.
    """
    words = argv(pid)
    if not words or not _LLAMA.match(os.path.basename(words[0])):
        return {}
    env = _environment(pid)

    def told(variable: str, *names: str) -> str | None:
        """Empty where it is not set; None where that cannot be seen."""
        return option(words, *names) or (None if env is None else env.get(variable, ""))

    found: dict[str, Any] = {}
    sleeps = told("LLAMA_ARG_SLEEP_IDLE_SECONDS", "--sleep-idle-seconds")
    if sleeps is not None:
        found["sleeps"] = max(0, _whole(sleeps))
    flags = [word in ("-kvu", "--kv-unified") for word in words if word in ("-kvu", "--kv-unified", "-no-kvu", "--no-kv-unified")]
    slots = told("LLAMA_ARG_N_PARALLEL", "-np", "--parallel")
    said = None if env is None else env.get("LLAMA_ARG_KV_UNIFIED", "").lower()
    if flags:
        found["shared"] = flags[-1]
    elif said:
        found["shared"] = said in ("1", "on", "true", "enabled")
    elif slots is not None and said is not None:
        found["shared"] = _whole(slots) <= 0  # automatic ones share it
    return found


def _environment(pid: int) -> dict[str, str] | None:
    text = box.read(f"/proc/{pid}/environ")
    return dict(part.split("=", 1) for part in text.split("\0") if "=" in part) if text else None


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0


# -- whose a port is ---------------------------------------------------------------------------------


def serving(port: int, groups: Sequence[str] = ()) -> tuple[set[int], int]:
    """The processes of what serves on this port, and the port as they call it themselves. `groups`: control groups of its services.

    A group of those where a process names the port or has its socket; else whoever has the socket, with what it has started; else
    the container that the port leads into; else all of its services. Nothing where that cannot be told.
    """
    mine = [{pid for pid in cgroups.members((group,)) if not _around(pid)} for group in groups]
    for members in mine:
        if any(_names(argv(pid), port) for pid in members):
            return members, port
    owners = _owners(port)
    for members in mine:
        if owners & members:
            return members, port
    inside = _behind_proxy(port)
    if inside:
        return inside
    if owners:
        return _with_children(owners), port
    every = set().union(*mine)
    if every:
        told = {number for pid in every if (number := port_of(argv(pid)))}
        return every, told.pop() if len(told) == 1 else port
    named = {pid for pid in _pids() if port_of(argv(pid)) == port and not _around(pid)}
    named = {pid for pid in named if _parent(pid) not in named}
    return (_with_children(named), port) if len(named) == 1 else (set(), port)


def _around(pid: int) -> bool:
    """Whether it only stands around an engine, or has ended."""
    words = argv(pid)
    return not words or bool(_AROUND.match(_base(words)))


def _base(words: Sequence[str]) -> str:
    return os.path.basename(words[0])


def _names(words: Sequence[str], port: int) -> bool:
    return any(re.search(rf"(?:^|[:=]){port}\Z", word) for word in words[1:])


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _parent(pid: int) -> int:
    words = _stat(pid)
    return int(words[1]) if len(words) > 1 else 0


def children(pid: int) -> list[str]:
    """What it has started and still runs, thread by thread: a cheap sign that one more has begun."""
    try:
        return [box.read(f"/proc/{pid}/task/{thread}/children", 4096) for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _with_children(roots: set[int]) -> set[int]:
    """These and all that they have started."""
    parents = {pid: _parent(pid) for pid in _pids()}
    found, more = set(roots), set(roots)
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - found
        found |= more
    return found


def _owners(port: int) -> set[int]:
    """Who has the socket that listens there, as far as this user may see."""
    wanted = {f"socket:[{row[9]}]" for row in _rows("self") if row[3] == _LISTENS and _local(row) == port}
    found = set()
    for pid in _pids() if wanted else ():
        try:
            with os.scandir(f"/proc/{pid}/fd") as handles:
                for handle in handles:
                    if _link(handle.path) in wanted:
                        found.add(pid)
                        break
        except OSError:
            continue
    return {pid for pid in found if _base(argv(pid) or ["?"]) != "docker-proxy"}


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _behind_proxy(port: int) -> tuple[set[int], int] | None:
    """The processes of the container that docker leads this port into, and the port there."""
    for pid in _pids():
        words = argv(pid)
        if words and _base(words) == "docker-proxy" and option(words, "-host-port") == str(port):
            address, inner = option(words, "-container-ip"), option(words, "-container-port")
            for other in _pids():
                group = cgroups.group_of(other)
                if group and re.search(rf"\b{re.escape(address)}\b", box.read(f"/proc/{other}/net/fib_trie")):
                    members = cgroups.members((group,)) or {other}
                    return {one for one in members if not _around(one)}, int(inner)
    return None


# -- connections -------------------------------------------------------------------------------------


class Sockets:
    """TCP sockets at one moment: read once per network, however many engines are looked at."""

    def __init__(self) -> None:
        self._rows: dict[str, list[list[str]]] = {}

    def connections(self, pid: int, port: int) -> int | None:
        """How many connections are open to this port of a process, in its own network; None where nothing listens there."""
        network = _link(f"/proc/{pid}/ns/net") or str(pid)
        if network not in self._rows:
            self._rows[network] = _rows(str(pid))
        rows = self._rows[network]
        if not any(row[3] == _LISTENS and _local(row) == port for row in rows):
            return None
        return sum(1 for row in rows if row[3] == _CONNECTED and _local(row) == port)


def _rows(pid: str) -> list[list[str]]:
    rows = []
    for name in ("tcp", "tcp6"):
        rows += [row for line in box.read(f"/proc/{pid}/net/{name}", 1 << 22).splitlines()[1:] if len(row := line.split()) > 9]
    return rows


def _local(row: Sequence[str]) -> int:
    return int(row[1].rpartition(":")[2], 16)


# -- addresses ---------------------------------------------------------------------------------------


def address_of(url: str) -> str:
    """`host:port` of an engine's address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def is_literal(host: str) -> bool:
    """Whether a host is written so that nobody has to be asked who it is."""
    return host == "localhost" or bool(re.fullmatch(r"[0-9.]+|\[[0-9a-fA-F:.%]+\]", host))


def is_here(host: str) -> bool:
    """Whether a host is this machine itself: one can listen at its address. Looks a name up."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    for family, kind, protocol, _, place in found:
        try:
            with socket.socket(family, kind, protocol) as one:
                one.bind(place)
            return True
        except OSError:
            continue
    return False
