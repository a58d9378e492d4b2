"""An engine's own `/metrics` as numbers, and what two of them say about the time between.

Must not know an engine: names and meanings are in the engines' files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from sovtui.core.clean import clean
from sovtui.ports.errors import Malformed
from sovtui.runtime.pace import Pace

Labels = tuple[tuple[str, str], ...]
Group = Callable[[Mapping[str, str]], object]

MAX_BYTES = 4 << 20
"""Longest page read; a real one has 10 to 75 thousand, a LiteLLM's with many keys hundreds of thousands."""
MAX_SAMPLES = 8000
"""Wanted ones, of one page; a real one has some hundred."""
MAX_LINE = 4096
BEYOND = 1e300
"""Sums of such numbers are none."""
_SLICE = 25
"""Lines that are parsed in one turn."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """The wanted series of one answer."""

    at: datetime
    monotonic: float
    series: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)
    """By name (always with `:` after the engine), then by labels without empty ones."""
    samples: int = 0
    heard: float | None = None
    """This machine's monotonic time when its last byte came; None where that is not known."""
    unread: int = 0
    """Lines that cannot be read."""

    def has(self, *names: str) -> bool:
        """Whether there is a series of any of these names."""
        return any(name in self.series for name in names)

    def named(self, name: str, **labels: str) -> dict[Labels, float]:
        """Series whose labels are these; an empty wanted value means that the label must be absent."""
        found = self.series.get(name, {})
        if not labels:
            return dict(found)
        wanted = labels.items()
        return {key: value for key, value in found.items() if all(dict(key).get(k, "") == v for k, v in wanted)}


def read_scrape(text: str, wanted: re.Pattern[str], at: datetime, monotonic: float) -> Scrape:
    """A page at once; see `in_slices`."""
    parsing = _parsing(text, wanted, at, monotonic)
    while True:
        try:
            next(parsing)
        except StopIteration as end:
            return cast(Scrape, end.value)


async def in_slices(text: str, wanted: re.Pattern[str], at: datetime, monotonic: float) -> Scrape:
    """A page, however long, with rests for the loop; see `runtime.pace`."""
    parsing, pace = _parsing(text, wanted, at, monotonic), Pace()
    while True:
        try:
            size, items = next(parsing)
        except StopIteration as end:
            return cast(Scrape, end.value)
        await pace.turn(size, items)


def _parsing(text: str, wanted: re.Pattern[str], at: datetime, monotonic: float) -> Generator[tuple[int, int], None, Scrape]:
    """Parse the lines whose start `wanted` matches. The rest never meets the parser: it is most of the text.

    A line that cannot be read is left out and counted. Raises `Malformed` where there are too many, or none that can be read.
    """
    kept, begin = list[str](), 0
    while begin < len(text):
        end = text.rfind("\n", begin, begin + _CUT) + 1 or min(len(text), begin + _CUT)
        kept += [line for line in text[begin:end].splitlines() if wanted.match(line)]
        if len(kept) > MAX_SAMPLES:
            raise Malformed(f"its /metrics tells too much: more than {MAX_SAMPLES} samples")
        yield end - begin, 1
        begin = end
    series: dict[str, dict[Labels, float]] = {}
    count, bad, why = 0, 0, ""
    for first in range(0, len(kept), _SLICE):
        lines = kept[first : first + _SLICE]
        try:
            found = _samples(lines)
        except _UNREADABLE:
            found = []
            for line in lines:
                try:
                    found += _samples([line])
                except _UNREADABLE as error:
                    bad, why = bad + 1, why or clean(str(error), 120)
        for name, labels, value in found:
            series.setdefault(name, {})[labels] = value
        count += len(found)
        yield 0, len(lines)
    if bad and not count:
        raise Malformed(f"its /metrics cannot be read: {why}")
    return Scrape(at, monotonic, series, count, unread=bad)


_CUT = 1 << 16
_UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError)
"""What the parser raises on one line or another that is none."""


def _samples(lines: Sequence[str]) -> list[tuple[str, Labels, float]]:
    from prometheus_client.parser import text_string_to_metric_families  # a megabyte that nobody needs beside a Prometheus

    if any(len(line) > MAX_LINE for line in lines):
        raise ValueError("a line is too long")
    found = []
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if abs(sample.value) > BEYOND or not all(isinstance(v, str) for v in sample.labels.values()):
                raise ValueError("it is no number that is measured")
            name = re.sub("^(vllm|sglang|llamacpp)_", r"\1:", sample.name)
            found.append((name, tuple(sorted((k, v) for k, v in sample.labels.items() if v)), float(sample.value)))
    return found


class Between:
    """What happened between two scrapes. `restarted` if any counter went back: then no difference means anything."""

    def __init__(self, before: Scrape, after: Scrape, counters: Iterable[str], *, absent_is_zero: bool) -> None:
        self.before, self.after = before, after
        self.seconds = after.monotonic - before.monotonic
        self._absent_is_zero = absent_is_zero
        old, new = before.series.get(START, {}).values(), after.series.get(START, {}).values()
        self.restarted = bool(old and new and max(new) != max(old)) or any(self._fell(name) for name in counters)

    def _fell(self, name: str) -> bool:
        after, before = self.after.series.get(name), self.before.series.get(name)
        if before is None:
            return False
        if after is None:
            return True
        return any(after.get(labels, 0.0) < value for labels, value in before.items())

    @property
    def usable(self) -> bool:
        return self.seconds > 0.2 and not self.restarted

    def differences(self, name: str, **labels: str) -> dict[Labels, float]:
        """Increase per series; a series that was not there has counted from zero where the engine makes it at its first value."""
        before = self.before.series.get(name, {})
        found = {}
        for key, value in self.after.named(name, **labels).items():
            old = before.get(key, 0.0 if self._absent_is_zero else None)
            if old is not None:
                found[key] = value - old
        return found

    def increase(self, name: str, reduce: Callable[[dict[Labels, float]], float], **labels: str) -> float | None:
        """Increase over all series, or None if there are none."""
        found = self.differences(name, **labels)
        return reduce(found) if found else None

    def buckets(self, name: str, of: Callable[[Labels], bool] | None = None) -> dict[float, float]:
        """Increase per upper edge, over all series or those whose labels `of` takes."""
        found: dict[float, float] = {}
        for labels, value in self.differences(f"{name}_bucket").items():
            edge = _edge(dict(labels).get("le", ""))
            if edge is not None and (of is None or of(labels)):
                found[edge] = found.get(edge, 0.0) + value
        return found

    def quantile(self, q: float, name: str, of: Callable[[Labels], bool] | None = None) -> float:
        """As PromQL's `histogram_quantile`; NaN where nothing was counted."""
        return quantile(q, self.buckets(name, of))

    def mean(self, name: str) -> float:
        """Mean of what the histogram counted; NaN where nothing was."""
        count = sum(self.differences(f"{name}_count").values())
        return sum(self.differences(f"{name}_sum").values()) / count if count > 0 else math.nan


START = "process_start_time_seconds"


def _edge(words: str) -> float | None:
    try:
        edge = float(words)
    except ValueError:
        return None
    return None if math.isnan(edge) else edge


def total(series: dict[Labels, float]) -> float:
    """The sum over all series."""
    return math.fsum(series.values())


def quantile(q: float, buckets: Mapping[float, float]) -> float:
    """Linear within a bucket, from zero; above the last finite edge it is that edge."""
    edges = sorted(buckets)
    if not edges or not math.isinf(edges[-1]) or buckets[edges[-1]] <= 0:
        return math.nan
    rank = q * buckets[edges[-1]]
    low, below = 0.0, 0.0
    for edge in edges:
        count = buckets[edge]
        if count >= rank:
            if math.isinf(edge):
                return low if len(edges) > 1 else math.nan
            return low if count == below else low + (edge - low) * (rank - below) / (count - below)
        low, below = edge, count
    return math.nan
