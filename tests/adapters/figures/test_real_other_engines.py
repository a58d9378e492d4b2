"""The PromQL of llama.cpp and LiteLLM against a real Prometheus that scrapes their recorded pages."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sovtui.adapters.engines.base import Windows
from sovtui.adapters.figures.api import query
from sovtui.adapters.registry import load_engine
from tests.adapters.figures.real import DATA, DOWN, pages, prometheus

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here"),
]
PAGES = {
    "mixed": ("llamacpp/metrics.fresh.prom", "llamacpp/metrics.busy.prom"),
    "litellm": ("litellm/metrics.after-load.part.prom",) * 2,
}
WINDOWS = Windows(speed=15, latency=15, hits=15)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, int]]]:
    folder = tmp_path_factory.mktemp("prometheus-engines")
    steady = llama(
        folder / "steady.prom", tokens_predicted_total=700, tokens_predicted_seconds_total=4.8, prompt_seconds_total=0.2
    )
    idle = llama(folder / "idle.prom", requests_processing=0)
    still = llama(folder / "still.prom")
    made = {"steady": (llama(folder / "none.prom"), steady), "one-goes-on": (still, still), "idle": (idle, idle)}
    with pages({**PAGES, **made}) as ports, prometheus(folder, ports) as url:
        time.sleep(22.0)
        yield url, ports


def llama(path: Path, **numbers: float) -> str:
    """A page of llama.cpp with one request running, and otherwise with these counts five seconds on."""
    text = (DATA / "llamacpp/metrics.fresh.prom").read_text()
    for name, number in {"requests_processing": 1, **numbers}.items():
        text, count = re.subn(rf"(?m)^(llamacpp:{name}) \S+$", rf"\g<1> {number}", text)
        assert count == 1, name
    path.write_text(text)
    return str(path)


async def ask(url: str, engine: str, port: int) -> dict[str, float | None]:
    adapter, matchers, found = load_engine(engine), f'instance=~".+:{port}"', {}
    async with httpx.AsyncClient(base_url=url) as http:
        for figure, expression in adapter.queries(matchers, WINDOWS).items():
            reply = await query(http, expression, ("",))
            assert len(reply.series) <= 1 and all(not s.labels for s in reply.series), figure
            found[figure] = reply.series[0].value if reply.series else None
        found["time"] = next((s.value for s in (await query(http, adapter.sampled_at(matchers), ("",))).series), None)
    return found


async def test_llamacpp(store: tuple[str, dict[str, int]]) -> None:
    url, ports = store
    told = await ask(url, "llamacpp", ports["mixed"])
    assert (told["engine.running"], told["engine.waiting"]) == (2, 0)
    assert told["engine.itl_mean_seconds"] == pytest.approx(0.163978 / 700, rel=0.05)
    assert told["engine.prefix_hit_ratio"] == pytest.approx(3 / 286, rel=0.05)
    assert told["engine.accept_ratio"] is None and told["engine.kv_use_ratio"] is None  # no drafts, no such series: not zero
    assert abs((told["time"] or 0) - time.time()) < 60


@pytest.mark.parametrize(
    ("page", "decode"),
    [
        ("steady", 700 / 5),  # short requests, one after the other: as long as requests ran
        (
            "mixed",
            None,
        ),  # two run all the time, and those that end took next to no time: most of their tokens are not counted yet
        ("one-goes-on", None),
        ("idle", 0.0),
    ],
)
async def test_llamacpps_speed_is_told_where_its_counters_have_it(
    store: tuple[str, dict[str, int]], page: str, decode: float | None
) -> None:
    url, ports = store
    told = await ask(url, "llamacpp", ports[page])
    assert told["engine.decode_tok_s"] == (None if decode is None else pytest.approx(decode, rel=0.1, abs=0.01))


async def test_litellm(store: tuple[str, dict[str, int]]) -> None:
    url, ports = store
    told = await ask(url, "litellm", ports["litellm"])
    assert (told["engine.decode_tok_s"], told["engine.prompt_tok_s"], told["engine.running"]) == (0, 0, 0)
    assert math.isnan(told["engine.ttft_p50_seconds"] or 0)  # nothing answered: not zero
    assert "engine.itl_mean_seconds" not in told  # LiteLLM tells no time per token
    assert told["engine.start_unixtime"] == pytest.approx(1.79518e9, rel=1e-4)


async def test_when_it_is_gone_so_is_its_speed(store: tuple[str, dict[str, int]]) -> None:
    url, ports = store
    DOWN.add("steady")
    try:
        time.sleep(4.0)
        told = await ask(url, "llamacpp", ports["steady"])
    finally:
        DOWN.discard("steady")
    assert {figure: value for figure, value in told.items() if value is not None} == {}
