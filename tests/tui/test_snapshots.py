"""The screen cell by cell against what was looked at and kept. After a change that is meant: `make snapshots`, and look at the diff."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tests.snapshots import FOLDER, SCENES, Scene, in_utc, taken, text_of

pytestmark = pytest.mark.screen


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    in_utc()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.files()[0].removesuffix(".txt"))
async def test_the_screen_is_as_it_was(scene: Scene) -> None:
    wrong = []
    for name, found in await taken(scene):
        kept = (FOLDER / name).read_text(encoding="utf-8") if (FOLDER / name).is_file() else ""
        if found != kept:
            lines = difflib.unified_diff(kept.splitlines(), found.splitlines(), f"kept/{name}", f"now/{name}", lineterm="", n=1)
            wrong.append("\n".join(list(lines)[:60]))
    assert not wrong, "\n\n".join([*wrong, "If this is meant: make snapshots"])


def test_none_is_kept_that_nobody_makes() -> None:
    made = {name for scene in SCENES for name in scene.files()}
    assert {path.name for path in FOLDER.glob("*.txt")} == made
    assert len(made) <= 30


def test_a_snapshot_tells_text_and_styles_apart() -> None:
    def told(*segments: tuple[str, Any]) -> str:
        return text_of([Strip([Segment(words, Style.parse(look)) for words, look in segments])])

    assert told(("ab", "red"), ("漢", "bold")) == "|ab漢\n\na2 b2\n\na = red\nb = bold\n"
    assert told(("ab", "red"), ("漢", "bold")) != told(("ab", "red"), ("漢", "red"))
    assert told(("ab ", "red")).startswith("|ab\n\na3")
