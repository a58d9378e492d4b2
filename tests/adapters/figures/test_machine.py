"""Figures of this very machine: psutil, and the GPU driver's library with all that it can say instead of a number."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from sovtui.adapters.figures import nvml
from sovtui.adapters.figures.machine import MachineSource
from sovtui.adapters.figures.nvml import NvmlSource
from sovtui.core.events import Event, Samples
from sovtui.core.reading import Reading, Status
from sovtui.core.state import State, initial
from sovtui.ports.errors import PortError, TimedOut, Unsupported
from tests.fakes.world import FakeClock

STATE: State = initial((), FakeClock().now())


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


class NVMLError_GpuIsLost(NVMLError):
    pass


class NVMLError_LibraryNotFound(NVMLError):
    pass


class Driver:
    """A `pynvml` that answers from a table; an exception in it is raised."""

    NVMLError, NVMLError_NotSupported = NVMLError, NVMLError_NotSupported
    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, **answers: Any) -> None:
        memory = SimpleNamespace(total=32 << 30, used=30 << 30)
        self.answers: dict[str, Any] = {
            "Init": None, "Count": 1, "Handle": "h", "Memory": memory, "Use": SimpleNamespace(gpu=93), "Power": 412300, "Heat": 66,
            "Clock": 2600, "Driver": b"580.95",
        }  # fmt: skip
        self.answers.update(answers)
        self.calls: list[str] = []

    def _say(self, what: str) -> Any:
        self.calls.append(what)
        answer = self.answers[what]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def nvmlInit(self) -> Any:
        return self._say("Init")

    def nvmlShutdown(self) -> None:
        self.calls.append("Shutdown")

    def nvmlDeviceGetCount(self) -> Any:
        return self._say("Count")

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self._say("Driver")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return self._say("Handle")

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Any:
        return self._say("Memory")

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> Any:
        return self._say("Use")

    def nvmlDeviceGetPowerUsage(self, handle: object) -> Any:
        return self._say("Power")

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> Any:
        return self._say("Heat")

    def nvmlDeviceGetClockInfo(self, handle: object, kind: int) -> Any:
        return self._say("Clock")


async def read(driver: Driver) -> dict[str, Reading]:
    source = NvmlSource("here", FakeClock(), load=lambda: driver)
    events: list[Event] = []
    assert await source.poll(STATE, events.append) == "driver 580.95, 1 GPU"
    await source.aclose()
    assert driver.calls[-1] == "Shutdown"
    (samples,) = events
    assert isinstance(samples, Samples)
    return {sample.figure: sample.reading for sample in samples.samples if sample.subject == "0"}


async def test_a_card_with_memory_of_its_own() -> None:
    readings = await read(Driver())
    assert {key: reading.value for key, reading in readings.items()} == {
        "gpu.use_ratio": 0.93,
        "gpu.power_watts": 412.3,
        "gpu.temperature_celsius": 66,
        "gpu.memory_used_bytes": 30 << 30,
        "gpu.memory_total_bytes": 32 << 30,
        "gpu.clock_hertz": 2.6e9,
    }


@pytest.mark.parametrize("memory", [NVMLError_NotSupported("Not Supported"), SimpleNamespace(total=0, used=0)])
async def test_a_chip_that_shares_the_hosts_memory(memory: object) -> None:
    readings = await read(Driver(Memory=memory))
    for figure in ("gpu.memory_used_bytes", "gpu.memory_total_bytes"):
        assert readings[figure].status is Status.UNSUPPORTED and "shares" in readings[figure].reason
    assert readings["gpu.use_ratio"].value == 0.93


@pytest.mark.truth(of="one-shot commands and states")
async def test_a_lost_gpu_is_unknown_with_the_drivers_word() -> None:
    readings = await read(Driver(Handle=NVMLError_GpuIsLost("GPU is lost")))
    assert len(readings) == 6
    assert {(r.status, r.reason) for r in readings.values()} == {(Status.UNKNOWN, "GPU 0: GPU is lost")}


class Split(Driver):
    """A GPU in seven possible instances, three of which are made."""

    def nvmlDeviceGetMigMode(self, handle: object) -> Any:
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, number: int) -> str:
        if number >= 3:
            raise NVMLError("Not Found")
        return f"part {number}"

    def nvmlDeviceGetGpuInstanceId(self, part: str) -> int:
        return {"part 0": 1, "part 1": 5, "part 2": 13}[part]

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Any:
        size = {"part 0": 40, "part 1": 20, "part 2": 10}.get(str(handle), 80)
        return SimpleNamespace(total=size << 30, used=size << 29)


@pytest.mark.truth(of="one-shot commands and states")
async def test_each_instance_of_a_split_gpu_has_its_own_memory() -> None:
    events: list[Event] = []
    source = NvmlSource("here", FakeClock(), load=lambda: Split(Use=NVMLError_NotSupported("Not Supported")))
    await source.poll(STATE, events.append)
    await source.aclose()
    (samples,) = events
    assert isinstance(samples, Samples)
    told = {(s.subject, s.figure): s.reading for s in samples.samples}
    totals = {subject: reading.value for (subject, figure), reading in told.items() if figure == "gpu.memory_total_bytes"}
    assert totals == {"0": None, "0:1": 40 << 30, "0:5": 20 << 30, "0:13": 10 << 30}
    assert (
        told["0", "gpu.memory_used_bytes"].status is Status.UNSUPPORTED and "split" in told["0", "gpu.memory_used_bytes"].reason
    )
    assert told["0", "gpu.power_watts"].value == 412.3 and told["0:5", "gpu.power_watts"].status is Status.UNSUPPORTED


async def test_an_unknown_error_of_one_figure_leaves_the_others() -> None:
    readings = await read(Driver(Power=NVMLError("Unknown Error")))
    assert readings["gpu.power_watts"].status is Status.UNKNOWN and "Unknown Error" in readings["gpu.power_watts"].reason
    assert readings["gpu.temperature_celsius"].value == 66


async def test_without_a_driver_it_is_told_once_and_asked_rarely() -> None:
    clock, driver = FakeClock(), Driver(Init=NVMLError_LibraryNotFound("NVML Shared Library Not Found"))
    source = NvmlSource("here", clock, load=lambda: driver)
    for _ in range(3):
        with pytest.raises(Unsupported, match="no NVIDIA driver"):
            await source.poll(STATE, lambda _: None)
    assert driver.calls == ["Init"] and source.interval_seconds == nvml.SLOW_SECONDS
    clock.passed = 301
    driver.answers["Init"] = None
    await source.poll(STATE, lambda _: None)
    assert source.interval_seconds == 2.0


async def test_without_the_library_it_is_unsupported() -> None:
    def missing() -> Any:
        raise ImportError("pynvml")

    with pytest.raises(Unsupported, match="nvidia-ml-py"):
        await NvmlSource("here", FakeClock(), load=missing).poll(STATE, lambda _: None)


async def test_a_driver_that_was_reloaded_is_started_again() -> None:
    driver = Driver(Count=NVMLError("Unknown Error"))
    source = NvmlSource("here", FakeClock(), load=lambda: driver)
    with pytest.raises(PortError, match="Unknown Error"):
        await source.poll(STATE, lambda _: None)
    driver.answers["Count"] = 1
    await source.poll(STATE, lambda _: None)
    assert driver.calls.count("Init") == 2


async def test_a_driver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "HUNG_SECONDS", 0.05)
    release = threading.Event()
    driver = Driver(Count=lambda: (release.wait(60), 1)[1])
    source = NvmlSource("here", FakeClock(), load=lambda: driver)
    for _ in range(2):
        with pytest.raises(TimedOut):
            await source.poll(STATE, lambda _: None)
    assert driver.calls.count("Count") == 1  # one thread waits, no second one is started
    release.set()
    monkeypatch.setattr(nvml, "HUNG_SECONDS", 60.0)
    await source.poll(STATE, lambda _: None)
    await source.aclose()


async def test_the_real_library_where_there_is_no_gpu() -> None:
    pytest.importorskip("pynvml")
    source = NvmlSource("here", FakeClock())
    try:
        await source.poll(STATE, lambda _: None)
    except Unsupported as error:
        assert "driver" in str(error)
    await source.aclose()


async def test_this_machines_memory_is_what_the_kernel_says() -> None:
    pytest.importorskip("psutil")
    events: list[Event] = []
    source = MachineSource("here", FakeClock())
    await source.poll(STATE, events.append)
    (samples,) = events
    assert isinstance(samples, Samples)
    readings = {sample.figure: sample.reading for sample in samples.samples}
    assert 0 <= (readings["cpu.use_ratio"].value or 0) <= 1
    total, available = readings["memory.total_bytes"].value, readings["memory.available_bytes"].value
    assert total and available and 0 < available <= total
    assert {r.source for r in readings.values()} == {"psutil"}
    assert readings["memory.droppable_bytes"].value is not None
