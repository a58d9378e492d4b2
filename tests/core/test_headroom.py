"""One figure and one word for what a model could still take: *free* of a GPU's own memory, *available* of the host's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.cli.output import status
from sovtui.core.forecast import judge
from sovtui.core.headroom import gpu_free, headroom
from sovtui.core.model import HostSpec, Mode
from sovtui.core.reading import Reading, Status, fresh, unknown, unsupported
from sovtui.core.state import Host
from sovtui.demo import scenario
from sovtui.demo.estate import estate
from sovtui.tui.arrange import Kind
from sovtui.tui.panes.base import View
from sovtui.tui.panes.host import last_figures
from sovtui.tui.panes.memory import MemoryPane
from sovtui.tui.status import memory_row, status_rows

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
GIB = 2.0**30


def at(gib: float, *, old: float = 0.0, stale: bool = False) -> Reading:
    reading = fresh(gib * GIB, NOW - timedelta(seconds=old), "probe")
    return replace(reading, status=Status.STALE) if stale else reading


def host(memory: str = "auto", available: Reading | None = None, **gpus: tuple[Reading, Reading]) -> Host:
    """`gpus`: total and used of each, by its number after a `g`; `g0_1` is an instance."""
    figures = {
        ("memory.total_bytes", ""): at(64),
        ("memory.available_bytes", ""): available if available is not None else at(40),
    }
    for name, (total, used) in gpus.items():
        gpu = name[1:].replace("_", ":")
        figures["gpu.memory_total_bytes", gpu] = total
        figures["gpu.memory_used_bytes", gpu] = used
        figures["gpu.use_ratio", gpu] = fresh(0.5, NOW, "probe")
    return Host(HostSpec("rig", "ssh", memory=memory), figures=figures)


NONE = unsupported("this GPU has no memory of its own", "nvml")
SPLIT = unsupported("this GPU is split into instances", "nvml")
SILENT = unknown("the driver does not answer", "nvml")


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (host(), "40.0 GiB available"),
        (host(g0=(NONE, NONE)), "40.0 GiB available"),
        (host("unified", g0=(NONE, NONE)), "40.0 GiB available"),
        (host(available=at(0)), "0 B available"),
        (host(available=at(40, old=42, stale=True)), "40.0 GiB ~42s available"),
        (host(available=unknown("no answer")), "memory ?"),
        (host(g0=(at(12), at(6.5))), "GPU 5.50 GiB free"),
        (host(g0=(at(12), at(12))), "GPU 0 B free"),
        (host(g0=(at(24), at(4)), g1=(at(24), at(20))), "GPU 24.0 GiB free"),
        (host(g0=(at(12), at(6.5, old=42, stale=True))), "GPU 5.50 GiB ~42s free"),
        (host(g0=(at(24), at(4)), g1=(at(24), SILENT)), "GPU memory ?"),
        (host(g0=(SILENT, SILENT)), "GPU memory ?"),
        (host("discrete"), "GPU memory ?"),
        (host("discrete", g0=(NONE, NONE)), "GPU memory n/a"),
        (host(g0=(SPLIT, SPLIT), g0_7=(at(10), at(2)), g0_8=(at(10), at(9))), "GPU 9.00 GiB free"),
    ],
)
def test_the_headline_of_memory(of: Host, said: str) -> None:
    assert memory_row(of, NOW).plain == said


def test_one_gpu_is_as_little_known_as_the_less_known_of_its_figures() -> None:
    assert gpu_free(host(g0=(at(12), SILENT)), "0") == SILENT
    assert gpu_free(host(g0=(NONE, at(3))), "0").status is Status.UNSUPPORTED
    old = gpu_free(host(g0=(at(12, old=3), at(2, old=9))), "0")
    assert old.value == 10 * GIB and old.age_seconds(NOW) == 9


def test_the_reason_stays() -> None:
    assert headroom(host(g0=(SILENT, SILENT))).reading.reason == "the driver does not answer"
    assert headroom(host("discrete")).reading.reason == "no source reports its GPU"


@pytest.mark.parametrize(
    ("where", "headline", "text"),
    [
        ("spark", "57.2 GiB available", "57.2 GiB available of 122 GiB unified memory"),
        ("mesh", "GPU 5.44 GiB free", "memory 5.44 GiB free of 12.0 GiB"),
        ("modes", "GPU 2.26 GiB free", "memory 2.26 GiB free of 31.8 GiB"),
    ],
)
def test_every_face_says_the_same(where: str, headline: str, text: str) -> None:
    state = scenario("healthy", where)
    box = estate(where).box
    view = View(state, box, estate(where).config)
    for kind, width in ((Kind.WIDE, 120), (Kind.NORMAL, 80), (Kind.PHONE, 44)):
        assert headline in " ".join(row.plain for row in status_rows(view, width, kind)), kind
    told = " ".join(status(state, [state.hosts[box]]).split())
    assert text in told
    own = where != "spark"
    pane = " ".join(" ".join(row.plain for row in MemoryPane().rows(view, 60, 40)).split()).replace("memory are free", "")
    assert pane.count(" free") == int(own), "nothing of the host's memory is called free"
    assert "free" not in told.replace(text, "").replace("memory are free", ""), told
    last = [label for label, _ in last_figures(state.hosts[box], None, state.now)]
    assert (
        ("GPU free" in last) is own
        and "available" in last
        and not any(label.startswith("/") and "free" in label for label in last)
    )
    assert MemoryPane().badge(view)[0] == {"spark": "53%", "mesh": "55%", "modes": "93%"}[where]


def test_the_question_of_a_switch_uses_the_same_words() -> None:
    mode = Mode("image", "Images", needs_bytes=int(10 * GIB))
    assert "5.5 GiB of GPU memory are free" in judge(host(g0=(at(12), at(6.5))), mode).sentence
    assert "40.0 GiB are available" in judge(host("unified", g0=(NONE, NONE)), mode).sentence
