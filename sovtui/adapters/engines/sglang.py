"""SGLang 0.4.10 to 0.5.23: its figures, its readiness, its words. Knows nothing of where it runs.

Time per token (TPOT): its inter-token latency is that of a step divided by the step's tokens, counted once per token, so its mean
is per token with and without drafts. Its p95 is over requests from 0.5.23 on, which has a histogram of that, else over tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from sovtui.adapters.engines.base import (
    NO_DRAFTS,
    NOT_YET,
    RESTARTED,
    SECOND_READING,
    FromMetrics,
    Past,
    Windows,
    gated,
    json_in,
    models_due,
    selector,
    wrong_model,
)
from sovtui.adapters.engines.scrape import Between, Labels, Scrape, total
from sovtui.adapters.engines.vllm import take_models
from sovtui.adapters.links.http import request
from sovtui.core import outside
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.ports.errors import PortError, TimedOut

HEALTH_EVERY_SECONDS = 30.0
"""Once ready: its health check generates a token and takes a second at least."""
HEALTH_RETRY_SECONDS = 10.0
HEALTH_TIMEOUT_SECONDS = 5.0

_TOKENS = "sglang:realtime_tokens_total"
"""Since 0.5.7, moves with every step; `generation_tokens_total` moves only when a request ends and is not used."""
_DECODE, _PREFILL = 'mode="decode"', 'mode=~"prefill_.*"'
_COMPUTED, _FROM_CACHE = 'mode="prefill_compute"', 'mode="prefill_cache"'
_ALL_PRIORITIES = 'priority=""'
_THROUGHPUT = "sglang:gen_throughput"
_RUNNING = "sglang:num_running_reqs"
_TTFT = "sglang:time_to_first_token_seconds"
_ITL = "sglang:inter_token_latency_seconds"
_TPOT = "sglang:request_time_per_output_token_seconds"
_STREAMED = 'is_streaming!="false"'
"""Since 0.5.19. An answer that is not streamed has its "first token" at its 50th or at its end; before, they cannot be told apart."""
_CACHED, _PROMPTED = "sglang:cached_tokens_total", "sglang:prompt_tokens_total"
_RATE, _LENGTH = "sglang:spec_accept_rate", "sglang:spec_accept_length"

_NEVER = ("engine.asleep", "engine.start_unixtime", "engine.slots", "engine.memory_bytes", "engine.cpu_share_ratio")


@dataclass(frozen=True, slots=True)
class Sglang(FromMetrics):
    """See `base.EngineAdapter`."""

    name: str = "sglang"
    no_metrics: str = "it runs without --enable-metrics and reports no figures"
    live: bool = False
    every_seconds: float = 0.0
    wanted: re.Pattern[str] = re.compile(
        r"sglang[:_](?:realtime_tokens_total|gen_throughput|num_(?:running|queue)_reqs[{ ]|token_usage"
        r"|(?:cached|prompt)_tokens_total|spec_accept_(?:rate|length)|(?:time_to_first_token|inter_token_latency|request_time_per_output_token)_seconds_(?!created))"
    )

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:  # noqa: B008 (frozen)
        def at(name: str, *more: str) -> str:
            return selector(name, matchers, *more)

        def ranks(inner: str, *keep: str) -> str:
            # With --enable-metrics-for-all-schedulers every rank of a tensor parallel group repeats the same number.
            return f"max by ({', '.join(('model_name', 'engine_type', 'dp_rank', *keep))}) ({inner})"

        def tokens(function: str, mode: str, seconds: int) -> str:
            return f"sum by (model_name) ({ranks(gated(function, at(_TOKENS, mode), seconds), 'mode')})"

        def gauge(name: str) -> str:
            return f"sum by (model_name) ({ranks(at(name, _ALL_PRIORITIES))})"

        def rate(name: str) -> str:
            return f"sum by (model_name) ({gated('rate', at(name), windows.latency)})"

        def finished(name: str) -> str:
            return f"sum by (model_name) ({gated('increase', at(name), windows.hits)})"

        def latency(q: float, name: str, *more: str) -> str:
            buckets = gated("rate", at(f"{name}_bucket", *more), windows.latency)
            return f"histogram_quantile({q}, sum by (model_name, le) ({buckets}))"

        asked = tokens("increase", _PREFILL, windows.hits)
        hits = f"({tokens('increase', _FROM_CACHE, windows.hits)} or 0 * {asked})"  # no hit yet: no series
        drafts = f"avg by (model_name) ({at(_LENGTH)}) > 0"
        return {
            "engine.decode_tok_s": f"max({tokens('rate', _DECODE, windows.speed)}"
            f" or {gauge(_THROUGHPUT)} * ({gauge(_RUNNING)} > bool 0))",
            "engine.prompt_tok_s": f"max({tokens('rate', _COMPUTED, windows.speed)})",
            "engine.running": f"max({gauge(_RUNNING)})",
            "engine.waiting": f"max({gauge('sglang:num_queue_reqs')})",
            "engine.kv_use_ratio": f"max({at('sglang:token_usage')})",
            "engine.ttft_p50_seconds": f"max({latency(0.5, _TTFT, _STREAMED)})",
            "engine.ttft_p95_seconds": f"max({latency(0.95, _TTFT, _STREAMED)})",
            "engine.itl_mean_seconds": f"max({rate(f'{_ITL}_sum')} / {rate(f'{_ITL}_count')})",
            # A store may leave out what is not a number: the older histogram stands in only where there is no newer one.
            "engine.itl_p95_seconds": f"max({latency(0.95, _TPOT, _STREAMED)} or {latency(0.95, _ITL)}"
            f" unless sum by (model_name) ({at(f'{_TPOT}_count')}))",
            "engine.prefix_hit_ratio": f"max({hits} / {asked} or {finished(_CACHED)} / {finished(_PROMPTED)})",
            "engine.accept_ratio": f"max(avg by (model_name) ({at(_RATE)}) and {drafts})",
            "engine.accept_length": f"max({drafts})",
        }

    def sampled_at(self, matchers: str) -> str:
        return f"max(timestamp({selector(_RUNNING, matchers)}))"

    def absent(self, figure: str) -> str:
        return {
            "engine.accept_ratio": NO_DRAFTS,
            "engine.accept_length": NO_DRAFTS,
            "engine.prompt_tok_s": "before 0.5.7 SGLang counts a prompt only when its request ends",
            **dict.fromkeys(_NEVER, "SGLang does not report this"),
        }.get(figure, "")

    def parse(
        self,
        before: Scrape | None,
        after: Scrape,
        *,
        latency_before: Scrape | None = None,
        hits_before: Scrape | None = None,
    ) -> dict[str, Reading]:
        figures = ENGINE_FIGURES
        if not after.has(_RUNNING, _TOKENS, _THROUGHPUT):
            return {figure: unsupported(self.no_metrics, "engine") for figure in figures}
        at = after.at
        found: dict[str, Reading] = {}

        def put(figure: str, value: float | None) -> None:
            if value is not None:
                found[figure] = fresh(value, at, "engine")

        def gauge(name: str) -> float | None:
            series = after.named(name, priority="")
            return by_rank(series) if series else None

        running = gauge(_RUNNING)
        put("engine.running", running)
        put("engine.waiting", gauge("sglang:num_queue_reqs"))
        if usage := after.named("sglang:token_usage"):
            put("engine.kv_use_ratio", max(usage.values()))
        if lengths := [value for value in after.named(_LENGTH).values() if value > 0]:
            put("engine.accept_length", sum(lengths) / len(lengths))
            if rates := after.named(_RATE).values():
                put("engine.accept_ratio", sum(rates) / len(rates))

        reason = SECOND_READING
        now = _between(before, after) if before is not None else None
        if now is not None and now.restarted:
            reason = RESTARTED
        elif now is not None and now.usable:
            reason = NOT_YET
            decoded = now.increase(_TOKENS, by_rank, mode="decode")
            put("engine.decode_tok_s", None if decoded is None else decoded / now.seconds)
            if after.has(_TOKENS):
                computed = now.increase(_TOKENS, by_rank, mode="prefill_compute") or 0.0
                put("engine.prompt_tok_s", computed / now.seconds)
        if "engine.decode_tok_s" not in found and not after.has(_TOKENS) and running is not None:
            # A gauge of the last 40 steps: it keeps its value when the last request has gone.
            put("engine.decode_tok_s", gauge(_THROUGHPUT) if running > 0 else 0.0)
        since = _window(latency_before or before, after)
        if since is not None and since.usable:
            put("engine.ttft_p50_seconds", since.quantile(0.5, _TTFT, _streamed))
            put("engine.ttft_p95_seconds", since.quantile(0.95, _TTFT, _streamed))
            put("engine.itl_mean_seconds", since.mean(_ITL))
            per_request = since.quantile(0.95, _TPOT, _streamed)
            put("engine.itl_p95_seconds", per_request if after.has(f"{_TPOT}_bucket") else since.quantile(0.95, _ITL))
        longer = _window(hits_before or before, after)
        if longer is not None and longer.usable:
            put("engine.prefix_hit_ratio", self._hits(longer))
        for figure in figures:
            if figure not in found:
                speaks = figure == "engine.prompt_tok_s" and after.has(_TOKENS)
                spoken = "" if speaks else self.absent(figure)
                found[figure] = unsupported(spoken, "engine") if spoken else unknown(reason, "engine", at)
        return found

    @staticmethod
    def _hits(between: Between) -> float:
        if between.after.has(_TOKENS):
            cached, computed = (between.increase(_TOKENS, by_rank, mode=f"prefill_{m}") or 0.0 for m in ("cache", "compute"))
            return cached / (cached + computed) if cached + computed > 0 else float("nan")
        asked = between.increase(_PROMPTED, total) or 0.0
        return (between.increase(_CACHED, total) or 0.0) / asked if asked > 0 else float("nan")

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is a passed warm-up and the expected id. `/v1/models` answers before the warm-up has ended."""
        page = await self.read(client, past, past.at or datetime.now(UTC), monotonic) if past.ready and past.due else None
        if models_due(past, monotonic, page if isinstance(page, Scrape) else None):
            if wrong := take_models(await request(client, "GET", "/v1/models"), past, monotonic):
                return Engine(EnginePhase.WRONG_MODEL, reason=wrong)
        elif not isinstance(page, Scrape):
            await request(client, "GET", "/ping")  # any answer means that it lives
        if expected_model and past.models and expected_model not in past.models:
            return Engine(
                EnginePhase.WRONG_MODEL,
                past.models,
                reason=wrong_model(past.models, expected_model),
            )
        models = tuple(clean(m, 200) for m in past.models)
        reason = await self._healthy(client, past, monotonic)
        if reason and not past.ready:
            return Engine(EnginePhase.WARMING, models, past.context_tokens, reason=reason)
        if reason:
            return Engine(EnginePhase.HUNG, models, past.context_tokens, past.version, reason=reason)
        past.ready = True
        if not past.version_asked:
            past.version = await _version(client)
            past.version_asked = True
        return Engine(EnginePhase.READY, models, past.context_tokens, past.version, reason=past.note)

    @staticmethod
    async def _healthy(client: httpx.AsyncClient, past: Past, monotonic: float) -> str:
        """What its health check complains of, asked rarely; empty if it is well or was not asked now."""
        if past.ready and monotonic - past.healthy_at < HEALTH_EVERY_SECONDS:
            return ""
        if past.failed_health and monotonic - past.health_tried_at < HEALTH_RETRY_SECONDS:
            return past.failed_health
        past.health_tried_at = monotonic
        path = "/ready" if "/ready" not in past.missing else "/health"
        try:
            answer = await request(client, "GET", path, timeout_seconds=HEALTH_TIMEOUT_SECONDS)
            if answer.status_code == 404 and path == "/ready":  # only the newest have it; it is cheap
                past.missing.add("/ready")
                answer = await request(client, "GET", "/health", timeout_seconds=HEALTH_TIMEOUT_SECONDS)
        except TimedOut:
            past.failed_health = f"its health check does not answer within {HEALTH_TIMEOUT_SECONDS:.0f} s"
            return past.failed_health
        if answer.status_code == 200:
            past.healthy_at, past.failed_health = monotonic, ""
            return ""
        if past.ready:
            past.failed_health = f"its health check fails ({answer.status_code}): it hangs or is draining"
            return past.failed_health
        return "it is warming up"  # answered at once: may be asked again in the next round


def _streamed(labels: Labels) -> bool:
    return dict(labels).get("is_streaming") != "false"


def _between(before: Scrape, after: Scrape) -> Between:
    return Between(before, after, (_TOKENS, f"{_TTFT}_count", f"{_ITL}_count", _PROMPTED), absent_is_zero=True)


def _window(before: Scrape | None, after: Scrape) -> Between | None:
    return None if before is None else _between(before, after)


def by_rank(series: dict[Labels, float]) -> float:
    """The largest over the ranks of one tensor or pipeline parallel group, summed over the rest."""
    groups: dict[Labels, float] = {}
    for labels, value in series.items():
        key = tuple((k, v) for k, v in labels if k not in ("tp_rank", "pp_rank", "moe_ep_rank", "pid"))
        groups[key] = max(groups.get(key, value), value)
    return sum(groups.values())


async def _version(client: httpx.AsyncClient) -> str:
    for path in ("/server_info", "/get_server_info"):
        try:
            answer = await request(client, "GET", path)
        except PortError:
            return ""
        if answer.status_code == 200:
            told = json_in(answer)
            return clean(outside.text(told.get("version", "")), 40) if isinstance(told, dict) else ""
    return ""


ENGINE = Sglang()
