"""Containers as a survey tells them: what they start, ports, whether they ask for a GPU. Environment values stay on the box."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from sovtui.onbox import box, lookscripts, lookunits, masking
from sovtui.onbox.containers import inspect

Told = dict[str, Any]
MAX_CONTAINERS = 300
_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_LABELS = (
    "com.centurylinklabs.watchtower.enable",
    "watchdocker.skip",
    "io.containers.autoupdate",
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.compose.project.working_dir",
    "com.docker.compose.project.config_files",
)


def containers() -> tuple[list[Told], str]:
    """All containers this user may see, and why there are none: a sentence, or empty where there is no such program."""
    program = box.docker()
    code, out, err = box.command([program, "ps", "-aq", "--no-trunc"], 15.0)
    if code == 127:
        return [], ""
    if code:
        return [], f"{program} does not answer {box.user()}: {box.last_line(err) or f'it ended with {code}'}"
    ids = out.split()[:MAX_CONTAINERS]
    if not ids:
        return [], ""
    raws, problem = inspect(ids, 30.0)
    found = []
    for raw in raws:
        try:
            found.append(_container(raw))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found, "" if found else problem or f"{program} reports nothing about its containers"


def _container(raw: dict[str, Any]) -> Told:
    config, host = raw.get("Config") or {}, raw.get("HostConfig") or {}
    state = raw.get("State") or {}
    env = dict(item.partition("=")[::2] for item in config.get("Env") or [] if isinstance(item, str))
    entry, words = _words(config.get("Entrypoint")), _words(config.get("Cmd"))
    mounts = {str(m.get("Destination")): str(m.get("Source")) for m in raw.get("Mounts") or [] if isinstance(m, dict)}
    argv = lookscripts.with_config(lookunits.expanded([*entry, *words], env), "", mounts)
    folder = str(config.get("WorkingDir") or "")
    requests = [r for r in host.get("DeviceRequests") or [] if isinstance(r, dict)]
    gpu = host.get("Runtime") == "nvidia" or any(
        r.get("Driver") in ("nvidia", "cdi") or ["gpu"] in (r.get("Capabilities") or []) for r in requests
    )
    devices = [str(d.get("PathOnHost", "")) for d in host.get("Devices") or [] if isinstance(d, dict)]
    gpu = gpu or any(d.startswith(("/dev/nvidia", "/dev/dri", "/dev/kfd")) for d in devices)
    gpu = gpu or "nvidia.com/gpu" in json.dumps(requests)
    labels = config.get("Labels") or {}
    image = str(config.get("Image") or raw.get("ImageName") or "")[:300]
    told: Told = {
        "t": "container",
        "name": str(raw["Name"]).lstrip("/")[:200],
        "id": str(raw.get("Id", ""))[:64],
        "image": image,
        "state": str(state.get("Status", ""))[:40],
        "restart": str((host.get("RestartPolicy") or {}).get("Name", ""))[:40],
        "command": masking.words([str(word) for word in lookscripts.placed(argv, folder)], image)[:160],
        "runs": [masking.words(words)[:160] for words in lookscripts.in_text(argv, env)],
        "ports": _ports(raw),
        "host_network": host.get("NetworkMode") == "host",
        "gpu": gpu,
        "labels": {name: str(labels[name])[:200] for name in _LABELS if name in labels},
        "env": lookunits.told_variables(env),
    }
    return {key: value for key, value in told.items() if value not in ("", [], {}, False)}


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [str(word) for word in value or []]


def _ports(raw: dict[str, Any]) -> list[Told]:
    """`host` and `inside`, also of a container that is stopped."""
    settings = raw.get("NetworkSettings") or {}
    bound = {
        **((raw.get("HostConfig") or {}).get("PortBindings") or {}),
        **{k: v for k, v in (settings.get("Ports") or {}).items() if v},
    }
    found = []
    for inside, places in bound.items():
        number, _, protocol = str(inside).partition("/")
        for place in (places or [])[:1]:
            host = str((place or {}).get("HostPort", ""))
            if number.isdigit() and host.isdigit() and protocol in ("", "tcp"):
                found.append({"host": int(host), "inside": int(number), "address": str(place.get("HostIp", ""))})
    return found


def composed(folder: str, files: Sequence[str], project: str = "") -> list[Told]:
    """The containers that compose would make of its files, as compose itself reads them; nothing is made. Empty where it cannot tell.

    For a project that is down: its containers do not exist, and its unit is all there is to start it by.
    """
    paths = [os.path.join(folder, name) for name in files]
    paths = paths or [os.path.join(folder, name) for name in _FILES if os.path.isfile(os.path.join(folder, name))][:1]
    texts = [box.read(path, 1 << 17) for path in paths]
    if (
        not folder.startswith("/")
        or not texts
        or not all(texts)
        or any("://" in line for text in texts for line in _includes(text))
    ):
        return []
    words = [word for path in paths for word in ("-f", path)]
    code, out, _ = box.command(
        [box.docker(), "compose", "--project-directory", folder, *words, "config", "--format", "json"], 10.0
    )
    try:
        told = json.loads(out) if code == 0 else {}
        rows = [_service(name, row, project or str(told.get("name", ""))) for name, row in (told.get("services") or {}).items()]
    except (ValueError, TypeError, AttributeError):
        return []
    return rows[:20]


def _includes(text: str) -> list[str]:
    """Lines of what is included from elsewhere: that would be fetched."""
    match = re.search(r"^include:(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return match.group(1).splitlines() if match else []


def _service(name: str, row: dict[str, Any], project: str) -> Told:
    env = {str(k): str(v) for k, v in (row.get("environment") or {}).items() if v is not None}
    argv = [*_words(row.get("entrypoint")), *_words(row.get("command"))]
    ports = [
        {"host": int(one["published"]), "inside": int(one["target"]), "address": str(one.get("host_ip", ""))}
        for one in row.get("ports") or []
        if str(one.get("published", "")).isdigit() and one.get("protocol", "tcp") == "tcp"
    ]
    reserved = (((row.get("deploy") or {}).get("resources") or {}).get("reservations") or {}).get("devices")
    told: Told = {
        "name": str(row.get("container_name") or f"{project}-{name}-1"),
        "image": str(row.get("image", ""))[:300],
        "state": "planned",
        "command": masking.words(argv, str(row.get("image", "")))[:160],
        "runs": [masking.words(words)[:160] for words in lookscripts.in_text(argv, env)],
        "ports": ports,
        "host_network": row.get("network_mode") == "host",
        "gpu": bool(row.get("gpus") or reserved) or row.get("runtime") == "nvidia",
        "labels": {"com.docker.compose.project": project, "com.docker.compose.service": name},
        "env": lookunits.told_variables(env),
    }
    return {key: value for key, value in told.items() if value not in ("", [], {}, False)}
