"""One row of the table: what is measured, its bar, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A measured figure. `holds` is None for what has no bar or could not be measured."""

    name: str
    figure: str
    bar: str
    measured: str
    holds: bool | None
    details: dict[str, Any] = field(default_factory=dict)
    """Everything behind it, for `--json`; names carry their units."""

    @property
    def verdict(self) -> str:
        return {True: "holds", False: "OVER", None: ""}[self.holds]


def table(rows: Sequence[Row]) -> str:
    """The rows as text in columns."""
    cells = [("figure", "bar", "measured (median)", "")] + [(r.figure, r.bar, r.measured, r.verdict) for r in rows]
    wide = [max(len(line[i]) for line in cells) for i in range(4)]
    lines = ["  ".join(text.ljust(w) for text, w in zip(line, wide, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in wide).rstrip(), *lines[1:]])
