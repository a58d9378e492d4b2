"""One bad row costs one row, in every adapter: it is left out and counted, and the rest is told. What is far too much is refused whole."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import pytest

from sovtui.adapters.alerts.alertmanager import Alertmanager, AlertmanagerSource
from sovtui.adapters.engines.base import Past, json_in, read_metrics
from sovtui.adapters.engines.comfyui import ENGINE as COMFYUI
from sovtui.adapters.engines.llamaswap import ENGINE as LLAMASWAP
from sovtui.adapters.engines.ollama import ENGINE as OLLAMA
from sovtui.adapters.engines.scrape import MAX_SAMPLES, Between, Scrape, read_scrape
from sovtui.adapters.figures.ranges import numbers
from sovtui.adapters.links.http import date_of, request
from sovtui.core.events import SourceChanged
from sovtui.core.issues import issues
from sovtui.core.model import EnginePhase, Source
from sovtui.core.reading import Reading
from sovtui.core.state import reduce
from sovtui.core.tailnet import parse
from sovtui.ports.errors import Malformed
from tests.adapters.figures.estate import NOW, Room, config, source, spark
from tests.fakes.world import FakeClock

LONG = "9" * 4000
DEEP = "[" * 900 + "]" * 900
GOOD = {"labels": {"alertname": "Good"}, "status": {"state": "active"}}


def answering(body: Any, **headers: str) -> httpx.AsyncClient:
    """Every question gets this."""
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return httpx.AsyncClient(
        transport=httpx.MockTransport(lambda asked: httpx.Response(200, content=content, headers=headers)), base_url="http://it:1"
    )


def manager(body: Any, **headers: str) -> Alertmanager:
    return Alertmanager(answering(body, **headers), FakeClock())


# Alertmanager


@pytest.mark.parametrize(
    "row",
    [
        "null", "5", "[]", '"x"', LONG, "{}", '{"labels":[]}', '{"labels":{"a":5}}', f'{{"labels":{{"a":{DEEP}}}}}',
        '{"labels":{"a":"%s"}}' % ("x" * 5000), json.dumps({"labels": {f"l{n}": "x" for n in range(100)}}),
    ],
    ids=lambda row: row[:30],
)  # fmt: skip
async def test_an_alert_that_cannot_be_read_hides_no_other(row: str) -> None:
    am = manager(f"[{json.dumps(GOOD)},{row},{json.dumps(GOOD)}]")
    assert [alert.name for alert in await am.list()] == ["Good", "Good"]
    assert am.left_out == AlertmanagerSource(am, FakeClock()).left_out == "1 alerts that cannot be read left out"


@pytest.mark.parametrize(
    "more",
    [
        {"startsAt": "0001-01-01T00:00:00+23:59"}, {"startsAt": "9999-12-31T23:59:59-23:59"}, {"startsAt": [1]}, {"startsAt": 1e300},
        {"annotations": [1]}, {"annotations": {"summary": [1], "x": 5}}, {"status": []}, {"status": {"silencedBy": [1, None]}},
        {"fingerprint": {}}, {"annotations": {f"n{n}": "x" for n in range(5000)}},
    ],
    ids=lambda more: str(more)[:40],
)  # fmt: skip
async def test_a_part_of_an_alert_that_cannot_be_is_not_told(more: dict[str, Any]) -> None:
    am = manager([{**GOOD, "labels": {"alertname": "Odd"}, **more}, GOOD])
    odd, good = await am.list()
    assert (odd.name, odd.since, good.name, am.left_out) == ("Odd", None, "Good", "")
    assert len(odd.annotations) <= 64


@pytest.mark.parametrize(
    "date",
    ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 02 Nov 2026 10:00:00 +99999999", "x", LONG, "Sat, 01 Jan 2600 00:00:00 GMT"],
    ids=lambda date: date[:30],
)  # fmt: skip
async def test_a_date_that_no_clock_shows_is_no_date(date: str) -> None:
    (alert,) = await manager([{**GOOD, "startsAt": "2026-11-01T10:00:00Z"}], Date=date).list()
    assert alert.since == datetime(2026, 11, 1, 10, tzinfo=UTC) and date_of(date) is None


async def test_of_very_many_alerts_a_thousand_are_shown_and_the_rest_is_counted() -> None:
    am = manager([GOOD] * 1400)
    assert len(await am.list()) == 1000 and am.left_out == "400 alerts beyond a thousand left out"
    with pytest.raises(Malformed, match="Alertmanager tells too much: it holds more than 150000 values"):
        await manager("[" + "{}," * 200_000 + "{}]").list()
    for body in ("[" * 60_000, "[] []", "", '[{"labels":'):
        with pytest.raises(Malformed, match="not JSON"):
            await manager(body).list()


async def test_what_is_left_out_is_said_once_where_one_looks() -> None:
    room = Room(config(spark=spark()))
    state = reduce(
        room.state, SourceChanged(Source("alertmanager", "", True, "", NOW, "0.27", "3 alerts that cannot be read left out"))
    )
    (found,) = [issue for issue in issues(state) if issue.kind == "source"]
    assert (found.title, found.detail) == (
        "a part of what alertmanager tells is left out",
        "3 alerts that cannot be read left out",
    )


# Prometheus


def answered(body: bytes, asked: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=body)


@pytest.mark.parametrize(
    "row",
    [
        "null", '"x"', LONG, '{"metric":{}}', '{"metric":{},"value":{}}', '{"metric":{},"value":[1,"1",2]}', '{"metric":{},"value":[1,[1]]}',
        '{"metric":{},"value":[1,"many"]}', '{"metric":[],"value":[1,"1"]}', '{"metric":{"k":1},"value":[1,"1"]}', f'{{"metric":{{"k":{DEEP}}},"value":[1,"1"]}}',
        '{"metric":{"k":"%s"},"value":[1,"1"]}' % ("x" * 5000),
    ],
    ids=lambda row: row[:40],
)  # fmt: skip
async def test_a_series_that_cannot_be_read_hides_no_other(row: str) -> None:
    good = '{"metric":{"k":"m0","__name__":"node_memory_MemTotal_bytes","instance":"spark:9100"},"value":[1,"1e10"]}'
    body = f'{{"status":"success","data":{{"resultType":"vector","result":[{row},{good}]}}}}'
    made = config(spark=spark())
    room = Room(made)
    prometheus = source(made, lambda asked: httpx.Response(200, content=body.encode()))
    await prometheus.poll(room.state, room.put)
    assert room.state.hosts["spark"].reading("memory.total_bytes").value == 1e10
    assert prometheus.left_out == "1 series that cannot be read left out"


@pytest.mark.parametrize("value", ["1e300", "-1", "NaN", "+Inf", "99999999999999"])
async def test_a_time_that_no_clock_shows_is_not_told(value: str) -> None:
    rows = [({"k": "now"}, value), ({"k": "t0", "instance": "spark:9100"}, value), ({"k": "s0", "instance": "spark:9100"}, value)]
    rows += [({"k": "m0", "__name__": "node_memory_MemTotal_bytes", "instance": "spark:9100"}, "1e10")]
    told = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": m, "value": [1, v]} for m, v in rows]}}
    made = config(spark=spark())
    room = Room(made)
    await source(made, lambda asked: httpx.Response(200, json=told)).poll(room.state, room.put)
    reading = room.state.hosts["spark"].reading("memory.total_bytes")
    assert reading.value == 1e10 and reading.at == NOW
    assert numbers([[float(value), "1"], [1.0, "5"]]) == [(1.0, 5.0)]


async def test_more_series_than_the_largest_estate_has_are_refused_in_words() -> None:
    made = config(spark=spark())
    row = '{"metric":{},"value":[1,"1"]}'
    for count, why in ((80_000, "tells too much: it holds more than 300000 values"), (170_000, "sends more than 4 MiB")):
        body = '{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}'.format(",".join([row] * count))
        with pytest.raises(Malformed, match=why):
            await source(made, partial(answered, body.encode())).poll(Room(made).state, lambda _: None)


async def test_targets_that_are_none_are_passed_over() -> None:
    targets = [
        5,
        None,
        {"scrapeInterval": LONG + "s", "scrapeUrl": "http://h:99999999/m"},
        {"scrapeInterval": "7s", "scrapeUrl": "http://h:9100/m"},
    ]

    def answer(asked: httpx.Request) -> httpx.Response:
        data = (
            {"activeTargets": targets}
            if "targets" in asked.url.path
            else {"resultType": "vector", "result": [], "version": [[1]]}
        )
        return httpx.Response(200, json={"status": "success", "data": data})

    made = config(spark=spark())
    prometheus = source(made, answer)
    await prometheus.poll(Room(made).state, lambda _: None)
    assert prometheus.windows_for(9100).speed == 21 and prometheus.version == ""


# HTTP


def zipped(size: int) -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packing.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packing.flush()


async def test_what_is_packed_is_unpacked_no_further_than_it_may_be_long() -> None:

    async def pieces(data: bytes) -> Any:
        yield data

    def packed(data: bytes, how: str = "gzip") -> httpx.AsyncClient:
        answer = lambda asked: httpx.Response(200, content=pieces(data), headers={"Content-Encoding": how})  # noqa: E731
        return httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://it:1")

    with pytest.raises(Malformed, match="sends more than 1 MiB"):
        await request(packed(zipped(64 << 20)), "GET", "/", max_bytes=1 << 20)
    for data, how in ((b"not packed", "gzip"), (gzip.compress(b"x" * 1000)[:-10], "gzip"), (b"x", "br")):
        with pytest.raises(Malformed, match="cannot be unpacked"):
            await request(packed(data, how), "GET", "/")
    assert (await request(packed(gzip.compress(b"hello")), "GET", "/")).content == b"hello"


# Engines

WANTED = re.compile(r"vllm:num_requests_running|vllm:ttft")


def page(*lines: str) -> Scrape:
    return read_scrape("\n".join(lines), WANTED, NOW, 0.0)


@pytest.mark.parametrize(
    "line", ["vllm:num_requests_running", "vllm:num_requests_running x", "vllm:num_requests_running{", 'vllm:num_requests_running{a="} 1', f"vllm:num_requests_running {LONG}", "vllm:num_requests_running +Inf", 'vllm:num_requests_running{a="%s"} 1' % ("x" * 5000)]
)  # fmt: skip
def test_a_line_of_a_page_that_cannot_be_read_hides_no_other(line: str) -> None:
    told = page('vllm:num_requests_running{m="a"} 1', line, 'vllm:num_requests_running{m="b"} 2')
    assert (told.unread, told.samples, sum(told.series["vllm:num_requests_running"].values())) == (1, 2, 3.0)


def test_a_page_of_nothing_that_can_be_read_or_of_too_much_is_said() -> None:
    with pytest.raises(Malformed, match="its /metrics cannot be read"):
        page("vllm:num_requests_running x")
    with pytest.raises(Malformed, match=f"its /metrics tells too much: more than {MAX_SAMPLES} samples"):
        page(*(f'vllm:num_requests_running{{m="{n}"}} 1' for n in range(MAX_SAMPLES + 1)))


def test_buckets_without_an_edge_are_passed_over() -> None:
    edges = ('le="1"', 'le=""', 'le="x"', 'le="NaN"', "")
    before, after = (page(*(f"vllm:ttft_bucket{{{edge}}} {value}" for edge in edges)) for value in (1, 2))
    assert Between(before, after, (), absent_is_zero=True).buckets("vllm:ttft") == {1.0: 1.0}


async def test_an_answer_in_an_encoding_that_is_none_of_text_is_read() -> None:
    client = answering(b"vllm:num_requests_running 1\n", **{"Content-Type": "text/plain; charset=hex"})
    told = await read_metrics(client, "/metrics", WANTED, "", NOW, 0.0)
    assert not isinstance(told, Reading) and told.samples == 1


STRANGE: list[Any] = [None, 5, "x", [], {}, [1, None, []], {"models": 5, "running": 5, "devices": 5, "system": 5}]


@pytest.mark.parametrize(
    "body",
    [*STRANGE, "[" * 60_000, {"models": [1, None, {"name": []}], "running": [5, {"model": []}], "devices": [5], "system": {}}],
    ids=lambda b: str(b)[:30],
)
@pytest.mark.parametrize("engine", [OLLAMA, LLAMASWAP, COMFYUI], ids=lambda e: e.name)
async def test_an_engine_that_answers_something_else_is_told_so(engine: Any, body: Any) -> None:
    client, past = answering(body), Past(at=NOW)
    found = await engine.probe(client, "m", past, 0.0)
    assert found.phase in (EnginePhase.WRONG_MODEL, EnginePhase.READY, EnginePhase.ASLEEP) and not found.parts
    engine.parse(None, await engine.scrape(client, past, NOW, 0.0))


async def test_rows_of_an_engine_that_cannot_be_leave_the_others() -> None:
    rows = [{"name": "m", "size": 5, "size_vram": 5, "expires_at": "9999-12-31T23:59:59-23:59"}, {"name": "n", "size": True}, 5]
    found = await OLLAMA.probe(answering({"models": rows}), "m", Past(at=NOW), 0.0)
    assert [(part.name, part.ends_at) for part in found.parts] == [("m", None), ("n", None)]
    running = [
        {"model": "m", "state": "ready", "proxy": "http://[bad", "ttl": 1e300},
        {"model": "n", "state": [], "proxy": [], "ttl": []},
    ]
    swap = await LLAMASWAP.probe(answering({"running": running}), "", Past(at=NOW), 0.0)
    assert [(part.name, part.detail) for part in swap.parts] == [("m", ""), ("n", "")]
    assert json_in(httpx.Response(200, content=b"[" * 60_000)) is None


# The tailnet


def test_a_node_of_the_tailnet_that_cannot_be_read_hides_no_other() -> None:
    odd = {
        "LastSeen": "0001-01-01T00:00:00+23:59",
        "KeyExpiry": "9999-12-31T23:59:59-23:59",
        "TailscaleIPs": [5, "x", "::%e"],
        "RxBytes": [],
        "DNSName": 5,
    }
    peers: dict[str, Any] = {"a": None, "b": 5, "c": [], "d": odd, "e": {"DNSName": "good.x.ts.net."}}
    net = parse(json.dumps({"BackendState": "Running", "Peer": peers}), NOW)
    assert [peer.dns_name for peer in net.peers] == ["", "good.x.ts.net"]
    assert (net.peers[0].last_seen, net.peers[0].key_expires_at, net.peers[0].addresses) == (None, None, ())
    for raw, why in (
        ("[" * 60_000, "nested too deep"),
        ("{}" * 2, "something follows"),
        ('{"Peer":{' + '"a":{},' * 250_000 + '"b":{}}}', "more than"),
    ):
        with pytest.raises(ValueError, match=why):
            parse(raw, NOW)
