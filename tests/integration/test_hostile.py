"""Some of the bad inputs of `make hostile`, another dozen of the quick ones for each seed: nothing here asks how long anything took."""

from __future__ import annotations

import os
import random

import pytest

from tests.hostile.case import cases
from tests.hostile.stage import stage, table, why_not

pytestmark = pytest.mark.integration

SEED = int(os.environ.get("HOSTILE_SEED", "1"))
EACH = 4


@pytest.mark.parametrize("kind", ["alertmanager", "prometheus", "box", "neighbour"])
def test_a_bad_input_costs_itself_alone(kind: str) -> None:
    """Keys are answered, memory keeps within its bounds, the words are right, nothing is raw, and nothing broke inside."""
    if reason := why_not(kind):
        pytest.skip(reason)
    quick = [case for case in cases(kind) if case.quick]
    chosen = random.Random(SEED).sample(quick, min(EACH, len(quick)))
    with stage(kind, timed=False) as played:
        rows = [played.play(case) for case in chosen]
    assert not [row for row in rows if row.wrong], "\n" + table(rows)
