"""A row of the table of `make engines`: a figure as sovtui shows it, and as a client counted it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`shown` is None where sovtui says that it is not told."""

    what: str
    figure: str
    unit: str
    shown: float | str | None
    counted: float | str | None
    note: str = ""


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
