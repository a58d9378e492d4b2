"""What a figure can be at all: the one place that tells a measurement from a blank, an overflow or a unit mistaken. Pure.

Every sample passes here on its way into the state, whoever measured it; an adapter that makes one figure of several looks at each
of them with `blank` first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sovtui.core.catalog import CATALOG, Unit
from sovtui.core.events import Sample
from sovtui.core.model import Engine, Service
from sovtui.core.reading import Reading, unknown

_BLANKS = (
    (2.0**31 - 16, 2.0**31 - 1),  # DCGM, 32 bits: blank, not found, not supported, not permitted
    (2.0**32 - 16, 2.0**32 - 1),  # the same and -1, taken for unsigned
    (2.0**47, 2.0**47 + 15),  # DCGM, floating point
    (2.0**63 - 1024, math.inf),  # 64 bits, signed or not, as near as a float comes; nothing that is measured is so large
)
"""What sensors and exporters say for "there is no such value", as ranges."""

_MEMORY = (0.0, 2.0**50)
_LIMITS: Mapping[Unit, tuple[float, float]] = {
    Unit.BYTES: _MEMORY,
    Unit.RATIO: (0.0, 1.05),  # two counters of one moment are not read at one moment
    Unit.SECONDS: (0.0, 1e6),
    Unit.TOKENS_PER_SECOND: (0.0, 1e7),
    Unit.COUNT: (0.0, 1e9),
    Unit.TOKENS: (0.0, 1e12),
    Unit.WATTS: (0.0, 2e4),
    Unit.CELSIUS: (-60.0, 200.0),
    Unit.HERTZ: (0.0, 2e10),
    Unit.FLAG: (0.0, 1.0),
}
"""From and to, both possible."""
_OTHER_LIMITS: Mapping[str, tuple[float, float]] = {
    "disk.total_bytes": (0.0, 2.0**60),
    "disk.free_bytes": (0.0, 2.0**60),
    "memory.apart_ratio": (0.0, math.inf),
    "engine.start_unixtime": (0.0, 1e11),
}
_NEVER_ZERO = ("memory.total_bytes", "disk.total_bytes", "gpu.memory_total_bytes", "cpu.count")
_PARTS: Mapping[str, str] = {
    "memory.available_bytes": "memory.total_bytes",
    "memory.droppable_bytes": "memory.total_bytes",
    "memory.cached_bytes": "memory.total_bytes",
    "memory.buffers_bytes": "memory.total_bytes",
    "memory.shared_bytes": "memory.total_bytes",
    "memory.swap_used_bytes": "memory.swap_total_bytes",
    "disk.free_bytes": "disk.total_bytes",
    "gpu.memory_used_bytes": "gpu.memory_total_bytes",
}
"""What is a part of what."""
ALIKE = 1.01
"""Two figures of one source need not be of the same instant."""


def blank(value: float) -> bool:
    """Whether a number as it came from a sensor or an exporter stands for no value: nothing may be made of it."""
    return math.isnan(value) or any(low <= value <= high for low, high in _BLANKS) or value <= -(2.0**31)


def possible(figure: str, value: float) -> bool:
    """Whether a figure, in its own unit, can have this value. Of a figure that is not in the catalog everything finite is."""
    if math.isnan(value) or math.isinf(value):
        return False
    spec = CATALOG.get(figure)
    if spec is None:
        return True
    low, high = _OTHER_LIMITS.get(figure) or _LIMITS[spec.unit]
    return low <= value <= high and (value != 0 or figure not in _NEVER_ZERO)


def size(value: int | None) -> int | None:
    """A number of bytes that something holds; None where it cannot be one."""
    return value if value is not None and _MEMORY[0] <= value <= _MEMORY[1] else None


def weighed(service: Service) -> Service:
    """With a size that can be."""
    used = size(service.memory_bytes)
    return service if used == service.memory_bytes else replace(service, memory_bytes=used)


def of_size(engine: Engine) -> Engine:
    """With sizes that can be."""
    parts = [*engine.parts, *engine.installed]
    if all(size(p.size_bytes) == p.size_bytes and size(p.accelerator_bytes) == p.accelerator_bytes for p in parts):
        return engine
    kept = [replace(p, size_bytes=size(p.size_bytes), accelerator_bytes=size(p.accelerator_bytes)) for p in parts]
    return replace(engine, parts=tuple(kept[: len(engine.parts)]), installed=tuple(kept[len(engine.parts) :]))


def checked(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples of one batch, those that cannot be as unknown with the reason. The very same where all can."""
    found: list[Sample] | None = None
    for index, sample in enumerate(samples):
        value = sample.reading.value
        if value is not None and not possible(sample.figure, value):
            found = [*samples] if found is None else found
            found[index] = replace(sample, reading=_no(sample.reading, f"it was reported as {value:g}, which is impossible"))
    samples = samples if found is None else tuple(found)
    wholes = {(s.figure, s.subject, s.reading.source): s.reading.value for s in samples if s.figure in _PARTS.values()}
    if not wholes:
        return samples
    found = None
    for index, sample in enumerate(samples):
        whole = wholes.get((_PARTS.get(sample.figure, ""), sample.subject, sample.reading.source))
        value = sample.reading.value
        if whole is not None and value is not None and value > whole * ALIKE:
            found = [*samples] if found is None else found
            label = CATALOG[_PARTS[sample.figure]].label
            found[index] = replace(sample, reading=_no(sample.reading, f"it was reported as more than the whole {label}"))
    return samples if found is None else tuple(found)


def _no(reading: Reading, reason: str) -> Reading:
    return unknown(reason, reading.source, reading.at)
