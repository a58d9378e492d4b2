"""The table of claims is made of the tests alone: no row without a claim, none that holds because it was not tried."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import truth
from tests.conftest import pytest_itemcollected
from tests.truth import __main__ as command
from tests.truth.record import FAILED, PASSED, SKIPPED

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "words", "claim"),
    [
        ("test_a_dead_box_is_said_to", (), "a dead box is said to"),
        ("test_hot", ("what is hot is asked of the engine",), "what is hot is asked of the engine"),
        ("test_hot", (), ""),
        ("test_a_very_good_name", ("",), "a very good name"),
    ],
)
def test_a_name_is_a_claim_where_it_is_a_sentence(name: str, words: tuple[str, ...], claim: str) -> None:
    assert truth.claim(name, *words) == claim


TRIED = """
import pytest

{marks}
def test_a_thing_that_holds():
    assert True

@pytest.mark.parametrize("n", [1, 2])
def test_a_thing_that_does_not_hold(n):
    assert n == 1

def test_a_thing_that_cannot_be_tried_here():
    pytest.skip("no box")

class TestOfMany:
    def test_a_thing_in_a_class(self):
        assert True
"""


def tried(folder: Path, name: str, text: str) -> tuple[subprocess.CompletedProcess[str], command.Document]:
    """A file of tests run as `python -m tests.truth` runs ours: what pytest said, and the record."""
    (folder / "conftest.py").write_text("from tests.conftest import pytest_itemcollected\n")
    (folder / name).write_text(text)
    record = folder / "rows.json"
    record.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "truth", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={folder}"]
    done = subprocess.run(
        [*argv, "-p", "tests.truth.record", "--truth-json", str(record), str(folder)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), "SOVTUI_NO_BOX": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, {**(json.loads(record.read_text()) if record.exists() else {"box": {}, "rows": []}), "status": done.returncode}


def test_every_test_of_a_truth_file_is_a_row_and_what_was_not_tried_does_not_hold(tmp_path: Path) -> None:
    done, made = tried(
        tmp_path, "test_truth_units.py", TRIED.format(marks='@pytest.mark.truth("what was claimed in other words")')
    )
    assert [(row["claim"], list(row["cases"].values())) for row in made["rows"]] == [
        ("what was claimed in other words", [PASSED]),
        ("a thing that does not hold", [PASSED, FAILED]),
        ("a thing that cannot be tried here", [SKIPPED]),
        ("a thing in a class", [PASSED]),
    ], done.stdout + done.stderr
    assert {row["part"] for row in made["rows"]} == {truth.SYSTEMD}
    text = command.table([made])
    assert "failed 1/2" in text and "test_truth_units.py:4" in text and "test_a_thing_that_does_not_hold[2]" in text
    assert not command.good([made])
    holds = {**made, "status": 0, "rows": made["rows"][:1]}
    assert command.good([holds]) and not command.good([{**holds, "status": 1}]) and not command.good([{**holds, "rows": []}])
    assert not command.good([{**holds, "rows": [made["rows"][2]]}]), "what was skipped was not shown"


@pytest.mark.parametrize(
    ("name", "mark", "wrong"),
    [
        ("test_short", pytest.mark.truth(of=truth.SCREEN), "test_short claims nothing"),
        ("test_it", pytest.mark.truth("some claim of no part"), "is one of: systemd"),
        ("test_it", pytest.mark.truth("some claim of another part", of="weather"), "is one of: systemd"),
    ],
)
def test_a_row_that_claims_nothing_or_not_of_what_is_not_collected(
    request: pytest.FixtureRequest, name: str, mark: pytest.MarkDecorator, wrong: str
) -> None:
    item = pytest.Function.from_parent(request.node.parent, name=name, callobj=lambda: None)
    item.add_marker(mark)
    with pytest.raises(pytest.UsageError, match=wrong):
        pytest_itemcollected(item)


def test_a_column_per_release_beside_each_claim() -> None:
    row = {"name": "t.py::test_it", "part": truth.RIGHTS, "claim": "it is as sudo says", "test": "t.py:1", "booted": True}
    box = {"release": "Debian 12.12", "systemd": "252.39", "sudo": "1.9.13p3"}
    documents = [
        {"box": box, "status": 0, "rows": [{**row, "cases": {"t.py::test_it": PASSED}}]},
        {"box": {**box, "release": "Debian 13.8", "systemd": "257.9"}, "status": 0, "rows": []},
    ]
    (line,) = [line for line in command.table(documents).splitlines() if "as sudo says" in line]
    assert "passed      Debian 12.12, systemd 252.39, sudo 1.9.13p3" in line
    assert "not tried   Debian 13.8, systemd 257.9, sudo 1.9.13p3" in line
