"""Of a survey's facts: which kind of memory a machine has, and how much of it a mode holds. Pure."""

from __future__ import annotations

import math
import re

from sovtui.config.proposal import Line, line
from sovtui.core.servers import Certainty, Server
from sovtui.core.survey import Facts

_UNIFIED = re.compile(r"(?i)GB10|GH200|Grace|Orin|Thor|Tegra|DGX Spark")
SURE, LIKELY, GUESS = Certainty.SURE, Certainty.LIKELY, Certainty.GUESS


def kind(facts: Facts) -> Line:
    names = f"{' '.join(gpu.name for gpu in facts.gpus)} {facts.machine.board}"
    sizes = [gpu.memory_bytes for gpu in facts.gpus]
    if sizes and None in sizes:
        known = _UNIFIED.search(names) is not None
        return line("memory", "unified", f"{facts.gpus[0].name} reports no memory of its own", SURE if known else LIKELY)
    if _UNIFIED.search(names):
        return line("memory", "unified", f"{names.strip()} shares its memory with the CPU", LIKELY)
    if sizes:
        gib = sum(size or 0 for size in sizes) / 2**30
        return line("memory", "discrete", f"{', '.join(gpu.name for gpu in facts.gpus)} with {gib:.1f} GiB of its own")
    return line("memory", "auto", "no GPU was found; sovtui will look again by itself", LIKELY)


def unified(facts: Facts) -> bool:
    return kind(facts).value == "unified"


def needs(facts: Facts, server: Server) -> list[Line]:
    """Memory that it holds: measured, or told by its command line; a default of the engine is a guess."""
    if server.held_bytes and server.running:
        return [line("needs", gigabytes(server.held_bytes), "its processes hold that on the GPU now")]
    if not facts.gpus:
        return []
    total = facts.machine.memory_bytes if unified(facts) else (facts.gpus[0].memory_bytes or 0)
    ratio = server.gpu_ratio or {"vllm": 0.9}.get(server.engine)
    if not total or not ratio:
        return []
    sure = server.gpu_ratio is not None and len(facts.gpus) == 1
    reason = f"{ratio:g} of {gigabytes(total)}, {'as its command line says' if server.gpu_ratio else 'the default of the engine'}"
    return [line("needs", gigabytes(int(total * ratio)), reason, LIKELY if sure else GUESS, active=sure)]


def gigabytes(value: int) -> str:
    """Rounded up to a tenth: `30.8 GB`."""
    return f"{math.ceil(value / 1e8) / 10:g} GB"
