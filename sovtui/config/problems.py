"""What is wrong with a configuration, in words. Apart from `load`, which takes as long to import as half of a start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sovtui.core.clean import clean


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `str()` is one line for the operator, safe to print."""

    file: str
    line: int
    """0 where no line can be told (the file could not be read)."""
    key: str
    """`host.spark.mode[0].kye`; empty for the file itself."""
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return clean(f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}")


class ConfigError(Exception):
    """The configuration cannot be used. Holds all problems, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
