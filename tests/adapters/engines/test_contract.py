"""What every engine must offer, whoever wrote it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest

from sovtui.adapters.engines.base import EngineAdapter, Past, Windows, windows
from sovtui.adapters.engines.scrape import Scrape
from sovtui.adapters.registry import engine_names, load_engine
from sovtui.core.catalog import CATALOG, ENGINE_FIGURES
from sovtui.core.model import EnginePhase
from sovtui.core.reading import Reading
from sovtui.ports.errors import Malformed, Unreachable
from tests.adapters.engines.pretend import Room, Server, ready_server

MATCHERS = 'instance=~".+:8000"'
AT = datetime(2026, 11, 20, tzinfo=UTC)
HARMFUL = re.compile(
    r"/(?:api/generate|api/chat|api/embed|api/show|upstream/|models/(?:un)?load|unload|completions|free|interrupt)"
)
"""What would load, wake, swap, stop or bill; none of it is a figure."""
NAMELESS = ("comfyui",)
"""Engines that do not tell which model they have."""


@pytest.fixture(params=engine_names())
def engine(request: pytest.FixtureRequest) -> EngineAdapter:
    return load_engine(request.param)


def test_there_are_all_of_them_and_helpers_are_none() -> None:
    assert engine_names() == ("comfyui", "litellm", "llamacpp", "llamaswap", "ollama", "sglang", "vllm")


def test_its_name_is_its_file(engine: EngineAdapter) -> None:
    assert engine.name in engine_names() and load_engine(engine.name) is engine


def test_its_queries_are_of_known_figures_and_carry_the_matchers(engine: EngineAdapter) -> None:
    queries = engine.queries(MATCHERS, Windows(speed=45, latency=60))
    assert queries.keys() <= CATALOG.keys()
    if not queries:
        assert engine.live  # then it tells by itself or nobody does
        return
    assert {"engine.decode_tok_s", "engine.prompt_tok_s", "engine.running"} <= queries.keys()
    for figure in ENGINE_FIGURES:
        assert figure in queries or engine.absent(figure), figure
    for query in (*queries.values(), engine.sampled_at(MATCHERS)):
        assert query.count("{") == query.count(MATCHERS), query  # no selector without them
        assert query.count("(") == query.count(")")
        for ranged, window in re.findall(r"(?:rate|increase)\(([a-z_]*\{[^}]*\})\[(\d+)s\]\)", query):
            assert f"[{window}s]) and {ranged})" in query  # no ghost tokens
    assert re.search(r"\[(45|60)s", queries["engine.decode_tok_s"])
    assert queries["engine.decode_tok_s"] != engine.queries(MATCHERS, Windows(speed=180, latency=240))["engine.decode_tok_s"]


def test_without_matchers_the_selectors_are_still_right(engine: EngineAdapter) -> None:
    assert not any(",}" in q or "{," in q for q in engine.queries("").values())


def test_windows_follow_the_scrape_interval() -> None:
    assert windows(5) == Windows(15, 60, 300)
    assert windows(15) == Windows(45, 60, 300)
    assert windows(60) == Windows(180, 240, 300)
    assert windows(None) == windows(15)


def test_it_tells_why_an_empty_page_has_no_figures(engine: EngineAdapter) -> None:
    readings = engine.parse(None, Scrape(AT, 0.0))
    assert readings.keys() == set(ENGINE_FIGURES)
    constant = {"engine.slots"} if engine.name == "comfyui" else set()
    assert all(r.value is None and r.reason for figure, r in readings.items() if figure not in constant)


async def test_refused_is_the_callers_to_judge(engine: EngineAdapter) -> None:
    server = Server()
    server.up = False
    async with server.client() as http:
        with pytest.raises(Unreachable):
            await engine.probe(http, "m", Past(), 0.0)


async def test_its_ready_is_the_right_model_only(engine: EngineAdapter) -> None:
    server = ready_server(engine.name)
    async with server.client() as http:
        for expected, phase in (("m", EnginePhase.READY), ("", EnginePhase.READY), ("other", EnginePhase.WRONG_MODEL)):
            past = Past()
            told = await engine.probe(http, expected, past, 0.0)
            if engine.name in NAMELESS:
                assert told.phase is EnginePhase.READY
                continue
            assert told.phase is phase and told.models == ("m",)
            assert past.ready == (phase is EnginePhase.READY)
        assert engine.name in NAMELESS or "it serves m, not other" in told.reason


async def test_a_401_is_alive_and_a_web_page_is_something_else(engine: EngineAdapter) -> None:
    closed = {"/v1/models", "/api/ps", "/running", "/system_stats"}
    status = 401

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status if request.url.path in closed else 200, text="<html>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x:1") as http:
        told = await engine.probe(http, "m", Past(), 0.0)
        assert told.phase is EnginePhase.READY and re.search("key|login", told.reason)
        status = 200
        assert (await engine.probe(http, "m", Past(), 0.0)).phase is EnginePhase.WRONG_MODEL


async def test_rubbish_of_every_kind_is_told_and_never_raised(engine: EngineAdapter) -> None:
    """Whatever shape the JSON has: an engine phase, a sentence, no figure from nothing."""
    rubbishes: tuple[object, ...] = (None, 7, "x", [], [1], {}, {"data": 1}, {"data": [{"id": 7}]}, {"models": [7]}, {"running": [{"model": []}]},
                    {"exec_info": []}, {"system": {}, "devices": [7, {}]}, {"models": [{"name": {}, "size": "x"}]})  # fmt: skip
    for rubbish in rubbishes:

        def answer(request: httpx.Request, rubbish: object = rubbish) -> httpx.Response:
            return httpx.Response(200, json=rubbish)

        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x:1") as http:
            past = Past()
            told = await engine.probe(http, "m", past, 0.0)
            assert isinstance(told.phase, EnginePhase)
            try:
                page = await engine.scrape(http, past, AT, 0.0)
            except Malformed:
                continue
            if isinstance(page, Scrape):
                engine.parse(None, page)
            else:
                assert not isinstance(page, Reading) or page.reason


async def test_looking_changes_nothing_and_is_not_chatty(engine: EngineAdapter) -> None:
    """A minute of looks, ready, empty, failing: only GETs, none that loads, wakes, swaps, stops or bills; no more than needed."""
    for server in (ready_server(engine.name), ready_server(engine.name, "another"), Server()):
        room = Room(server, engine.name, model="m")
        room.unit("active")
        for _ in range(30):
            await room.poll()
        assert {r.method for r in server.requests} == {"GET"}
        bad = [f"{r.url.path}" for r in server.requests if HARMFUL.search(r.url.path)]
        assert not bad
        assert engine.name != "litellm" or "/health" not in server.asked
        assert len(server.requests) <= 30 * 4 + 10
        assert all(not r.content for r in server.requests)


async def test_a_dead_one_and_a_hung_one_are_told_apart(engine: EngineAdapter) -> None:
    for kind, phase in (("refuses", EnginePhase.DEAD), ("silent", EnginePhase.HUNG)):
        server = ready_server(engine.name)
        room = Room(server, engine.name, model="m")
        room.unit("active")
        assert (await room.poll()).phase is EnginePhase.READY
        if kind == "refuses":
            server.up = False
        else:
            server.slow = set(server.routes) | {"/health", "/api/ps", "/running", "/metrics", "/v1/models"}
        phases = [(await room.poll(12.0)).phase for _ in range(5)]
        assert phases[-1] is phase, kind
        assert kind == "silent" or phases[0] is EnginePhase.UNKNOWN, "one refusal may be a stop that is on its way"


async def test_a_fresh_figure_is_never_made_of_a_silence(engine: EngineAdapter) -> None:
    server = ready_server(engine.name)
    room = Room(server, engine.name, model="m")
    room.unit("active")
    await room.poll()
    answered = room.clock.now()
    server.slow = {
        "/metrics",
        "/metrics/",
        "/slots",
        "/props",
        "/prompt",
        "/system_stats",
        "/api/ps",
        "/api/tags",
        "/api/metrics/stats",
    }
    await room.poll(30.0)
    late = [
        k for k, r in room.state.hosts["spark"].figures.items() if r.value is not None and r.at is not None and r.at > answered
    ]
    assert not late
