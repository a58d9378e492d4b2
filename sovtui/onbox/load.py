"""How much engines have to do, and who holds memory, asked without waking, loading or billing anything.

Most exact source first: the engine's own counts, else GPU use over three samples together with a compute process.
"""

from __future__ import annotations

import json
import os
import re
import time
from functools import partial

from sovtui.onbox import box, cgroups, queues, services, web
from sovtui.onbox.deadline import each
from sovtui.onbox.things import Load, LoadProbe
from sovtui.onbox.words import Proved, Weigh, Weighed

BUSY_USE = 15.0
"""Percent of GPU use, in each of three samples, that counts as work: a moving window alone makes as much by itself."""
SAMPLES = 3
SECONDS = 10.0
"""How long all engines together may take."""
_ENGINES = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:generation_tokens_total"),
    "sglang": (
        "sglang:num_running_reqs",
        "sglang:num_queue_reqs",
        "sglang:realtime_tokens_total",
        "sglang:inter_token_latency_seconds_count",
    ),
}
"""Running, waiting, then what moves with every token. SGLang's `generation_tokens_total` moves only when a request ends."""
_PROGRESS = {
    "vllm": ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "sglang": (
        "sglang:generation_tokens_total", "sglang:prompt_tokens_total", "sglang:realtime_tokens_total", "sglang:token_usage",
    ),
}  # fmt: skip
"""What moves while it works: at least one of them does within seconds, also in the middle of a long prompt."""


def weigh(effect: Weigh) -> Weighed:
    """What cannot be told, or not in time, is not known."""
    found: dict[str, Load] = {}

    def ask(probe: LoadProbe) -> None:
        found[probe.mode] = of_engine(probe)

    each(SECONDS if effect.seconds is None else min(SECONDS, effect.seconds), [partial(ask, probe) for probe in effect.probes])
    processes = compute_processes()
    blind = [p for p in effect.probes if not found.get(p.mode, Load(p.mode)).known]
    held: tuple[tuple[str, float], ...] = ()
    foreign: tuple[tuple[str, float], ...] = ()
    pids: dict[str, set[int]] = {}
    if processes or effect.services:
        names = list(dict.fromkeys([*effect.services, *effect.known, *(s for p in effect.probes for s in p.services)]))
        pids = pids_of(names)
        held, foreign = shares(processes, pids, effect.services)
    if blind and processes:
        mine = {p.mode: any(pid in pids.get(s, set()) for s in p.services for pid in processes) for p in blind}
        use = gpu_use() if any(mine.values()) else 0.0
        for probe in blind:
            if mine[probe.mode] and use > BUSY_USE:
                found[probe.mode] = Load(probe.mode, 1.0, 0.0, False, f"the GPU works: {use:.0f} % in each of {SAMPLES} samples")
    loads = tuple(found.get(p.mode, Load(p.mode)) for p in effect.probes)
    values = figures() if effect.services or not effect.probes else ()
    return Weighed(time.monotonic(), loads, values, held, foreign)


def figures() -> tuple[tuple[str, float], ...]:
    values = dict(box.figures())
    droppable = box.memory().get("droppable")
    if droppable is not None:
        values["memory.droppable_bytes"] = float(droppable)
    return tuple(values.items())


# -- engines -----------------------------------------------------------------------------------------


def of_engine(probe: LoadProbe) -> Load:
    if not probe.url:
        return Load(probe.mode)
    if probe.engine in _ENGINES:
        return _by_metrics(probe)
    if probe.engine == "llamaswap":
        return queues.llamaswap(probe.mode, probe.url, lambda engine, url: of_engine(LoadProbe(probe.mode, engine, url)))
    if probe.engine == "llamacpp":
        told, _ = services.look(probe.services)
        return queues.llamacpp(probe.mode, probe.url, [group for one in told for group in one["cgroups"] if group])
    ask = {"ollama": queues.ollama, "comfyui": queues.comfyui, "litellm": queues.litellm}.get(probe.engine)
    return ask(probe.mode, probe.url) if ask else Load(probe.mode)


def _by_metrics(probe: LoadProbe) -> Load:
    """Two looks: the gauges are of the last step and read zero between two batches, but then tokens have moved."""
    names = _ENGINES[probe.engine]
    best, tokens = Load(probe.mode), -1.0
    for turn in range(2):
        if turn:
            time.sleep(0.3)
        status, body = web.get(probe.url, "/metrics", 3.0)
        if status != 200:
            break
        values = queues.counts(body.decode("utf-8", "replace"), (*names, *_PROGRESS[probe.engine]))
        if names[0] not in values:
            break
        progress = tuple(values[name] for name in _PROGRESS[probe.engine] if name in values)
        running, waiting = values[names[0]], values.get(names[1], 0.0)
        counted = sum(values.get(name, 0.0) for name in names[2:])
        if not running and turn and counted > tokens >= 0:
            running = 1.0
        best = max(
            best, Load(probe.mode, running, waiting, True, "its /metrics", progress), key=lambda one: (one.known, one.total)
        )
        tokens = counted
        if best.total:
            break
    return best


# -- GPU and memory ----------------------------------------------------------------------------------


def _smi(*words: str) -> list[list[str]]:
    code, out, _ = box.command(["nvidia-smi", *words, "--format=csv,noheader,nounits"], 5.0)
    return [[cell.strip() for cell in line.split(",")] for line in out.splitlines() if line.strip()] if code == 0 else []


def compute_processes() -> dict[int, tuple[str, float]]:
    """pid: name and bytes of GPU memory (0 where it is not told)."""
    found: dict[int, tuple[str, float]] = {}
    for row in _smi("--query-compute-apps=pid,process_name,used_memory"):
        if len(row) >= 3 and row[0].isdigit():
            pid, name = int(row[0]), os.path.basename(",".join(row[1:-1])) or "a process"
            old = found.get(pid, (name, 0.0))[1]
            found[pid] = (name[:80], old + (float(int(row[-1]) << 20) if row[-1].isdigit() else 0.0))
    return found


def gpu_use() -> float:
    """The least use in percent over the samples, of the GPU that works most; 0 where it is not told."""
    uses = []
    for turn in range(SAMPLES):
        if turn:
            time.sleep(0.35)
        cells = [float(row[0]) for row in _smi("--query-gpu=utilization.gpu") if row and row[0].isdigit()]
        uses.append(max(cells, default=0.0))
    return min(uses)


def pids_of(names: list[str]) -> dict[str, set[int]]:
    """The processes of each service, by its control group."""
    told, _ = services.look(names)
    return {one["name"]: cgroups.members(one["cgroups"]) | ({one["pid"]} if one["pid"] else set()) for one in told}


def shares(
    processes: dict[int, tuple[str, float]], pids: dict[str, set[int]], wanted: tuple[str, ...]
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    """What each service holds, and GPU processes of none of them.

    Where GPU processes are told, a service's share is theirs; without a GPU it is its resident memory, page cache not counted.
    """
    held = []
    for name in wanted:
        mine = pids.get(name, set())
        on_gpu = sum(processes[pid][1] for pid in mine if pid in processes)
        if on_gpu:
            held.append((name, on_gpu))
        elif not processes and mine and not _has_gpu():
            held.append((name, sum(resident(pid) for pid in mine)))
    known = set().union(*pids.values()) if pids else set()
    foreign = tuple((f"{name} (pid {pid})", used) for pid, (name, used) in processes.items() if pid not in known)
    return tuple(held), foreign


def _has_gpu() -> bool:
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/nvidia0") or os.path.exists("/dev/kfd")


def resident(pid: int) -> float:
    """Private memory of a process in bytes: what comes back when it ends."""
    match = re.search(r"^RssAnon:\s+(\d+) kB", box.read(f"/proc/{pid}/status"), re.MULTILINE)
    return float(match.group(1)) * 1024 if match else 0.0


def prove(url: str, model: str, timeout: float = 120.0) -> Proved:
    """One token, really computed. An engine that asks for a key cannot be proved, which is said and is no failure."""
    began = time.monotonic()

    def told(ok: bool, reason: str, certain: bool = True) -> Proved:
        now = time.monotonic()
        return Proved(now, ok, reason, not ok and not status and now - began >= 0.9 * timeout, certain)

    if not model:
        status, body = web.get(url, "/v1/models", 3.0)
        try:
            model = str(json.loads(body)["data"][0]["id"]) if status == 200 else ""
        except (ValueError, KeyError, IndexError, TypeError):
            model = ""
    wish = json.dumps({"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0})
    status, body, _ = web.full(url, "/v1/completions", timeout, wish)
    if status in (401, 403):
        return told(True, "not proved: it asks for a key", certain=False)
    if status == 200:
        try:
            if json.loads(body)["choices"]:
                return told(True, f"one token from {model}")
        except (ValueError, KeyError, TypeError):
            pass
        return told(False, "its answer holds no completion")
    said = " ".join(body.decode("utf-8", "replace").split())[:200]
    return told(False, f"HTTP {status}: {said}" if status else f"it did not answer within {time.monotonic() - began:.0f} s")
