"""Fixtures for tests against a real, booted machine: ``box`` (one per session), ``fresh_box``, ``box_factory``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE.parent.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent.parent))

from tests.box.box import Box, BoxError, boot, ensure_tree, sweep, why_not  # noqa: E402
from tests.integration import opensshd  # noqa: E402

_reasons: list[str] = []


def _required() -> bool:
    return bool(os.environ.get("CI")) or os.environ.get("SOVTUI_BOX") == "require"


def _cannot(reason: str) -> NoReturn:
    if _required():
        pytest.fail(f"the test box is required here, but: {reason}", pytrace=False)
    if reason not in _reasons:
        _reasons.append(reason)
    pytest.skip(f"no test box: {reason}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason in _reasons:
        terminalreporter.write_line(f"integration tests were skipped, no test box: {reason}", yellow=True)


@pytest.fixture(scope="session")
def box_tree() -> Path:
    """The built root file system; skips (or fails where the box is required) if it is not available."""
    if reason := why_not():
        _cannot(reason)
    sweep()
    try:
        return ensure_tree()
    except BoxError as problem:
        _cannot(str(problem))


@pytest.fixture(scope="session")
def box(box_tree: Path) -> Iterator[Box]:
    """One box for the whole session: leave it as you found it."""
    machine = boot()
    try:
        yield machine
    finally:
        machine.down()


@pytest.fixture
def box_factory(box_tree: Path) -> Iterator[Callable[..., Box]]:
    """Boots as many boxes as asked: ``box_factory("spark")``; all are taken away after the test."""
    boxes: list[Box] = []

    def make(hostname: str = "testbox") -> Box:
        boxes.append(boot(hostname=hostname))
        return boxes[-1]

    try:
        yield make
    finally:
        for machine in boxes:
            machine.down()


@pytest.fixture
def fresh_box(box_factory: Callable[..., Box]) -> Box:
    """A box for one test that breaks, reboots, cuts or fills it."""
    return box_factory()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[opensshd.Site]:
    """OpenSSH servers on loopback and an operator with a home of his own: no box."""
    if reason := opensshd.why_not():
        if _required():
            pytest.fail(f"OpenSSH's server is required here, but: {reason}", pytrace=False)
        pytest.skip(f"no ssh server: {reason}")
    with opensshd.site() as made:
        monkeypatch.setenv("HOME", str(made.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        monkeypatch.setattr("sovtui.adapters.links._ssh_config.SYSTEM_FILES", ())  # a distribution may say anything there
        yield made
