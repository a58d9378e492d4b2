"""How much memory a model could still take, and the word for it: *free* is of a GPU's own memory, *available* of the host's. Pure.

Where CPU and GPU share one memory there is one figure, the host's, and one word, *available*: it counts page cache that a drop
gives back. Every face of the program takes figure and word from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sovtui.core.modes import unified
from sovtui.core.reading import Reading, Status, unknown
from sovtui.core.state import Host

FREE, AVAILABLE = "free", "available"


@dataclass(frozen=True, slots=True)
class Headroom:
    """One figure in bytes, and what it is of."""

    word: str
    """`free` or `available`."""
    reading: Reading
    total: Reading

    @property
    def of_gpu(self) -> bool:
        """Whether it is of the GPU's own memory."""
        return self.word == FREE


def headroom(host: Host) -> Headroom:
    """That of the GPUs together where they have memory of their own, else the host's."""
    if not has_own_memory(host):
        return Headroom(AVAILABLE, host.reading("memory.available_bytes"), host.reading("memory.total_bytes"))
    gpus = [gpu for gpu in gpus_of(host) if _total(host, gpu).status is not Status.UNSUPPORTED] or gpus_of(host)
    if not gpus:
        nothing = unknown("no source reports its GPU")
        return Headroom(FREE, nothing, nothing)
    return Headroom(FREE, _sum([gpu_free(host, gpu) for gpu in gpus]), _sum([_total(host, gpu) for gpu in gpus]))


def has_own_memory(host: Host) -> bool:
    """Whether the host has a GPU with memory of its own; also where how much that is cannot be read now."""
    shared = unified(host)
    if shared is not None:
        return not shared
    return any(_total(host, gpu).status is not Status.UNSUPPORTED for gpu in host.subjects("gpu.memory_total_bytes"))


def gpus_of(host: Host) -> tuple[str, ...]:
    """Every GPU, or instance of one, that memory is told of."""
    return tuple(sorted({*host.subjects("gpu.memory_total_bytes"), *host.subjects("gpu.memory_used_bytes")}))


def gpu_free(host: Host, gpu: str) -> Reading:
    """What one GPU has free: as old as the older of both figures, and as little known as the less known."""
    total, used = _total(host, gpu), host.reading("gpu.memory_used_bytes", gpu)
    return _made((total, used), lambda values: max(0.0, values[0] - values[1]))


def _total(host: Host, gpu: str) -> Reading:
    return host.reading("gpu.memory_total_bytes", gpu)


def _sum(readings: Sequence[Reading]) -> Reading:
    return _made(readings, sum)


def _made(readings: Sequence[Reading], of: Callable[[list[float]], float]) -> Reading:
    """Made of several: unknown, not supported or stale as soon as one of them is."""
    for status in (Status.UNKNOWN, Status.UNSUPPORTED):
        for one in readings:
            if one.status is status:
                return replace(one, value=None)
    oldest = min(readings, key=lambda one: (one.status is not Status.STALE, one.at or datetime.max.replace(tzinfo=UTC)))
    return replace(oldest, value=of([one.value for one in readings if one.value is not None]))
