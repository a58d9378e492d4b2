"""A plugin of pytest that keeps how each row ended: `-p tests.truth.record --truth-json FILE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import truth
from tests.box.box import BoxError, ensure_tree, release, versions, why_not

FAILED, SKIPPED, PASSED = "failed", "skipped", "passed"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--truth-json", type=Path, metavar="FILE")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Record(config.getoption("--truth-json")))


class Record:
    """Every claim, with how often it passed, and in which cases it did not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told: Any = next((value for name, value in report.user_properties if name == truth.PROPERTY), None)
        name = report.nodeid.partition("[")[0]
        if told is None:  # of a worker that died
            told = {"part": "?", "claim": truth.claim(name.rpartition("::")[2]) or name, "test": name, "booted": False}
        row = self.rows.setdefault(name, {**told, "cases": {}})
        before = row["cases"].get(report.nodeid)
        if FAILED in (before, report.outcome):
            row["cases"][report.nodeid] = FAILED
        elif report.skipped or (report.passed and report.when == "call"):
            row["cases"][report.nodeid] = SKIPPED if report.skipped else PASSED

    def pytest_sessionfinish(self) -> None:
        try:
            asked = any(row["booted"] for row in self.rows.values())
            made_of = versions(ensure_tree()) if asked and not why_not() else {}
        except BoxError as problem:
            made_of = {"release": release(), "problem": str(problem)}
        document = {"box": made_of, "rows": [{"name": name, **row} for name, row in self.rows.items()]}
        self.path.write_text(json.dumps(document, indent=1))
