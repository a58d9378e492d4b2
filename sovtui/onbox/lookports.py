"""Who listens and what answers: sockets, their processes, and one harmless question after another to each port.

Nothing asked here wakes, loads or bills a model: never `/health` of what is not known (LiteLLM calls every deployment),
never `/slots` (wakes llama.cpp), never `/upstream` (llama-swap loads).
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import urllib.parse
from collections.abc import Iterable
from typing import Any

from sovtui.onbox import box, masking, web
from sovtui.onbox.lookunits import ENGINE_WORDS

Told = dict[str, Any]
SECONDS = 2.0
NOT_HTTP = frozenset(
    [
        *(21, 22, 23, 25, 53, 88, 110, 111, 139, 143, 389, 445, 465, 515, 587, 631, 636, 873, 993, 995, 1883, 2049, 3306, 3389),
        *(5353, 5355, 5432, 5672, 5900, 6379, 8333, 9050, 9051, 9735, 10009, 11211, 27017),
    ]
)
"""Ports of things that speak something else; they are left alone."""
_CGROUP_UNIT = re.compile(r"/([A-Za-z0-9:_.@\\-]+\.service)(?:/|\Z)")
_CGROUP_CONTAINER = re.compile(r"(?:docker|libpod|cri-containerd|containerd)[-/]([0-9a-f]{12,64})")
_ENGINE = re.compile(ENGINE_WORDS, re.IGNORECASE)


def listening() -> list[Told]:
    """TCP sockets that listen: `address`, `port`, and `service` or `pid` where this user may see whose they are."""
    sockets: dict[str, Told] = {}
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in box.read(path).splitlines()[1:]:
            cells = line.split()
            if len(cells) > 9 and cells[3] == "0A":
                host, _, port = cells[1].rpartition(":")
                sockets[cells[9]] = {"t": "port", "address": _address(host, family), "port": int(port, 16)}
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
    unique: dict[tuple[str, int], Told] = {}
    for told in sockets.values():
        unique.setdefault((told["address"], told["port"]), told)
    return sorted(unique.values(), key=lambda told: told["port"])


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
    """`vllm.service`, `user:x.service` or `container-id:…` of a process, by its control group; empty for a login's own."""
    text = box.read(f"/proc/{pid}/cgroup", 4096)
    container = _CGROUP_CONTAINER.search(text)
    if container:
        return f"container-id:{container.group(1)}"
    for line in text.splitlines():
        path = line.split(":", 2)[-1]
        names = _CGROUP_UNIT.findall(path)
        if names and names[-1].startswith("user@"):
            return ""
        if names:
            return ("user:" if "/user@" in path else "") + str(names[-1])
    return ""


def processes() -> list[Told]:
    """Processes whose command line names an engine."""
    found = []
    for pid in _pids():
        raw = box.read(f"/proc/{pid}/cmdline", 16384)
        argv = [word for word in raw.split("\0") if word]
        if pid == os.getpid() or not argv or not _ENGINE.search(" ".join(argv[:12])) or "sovtui.onbox" in raw:
            continue
        found.append(
            {
                "t": "process",
                "pid": pid,
                "command": [word[:400] for word in masking.words(argv)[:120]],
                "service": service_of(pid),
            }
        )
    return found[:80]


def ask(told: Told, prefixes: Iterable[str] = ()) -> Told | None:
    """What answers on a port; None where nothing known does."""
    host: str = told["address"]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    url = f"http://[{host}]:{told['port']}" if ":" in host else f"http://{host}:{told['port']}"
    found: Told | None
    for prefix in ("", *prefixes):
        found = _ask(url + prefix)
        if found is None and not prefix:
            return None
        if found:
            return {"t": "answer", "port": told["port"], "url": url + prefix, **found}
    return None


def _ask(url: str) -> Told | None:
    """`kind` and details; empty where it is not known, None where nobody speaks HTTP."""
    status, body = web.get(url, "/v1/models", SECONDS)
    if status == 0:
        return None
    listed = _json(body)
    if status == 200 and isinstance(listed, dict) and isinstance(listed.get("data"), list):
        return _models(url, [row for row in listed["data"] if isinstance(row, dict)])
    if status == 503 and b"Loading model" in body:
        return {"kind": "llamacpp", "state": "loading"}
    alive, said = web.get(url, "/health/liveliness", SECONDS)
    if alive == 200 and b"alive" in said:
        return {"kind": "litellm", "key": status != 200}
    if status in (401, 403):
        return {"kind": _by_metrics(url) or "openai", "key": True}
    return _monitoring(url) or _others(url)


def _models(url: str, rows: list[Any]) -> Told:
    owners = {str(row.get("owned_by", "")) for row in rows}
    ids = [str(row.get("id", ""))[:300] for row in rows[:100]]
    kinds = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "llama-swap": "llamaswap"}
    kind = next((kinds[owner] for owner in owners if owner in kinds), "")
    metrics = "" if kind == "llamacpp" else _by_metrics(url)  # some builds of it wake for that
    told: Told = {"kind": metrics or kind, "models": ids, "by": "metrics" if metrics else "owner" if kind else ""}
    if not told["kind"]:
        status, body = web.get(url, "/api/version", SECONDS)
        if status == 200 and isinstance(_json(body), dict) and "version" in _json(body):
            told.update(kind="ollama", by="api")
        else:
            alive, said = web.get(url, "/health/liveliness", SECONDS)
            told.update(kind="litellm" if alive == 200 and b"alive" in said else "openai", by="api")
    lengths = [row.get("max_model_len") for row in rows if isinstance(row.get("max_model_len"), int)]
    if lengths:
        told["context"] = max(lengths)
    return told


def _by_metrics(url: str) -> str:
    status, body = web.get(url, "/metrics", SECONDS)
    text = body.decode("utf-8", "replace") if status == 200 else ""
    for prefix, kind in (
        ("vllm:", "vllm"),
        ("sglang:", "sglang"),
        ("llamacpp:", "llamacpp"),
        ("litellm_", "litellm"),
        ("llamaswap_", "llamaswap"),
    ):
        if re.search(rf"^{prefix}", text, re.MULTILINE):
            return kind
    return ""


def _monitoring(url: str) -> Told | None:
    status, body = web.get(url, "/api/v1/status/buildinfo", SECONDS)
    build = _json(body) if status == 200 else None
    if isinstance(build, dict) and isinstance(build.get("data"), dict):
        return {"kind": "prometheus", "version": str(build["data"].get("version", ""))[:40], **_prometheus(url)}
    status, body = web.get(url, "/api/v2/status", SECONDS)
    told = _json(body) if status == 200 else None
    if isinstance(told, dict) and "versionInfo" in told and "cluster" in told:
        return {"kind": "alertmanager", "version": str((told["versionInfo"] or {}).get("version", ""))[:40]}
    return None


def _prometheus(url: str) -> Told:
    """What it scrapes, and series that tell of backups."""
    status, body = web.get(url, "/api/v1/targets?state=active", SECONDS * 2)
    raw = _json(body) if status == 200 else None
    targets = []
    if isinstance(raw, dict):
        for row in ((raw.get("data") or {}).get("activeTargets") or [])[:200]:
            labels = row.get("labels") or {}
            targets.append(
                {
                    "job": str(labels.get("job", "")),
                    "instance": str(labels.get("instance", "")),
                    "health": str(row.get("health", "")),
                }
            )
    match = urllib.parse.quote('{__name__=~".*(backup|restic|borg).*(success|snapshot).*(time|timestamp).*"}')
    status, body = web.get(url, f"/api/v1/series?match[]={match}", SECONDS * 2)
    raw = _json(body) if status == 200 else None
    series = raw.get("data") if isinstance(raw, dict) else None
    rows = (
        [{str(k): str(v)[:200] for k, v in row.items()} for row in series[:40] if isinstance(row, dict)]
        if isinstance(series, list)
        else []
    )
    return {"targets": targets, "backup_series": rows}


def _others(url: str) -> Told:
    status, body = web.get(url, "/system_stats", SECONDS)
    told = _json(body) if status == 200 else None
    if isinstance(told, dict) and isinstance(told.get("system"), dict) and "comfyui_version" in told["system"]:
        return {"kind": "comfyui", "version": str(told["system"]["comfyui_version"])[:40]}
    status, body = web.get(url, "/api/ps", SECONDS)
    told = _json(body) if status == 200 else None
    if isinstance(told, dict) and "models" in told:
        return {"kind": "ollama"}
    status, body = web.get(url, "/running", SECONDS)
    told = _json(body) if status == 200 else None
    if isinstance(told, dict) and isinstance(told.get("running"), list):
        return {"kind": "llamaswap"}
    kind = _by_metrics(url)
    if kind:
        return {"kind": kind}
    status, body = web.get(url, "/metrics", SECONDS)
    return {"kind": "node_exporter"} if status == 200 and b"\nnode_cpu_seconds_total" in body else {}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
