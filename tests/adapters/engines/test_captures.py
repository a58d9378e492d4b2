"""Every recorded page of every engine gives the figures that it should."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser

from sovtui.adapters.engines.scrape import Scrape, quantile, read_scrape
from sovtui.adapters.registry import engine_names, load_engine
from sovtui.core.catalog import CATALOG, Unit
from sovtui.core.reading import Reading, Status
from sovtui.ports.errors import Malformed

DATA = Path(__file__).parents[2] / "data"
AT = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
FIGURES = {key for key in CATALOG if key.startswith("engine.")}
PAGES = sorted(
    p.relative_to(DATA).as_posix() for name in ("vllm", "sglang", "llamacpp", "litellm") for p in (DATA / name).glob("*.prom")
)


def page(path: str, monotonic: float = 0.0) -> Scrape:
    return read_scrape((DATA / path).read_text(), load_engine(path.partition("/")[0]).wanted, AT, monotonic)


def between(first: str, second: str, seconds: float = 5.0) -> dict[str, Reading]:
    return load_engine(first.partition("/")[0]).parse(page(first), page(second, seconds))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_gives_every_figure_and_no_number_from_nothing(path: str) -> None:
    engine = load_engine(path.partition("/")[0])
    readings = engine.parse(page(path), page(path, 5.0))
    assert readings.keys() == FIGURES
    for key, reading in readings.items():
        if reading.value is None:
            assert reading.reason, key
        else:
            assert reading.status is Status.FRESH
            assert math.isfinite(reading.value) and reading.at == AT and reading.source == "engine"
            if CATALOG[key].unit is Unit.RATIO:
                assert 0 <= reading.value <= 1, key
    nothing_between = ("engine.ttft_p50_seconds", "engine.itl_mean_seconds", "engine.prefix_hit_ratio")
    assert all(readings[figure].value is None for figure in nothing_between)  # 0/0 is not zero


@pytest.mark.parametrize(
    ("first", "second", "decode"),
    [
        ("vllm/0.32.0-load-t0.prom", "vllm/0.32.0-load-t5.prom", 1048 / 5),
        ("vllm/0.32.0-spec-ngram-load-t0.prom", "vllm/0.32.0-spec-ngram-load-t5.prom", 29 / 5),
        *((f"vllm/reconstructed-{v}-load-t0.prom", f"vllm/reconstructed-{v}-load-t5.prom", 192.0) for v in
          ("0.8.5", "0.10.2", "0.11.2", "0.14.1", "0.20.0", "0.33.0")),
        *((f"sglang/reconstructed-{v}-load-t0.prom", f"sglang/reconstructed-{v}-load-t5.prom", 175.2) for v in
          ("0.4.10", "0.5.4", "0.5.9", "0.5.23")),
    ],
)  # fmt: skip
def test_decode_speed_of_each_version(first: str, second: str, decode: float) -> None:
    readings = between(first, second)
    assert readings["engine.decode_tok_s"].value == pytest.approx(decode)
    assert readings["engine.running"].value == {"vllm/0.32.0-load-t5.prom": 8, "vllm/0.32.0-spec-ngram-load-t5.prom": 6}.get(
        second, 3
    )
    assert readings["engine.kv_use_ratio"].fresh_value
    assert readings["engine.itl_mean_seconds"].fresh_value


def test_figures_of_a_loaded_vllm() -> None:
    readings = between("vllm/0.32.0-load-t0.prom", "vllm/0.32.0-load-t5.prom", 5.005)
    assert readings["engine.waiting"].value == 4
    assert readings["engine.kv_use_ratio"].value == pytest.approx(0.489, abs=0.001)
    assert readings["engine.prefix_hit_ratio"].value == pytest.approx(0.644, abs=0.001)
    assert readings["engine.ttft_p95_seconds"].value == pytest.approx(4.656, abs=0.001)
    assert readings["engine.asleep"].value == 0
    assert readings["engine.start_unixtime"].value == 1795181578.46
    assert readings["engine.accept_ratio"].status is Status.UNSUPPORTED


def test_acceptance_is_of_the_window_not_of_the_life() -> None:
    readings = between("vllm/0.32.0-spec-ngram-load-t0.prom", "vllm/0.32.0-spec-ngram-load-t5.prom")
    assert readings["engine.accept_ratio"].value == pytest.approx(5 / 60)
    assert readings["engine.accept_length"].value == pytest.approx(1.278, abs=0.001)
    readings = between("vllm/0.32.0-spec-ngram-repetitive-t0.prom", "vllm/0.32.0-spec-ngram-repetitive-t5.prom")
    assert (readings["engine.accept_ratio"].value, readings["engine.accept_length"].value) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("pages", "per_token"),
    [
        ("vllm/0.32.0-load", 37.907649 / 1037),  # no drafts: as many steps as tokens
        ("vllm/0.32.0-spec-ngram-load", 28.533918 / 29),  # 24 steps of 1.19 s
        ("vllm/0.32.0-spec-ngram-repetitive", 26.733415 / 180),  # 36 steps of 743 ms for 149 ms a token
        ("vllm/reconstructed-0.8.5-load", 6.156 / 960),
        ("vllm/reconstructed-0.33.0-load", 6.156 / 960),
        ("sglang/reconstructed-0.5.23-load", 0.0171),
    ],
)
def test_the_time_is_per_token_not_per_step(pages: str, per_token: float) -> None:
    readings = between(f"{pages}-t0.prom", f"{pages}-t5.prom")
    assert readings["engine.itl_mean_seconds"].value == pytest.approx(per_token, rel=0.001)


def test_the_95th_percentile_is_over_requests_where_that_is_told() -> None:
    loaded = between("vllm/0.32.0-load-t0.prom", "vllm/0.32.0-load-t5.prom")
    assert loaded["engine.itl_p95_seconds"].value == pytest.approx(0.049, abs=0.001)  # eleven requests ended, all in 25 to 50 ms
    still = between("vllm/reconstructed-0.33.0-load-t0.prom", "vllm/reconstructed-0.33.0-load-t5.prom")
    assert still["engine.itl_p95_seconds"].status is Status.UNKNOWN  # none ended
    old = between("vllm/reconstructed-0.10.2-load-t0.prom", "vllm/reconstructed-0.10.2-load-t5.prom")
    assert old["engine.itl_p95_seconds"].status is Status.UNSUPPORTED and "0.11" in old["engine.itl_p95_seconds"].reason


def test_prompt_tokens_are_the_computed_ones() -> None:
    loaded = between("vllm/0.32.0-load-t0.prom", "vllm/0.32.0-load-t5.prom")
    assert loaded["engine.prompt_tok_s"].value == pytest.approx((7826 - 5493) / 5)  # of 6557 that were asked for
    adapter = load_engine("vllm")

    def speed(version: str, prompt: int, cached: int, names: str) -> Reading:
        text = (DATA / f"vllm/reconstructed-{version}-load-t5.prom").read_text()
        later = re.sub(r"(?m)^(vllm:prompt_tokens_total\{.*\}) .*$", rf"\1 {2560 + prompt}", text)
        later = re.sub(rf"(?m)^(vllm:{names}prefix_cache_hits_total\{{.*\}}) .*$", rf"\1 {1040 + cached}", later)
        two = [read_scrape(t, adapter.wanted, AT, at) for t, at in ((text, 0.0), (later, 10.0))]
        return adapter.parse(*two)["engine.prompt_tok_s"]

    assert speed("0.14.1", 1000, 400, "").value == 60  # before 0.16 both are counted in tokens
    assert speed("0.14.1", 100, 400, "").value == 0  # counted as it was admitted: its prompt is still to come
    assert speed("0.8.5", 1000, 0, "gpu_").value == 100
    mixed = speed("0.8.5", 1000, 400, "gpu_")  # in blocks
    assert mixed.status is Status.UNSUPPORTED and "cache" in mixed.reason


def test_first_tokens_of_sglang_are_those_of_streams() -> None:
    adapter = load_engine("sglang")
    text = (DATA / "sglang/reconstructed-0.5.23-load-t5.prom").read_text()

    def grown(streaming: str, edge: float, count: int) -> str:
        def more(match: re.Match[str]) -> str:
            return f"{match[1]} {float(match[3]) + (count if match[2] == '+Inf' or float(match[2]) >= edge else 0)}"

        series = rf'(?m)^(sglang:time_to_first_token_seconds_bucket\{{.*is_streaming="{streaming}".*le="([^"]+)".*\}}) (.*)$'
        return re.sub(series, more, text)

    def p50(later: str) -> Reading:
        return adapter.parse(*(read_scrape(t, adapter.wanted, AT, at) for t, at in ((text, 0.0), (later, 10.0))))[
            "engine.ttft_p50_seconds"
        ]

    assert p50(grown("false", 20.0, 5)).status is Status.UNKNOWN  # nobody streamed
    streamed = p50(grown("true", 0.2, 5)).value
    assert streamed is not None and streamed <= 0.2


def test_acceptance_of_sglang() -> None:
    readings = between("sglang/reconstructed-0.5.23-spec-load.prom", "sglang/reconstructed-0.5.23-spec-load.prom")
    assert (readings["engine.accept_ratio"].value, readings["engine.accept_length"].value) == (0.57, 2.71)
    old = between("sglang/reconstructed-0.4.10-spec-load.prom", "sglang/reconstructed-0.4.10-spec-load.prom")
    assert old["engine.accept_ratio"].status is Status.UNSUPPORTED and old["engine.accept_length"].value == 2.71


def test_asleep_and_awake() -> None:
    for name, asleep in (("asleep-level1", 1), ("asleep-level2", 1), ("awake-again", 0)):
        path = f"vllm/0.32.0-{name}.prom"
        assert between(path, path)["engine.asleep"].value == asleep


def test_idle_is_zero_and_not_nothing() -> None:
    readings = between("vllm/0.32.0-idle.prom", "vllm/0.32.0-idle.prom")
    zero = ("engine.decode_tok_s", "engine.prompt_tok_s", "engine.running", "engine.waiting", "engine.kv_use_ratio")
    assert {figure: readings[figure].value for figure in zero} == dict.fromkeys(zero, 0.0)
    old = between("sglang/reconstructed-0.4.10-idle.prom", "sglang/reconstructed-0.4.10-idle.prom")
    assert old["engine.decode_tok_s"].value == 0.0


def test_without_log_stats_there_are_no_figures_and_the_reason_is_told() -> None:
    path = "vllm/0.32.0-disable-log-stats.prom"
    readings = between(path, path)
    assert {r.status for r in readings.values()} == {Status.UNSUPPORTED}
    assert "--disable-log-stats" in readings["engine.running"].reason


def test_several_api_servers_have_no_gauges_before_the_first_request() -> None:
    readings = between("vllm/0.32.0-two-api-servers-idle.prom", "vllm/0.32.0-two-api-servers-idle.prom")
    assert readings["engine.decode_tok_s"].value == 0
    assert readings["engine.running"].status is Status.UNKNOWN
    assert readings["engine.start_unixtime"].status is Status.UNSUPPORTED
    loaded = between("vllm/0.32.0-two-api-servers-idle.prom", "vllm/0.32.0-two-api-servers-load.prom")
    assert loaded["engine.running"].fresh_value is not None


@pytest.mark.parametrize("engine", ["vllm/0.32.0-load", "sglang/reconstructed-0.5.23-load"])
def test_a_counter_that_goes_back_is_a_restart_and_no_speed(engine: str) -> None:
    readings = between(f"{engine}-t5.prom", f"{engine}-t0.prom")
    assert readings["engine.decode_tok_s"].status is Status.UNKNOWN
    assert "restarted" in readings["engine.decode_tok_s"].reason
    assert readings["engine.running"].fresh_value is not None  # what needs no difference is still told


def test_another_start_time_is_a_restart_even_if_counters_grew() -> None:
    adapter = load_engine("vllm")
    text = (DATA / "vllm/0.32.0-load-t5.prom").read_text()
    later = read_scrape(text.replace("process_start_time_seconds 1.79518157846e+09", "process_start_time_seconds 1.7951820e+09"),
                        adapter.wanted, AT, 5.0)  # fmt: skip
    assert (
        adapter.parse(page("vllm/0.32.0-load-t0.prom"), later)["engine.decode_tok_s"].reason
        == "it restarted between two readings"
    )


def test_the_first_reading_has_gauges_and_no_speed() -> None:
    readings = load_engine("vllm").parse(None, page("vllm/0.32.0-load-t5.prom"))
    assert readings["engine.running"].value == 8
    assert readings["engine.decode_tok_s"].reason == "a second reading is needed"


def test_sglang_counts_a_series_that_was_not_there_from_zero() -> None:
    adapter = load_engine("sglang")
    text = (DATA / "sglang/reconstructed-0.5.9-idle.prom").read_text()
    before = read_scrape(text, adapter.wanted, AT, 0.0)
    assert before.named("sglang:realtime_tokens_total", mode="prefill_cache") == {}
    after = page("sglang/reconstructed-0.5.9-load-t5.prom", 10.0)
    readings = adapter.parse(before, after)
    assert readings["engine.prompt_tok_s"].value == pytest.approx((6772 - 6) / 10)
    assert readings["engine.prefix_hit_ratio"].value == pytest.approx(3584 / (6772 - 6 + 3584))


def test_ranks_of_one_group_are_not_added() -> None:
    adapter = load_engine("sglang")
    text = (DATA / "sglang/reconstructed-0.5.23-load-t5.prom").read_text()
    doubled = text + text.replace('tp_rank="0"', 'tp_rank="1"')
    lines = [line for line in doubled.splitlines() if not line.startswith("#")]
    scrape = read_scrape("\n".join(lines), adapter.wanted, AT, 0.0)
    assert adapter.parse(None, scrape)["engine.running"].value == 3


def test_an_underscore_for_the_colon_is_the_same() -> None:
    adapter = load_engine("vllm")
    text = (DATA / "vllm/0.32.0-load-t5.prom").read_text().replace("vllm:", "vllm_")
    assert adapter.parse(None, read_scrape(text, adapter.wanted, AT, 0.0))["engine.running"].value == 8


def test_rubbish_is_malformed_or_nothing() -> None:
    adapter = load_engine("vllm")
    assert read_scrape("<html>hello</html>", adapter.wanted, AT, 0.0).samples == 0
    with pytest.raises(Malformed):
        read_scrape("vllm:num_requests_running{a= 3", adapter.wanted, AT, 0.0)


def test_quantile_is_prometheus_own() -> None:
    assert quantile(0.5, {0.1: 0, 0.2: 10, math.inf: 10}) == pytest.approx(0.15)
    assert quantile(0.95, {0.1: 1, math.inf: 10}) == 0.1
    assert math.isnan(quantile(0.5, {})) and math.isnan(quantile(0.5, {0.1: 0, math.inf: 0}))


@pytest.mark.parametrize("path", ["vllm/0.32.0-load-t5.prom", "sglang/reconstructed-0.5.23-load-t5.prom"])
def test_most_of_a_big_page_never_meets_the_parser(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what takes the time: of 8 to 14 ms for a page 2 are left."""
    parsed = 0

    def parse(text: str) -> Any:
        nonlocal parsed
        parsed += len(text.splitlines())
        return real(text)

    real = parser.text_string_to_metric_families
    monkeypatch.setattr(parser, "text_string_to_metric_families", parse)
    text = (DATA / path).read_text()
    assert read_scrape(text, load_engine(path.partition("/")[0]).wanted, AT, 0.0).series
    assert 0 < parsed < len(text.splitlines()) / 3


def test_engines_are_found_by_their_file() -> None:
    assert set(engine_names()) >= {"vllm", "sglang"}
    with pytest.raises(LookupError, match="did you mean 'vllm'"):
        load_engine("vlm")
