"""What every engine must offer, whoever wrote it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest

from sovtui.adapters.engines.base import EngineAdapter, Past, Windows, windows
from sovtui.adapters.engines.scrape import Scrape
from sovtui.adapters.registry import engine_names, load_engine
from sovtui.core.catalog import CATALOG
from sovtui.core.model import EnginePhase
from sovtui.ports.errors import Unreachable

MATCHERS = 'instance=~".+:8000"'


@pytest.fixture(params=engine_names())
def engine(request: pytest.FixtureRequest) -> EngineAdapter:
    return load_engine(request.param)


def test_its_name_is_its_file(engine: EngineAdapter) -> None:
    assert engine.name in engine_names() and load_engine(engine.name) is engine


def test_its_queries_are_of_known_figures_and_carry_the_matchers(engine: EngineAdapter) -> None:
    queries = engine.queries(MATCHERS, Windows(speed=45))
    assert queries.keys() <= CATALOG.keys()
    assert {
        "engine.decode_tok_s",
        "engine.prompt_tok_s",
        "engine.running",
        "engine.waiting",
        "engine.kv_use_ratio",
    } <= queries.keys()
    for figure in CATALOG:
        if figure.startswith("engine."):
            assert figure in queries or engine.absent(figure), figure
    for query in (*queries.values(), engine.sampled_at(MATCHERS)):
        assert query.count("{") == query.count(MATCHERS), query  # no selector without them
        assert query.count("(") == query.count(")")
        for ranged, window in re.findall(r"(?:rate|increase)\((\{[^}]*\})\[(\d+)s\]\)", query):
            assert f"[{window}s]) and {ranged})" in query  # no ghost tokens
    assert "[45s]" in queries["engine.decode_tok_s"]


def test_without_matchers_the_selectors_are_still_right(engine: EngineAdapter) -> None:
    assert not any(",}" in q or "{}" in q or "{," in q for q in engine.queries("").values() if "process_start" not in q)


def test_windows_follow_the_scrape_interval() -> None:
    assert windows(5) == Windows(15, 60, 300)
    assert windows(15) == Windows(45, 60, 300)
    assert windows(60) == Windows(180, 240, 300)
    assert windows(None) == windows(15)


def test_it_tells_why_an_empty_page_has_no_figures(engine: EngineAdapter) -> None:
    empty = Scrape(datetime(2026, 11, 20, tzinfo=UTC), 0.0)
    assert all(r.value is None and r.reason for r in engine.parse(None, empty).values())


async def test_refused_is_the_callers_to_judge(engine: EngineAdapter) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://x:1") as http:
        with pytest.raises(Unreachable):
            await engine.probe(http, "m", Past(), 0.0)


async def test_its_ready_is_the_right_model_only(engine: EngineAdapter) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": 32768}]})
        if request.url.path in ("/health", "/ping"):
            return httpx.Response(200)
        return httpx.Response(404)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x:1") as http:
        for expected, phase in (("m", EnginePhase.READY), ("", EnginePhase.READY), ("other", EnginePhase.WRONG_MODEL)):
            past = Past()
            told = await engine.probe(http, expected, past, 0.0)
            assert told.phase is phase and told.models == ("m",)
            assert past.ready == (phase is EnginePhase.READY)
        assert "it serves m, not other" in told.reason


async def test_a_401_is_alive_and_a_web_page_is_something_else(engine: EngineAdapter) -> None:
    status = 401

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status if request.url.path == "/v1/models" else 200, text="<html>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x:1") as http:
        told = await engine.probe(http, "m", Past(), 0.0)
        assert told.phase is EnginePhase.READY and "API key" in told.reason
        status = 200
        assert (await engine.probe(http, "m", Past(), 0.0)).phase is EnginePhase.WRONG_MODEL
