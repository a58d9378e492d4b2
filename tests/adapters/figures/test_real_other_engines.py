"""The PromQL of llama.cpp and LiteLLM against a real Prometheus that scrapes their recorded pages."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator

import httpx
import pytest

from sovtui.adapters.engines.base import Windows
from sovtui.adapters.figures.api import query
from sovtui.adapters.registry import load_engine
from tests.adapters.figures.real import DOWN, pages, prometheus

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here"),
]
PAGES = {
    "llamacpp": ("llamacpp/metrics.fresh.prom", "llamacpp/metrics.busy.prom"),
    "litellm": ("litellm/metrics.after-load.part.prom",) * 2,
}
WINDOWS = Windows(speed=15, latency=15, hits=15)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, int]]]:
    folder = tmp_path_factory.mktemp("prometheus-engines")
    with pages(PAGES) as ports, prometheus(folder, ports) as url:
        time.sleep(22.0)
        yield url, ports


async def ask(url: str, engine: str, port: int) -> dict[str, float | None]:
    adapter, matchers, found = load_engine(engine), f'instance=~".+:{port}"', {}
    async with httpx.AsyncClient(base_url=url) as http:
        for figure, expression in adapter.queries(matchers, WINDOWS).items():
            reply = await query(http, expression)
            assert len(reply.series) <= 1 and all(not s.labels for s in reply.series), figure
            found[figure] = reply.series[0].value if reply.series else None
        found["time"] = next((s.value for s in (await query(http, adapter.sampled_at(matchers))).series), None)
    return found


async def test_llamacpp(store: tuple[str, dict[str, int]]) -> None:
    url, ports = store
    told = await ask(url, "llamacpp", ports["llamacpp"])
    assert told["engine.decode_tok_s"] == pytest.approx(2198 / 5 * 1.87489, rel=0.1)  # steps times busy slots
    assert told["engine.prompt_tok_s"] == pytest.approx(283 / 5, rel=0.1)
    assert (told["engine.running"], told["engine.waiting"]) == (2, 0)
    assert told["engine.itl_mean_seconds"] == pytest.approx(0.163978 / 700, rel=0.05)
    assert told["engine.prefix_hit_ratio"] == pytest.approx(3 / 286, rel=0.05)
    assert told["engine.accept_ratio"] is None and told["engine.kv_use_ratio"] is None  # no drafts, no such series: not zero
    assert abs((told["time"] or 0) - time.time()) < 5


async def test_litellm(store: tuple[str, dict[str, int]]) -> None:
    url, ports = store
    told = await ask(url, "litellm", ports["litellm"])
    assert (told["engine.decode_tok_s"], told["engine.prompt_tok_s"], told["engine.running"]) == (0, 0, 0)
    assert math.isnan(told["engine.ttft_p50_seconds"] or 0)  # nothing answered: not zero
    assert "engine.itl_mean_seconds" not in told  # LiteLLM tells no time per token
    assert told["engine.start_unixtime"] == pytest.approx(1.79518e9, rel=1e-4)


async def test_when_it_is_gone_so_is_its_speed(store: tuple[str, dict[str, int]]) -> None:
    url, ports = store
    DOWN.add("llamacpp")
    try:
        time.sleep(4.0)
        told = await ask(url, "llamacpp", ports["llamacpp"])
    finally:
        DOWN.discard("llamacpp")
    assert {figure: value for figure, value in told.items() if value is not None} == {}
