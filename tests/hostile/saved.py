"""Rows that were played, kept in a file as they are played: a table that is broken off goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.hostile.stage import Row

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "build" / "hostile.jsonl"


def code(kind: str) -> str:
    """What is played, as a short word: another wherever a line of the program, of this folder or of the kind's cases is another."""
    told = hashlib.sha256()
    here = Path(__file__).parent
    for file in sorted([*(ROOT / "sovtui").rglob("*.py"), *here.glob("*.py"), here / "kinds" / f"{kind}.py"]):
        told.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return told.hexdigest()[:12]


class Saved:
    """The newest row of each case, and which code it was played on."""

    def __init__(self, place: Path = PLACE) -> None:
        self._place = place
        self._codes: dict[str, str] = {}
        self._found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in place.read_text().splitlines():
                told = json.loads(line)
                self._found[told["row"]["kind"], told["row"]["name"]] = told["code"], told["row"]

    def row(self, kind: str, name: str) -> Row | None:
        """As it was played on this code."""
        played_on, row = self._found.get((kind, name), ("", {}))
        return Row(**row) if played_on == self._code(kind) else None

    def keep(self, row: Row) -> None:
        now = self._code(row.kind)
        self._found[row.kind, row.name] = now, asdict(row)
        self._place.parent.mkdir(parents=True, exist_ok=True)
        with self._place.open("a") as file:
            file.write(json.dumps({"code": now, "row": asdict(row)}) + "\n")

    def _code(self, kind: str) -> str:
        """As it was when this began."""
        if kind not in self._codes:
            self._codes[kind] = code(kind)
        return self._codes[kind]
