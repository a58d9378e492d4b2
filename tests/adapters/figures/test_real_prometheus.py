"""All PromQL against a real Prometheus that scrapes the recorded pages."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from sovtui.adapters.engines.base import Windows
from sovtui.adapters.figures.api import query
from sovtui.adapters.figures.history import HistorySource
from sovtui.adapters.figures.prometheus import PrometheusSource
from sovtui.adapters.links.http import client as http_client
from sovtui.adapters.links.sync_http import LinkAdapter
from sovtui.config.schema import BackupConfig, Config, HostConfig, ModeConfig, PrometheusConfig
from sovtui.core.events import Curve
from sovtui.core.reading import Status
from sovtui.runtime.clock import RealClock
from tests.adapters.figures.estate import ENGINES, Room
from tests.adapters.figures.real import DOWN, pages, prometheus

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here"),
]

ENGINE_PAGES = {
    "vllm-0.32": ("vllm/0.32.0-load-t0.prom", "vllm/0.32.0-load-t5.prom", 1048 / 5),
    "vllm-spec": ("vllm/0.32.0-spec-ngram-load-t0.prom", "vllm/0.32.0-spec-ngram-load-t5.prom", 29 / 5),
    "vllm-0.8": ("vllm/reconstructed-0.8.5-load-t0.prom", "vllm/reconstructed-0.8.5-load-t5.prom", 192.0),
    "vllm-0.10": ("vllm/reconstructed-0.10.2-load-t0.prom", "vllm/reconstructed-0.10.2-load-t5.prom", 192.0),
    "vllm-0.33": ("vllm/reconstructed-0.33.0-load-t0.prom", "vllm/reconstructed-0.33.0-load-t5.prom", 192.0),
    "sglang-0.4": ("sglang/reconstructed-0.4.10-load-t0.prom", "sglang/reconstructed-0.4.10-load-t5.prom", 175.2),
    "sglang-0.5.9": ("sglang/reconstructed-0.5.9-load-t0.prom", "sglang/reconstructed-0.5.9-load-t5.prom", 175.2),
    "sglang-0.5.23": ("sglang/reconstructed-0.5.23-load-t0.prom", "sglang/reconstructed-0.5.23-load-t5.prom", 175.2),
}
OTHERS = {
    "node": ("node-exporter/node-exporter-1.11.1.prom",) * 2,
    "gpu": ("gpu-exporters/nvidia_gpu_exporter.gb10.prom",) * 2,
    "backup": ("prometheus/box-backup.prom",) * 2,
}
SECONDS = 22.0  # five until the targets are taken up, then a full window


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Config]]:
    folder = tmp_path_factory.mktemp("prometheus")
    with pages({n: f[:2] for n, f in ENGINE_PAGES.items()} | OTHERS) as ports, prometheus(folder, ports) as url:
        modes = tuple(
            ModeConfig(name=name, engine=name.partition("-")[0], url=f"http://127.0.0.1:{ports[name]}") for name in ENGINE_PAGES
        )
        metric = 'box_backup_last_success_timestamp_seconds{job_name="restic-home"}'
        host = HostConfig(
            mode=modes,
            backup=(BackupConfig(name="nas", service="backup-nas.service", metric=metric),),
            watch=("vllm@qwen3-32b.service", "litellm.service", "user:x.service"),
        )
        time.sleep(SECONDS)
        yield url, Config(host={"spark": host}, prometheus=PrometheusConfig(url=url))


def sources(url: str, made: Config) -> PrometheusSource:
    return PrometheusSource(made, ENGINES, http_client(None, base_url=url, timeout_seconds=60), RealClock())


async def test_one_query_tells_everything(store: tuple[str, Config], capsys: pytest.CaptureFixture[str]) -> None:
    url, made = store
    source, room = sources(url, made), Room(made, RealClock().now())
    detail = await source.poll(room.state, room.put)
    began = time.monotonic()
    await source.poll(room.state, room.put)
    spent = time.monotonic() - began
    await source.aclose()
    with capsys.disabled():
        print(
            f"\n{len(source.questions(None))} expressions, {source.last_query_chars} characters asked,"
            f" {source.last_reply_bytes} bytes answered, {spent * 1000:.0f} ms"
        )
    assert detail.startswith("2.") or detail.startswith("3.")
    assert not source._bad
    host = room.state.hosts["spark"]
    for name, (_, _, rate) in ENGINE_PAGES.items():
        reading = host.reading("engine.decode_tok_s", name)
        assert reading.status is Status.FRESH and reading.value == pytest.approx(rate, rel=0.05), (name, reading)
        assert (reading.age_seconds(RealClock().now()) or 9) < 3
        assert source.tells("spark", name)
        assert host.reading("engine.itl_mean_seconds", name).value is not None, name
        if name in ("vllm-0.32", "sglang-0.5.9"):  # requests ended; or it is over tokens
            assert host.reading("engine.itl_p95_seconds", name).value is not None, name
        assert host.reading("engine.running", name).value == {"vllm-0.32": 8, "vllm-spec": 6}.get(name, 3)
        assert 0 < (host.reading("engine.kv_use_ratio", name).value or 0) < 1
    assert host.reading("engine.ttft_p50_seconds", "vllm-0.32").value is not None
    assert host.reading("engine.itl_mean_seconds", "vllm-0.32").value == pytest.approx(37.907649 / 1037, rel=0.02)
    assert host.reading("engine.itl_mean_seconds", "vllm-spec").value == pytest.approx(28.533918 / 29, rel=0.02)  # of 24 steps
    assert host.reading("engine.prompt_tok_s", "vllm-0.32").value == pytest.approx((7826 - 5493) / 5, rel=0.05)  # computed
    assert host.reading("engine.prefix_hit_ratio", "vllm-0.32").value == pytest.approx(0.644, rel=0.02)
    assert host.reading("engine.accept_ratio", "vllm-spec").value == pytest.approx(5 / 60, rel=0.02)
    assert host.reading("engine.accept_length", "vllm-spec").value == pytest.approx(1.2778, rel=0.02)
    assert host.reading("engine.accept_ratio", "vllm-0.32").status is Status.UNSUPPORTED
    assert host.reading("engine.accept_ratio", "sglang-0.5.23").status is Status.UNSUPPORTED
    assert host.reading("engine.asleep", "vllm-0.32").value == 0
    assert host.reading("engine.asleep", "vllm-0.8").status is Status.UNSUPPORTED
    assert host.reading("engine.ttft_p50_seconds", "sglang-0.5.23").status is Status.UNKNOWN  # idle: 0/0
    assert host.reading("memory.total_bytes").value == 25276502016
    assert host.reading("memory.swap_used_bytes").value == 0
    assert host.reading("memory.droppable_bytes").value == 2178568192 + 3119292416 + 1001848832
    assert host.reading("gpu.use_ratio", "0").value == 0.94
    assert host.reading("gpu.memory_total_bytes", "0").status is Status.UNSUPPORTED
    assert host.services["vllm@qwen3-32b.service"].active == "active"
    assert host.services["litellm.service"].active == "failed"
    assert host.services["user:x.service"].active == "unknown"
    assert host.backups["nas"].last_success_at is not None and host.backups["nas"].source == "prometheus"


async def test_each_expression_parses_and_gives_one_value_without_labels(store: tuple[str, Config]) -> None:
    url, made = store
    async with httpx.AsyncClient(base_url=url) as http:
        for mode in made.host["spark"].mode:
            adapter = ENGINES[mode.engine]
            matchers = f'instance=~".+:{mode.url.rpartition(":")[2]}"'
            for figure, expression in adapter.queries(matchers, Windows()).items():
                reply = await query(http, expression, ("",))
                assert len(reply.series) <= 1 and all(not s.labels for s in reply.series), (mode.name, figure)
            assert len((await query(http, adapter.sampled_at(matchers), ("",))).series) == 1


async def test_a_bad_expression_costs_only_itself(store: tuple[str, Config]) -> None:
    url, made = store
    host = made.host["spark"]
    bad = (
        BackupConfig(name="typo", service="a.service", metric="box_backup_last("),
        BackupConfig(name="clash", service="b.service", metric="up * on (job) node_cpu_seconds_total"),
    )
    made = Config(host={"spark": HostConfig(mode=host.mode[:1], backup=(*host.backup, *bad))}, prometheus=made.prometheus)
    source, room = sources(url, made), Room(made, RealClock().now())
    for _ in range(2):
        await source.poll(room.state, room.put)
    await source.aclose()
    backups = room.state.hosts["spark"].backups
    assert "parse error" in backups["typo"].reason and "refuses" in backups["clash"].reason
    assert backups["nas"].last_success_at is not None
    assert room.state.hosts["spark"].reading("engine.decode_tok_s", "vllm-0.32").status is Status.FRESH
    assert len(source._bad) == 2


@pytest.mark.parametrize("library", [True, False])
async def test_history_fills_the_curves(store: tuple[str, Config], library: bool) -> None:
    url, made = store
    source, room = sources(url, made), Room(made, RealClock().now())
    loop = asyncio.get_running_loop()
    http = http_client(None, base_url=url, timeout_seconds=60)

    def adapter() -> LinkAdapter:
        return LinkAdapter(loop, http, timeout_seconds=60)

    history = HistorySource(made, source, http, RealClock(), make_adapter=adapter if library else None)
    assert await history.poll(room.state, room.put) == "filled"
    curves = {(e.figure, e.subject): e.points for e in room.events if isinstance(e, Curve)}
    await history.aclose()
    await http.aclose()
    await source.aclose()
    assert ("memory.available_bytes", "") in curves and ("gpu.use_ratio", "0") in curves
    points = curves["engine.decode_tok_s", "sglang-0.5.23"]
    assert points[-1][1] == pytest.approx(175.2, rel=0.25)  # the window may not be full yet
    assert abs(points[-1][0] - time.time()) < 60
    assert [at for at, _ in points] == sorted(at for at, _ in points)


async def test_no_ghost_tokens_of_an_engine_that_is_gone(store: tuple[str, Config]) -> None:
    url, made = store
    port = made.host["spark"].mode[list(ENGINE_PAGES).index("vllm-0.33")].url.rpartition(":")[2]
    DOWN.add("vllm-0.33")
    source, room = sources(url, made), Room(made, RealClock().now())
    try:
        await asyncio.sleep(2.5)
        async with httpx.AsyncClient(base_url=url) as http:
            ungated = await query(http, f'rate({{__name__="vllm:generation_tokens_total",instance=~".+:{port}"}}[15s])', ("",))
        await source.poll(room.state, room.put)
    finally:
        DOWN.clear()
        await source.aclose()
    assert ungated.series[0].value > 50  # what a plain rate still shows
    reading = room.state.hosts["spark"].reading("engine.decode_tok_s", "vllm-0.33")
    assert reading.value is None and "no such series" in reading.reason
    assert room.state.hosts["spark"].reading("engine.decode_tok_s", "vllm-0.10").status is Status.FRESH


async def test_what_an_ordinary_estate_costs(store: tuple[str, Config], capsys: pytest.CaptureFixture[str]) -> None:
    url, made = store
    host = made.host["spark"]
    made = Config(host={"spark": replace(host, mode=host.mode[:1])}, prometheus=made.prometheus)
    source, room = sources(url, made), Room(made, RealClock().now())
    spent = []
    for _ in range(6):
        began = time.monotonic()
        await source.poll(room.state, room.put)
        spent.append(time.monotonic() - began)
    await source.aclose()
    with capsys.disabled():
        print(
            f"\none host, one running engine: {len(source.questions(None))} expressions, {source.last_query_chars} characters asked,"
            f" {source.last_reply_bytes} bytes answered, {min(spent) * 1000:.0f} ms"
        )
    assert source.last_query_chars < 8000 and source.last_reply_bytes < 6000
