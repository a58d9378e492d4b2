"""A stretch of the past: a box that dies in it, what is unknown then, and every way in which asking can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from sovtui.adapters.figures.past import RangePast, as_of
from sovtui.adapters.figures.ranges import Ranges
from sovtui.adapters.links.sync_http import LinkAdapter
from sovtui.config.schema import AlertmanagerConfig
from sovtui.core.events import AlertsSeen, ReceiptsSeen
from sovtui.core.marks import MarkKind
from sovtui.core.model import ActionRun, Alert, EnginePhase, LinkPhase, Step
from sovtui.core.modes import Heat, mode_view
from sovtui.core.reading import Status
from sovtui.core.state import State
from sovtui.ports.errors import Malformed, PortError, TimedOut, Unreachable
from tests.adapters.figures.estate import ENGINES, NOW, Room, config, source, spark, vector
from tests.fakes.world import FakeClock

OFFSET = 100.0
"""This clock minus the server's."""
DIED = NOW - timedelta(minutes=12)


def server(moment: datetime) -> float:
    return moment.timestamp() - OFFSET


def matrix(request: httpx.Request) -> httpx.Response:
    """Memory, the engine and its unit until the box dies; an alert from two minutes after."""
    words = dict(httpx.QueryParams(request.url.query)) | dict(httpx.QueryParams(request.content))
    if request.url.path != "/api/v1/query_range":
        return vector(({"k": "now"}, server(NOW))) if request.method == "POST" else httpx.Response(404)
    start, end, step = float(words["start"]), float(words["end"]), int(words["step"])
    steps = [start + n * step for n in range(int((end - start) // step) + 1)]
    died = server(DIED)
    rows: list[dict[str, Any]] = []

    def row(k: str, labels: dict[str, str], value: Callable[[float], float], since: float, until: float) -> None:
        values = [[at, str(value(at))] for at in steps if since <= at <= until]
        if f'"{k}"' in words["query"] and values:
            rows.append({"metric": {"k": k, **labels}, "values": values})

    node = {"instance": "spark:9100"}
    for name, size in (("MemTotal", 128e9), ("MemAvailable", 40e9)):
        row("m0", {**node, "__name__": f"node_memory_{name}_bytes"}, lambda at, size=size: size, 0.0, died)  # type: ignore[misc]
    row("t0", node, lambda at: at - 1.0, 0.0, died)
    row("u0", {**node, "name": "vllm-qwen.service", "state": "active"}, lambda at: 1.0, 0.0, died - 60)
    row("u0", {**node, "name": "vllm-qwen.service", "state": "failed"}, lambda at: 1.0, died - 59, died)
    row("e0_0t", {}, lambda at: at - 1.0, 0.0, died - 60)
    row("e0_0_0", {}, lambda at: 57.0, 0.0, died - 60)
    row("e0_0_2", {}, lambda at: 0.0, 0.0, died - 60)
    firing = {"__name__": "ALERTS", "alertname": "BoxDown\x1b[2J", "severity": "critical", "alertstate": "firing"}
    row("al", firing, lambda at: 1.0, died + 120, 9e12)
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": rows}})


def past(answer: Callable[[httpx.Request], httpx.Response], *, library: bool = False) -> tuple[RangePast, Room]:
    made = replace(config(spark=spark()), alertmanager=AlertmanagerConfig(url="http://am:9093"))
    clock = FakeClock()
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://prometheus:9090")
    loop = asyncio.get_running_loop()
    adapter = (lambda: LinkAdapter(loop, http, timeout_seconds=60)) if library else None
    ranges = Ranges("http://prometheus:9090", http, 2.0, make_adapter=adapter)
    return RangePast(made, ENGINES, source(made, matrix, clock), ranges, clock), Room(made)


async def states(answer: Callable[[httpx.Request], httpx.Response] = matrix, **words: Any) -> Callable[[float], State]:
    """The state by seconds before (negative) or after the death."""
    asked, room = past(answer, **words)
    stretch = await asked.stretch(room.state, NOW - timedelta(minutes=30), NOW - timedelta(minutes=1))
    return lambda seconds: stretch.at(DIED + timedelta(seconds=seconds))


@pytest.mark.parametrize("library", [True, False])
async def test_what_the_box_did_before_it_died(library: bool) -> None:
    at = await states(library=library)
    host = at(-300).hosts["spark"]
    assert host.link.phase is LinkPhase.UP
    assert host.reading("memory.available_bytes").fresh_value == 40e9
    assert host.reading("engine.decode_tok_s", "qwen").fresh_value == 57.0
    assert host.services["vllm-qwen.service"].active == "active"
    assert host.engines["qwen"].phase is EnginePhase.READY
    assert mode_view(host, host.spec.modes[0]).heat is Heat.HOT
    broken = at(-30).hosts["spark"]
    assert broken.services["vllm-qwen.service"].active == "failed"
    assert mode_view(broken, broken.spec.modes[0]).heat is Heat.BROKEN
    assert broken.reading("memory.available_bytes").fresh_value == 40e9


async def test_an_engine_that_nobody_scraped_is_unknown_but_its_services_ran() -> None:
    def unscraped(request: httpx.Request) -> httpx.Response:
        answer = matrix(request).json() if request.url.path == "/api/v1/query_range" else None
        if answer is None:
            return matrix(request)
        rows = [row for row in answer["data"]["result"] if not row["metric"]["k"].startswith("e0")]
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": rows}})

    host = (await states(unscraped))(-300).hosts["spark"]
    view = mode_view(host, host.spec.modes[0])
    assert (view.heat, view.reason) == (Heat.UNKNOWN, "its services ran, but it gave Prometheus no figures then")


async def test_after_its_death_all_is_unknown_and_nothing_is_zero() -> None:
    at = await states()
    state = at(300)
    host = state.hosts["spark"]
    assert host.link.phase is LinkPhase.DOWN and "no samples" in host.link.reason
    assert host.link.since is not None and abs((host.link.since - DIED).total_seconds()) < 15
    for key in ("memory.available_bytes", "memory.total_bytes", "cpu.use_ratio"):
        assert host.reading(key).value is None and host.reading(key).status is Status.UNKNOWN
    assert host.reading("engine.running", "qwen").value is None
    assert host.services["vllm-qwen.service"].active == "unknown"
    assert mode_view(host, host.spec.modes[0]).heat is Heat.UNKNOWN


async def test_a_real_zero_stays_one() -> None:
    at = await states()
    assert at(-300).hosts["spark"].reading("engine.running", "qwen").fresh_value == 0.0


async def test_ages_are_those_of_the_moment_and_clocks_may_differ() -> None:
    at = await states()
    state = at(-300)
    age = state.hosts["spark"].reading("memory.available_bytes").age_seconds(state.now)
    assert state.now == DIED - timedelta(seconds=300)
    assert age is not None and 0 <= age < 12


async def test_curves_end_at_the_moment() -> None:
    at = await states()
    points = at(-300).hosts["spark"].curves["memory.available_bytes", ""]
    moment = (DIED - timedelta(seconds=300)).timestamp()
    assert moment - 11 < points[-1][0] <= moment


async def test_alerts_begin_when_they_began_and_their_text_is_inert() -> None:
    at = await states()
    assert at(60).alerts == ()
    (alert,) = at(400).alerts
    assert alert.name == "BoxDown" and alert.severity == "critical"
    assert alert.since is not None and abs((alert.since - DIED).total_seconds() - 120) <= 10
    assert ("alertname", "BoxDown\x1b[2J") in alert.labels, "labels stay exact"


async def test_an_alert_that_still_fires_keeps_its_summary() -> None:
    asked, room = past(matrix)
    labels = (("alertname", "BoxDown\x1b[2J"), ("severity", "critical"))
    room.put(AlertsSeen((Alert("f", "BoxDown", "critical", summary="spark is gone", labels=labels),), NOW))
    stretch = await asked.stretch(room.state, NOW - timedelta(minutes=30), NOW)
    (alert,) = stretch.at(NOW - timedelta(minutes=2)).alerts
    assert (alert.fingerprint, alert.summary) == ("f", "spark is gone")


async def test_the_last_sample_the_failure_and_the_alert_are_marked() -> None:
    asked, room = past(matrix)
    stretch = await asked.stretch(room.state, NOW - timedelta(minutes=30), NOW)
    found = {(mark.kind, mark.words) for mark in stretch.marks}
    assert found == {
        (MarkKind.ALERT, "BoxDown fires"),
        (MarkKind.LINK, "spark gave its last sample"),
        (MarkKind.SERVICE, "vllm-qwen.service failed"),
    }


async def test_where_prometheus_itself_was_silent_alerts_are_not_said_to_be_none() -> None:
    at = await states()
    state = at(90)  # the box is gone and no alert fires yet: nothing shows that anybody was there
    assert state.alerts_at is None
    assert state.sources["prometheus", ""].ok is False


async def test_actions_are_as_they_stood_then() -> None:
    began = DIED - timedelta(minutes=5)
    steps = (Step("stop", "done", began, 10.0), Step("start", "failed", began + timedelta(seconds=10), 50.0))
    ended = ActionRun("1", "switch", "qwen", "me", began, steps, outcome="failed", reason="it broke", seconds=60.0)
    asked, room = past(matrix)
    room.put(ReceiptsSeen("spark", (ended,)))
    stretch = await asked.stretch(room.state, NOW - timedelta(minutes=30), NOW)
    assert stretch.at(began - timedelta(seconds=1)).hosts["spark"].receipts == ()
    (half,) = stretch.at(began + timedelta(seconds=30)).hosts["spark"].receipts
    assert half.running and [step.state for step in half.steps] == ["done", "running"]
    assert stretch.at(began + timedelta(seconds=61)).hosts["spark"].receipts == (ended,)
    assert as_of(ended, began + timedelta(seconds=5)).steps[0].state == "running"


async def test_an_expression_that_is_refused_costs_only_itself() -> None:
    def picky(request: httpx.Request) -> httpx.Response:
        words = str(httpx.QueryParams(request.url.query)) + request.content.decode()
        if request.url.path == "/api/v1/query_range" and "num_requests_waiting" in words:
            return httpx.Response(400, json={"status": "error", "errorType": "bad_data", "error": "no"})
        return matrix(request)

    at = await states(picky)
    host = at(-300).hosts["spark"]
    assert host.reading("memory.available_bytes").fresh_value == 40e9
    assert host.reading("engine.decode_tok_s", "qwen").fresh_value == 57.0
    assert host.reading("engine.waiting", "qwen").value is None


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(503, text="Service Unavailable"), Unreachable),
        (httpx.Response(200, html="<html></html>"), Malformed),
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ReadTimeout("slow"), TimedOut),
    ],
)
async def test_each_failure_is_one_of_ours(library: bool, answer: httpx.Response | Exception, kind: type[PortError]) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/query_range":
            return matrix(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    asked, room = past(serve, library=library)
    with pytest.raises(kind) as failed:
        await asked.stretch(room.state, NOW - timedelta(minutes=30), NOW)
    assert len(failed.value.sentence()) < 300, "no query of pages in a sentence"
