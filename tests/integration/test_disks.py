"""The client on disks without room, on disks that may not be written, and with files that are none: what `make hostile` asks of the command line."""

from __future__ import annotations

import os

import pytest

from tests.hostile.here import Here, alone
from tests.hostile.kinds.disks import CASES


@pytest.mark.parametrize("case", [case for case in CASES if case.command], ids=lambda case: case.name)
def test_each_is_a_sentence_and_leaves_what_was(case: Here) -> None:
    if os.geteuid():
        pytest.skip("only root may mount")
    assert alone(case) == []
