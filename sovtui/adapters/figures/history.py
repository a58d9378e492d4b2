"""The source `history`: the last ten minutes of the curves, from Prometheus, once at the start and after a gap.

Uses prometheus-api-client in a thread, through the link; where that is not installed (a phone), httpx. Never on the live path.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx

from sovtui.adapters.figures.answers import SENTINEL, Series, machine_of, mine
from sovtui.adapters.figures.api import data_of, refusal
from sovtui.adapters.figures.prometheus import PrometheusSource
from sovtui.adapters.figures.questions import Question, curve_questions, joined, names_of
from sovtui.adapters.links.http import request
from sovtui.config.schema import Config
from sovtui.core.clean import clean
from sovtui.core.events import Curve
from sovtui.core.state import State
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Malformed, PortError, TimedOut, Unreachable
from sovtui.ports.source import Emit

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

SPAN_SECONDS = 600
GAP_SECONDS = 60.0
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
        """`make_adapter` makes the `requests` adapter onto the link (called once, in the loop's thread); None: httpx."""
        assert config.prometheus is not None
        self._config, self._prometheus, self._client, self._clock = config, prometheus, client, clock
        self._url = config.prometheus.url.rstrip("/")
        self._timeout = float(config.prometheus.timeout)
        self.timeout_seconds = 3 * self._timeout + 2
        self._make_adapter = make_adapter
        self._adapter: BaseAdapter | None = None
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
            rows = await self._range(joined(asked), end - SPAN_SECONDS, end, self._step())
            for curve in self._curves({q.tag: q for q in asked}, rows):
                emit(curve)
        self._filled_at = now
        return "filled"

    async def aclose(self) -> None:
        if self._adapter is not None:
            self._adapter.close()

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

    async def _range(self, query: str, start: float, end: float, step: int) -> list[Any]:
        if self._make_adapter is not None:
            try:
                import prometheus_api_client  # noqa: F401  (not on a phone)
            except ImportError:
                pass
            else:
                return await self._by_library(query, start, end, step)
        form = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": str(step)}
        answer = await request(self._client, "POST", "/api/v1/query_range", data=form, idempotent=True)
        result = data_of(answer).get("result")
        return result if isinstance(result, list) else []

    async def _by_library(self, query: str, start: float, end: float, step: int) -> list[Any]:
        if self._adapter is None:
            assert self._make_adapter is not None
            self._adapter = self._make_adapter()
        adapter = self._adapter
        try:
            async with asyncio.timeout(self._timeout + 1):
                return await asyncio.to_thread(custom_query_range, self._url, adapter, self._timeout, query, start, end, step)
        except TimeoutError:
            raise TimedOut(f"Prometheus did not tell the history within {self._timeout:g} s") from None

    def _curves(self, by_tag: Mapping[str, Question], rows: list[Any]) -> list[Curve]:
        found: dict[tuple[str, str, str], dict[float, float]] = {}
        by_question: dict[str, list[tuple[dict[str, str], list[Any]]]] = {}
        for row in rows:
            labels = row.get("metric", {}) if isinstance(row, dict) else {}
            values = row.get("values") if isinstance(row, dict) else None
            if isinstance(labels, dict) and isinstance(values, list):
                by_question.setdefault(str(labels.get("k", "")), []).append((labels, values))
        for tag, series in by_question.items():
            q = by_tag.get(tag)
            if q is None:
                continue
            machines = {machine_of(labels.get("instance", "")) for labels, _ in series}
            if q.kind != "engine" and len(machines) > 1:
                machines, _ = mine([Series(labels, 0.0) for labels, _ in series], names_of(q.host, self._config.host[q.host]))
            index = {m.get("uuid", ""): m.get("index", "0") for m, _ in series if m.get("__name__") == "nvidia_smi_gpu_info"}
            for labels, values in series:
                if q.kind != "engine" and machine_of(labels.get("instance", "")) not in machines:
                    continue
                key = _curve_of(q, labels, index)
                if key is not None:
                    figure, subject, factor = key
                    points = found.setdefault((q.host, figure, subject), {})
                    points.update((at, value * factor) for at, value in _numbers(values))
        return [
            Curve(host, figure, subject, tuple((self._prometheus.at(at).timestamp(), points[at]) for at in sorted(points)))
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
        return "gpu.use_ratio", clean(labels.get("gpu", "0"), 40), 0.01
    return None


def _numbers(values: list[Any]) -> list[tuple[float, float]]:
    """Missing steps are missing here too; NaN is no point."""
    found = []
    for pair in values:
        try:
            at, value = float(pair[0]), float(pair[1])
        except (TypeError, ValueError, IndexError):
            continue
        if math.isfinite(value) and abs(value) < SENTINEL:
            found.append((at, value))
    return found


def custom_query_range(
    url: str, adapter: BaseAdapter, timeout: float, query: str, start: float, end: float, step: int
) -> list[Any]:
    """One range query by prometheus-api-client, in a thread; its four families of exceptions become ours."""
    import re

    import requests
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from urllib3.util import Retry

    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy of the environment on the way to the link
            # Its own retries turn one second into ten.
            connect = PrometheusConnect(url=url, session=session, retry=Retry(total=0), timeout=timeout)
            # The constructor mounts an adapter of its own for exactly this address: ours has to come after it.
            session.mount(url, adapter)
            found = connect.custom_query_range(
                query, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC), str(step)
            )
    except PortError:
        raise
    except PrometheusApiClientException as error:
        text = str(error)
        status = re.search(r"HTTP Status Code (\d+)", text)
        raise refusal(int(status[1]) if status else 0, "", text) from error
    except requests.JSONDecodeError as error:
        raise Malformed("Prometheus answered something that is not JSON", "Look at the url of [prometheus]") from error
    except requests.Timeout as error:
        raise TimedOut(f"Prometheus did not tell the history within {timeout:g} s") from error
    except requests.RequestException as error:
        raise Unreachable(f"Prometheus did not tell the history: {clean(str(error), 200)}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise Malformed(f"Prometheus' history cannot be read: {clean(str(error), 120)}") from error
    return found if isinstance(found, list) else []
