"""What sovtui claims of a box, and whether it is so: python -m tests.truth [--debian 12] [--debian 13] [pytest's words]

One row per claim: whether it holds on each release, and the test that shows it. Without a release: Debian 12.
Words that are left go to pytest: a file, `-k polkit`. Exit 1 unless every row was tried and holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import truth
from tests.box.box import RELEASES, USUAL
from tests.truth.record import FAILED, PASSED, SKIPPED

Document = dict[str, Any]
WORKERS = "3"


def played(release: str, words: Sequence[str], parallel: bool) -> Document:
    """The tests on a box of that release: what it is made of, and how each row ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        spread = ["-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"] if parallel else []
        argv = [sys.executable, "-m", "pytest", "-q", "-m", truth.MARKER, *spread, "-p", "tests.truth.record"]
        environment = {**os.environ, "SOVTUI_BOX_RELEASE": release}
        status = subprocess.run([*argv, "--truth-json", str(path), *words], env=environment, check=False).returncode
        made: Document = json.loads(path.read_text()) if path.exists() else {"box": {}, "rows": []}
    return {**made, "status": status}


def table(documents: Sequence[Document]) -> str:
    """Part by part; one column per release, then the claim and where its test is."""
    heads = [_head(made) for made in documents]
    found: dict[str, dict[str, Any]] = {}
    for number, made in enumerate(documents):
        for row in made["rows"]:
            found.setdefault(row["name"], {**row, "on": {}})["on"][number] = row
    lines = [f"box: {_made_of(made['box'])}" for made in documents]
    parts = [*truth.PARTS, *sorted({row["part"] for row in found.values()} - set(truth.PARTS))]
    wide = max((len(row["claim"]) for row in found.values()), default=0)
    for part in parts:
        rows = [row for row in found.values() if row["part"] == part]
        if not rows:
            continue
        lines += ["", part]
        for row in rows:
            ends = [
                f"{_end(row['on'].get(number)):11} {head if row['booted'] else 'without a box':{len(head)}}"
                for number, head in enumerate(heads)
            ]
            lines.append(f"  {'  '.join(ends)}  {row['claim']:{wide}}  {row['test']}")
    for number, head in enumerate(heads):
        ends = [_end(row["on"].get(number)).split()[0] for row in found.values()]
        lines += ["", f"{head}: {len(ends)} claims, {', '.join(f'{ends.count(end)} {end}' for end in dict.fromkeys(ends))}"]
        for row in found.values():
            cases = row["on"].get(number, {"cases": {}})["cases"]
            lines += [f"  {end}: {case}" for case, end in cases.items() if end != PASSED]
    return "\n".join(lines)


def _head(made: Document) -> str:
    """Which system a row was tried on, in few words."""
    box: dict[str, str] = made["box"]
    if "systemd" not in box:
        return box.get("release", "no box")
    return f"{box['release']}, systemd {box['systemd']}, sudo {box['sudo']}"


def _made_of(box: dict[str, str]) -> str:
    named = (f"{name} {number}" for name, number in box.items() if name != "release")
    return ", ".join((box.get("release", "none was asked"), *named))


def _end(row: dict[str, Any] | None) -> str:
    """How a claim came out over its cases: it holds where it holds in all of them."""
    if row is None or not row["cases"]:
        return "not tried"
    ends = list(row["cases"].values())
    for worst in (FAILED, SKIPPED):
        if worst in ends:
            return worst if len(ends) == 1 else f"{worst} {ends.count(worst)}/{len(ends)}"
    return PASSED if len(ends) == 1 else f"{PASSED} {len(ends)}"


def good(documents: Sequence[Document]) -> bool:
    return all(
        made["status"] == 0 and made["rows"] and all(_end(row).startswith(PASSED) for row in made["rows"]) for made in documents
    )


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__.partition("\n")[0])
    p.add_argument("--debian", action="append", choices=list(RELEASES), help="a release, also several (12); 24.04 is Ubuntu's")
    p.add_argument("--one-by-one", action="store_true", help="without workers beside one another")
    a, words = p.parse_known_args(argv)
    documents = [played(release, words, not a.one_by_one) for release in a.debian or [USUAL]]
    print("\n" + table(documents))
    return 0 if good(documents) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
