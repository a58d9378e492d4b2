"""ComfyUI 0.3: its queue, its memory, its devices. Knows nothing of where it runs.

Asked are `/system_stats` and `/prompt`, which holds one number: `/queue` would send whole workflows, which are large and private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from sovtui.adapters.engines.base import Past, WithoutMetrics, json_at
from sovtui.adapters.engines.scrape import Labels, Scrape
from sovtui.core import outside
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase, Part
from sovtui.core.reading import Reading, fresh, unknown, unsupported

STATS_EVERY_SECONDS = 10.0
MOST_DEVICES = 64

_QUEUE, _HELD = "comfyui.queue", "comfyui.held"
"""Our own names: prompts that are not done, and bytes that torch holds, by device."""
_NO_TOKENS = "ComfyUI makes pictures, not tokens"
_NOT_TOLD = "ComfyUI does not report this"


@dataclass(frozen=True, slots=True)
class Comfyui(WithoutMetrics):
    """See `base.EngineAdapter`."""

    name: str = "comfyui"
    no_metrics: str = "ComfyUI has no metrics"

    def absent(self, figure: str) -> str:
        if figure in ("engine.running", "engine.waiting", "engine.memory_bytes", "engine.slots"):
            return ""
        return _NOT_TOLD if figure in ("engine.start_unixtime", "engine.cpu_share_ratio", "engine.asleep") else _NO_TOKENS

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """What the probe has just read: nothing more is asked."""
        status, told = past.own.get("prompt", (0, None))
        info = told.get("exec_info") if isinstance(told, Mapping) else None
        left = info.get("queue_remaining") if isinstance(info, Mapping) else None
        series: dict[str, dict[Labels, float]] = {}
        if status == 200 and isinstance(left, int):
            series[_QUEUE] = {(): float(max(0, left))}
        for device in past.own.get("devices", ()):
            held = device.get("torch_vram_total")
            if device.get("type") != "cpu" and isinstance(held, int):
                series.setdefault(_HELD, {})[(("device", str(device.get("index"))),)] = float(held)
        return Scrape(at, monotonic, series, len(series))

    def parse(
        self,
        before: Scrape | None,
        after: Scrape,
        *,
        latency_before: Scrape | None = None,
        hits_before: Scrape | None = None,
    ) -> dict[str, Reading]:
        found = {f: unsupported(why, "engine") for f in ENGINE_FIGURES if (why := self.absent(f))}
        queue, held = after.series.get(_QUEUE), after.series.get(_HELD)
        if queue is None:
            found |= dict.fromkeys(
                ("engine.running", "engine.waiting"), unknown("its queue was not reported", "engine", after.at)
            )
        else:  # it runs one at a time, and counts that one too
            left = queue[()]
            found["engine.running"] = fresh(min(1.0, left), after.at, "engine")
            found["engine.waiting"] = fresh(max(0.0, left - 1), after.at, "engine")
        found["engine.slots"] = fresh(1.0, after.at, "engine")
        if held is None:
            found["engine.memory_bytes"] = unknown("it reports no GPU", "engine", after.at)
        else:
            found["engine.memory_bytes"] = fresh(sum(held.values()), after.at, "engine")
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is 200 on `/system_stats`. Which models it has loaded it does not tell."""
        if not past.ready or monotonic - past.models_at >= STATS_EVERY_SECONDS:
            status, told = await json_at(client, "/system_stats")
            system, devices = (told.get(k) if isinstance(told, Mapping) else None for k in ("system", "devices"))
            if status in (401, 403):
                return Engine(EnginePhase.READY, reason="it wants a login: nothing of it can be read")
            if status != 200 or not isinstance(system, Mapping) or not isinstance(devices, list):
                return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /system_stats says {status}")
            past.models_at = monotonic
            past.version = clean(outside.text(system.get("comfyui_version") or ""), 40)
            past.own["devices"] = outside.rows(devices)[:MOST_DEVICES]
            past.own["ram"] = system.get("ram_total")
            past.ready = True
        past.own["prompt"] = await json_at(client, "/prompt")  # also the sign that it lives, between two looks at its memory
        parts = tuple(part_of(device, past.own.get("ram")) for device in past.own.get("devices", ()))
        return Engine(EnginePhase.READY, version=past.version, parts=parts)


def part_of(device: Mapping[str, Any], ram: Any) -> Part:
    """One device: what torch holds there of all it has. Unified memory is told by its size: that of the machine."""
    name = clean(outside.text(device.get("name") or "device"), 200).partition(" : ")[0]
    total, free, held = (device.get(k) for k in ("vram_total", "vram_free", "torch_vram_total"))
    if device.get("type") == "cpu":
        return Part(name, "on the CPU")
    detail = ""
    if isinstance(free, int) and isinstance(total, int):
        detail = "unified memory" if total == ram else f"{free / 2**30:.1f} GiB free on it"
    size = held if isinstance(held, int) else None
    return Part(name, "ready", detail=detail, size_bytes=size, accelerator_bytes=size)


ENGINE = Comfyui()
