"""What holds the memory, how much of it is page cache that a drop frees, and what each GPU does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sovtui.core import text
from sovtui.core.forecast import forecast_view
from sovtui.core.headroom import FREE, gpu_free, headroom
from sovtui.core.holdings import Held, shares
from sovtui.core.modes import unified
from sovtui.core.reading import Reading, Status
from sovtui.core.state import Host
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Copy, Pane, View
from sovtui.tui.panes.host import disk_rows, engines_of
from sovtui.tui.present import (
    BLANK,
    RIGHT,
    Row,
    Span,
    bar,
    cell_len,
    cut,
    fit,
    flow,
    grid,
    pad,
    paragraph,
    reading_role,
    row,
    value,
    wrap,
)  # fmt: skip

SWAP_MATTERS = 0.1
"""Share of swap in use from which it is marked."""
FIGURE_CELLS = 20
"""Least width of one label with its value."""
LEGEND_CELLS = 24
NAME_CELLS = 12
GAUGE_CELLS = 8
"""A shorter bar tells nothing: then what is free is left to the headline."""
LOOKS = {
    Held.TENANT: ("█", "accent"), Held.FLOOR: ("▓", "ok"), Held.OTHER: ("▆", "label"), Held.CACHE: ("▚", "curve"),
    Held.STALE: ("▒", "warn"), Held.UNUSED: ("░", "label"),
}  # fmt: skip
"""Every part has a character of its own: colour alone tells nothing."""
FORECASTS = {"fits": ("●", "ok"), "fits-after-drop": ("◐", "ok"), "too-small": ("✖", "warn"), "unknown": ("?", "nothing")}


class MemoryPane(Pane):
    NAME = "memory"
    TITLE = "Memory"
    SHORT = "Mem"

    def want(self, view: View, width: int) -> Want:
        names = gpu_names(view.host) if view.host else ()
        gpus = len(self._gpu(view, view.host, names[0], width)) if view.host and len(names) == 1 else len(names)
        columns = max(1, width // FIGURE_CELLS)
        legend = -(-max(3, len(shares(view.host)) if view.host else 3) // max(1, width // LEGEND_CELLS))
        lines = 1 + legend + -(-6 // columns) + gpus
        if view.host is not None:
            lines += max((len(_told(*one, width)) for one in _forecasts(view.host) if one[1] == "too-small"), default=0)
        if view.host is not None and engines_of(view.host.spec):
            lines += min(3, len(view.host.subjects("disk.total_bytes")))
        return Want(2 + lines, least=7)

    def heading(self, view: View) -> str:
        if view.host is None:
            return ""
        shared = unified(view.host)
        return "" if shared is None else "unified" if shared else "discrete"

    def badge(self, view: View) -> tuple[str, str]:
        host = view.host
        room = headroom(host) if host else None
        if room is None or room.reading.value is None or not room.total.value:
            return "?", "nothing"
        role = reading_role(room.reading)
        return f"{100 - room.reading.value / room.total.value * 100:.0f}%", "label" if role == "plain" else role

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        host = view.host
        assert host is not None
        own = self._gauge(view, host, width)
        if host.reading("memory.apart_ratio").fresh_value:
            own += paragraph(f"▲ {host.reading('memory.apart_ratio').reason}", width, "warn")[:2]
        figures = grid(self._figures(view, host), width, FIGURE_CELLS)
        gpus = self._gpus(view, host, width, height - len(own) - len(figures))
        rows = [*gpus, *own, *figures] if headroom(host).of_gpu else [*own, *gpus, *figures]
        forecasts = [_told(*one, width) for one in _forecasts(host)]
        if forecasts and len(rows) + 1 + sum(len(found) for found in forecasts) <= height:
            rows.append(BLANK)
        for found in forecasts:  # each whole or not at all
            rows += found if len(rows) + len(found) <= height else []
        if not engines_of(host.spec):
            return rows[:height]  # the disks stand in the pane of the host
        disks = disk_rows(host, view.state.now, width) if host.subjects("disk.total_bytes") else []
        return [*rows, *disks][:height]

    def copies(self, view: View) -> list[Copy]:
        host = view.host
        if host is None:
            return []
        found = [Copy(label, f"{label}: {words}") for label, (words, _) in self._figures(view, host)]
        for gpu in gpu_names(host):
            found += [Copy(f"GPU {gpu}", "  ".join(words for words, _ in _cells(view, host, gpu)))]
        head = f"memory of {view.host_name}, {text.moment(view.state.now)}"
        return [Copy("all figures", "\n".join([head, *(one.text for one in found)])), *found]

    def _gauge(self, view: View, host: Host, width: int) -> list[Row]:
        now = view.state.now
        total, available, drop = (host.reading(f"memory.{k}_bytes") for k in ("total", "available", "droppable"))
        if total.value is None or available.value is None:
            reason = available.reason or total.reason
            words = f"{text.reading('memory.total_bytes', total, now)} how the memory is used is not known"
            return [row((words, "nothing")), *(paragraph(reason, width, "label")[:2] if reason else [])]
        stale = available.status is Status.STALE
        found = shares(host)
        parts = [
            (share.size_bytes / total.value, LOOKS[share.kind][0], "stale" if stale else LOOKS[share.kind][1]) for share in found
        ]
        name = "host " if headroom(host).of_gpu else ""  # there the GPU has a bar of its own
        rows = [row((name, "label"), *bar(parts, width - len(name)).spans)]
        legend = []
        for share in found:
            sign, _ = LOOKS[share.kind]
            words, role = value("memory.total_bytes", replace(available, value=share.size_bytes), now)
            if share.kind is Held.UNUSED and drop.value is None:
                share = replace(share, name="available")  # what of it is page cache is not known
            legend.append((f"{sign} {cut(share.name, NAME_CELLS)}", (words if share.measured else f"≈{words}", role)))
        if drop.value is None:
            legend.append(("▒ droppable", value("memory.droppable_bytes", drop, now)))
        return [*rows, *(_in_its_colour(line, stale) for line in grid(legend, width, LEGEND_CELLS))]

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

    def _gpus(self, view: View, host: Host, width: int, most: int) -> list[Row]:
        """One alone as it flows; several as a table, or all in one line where that has no room."""
        gpus = gpu_names(host)
        if len(gpus) < 2:
            return [line for gpu in gpus for line in self._gpu(view, host, gpu, width)]
        if len(gpus) > max(2, most):
            return _together(view, host, gpus, width)
        return _table(view, host, gpus, width)

    def _gpu(self, view: View, host: Host, gpu: str, width: int) -> list[Row]:
        """Its figures, and how full its own memory is."""
        use, power, heat, memory = _cells(view, host, gpu)
        used, total = (host.reading(f"gpu.memory_{word}_bytes", gpu) for word in ("used", "total"))
        parts = [row((_name(gpu), "title")), row(use), row(power), row(heat)]
        if used.value is None or not total.value:
            return flow([*parts, row(("mem ", "label"), memory)], width)[:2]
        words, role = _short(memory)
        left = value("gpu.memory_total_bytes", gpu_free(host, gpu), view.state.now)[0]
        unit = words.rpartition(" ")[2]
        left = left.removesuffix(f" {unit}")
        if width - 6 - cell_len(f"{words}, {left} {FREE}") >= GAUGE_CELLS:
            words = f"{words}, {left} {FREE}"
        share = used.value / total.value
        look = "stale" if used.status is Status.STALE else "accent"
        room = max(4, width - 6 - cell_len(words))
        gauge = bar([(share, "█", look), (1 - share, "░", "label")], room)
        return [flow(parts, width)[0], row(("mem ", "label"), *gauge.spans, "  ", (words, role))]


def _in_its_colour(line: Row, stale: bool) -> Row:
    """A line of the legend with each sign in the look that it has in the gauge."""
    looks = {sign: "stale" if stale else look for sign, look in LOOKS.values()}
    spans: list[Span] = []
    for words, role in line.spans:
        sign = words[:1] if role == "label" else ""
        spans += [(sign, looks[sign]), (words[1:], role)] if sign in looks else [(words, role)]
    return Row(tuple(spans))


def _forecasts(host: Host) -> list[tuple[str, str, str]]:
    """Per mode that is not up its name, whether it would fit now, and that in words with the numbers; who does not fit comes first."""
    found = [(mode.name, *forecast_view(host, mode)) for mode in host.spec.modes]
    told = [one for one in found if one[1] in FORECASTS and one[2]]
    return sorted(told, key=lambda one: one[1] != "too-small")


def _told(name: str, word: str, sentence: str, width: int) -> list[Row]:
    sign, role = FORECASTS[word]
    first, *rest = wrap(f"{name}: {sentence}", width - 2)
    return [row((f"{sign} ", role), (first, "plain")), *(row("  ", (line, "plain")) for line in rest)]


def _name(gpu: str) -> str:
    return gpu if gpu.lower().startswith("gpu") else f"GPU {gpu}"


def _cells(view: View, host: Host, gpu: str) -> list[Span]:
    """Use, power, temperature, memory."""

    def told(key: str) -> Span:
        return value(f"gpu.{key}", host.reading(f"gpu.{key}", gpu), view.state.now)

    used, total = told("memory_used_bytes"), told("memory_total_bytes")
    if host.reading("gpu.memory_total_bytes", gpu).value is not None:
        used = (f"{used[0]} of {total[0]}", used[1])
    return [told("use_ratio"), told("power_watts"), told("temperature_celsius"), used]


def _table(view: View, host: Host, gpus: Sequence[str], width: int) -> list[Row]:
    """A line per GPU, its figures below each other; the tighter the narrower, and what matters least goes first."""
    cells = {gpu: _cells(view, host, gpu) for gpu in gpus}
    short = {gpu: [*found[:3], _short(found[3])] for gpu, found in cells.items()}
    bare = {gpu: [found[0], found[2], found[3]] for gpu, found in short.items()}
    for table, name, gap in (
        (cells, _name, "  "),
        (short, _name, "  "),
        (short, _name, " "),
        (short, str, " "),
        (bare, str, " "),
    ):
        rows = [_line(name(gpu), found, table, gap, name) for gpu, found in table.items()]
        if max(line.cells for line in rows) <= width:
            return rows
    return [fit(line, width) for line in rows]


def _line(name: str, found: list[Span], table: dict[str, list[Span]], gap: str, named: Callable[[str], str]) -> Row:
    wide = [max(cell_len(other[i][0]) for other in table.values()) for i in range(len(found))]
    spans: list[Span] = [(pad(name, max(cell_len(named(gpu)) for gpu in table)), "title")]
    for (words, role), cells in zip(found, wide, strict=True):
        spans += [(gap, "plain"), (pad(words, cells, RIGHT), role)]
    return Row(tuple(spans))


def _short(memory: Span) -> Span:
    """`71.2 of 79.6 GiB` of `71.2 GiB of 79.6 GiB`."""
    used, of, total = memory[0].partition(" of ")
    number, _, unit = used.partition(" ")
    return (f"{number} of {total}", memory[1]) if of and unit and total.endswith(f" {unit}") else memory


def _together(view: View, host: Host, gpus: Sequence[str], width: int) -> list[Row]:
    """All of them at once: from the least to the most busy, the hottest, power and memory added up."""

    def of(key: str) -> list[Reading]:
        return [host.reading(f"gpu.{key}", gpu) for gpu in gpus]

    def told(key: str, reduce: Callable[[list[float]], float]) -> Span:
        every = [r for r in of(key) if r.status is not Status.UNSUPPORTED] or of(key)
        found = [r.value for r in every if r.value is not None]
        worst = next((r for r in every if r.status is not Status.FRESH), every[0])
        if worst.status is Status.UNSUPPORTED:
            return value(f"gpu.{key}", worst, view.state.now)
        whole = (
            replace(worst, value=reduce(found)) if len(found) == len(every) else replace(worst, value=None, status=Status.UNKNOWN)
        )
        return value(f"gpu.{key}", whole, view.state.now)

    use, busiest = told("use_ratio", min), told("use_ratio", max)
    memory = (f"{told('memory_used_bytes', sum)[0]} of {told('memory_total_bytes', sum)[0]}", told("memory_used_bytes", sum)[1])
    heat = told("temperature_celsius", max)
    parts = [
        row((_counted(gpus), "title")),
        row((f"{use[0]} to {busiest[0]}", busiest[1])),
        row(told("power_watts", sum)),
        row((f"up to {heat[0]}", heat[1])),
        row(("mem ", "label"), _short(memory)),
    ]
    return flow(parts, width)[:3]


def _counted(gpus: Sequence[str]) -> str:
    """`8 GPUs`, `1 GPU, 7 instances`."""
    instances = [gpu for gpu in gpus if ":" in gpu]
    whole = {gpu.partition(":")[0] for gpu in gpus}
    words = f"{len(whole)} GPU{'' if len(whole) == 1 else 's'}"
    return f"{words}, {len(instances)} instance{'' if len(instances) == 1 else 's'}" if instances else words


def gpu_names(host: Host) -> tuple[str, ...]:
    """Every GPU that any figure is about."""
    keys = ("gpu.use_ratio", "gpu.power_watts", "gpu.memory_used_bytes", "gpu.temperature_celsius")
    return tuple(sorted({name for key in keys for name in host.subjects(key)}, key=_place))


def _place(gpu: str) -> tuple[tuple[int, str], ...]:
    """By number, an instance after its GPU."""
    return tuple((int(part) if part.isdigit() else 0, part) for part in gpu.split(":"))
