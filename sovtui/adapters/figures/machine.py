"""The source `psutil`: memory, CPU and swap of this very machine. For a host with the `local` link only."""

from __future__ import annotations

import asyncio
from typing import Any

from sovtui.core.events import Sample, Samples
from sovtui.core.reading import fresh, unknown
from sovtui.core.state import State
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Unsupported
from sovtui.ports.source import Emit

SOURCE = "psutil"


class MachineSource:
    """Implements `ports.source.Source`."""

    name = SOURCE
    interval_seconds = 1.0
    timeout_seconds = 5.0

    def __init__(self, host: str, clock: Clock, psutil: Any = None) -> None:
        """`psutil`: the module, for tests; imported at the first poll otherwise."""
        self.host = host
        self._clock = clock
        self._psutil = psutil

    async def poll(self, state: State, emit: Emit) -> str:
        if self._psutil is None:
            try:
                import psutil
            except ImportError as error:
                raise Unsupported("psutil is not installed here") from error
            self._psutil = psutil
            psutil.cpu_percent(None)  # the first answer has nothing to compare with
            await asyncio.sleep(0.1)
        figures = await asyncio.to_thread(self._read)
        now = self._clock.now()
        samples = [
            Sample(key, unknown("this system does not report this", SOURCE, now) if value is None else fresh(value, now, SOURCE))
            for key, value in figures.items()
        ]
        emit(Samples(self.host, tuple(samples)))
        return ""

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _read(self) -> dict[str, float | None]:
        memory = self._psutil.virtual_memory()
        swap = self._psutil.swap_memory()
        files = _meminfo()
        buffers = getattr(memory, "buffers", None)
        cached = getattr(memory, "cached", None)
        droppable = [files.get(name) for name in ("Active(file)", "Inactive(file)", "SReclaimable")]
        return {
            "memory.total_bytes": float(memory.total),
            "memory.available_bytes": float(memory.available),
            "memory.droppable_bytes": float(sum(d for d in droppable if d is not None)) if None not in droppable else None,
            "memory.cached_bytes": None if cached is None else float(cached + (buffers or 0)),
            "memory.buffers_bytes": None if buffers is None else float(buffers),
            "memory.shared_bytes": float(memory.shared) if hasattr(memory, "shared") else None,
            "memory.swap_total_bytes": float(swap.total),
            "memory.swap_used_bytes": float(swap.used),
            "cpu.use_ratio": min(1.0, self._psutil.cpu_percent(None) / 100.0),
        }


def _meminfo(path: str = "/proc/meminfo") -> dict[str, int]:
    """What psutil does not tell: which part of the page cache a drop frees."""
    try:
        with open(path, encoding="ascii") as lines:  # noqa: PTH123 (a pseudo-file)
            return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    except (OSError, ValueError, IndexError):
        return {}
