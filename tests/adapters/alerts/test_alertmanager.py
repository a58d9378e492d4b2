"""Alerts and silences against recorded answers, and against a real Alertmanager where there is one."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sovtui.adapters.alerts.alertmanager import Alertmanager, AlertmanagerSource
from sovtui.adapters.links.http import client as http_client
from sovtui.core.events import AlertsSeen, Event
from sovtui.core.model import Alert, AlertState
from sovtui.core.state import initial
from sovtui.ports.errors import Malformed, PortError, Refused, TimedOut, Unreachable, Unsupported
from sovtui.runtime.clock import RealClock
from tests.adapters.figures.real import alertmanager
from tests.fakes.world import FakeClock

DATA = Path(__file__).parents[2] / "data" / "alertmanager"
SILENCE = "b61d6cf1-2e43-4c73-9090-45753c1a8b98"
DATE = "Fri, 20 Nov 2026 13:59:51 GMT"  # this machine's clock says 20:00
HOUR = timedelta(hours=1)


def recorded(name: str) -> Any:
    return json.loads((DATA / name).read_text())


class Server:
    """The recorded Alertmanager: a silence makes the second list of alerts, ending it the third."""

    def __init__(self) -> None:
        self.alerts = "alerts.before-silence.json"
        self.posted: list[Any] = []
        self.asked: list[str] = []
        self.over: dict[tuple[str, str], httpx.Response] = {}
        self.silenced = "alerts.after-silence.json"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key = (request.method, request.url.path)
        self.asked.append(" ".join(key))
        if key in self.over:
            return self.over[key]
        headers = {"Date": DATE}
        match key:
            case ("GET", "/api/v2/alerts"):
                return httpx.Response(200, json=recorded(self.alerts), headers=headers)
            case ("GET", path) if path.endswith(SILENCE):
                return httpx.Response(200, json=recorded("silence.get.json"), headers=headers)
            case ("GET", "/api/v2/status"):
                return httpx.Response(200, json=recorded("status.json"), headers=headers)
            case ("POST", "/api/v2/silences"):
                self.posted.append(json.loads(request.content))
                assert request.headers["content-type"] == "application/json"
                self.alerts = self.silenced
                return httpx.Response(200, json=recorded("silence.post.response.json"), headers=headers)
            case ("DELETE", path) if path.endswith(SILENCE):
                self.alerts = "alerts.after-expire.json"
                return httpx.Response(200, headers=headers)
        return httpx.Response(404)


def make(server: Any) -> Alertmanager:
    return Alertmanager(httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://am:9093"), FakeClock())


async def engine_down(am: Alertmanager) -> Alert:
    return next(a for a in await am.list() if a.name == "EngineDown")


async def test_alerts_as_they_are() -> None:
    server = Server()
    alerts = {a.name: a for a in await make(server).list()}
    assert server.asked == ["GET /api/v2/alerts"]  # nothing is silenced: silences are not asked for
    down = alerts["EngineDown"]
    assert (down.severity, down.state, down.fingerprint) == ("critical", AlertState.ACTIVE, "11660dae96081cbe")
    assert down.summary == "Inference engine 127.0.0.1:47999 is not answering"
    assert down.since == datetime(2026, 11, 20, 19, 49, 36, tzinfo=UTC), (
        "10 min 24 s before the server's time, by this machine's clock"
    )
    assert down.label("instance") == "127.0.0.1:47999" and len(down.labels) == 7
    assert alerts["UnifiedMemoryLow"].state is AlertState.INHIBITED
    assert alerts["AlwaysFiring"].severity == "info"


STARTED = "2026-11-20T13:59:31.509Z"  # twenty seconds before the server's own time


def restarted(server: Server, uptime: Any = STARTED) -> None:
    """It has lost its alerts, and says when it was started; silences it keeps."""
    status = {**recorded("status.json"), "uptime": uptime}
    server.over[("GET", "/api/v2/status")] = httpx.Response(200, json=status, headers={"Date": DATE})
    server.over[("GET", "/api/v2/alerts")] = httpx.Response(200, json=[], headers={"Date": DATE})
    server.over[("GET", "/api/v2/silences")] = httpx.Response(200, json=recorded("silences.active.json"), headers={"Date": DATE})


@pytest.mark.truth(of="one-shot commands and states")
async def test_after_a_restart_it_says_that_not_all_is_told_yet() -> None:
    server = Server()
    am = make(server)
    whole = await am.seen()
    assert whole.untold == "" and not whole.hushes and len(whole.alerts) == 3
    restarted(server)
    told = await am.seen()
    assert (
        not told.alerts and told.untold.startswith("Alertmanager was started at ") and "receives what fires again" in told.untold
    )
    (hush,) = told.hushes
    assert hush.silence.id == SILENCE and ("alertname", "EngineDown") in [(m.name, m.value) for m in hush.matchers]
    assert server.asked.count("GET /api/v2/status") == 2, "once at first, once when alerts were missing"
    for _ in range(3):
        assert (await am.seen()).untold == told.untold, "the same words: nothing is drawn anew for them"
    assert server.asked.count("GET /api/v2/status") == 2


@pytest.mark.truth(of="one-shot commands and states")
async def test_a_minute_and_a_quarter_after_its_start_it_has_been_told() -> None:
    server = Server()
    restarted(server)
    clock = FakeClock()
    am = Alertmanager(httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://am:9093"), clock)
    assert (await am.seen()).untold, "also for who asks for the first time"
    for seconds, untold in ((50.0, True), (10.0, False)):
        clock.passed += seconds
        assert bool((await am.seen()).untold) is untold


@pytest.mark.truth(of="one-shot commands and states")
async def test_a_restart_is_noticed_by_an_answer_that_failed_too() -> None:
    server = Server()
    server.over[("GET", "/api/v2/alerts")] = httpx.Response(200, json=[], headers={"Date": DATE})
    am = make(server)
    assert not (await am.seen()).untold
    server.over[("GET", "/api/v2/alerts")] = httpx.Response(502, text="bad gateway")
    with pytest.raises(Unreachable):
        await am.seen()
    restarted(server)
    assert (await am.seen()).untold


@pytest.mark.parametrize("uptime", [None, 123456, "soon", "2026-11-20T14:30:00Z"])
async def test_what_does_not_tell_when_it_started_has_told_all(uptime: object) -> None:
    server = Server()
    restarted(server, uptime)
    assert not (await make(server).seen()).untold
    server.over[("GET", "/api/v2/status")] = httpx.Response(404)  # Grafana's
    assert not (await make(server).seen()).untold


@pytest.mark.truth(of="one-shot commands and states")
async def test_an_alert_that_always_fires_is_told_as_such() -> None:
    server = Server()
    told = await make(server).seen()
    assert [a.name for a in told.alerts if a.pulse] == ["AlwaysFiring"] and told.pulses == ()
    am = Alertmanager(
        httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://am:9093"), FakeClock(), pulses=("EngineDown",)
    )
    told = await am.seen()
    assert {a.name for a in told.alerts if a.pulse} == {"AlwaysFiring", "EngineDown"} and told.pulses == ("EngineDown",)


async def test_who_silenced_it_and_until_when() -> None:
    server = Server()
    server.alerts = "alerts.after-silence.json"
    am = make(server)
    for _ in range(3):
        down = await engine_down(am)
    assert down.state is AlertState.ACKNOWLEDGED
    (silence,) = down.silences
    assert (silence.id, silence.author) == (SILENCE, "tess@console")
    assert silence.comment.startswith("ack: restarting") and silence.ends_at.hour == 20
    assert server.asked.count(f"GET /api/v2/silence/{SILENCE}") == 1  # kept for a minute


async def test_acknowledge_matches_exactly_by_the_servers_clock_and_reads_back() -> None:
    server = Server()
    am = make(server)
    down = await engine_down(am)
    assert await am.acknowledge(down, author="tess@phone", comment="  on it ", duration=HOUR) == SILENCE
    (body,) = server.posted
    matchers = {m["name"]: m for m in body["matchers"]}
    assert {name: m["value"] for name, m in matchers.items()} == dict(down.labels)
    assert all(m["isRegex"] is False and m["isEqual"] is True for m in matchers.values())
    assert body["startsAt"] == "2026-11-20T13:58:51.000Z" and body["endsAt"] == "2026-11-20T14:59:51.000Z"
    assert (body["createdBy"], body["comment"]) == ("tess@phone", "ack: on it")
    assert server.asked[-2:] == ["GET /api/v2/alerts", f"GET /api/v2/silence/{SILENCE}"]


async def test_acknowledge_without_the_alerts_list_first_asks_the_servers_time() -> None:
    server = Server()
    down = await engine_down(make(server))
    await make(server).acknowledge(down, author="t", comment="x", duration=HOUR)
    assert server.posted[0]["endsAt"] == "2026-11-20T14:59:51.000Z"


@pytest.mark.parametrize(("comment", "duration"), [("", HOUR), (" \n\x1b[0m", HOUR), ("x", timedelta(0))])
async def test_an_empty_comment_or_no_time_is_refused(comment: str, duration: timedelta) -> None:
    server = Server()
    am = make(server)
    down = await engine_down(am)
    with pytest.raises(Refused):
        await am.acknowledge(down, author="t", comment=comment, duration=duration)
    with pytest.raises(Refused):
        await am.acknowledge(replace(down, labels=()), author="t", comment="x", duration=HOUR)  # it would hush everything
    assert not server.posted


async def test_a_silence_whose_id_no_encoding_holds_costs_no_alert() -> None:
    server = Server()
    row = {"labels": {"alertname": "A"}, "status": {"state": "suppressed", "silencedBy": ["\ud800"]}, "fingerprint": "a"}
    server.over[("GET", "/api/v2/alerts")] = httpx.Response(200, content=json.dumps([row]).encode())
    alerts = (await make(server).seen()).alerts
    assert [alert.name for alert in alerts] == ["A"]


async def test_a_silence_that_does_not_hush_is_told() -> None:
    server = Server()
    server.silenced = "alerts.before-silence.json"
    am = make(server)
    down = await engine_down(am)
    with pytest.raises(PortError, match="still active"):
        await am.acknowledge(down, author="t", comment="x", duration=HOUR)


async def test_unacknowledge_ends_what_hushes_it() -> None:
    server = Server()
    server.alerts = "alerts.after-silence.json"
    am = make(server)
    down = await engine_down(am)
    assert await am.unacknowledge(down) == (SILENCE,)
    assert f"DELETE /api/v2/silence/{SILENCE}" in server.asked
    with pytest.raises(Refused, match="not acknowledged"):
        await am.unacknowledge(await engine_down(am))


@pytest.mark.parametrize("gone", [httpx.Response(404), httpx.Response(500, json="silence not found")])
async def test_a_silence_that_is_gone_already_is_no_failure(gone: httpx.Response) -> None:
    server = Server()
    server.alerts = "alerts.after-silence.json"
    am = make(server)
    down = await engine_down(am)
    server.alerts = "alerts.after-silence.json"
    server.over["DELETE", f"/api/v2/silence/{SILENCE}"] = gone
    asked = 0

    def serve(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += request.method == "DELETE"
        if asked:
            server.alerts = "alerts.after-expire.json"
        return server(request)

    am = make(serve)
    assert await am.unacknowledge(down) == (SILENCE,)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (httpx.Response(400, json=recorded("error.silence-ends-past.json")), Malformed, "end time can't be in the past"),
        (httpx.Response(422, json=recorded("error.silence-missing-comment.json")), Malformed, "comment in body is required"),
        (httpx.Response(415, text="unsupported"), Malformed, "did not get JSON"),
        (httpx.Response(503, text="Service Unavailable"), Unreachable, "not ready"),
        (httpx.Response(401, text="Unauthorized"), Refused, "wants a login"),
        (httpx.Response(404, text="404 page not found"), Unsupported, "path prefix"),
        (httpx.Response(410, json=recorded("error.v1-gone.json")), Unsupported, "no longer has"),
        (httpx.Response(504), TimedOut, "in time"),
        (httpx.Response(200, html="<html>"), Malformed, "not JSON"),
    ],
)
async def test_sentences(answer: httpx.Response, kind: type[PortError], words: str) -> None:
    with pytest.raises(kind) as raised:
        await make(lambda request: answer).list()
    assert words in raised.value.sentence()


async def test_hostile_text_is_clean_to_show_and_raw_to_match() -> None:
    labels = {"alertname": "\x1b[31mEvil\u202e", "severity": "crit\nical", "job": "a\tb\x1b]0;x\x07"}
    row = {
        "labels": labels,
        "annotations": {"summary": "x" * 9000 + "\x1b[2J"},
        "fingerprint": "f",
        "startsAt": "no",
        "status": None,
    }
    (alert,) = await make(lambda request: httpx.Response(200, json=[row, 3, {"labels": 1}])).list()
    assert (alert.name, alert.severity) == ("Evil", "crit ical") and alert.since is None
    assert len(alert.summary) == 400 and "\x1b" not in alert.summary
    (annotation,) = alert.annotations
    assert annotation[0] == "summary" and len(annotation[1]) == 2000 and "\x1b" not in annotation[1]
    assert dict(alert.labels) == labels


async def test_the_source_tells_the_whole_list_and_the_version() -> None:
    server, events = Server(), list[Event]()
    source = AlertmanagerSource(make(server), FakeClock(), interval_seconds=5)
    state = initial((), FakeClock().now())
    assert await source.poll(state, events.append) == "0.33.1"
    await source.poll(state, events.append)
    assert isinstance(events[0], AlertsSeen) and len(events[0].alerts) == 3
    assert server.asked.count("GET /api/v2/status") == 1
    await source.aclose()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    if not (shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")):
        pytest.skip("no Alertmanager here")
    with alertmanager(tmp_path) as url:
        yield url


@pytest.mark.integration
async def test_a_real_one_from_alert_to_silence_and_back(real: str) -> None:
    async with httpx.AsyncClient() as http:
        alerts = [
            {"labels": {"alertname": "A", "instance": i, "odd": 'q"uo\\te|.*'}, "annotations": {"summary": "s"}}
            for i in ("x", "y")
        ]
        assert (await http.post(f"{real}/api/v2/alerts", json=alerts)).status_code == 200
    am = Alertmanager(http_client(None, base_url=real, timeout_seconds=60), RealClock())
    for _ in range(50):
        if len(await am.list()) == 2:
            break
        await asyncio.sleep(0.1)
    one, other = sorted(await am.list(), key=lambda a: a.label("instance"))
    identity = await am.acknowledge(one, author="tess", comment="on it", duration=HOUR)
    now = {a.label("instance"): a for a in await am.list()}
    assert now["x"].state is AlertState.ACKNOWLEDGED and now["y"].state is AlertState.ACTIVE  # exactly that one
    assert [(s.id, s.author, s.comment) for s in now["x"].silences] == [(identity, "tess", "ack: on it")]
    assert now["x"].silences[0].ends_at - datetime.now(UTC) < HOUR + timedelta(seconds=2)
    second = await am.acknowledge(one, author="bob", comment="me too", duration=2 * HOUR)
    assert set(await am.unacknowledge(one)) == {identity, second}
    assert {a.state for a in await am.list()} == {AlertState.ACTIVE}
    with pytest.raises(Refused):
        await am.unacknowledge(other)
    await am.aclose()
