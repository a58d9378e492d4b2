"""A seeded part of the link's fault table (`python -m tests.faults.link`), a link lost many times, and what is followed over one.

Each is mostly waiting, so they all play at once, in programs of their own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.link.ground import ground, inside

COUNT, SEED, LOSSES, CUTS = 8, 4, 40, 12
BOX = ("sshd stopped", "address changed", "own link down", "name unknown")
LONGEST_SECONDS = 200.0
Parts = dict[str, tuple[subprocess.Popen[str], Path]]


@pytest.fixture(scope="module")
def parts(box_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """What plays, and where its report will be."""
    only = [word for kind in BOX for word in ("--only", kind)]
    every = {
        "way": ["--count", str(COUNT), "--seed", str(SEED)],
        "losses": ["--losses", str(LOSSES)],
        "follow": ["--follow", str(CUTS)],
        "box": ["--count", "0", "--box", str(len(BOX)), *only],
    }
    with ExitStack() as stack:
        shared, folder = stack.enter_context(ground())
        own, other = stack.enter_context(ground())
        found: Parts = {}
        for name, words in every.items():
            report = tmp_path_factory.mktemp(name) / "report.json"
            box, place = (own, other) if name == "box" else (shared, folder)
            home = place / name
            home.mkdir()
            for file in ("hosts", "resolv.conf"):
                (home / file).write_text((place / file).read_text())
            argv = inside(box, home, "tests.faults.link", [*words, "--json", str(report)])
            process = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            stack.callback(process.kill)  # first; then its pipe is closed and it is reaped, whichever of the tests were wanted
            found[name] = (process, report)
        yield found


def told(parts: Parts, name: str) -> tuple[int, str]:
    """How it ended, and what it said."""
    process, _ = parts[name]
    said, _ = process.communicate(timeout=LONGEST_SECONDS)
    return process.returncode, said


@pytest.mark.parametrize(("name", "count"), [("way", COUNT), ("box", len(BOX))])
def test_every_fault_is_told_rightly_and_the_link_comes_back(parts: Parts, name: str, count: int) -> None:
    _, said = told(parts, name)
    report = parts[name][1]
    assert report.exists(), said
    made: dict[str, Any] = json.loads(report.read_text())
    # how fast it is back depends on what else this machine does: that bar is the table's and the benchmark's
    wrong = [
        (run["kind"], problem, run["said"]) for run in made["runs"] for problem in run["problems"] if "late" not in problem[0]
    ]
    assert not wrong, said
    assert len(made["runs"]) == count
    assert not made["leaks"], said


def test_many_losses_leave_nothing_behind(parts: Parts) -> None:
    status, said = told(parts, "losses")
    assert status == 0, said


def test_what_is_followed_loses_no_line_and_tells_none_twice(parts: Parts) -> None:
    status, said = told(parts, "follow")
    assert status == 0, said
