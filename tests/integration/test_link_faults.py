"""A seeded part of the link's fault table (`python -m tests.faults.link`), a link lost many times, and what is followed over one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box.box import Box
from tests.faults.link.ground import ground, inside

COUNT, BOX_COUNT, SEED, LOSSES, CUTS = 20, 4, 4, 60, 20


@pytest.fixture(scope="module")
def field(box_tree: Path) -> Iterator[tuple[Box, Path]]:
    with ground() as made:
        yield made


def play(field: tuple[Box, Path], *words: str) -> tuple[int, str]:
    """The command, as a program of the client."""
    box, folder = field
    done = subprocess.run(
        inside(box, folder, "tests.faults.link", words), capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_every_fault_is_told_rightly_and_the_link_comes_back(field: tuple[Box, Path], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ("--count", str(COUNT), "--box", str(BOX_COUNT), "--seed", str(SEED), "--json", str(report))
    status, told = play(field, *words)
    assert report.exists(), told
    made: dict[str, Any] = json.loads(report.read_text())
    # how fast it is back depends on what else this machine does: the bar of that is the table's and the benchmark's
    wrong = [
        (run["kind"], problem, run["said"]) for run in made["runs"] for problem in run["problems"] if "late" not in problem[0]
    ]
    assert not wrong, told
    assert len(made["runs"]) == COUNT + BOX_COUNT
    assert not made["leaks"], told
    assert status in (0, 1)


def test_many_losses_leave_nothing_behind(field: tuple[Box, Path]) -> None:
    status, told = play(field, "--losses", str(LOSSES))
    assert status == 0, told


def test_what_is_followed_loses_no_line_and_tells_none_twice(field: tuple[Box, Path]) -> None:
    status, told = play(field, "--follow", str(CUTS))
    assert status == 0, told
