"""What a host's nvidia-smi told, as readings: what it does not know is no zero, and where another tells them it is not asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sovtui.adapters.services.gpus import NAME, Gpus
from sovtui.core.events import Event, LinkChanged, Sample, Samples
from sovtui.core.model import HostSpec, Link, LinkPhase
from sovtui.core.reading import Status, fresh
from sovtui.core.state import Host, State, initial, reduce
from sovtui.core.told import needless, untold

pytestmark = pytest.mark.truth(of="one-shot commands and states")

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
MIB = 1 << 20
CARD = {"id": "0", "use": 93, "power": 412.3, "heat": 66, "used": 29810 * MIB, "total": 32607 * MIB, "clock": 2602000000}


class Room:
    def __init__(self) -> None:
        self.state: State = reduce(initial((HostSpec("spark"),), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
        self.gpus = Gpus("spark", "probe")

    def hear(self, *events: Event) -> Host:
        for event in events:
            self.state = reduce(self.state, event)
        return self.state.hosts["spark"]

    def line(self, seconds: float = 0.0, **words: Any) -> Host:
        return self.hear(*self.gpus.take({"t": "gpus", "asked": True, **words}, NOW + timedelta(seconds=seconds)))

    @property
    def source(self) -> tuple[bool | None, str]:
        found = self.state.sources[NAME, "spark"]
        return found.ok, found.reason


@pytest.mark.truth("a GPU without an exporter is told by nvidia-smi")
def test_a_card() -> None:
    room = Room()
    host = room.line(gpus=[CARD])
    told = {key: reading.value for (key, gpu), reading in host.figures.items() if gpu == "0"}
    assert told == {
        "gpu.use_ratio": pytest.approx(0.93),
        "gpu.power_watts": 412.3,
        "gpu.temperature_celsius": 66,
        "gpu.memory_used_bytes": 29810 * MIB,
        "gpu.memory_total_bytes": 32607 * MIB,
        "gpu.clock_hertz": 2.602e9,
    }
    assert room.source == (True, "") and room.state.sources[NAME, "spark"].detail == "1 GPU"


def test_what_it_never_has_what_it_cannot_say_and_what_cannot_be() -> None:
    host = Room().line(gpus=[{**CARD, "used": None, "total": None, "clock": None, "power": "GPU is lost", "heat": 1e9}])
    kinds = {key: (reading.status, reading.reason) for (key, _), reading in host.figures.items()}
    assert (
        kinds["gpu.memory_total_bytes"][0] is Status.UNSUPPORTED
        and "shares the host's memory" in kinds["gpu.memory_total_bytes"][1]
    )
    assert kinds["gpu.clock_hertz"][0] is Status.UNSUPPORTED
    assert kinds["gpu.power_watts"] == (Status.UNKNOWN, "nvidia-smi says: GPU is lost")
    assert kinds["gpu.temperature_celsius"][0] is Status.UNKNOWN and "impossible" in kinds["gpu.temperature_celsius"][1]
    assert kinds["gpu.use_ratio"][0] is Status.FRESH


def test_instances_of_a_split_gpu() -> None:
    part = {"id": "0:3", "used": 1200 * MIB, "total": 24576 * MIB}
    host = Room().line(gpus=[{**CARD, "use": None, "split": True}, part])
    assert host.reading("gpu.memory_total_bytes", "0:3").value == 24576 * MIB
    assert host.reading("gpu.memory_total_bytes", "0").status is Status.UNSUPPORTED, "or it would count twice"
    assert host.reading("gpu.power_watts", "0").value == 412.3
    assert host.reading("gpu.power_watts", "0:3").status is Status.UNSUPPORTED


def test_a_gpu_that_is_no_longer_told_of_is_unknown() -> None:
    room = Room()
    room.line(gpus=[CARD, {**CARD, "id": "1"}])
    host = room.line(5.0, gpus=[CARD])
    assert host.reading("gpu.power_watts", "1").value is None and host.reading("gpu.power_watts", "0").value == 412.3


def test_figures_are_as_old_as_the_answer_they_are_of() -> None:
    room = Room()
    room.line(gpus=[CARD])
    host = room.hear(*room.gpus.renewed(4, NOW + timedelta(seconds=20)))
    assert host.reading("gpu.power_watts", "0").at == NOW + timedelta(seconds=16)
    assert room.gpus.renewed(None, NOW) == ()


def test_one_that_fails_is_silent_and_its_last_figures_are_old() -> None:
    room = Room()
    room.line(gpus=[CARD])
    host = room.line(5.0, reason="nvidia-smi does not answer: the driver hangs, or is being loaded")
    reading = host.reading("gpu.power_watts", "0")
    assert (reading.value, reading.status) == (412.3, Status.STALE) and "driver hangs" in reading.reason
    assert room.source[0] is False
    room.line(10.0, gpus=[CARD])
    assert room.source == (True, "")
    room.hear(*room.gpus.silent("the connection was lost"))
    assert room.source == (False, "the connection was lost")


def test_where_there_is_none_nothing_is_wrong() -> None:
    room = Room()
    room.line(reason="there is no nvidia-smi", absent=True)
    assert room.source == (None, "there is no nvidia-smi") and needless(room.state.sources[NAME, "spark"])
    assert room.gpus.silent("the connection was lost") == (), "nor does it fall silent"


def test_whoever_looks_once_waits_for_the_answer() -> None:
    room = Room()
    room.hear(room.gpus.begun())
    assert "nvidia-smi of spark" in untold(room.state)
    room.line()
    assert "nvidia-smi of spark" in untold(room.state), "it is being asked"
    room.line(gpus=[CARD])
    assert "nvidia-smi of spark" not in untold(room.state)


def test_where_another_source_tells_them_it_takes_back_its_own() -> None:
    room = Room()
    room.line(gpus=[CARD])
    newer = fresh(300.0, NOW + timedelta(seconds=5), "prometheus")
    room.hear(Samples("spark", (Sample("gpu.power_watts", newer, "0"),)))
    host = room.hear(*room.gpus.take({"t": "gpus", "asked": False}, NOW + timedelta(seconds=6)))
    assert host.reading("gpu.power_watts", "0").value == 300.0 and host.reading("gpu.clock_hertz", "0").value is None
    assert needless(room.state.sources[NAME, "spark"])
