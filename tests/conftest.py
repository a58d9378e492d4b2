"""What holds for every test: it has a home of its own, and in CI nothing is skipped, because a skipped part proves nothing."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import truth
from tests.fakes.looptime import LoopTime

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

TOOLS = {"XDG_CACHE_HOME": "~/.cache", "PIP_CONFIG_FILE": "~/.config/pip/pip.conf", "GIT_CONFIG_GLOBAL": "~/.gitconfig"}
"""What the tests' own tools keep in the user's home: they find it from any home. The product reads none of these."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where one marker alone is wanted, files that have none of it are not even imported: a marker is named where it is set."""
    wanted = config.option.markexpr
    if (
        wanted not in ("integration", truth.MARKER)
        or not collection_path.match("test_*.py")
        or collection_path.parent.name == "integration"
    ):
        return None
    said = collection_path.name.startswith(truth.FILE) or wanted in collection_path.read_text(encoding="utf-8")
    return None if said else True


def pytest_itemcollected(item: pytest.Item) -> None:
    """What a test claims of a box travels with its reports: the table of `python -m tests.truth` is made of them alone."""
    try:
        row = truth.row(item) if isinstance(item, pytest.Function) else None
    except truth.NoClaimError as problem:
        raise pytest.UsageError(str(problem)) from None
    if row:
        item.add_marker(truth.MARKER)
        item.user_properties.append((truth.PROPERTY, row.document()))


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


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A test on fakes keeps the time of its loop: what else this machine does makes no difference to it."""
    real = item.get_closest_marker("integration") is not None or item.path.parent.name == "integration"
    return {"real": asyncio.new_event_loop} if real else {"its own": LoopTime}


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One name after the other."""
    place = tmp_path_factory.mktemp("homes")
    return (place / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home for each test: what the user of this machine has set, done or trusted is nothing that a test may depend on."""
    for name, usual in TOOLS.items():
        monkeypatch.setenv(name, os.environ.get(name) or str(Path(usual).expanduser()))
    home = next(_homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "SOVTUI_CONFIG", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
