"""What cannot be a figure is none, whoever tells it."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from sovtui.core.catalog import CATALOG, Unit
from sovtui.core.events import Curve, EngineSeen, LinkChanged, Sample, Samples, ServicesSeen
from sovtui.core.model import Engine, EnginePhase, HostSpec, Link, LinkPhase, Part, Service
from sovtui.core.modes import unified
from sovtui.core.plausible import blank, possible
from sovtui.core.reading import Reading, Status, fresh, unsupported
from sovtui.core.state import Host, State, initial, reduce

pytestmark = pytest.mark.truth(of="one-shot commands and states")

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
GIB = 2.0**30
BLANKS = [
    *(2.0**31 - 16 + kind for kind in range(4)),  # DCGM_INT32_BLANK, _NOT_FOUND, _NOT_SUPPORTED, _NOT_PERMISSIONED
    *(2.0**63 - 16 + kind for kind in range(4)),  # the same of 64 bits: as floats all the same
    *(2.0**47 + kind for kind in range(4)),  # DCGM_FP64_BLANK and its kin
    9223372036854775794.0,
    18446744073709551615.0,
    4294967295.0,  # NVML_VALUE_NOT_AVAILABLE of 32 bits, unsigned
    math.nan,
    math.inf,
]


def tell(*samples: tuple[str, float], subject: str = "", source: str = "probe") -> Host:
    state: State = reduce(initial((HostSpec("spark"),), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
    told = tuple(Sample(figure, fresh(value, NOW, source), subject) for figure, value in samples)
    return reduce(state, Samples("spark", told)).hosts["spark"]


@pytest.mark.parametrize("value", BLANKS)
def test_what_sensors_say_for_nothing(value: float) -> None:
    assert blank(value)


@pytest.mark.parametrize("value", [0.0, 1.0, 100.0, 81920.0, 2**31 - 17, 2.0**31, 2.0**32, 64 * GIB, 2.0**46, -1.0])
def test_what_may_be_measured(value: float) -> None:
    assert not blank(value)


@pytest.mark.parametrize("figure", CATALOG)
def test_no_figure_is_negative_or_without_end(figure: str) -> None:
    for value in (-1e9, -1e18, 1e30, 18446744073709551615.0, math.nan, math.inf, -math.inf):
        assert not possible(figure, value) or (figure == "memory.apart_ratio" and value > 0), value
    zero = ("memory.total_bytes", "disk.total_bytes", "gpu.memory_total_bytes", "cpu.count")
    assert possible(figure, 0.0) is (figure not in zero)
    usual = {Unit.BYTES: 12 * GIB, Unit.HERTZ: 2.6e9, Unit.CELSIUS: 83.0, Unit.WATTS: 1200.0, Unit.RATIO: 1.0, Unit.FLAG: 1.0}
    assert possible(figure, usual.get(CATALOG[figure].unit, 57.0))


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("gpu.use_ratio", 42949672.95),  # 4294967295 %
        ("gpu.temperature_celsius", 1e9),
        ("gpu.temperature_celsius", -273.15),
        ("gpu.memory_used_bytes", (2.0**31 - 16) * 2**20),
        ("gpu.memory_total_bytes", -1.0),
        ("gpu.power_watts", 2.0**31 - 14),
        ("gpu.clock_hertz", (2.0**31 - 16) * 1e6),
        ("memory.available_bytes", -4096.0),
        ("memory.total_bytes", 0.0),
        ("cpu.use_ratio", 3.0),
        ("disk.free_bytes", 2.0**63),
        ("engine.decode_tok_s", -3.0),
        ("engine.kv_use_ratio", 1.7),
        ("engine.ttft_p95_seconds", 1e9),
        ("engine.running", -1.0),
    ],
)
def test_an_impossible_value_is_unknown_with_the_reason(figure: str, value: float) -> None:
    reading = tell((figure, value), ("cpu.load_mean", 1.0)).reading(figure)
    assert (reading.value, reading.status) == (None, Status.UNKNOWN)
    assert reading.reason.endswith("which is impossible") and reading.source == "probe"
    host = tell((figure, value), ("cpu.load_mean", 1.0))
    assert host.reading("cpu.load_mean").value == 1.0 and (figure, "") not in host.curves


def test_an_impossible_value_takes_the_place_of_an_older_one_of_the_same_source() -> None:
    state = reduce(initial((HostSpec("spark"),), NOW), Samples("spark", (Sample("gpu.use_ratio", fresh(0.5, NOW, "nvml"), "0"),)))
    state = reduce(state, Samples("spark", (Sample("gpu.use_ratio", fresh(42949672.95, NOW, "nvml"), "0"),)))
    assert state.hosts["spark"].reading("gpu.use_ratio", "0").value is None


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("gpu.memory_used_bytes", "gpu.memory_total_bytes"),
        ("memory.available_bytes", "memory.total_bytes"),
        ("memory.cached_bytes", "memory.total_bytes"),
        ("memory.swap_used_bytes", "memory.swap_total_bytes"),
        ("disk.free_bytes", "disk.total_bytes"),
    ],
)
def test_a_part_is_not_more_than_the_whole(part: str, whole: str) -> None:
    host = tell((part, 40 * GIB), (whole, 32 * GIB), subject="0")
    assert host.reading(part, "0").value is None and "more than the whole" in host.reading(part, "0").reason
    assert host.reading(whole, "0").value == 32 * GIB
    assert tell((part, 32 * GIB), (whole, 32 * GIB), subject="0").reading(part, "0").value == 32 * GIB


def test_curves_and_sizes_hold_none_either() -> None:
    state = initial((HostSpec("spark"),), NOW)
    state = reduce(state, Curve("spark", "gpu.use_ratio", "0", ((1.0, 0.5), (2.0, 42949672.95), (3.0, -1.0))))
    assert state.hosts["spark"].curves["gpu.use_ratio", "0"] == ((1.0, 0.5),)
    state = reduce(state, ServicesSeen("spark", (Service("a.service", "active", memory_bytes=2**64 - 1),)))
    assert state.hosts["spark"].services["a.service"].memory_bytes is None
    engine = Engine(
        EnginePhase.READY, parts=(Part("m", size_bytes=-5, accelerator_bytes=7),), installed=(Part("n", size_bytes=8),)
    )
    told = reduce(state, EngineSeen("spark", "qwen", engine)).hosts["spark"].engines["qwen"]
    assert (told.parts[0].size_bytes, told.parts[0].accelerator_bytes, told.installed[0].size_bytes) == (None, 7, 8)


def _gpu(memory: Reading, **more: Reading) -> bool | None:
    host = tell(("memory.total_bytes", 128 * GIB), ("cpu.load_mean", 1.0))
    figures = dict(host.figures) | {("gpu.use_ratio", "0"): fresh(0.5, NOW, "nvml"), ("gpu.memory_total_bytes", "0"): memory}
    figures |= {("gpu.memory_total_bytes", f"0:{name}"): reading for name, reading in more.items()}
    return unified(Host(HostSpec("spark"), figures=figures))


def test_a_memory_that_cannot_be_read_does_not_make_it_shared() -> None:
    assert _gpu(unsupported("it shares the host's")) is True
    assert _gpu(Reading(None, Status.UNKNOWN, NOW, "nvml", "it was reported as 2e+15, which is impossible")) is None
    slices = {str(number): fresh(9.75 * GIB, NOW, "nvml") for number in range(7)}
    assert _gpu(unsupported("it is split"), **slices) is False, "seven small ones are one large GPU"
