"""The source `history`: the last ten minutes of the curves, from Prometheus, once at the start and after a gap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx

from sovtui.adapters.figures.answers import Series, device_of, machine_of, mine
from sovtui.adapters.figures.api import matrix
from sovtui.adapters.figures.prometheus import PrometheusSource
from sovtui.adapters.figures.questions import Question, curve_questions, joined, split
from sovtui.adapters.figures.ranges import MOST_BYTES, Ranges, numbers
from sovtui.config.schema import Config
from sovtui.config.specs import names_of, others_of
from sovtui.core.clean import clean
from sovtui.core.events import Curve
from sovtui.core.state import State
from sovtui.ports.clock import Clock
from sovtui.ports.source import Emit

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

SPAN_SECONDS = 600
GAP_SECONDS = 60.0
REPEATED_SECONDS = 30.0
_ENGINE_CURVES = ("engine.decode_tok_s", "engine.prompt_tok_s")
_MEMORY = "node_memory_MemAvailable_bytes"


class HistorySource:
    """Implements `ports.source.Source`."""

    name = "history"
    host = ""
    interval_seconds = 30.0

    def __init__(
        self,
        config: Config,
        prometheus: PrometheusSource,
        client: httpx.AsyncClient,
        clock: Clock,
        *,
        make_adapter: Callable[[], BaseAdapter] | None = None,
    ) -> None:
        """`make_adapter` makes a `requests` adapter onto the link (called in the loop's thread); None: httpx."""
        assert config.prometheus is not None
        self._config, self._prometheus, self._clock = config, prometheus, clock
        timeout = float(config.prometheus.timeout)
        self.timeout_seconds = 3 * timeout + 2
        self._ranges = Ranges(config.prometheus.url, client, timeout, make_adapter=make_adapter)
        self._filled_at: datetime | None = None

    async def poll(self, state: State, emit: Emit) -> str:
        now = self._clock.now()
        if self._filled_at is not None and not self._gap(state, now):
            return "filled"
        if self._prometheus.offset_seconds is None:
            await self._prometheus.poll(state, lambda _: None)  # its clock has to be known first
        asked = self._questions(state)
        if asked:
            end = now.timestamp() - (self._prometheus.offset_seconds or 0.0)
            rows: list[Any] = []
            for part in split(asked, MOST_BYTES):
                rows += await self._ranges.ask(joined(part), end - SPAN_SECONDS, end, self._step())
            # Without a version it may be a VictoriaMetrics that repeats an older value for these last seconds.
            until = math.inf if self._prometheus.version else end - REPEATED_SECONDS
            for curve in curves(self._config, {q.tag: q for q in asked}, rows, self._prometheus.at, until):
                emit(curve)
        self._filled_at = now
        return "filled"

    async def aclose(self) -> None:
        self._ranges.close()

    def _gap(self, state: State, now: datetime) -> bool:
        """Whether the link was away: then the curves have a hole that Prometheus can fill."""
        assert self._filled_at is not None
        if now - self._filled_at < timedelta(seconds=2 * GAP_SECONDS):
            return False
        begin = self._filled_at.timestamp()
        for host in state.hosts.values():
            points = [at for at, _ in host.curves.get(("memory.available_bytes", ""), ()) if at > begin]
            if any(b - a > GAP_SECONDS for a, b in pairwise(points)):
                return True
        return False

    def _step(self) -> int:
        return max(2, math.ceil(self._prometheus.windows_for().speed / 3))

    def _questions(self, state: State) -> list[Question]:
        engines = [q for q in self._prometheus.questions(None) if q.kind == "engine" and q.figure in _ENGINE_CURVES]
        wanted = [*curve_questions(self._config, self._prometheus.windows_for(9100)), *engines]
        return [q for q in wanted if q.host in state.hosts]


def curves(
    config: Config,
    by_tag: Mapping[str, Question],
    rows: Iterable[Any],
    at: Callable[[float], datetime],
    until: float = math.inf,
) -> list[Curve]:
    """The rows of a range query that are curves, up to `until`. `at`: a time of the server by this machine's clock."""
    found: dict[tuple[str, str, str], dict[float, float]] = {}
    by_question: dict[str, list[tuple[dict[str, str], list[Any]]]] = {}
    for labels, values in matrix(rows):
        by_question.setdefault(labels.get("k", ""), []).append((labels, values))
    for tag, series in by_question.items():
        q = by_tag.get(tag)
        if q is None:
            continue
        machines = {machine_of(labels.get("instance", "")) for labels, _ in series}
        if q.kind != "engine":
            own_names, others = names_of(q.host, config.host[q.host]), others_of(config, q.host)
            machines, _ = mine([Series(labels, 0.0) for labels, _ in series], own_names, others)
        index = {m.get("uuid", ""): m.get("index", "0") for m, _ in series if m.get("__name__") == "nvidia_smi_gpu_info"}
        for labels, values in series:
            if q.kind != "engine" and machine_of(labels.get("instance", "")) not in machines:
                continue
            key = _curve_of(q, labels, index)
            if key is not None:
                figure, subject, factor = key
                points = found.setdefault((q.host, figure, subject), {})
                points.update((when, value * factor) for when, value in numbers(values) if when <= until)
    return [
        Curve(host, figure, subject, tuple((at(when).timestamp(), points[when]) for when in sorted(points)))
        for (host, figure, subject), points in found.items()
        if points
    ]


def _curve_of(q: Question, labels: Mapping[str, str], index: Mapping[str, str]) -> tuple[str, str, float] | None:
    name = labels.get("__name__", "")
    if q.kind == "engine":
        return q.figure, q.subject, 1.0
    if q.kind == "cpu":
        return "cpu.use_ratio", "", 1.0
    if q.kind == "memory" and name == _MEMORY:
        return "memory.available_bytes", "", 1.0
    if name == "nvidia_smi_utilization_gpu_ratio":
        return "gpu.use_ratio", clean(index.get(labels.get("uuid", ""), "0"), 40), 1.0
    if name == "DCGM_FI_DEV_GPU_UTIL":
        return "gpu.use_ratio", device_of(labels), 0.01
    return None
