"""What Prometheus is asked for an estate: one query, made of tagged expressions. Pure: no I/O, no clock.

Every expression gives few labels and a tag `k`, so that the reply is small and its parts can be told apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sovtui.adapters.engines.base import EngineAdapter, Windows
from sovtui.config.schema import Config, EngineConfig, HostConfig, ModeConfig
from sovtui.config.specs import watched, with_engines

MEMORY = {
    "MemTotal": "memory.total_bytes",
    "MemAvailable": "memory.available_bytes",
    "Buffers": "memory.buffers_bytes",
    "Shmem": "memory.shared_bytes",
    "SwapTotal": "memory.swap_total_bytes",
}
"""Straight from node_exporter; the others are sums of these and of `DROPPABLE`, `SwapFree`."""
DROPPABLE = ("Active_file", "Inactive_file", "SReclaimable")
CACHED = ("Cached", "Buffers", "SReclaimable")
_MEMORY_FIELDS = "|".join(dict.fromkeys((*MEMORY, *DROPPABLE, *CACHED, "SwapFree")))

_SMI = "nvidia_smi_(utilization_gpu_ratio|power_draw_watts|temperature_gpu|memory_(used|total)_bytes|clocks_current_sm_clock_hz|gpu_info)"
_DCGM = "DCGM_FI_DEV_(GPU_UTIL|POWER_USAGE|GPU_TEMP|SM_CLOCK|FB_USED|FB_FREE|FB_RESERVED)"
_MEMORY = f'__name__=~"node_memory_({_MEMORY_FIELDS})_bytes"'
_GPU = f'__name__=~"{_SMI}|{_DCGM}"'
_GPU_USE = '__name__=~"nvidia_smi_(utilization_gpu_ratio|gpu_info)|DCGM_FI_DEV_GPU_UTIL"'
SEEN, SEEN_WINDOW = "seen", "1h"
"""In place of a state: the exporter has told of the unit within that time, so it does not leave it out."""
_ACTIVE = 'state="active",'
_SYSTEMD = 'collector="systemd"'
_IDLE = 'mode="idle"'
_DISK = '__name__=~"node_filesystem_(avail|size)_bytes",fstype!~"(|dev|hugetlb)tmpfs|ramfs|overlay|squashfs|iso9660|nfs.*|cifs|fuse.*|vfat|efivarfs"'
_LOAD = '__name__="node_load1"'


@dataclass(frozen=True, slots=True)
class Question:
    """One expression and what its answer is about."""

    tag: str
    kind: str
    """`memory`, `cpu`, `load`, `disk`, `host-time`, `gpu`, `gpu-time`, `units`, `engine`, `engine-time`, `backup`."""
    host: str
    expression: str
    subject: str = ""
    """Mode or backup."""
    figure: str = ""

    @property
    def tagged(self) -> str:
        return f'label_replace({self.expression},"k","{self.tag}","","")'


def joined(questions: Iterable[Question]) -> str:
    """One query for all of them."""
    return " or ".join(question.tagged for question in questions)


MOST_BYTES = 15_000
"""VictoriaMetrics refuses a query of more than 16 KiB."""


def split(questions: Sequence[Question], most_bytes: int = MOST_BYTES, parts: int = 1) -> list[tuple[Question, ...]]:
    """In at least so many queries, none of them longer than that unless a single expression is."""
    most = math.ceil(len(questions) / parts)
    found: list[tuple[Question, ...]] = []
    part: list[Question] = []
    size = 0
    for question in questions:
        length = len(question.tagged.encode()) + len(" or ")
        if part and (len(part) >= most or size + length > most_bytes):
            found.append(tuple(part))
            part, size = [], 0
        part.append(question)
        size += length
    return [*found, tuple(part)] if part else found


def host_questions(config: Config, windows: Windows) -> list[Question]:
    """Memory, CPU, GPU, units and backups of every host."""
    found: list[Question] = []
    for index, (name, host) in enumerate(config.host.items()):
        m = host_matchers(config, name)

        def ask(letter: str, kind: str, expression: str, subject: str = "", figure: str = "") -> None:
            found.append(Question(f"{letter}{index}", kind, name, expression, subject, figure))  # noqa: B023 (used at once)

        ask("m", "memory", f"max by (__name__,instance) ({{{_with(_MEMORY, m)}}})")
        ask("t", "host-time", f"max by (instance) (timestamp(node_memory_MemTotal_bytes{{{m}}}))")
        idle = f"node_cpu_seconds_total{{{_with(_IDLE, m)}}}"
        ask("c", "cpu", f"1 - avg by (instance) (rate({idle}[{windows.speed}s]) and {idle})")
        ask("l", "load", f"max by (instance) ({{{_with(_LOAD, m)}}})")
        ask("d", "disk", f"max by (__name__,instance,mountpoint) ({{{_with(_DISK, m)}}})")
        ask("g", "gpu", f"max by (__name__,instance,uuid,index,gpu,GPU_I_ID) ({{{_with(_GPU, m)}}})")
        use = f"timestamp(nvidia_smi_utilization_gpu_ratio{{{m}}}) or timestamp(DCGM_FI_DEV_GPU_UTIL{{{m}}})"
        ask("s", "gpu-time", f"max by (instance) ({use})")
        units = [unit for unit in watched(host) if ":" not in unit]
        if units:
            names = 'name=~"' + "|".join(literal(unit) for unit in units) + '"'
            states = f"max by (name,state,instance) (node_systemd_unit_state{{{_with(names, m)}}} == 1)"
            told = f"max by (instance) (node_scrape_collector_success{{{_with(_SYSTEMD, m)}}})"
            active = f"count_over_time(node_systemd_unit_state{{{_with(_ACTIVE + names, m)}}}[{SEEN_WINDOW}])"
            seen = f'label_replace(max by (name,instance) ({active}),"state","{SEEN}","","")'
            ask("u", "units", f"({states} or {told} or {seen})")
        for number, backup in enumerate(host.backup):
            if backup.metric:
                ask(f"b{number}_", "backup", f"max({backup.metric})", backup.name)
    return found


def curve_questions(config: Config, windows: Windows) -> list[Question]:
    """What of `host_questions` has a curve."""
    found = []
    for index, name in enumerate(config.host):
        m = host_matchers(config, name)
        idle = f"node_cpu_seconds_total{{{_with(_IDLE, m)}}}"
        found += [
            Question(f"m{index}", "memory", name, f"max by (__name__,instance) (node_memory_MemAvailable_bytes{{{m}}})"),
            Question(f"c{index}", "cpu", name, f"1 - avg by (instance) (rate({idle}[{windows.speed}s]) and {idle})"),
            Question(f"g{index}", "gpu", name, f"max by (__name__,instance,uuid,index,gpu,GPU_I_ID) ({{{_with(_GPU_USE, m)}}})"),
        ]
    return found


def engine_questions(
    config: Config, host: str, mode: ModeConfig | EngineConfig, adapter: EngineAdapter, windows: Windows, tag: str
) -> list[Question]:
    """The figures of one mode's engine."""
    matchers = engine_matchers(config, host, mode)
    if not adapter.queries(matchers, windows):
        return []
    found = [Question(f"{tag}t", "engine-time", host, adapter.sampled_at(matchers), mode.name)]
    for number, (figure, expression) in enumerate(adapter.queries(matchers, windows).items()):
        found.append(Question(f"{tag}_{number}", "engine", host, expression, mode.name, figure))
    return found


def host_matchers(config: Config, name: str) -> str:
    """Matchers of node and GPU exporters: as configured; else none if it is the only machine, or the only box; else its name."""
    host = config.host[name]
    if host.instance:
        return host.instance.strip().strip(",")
    boxes = [n for n, h in config.host.items() if h.role == "box"]
    if host.role == "box" and len(boxes) == 1:
        return ""  # which machine a series belongs to is then told by its instance: see `answers.mine`
    return f'instance=~"{literal(name)}([.:].*)?"'


def engine_matchers(config: Config, host_name: str, mode: ModeConfig | EngineConfig) -> str:
    """Matchers of an engine's series: as configured; else the port of its url, on this host where there are several boxes."""
    if mode.metrics:
        return mode.metrics.strip().strip(",")
    host = config.host[host_name]
    port = port_of(mode.url)
    several = len([h for h in config.host.values() if h.role == "box"]) > 1
    if host.instance:
        exact = re.fullmatch(r'\s*instance\s*=\s*"([^":]+)(?::\d+)?"\s*,?\s*', host.instance)
        found = f'instance="{exact[1]}:{port}"' if exact else f'instance=~".+:{port}",{host.instance.strip().strip(",")}'
    elif several:
        found = f'instance=~"{literal(host_name)}([.].*)?:{port}"'
    else:
        found = f'instance=~".+:{port}"'
    if mode.model and not mode.services and shares_port(host, mode):
        found += f',model_name="{_quoted(mode.model)}"'  # nothing but the name tells the two apart
    return found


def shares_port(host: HostConfig, mode: ModeConfig | EngineConfig) -> bool:
    return any(other.name != mode.name and other.url and port_of(other.url) == port_of(mode.url) for other in with_engines(host))


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _with(first: str, more: str) -> str:
    return f"{first},{more}" if more else first


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def literal(text: str) -> str:
    """For use inside a quoted regular expression: a name from the configuration must not become one."""
    return _quoted(re.sub(r"([^A-Za-z0-9_:@-])", r"\\\1", text))


def by_tag(questions: Iterable[Question]) -> Mapping[str, Question]:
    return {question.tag: question for question in questions}
