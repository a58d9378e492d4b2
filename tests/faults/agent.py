"""Runs as root inside the box while a fault is injected: samples what is loaded, stops the runner at a step, kills by role.

Standard library only, sent as text. It starts no command and asks no systemd: everything comes from /proc, /sys/fs/cgroup and the
receipts. Commands come as JSON lines on standard input, what it sees goes out as JSON lines.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import signal
import sys
import threading
import time
from typing import Any

ACTIONS = "/home/ops/.local/state/sovtui/actions"
LOCK = "/run/lock/sovtui.lock"
LOADED_KB = 15 << 10
"""A tenth of a pretend model: from here on its memory counts as allocated."""
SAMPLE_SECONDS = 0.03
POLL_SECONDS = 0.003

_out = threading.Lock()


def tell(t: str, **fields: Any) -> None:
    with _out:
        sys.stdout.write(json.dumps({"t": t, "at": time.time(), **fields}) + "\n")
        sys.stdout.flush()


def pids(unit: str) -> list[int]:
    """Every process of a system unit, from its control group."""
    found: set[int] = set()
    for root in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup"):
        with contextlib.suppress(OSError), open(f"{root}/system.slice/{unit}/cgroup.procs") as file:
            found.update(int(word) for word in file.read().split())
    return sorted(found)


def held_kb(pid: int) -> int:
    """The model memory of a pretend engine: it is a shared anonymous mapping."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("RssShmem:"):
                return int(line.split()[1])
    return 0


def born(pid: int) -> float:
    """Ticks since boot at which the process began."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as file:
        return float(file.read().rpartition(")")[2].split()[19])
    return 0.0


def runner(action: str) -> int:
    """The process that owns an action; 0 if there is none."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            words = file.read().decode("utf-8", "replace").split("\0")
            ours = any(w.endswith("/runner.py") for w in words) and any(w.endswith("/" + action) for w in words)
            if ours and not words[0].endswith("systemd-run"):
                return int(path.split("/")[2])
    return 0


def actions() -> list[str]:
    try:
        return sorted(name for name in os.listdir(ACTIONS) if "-switch-" in name)
    except OSError:
        return []


def lines(action: str) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(OSError), open(f"{ACTIONS}/{action}/receipt.jsonl", "rb") as file:
        for raw in file.read().split(b"\n"):
            with contextlib.suppress(ValueError):
                line = json.loads(raw)
                if isinstance(line, dict):
                    found.append(line)
    return found


def step_of(receipt: list[dict[str, Any]]) -> str:
    """The step that is open; `end` after the end, empty between steps or before the first."""
    step = ""
    for line in receipt:
        if line.get("t") == "step":
            step = str(line["name"]) if line.get("state") == "running" else ""
        elif line.get("t") == "end":
            step = "end"
    return step


class Sampler(threading.Thread):
    """Are two engines loaded at any instant, does the floor stand: every 30 ms."""

    def __init__(self, engines: list[str], floor: str) -> None:
        super().__init__(daemon=True)
        self.engines, self.floor = engines, floor
        self.samples, self.gap = 0, 0.0

    def run(self) -> None:
        last = time.monotonic()
        overlapping = floorless = False
        while True:
            loaded = []
            for unit in self.engines:
                processes = [(pid, held_kb(pid)) for pid in pids(unit)]
                held = sum(kb for _, kb in processes)
                if held >= LOADED_KB:
                    loaded.append({"unit": unit, "mb": held >> 10, "born": max(born(pid) for pid, _ in processes)})
            if (len(loaded) > 1) != overlapping:
                overlapping = not overlapping
                tell("two" if overlapping else "two-over", loaded=loaded)
            if (not pids(self.floor)) != floorless:
                floorless = not floorless
                tell("floor", up=not floorless)
            now = time.monotonic()
            self.samples, self.gap, last = self.samples + 1, max(self.gap, now - last), now
            time.sleep(SAMPLE_SECONDS)


def follow(known: set[str], step: str) -> tuple[str, int, str]:
    """Waits for a new action to be at `step`, and stops its runner there: the action, the runner, the step it is really at."""
    action = ""
    while True:
        if not action:
            action = next((name for name in actions() if name not in known), "")
        if action:
            receipt = lines(action)
            now = step_of(receipt)
            if now == step or (now == "end" and receipt):
                break
            if any(x.get("t") == "step" and x.get("name") == step and x.get("state") != "running" for x in receipt):
                break  # it went by between two looks
            if receipt and not runner(action):
                break
        time.sleep(POLL_SECONDS)
    process = runner(action)
    if process:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGSTOP)
    return action, process, step_of(lines(action))


def strike(unit: str, seconds: float) -> int:
    """SIGKILL for the engine of a unit once it holds some memory; its pid, 0 if none came in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for pid in pids(unit):
            if held_kb(pid) >= 8 << 10:
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(POLL_SECONDS)
    return 0


def lock_is_free(seconds: float = 1.5) -> bool:
    end = time.monotonic() + seconds
    while True:
        try:
            descriptor = os.open(LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > end:
                return False
        finally:
            os.close(descriptor)
        time.sleep(0.05)


def main() -> None:
    engines, floor = json.loads(sys.argv[1])
    sampler = Sampler(engines, floor)
    sampler.start()
    action, process = "", 0
    tell("hello", actions=actions(), floor=pids(floor))
    for raw in sys.stdin:
        order = json.loads(raw)
        what = order["do"]
        if what == "arm":
            known, step = set(order["known"]), str(order["step"])

            def armed(known: set[str] = known, step: str = step) -> None:
                nonlocal action, process
                action, process, now = follow(known, step)
                tell("at", action=action, runner=process, step=now)

            threading.Thread(target=armed, daemon=True).start()
        elif what == "go":
            now = step_of(lines(action)) if action else ""
            if process:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGCONT)
            tell("going", step=now)
        elif what == "kill":
            with contextlib.suppress(OSError):
                os.kill(process, int(order["signal"]))
                os.kill(process, signal.SIGCONT)
            tell("killed", pid=process)
        elif what == "strike":
            if process:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGCONT)
            hit = strike(str(order["unit"]), float(order["seconds"]))
            tell("struck", pid=hit, step=step_of(lines(action)))
        elif what == "look":
            every = {name: bool(runner(name)) for name in actions() if name not in set(order["known"])}
            tell("looked", alive=[n for n, lives in every.items() if lives], new=list(every), step=step_of(lines(action)))
        elif what == "lock":
            tell("lock", free=lock_is_free())
        elif what == "receipt":
            tell("receipt", action=order["action"], lines=lines(str(order["action"])))
        elif what == "report":
            tell("report", samples=sampler.samples, gap=round(sampler.gap, 3))
            sampler.samples, sampler.gap = 0, 0.0


if __name__ == "__main__":
    main()
