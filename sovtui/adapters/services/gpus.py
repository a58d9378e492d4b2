"""The GPUs of a host as its nvidia-smi tells them through the probe: lines to readings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sovtui.core import outside
from sovtui.core.clean import clean
from sovtui.core.events import Event, Sample, Samples, SourceChanged
from sovtui.core.model import Source
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.core.state import FigureKey

NAME = "nvidia-smi"
"""What it is called among the sources."""
MOST_GPUS = 64
"""Of one host, instances of split ones among them."""
_FIGURES = {
    "use": ("gpu.use_ratio", 0.01),
    "power": ("gpu.power_watts", 1.0),
    "heat": ("gpu.temperature_celsius", 1.0),
    "used": ("gpu.memory_used_bytes", 1.0),
    "total": ("gpu.memory_total_bytes", 1.0),
    "clock": ("gpu.clock_hertz", 1.0),
}
_MEMORY = ("used", "total")
_SHARED = "this GPU has no memory of its own: it shares the host's memory"
_NEVER = "nvidia-smi says that this GPU has no such figure"
_SPLIT = "this GPU is split into instances: each has its own"
_OF_THE_WHOLE = "it is reported for the whole GPU only"


class Gpus:
    """What was told last of one host."""

    def __init__(self, host: str, source: str) -> None:
        """`source`: whose readings they are."""
        self._host, self._source = host, source
        self._told: dict[FigureKey, Reading] = {}

    def begun(self) -> Event:
        """It is not known yet whether there will be an answer."""
        return SourceChanged(Source(NAME, self._host))

    def take(self, line: Mapping[str, Any], now: datetime) -> tuple[Event, ...]:
        """What a line of the probe says."""
        if not line.get("asked"):
            return (SourceChanged(Source(NAME, self._host, None, "another source reports its GPUs")), *self._gone("", now))
        reason = clean(outside.text(line.get("reason")), 300)
        if reason:
            ok = None if line.get("absent") else False
            return (SourceChanged(Source(NAME, self._host, ok, reason)), *self._gone(reason, None))
        rows = outside.rows(line.get("gpus"))[:MOST_GPUS]
        if not rows:
            return (self.begun(),)
        old, self._told = self._told, {}
        for row in rows:
            self._take(row, now)
        lost = [key for key in old if key not in self._told]
        samples = [Sample(key, reading, gpu) for (key, gpu), reading in self._told.items()]
        samples += [Sample(key, unknown("nvidia-smi no longer reports it", self._source, now), gpu) for key, gpu in lost]
        count = len([row for row in rows if ":" not in outside.text(row.get("id"))])
        detail = f"{count} GPU{'' if count == 1 else 's'}"
        return (SourceChanged(Source(NAME, self._host, True, "", now, detail)), Samples(self._host, tuple(samples)))

    def _take(self, row: Mapping[str, Any], now: datetime) -> None:
        gpu = clean(outside.text(row.get("id", "0")), 40)
        instance, split = ":" in gpu, row.get("split") is True
        for word, (figure, factor) in _FIGURES.items():
            value = row.get(word)
            if split and word in (*_MEMORY, "use") and not (word == "use" and isinstance(value, (int, float))):
                reading = unsupported(_SPLIT, self._source)
            elif instance and word not in row:
                reading = unsupported(_OF_THE_WHOLE, self._source)
            elif isinstance(value, str):
                reading = unknown(f"nvidia-smi says: {clean(value, 80)}", self._source, now)
            elif (told := outside.number(value)) is None:
                reading = unsupported(_SHARED if word in _MEMORY else _NEVER, self._source)
            else:
                reading = fresh(told * factor, now, self._source)
            self._told[figure, gpu] = reading

    def silent(self, reason: str) -> tuple[Event, ...]:
        """Nothing comes any more; the figures grow old with those of the host."""
        return (SourceChanged(Source(NAME, self._host, False, reason)),) if self._told else ()

    def renewed(self, ago: object, now: datetime) -> tuple[Event, ...]:
        """Nothing has changed since it was last asked, `ago` seconds before `now`."""
        seconds = outside.number(ago)
        if seconds is None:
            return ()
        at = now - timedelta(seconds=max(0.0, min(seconds, 3600.0)))
        samples = []
        for (figure, gpu), reading in self._told.items():
            if reading.value is not None:
                self._told[figure, gpu] = reading = fresh(reading.value, at, self._source)
                samples.append(Sample(figure, reading, gpu))
        return (Samples(self._host, tuple(samples)),) if samples else ()

    def _gone(self, reason: str, at: datetime | None) -> tuple[Event, ...]:
        """Without `at` the last values stay, as old ones."""
        readings = [(key, gpu) for (key, gpu), reading in self._told.items() if reading.value is not None]
        self._told = {}
        gone = tuple(Sample(key, unknown(reason or "another source reports it", self._source, at), gpu) for key, gpu in readings)
        return (Samples(self._host, gone),) if gone else ()
