"""The machine itself as a survey tells it: GPU and memory kind, tailnet, cron."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Any

from sovtui.onbox import box, commandline, enginewords, lookscripts, lookunits, masking, shellwords

Told = dict[str, Any]
_TIMES = re.compile(r"^(?:@\w+|(?:[\dA-Za-z*,/-]+\s+){5})\s*")


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
    """Lines of cron, and of what else runs at the start, that start engines, control units or back up."""
    lines = [
        (path, line) for path in ["/etc/crontab", *sorted(glob.glob("/etc/cron.d/*"))] for line in box.read(path).splitlines()
    ]
    code, out, _ = box.command(["crontab", "-l"], 5.0)
    if code == 0:
        lines += [(f"{box.user()}'s crontab", line) for line in out.splitlines()]
    lines += [("/etc/rc.local", line) for line in box.read("/etc/rc.local").splitlines()]
    for path in sorted(glob.glob(os.path.expanduser("~/.config/autostart/*.desktop")))[:40]:
        lines += [(path, line[5:]) for line in box.read(path).splitlines() if line.startswith("Exec=")]
    found: list[Told] = []
    for path, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        command = _TIMES.sub("", line.strip())
        if path.startswith("/etc/cron"):  # a system's table names a user
            command = command.partition(" ")[2]
        begun = shellwords.commands(command)[:20]
        runs = [words for argv in begun for words in _engines(argv)]
        if runs or lookunits.HINT.search(line):
            when = line.strip()[: len(line.strip()) - len(command)]
            told: Told = {"t": "cron", "from": path, "line": (when + masking.text(command))[:300]}
            found.append({**told, **({"runs": [masking.words(argv)[:160] for argv in runs]} if runs else {})})
    return found[:40]


def _engines(argv: list[str]) -> list[list[str]]:
    """Of one command: itself and those in its scripts that start an engine."""
    home = os.path.expanduser("~")
    words = [re.sub(r"\A(?:~|\$HOME|\$\{HOME\})(?=/)", home, word) for word in argv]
    reading = lookscripts.read_through(words, {"HOME": home})
    return [one for one in (words, *reading.commands) if any(enginewords.engine(run) for run in commandline.runs(one))]
