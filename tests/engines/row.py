"""A row of the table of `make engines`: a figure as sovtui shows it, and as a client counted it."""

from __future__ import annotations

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
