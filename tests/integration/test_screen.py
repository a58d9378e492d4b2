"""The control room under a real terminal, against the booted box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, Terminal, busy, empty, loaded, ready

SIZES = [(120, 40), (80, 24), (44, 80)]


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    yield Operator.at(box, tmp_path)
    wait_for(lambda: not busy(box), 60, "the action's end")
    empty(box)


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_mode_key_switches(operator: Operator, box: Box, tmp_path: Path, columns: int, rows: int) -> None:
    box.tune("vllm-qwen36", load_seconds=1)
    terminal = Terminal(operator, tmp_path, columns, rows)
    try:
        terminal.wait("testbox")
        terminal.wait("no mode")
        terminal.press("1")
        wait_for(lambda: ready(box, "qwen"), 60, "qwen ready")
        terminal.wait("resident")
        terminal.until(lambda: operator.newest_receipt()[-1]["t"] == "end", 60, "the end of the first switch")
        assert loaded(box) == ["qwen"]
        terminal.act("2", lambda: operator.newest_receipt()[0]["target"] == "mistral", "a switch to mistral")
        terminal.until(lambda: loaded(box) == ["mistral"] and ready(box, "mistral"), 60, "mistral alone")
        for key, kind in (("c", "drop-caches"), ("b", "backup")):
            wait_for(lambda: operator.newest_receipt()[-1]["t"] == "end", 60, "the end of what ran before")
            terminal.wait("no action runs|link up")
            terminal.act(key, lambda kind=kind: operator.newest_receipt()[0]["kind"] == kind, kind)  # type: ignore[misc]
        terminal.press("q")
        terminal.wait("EXIT 0")
    finally:
        terminal.close()


def test_acknowledge_in_the_room(operator: Operator, box: Box, tmp_path: Path) -> None:
    box.raise_alert("disk")
    terminal = Terminal(operator, tmp_path, 120, 40)
    try:
        terminal.wait("MyAlert")
        terminal.act("a", lambda: "Acknowledge" in terminal.screen(), "the question")
        terminal.type("seen it")
        terminal.act(
            "Enter",
            lambda: any(a["status"]["silencedBy"] for a in box.alerts() if a["labels"].get("what") == "disk"),
            "the silence",
        )
        operator.ok("unack", "MyAlert", "--yes")
        assert not any(a["status"]["silencedBy"] for a in box.alerts() if a["labels"].get("what") == "disk")
    finally:
        terminal.close()
        box.clear_alerts()


def test_killed_room_leaves_the_switch_running_and_the_next_one_finds_it(operator: Operator, box: Box, tmp_path: Path) -> None:
    box.tune("vllm-qwen36", load_seconds=6)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Terminal(operator, tmp_path / "a", 120, 40)
    try:
        first.wait("no mode")
        first.press("1")
        first.wait("switch qwen: (start|ready)")  # the box has it: from here on it needs nobody
    finally:
        first.close()
    second = Terminal(operator, tmp_path / "b", 80, 24)
    try:
        second.wait("switch qwen: ")
        wait_for(lambda: ready(box, "qwen"), 60, "qwen ready")
        second.wait("resident|busy")
    finally:
        second.close()


def test_link_loss_is_shown_and_mends_itself(fresh_box: Box, tmp_path: Path) -> None:
    operator = Operator.at(fresh_box, tmp_path)
    terminal = Terminal(operator, tmp_path, 120, 40)
    try:
        terminal.wait(r"restartme\S*\s+active")
        fresh_box.cut_network()
        terminal.wait("link lost")
        terminal.wait("host silent")
        terminal.wait(r"active\s+~?\d|restartme")
        fresh_box.restore_network()
        terminal.press("c")  # a key press tries again at once; the wish itself is refused while the link is down
        terminal.wait("link up")
    finally:
        terminal.close()
