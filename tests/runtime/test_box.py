"""What is followed on a box over several links: each goes on where the last one ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from sovtui.ports.errors import Unreachable
from sovtui.runtime import box
from tests.fakes.world import FakeLink

RECEIPT: list[dict[str, Any]] = [
    {"t": "begin", "id": "one", "kind": "switch", "target": "qwen", "who": "ops@sofa", "at": "2026-11-20T20:00:00+00:00"},
    {"t": "line", "text": "a"},
    {"t": "line", "text": "a"},
    {"t": "line", "text": "b"},
    {"t": "end", "outcome": "done", "seconds": 3.0, "at": "2026-11-20T20:00:03+00:00"},
]


def asked(stdin: bytes) -> dict[str, Any]:
    """The request behind the program."""
    found: dict[str, Any] = json.loads(stdin[stdin.rindex(b'{"') :])
    return found


async def test_a_receipt_goes_on_where_the_last_link_ended() -> None:
    asks: list[dict[str, Any]] = []

    def serve(cut: bool) -> FakeLink:
        def script(argv: Sequence[str], stdin: bytes) -> tuple[list[bytes], int]:
            asks.append(asked(stdin))
            lines = [json.dumps(line).encode() for line in RECEIPT[asks[-1]["skip"] :]]
            return ([*lines[:2], b"LOST"] if cut else lines), 0

        return FakeLink(script=script)

    so_far = box.Followed()
    seen: list[int] = []
    for cut in (True, True):
        with pytest.raises(Unreachable):
            async with aclosing(box.follow(serve(cut), "", so_far)) as runs:
                async for run in runs:
                    seen.append(len(run.lines))
    async with aclosing(box.follow(serve(False), "", so_far)) as runs:
        last = [run async for run in runs][-1]
    assert [(one["id"], one["skip"]) for one in asks] == [("", 0), ("one", 2), ("one", 4)]
    assert last.lines == ("a", "a", "b") and not last.running
    assert seen == [0, 1, 2, 3], "it never goes back"


async def test_a_log_goes_on_after_the_last_place_and_the_lines_behind_it() -> None:
    asks: list[dict[str, Any]] = []
    answers = [
        [{"t": "line", "text": "1", "cursor": "c1"}, {"t": "line", "text": "2"}],
        [{"t": "line", "text": "3"}, {"t": "place", "cursor": "c3"}, {"t": "line", "text": "4"}],
        [{"t": "line", "text": "5"}],
    ]

    def script(argv: Sequence[str], stdin: bytes) -> tuple[list[bytes], int]:
        asks.append(asked(stdin))
        lines = [json.dumps(line).encode() for line in answers[len(asks) - 1]]
        return [*lines, b"LOST"], 0

    place = box.LogPlace()
    heard: list[str] = []
    for _ in answers:
        with pytest.raises(Unreachable):
            async with aclosing(box.logs(FakeLink(script=script), "x.service", 5, "10m", True, place=place)) as lines:
                async for line in lines:
                    heard.append(line.text)
    assert heard == ["1", "2", "3", "4", "5"]
    assert [(one.get("after"), one.get("skip"), one.get("since")) for one in asks] == [
        (None, None, "10m"),
        ("c1", 1, None),
        ("c3", 1, None),
    ]
