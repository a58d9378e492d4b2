"""One query for everything, and what happens when it goes wrong. The PromQL itself is tested against the real thing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sovtui.adapters.engines.base import Windows
from sovtui.adapters.figures import questions as ask
from sovtui.adapters.figures.answers import HostAnswer, Series, take_gpus, take_memory, take_units
from sovtui.adapters.figures.api import _form
from sovtui.config.schema import AlertmanagerConfig, BackupConfig, HostConfig, ModeConfig
from sovtui.core.events import AlertsSeen, BackupsSeen, LinkChanged, Sample, Samples, ServicesSeen
from sovtui.core.issues import issues
from sovtui.core.model import Link, LinkPhase, Service
from sovtui.core.reading import Status, fresh
from sovtui.ports.errors import Malformed, PortError, Refused, TimedOut, Unreachable
from tests.adapters.figures.estate import NOW, Room, config, source, spark, vector
from tests.fakes.world import FakeClock

DATA = Path(__file__).parents[2] / "data"
SERVER_TIME = NOW.timestamp() - 7200.25  # this machine's clock is two hours ahead


def asked(request: httpx.Request) -> str:
    return parse_qs(request.content.decode())["query"][0]


def series_of(path: str) -> list[Series]:
    """A recorded page as Prometheus would answer a selector."""
    text = (DATA / path).read_text()
    return [
        Series({**s.labels, "__name__": s.name, "instance": "spark:9100"}, s.value)
        for family in text_string_to_metric_families(text)
        for s in family.samples
    ]


Rows = dict[str, list[tuple[dict[str, str], float]]]


class Server:
    """Answers the batched query from rows by tag, everything else as a small Prometheus."""

    def __init__(self, rows: Rows | None = None, bad: tuple[str, ...] = ()) -> None:
        self.rows = rows or {}
        self.bad = bad
        self.queries: list[str] = []
        self.time = SERVER_TIME

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/targets":
            return httpx.Response(200, json=json.loads((DATA / "prometheus/targets.json").read_text()))
        if request.url.path == "/api/v1/status/buildinfo":
            return httpx.Response(200, json=json.loads((DATA / "prometheus/status-buildinfo.json").read_text()))
        assert request.method == "POST" and request.url.path == "/api/v1/query"
        query = asked(request)
        self.queries.append(query)
        if any(word in query for word in self.bad):
            body = {"status": "error", "errorType": "bad_data", "error": "1:11: parse error: unclosed left parenthesis"}
            return httpx.Response(400, json=body)
        found = [({"k": "now"}, self.time)] if '"now"' in query else []
        for tag, rows in self.rows.items():
            if f'"{tag}"' in query:
                found += [({"k": tag, **labels}, value) for labels, value in rows]
        return vector(*found, at=self.time)


def node(**values: float) -> list[tuple[dict[str, str], float]]:
    return [({"__name__": f"node_memory_{name}_bytes", "instance": "spark:9100"}, v) for name, v in values.items()]


async def test_one_post_per_poll_and_times_by_our_clock() -> None:
    made = config(spark=spark())
    server = Server({"m0": node(MemTotal=100.0, MemAvailable=40.0), "t0": [({"instance": "spark:9100"}, SERVER_TIME - 3.0)]})
    room, clock = Room(made), FakeClock()
    prometheus = source(made, server, clock)
    assert (await prometheus.poll(room.state, room.put)).startswith("3.5.3")
    host = room.state.hosts["spark"]
    reading = host.reading("memory.available_bytes")
    assert (reading.value, reading.source) == (40.0, "prometheus")
    assert reading.at == NOW - timedelta(seconds=3)  # three seconds old, though the clocks are hours apart
    assert len(server.queries) == 1
    missing = host.reading("memory.droppable_bytes")
    assert missing.status is Status.UNKNOWN and missing.reason == "Prometheus has no such series for spark" and missing.at == NOW
    room.events.clear()
    clock.passed, server.time = 1.003, SERVER_TIME + 1.0
    await prometheus.poll(room.state, room.put)
    assert room.state.hosts["spark"] is host  # the same sample at the next poll is no change, and so no point of a curve


async def test_a_clock_that_is_set_is_followed() -> None:
    made = config(spark=spark())
    server, clock = Server(), FakeClock()
    prometheus = source(made, server, clock)
    await prometheus.poll(Room(made).state, lambda _: None)
    assert prometheus.offset_seconds == pytest.approx(7200.25)
    server.time += 3600.0
    await prometheus.poll(Room(made).state, lambda _: None)
    assert prometheus.offset_seconds == pytest.approx(3600.25)


async def test_a_server_that_cuts_its_time_to_the_second_makes_nothing_younger() -> None:
    """VictoriaMetrics: the sample of a second ago must not seem to be of now."""
    made = config(spark=spark())
    server, clock = Server({"m0": node(MemAvailable=40.0), "t0": [({"instance": "spark:9100"}, SERVER_TIME - 1.0)]}), FakeClock()
    room, prometheus = Room(made), source(made, server, clock)
    for passed in (0.0, 0.4, 0.8):
        clock.passed, server.time = passed, float(int(SERVER_TIME + passed))
        await prometheus.poll(room.state, room.put)
    assert prometheus.offset_seconds is not None and -0.5 < prometheus.offset_seconds - 7200.25 <= 0.001
    at = room.state.hosts["spark"].reading("memory.available_bytes").at
    assert at is not None and NOW - timedelta(seconds=1.5) <= at <= NOW - timedelta(seconds=0.99)


async def test_live_figures_are_asked_of_victoriametrics_as_of_now() -> None:
    """It answers as of thirty seconds ago unless told not to, and its own clock seems to say so too."""
    made, bodies = config(spark=spark()), []

    def serve(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return vector(({"k": "now"}, SERVER_TIME))

    await source(made, serve).poll(Room(made).state, lambda _: None)
    assert b"nocache=1" in bodies[-1] and b"latency_offset=1ms" in bodies[-1]


async def test_no_query_is_longer_than_victoriametrics_takes() -> None:
    modes = tuple(ModeConfig(name=f"m{n}", engine="vllm", url=f"http://127.0.0.1:{8000 + n}") for n in range(12))
    made, server = config(spark=spark(mode=modes)), Server()
    prometheus = source(made, server)
    await prometheus.poll(Room(made).state, lambda _: None)
    assert sum(map(len, server.queries)) > 3 * 16384 and max(map(len, server.queries)) < 16384
    asked = {q.expression for q in prometheus.questions(None)}
    assert all(any(expression in query for query in server.queries) for expression in asked)


async def test_a_proxy_that_lets_only_queries_pass_is_enough() -> None:
    """A tenant's proxy refuses targets and build information."""
    made = config(spark=spark())

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/query":
            return httpx.Response(403, text="forbidden for this tenant")
        return vector(({"k": "now"}, SERVER_TIME), ({"k": "m0", "__name__": "node_memory_MemTotal_bytes"}, 5.0))

    room = Room(made)
    await source(made, serve).poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("memory.total_bytes").value == 5.0


async def test_a_failed_source_is_not_a_missing_series() -> None:
    made = config(spark=spark())
    cases: list[tuple[httpx.Response | Exception, type[PortError], str]] = [
        (httpx.Response(503, text="Service Unavailable"), Unreachable, "starting or down"),
        (httpx.Response(401, text="Unauthorized"), Refused, "wants a login"),
        (httpx.Response(404, text="404 page not found"), Malformed, "path prefix"),
        (httpx.Response(200, html="<html>login</html>"), Malformed, "web page"),
        (httpx.Response(200, json=[1]), Malformed, "not its API"),
        (httpx.Response(503, json=recorded("error.timeout-503.json")), TimedOut, "in time"),
        (httpx.Response(422, json=recorded("error.timeout-422.json")), TimedOut, "in time"),
        (httpx.ConnectError("refused"), Unreachable, "failed"),
        (httpx.ReadTimeout("slow"), TimedOut, "no answer"),
    ]
    for answer, kind, words in cases:

        def serve(request: httpx.Request, answer: httpx.Response | Exception = answer) -> httpx.Response:
            if isinstance(answer, Exception):
                raise answer
            return answer

        room = Room(made)
        with pytest.raises(kind) as raised:
            await source(made, serve).poll(room.state, room.put)
        assert words in raised.value.sentence(), raised.value.sentence()
        assert not room.events


def recorded(name: str) -> object:
    return json.loads((DATA / "prometheus" / name).read_text())


async def test_one_bad_expression_is_found_left_out_and_named() -> None:
    backups = (
        BackupConfig(name="nas", service="n.service", metric="good_metric"),
        BackupConfig(name="cloud", service="c.service", metric="broken("),
    )
    made = config(spark=spark(backup=backups))
    rows: Rows = {"m0": node(MemTotal=100.0), "b0_0": [({}, 1.795e9)]}
    server, room = Server(rows, bad=("broken(",)), Room(made)
    prometheus = source(made, server)
    await prometheus.poll(room.state, room.put)
    assert len(server.queries) > 10  # all at once, then each
    host = room.state.hosts["spark"]
    assert host.reading("memory.total_bytes").value == 100.0
    assert "parse error" in host.backups["cloud"].reason
    assert host.backups["nas"].last_success_at is not None and host.backups["nas"].reason == ""
    server.queries.clear()
    await prometheus.poll(room.state, room.put)
    assert len(server.queries) == 1 and "broken(" not in server.queries[0]


async def test_too_much_at_once_is_asked_in_parts() -> None:
    made = config(spark=spark())

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/query":
            return httpx.Response(404)
        if asked(request).count("label_replace") > 15:
            return httpx.Response(422, json=recorded("error.too-many-samples.json"))
        return vector(({"k": "now"}, SERVER_TIME))

    prometheus, room = source(made, serve), Room(made)
    for _ in range(3):
        await prometheus.poll(room.state, room.put)
    assert prometheus._parts > 1 and not prometheus._bad


async def test_if_all_is_refused_it_is_not_prometheus() -> None:
    made = config(spark=spark())
    with pytest.raises(Malformed):
        await source(made, Server(bad=("k",))).poll(Room(made).state, lambda _: None)


async def test_engines_whose_units_do_not_run_are_not_asked_for() -> None:
    made = config(spark=spark())
    room, server = Room(made), Server({"e0_0t": [({}, SERVER_TIME - 1)], "e0_0_2": [({}, 3.0)]})
    prometheus = source(made, server)
    await prometheus.poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("engine.running", "qwen").value == 3.0
    assert prometheus.tells("spark", "qwen")
    assert room.state.hosts["spark"].reading("engine.accept_ratio", "qwen").status is Status.UNSUPPORTED
    waiting = room.state.hosts["spark"].reading("engine.waiting", "qwen")
    assert waiting.status is Status.UNKNOWN and waiting.value is None
    room.put(ServicesSeen("spark", (Service("vllm-qwen.service", "inactive", at=NOW, source="probe"),)))
    await prometheus.poll(room.state, room.put)
    assert "vllm[:_]" not in server.queries[-1]
    gone = room.state.hosts["spark"].reading("engine.running", "qwen")
    assert gone.value is None and gone.reason == "its services do not run"


async def test_the_last_figures_of_a_host_that_fell_silent_stay_as_old_ones() -> None:
    made = config(spark=spark())
    rows: Rows = {**memory_of("spark:9100"), "e0_0t": [({}, SERVER_TIME - 1)], "e0_0_2": [({}, 3.0)]}
    room, server = Room(made), Server(rows)
    prometheus = source(made, server)
    await prometheus.poll(room.state, room.put)
    before = room.state.hosts["spark"]
    assert before.reading("memory.available_bytes").status is before.reading("engine.running", "qwen").status is Status.FRESH
    rows.clear()
    for _ in range(2):
        await prometheus.poll(room.state, room.put)
    host = room.state.hosts["spark"]
    for key in (("memory.total_bytes", ""), ("memory.available_bytes", ""), ("engine.running", "qwen")):
        old, new = before.figures[key], host.figures[key]
        assert (new.value, new.at, new.status) == (old.value, old.at, Status.STALE), key
        assert new.reason == "Prometheus has no newer sample of spark"
    never = Room(made)
    await source(made, Server({})).poll(never.state, never.put)
    assert never.state.hosts["spark"].reading("memory.total_bytes").reason == "Prometheus has no such series for spark"


async def test_nan_is_unknown() -> None:
    made = config(spark=spark())
    rows: Rows = {"e0_0t": [({}, SERVER_TIME)], "e0_0_5": [({}, float("nan"))], "c0": [({"instance": "a:1"}, float("nan"))]}
    room = Room(made)
    await source(made, Server(rows)).poll(room.state, room.put)
    host = room.state.hosts["spark"]
    for reading in (host.reading("engine.ttft_p50_seconds", "qwen"), host.reading("cpu.use_ratio")):
        assert reading.status is Status.UNKNOWN and reading.reason == "no data in the window"


async def test_the_probe_is_the_better_witness_of_units() -> None:
    made = config(spark=spark(watch=("x.service",)))
    told = [({"name": n, "state": "active", "instance": "spark:9100"}, 1.0) for n in ("vllm-qwen.service", "x.service")]
    room = Room(made)
    room.put(ServicesSeen("spark", (Service("vllm-qwen.service", "failed", at=NOW - timedelta(seconds=2), source="probe"),)))
    prometheus = source(made, Server({"u0": told, "t0": [({"instance": "spark:9100"}, SERVER_TIME - 1)]}))
    await prometheus.poll(room.state, room.put)
    host = room.state.hosts["spark"]
    assert host.services["vllm-qwen.service"].active == "failed"
    assert (host.services["x.service"].active, host.services["x.service"].source) == ("active", "prometheus")
    assert host.services["backup-nas.service"].active == "unknown"  # no series: not told
    room.events.clear()
    await prometheus.poll(room.state, room.put)
    assert not [e for e in room.events if isinstance(e, ServicesSeen)]


async def test_a_backups_time_must_be_a_time() -> None:
    backups = tuple(BackupConfig(name=n, service=f"{n}.service", metric=f"m_{n}") for n in ("a", "b", "c"))
    made = config(spark=spark(backup=backups))
    room = Room(made)
    await source(made, Server({"b0_0": [({}, 1.795e9)], "b1_0": [({}, 1.0)]})).poll(room.state, room.put)
    found = room.state.hosts["spark"].backups
    assert found["a"].last_success_at is not None and found["a"].last_success_at.timestamp() == pytest.approx(1.795e9 + 7200)
    assert "not a unix time" in found["b"].reason and "no such series" in found["c"].reason
    assert any(isinstance(e, BackupsSeen) for e in room.events)


async def test_several_machines_are_not_mixed() -> None:
    def machine(name: str, total: float) -> list[tuple[dict[str, str], float]]:
        return [({"__name__": "node_memory_MemTotal_bytes", "instance": f"{name}:9100"}, total)]

    made = config(spark=spark())
    room = Room(made)
    await source(made, Server({"m0": machine("alpha", 1.0) + machine("beta", 2.0)})).poll(room.state, room.put)
    reading = room.state.hosts["spark"].reading("memory.total_bytes")
    assert reading.value is None and "set the host's instance" in reading.reason
    room = Room(made)
    await source(made, Server({"m0": machine("alpha", 1.0) + machine("spark.lan", 2.0)})).poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("memory.total_bytes").value == 2.0


async def test_a_fresher_reading_of_another_source_stays() -> None:
    made = config(spark=spark())
    room = Room(made)
    from sovtui.core.events import Sample

    room.put(Samples("spark", (Sample("memory.total_bytes", fresh(7.0, NOW, "probe")),)))
    server = Server({"m0": node(MemTotal=100.0), "t0": [({"instance": "spark:9100"}, SERVER_TIME - 9)]})
    await source(made, server).poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("memory.total_bytes").value == 7.0


async def test_windows_follow_the_scrape_interval_of_the_port() -> None:
    made = config(spark=spark())
    targets = [
        {"scrapeUrl": "http://spark:8000/metrics", "scrapeInterval": "1m"},
        {"scrapeUrl": "http://spark:9100/metrics", "scrapeInterval": "15s"},
    ]

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/targets":
            return httpx.Response(200, json={"status": "success", "data": {"activeTargets": targets}})
        return Server()(request)

    prometheus = source(made, serve)
    await prometheus.poll(Room(made).state, lambda _: None)
    assert prometheus.windows_for(8000) == Windows(180, 240, 300)
    assert prometheus.windows_for(9100).speed == 45
    queries = [q.expression for q in prometheus.questions(None)]
    assert any("[180s]" in q for q in queries) and any("node_cpu" in q and "[45s]" in q for q in queries)


async def test_a_store_without_targets_gets_long_windows() -> None:
    made = config(spark=spark())

    def serve(request: httpx.Request) -> httpx.Response:
        return vector(({"k": "now"}, SERVER_TIME)) if request.method == "POST" else httpx.Response(404, text="no")

    prometheus = source(made, serve)
    await prometheus.poll(Room(made).state, lambda _: None)
    assert prometheus.windows_for(8000).speed == 45


def test_matchers() -> None:
    one = config(spark=spark(), minipc=HostConfig(role="management"))
    mode = one.host["spark"].mode[0]
    assert ask.host_matchers(one, "spark") == ""
    assert ask.host_matchers(one, "minipc") == 'instance=~"minipc([.:].*)?"'
    assert ask.engine_matchers(one, "spark", mode) == 'instance=~".+:8000"'
    two = config(spark=spark(), tower=spark())
    assert ask.engine_matchers(two, "tower", mode) == 'instance=~"tower([.].*)?:8000"'
    labelled = config(spark=spark(instance='box="spark"'))
    assert ask.engine_matchers(labelled, "spark", mode) == 'instance=~".+:8000",box="spark"'
    exact = config(spark=spark(instance='instance="spark:9100"'))
    assert ask.engine_matchers(exact, "spark", mode) == 'instance="spark:8000"'
    assert ask.engine_matchers(exact, "spark", replace(mode, metrics='job="vllm",')) == 'job="vllm"'
    shared = tuple(ModeConfig(name=n, engine="vllm", url="http://127.0.0.1:8000", model=n) for n in ("a", 'b"c'))
    both = config(spark=spark(mode=shared))
    assert ask.engine_matchers(both, "spark", shared[1]) == 'instance=~".+:8000",model_name="b\\"c"'


def test_a_units_name_is_not_a_regular_expression() -> None:
    made = config(spark=spark(watch=('x".*|y\\x2d.service',)))
    units = next(q for q in ask.host_questions(made, Windows()) if q.kind == "units")
    assert 'x\\\\\\".*' not in units.expression and "y\\\\\\\\x2d\\\\.service" in units.expression


def gpus(path: str) -> HostAnswer:
    answer = HostAnswer()
    take_gpus(answer, series_of(path))
    return answer


@pytest.mark.parametrize("exporter", ["nvidia_gpu_exporter", "dcgm-exporter"])
def test_gpus_of_both_exporters(exporter: str) -> None:
    big = gpus(f"gpu-exporters/{exporter}.rtx-5090.prom")
    assert big.figures["gpu.use_ratio", "0"] == pytest.approx(0.93)
    assert big.figures["gpu.power_watts", "0"] == 412.3
    assert big.figures["gpu.temperature_celsius", "0"] == 66
    assert big.figures["gpu.clock_hertz", "0"] == pytest.approx(2.6e9, rel=0.01)
    assert big.figures["gpu.memory_total_bytes", "0"] == pytest.approx(3.419e10, rel=0.001)
    assert big.figures["gpu.memory_used_bytes", "0"] == pytest.approx(3.1258e10, rel=0.001)
    assert not big.unsupported
    small = gpus(f"gpu-exporters/{exporter}.gb10.prom")
    assert small.figures["gpu.use_ratio", "0"] == pytest.approx(0.94)
    assert set(small.unsupported) == {("gpu.memory_used_bytes", "0"), ("gpu.memory_total_bytes", "0")}


def test_a_sentinel_of_dcgm_is_no_number() -> None:
    labels = {"__name__": "DCGM_FI_DEV_POWER_USAGE", "gpu": "0"}
    answer = HostAnswer()
    take_gpus(answer, [Series(labels, 9223372036854775794.0), Series({**labels, "__name__": "DCGM_FI_DEV_GPU_UTIL"}, 50)])
    assert ("gpu.power_watts", "0") not in answer.figures and answer.figures["gpu.use_ratio", "0"] == 0.5


@pytest.mark.parametrize("version", ["1.11.1", "1.5.0"])
def test_memory_and_units_of_node_exporter(version: str) -> None:
    answer = HostAnswer()
    rows = series_of(f"node-exporter/node-exporter-{version}.prom")
    take_memory(answer, rows)
    figures = answer.figures
    assert figures["memory.total_bytes", ""] == 25276502016
    for figure in ("available", "droppable", "cached", "buffers", "shared", "swap_total", "swap_used"):
        assert (f"memory.{figure}_bytes", "") in figures, figure
    assert figures["memory.swap_used_bytes", ""] == 0
    take_units(answer, [s for s in rows if s.labels["__name__"] == "node_systemd_unit_state" and s.value == 1])
    assert answer.units["litellm.service"] == "failed" and answer.units["vllm@qwen3-32b.service"] == "active"
    assert "vllm@other.service" not in answer.units


async def test_disks_and_load_come_from_prometheus_only_where_the_probe_is_silent() -> None:
    made = config(spark=spark())
    size, room_ = ({"__name__": f"node_filesystem_{word}_bytes", "instance": "spark:9100"} for word in ("size", "avail"))
    rows = [({**size, "mountpoint": "/"}, 1e12), ({**room_, "mountpoint": "/"}, 1e11), ({**size, "mountpoint": "/odd"}, 1e12)]
    server = Server({"d0": rows, "l0": [({"instance": "spark:9100"}, 0.7)], "t0": [({"instance": "spark:9100"}, SERVER_TIME)]})
    asking, room = source(made, server, FakeClock()), Room(made)
    await asking.poll(room.state, room.put)
    host = room.state.hosts["spark"]
    assert host.reading("disk.free_bytes", "/").value == 1e11
    assert host.reading("cpu.load_mean").value == 0.7
    assert host.subjects("disk.total_bytes") == ("/",), "a size without room tells nothing"
    room.put(Samples("spark", (Sample("cpu.load_mean", fresh(0.8, NOW + timedelta(seconds=5), "probe")),)))
    await asking.poll(room.state, room.put)
    assert '"d0"' in server.queries[0] and '"d0"' not in server.queries[-1] and '"l0"' not in server.queries[-1]


def memory_of(*instances: str) -> Rows:
    """Every machine has its own."""
    found: Rows = {"m0": [], "t0": []}
    for index, instance in enumerate(instances):
        for word in ("MemTotal", "MemAvailable"):
            found["m0"].append(({"__name__": f"node_memory_{word}_bytes", "instance": instance}, 100.0 + index))
        found["t0"].append(({"instance": instance}, SERVER_TIME))
    return found


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        (("spark:9100", "mgmt:9100"), 100.0),
        (("mgmt:9100",), None),  # spark is silent: what is left is of the others
        (("mgmt.lan:9100",), None),
        (("localhost:9100",), None),  # Prometheus calls its own machine so, and runs on mgmt
        (("localhost:9100", "10.0.0.5:9100"), 101.0),
        (("10.0.0.5:9100",), 100.0),
    ],
)
async def test_the_figures_of_another_host_are_never_taken_for_those_of_a_silent_one(
    instances: tuple[str, ...], expected: float | None
) -> None:
    made = config(spark=spark(), mgmt=HostConfig(role="management"))
    assert made.prometheus is not None
    made = replace(made, prometheus=replace(made.prometheus, via="mgmt"))
    asking, room = source(made, Server(memory_of(*instances)), FakeClock()), Room(made)
    await asking.poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("memory.available_bytes").value == expected


def test_a_form_holds_what_was_asked_and_escapes_no_more_than_it_must() -> None:
    expression = 'a{b=~"c|d.+:9",e!="f\\\\g;&%+ ü"}[5m] / ~1 > 2'
    made = _form(expression)
    assert parse_qs(made.decode(), separator="&")["query"] == [expression]
    assert all(code in made for code in (b"%3B", b"%26", b"%25", b"%2B", b"+/+")) and b"%28" not in made and b"%7B" not in made


GIB = float(1 << 30)


async def test_what_the_host_tells_itself_is_asked_now_and_then_and_compared() -> None:
    made = config(spark=spark())
    server = Server(
        {
            "m0": node(MemTotal=64 * GIB, MemAvailable=30 * GIB),
            "c0": [({"instance": "spark:9100"}, 0.5)],
            "t0": [({"instance": "spark:9100"}, SERVER_TIME)],
        }
    )
    clock = FakeClock()
    asking, room = source(made, server, clock), Room(made)

    def probed(total: float) -> None:
        told = {"memory.total_bytes": total, "memory.available_bytes": 31 * GIB, "cpu.load_mean": 0.8, "cpu.use_ratio": 0.25}
        room.put(Samples("spark", tuple(Sample(key, fresh(value, clock.now(), "probe")) for key, value in told.items())))

    probed(64 * GIB)
    await asking.poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("memory.apart_ratio").value == 0
    clock.passed += 1
    probed(64 * GIB)
    await asking.poll(room.state, room.put)
    assert '"m0"' in server.queries[0] and '"m0"' not in server.queries[1] and '"c0"' not in server.queries[1]
    host = room.state.hosts["spark"]
    assert (host.reading("memory.total_bytes").value, host.reading("memory.total_bytes").source) == (64 * GIB, "probe")
    clock.passed += 15
    server.time += 16
    server.rows["t0"] = [({"instance": "spark:9100"}, server.time - 5)]
    probed(122 * GIB)
    await asking.poll(room.state, room.put)
    host = room.state.hosts["spark"]
    assert host.reading("memory.total_bytes").value == 122 * GIB, "the host itself is believed, nothing is averaged"
    apart = host.reading("memory.apart_ratio")
    assert apart.value == pytest.approx(58 / 122)
    assert apart.reason == "Prometheus: 64.0 GiB of memory; spark itself: 122 GiB"
    room.put(LinkChanged("spark", Link(LinkPhase.UP)))
    (found,) = [issue for issue in issues(room.state) if "disagree" in issue.title]
    assert found.host == "spark" and "64.0 GiB" in found.detail


@pytest.mark.parametrize(("scraped", "asked_every"), [("1s", 1.0), ("5s", 1.25), ("1m", 3.0)])
async def test_nothing_is_asked_far_more_often_than_it_is_scraped(scraped: str, asked_every: float) -> None:
    made = config(spark=spark())
    target = {"scrapeUrl": "http://spark:9100/metrics", "scrapeInterval": scraped}

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/targets":
            return httpx.Response(200, json={"status": "success", "data": {"activeTargets": [target]}})
        return Server()(request)

    prometheus = source(made, serve)
    assert prometheus.interval_seconds == 1.0
    await prometheus.poll(Room(made).state, lambda _: None)
    assert prometheus.interval_seconds == asked_every


def dcgm(name: str, value: float, instance: str = "", gpu: str = "0") -> Series:
    labels = {"__name__": f"DCGM_FI_DEV_{name}", "gpu": gpu, "instance": "spark:9400"}
    return Series({**labels, "GPU_I_ID": instance} if instance else labels, value)


def test_a_sum_is_not_made_of_what_dcgm_leaves_blank() -> None:
    answer = HostAnswer()
    take_gpus(
        answer, [dcgm("FB_USED", 1000.0), dcgm("FB_FREE", 2.0**31 - 14), dcgm("FB_RESERVED", 500.0), dcgm("GPU_UTIL", 50.0)]
    )
    assert answer.figures["gpu.memory_used_bytes", "0"] == 1000 * 2**20
    assert ("gpu.memory_total_bytes", "0") not in answer.figures, "used and reserved alone are no total"
    answer = HostAnswer()
    take_gpus(answer, [dcgm("FB_USED", 1000.0), dcgm("FB_FREE", 2000.0), dcgm("FB_RESERVED", 2.0**47)])
    assert answer.figures["gpu.memory_total_bytes", "0"] == 3000 * 2**20


def test_instances_of_a_split_gpu_are_devices_of_their_own() -> None:
    rows = [
        *(dcgm("FB_USED", used, instance) for instance, used in (("7", 12.0), ("8", 9000.0), ("13", 15.0))),
        *(dcgm("FB_FREE", free, instance) for instance, free in (("7", 11000.0), ("8", 2012.0), ("13", 40000.0))),
        *(dcgm("POWER_USAGE", 310.0, instance) for instance in ("7", "8", "13")),
        *(dcgm("GPU_TEMP", 55.0, instance) for instance in ("7", "8", "13")),
        dcgm("FB_USED", 30000.0, gpu="1"),
        dcgm("FB_FREE", 50000.0, gpu="1"),
        dcgm("GPU_UTIL", 90.0, gpu="1"),
    ]
    answer = HostAnswer()
    take_gpus(answer, rows)
    mib = 2.0**20
    told = {gpu: (answer.figures.get(("gpu.memory_used_bytes", gpu)), answer.figures.get(("gpu.memory_total_bytes", gpu)))
            for gpu in ("0", "0:7", "0:8", "0:13", "1")}  # fmt: skip
    assert told == {
        "0": (None, None),
        "0:7": (12 * mib, 11012 * mib),
        "0:8": (9000 * mib, 11012 * mib),
        "0:13": (15 * mib, 40015 * mib),
        "1": (30000 * mib, 80000 * mib),
    }
    assert answer.figures["gpu.power_watts", "0"] == 310.0, "of the board, once"
    assert [gpu for key, gpu in answer.figures if key == "gpu.power_watts"] == ["0"]
    assert "split" in answer.unsupported["gpu.memory_total_bytes", "0"]
    assert "whole GPU" in answer.unsupported["gpu.power_watts", "0:7"]


def test_the_question_keeps_instances_apart() -> None:
    made = config(spark=spark())
    for asked in (ask.host_questions(made, Windows()), ask.curve_questions(made, Windows())):
        assert all("GPU_I_ID" in q.expression.partition("(")[2].partition(")")[0] for q in asked if q.kind == "gpu")


def test_negative_memory_of_an_exporter_is_left_out() -> None:
    answer = HostAnswer()
    names = {"Cached": -1.0, "Buffers": 5.0, "SReclaimable": 3.0, "MemTotal": 100.0}
    take_memory(answer, [Series({"__name__": f"node_memory_{name}_bytes"}, value) for name, value in names.items()])
    assert answer.figures == {("memory.total_bytes", ""): 100.0, ("memory.buffers_bytes", ""): 5.0}


class Firing:
    """A Prometheus that has two alerts, one of which always fires."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/query":
            return httpx.Response(404, json={})
        query = parse_qs(request.content.decode())["query"][0]
        self.asked.append(query)
        at = NOW.timestamp()
        rows: list[tuple[dict[str, str], float]] = [({"k": "now"}, at)]
        if '"k","pu"' in query:
            rows += [({"k": "pu", "alertname": "Watchdog", "severity": "none"}, at - 60)]
            rows += [({"k": "pu", "alertname": "Watchdog", "severity": "critical"}, at)]
        if '"k","al"' in query:
            disk = {
                "k": "al",
                "__name__": "ALERTS_FOR_STATE",
                "alertname": "DiskFull",
                "severity": "warning",
                "mount": "/\x1b[31m",
            }
            rows += [(disk, at - 3600), ({"k": "al", "alertname": "Watchdog", "severity": "none"}, at - 7200)]
        return vector(*rows)


async def test_prometheus_says_what_fires_while_alertmanager_may_not_know() -> None:
    made = replace(config(spark=spark()), alertmanager=AlertmanagerConfig(url="http://am:9093"))
    server, room = Firing(), Room(made)
    prometheus = source(made, server)
    await prometheus.poll(room.state, room.put)
    assert '"k","al"' not in server.asked[-1], "as long as Alertmanager knows it is not asked for"
    room.put(AlertsSeen((), NOW, "Alertmanager was started at 20:59"))
    await prometheus.poll(room.state, room.put)
    disk, watchdog = room.state.alerts
    assert (disk.name, disk.severity, disk.told_by) == ("DiskFull", "warning", "prometheus")
    assert disk.since is not None and abs(NOW - timedelta(hours=1) - disk.since) < timedelta(seconds=2)
    assert dict(disk.labels) == {"alertname": "DiskFull", "severity": "warning", "mount": "/\x1b[31m"}, (
        "as a silence must match them"
    )
    assert (watchdog.name, watchdog.pulse) == ("Watchdog", True)
    room.put(AlertsSeen((), NOW))
    await prometheus.poll(room.state, room.put)
    assert not room.state.alerts and '"k","al"' not in server.asked[-1]


async def test_prometheus_says_which_alerts_always_fire_and_is_asked_rarely() -> None:
    made = replace(config(spark=spark()), alertmanager=AlertmanagerConfig(url="http://am:9093", pulse=("Can.ary",)))
    server, room, clock = Firing(), Room(made), FakeClock()
    prometheus = source(made, server, clock)
    for _ in range(10):
        await prometheus.poll(room.state, room.put)
        clock.passed += 1
    assert sum('"k","pu"' in query for query in server.asked) == 1
    assert "Can\\\\.ary" in server.asked[0], "a name is no expression"
    (last,) = room.state.pulses.values()
    assert last is not None and abs(NOW - timedelta(seconds=60) - last) < timedelta(seconds=2), "the severe one is no pulse"
    without = Room(config(spark=spark()))
    await source(config(spark=spark()), server).poll(without.state, without.put)
    assert '"k","pu"' not in server.asked[-1], "without an Alertmanager there is nothing that it could prove"


async def test_whether_it_tells_a_hosts_gpus() -> None:
    clock, there = FakeClock(), True

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/api/v1/query":
            return httpx.Response(404, json={})
        use = {"k": "g0", "__name__": "DCGM_FI_DEV_GPU_UTIL", "gpu": "0", "instance": "spark:9400"}
        return vector(({"k": "now"}, NOW.timestamp()), *([(use, 50.0)] if there else []))

    room = Room(config(spark=spark()))
    prometheus = source(config(spark=spark()), answer, clock)
    assert prometheus.tells_gpus("spark") is None, "it has not been asked"
    await prometheus.poll(room.state, room.put)
    assert prometheus.tells_gpus("spark") is True
    there = False
    for seconds, told in ((30.0, True), (31.0, False)):  # one scrape may fail
        clock.passed += seconds
        await prometheus.poll(room.state, room.put)
        assert prometheus.tells_gpus("spark") is told
    broken = source(config(spark=spark()), lambda request: httpx.Response(502))
    with pytest.raises(Unreachable):
        await broken.poll(room.state, room.put)
    assert broken.tells_gpus("spark") is False, "who does not answer does not tell them either"


async def test_a_unit_that_vanished_is_not_loaded_while_its_host_goes_on_telling() -> None:
    """All states of a stopped unit that nothing refers to end: nobody may go on calling it active. What the exporter cannot ask is no end."""
    made = config(spark=spark(watch=("x.service", "never.service")))
    row = {"instance": "spark:9100"}
    asked_of, x = (row, 1.0), ({"name": "x.service", "state": "active", **row}, 1.0)
    ssh = ({"name": "vllm-qwen.service", "state": "active", **row}, 1.0)
    at = [(row, SERVER_TIME)]
    server, room, clock = Server({"u0": [x, asked_of], "t0": at, "m0": node(MemTotal=1.0)}), Room(made), FakeClock()
    prometheus = source(made, server, clock)

    async def told(units: list[tuple[dict[str, str], float]], passed: float, *, gone: bool = False) -> Service:
        clock.passed, server.time = passed, SERVER_TIME + passed
        rows = {} if gone else {"t0": [(row, server.time)], "m0": node(MemTotal=1.0)}
        server.rows = {"u0": units, **rows}
        await prometheus.poll(room.state, room.put)
        return room.state.hosts["spark"].services["x.service"]

    assert (await told([x, asked_of], 0.0)).active == "active"
    failed_look = await told([(row, 0.0)], 10.0)
    assert failed_look.active == "active" and failed_look.at == NOW, "the exporter did not get to systemd: as last told"
    silent = await told([], 20.0, gone=True)
    assert silent.active == "active" and silent.at == NOW, "its host is silent: as last told"
    gone = await told([asked_of], 30.0)
    assert (gone.active, gone.sub, gone.source, gone.reason) == ("inactive", "not loaded", "prometheus", "")
    assert gone.at == NOW + timedelta(seconds=30)
    assert (await told([asked_of], 40.0)).at == NOW + timedelta(seconds=40), "and stays so, freshly"
    assert room.state.hosts["spark"].services["never.service"].active == "unknown", "of which it never told: it may be left out"
    back = await told([x, asked_of], 50.0)
    assert (back.active, back.sub) == ("active", "")
    assert (await told([ssh], 60.0)).active == "inactive", "an exporter that does not tell of its collectors, but of other units"
    room.put(ServicesSeen("spark", (Service("x.service", "active", at=clock.now(), source="probe"),)))
    assert (await told([asked_of], 62.0)).active == "active", "the probe has told of it just now"
    anew = source(made, server, clock)
    room.put(ServicesSeen("spark", (Service("never.service", "active", at=clock.now(), source="probe"),)))
    server.rows["u0"] = [asked_of, ({"name": "never.service", "state": "seen", **row}, 240.0)]
    clock.passed, server.time = 90.0, SERVER_TIME + 90.0
    server.rows["t0"] = [(row, server.time)]
    await anew.poll(room.state, room.put)
    never = room.state.hosts["spark"].services["never.service"]
    assert (never.active, never.sub) == ("inactive", "not loaded"), "told of within the hour, though never to this client"
