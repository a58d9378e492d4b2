"""The machine itself as a survey tells it: GPU and memory kind, tailnet, cron, the owner's switch scripts."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Any

from sovtui.onbox import box, lookunits, masking

Told = dict[str, Any]
_SCRIPT_NAME = re.compile(r"(switch|mode|llm|model|engine|gpu)[^/]*(\.sh|\.bash|\.py)?\Z", re.IGNORECASE)
_SCRIPT_PLACES = (
    "~", "~/bin", "~/scripts", "~/scripts/*", "~/.local/bin", "/usr/local/bin", "/usr/local/sbin", "/opt", "/opt/*", "/opt/*/*",
    "/srv", "/srv/*", "/srv/*/*", "/data", "/data/*", "/data/*/*",
)  # fmt: skip
_WORD = re.compile(r"^\s*\(?([A-Za-z][A-Za-z0-9_-]*(?:\s*\|\s*[A-Za-z][A-Za-z0-9_-]*)*)\)", re.MULTILINE)
_CONTROL = re.compile(r"\b(systemctl|docker|podman)\b")


def gpus() -> tuple[list[Told], str]:
    """`name`, and `memory` in bytes where the card has one of its own; and why nothing is told."""
    code, out, err = box.command(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"], 10.0)
    found: list[Told] = []
    for line in out.splitlines() if code == 0 else ():
        name, _, memory = line.rpartition(",")
        told: Told = {"t": "gpu", "name": name.strip()[:100]}
        if memory.strip().isdigit():
            told["memory"] = int(memory) << 20
        found.append(told)
    if not found:
        for path in sorted(glob.glob("/sys/class/drm/card*/device/mem_info_vram_total")):
            size = box.read(path, 64).strip()
            found.append({"t": "gpu", "name": "an AMD GPU", **({"memory": int(size)} if size.isdigit() else {})})
    if found or code == 127:
        return found, ""
    return [], f"nvidia-smi does not answer: {box.last_line(err) or box.last_line(out) or f'it ended with {code}'}"


def gpu_processes() -> list[Told]:
    """Compute processes with the memory they hold, where that is told."""
    code, out, _ = box.command(["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"], 10.0)
    found = []
    for line in out.splitlines() if code == 0 else ():
        pid, _, memory = line.partition(",")
        if pid.strip().isdigit():
            told: Told = {"t": "gpu_process", "pid": int(pid)}
            if memory.strip().isdigit():
                told["memory"] = int(memory) << 20
            found.append(told)
    return found


def tailnet() -> str:
    """The machine's name in its tailnet; empty where there is none."""
    code, out, _ = box.command(["tailscale", "status", "--json", "--peers=false"], 5.0)
    try:
        told = json.loads(out) if code == 0 else {}
        if told.get("BackendState") != "Running":
            return ""
        return str(told["Self"]["DNSName"]).split(".")[0][:100]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def cron() -> list[Told]:
    """Lines of cron that start engines, control units or back up."""
    lines = [
        (path, line) for path in ["/etc/crontab", *sorted(glob.glob("/etc/cron.d/*"))] for line in box.read(path).splitlines()
    ]
    code, out, _ = box.command(["crontab", "-l"], 5.0)
    if code == 0:
        lines += [(f"{box.user()}'s crontab", line) for line in out.splitlines()]
    found: list[Told] = []
    for path, line in lines:
        if line.strip() and not line.lstrip().startswith("#") and lookunits.HINT.search(line):
            found.append({"t": "cron", "from": path, "line": masking.text(line.strip())[:300]})
    return found[:40]


def scripts() -> list[Told]:
    """Executable scripts of the owner that control units by a word: `switch.sh qwen`."""
    found: list[Told] = []
    seen = 0
    for place in _SCRIPT_PLACES:
        for folder in sorted(glob.glob(os.path.expanduser(place)))[:100]:
            try:
                names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and _SCRIPT_NAME.search(entry.name))
            except OSError:
                continue
            for name in names[:50]:
                path = os.path.join(folder, name)
                seen += 1
                if seen > 400:
                    return found
                told = _script(path)
                if told is not None:
                    found.append(told)
    return found[:10]


def _script(path: str) -> Told | None:
    if not os.access(path, os.X_OK) or os.path.getsize(path) > lookunits.MAX_SCRIPT:
        return None
    text = box.read(path, lookunits.MAX_SCRIPT)
    if not text.startswith("#!") or not _CONTROL.search(text):
        return None
    words = [word.strip() for group in _WORD.findall(text) for word in group.split("|")]
    if not words:
        return None
    lines = [masking.text(line)[:300] for line in lookunits.telling(text)[:40]]
    return {"t": "script", "path": path, "words": list(dict.fromkeys(words))[:30], "lines": lines}
