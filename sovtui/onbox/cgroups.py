"""Control groups as the kernel tells them: whose processes they have, and what they have used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from sovtui.onbox import box


def group_of(pid: int) -> str:
    """The control group of a process, where it is one of its own (a container's)."""
    for line in box.read(f"/proc/{pid}/cgroup").splitlines():
        path = line.split(":", 2)[-1]
        if len(path) > 1 and ("docker" in path or "libpod" in path or "containerd" in path):
            return path
    return ""


def usage(group: str, root: str = "/sys/fs/cgroup") -> dict[str, int]:
    """What a control group has used, as systemd tells it of a unit: `memory` and `read` in bytes, `cpu` in nanoseconds."""
    found: dict[str, int] = {}
    if not group or group == "/":
        return found
    memory = memory_of(group, root)
    if memory is not None:
        found["memory"] = memory
    for folder in ("cpuacct", "cpu,cpuacct"):
        text = box.read(f"{root}/{folder}{group}/cpuacct.usage").strip()
        if text.isdigit():
            found.setdefault("cpu", int(text))
    match = re.search(r"^usage_usec (\d+)$", box.read(f"{root}{group}/cpu.stat"), re.MULTILINE)
    if match:
        found.setdefault("cpu", int(match.group(1)) * 1000)
    reads = re.findall(r"\brbytes=(\d+)", box.read(f"{root}{group}/io.stat"))
    reads = reads or re.findall(r" Read (\d+)$", box.read(f"{root}/blkio{group}/blkio.throttle.io_service_bytes"), re.MULTILINE)
    if reads:
        found["read"] = sum(map(int, reads))
    return found


def memory_of(group: str, root: str = "/sys/fs/cgroup") -> int | None:
    """Bytes in use by a control group, as systemd's MemoryCurrent is; None where memory is not accounted."""
    for path in (f"{root}{group}/memory.current", f"{root}/memory{group}/memory.usage_in_bytes"):
        text = box.read(path).strip()
        if text.isdigit():
            return int(text)
    return None


def members(groups: Iterable[str]) -> set[int]:
    """The processes that control groups still have, those of their children included."""
    found: set[int] = set()
    for group in groups:
        found |= _members(group)
    return found


def direct(group: str) -> str:
    """The processes of a group itself, those of its children not: a cheap sign that something has begun or ended there."""
    return next((text for root in _TREES if (text := box.read(f"{root}{group}/cgroup.procs"))), "")


_TREES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/pids")


def _members(group: str) -> set[int]:
    if not group or group == "/":
        return set()
    for root in _TREES:
        if not os.path.exists(root + "/cgroup.procs"):
            continue
        found: set[int] = set()
        for folder, _, files in os.walk(root + group):
            if "cgroup.procs" in files:
                found.update(int(word) for word in box.read(os.path.join(folder, "cgroup.procs")).split() if word.isdigit())
        if found:
            return found
    return set()
