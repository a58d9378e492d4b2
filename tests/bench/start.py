"""Cold start to the first frame, without a configuration, against an empty Textual app in the same run."""

from __future__ import annotations

import compileall
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.row import Row
from tests.bench.terminal import Terminal, environment

EMPTY = "from textual.app import App\nApp().run()\n"
BAR = 1.25
ROOM = "╭".encode()
"""The first corner of a pane's frame."""


def measure(times: int) -> list[Row]:
    """`times` starts of each, taken in turn: what else the machine does hits all alike."""
    compileall.compile_dir(Path(__file__).parents[2] / "sovtui", quiet=2)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "empty_app.py").write_text(EMPTY)
        env = environment(home)
        kinds: dict[str, Sequence[str]] = {"empty": [str(home / "empty_app.py")], "sovtui": ["-m", "sovtui"]}
        first: dict[str, list[float]] = {kind: [] for kind in kinds}
        cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
        room: list[float] = []
        for number in range(times + 1):
            for kind, words in kinds.items():
                with Terminal.python(words, env) as terminal:
                    frame = terminal.first_frame()
                    until_frame = terminal.running_seconds()
                    if kind == "sovtui":
                        whole = terminal.wait(ROOM) - terminal.began_at
                if number == 0:
                    continue  # the first start fills the disk's cache
                first[kind].append(frame)
                cpu[kind].append(until_frame)
                if kind == "sovtui":
                    room.append(whole)
    ratios = [ours / theirs for ours, theirs in zip(first["sovtui"], first["empty"], strict=True)]
    empty, ours, panes = (statistics.median(times) for times in (first["empty"], first["sovtui"], room))
    effort = statistics.median(cpu["sovtui"]) / statistics.median(cpu["empty"])
    details = {
        "empty_first_frame_s": first["empty"],
        "sovtui_first_frame_s": first["sovtui"],
        "sovtui_panes_s": room,
        "empty_cpu_to_first_frame_s": cpu["empty"],
        "sovtui_cpu_to_first_frame_s": cpu["sovtui"],
        "ratio_of_medians": ours / empty,
        "ratio_of_cpu": effort,
        "median_of_ratios": statistics.median(ratios),
    }
    return [
        Row(
            "start",
            "cold start to first frame, no configuration",
            f"<= {BAR} x an empty Textual app",
            f"{ours / empty:.2f} x ({ours * 1000:.0f} ms against {empty * 1000:.0f} ms; processor time {effort:.2f} x)",
            ours / empty <= BAR,
            details,
        ),
        Row("start", "the same, until the panes are there", "", f"{panes / empty:.2f} x ({panes * 1000:.0f} ms)", None),
    ]
