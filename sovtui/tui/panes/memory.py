"""What holds the memory, how much of it is page cache that a drop frees, and what each GPU does."""

from __future__ import annotations

from collections.abc import Sequence

from sovtui.core import text
from sovtui.core.modes import unified
from sovtui.core.reading import Reading, Status
from sovtui.core.state import Host
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Copy, Pane, View
from sovtui.tui.present import Row, Span, bar, flow, grid, paragraph, reading_role, row, value

SWAP_MATTERS = 0.1
"""Share of swap in use from which it is marked."""
FIGURE_CELLS = 20
"""Least width of one label with its value."""


class MemoryPane(Pane):
    NAME = "memory"
    TITLE = "Memory"
    SHORT = "Mem"

    def want(self, view: View, width: int) -> Want:
        gpus = len(gpu_names(view.host)) if view.host else 0
        columns = max(1, width // FIGURE_CELLS)
        lines = 1 + -(-3 // columns) + -(-6 // columns) + gpus * (1 if width >= 48 else 2)
        return Want(2 + lines, least=7)

    def heading(self, view: View) -> str:
        if view.host is None:
            return ""
        shared = unified(view.host)
        return "" if shared is None else "unified" if shared else "discrete"

    def badge(self, view: View) -> tuple[str, str]:
        host = view.host
        available, total = (host.reading(f"memory.{k}_bytes") for k in ("available", "total")) if host else (Reading(), Reading())
        if available.value is None or not total.value:
            return "?", "nothing"
        role = reading_role(available)
        return f"{100 - available.value / total.value * 100:.0f}%", "label" if role == "plain" else role

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        host = view.host
        assert host is not None
        rows = self._gauge(view, host, width)
        for gpu in gpu_names(host):
            rows += self._gpu(view, host, gpu, width)
        rows += grid(self._figures(view, host), width, FIGURE_CELLS)
        return rows[:height]

    def copies(self, view: View) -> list[Copy]:
        host = view.host
        if host is None:
            return []
        found = [Copy(label, f"{label}: {words}") for label, (words, _) in self._figures(view, host)]
        for gpu in gpu_names(host):
            found += [Copy(f"GPU {gpu}", " ".join(line.plain.split())) for line in self._gpu(view, host, gpu, 120)]
        head = f"memory of {view.host_name}, {text.moment(view.state.now)}"
        return [Copy("all figures", "\n".join([head, *(one.text for one in found)])), *found]

    def _gauge(self, view: View, host: Host, width: int) -> list[Row]:
        now = view.state.now
        total, available, drop = (host.reading(f"memory.{k}_bytes") for k in ("total", "available", "droppable"))
        if total.value is None or available.value is None:
            reason = available.reason or total.reason
            words = f"{text.reading('memory.total_bytes', total, now)} how the memory is used is not known"
            return [row((words, "nothing")), *(paragraph(reason, width, "label")[:2] if reason else [])]
        droppable = min(drop.value or 0.0, available.value)
        used = total.value - available.value
        stale = available.status is Status.STALE
        look = "stale" if stale else "accent"
        gauge = bar(
            [
                (used / total.value, "█", look),
                (droppable / total.value, "▒", "stale" if stale else "warn"),
                ((available.value - droppable) / total.value, "░", "label"),
            ],
            width,
        )
        free = available.value - droppable
        used_words = Reading(used, available.status, available.at, available.source)
        legend = [
            ("█ used", value("memory.total_bytes", used_words, now)),
            ("▒ droppable", value("memory.droppable_bytes", drop, now)),
            ("░ free", value("memory.total_bytes", Reading(free, available.status, available.at, available.source), now)),
        ]
        if drop.value is None:
            legend[2] = ("░ available", value("memory.available_bytes", available, now))
        return [gauge, *grid(legend, width, FIGURE_CELLS)]

    def _figures(self, view: View, host: Host) -> list[tuple[str, Span]]:
        def told(key: str) -> Span:
            return value(f"memory.{key}_bytes", host.reading(f"memory.{key}_bytes"), view.state.now)

        swap, role = told("swap_used")
        if host.reading("memory.swap_total_bytes").value == 0:
            swap, role = "none", "label"
        elif (host.reading("memory.swap_used_bytes").fresh_value or 0) > SWAP_MATTERS * (
            host.reading("memory.swap_total_bytes").value or 0
        ):
            role = "warn" if role == "plain" else role
        return [
            ("total", told("total")),
            ("available", told("available")),
            ("cache", told("cached")),
            ("buffers", told("buffers")),
            ("swap used", (swap, role)),
            ("CPU", value("cpu.use_ratio", host.reading("cpu.use_ratio"), view.state.now)),
        ]

    def _gpu(self, view: View, host: Host, gpu: str, width: int) -> list[Row]:
        def told(key: str) -> Span:
            return value(f"gpu.{key}", host.reading(f"gpu.{key}", gpu), view.state.now)

        used, total = told("memory_used_bytes"), told("memory_total_bytes")
        memory: Span = (used[0], used[1])
        if host.reading("gpu.memory_total_bytes", gpu).value is not None:
            memory = (f"{used[0]} of {total[0]}", used[1])
        name = gpu if gpu.lower().startswith("gpu") else f"GPU {gpu}"
        power, heat = told("power_watts"), told("temperature_celsius")
        parts = [row((name, "title")), row(told("use_ratio")), row(power), row(heat), row(("mem ", "label"), memory)]
        return flow(parts, width)[:2]


def gpu_names(host: Host) -> tuple[str, ...]:
    """Every GPU that any figure is about."""
    keys = ("gpu.use_ratio", "gpu.power_watts", "gpu.memory_used_bytes", "gpu.temperature_celsius")
    return tuple(dict.fromkeys(name for key in keys for name in host.subjects(key)))
