"""What sovtui says of a box, each claim held by a test: a row of the table that `python -m tests.truth` prints.

A test is a row where it stands in a file `test_truth_….py`, or is marked `truth`. Its name is the claim, read as a sentence, unless
the marker has better words; so there is no second list of them that could differ.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pytest

SYSTEMD, RIGHTS, CHANNEL, STATES, SCREEN = (
    "systemd",
    "sudo, polkit, users",
    "exec channel",
    "one-shot commands and states",
    "screen",
)
PARTS = (SYSTEMD, RIGHTS, CHANNEL, STATES, SCREEN)
OF_FILE = {
    "units": SYSTEMD,
    "jobs": SYSTEMD,
    "rights": RIGHTS,
    "shell": CHANNEL,
    "link": STATES,
    "clock": STATES,
    "alerts": STATES,
    "gpu": STATES,
    "screen": SCREEN,
}
"""Of which part the claims of a file `test_truth_NAME.py` are; any other name is a part of its own."""
FILE = "test_truth_"
MARKER, PROPERTY = "truth", "truth"
FEWEST_WORDS = 4
BOXES = {"box", "box_tree", "fresh_box", "box_factory"}
"""Fixtures: a test that uses one asks a booted system."""


class NoClaimError(Exception):
    """A test that is to be a row says nothing."""


@dataclass(frozen=True)
class Row:
    """One claim, and where the test is that holds it."""

    part: str
    claim: str
    test: str
    """Path and line."""
    booted: bool
    """Whether a booted box is asked; otherwise it is arithmetic, or programs of this machine."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def row(item: pytest.Function) -> Row | None:
    """What a test claims, if it is a row; :class:`NoClaimError` for one that says nothing, or not of what."""
    marks = list(item.iter_markers(MARKER))
    by_file = item.path.name.startswith(FILE)
    if not marks and not by_file:
        return None
    line = f"{item.path.relative_to(item.config.rootpath)}:{item.location[1] + 1 if item.location[1] is not None else '?'}"
    words = claim(item.originalname, *(word for mark in item.own_markers if mark.name == MARKER for word in mark.args))
    part = next((mark.kwargs["of"] for mark in marks if "of" in mark.kwargs), "")
    if not part and by_file:
        name = item.path.stem.removeprefix(FILE)
        part = OF_FILE.get(name, name)
    elif part not in PARTS:
        raise NoClaimError(f"{line}: truth(of=…) is one of: {'; '.join(PARTS)}")
    if not words:
        raise NoClaimError(f"{line}: {item.originalname} claims nothing; name it by a sentence, or truth('a sentence')")
    return Row(part, words, line, not BOXES.isdisjoint(item.fixturenames))


def claim(name: str, *words: str) -> str:
    """The sentence that a test's name is, or the words of its marker; empty where neither says anything."""
    for sentence in (*words, name.removeprefix("test_").replace("_", " ")):
        if len(sentence.split()) >= FEWEST_WORDS:
            return sentence
    return ""
