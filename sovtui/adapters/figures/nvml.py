"""The source `nvml`: GPUs of this very machine, by the driver's library. For a host with the `local` link only.

The library is loaded at the first poll, in a thread; a machine without it is told once and asked rarely afterwards.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

from sovtui.adapters.figures.answers import OF_THE_WHOLE, SPLIT
from sovtui.core.clean import clean
from sovtui.core.events import Sample, Samples
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.core.state import State
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Absent, PortError, TimedOut
from sovtui.ports.source import Emit

SOURCE = "nvml"
SLOW_SECONDS = 300.0
HUNG_SECONDS = 4.0
_OF_A_CARD = ("gpu.use_ratio", "gpu.power_watts", "gpu.temperature_celsius", "gpu.clock_hertz")
_NEVER = "the driver says that this GPU has no such figure"
_UNIFIED = "this GPU has no memory of its own: it shares the host's memory"
_GONE = frozenset({"LibraryNotFound", "DriverNotLoaded", "NoPermission", "FunctionNotFound"})


class NvmlSource:
    """Implements `ports.source.Source`."""

    name = SOURCE
    timeout_seconds = 6.0

    def __init__(self, host: str, clock: Clock, *, load: Callable[[], Any] | None = None) -> None:
        """`load` gives the module; for tests."""
        self.host = host
        self.interval_seconds = 2.0
        self._clock = clock
        self._load = load or _pynvml
        self._nvml: Any = None
        self._missing = ""
        self._tried_at = 0.0
        self._running: asyncio.Task[tuple[str, list[Sample]]] | None = None

    async def poll(self, state: State, emit: Emit) -> str:
        if self._missing and self._clock.monotonic() - self._tried_at < SLOW_SECONDS:
            raise Absent(self._missing)  # a driver hardly ever comes while the program runs
        self._tried_at = self._clock.monotonic()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(asyncio.to_thread(self._read), name="nvml")
        try:
            # A hung driver keeps its thread; it is waited for again, never started twice.
            detail, samples = await asyncio.wait_for(asyncio.shield(self._running), HUNG_SECONDS)
        except TimeoutError:
            raise TimedOut("the GPU driver does not answer", "Look for Xid messages in the kernel's log") from None
        except Absent as error:
            self._missing = str(error)
            self.interval_seconds = SLOW_SECONDS
            raise
        self.interval_seconds, self._missing = 2.0, ""
        emit(Samples(self.host, tuple(samples)))
        return detail

    async def aclose(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
        if self._nvml is not None:
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                self._nvml = None

    def _read(self) -> tuple[str, list[Sample]]:
        if self._nvml is None:
            self._nvml = self._start()
        n = self._nvml
        try:
            count = n.nvmlDeviceGetCount()
            driver = _text(n.nvmlSystemGetDriverVersion())
        except n.NVMLError as error:
            self._nvml = None  # the driver was reloaded or is gone: start again
            raise PortError(f"the GPU driver does not answer: {_reason(error)}") from error
        samples: list[Sample] = []
        for index in range(count):
            samples += self._gpu(n, index)
        return f"driver {driver}, {count} GPU{'' if count == 1 else 's'}", samples

    def _start(self) -> Any:
        try:
            module = self._load()
        except ImportError as error:
            raise Absent("nvidia-ml-py is not installed here") from error
        try:
            module.nvmlInit()
        except module.NVMLError as error:
            kind = type(error).__name__.removeprefix("NVMLError_")
            if kind in _GONE:
                raise Absent(f"there is no NVIDIA driver here ({_reason(error)})") from error
            raise PortError(f"the GPU driver cannot be asked: {_reason(error)}") from error
        return module

    def _gpu(self, n: Any, index: int) -> list[Sample]:
        subject = str(index)
        now = self._clock.now()
        try:
            handle = n.nvmlDeviceGetHandleByIndex(index)
        except n.NVMLError as error:
            lost = unknown(f"GPU {index}: {_reason(error)}", SOURCE, now)
            return [Sample(figure, lost, subject) for figure in _FIGURES]

        def ask(read: Callable[[], float], never: str = _NEVER) -> Reading:
            try:
                return fresh(float(read()), self._clock.now(), SOURCE)
            except n.NVMLError_NotSupported:
                return unsupported(never, SOURCE)
            except n.NVMLError as error:
                return unknown(f"GPU {index}: {_reason(error)}", SOURCE, now)

        memory = ask(lambda: n.nvmlDeviceGetMemoryInfo(handle).total, _UNIFIED)
        used = ask(lambda: n.nvmlDeviceGetMemoryInfo(handle).used, _UNIFIED)
        if memory.value == 0:  # some drivers answer, wrongly
            memory = used = unsupported(_UNIFIED, SOURCE)
        parts: list[Sample] = []
        for instance, part in _instances(n, handle):
            told = [
                ask(lambda part=part: n.nvmlDeviceGetMemoryInfo(part).used),  # type: ignore[misc]
                ask(lambda part=part: n.nvmlDeviceGetMemoryInfo(part).total),  # type: ignore[misc]
                *(unsupported(OF_THE_WHOLE, SOURCE) for _ in _OF_A_CARD),
            ]
            names = ("gpu.memory_used_bytes", "gpu.memory_total_bytes", *_OF_A_CARD)
            parts += [Sample(f, reading, f"{subject}:{instance}") for f, reading in zip(names, told, strict=True)]
        if parts:
            memory = used = unsupported(SPLIT, SOURCE)
        readings = (
            ask(lambda: n.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            ask(lambda: n.nvmlDeviceGetPowerUsage(handle) / 1000),
            ask(lambda: n.nvmlDeviceGetTemperature(handle, n.NVML_TEMPERATURE_GPU)),
            used,
            memory,
            ask(lambda: n.nvmlDeviceGetClockInfo(handle, n.NVML_CLOCK_SM) * 1e6),
        )
        return [*(Sample(figure, reading, subject) for figure, reading in zip(_FIGURES, readings, strict=True)), *parts]


def _instances(n: Any, handle: Any) -> list[tuple[int, Any]]:
    """The instances of a GPU that is split (MIG), by their id; none of any other, and where the library knows of no such thing."""
    found: list[tuple[int, Any]] = []
    try:
        if not n.nvmlDeviceGetMigMode(handle)[0]:
            return []
        most = n.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (n.NVMLError, AttributeError):
        return []
    for number in range(most):
        try:
            part = n.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            found.append((int(n.nvmlDeviceGetGpuInstanceId(part)), part))
        except n.NVMLError:
            continue  # there are fewer than there may be
    return found


_FIGURES = (
    "gpu.use_ratio",
    "gpu.power_watts",
    "gpu.temperature_celsius",
    "gpu.memory_used_bytes",
    "gpu.memory_total_bytes",
    "gpu.clock_hertz",
)


def _pynvml() -> Any:
    return importlib.import_module("pynvml")


def _text(value: object) -> str:
    """Older libraries give bytes."""
    return clean(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value), 40)


def _reason(error: Exception) -> str:
    return clean(str(error), 120) or type(error).__name__
