"""A disk without room on the box: before a switch, in the middle of one, and where the lock lies. What is told is what is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, busy, empty, loaded, ready

STATE, LOCKS = "/home/ops/.local/state/sovtui", "/run/lock"
FILL = f"cat /dev/zero > {STATE}/fill 2> /dev/null; true"
EATER = f"sh -c 'while :; do cat /dev/zero >> {STATE}/fill; sleep 0.02; done'"
"""A neighbour that takes every byte as soon as it is free."""


@pytest.fixture
def small(box: Box, tmp_path: Path) -> Iterator[Operator]:
    """Actions are kept on a disk of their own of less than a megabyte, and the lock on one of a page."""
    empty(box)
    own = "chown -R ops:ops /home/ops/.local"  # below the small disk too: others find it there when this is over
    box.root(f"mkdir -p {STATE}; {own}; mount -t tmpfs -o size=900k,mode=700 small {STATE}; {own}")
    box.root(f"mount -t tmpfs -o size=4k,mode=1777 small {LOCKS}; cat /dev/zero > {LOCKS}/fill 2> /dev/null || true")
    yield Operator.at(box, tmp_path)
    wait_for(lambda: not busy(box), 60, "the action's end")
    box.root(f"systemctl stop eater 2> /dev/null; umount -l {STATE} {LOCKS}")
    empty(box)


def test_a_full_disk_ends_in_what_is_so(small: Operator, box: Box) -> None:
    box.root(FILL)
    done = small.run("switch", "qwen", "--yes")
    assert done.returncode == 1 and "nothing is started" in done.stderr and "No space left on device" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and loaded(box) == [] and box.root(f"ls {STATE}/actions").stdout == ""

    box.root(f"rm {STATE}/fill")
    box.tune("vllm-qwen36", load_seconds=8)
    switch = small.start("switch", "qwen", "--yes")
    wait_for(lambda: '"name":"start"' in box.root(f"cat {STATE}/actions/*/receipt.jsonl || true").stdout, 60, "the start")
    box.root(f"systemd-run --quiet --unit=eater {EATER}")
    wait_for(lambda: box.root(f"df --output=avail {STATE} | tail -1").stdout.strip() == "0", 60, "the disk to be full")
    other = small.run("drop-caches", "--yes")
    assert other.returncode == 4 and "Traceback" not in other.stderr, other.stderr
    out, said = switch.communicate(timeout=120)
    assert switch.returncode == 0 and "qwen is hot" in out + said, out + said
    assert ready(box, "qwen") and loaded(box) == ["qwen"]
    receipt = small.newest_receipt()
    assert receipt[-1]["t"] == "end" and receipt[-1]["outcome"] == "done"
    steps = [(line["name"], line["state"]) for line in receipt if line["t"] == "step"]
    assert ("ready", "done") in steps and ("verify", "done") in steps
    (shown,) = json.loads(small.ok("actions", "--json").stdout)
    assert shown["outcome"] == "done"
