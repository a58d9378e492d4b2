"""Every figure declared once: key, unit, label, when it is stale. No values here.

Adapters name figures by these keys, panes and the command line read unit and label from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    BYTES = "bytes"
    RATIO = "ratio"
    """0 to 1."""
    SECONDS = "seconds"
    TOKENS_PER_SECOND = "tok/s"
    COUNT = "count"
    TOKENS = "tokens"
    WATTS = "W"
    CELSIUS = "°C"
    HERTZ = "Hz"
    FLAG = "flag"
    """0 or 1."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is. `subject` says what a key is about besides the host: a mode name, a GPU, or nothing."""

    key: str
    unit: Unit
    label: str
    subject: str = ""
    stale_after_seconds: float = 15.0
    curve: bool = False
    """Whether a curve of it is kept."""


_ALL = (
    Figure("memory.total_bytes", Unit.BYTES, "memory", stale_after_seconds=60),
    Figure("memory.available_bytes", Unit.BYTES, "available", curve=True),
    Figure("memory.droppable_bytes", Unit.BYTES, "droppable page cache"),
    Figure("memory.cached_bytes", Unit.BYTES, "page cache"),
    Figure("memory.buffers_bytes", Unit.BYTES, "buffers"),
    Figure("memory.shared_bytes", Unit.BYTES, "shared"),
    Figure("memory.swap_total_bytes", Unit.BYTES, "swap"),
    Figure("memory.swap_used_bytes", Unit.BYTES, "swap used"),
    Figure("memory.apart_ratio", Unit.RATIO, "between what Prometheus and the host say", stale_after_seconds=60),
    Figure("cpu.use_ratio", Unit.RATIO, "CPU", curve=True),
    Figure("cpu.load_mean", Unit.COUNT, "load"),
    Figure("cpu.count", Unit.COUNT, "processors", stale_after_seconds=60),
    Figure("disk.total_bytes", Unit.BYTES, "disk", "mount", stale_after_seconds=120),
    Figure("disk.free_bytes", Unit.BYTES, "disk space left", "mount", stale_after_seconds=120),
    Figure("gpu.use_ratio", Unit.RATIO, "GPU", "gpu", curve=True),
    Figure("gpu.power_watts", Unit.WATTS, "GPU power", "gpu"),
    Figure("gpu.temperature_celsius", Unit.CELSIUS, "GPU temperature", "gpu"),
    Figure("gpu.memory_used_bytes", Unit.BYTES, "GPU memory used", "gpu"),
    Figure("gpu.memory_total_bytes", Unit.BYTES, "GPU memory", "gpu", stale_after_seconds=60),
    Figure("gpu.clock_hertz", Unit.HERTZ, "GPU clock", "gpu"),
    Figure("engine.decode_tok_s", Unit.TOKENS_PER_SECOND, "decode", "mode", curve=True),
    Figure("engine.prompt_tok_s", Unit.TOKENS_PER_SECOND, "prompt", "mode", curve=True),
    Figure("engine.running", Unit.COUNT, "running", "mode"),
    Figure("engine.waiting", Unit.COUNT, "waiting", "mode"),
    Figure("engine.slots", Unit.COUNT, "slots", "mode", stale_after_seconds=60),
    Figure("engine.kv_use_ratio", Unit.RATIO, "KV cache", "mode", curve=True),
    Figure("engine.ttft_p50_seconds", Unit.SECONDS, "TTFT p50", "mode"),
    Figure("engine.ttft_p95_seconds", Unit.SECONDS, "TTFT p95", "mode"),
    # Time per output token after the first. Their keys say ITL, as they first did: they are a contract, and no other figure is meant.
    Figure("engine.itl_mean_seconds", Unit.SECONDS, "TPOT mean", "mode"),
    Figure("engine.itl_p95_seconds", Unit.SECONDS, "TPOT p95", "mode"),
    Figure("engine.prefix_hit_ratio", Unit.RATIO, "prefix hits", "mode"),
    Figure("engine.accept_ratio", Unit.RATIO, "accepted drafts", "mode"),
    Figure("engine.accept_length", Unit.COUNT, "accepted length", "mode"),
    Figure("engine.memory_bytes", Unit.BYTES, "held by its models", "mode"),
    Figure("engine.cpu_share_ratio", Unit.RATIO, "on the CPU", "mode"),
    Figure("engine.asleep", Unit.FLAG, "asleep", "mode"),
    Figure("engine.start_unixtime", Unit.SECONDS, "engine started", "mode", stale_after_seconds=60),
)

CATALOG: dict[str, Figure] = {figure.key: figure for figure in _ALL}

ENGINE_FIGURES: tuple[str, ...] = tuple(key for key in CATALOG if key.startswith("engine."))
"""Every figure that an engine may tell; an adapter says of each why, if it never does."""


def stale_after(key: str) -> float:
    """Seconds after which a value of this figure is stale."""
    figure = CATALOG.get(key)
    return figure.stale_after_seconds if figure else 15.0
