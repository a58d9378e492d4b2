"""What Prometheus' reply means: series to samples of a host. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sovtui.adapters.figures.questions import CACHED, DROPPABLE, MEMORY, SEEN
from sovtui.config.specs import LOCAL
from sovtui.core.clean import clean
from sovtui.core.plausible import blank

_MIB = 1048576.0


@dataclass(frozen=True, slots=True)
class Series:
    """One element of an instant vector."""

    labels: Mapping[str, str]
    value: float

    @property
    def instance(self) -> str:
        return self.labels.get("instance", "")


@dataclass(slots=True)
class HostAnswer:
    """Everything one reply says of one host."""

    figures: dict[tuple[str, str], float] = field(default_factory=dict)
    """By (figure, subject)."""
    unsupported: dict[tuple[str, str], str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    """systemd's word by unit."""
    units_told: bool = False
    """Whether the exporter could ask systemd: then a unit without a word is one that is not loaded, or that it leaves out."""
    units_seen: set[str] = field(default_factory=set)
    """Units that it does not leave out."""
    host_time: float | None = None
    gpu_time: float | None = None
    reason: str = ""
    """Why nothing could be told though there are series."""


def machine_of(instance: str) -> str:
    """The machine in an `instance` label: without the port, since node and GPU exporters have different ones."""
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    return instance.rpartition(":")[0] or instance


def mine(series: Iterable[Series], names: tuple[str, ...], others: tuple[str, ...] = ()) -> tuple[set[str], str]:
    """Which machines' series belong to a host that has no matcher of its own: all, if they agree; else those of its name.

    `others` is what other hosts are called: when this one is silent theirs are all there is, and they are not its own. Mixing two
    machines would be worse than no figure: the second value then says what to configure.
    """
    everybody = {machine_of(s.instance) for s in series}
    machines = {m for m in everybody if m not in others and m.partition(".")[0] not in others}
    if len(machines) <= 1:
        return machines, ""
    for own in (set(names), set(LOCAL)):
        found = {m for m in machines if m in own or m.partition(".")[0] in own}
        if found:
            return found, ""
    return set(), f"Prometheus knows several machines ({clean(', '.join(sorted(machines)), 120)}): set the host's instance"


def take_memory(answer: HostAnswer, series: Iterable[Series]) -> None:
    values = {
        s.labels.get("__name__", "").removeprefix("node_memory_").removesuffix("_bytes"): s.value
        for s in series
        if not blank(s.value) and s.value >= 0
    }
    for name, figure in MEMORY.items():
        if name in values:
            answer.figures[figure, ""] = values[name]
    if all(name in values for name in CACHED):  # as `free` counts it
        answer.figures["memory.cached_bytes", ""] = sum(values[name] for name in CACHED)
    if all(name in values for name in DROPPABLE):
        answer.figures["memory.droppable_bytes", ""] = sum(values[name] for name in DROPPABLE)
    if "SwapTotal" in values and "SwapFree" in values:
        answer.figures["memory.swap_used_bytes", ""] = values["SwapTotal"] - values["SwapFree"]


DISK = {"node_filesystem_size_bytes": "disk.total_bytes", "node_filesystem_avail_bytes": "disk.free_bytes"}
MOST_DISKS, MOST_GPUS = 100, 64
SMALLEST_DISK_BYTES = float(64 << 20)


def take_disks(answer: HostAnswer, series: Iterable[Series]) -> None:
    """By mount point, where both size and room are told."""
    found: dict[str, dict[str, float]] = {}
    for s in series:
        if (figure := DISK.get(s.labels.get("__name__", ""))) is not None:
            found.setdefault(clean(s.labels.get("mountpoint", ""), 100), {})[figure] = s.value
    for mount, told in list(found.items())[:MOST_DISKS]:
        if mount and len(told) == len(DISK) and told["disk.total_bytes"] >= SMALLEST_DISK_BYTES:
            answer.figures.update({(figure, mount): value for figure, value in told.items()})


_SMI = {
    "nvidia_smi_utilization_gpu_ratio": "gpu.use_ratio",
    "nvidia_smi_power_draw_watts": "gpu.power_watts",
    "nvidia_smi_temperature_gpu": "gpu.temperature_celsius",
    "nvidia_smi_memory_used_bytes": "gpu.memory_used_bytes",
    "nvidia_smi_memory_total_bytes": "gpu.memory_total_bytes",
    "nvidia_smi_clocks_current_sm_clock_hz": "gpu.clock_hertz",
}
_DCGM = {
    "DCGM_FI_DEV_GPU_UTIL": ("gpu.use_ratio", 0.01),
    "DCGM_FI_DEV_POWER_USAGE": ("gpu.power_watts", 1.0),
    "DCGM_FI_DEV_GPU_TEMP": ("gpu.temperature_celsius", 1.0),
    "DCGM_FI_DEV_SM_CLOCK": ("gpu.clock_hertz", 1e6),
    "DCGM_FI_DEV_FB_USED": ("gpu.memory_used_bytes", _MIB),
}
GPU_MEMORY = ("gpu.memory_used_bytes", "gpu.memory_total_bytes")
SPLIT = "this GPU is split into instances: each has its own"
OF_THE_WHOLE = "it is reported for the whole GPU only"
NO_GPU_MEMORY = "this GPU has no memory figures of its own: it shares the host's memory"


def take_gpus(answer: HostAnswer, series: Iterable[Series]) -> None:
    """GPUs by index, from either exporter; nvidia_gpu_exporter wins where both tell.

    An instance of a GPU that is split (MIG) is a device of its own: `0:7` is the instance 7 of GPU 0.
    """
    rows = [s for s in series if not blank(s.value)]
    index = {
        s.labels.get("uuid", ""): s.labels.get("index", "") for s in rows if s.labels.get("__name__") == "nvidia_smi_gpu_info"
    }
    uuids = sorted({s.labels.get("uuid", "") for s in rows if s.labels.get("__name__") in _SMI})
    for order, uuid in enumerate(uuids):
        index.setdefault(uuid, str(order))
    found = _by_dcgm(rows)
    for s in rows:
        name = s.labels.get("__name__", "")
        if name in _SMI:
            found[_SMI[name], clean(index[s.labels.get("uuid", "")], 40)] = s.value
    split = {whole_of(gpu) for _, gpu in found if whole_of(gpu) != gpu}
    for gpu in {gpu for _, gpu in found} | split:
        if whole_of(gpu) != gpu:
            answer.unsupported.update({(f, gpu): OF_THE_WHOLE for f in _OF_A_CARD if (f, gpu) not in found})
            continue
        # An exporter leaves out what the chip does not have; others of its figures show that it works.
        used, total = (found.get((figure, gpu)) for figure in GPU_MEMORY)
        if gpu in split or total == 0 or (used is None and total is None):
            for figure in GPU_MEMORY:
                found.pop((figure, gpu), None)
                answer.unsupported[figure, gpu] = SPLIT if gpu in split else NO_GPU_MEMORY
        if gpu in split and ("gpu.use_ratio", gpu) not in found:
            answer.unsupported["gpu.use_ratio", gpu] = SPLIT
    kept = dict.fromkeys(sorted({gpu for _, gpu in found}, key=lambda gpu: (len(gpu), gpu))[:MOST_GPUS])
    answer.figures.update((key, value) for key, value in found.items() if key[1] in kept)


_OF_A_CARD = ("gpu.power_watts", "gpu.temperature_celsius", "gpu.clock_hertz")


def whole_of(gpu: str) -> str:
    """The GPU that an instance is a part of; a GPU that is none is its own."""
    return gpu.partition(":")[0]


def device_of(labels: Mapping[str, str]) -> str:
    """What dcgm-exporter's labels are about: a GPU, or one instance of it."""
    gpu, instance = labels.get("gpu", "0"), labels.get("GPU_I_ID", "")
    return clean(f"{gpu}:{instance}" if instance else gpu, 40)


def _by_dcgm(rows: Iterable[Series]) -> dict[tuple[str, str], float]:
    """What the board has once (power, temperature, clock) is told of each of its instances again: it is the GPU's."""
    found: dict[tuple[str, str], float] = {}
    frame: dict[str, dict[str, float]] = {}
    for s in rows:
        name, device = s.labels.get("__name__", ""), device_of(s.labels)
        if name in _DCGM:
            figure, factor = _DCGM[name]
            found.setdefault((figure, whole_of(device) if figure in _OF_A_CARD else device), s.value * factor)
        if name.startswith("DCGM_FI_DEV_FB_"):
            frame.setdefault(device, {})[name] = s.value * _MIB
    for device, parts in frame.items():
        if "DCGM_FI_DEV_FB_USED" in parts and "DCGM_FI_DEV_FB_FREE" in parts:  # without one of them the sum is none
            found["gpu.memory_total_bytes", device] = sum(parts.values())
    return found


def take_units(answer: HostAnswer, series: Iterable[Series]) -> None:
    asked: list[bool] = []
    for s in series:
        if (name := s.labels.get("name", "")) and s.labels.get("state") == SEEN:
            answer.units_seen.add(name)
        elif name:
            answer.units[name] = clean(s.labels.get("state", "unknown"), 32)
        else:
            asked.append(s.value == 1)
    answer.units_told = all(asked) if asked else bool(answer.units)
