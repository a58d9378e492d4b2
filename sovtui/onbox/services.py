"""Services as their supervisors tell them: systemd's two managers here, docker or podman in `containers`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sovtui.onbox import box, cgroups, containers, runs
from sovtui.onbox.names import kind_of, supervisor_of
from sovtui.onbox.things import Unit

_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,MemoryCurrent,Description,StateChangeTimestamp,"
    "ExecMainStatus,ExecMainStartTimestampMonotonic,ControlGroup,Job,CPUUsageNSec,IOReadBytes,TimeoutStopUSec,"
    "NextElapseUSecRealtime,NextElapseUSecMonotonic,Type,InvocationID,ExecMainCode,ExecMainExitTimestamp,ExecCondition,"
    "InactiveEnterTimestamp,InactiveEnterTimestampMonotonic,StateChangeTimestampMonotonic,StartLimitIntervalUSec,"
    "TimersMonotonic,TimersCalendar,ConditionResult,ConditionTimestamp,ConditionTimestampMonotonic,AssertResult,AssertTimestamp,AssertTimestampMonotonic"
)
_UNSET = ("", "[not set]", "18446744073709551615")
Told = dict[str, Any]
"""`name, active, sub, result, load, since, restarts, pid, memory, description, status, next, once`, of runs `ended, skipped, skipped_at, kept`
(see `runs.kept`), and for the machine `started, cgroups, cpu, read, part_of, stop_limit, oneshot, invocation, skip_clock, limited`."""


def look(names: Sequence[str]) -> tuple[list[Told], dict[str, str]]:
    """All services in the order asked; and which supervisor (`system`, `user`, `container`) could not be asked, in a sentence."""
    told: dict[str, Told] = {}
    problems: dict[str, str] = {}
    groups: dict[str, list[str]] = {"system": [], "user": [], "container": []}
    for name in dict.fromkeys(names):
        groups[supervisor_of(name)].append(name)
    for kind, members in groups.items():
        if members:
            found, problem = containers.look(members) if kind == "container" else _units(kind, members)
            told.update(found)
            if problem:
                problems[kind] = problem
    return [told[name] for name in dict.fromkeys(names) if name in told], problems


def states(names: Sequence[str]) -> dict[str, str]:
    """One short text per unit that is another one when its state is: cheap, as a manager tells all of them in one answer.

    A unit that its manager has not loaded has none; nor have all, where the manager does not answer.
    """
    found: dict[str, str] = {}
    for kind in ("system", "user"):
        members = {kind_of(name)[1]: name for name in names if kind_of(name)[0] == kind}
        if not members:
            continue
        argv = box.systemctl(kind, "list-units", "--all", "--plain", "--no-legend", "--full", "--", *members)
        for line in box.command(argv, 10.0)[1].splitlines():
            words = line.split()
            if words and words[0] in members:
                found[members[words[0]]] = " ".join(words[1:5])  # load, active, sub, and the job if there is one
    return found


def _units(kind: str, names: list[str]) -> tuple[dict[str, Told], str]:
    argv = box.systemctl(kind, "show", "-p", _PROPERTIES, "--", *[kind_of(name)[1] for name in names])
    code, out, err = box.command(argv, 10.0)
    blocks = [block for block in out.split("\n\n") if block.strip()]
    if code or len(blocks) != len(names):
        who = f"the user manager of {box.user()}" if kind == "user" else "systemd"
        return {}, f"{who} does not answer: {box.last_line(err) or f'systemctl ended with {code}'}"
    return {name: _unit(name, blocks[i]) for i, name in enumerate(names)}, ""


def _unit(name: str, block: str) -> Told:
    p = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    get = p.get
    active = get("ActiveState", "unknown")
    load = get("LoadState", "")
    runs.OWN[name] = get("Id") or kind_of(name)[1]
    if load == "not-found" and active == "inactive":
        active = "missing"
    elif active in ("inactive", "failed") and get("Job", "") not in ("", "0"):
        active = "activating" if active == "inactive" else active
    return {
        "name": name,
        "active": active,
        "sub": get("SubState", ""),
        "result": get("Result", "") if active != "missing" else "",
        "load": load,
        "since": _stamp(get("StateChangeTimestamp", "")),
        "restarts": _number(get("NRestarts", "")),
        "pid": _number(get("MainPID", "")) or None,
        "memory": _number(get("MemoryCurrent", "")) if active not in ("inactive", "failed", "missing") else None,
        "description": get("Description", ""),
        "status": _number(get("ExecMainStatus", "")),
        "started": _number(get("ExecMainStartTimestampMonotonic", "")),
        "cgroups": (get("ControlGroup", ""),),
        "cpu": _number(get("CPUUsageNSec", "")),
        "read": _number(get("IOReadBytes", "")),
        "next": _next(get("NextElapseUSecRealtime", ""), get("NextElapseUSecMonotonic", "")),
        "once": bool(get("TimersMonotonic")) and not get("TimersCalendar") and not _AGAIN.search(p["TimersMonotonic"]),
        "part_of": "",
        "stop_limit": _limit(get("TimeoutStopUSec", "")),
        **_run(name, p, active),
        "oneshot": get("Type", "") == "oneshot",
        "invocation": get("InvocationID", ""),
        "skip_clock": max(_number(get(key, "")) or 0 for key in _LOOKED_AT),
        "limited": limited(p),
    }


_AGAIN = re.compile(r"On(?!BootUSec|StartupUSec)\w+=")
"""What lets a timer elapse more than once in the life of the machine."""
_named: dict[tuple[str, object], str] = {}


def _run(name: str, p: Mapping[str, str], active: str) -> Told:
    """What is kept of its last run, with the condition that was not met by its name: asked once, `show` does not tell it."""
    told = runs.kept(p, active, _stamp)
    if told["skipped"] in (runs.CONDITION, runs.ASSERT):
        key = name, told["skipped_at"]
        if key not in _named:
            _named[key] = runs.unmet(name)
        told["skipped"] = _named[key] or told["skipped"]
    return told


_LOOKED_AT = ("ConditionTimestampMonotonic", "AssertTimestampMonotonic")


def limited(p: Mapping[str, str]) -> bool:
    """Whether systemd may refuse to start it for having failed too often: only `reset-failed` ends that before its time.

    A unit that `Restart=` gave up says what it died of, and not that; that it was restarted shows it.
    """
    gave_up = p.get("Result") == "start-limit-hit" or (_number(p.get("NRestarts", "")) or 0) > 0
    seconds, failed_at = _limit(p.get("StartLimitIntervalUSec", "")), _number(p.get("StateChangeTimestampMonotonic", ""))
    if p.get("ActiveState") != "failed" or not gave_up or not seconds or failed_at is None:
        return False
    return time.clock_gettime(time.CLOCK_MONOTONIC) - failed_at / 1e6 <= seconds


def _number(text: str) -> int | None:
    return int(text) if text not in _UNSET and text.isdigit() else None


def _stamp(text: str) -> float | None:
    """`Fri 2026-11-20 09:00:00 UTC` as unix time; commands run with TZ=UTC."""
    words = text.split()
    if len(words) != 4:
        return None
    try:
        return datetime.strptime(f"{words[1]} {words[2]}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


_SPAN = re.compile(r"([0-9.]+)(y|month|w|d|h|min|ms|s|us)")
_SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "month": 2629800.0, "y": 31557600.0,
}  # fmt: skip


def _limit(text: str) -> float | None:
    """`1min 30s` in seconds; infinite where nothing is ended by force."""
    if text == "infinity":
        return float("inf")
    spans = _SPAN.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in spans) if spans else None


def _next(realtime: str, monotonic: str) -> float | None:
    """When a timer elapses next, as unix time: the earlier of its two clocks. systemd writes a stamp and a span since boot."""
    found = [_stamp(realtime)]
    spans = _SPAN.findall(monotonic)
    if spans:
        since_boot = sum(float(number) * _SECONDS[unit] for number, unit in spans)
        found.append(float(round(time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + since_boot)))
    told = [at for at in found if at]
    return min(told) if told else None


# -- for the machine ---------------------------------------------------------------------------------


def units(names: Iterable[str]) -> tuple[tuple[Unit, ...], str]:
    """The same as the machine wants it, with the processes that are left; and why nothing could be seen."""
    told, problems = look(list(names))
    return tuple(_told_unit(one) for one in told), "; ".join(problems.values())


def _age(pid: int | None) -> float | None:
    cells = box.read(f"/proc/{pid}/stat", 1024).rpartition(")")[2].split() if pid else []
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(cells[19]) / os.sysconf("SC_CLK_TCK") if len(cells) > 19 else None


def _told_unit(told: Told) -> Unit:
    started, age = told["started"], None
    if started:
        age = max(0.0, time.clock_gettime(time.CLOCK_MONOTONIC) - started / 1e6)
    elif told["active"] == "active":
        age = _age(told["pid"])  # of a container: its own clock is the one on the wall, which may jump
        if age is None and told["since"]:
            age = max(0.0, time.time() - told["since"])
    return Unit(
        name=told["name"],
        active=told["active"],
        sub=told["sub"],
        result=told["result"],
        load=told["load"],
        pid=told["pid"] or 0,
        procs=len(cgroups.members(told["cgroups"])),
        restarts=told["restarts"] or 0,
        status=told["status"] or 0,
        age=age,
        cpu=None if told["cpu"] is None else told["cpu"] / 1e9,
        read=None if told["read"] is None else float(told["read"]),
        part_of=told["part_of"],
        since=told["since"],
        stop_limit=told.get("stop_limit"),
        invocation=told.get("invocation", ""),
        began=(started or 0) / 1e6,
        skipped=told["skipped"],
        skipped_at=told.get("skip_clock", 0) / 1e6,
        oneshot=told.get("oneshot", False),
        limited=told.get("limited", False),
    )
