"""The log pane shows what an engine says: its own prefix and the questions of health checks take no room from that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sovtui.core.levels import level
from sovtui.runtime.hub import LogLine
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.detail import DetailScreen
from sovtui.tui.screens.dialog import Written

from .conftest import SIZES

pytestmark = pytest.mark.screen

CAPTURED = Path(__file__).parents[1] / "data" / "vllm" / "0.32.0-access-log-noise.log"
BEGAN = datetime(2026, 11, 20, 13, 33, tzinfo=UTC)


def captured() -> list[LogLine]:
    """What vLLM 0.32 wrote while it worked and was looked at every half second."""
    found = []
    for raw in CAPTURED.read_text().splitlines():
        stamp, _, text = raw.partition(" ")
        if not raw.startswith("#"):
            words = text.partition("]: ")[2]
            found.append(LogLine(datetime.fromisoformat(stamp), words, level(words, 6)))
    return found


def question(seconds: float = 0.0, path: str = "/health", status: str = "200 OK") -> LogLine:
    words = f'INFO:     127.0.0.1:4 - "GET {path} HTTP/1.1" {status}'
    return LogLine(BEGAN + timedelta(seconds=seconds), words, level(words, 6))


def flat(words: str) -> str:
    return " ".join(words.split())


@pytest.mark.parametrize("size", [*SIZES.values(), (40, 20)])
async def test_the_figures_are_on_the_screen_and_the_questions_are_one_line(stage: Any, size: tuple[int, int]) -> None:
    lines = captured()
    asked = sum("GET /" in line.text for line in lines)
    assert asked > len(lines) / 2, "as it is with an engine that is looked at"
    async with stage(size=size, lines=lines) as s:
        await s.press("l", "z")
        await s.until(lambda: "Engine 000" in s.text("log"))
        shown = s.text("log")
        assert "Avg generation throughput: 177.1" in flat(shown) or size == SIZES["normal"]
        assert "Avg prompt throughput: 352.2" in flat(shown) and "pid=" not in shown and "loggers.py" not in shown
        assert "GET /" not in shown and "POST /v1/chat/completions" in shown and "127.0.0.1" not in shown
        (folded,) = [line for line in shown.splitlines() if "hidden" in line]
        assert "f shows them" in folded and len(folded) <= size[0]
        if size[1] > 30:  # all lines have room
            assert f" {asked} " in folded


async def test_a_key_shows_everything_and_folds_it_again(stage: Any) -> None:
    async with stage(lines=captured()) as s:
        await s.press("l", "z")
        await s.until(lambda: "hidden" in s.text("log"))
        before = s.text("log")
        await s.press("f")
        assert '"GET /metrics HTTP/1.1" 200' in s.text("log") and "hidden" not in s.text("log")
        assert "INFO:     127.0.0.1" in s.text("log"), "whole lines"
        stamps = [line[:8] for line in s.text("log").splitlines()]
        assert stamps == sorted(stamps), "in the order in which they were written"
        await s.press("f")
        assert s.text("log") == before


async def test_what_is_copied_is_the_whole_line(stage: Any) -> None:
    said = next(line for line in captured() if "throughput" in line.text)
    async with stage(lines=[said, question()]) as s:
        await s.press("l")
        await s.until(lambda: "Engine 000" in s.text("log"))
        await s.press("y")
        await s.until(lambda: isinstance(s.screen, ChooseScreen) or bool(s.app.clipboard))
        await s.press("2")
        await s.until(lambda: bool(s.app.clipboard))
        assert s.app.clipboard == said.text and "pid=" in said.text


async def test_who_looks_for_a_question_finds_it(stage: Any) -> None:
    async with stage(lines=captured()) as s:
        await s.press("l")
        await s.until(lambda: "hidden" in s.text("log"))
        await s.press("slash", *"GET /metrics", "enter")
        assert "GET /metrics" in s.text("log") and "hidden" not in s.text("log")
        await s.press("escape", "slash", *"loggers.py", "enter")
        (found,) = s.text("log").splitlines()
        assert "[loggers.py:335]" in found, "what is looked for is seen, also where it stands in a prefix"


async def test_questions_push_no_line_out(stage: Any) -> None:
    """After half an hour of nothing else, what the engine said last is still there."""
    said = LogLine(BEGAN, "INFO 11-20 13:33:00 [core.py:1] the last that it said", "info")
    async with stage(lines=[said, *(question(n) for n in range(3000))]) as s:
        await s.press("l")
        await s.until(lambda: "3,000 health-check requests hidden" in s.text("log"))
        assert "the last that it said" in s.text("log")
        assert len(s.text("log").splitlines()) == 2


async def test_a_question_that_was_not_answered_well_is_seen(stage: Any) -> None:
    async with stage(lines=[question(1), question(2, status="503 Service Unavailable"), question(3)]) as s:
        await s.press("l")
        await s.until(lambda: "503 Service Unavailable" in s.text("log"))
        assert "2 health-check requests hidden" in s.text("log")


async def test_an_idle_log_is_asked_for_more(stage: Any) -> None:
    """Where nearly all of the newest lines are questions, what was said is further back."""
    async with stage(lines=[question(n) for n in range(200)]) as s:
        asked: list[int] = []

        async def open_log(host: str, service: str, since: str, lines: int) -> Any:
            asked.append(lines)
            for line in [LogLine(BEGAN, "said long ago")] if lines > 200 else []:
                yield line
            for n in range(200):
                yield question(n)
            await s.pilot.pause(60)

        s.pane("log")._stop()
        s.pane("log").open_log = open_log
        await s.press("l")
        await s.until(lambda: "said long ago" in s.text("log"))
        assert asked == [200, 2000]


async def test_questions_are_not_counted_as_news_while_it_is_scrolled_back(stage: Any) -> None:
    lines = [LogLine(BEGAN + timedelta(seconds=n), f"line {n}", "info") for n in range(60)]
    async with stage(size=(80, 24), lines=[*lines, question(61)]) as s:
        await s.press("l", "z")
        await s.until(lambda: "1 health-check request hidden; f shows it" in s.text("log"))
        await s.press("up", "up", "up")
        assert "line 56" in s.text("log").splitlines()[-1], "the question came after what is shown now"
        await s.press("G")
        assert "1 health-check request hidden" in s.text("log")


async def test_the_count_does_not_run(stage: Any) -> None:
    """A question a second would else be a repaint a second."""
    async with stage(lines=[LogLine(BEGAN, "said"), question(1), question(2)]) as s:
        await s.press("l")
        await s.until(lambda: "2 health-check requests" in s.text("log"))
        now = s.hub.state.now
        painted = s.pane("log").repaints
        s.pane("log").add(question(3))
        await s.pilot.pause(0.3)
        assert s.pane("log").repaints == painted and "2 health-check requests" in s.text("log")
        s.hub.put(replace(s.hub.state, now=now + timedelta(seconds=6)))
        await s.until(lambda: "3 health-check requests" in s.text("log"))


async def test_an_entry_in_full_has_whole_lines_and_counts_the_questions(stage: Any) -> None:
    async with stage(lines=captured()) as s:
        s.room.show_pane("services")
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen) and "throughput" in s.screen.query_one(Written).plain)
        seen = s.screen.query_one(Written).plain
        assert "[loggers.py:335]" in seen and "health-check requests hidden" in flat(seen) and "GET /" not in seen
