"""What holds for every test: in CI nothing is skipped, because a skipped part proves nothing."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

LONGEST = (
    "test_containers.py",
    "test_switch.py",
    "test_switch_full.py",
    "test_examples.py",
    "test_estate.py",
    "test_bad_day.py",
    "test_box_itself.py",
    "test_faults.py",
    "test_screen.py",
    "test_link_faults.py",
    "test_actions.py",
)
"""Of the integration tests: a file is played by one worker, so the long ones begin first, and none is left over at the end."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where the integration tests alone are wanted, files that have none are not even read: a marker is named where it is set."""
    if (
        config.option.markexpr != "integration"
        or not collection_path.match("test_*.py")
        or collection_path.parent.name == "integration"
    ):
        return None
    return None if "integration" in collection_path.read_text(encoding="utf-8") else True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        real = item.path.parent.name == "integration" and item.path.name in LONGEST
        return LONGEST.index(item.path.name) if real else len(LONGEST)

    items.sort(key=turn)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.skipped and os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI nothing may be: {reason}"
