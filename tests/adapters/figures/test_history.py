"""Curves by prometheus-api-client in a thread, and by httpx; every way that the library can fail."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from sovtui.adapters.figures.history import HistorySource
from sovtui.adapters.links.sync_http import LinkAdapter
from sovtui.config.schema import ModeConfig
from sovtui.core.events import Curve, Sample, Samples
from sovtui.core.reading import fresh
from sovtui.ports.errors import Malformed, PortError, TimedOut, Unreachable
from tests.adapters.figures.estate import NOW, Room, config, source, spark, vector
from tests.fakes.world import FakeClock

DATA = Path(__file__).parents[2] / "data"
SERVER_TIME = NOW.timestamp() - 100.25
BUILD = {"status": "success", "data": {"version": "3.5.3"}}


def matrix(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/api/v1/status/buildinfo":
        return httpx.Response(200, json=BUILD)
    if request.url.path != "/api/v1/query_range":
        return vector(({"k": "now"}, SERVER_TIME)) if request.method == "POST" else httpx.Response(404)
    values = [[SERVER_TIME - 20, "1"], [SERVER_TIME - 10, "NaN"], [SERVER_TIME, "3"]]
    rows = [
        {"metric": {"k": "m0", "__name__": "node_memory_MemAvailable_bytes", "instance": "a:9100"}, "values": values},
        {"metric": {"k": "g0", "__name__": "DCGM_FI_DEV_GPU_UTIL", "gpu": "1", "instance": "a:9400"}, "values": values},
        {
            "metric": {"k": "g0", "__name__": "nvidia_smi_utilization_gpu_ratio", "uuid": "u", "instance": "a:9835"},
            "values": values,
        },
        {
            "metric": {"k": "g0", "__name__": "nvidia_smi_gpu_info", "uuid": "u", "index": "0", "instance": "a:9835"},
            "values": values,
        },
        {"metric": {"k": "e0_0_0"}, "values": values},
        {"metric": {"k": "nobody-asked"}, "values": values},
    ]
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": rows}})


def make(answer: object, library: bool, clock: FakeClock, live: object = matrix) -> tuple[HistorySource, Room]:
    made = config(spark=spark())
    transport = httpx.MockTransport(answer)  # type: ignore[arg-type]
    http = httpx.AsyncClient(transport=transport, base_url="http://prometheus:9090")
    loop = asyncio.get_running_loop()

    def adapter() -> LinkAdapter:
        return LinkAdapter(loop, http, timeout_seconds=60)

    prometheus = source(made, live, clock)  # type: ignore[arg-type]
    return HistorySource(made, prometheus, http, clock, make_adapter=adapter if library else None), Room(made)


@pytest.mark.parametrize("library", [True, False])
async def test_the_last_seconds_of_a_store_that_repeats_itself_are_left_out(library: bool) -> None:
    """An old VictoriaMetrics tells no version, and for the last thirty seconds what was before them."""

    def untold(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404) if "buildinfo" in request.url.path else matrix(request)

    asked: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url.query.decode()} {request.content.decode()}")
        values = [[SERVER_TIME - at, "7"] for at in (60, 45, 30, 15, 0)]
        row = {"metric": {"k": "m0", "__name__": "node_memory_MemAvailable_bytes", "instance": "a:9100"}, "values": values}
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": [row]}})

    history, room = make(serve, library, FakeClock(), untold)
    await history.poll(room.state, room.put)
    (curve,) = (e for e in room.events if isinstance(e, Curve))
    now = NOW.timestamp()
    assert curve.points == ((now - 60, 7.0), (now - 45, 7.0), (now - 30, 7.0))
    assert all("nocache=1" in query and "latency_offset=1ms" in query for query in asked)


@pytest.mark.parametrize("library", [True, False])
async def test_curves_by_our_clock_without_the_holes(library: bool) -> None:
    clock = FakeClock()
    history, room = make(matrix, library, clock)
    await history.poll(room.state, room.put)
    curves = {(e.figure, e.subject): e.points for e in room.events if isinstance(e, Curve)}
    now = NOW.timestamp()
    assert curves.keys() == {
        ("memory.available_bytes", ""),
        ("gpu.use_ratio", "0"),
        ("gpu.use_ratio", "1"),
        ("engine.decode_tok_s", "qwen"),
    }
    assert curves["memory.available_bytes", ""] == ((now - 20, 1.0), (now, 3.0))
    assert curves["gpu.use_ratio", "1"][-1] == (now, 0.03)
    room.events.clear()
    await history.poll(room.state, room.put)
    assert not room.events  # once is enough


@pytest.mark.parametrize("library", [True, False])
async def test_a_failed_fill_is_tried_again(library: bool) -> None:
    """The library closes what it was lent; the next query needs it."""
    failures = [httpx.Response(503, text="Service Unavailable")]

    def serve(request: httpx.Request) -> httpx.Response:
        return failures.pop() if failures and "query_range" in request.url.path else matrix(request)

    history, room = make(serve, library, FakeClock())
    with pytest.raises(Unreachable):
        await history.poll(room.state, room.put)
    assert await history.poll(room.state, room.put) == "filled" and room.events


@pytest.mark.parametrize("library", [True, False])
async def test_many_engines_are_asked_for_in_addresses_that_a_proxy_takes(library: bool) -> None:
    modes = tuple(ModeConfig(name=f"m{n}", engine="vllm", url=f"http://127.0.0.1:{8000 + n}") for n in range(12))
    made, clock, lengths = config(spark=spark(mode=modes)), FakeClock(), []

    def serve(request: httpx.Request) -> httpx.Response:
        lengths.append(len(request.url.raw_path))
        return matrix(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(serve), base_url="http://prometheus:9090")
    loop = asyncio.get_running_loop()
    make_adapter = (lambda: LinkAdapter(loop, http, timeout_seconds=60)) if library else None
    history = HistorySource(made, source(made, matrix, clock), http, clock, make_adapter=make_adapter)
    room = Room(made)
    assert await history.poll(room.state, room.put) == "filled" and room.events
    assert len(lengths) > 1 and max(lengths) < 8000


@pytest.mark.parametrize("library", [True, False])
async def test_a_gap_is_filled_again(library: bool) -> None:
    clock = FakeClock()
    history, room = make(matrix, library, clock)
    await history.poll(room.state, room.put)
    for seconds in (10, 200, 10):
        clock.passed += seconds
        room.put(Samples("spark", (Sample("memory.available_bytes", fresh(5.0, clock.now(), "probe")),)))
    room.events.clear()
    await history.poll(room.state, room.put)
    assert any(isinstance(e, Curve) for e in room.events)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400, json=json.loads((DATA / "prometheus/error.range-too-many-points.json").read_text())), Malformed),
        (httpx.Response(422, json=json.loads((DATA / "prometheus/error.timeout-422.json").read_text())), TimedOut),
        (httpx.Response(503, text="Service Unavailable"), Unreachable),
        (httpx.Response(200, html="<html></html>"), Malformed),
        (httpx.Response(200, json={"status": "success"}), Malformed),
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ReadTimeout("slow"), TimedOut),
    ],
)
async def test_each_failure_is_one_of_ours(library: bool, answer: httpx.Response | Exception, kind: type[PortError]) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    history, room = make(serve, library, FakeClock())
    with pytest.raises(kind):
        await history.poll(room.state, room.put)
    assert not room.events
