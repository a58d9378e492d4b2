"""Containers and compose projects as docker or podman tells them: at most two commands per look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sovtui.onbox import box, cgroups
from sovtui.onbox.names import kind_of

PROJECT = "com.docker.compose.project"
"""The label that every container of a project has; podman-compose sets it too."""
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
_CLAIM = re.compile(re.escape(PROJECT) + r"[=:]([a-z0-9][a-z0-9_-]*)")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:Z|([+-])(\d\d):?(\d\d))?")
_KILLED = (137, 143)
"""What `docker stop` leaves behind."""
Told = dict[str, Any]
EMPTY: Told = {
    "active": "unknown", "sub": "", "result": "", "load": "loaded", "since": None, "restarts": None, "pid": None,
    "memory": None, "description": "", "status": None, "started": None, "cgroups": (),
    "cpu": None, "read": None, "next": None, "part_of": "",
    "ended": None, "skipped": "", "skipped_at": None, "kept": True, "oneshot": False, "once": False,
}  # fmt: skip

_groups: dict[str, str] = {}  # container id -> the control group it had when last seen up: docker no longer tells it afterwards


def look(names: Sequence[str]) -> tuple[dict[str, Told], str]:
    """Containers and projects by their configured names; and why some could not be asked."""
    alone = {kind_of(name)[1]: name for name in names if kind_of(name)[0] == "container"}
    projects = {kind_of(name)[1]: name for name in names if kind_of(name)[0] == "compose"}
    ids, problem = _candidates(projects) if projects else ([], "")
    raws: list[dict[str, Any]] = []
    if not problem and (alone or ids):
        raws, problem = inspect([*alone, *ids])
    found: dict[str, Told] = {}
    if problem:
        return found, problem
    members: dict[str, list[Told]] = {name: [] for name in projects.values()}
    for raw in raws:
        try:
            labels = (raw.get("Config") or {}).get("Labels") or {}
            own, project = str(raw["Name"]).lstrip("/"), projects.get(str(labels.get(PROJECT, "")))
            one = _container(raw)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if own in alone:
            found[alone[own]] = {**one, "name": alone[own]}
        if project and raw["Id"] in ids and str(labels.get(_ONE_OFF, "")).lower() != "true":
            members[project].append(one)
    for name, ones in members.items():
        found[name] = {**_project(ones), "name": name}
    for name in alone.values():
        found.setdefault(name, {**EMPTY, "name": name, "active": "missing", "load": "not-found"})
    return found, ""


def of_project(project: str) -> list[tuple[str, str]]:
    """The containers of a project, id and the service's name, in the order in which compose created them: dependencies first.

    OSError with a sentence where docker cannot be asked.
    """
    ids, problem = _candidates([project])
    raws, problem = inspect(ids) if ids and not problem else ([], problem)
    if problem:
        raise OSError(problem)
    mine = []
    for raw in raws:
        labels = (raw.get("Config") or {}).get("Labels") or {}
        if labels.get(PROJECT) == project and str(labels.get(_ONE_OFF, "")).lower() != "true":
            service = str(labels.get(_SERVICE) or str(raw.get("Name", "")).lstrip("/"))
            mine.append((stamp(raw.get("Created")) or 0.0, str(raw["Id"]), service))
    return [(id_, service) for _, id_, service in sorted(mine)]


def _candidates(projects: Iterable[str]) -> tuple[list[str], str]:
    """Ids of containers that may belong to the projects. A label's value could pretend to be another label: `inspect` tells."""
    words = ["ps", "--all", "--no-trunc", "--filter", f"label={PROJECT}", "--format", "{{.ID}} {{.Labels}}"]
    code, out, err = box.command([box.docker(), *words], 10.0)
    if code:
        return [], silent(code, err)
    wanted = set(projects)
    lines = [line.partition(" ") for line in out.splitlines()]
    return [head for head, _, labels in lines if wanted.intersection(_CLAIM.findall(labels))], ""


def inspect(names: Sequence[str], patience: float = 10.0) -> tuple[list[dict[str, Any]], str]:
    """What docker tells of these containers, those that do not exist left out; and why it tells nothing.

    Without a template: `{{json .}}` is one line per container to docker, and to podman one array over many lines.
    """
    code, out, err = box.command([box.docker(), "inspect", "--type", "container", *names], patience)
    try:
        raws = json.loads(out) if out.strip() else []
    except ValueError:
        raws = None
    if raws is None or (code and ("no such" not in err.lower() or code in (124, 126, 127))):
        return [], silent(code, err)
    return [raw for raw in raws if isinstance(raw, dict)], ""


def silent(code: int, errors: str) -> str:
    return f"{box.docker()} does not answer {box.user()}: {box.last_line(errors) or f'it ended with {code}'}"


def _container(raw: dict[str, Any]) -> Told:
    state = raw["State"]
    status, code, pid = str(state.get("Status", "")), int(state.get("ExitCode") or 0), int(state.get("Pid") or 0)
    job = str(((raw.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name", "")) in ("", "no")
    group = _group(str(raw.get("Id", "")), str(state.get("CgroupPath") or ""), pid)
    if status == "stopped" and not job and not cgroups.members((group,) if group else ()):
        status = "restarting"  # podman's word between the end of a process and what follows: its restart policy has the say
    result, active = "success", "inactive"
    if status in ("running", "paused"):
        active = "active"
    elif status == "restarting":
        active = "activating"
    elif status in ("removing", "stopping"):
        active = "deactivating"
    elif state.get("OOMKilled"):
        active, result = "failed", "oom-kill"
    elif code in _KILLED:
        result = "signal"
    elif code or status == "dead":
        active, result = "failed", "exit-code"
    up = active in ("active", "activating", "deactivating")
    health = str((state.get("Health") or {}).get("Status", ""))
    config = raw.get("Config") or {}
    project = (config.get("Labels") or {}).get(PROJECT)
    return {
        **EMPTY,
        **(cgroups.usage(group) if up else {}),
        "active": active,
        "sub": "auto-restart" if status == "restarting" else health if up and health not in ("", "none") else status,
        "result": result,
        "since": stamp(state.get("StartedAt" if up else "FinishedAt")),
        "ended": stamp(state.get("FinishedAt")) if (active, result, code) == ("inactive", "success", 0) else None,
        "restarts": int(raw.get("RestartCount") or 0),
        "pid": pid or None,
        "description": str(config.get("Image") or ""),
        "status": code,
        "cgroups": (group,) if group else (),
        "part_of": f"compose:{project}" if project else "",
        "job": job,
    }


def _project(ones: Sequence[Told]) -> Told:
    """One state for all containers of a project; a job that ended well beside running ones has done its part."""
    if not ones:
        return {**EMPTY, "active": "missing", "load": "not-found"}
    up = [one for one in ones if one["active"] in ("active", "activating", "deactivating")]
    bad = [one for one in ones if one["active"] == "failed"]
    done = [one for one in ones if one["job"] and one["active"] == "inactive" and one["sub"] == "exited" and not one["status"]]
    lost = bad or [one for one in ones if one["sub"] == "auto-restart"]
    states = {one["active"] for one in up}
    if bad:
        active = "failed"
    elif "deactivating" in states:
        active = "deactivating"
    elif states == {"active"} and len(up) + len(done) == len(ones):
        active = "active"
    else:
        active = "activating" if up else "inactive"
    first = (lost or up or list(ones))[0]
    numbers: dict[str, Any] = {}
    for key in ("memory", "cpu", "read", "restarts"):
        known = [one[key] for one in ones if one[key] is not None]
        numbers[key] = sum(known) if known else None
    sub = "auto-restart" if lost and not bad else f"{len(up)} of {len(ones)} up"
    return {
        **EMPTY,
        **numbers,
        "active": active,
        "sub": sub,
        "result": first["result"] if bad else next((one["result"] for one in ones if one["result"] != "success"), "success"),
        "since": max((one["since"] for one in ones if one["since"]), default=None),
        "ended": None if up or bad else max((one["ended"] for one in ones if one["ended"]), default=None),
        "pid": next((one["pid"] for one in up if one["pid"]), None),
        "description": f"{len(ones)} container{'s' if len(ones) > 1 else ''}",
        "status": first["status"],
        "cgroups": tuple(group for one in ones for group in one["cgroups"]),
    }


def stamp(text: Any) -> float | None:
    """`2026-11-20T09:00:00.123456789Z`, or with an offset as podman does, as unix time; None for none or the year 1."""
    match = _STAMP.match(str(text))
    if not match:
        return None
    moment = datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    if moment.year <= 1:
        return None
    if match.group(3):
        offset = timedelta(hours=int(match.group(4)), minutes=int(match.group(5)))
        moment -= offset if match.group(3) == "+" else -offset
    return moment.timestamp() + float(match.group(2) or 0)


def _group(container: str, told: str, pid: int) -> str:
    """Where its processes are. Kept after its end, to see whether any is left."""
    group = told or (cgroups.group_of(pid) if pid else "")
    if group and pid:
        _groups[container] = group
    return group or _groups.get(container, "")
