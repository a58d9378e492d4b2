"""vLLM 0.8.5 to 0.33: its figures, its readiness, its words. Knows nothing of where it runs."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

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
    models_of,
    selector,
    wrong_model,
)
from sovtui.adapters.engines.scrape import START, Between, Scrape, total
from sovtui.adapters.links.http import request
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.ports.errors import PortError

MODELS_EVERY_SECONDS = 10.0
"""Once ready the list of models is asked this often: every request is a line in the engine's journal."""

_GENERATED = "vllm:generation_tokens_total"
_PROMPT = "vllm:prompt_tokens_total"
_TTFT = "vllm:time_to_first_token_seconds"
_ITL = ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds")  # new first: both exist in 0.10.2 to 0.11.2
_KV = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_HITS = ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
_ASKED = ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")
_ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
_DRAFTED = "vllm:spec_decode_num_draft_tokens_total"
_DRAFTS = "vllm:spec_decode_num_drafts_total"
_SLEEP = "vllm:engine_sleep_state"
_AWAKE = 'sleep_state="awake"'

_NOT_TOLD = "vLLM does not tell"
_NO_STATS = "it runs with --disable-log-stats and tells no figures"


@dataclass(frozen=True, slots=True)
class Vllm(FromMetrics):
    """See `base.EngineAdapter`."""

    name: str = "vllm"
    no_metrics: str = "it has no /metrics"
    live: bool = False
    every_seconds: float = 0.0
    wanted: re.Pattern[str] = re.compile(
        r"vllm[:_](?:generation_tokens_total|prompt_tokens_total|num_requests_(?:running|waiting)[{ ]|(?:kv|gpu)_cache_usage_perc"
        r"|(?:gpu_)?prefix_cache_(?:hits|queries)_total|(?:time_to_first_token|inter_token_latency|time_per_output_token)_seconds_(?!created)"
        r"|spec_decode_num_(?:drafts|draft_tokens|accepted_tokens)_total|engine_sleep_state)|process_start_time_seconds "
    )

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:  # noqa: B008 (frozen)
        def at(name: str, *more: str) -> str:
            return selector(name, matchers, *more)

        def rate(name: str, seconds: int) -> str:
            return f"sum by (model_name) ({gated('rate', at(name), seconds)})"

        def increase(name: str) -> str:
            return f"sum by (model_name) ({gated('increase', at(name), windows.hits)})"

        def latency(q: float, name: str) -> str:
            return f"histogram_quantile({q}, sum by (model_name, le) ({gated('rate', at(f'{name}_bucket'), windows.latency)}))"

        def share(part: str, whole: str) -> str:
            return f"{rate(part, windows.latency)} / {rate(whole, windows.latency)}"

        def one(*choices: str) -> str:  # the first that exists; never a sum over models: an old one's ghost would be added
            return f"max({' or '.join(choices)})"

        return {
            "engine.decode_tok_s": one(rate(_GENERATED, windows.speed)),
            "engine.prompt_tok_s": one(rate(_PROMPT, windows.speed)),
            "engine.running": one(f"sum by (model_name) ({at('vllm:num_requests_running')})"),
            "engine.waiting": one(f"sum by (model_name) ({at('vllm:num_requests_waiting')})"),
            "engine.kv_use_ratio": one(*(at(name) for name in _KV)),
            "engine.ttft_p50_seconds": one(latency(0.5, _TTFT)),
            "engine.ttft_p95_seconds": one(latency(0.95, _TTFT)),
            "engine.itl_mean_seconds": one(*(share(f"{name}_sum", f"{name}_count") for name in _ITL)),
            "engine.itl_p95_seconds": one(*(latency(0.95, name) for name in _ITL)),
            "engine.prefix_hit_ratio": one(
                *(f"{increase(hit)} / {increase(asked)}" for hit, asked in zip(_HITS, _ASKED, strict=True))
            ),
            "engine.accept_ratio": one(share(_ACCEPTED, _DRAFTED)),
            "engine.accept_length": f"1 + {one(share(_ACCEPTED, _DRAFTS))}",
            "engine.asleep": one(f"min by (model_name) ({at(_SLEEP, _AWAKE)}) == bool 0"),
            "engine.start_unixtime": one(at(START)),
        }

    def sampled_at(self, matchers: str) -> str:
        # Both: with several API servers the gauge comes with the first request, the counter is there from the start.
        return f"max(timestamp({selector(_GENERATED, matchers)}) or timestamp({selector('vllm:num_requests_running', matchers)}))"

    def absent(self, figure: str) -> str:
        return {
            "engine.accept_ratio": NO_DRAFTS,
            "engine.accept_length": NO_DRAFTS,
            "engine.asleep": "this version does not tell (0.11.1 and newer do)",
            "engine.slots": _NOT_TOLD,
            "engine.memory_bytes": _NOT_TOLD,
            "engine.cpu_share_ratio": _NOT_TOLD,
            "engine.start_unixtime": "with several API servers it does not tell",
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
        if not after.has(_GENERATED, "vllm:num_requests_running"):
            return {figure: unsupported(_NO_STATS, "engine") for figure in figures}
        at = after.at
        found: dict[str, Reading] = {}

        def put(figure: str, value: float | None) -> None:
            if value is not None:
                found[figure] = fresh(value, at, "engine")

        def gauge(figure: str, *names: str, reduce: str = "sum") -> None:
            series = next((s for name in names if (s := after.named(name))), None)
            if series:
                put(figure, total(series) if reduce == "sum" else max(series.values()))

        gauge("engine.running", "vllm:num_requests_running")
        gauge("engine.waiting", "vllm:num_requests_waiting")
        gauge("engine.kv_use_ratio", *_KV, reduce="max")
        gauge("engine.start_unixtime", START, reduce="max")
        if awake := after.named(_SLEEP, sleep_state="awake"):
            put("engine.asleep", 0.0 if min(awake.values()) else 1.0)

        reason = SECOND_READING
        if before is not None:
            now = _between(before, after)
            if now.restarted:
                reason = RESTARTED
            elif now.usable:
                reason = NOT_YET
                for figure, name in (("engine.decode_tok_s", _GENERATED), ("engine.prompt_tok_s", _PROMPT)):
                    gained = now.increase(name, total)
                    put(figure, None if gained is None else gained / now.seconds)
        since = _window(latency_before or before, after)
        if since is not None and since.usable:
            put("engine.ttft_p50_seconds", since.quantile(0.5, _TTFT))
            put("engine.ttft_p95_seconds", since.quantile(0.95, _TTFT))
            itl = next((name for name in _ITL if after.has(f"{name}_count")), _ITL[0])
            put("engine.itl_mean_seconds", since.mean(itl))
            put("engine.itl_p95_seconds", since.quantile(0.95, itl))
            if after.has(_DRAFTED):
                put("engine.accept_ratio", _ratio(since, _ACCEPTED, _DRAFTED))
                put("engine.accept_length", 1 + _ratio(since, _ACCEPTED, _DRAFTS))
        longer = _window(hits_before or before, after)
        if longer is not None and longer.usable:
            hit, asked = next((pair for pair in zip(_HITS, _ASKED, strict=True) if after.has(pair[1])), (_HITS[0], _ASKED[0]))
            if after.has(asked):
                put("engine.prefix_hit_ratio", _ratio(longer, hit, asked))
        for figure in figures:
            if figure not in found:
                spoken = self.absent(figure) if not (figure.startswith("engine.accept") and after.has(_DRAFTED)) else ""
                found[figure] = unsupported(spoken, "engine") if spoken else unknown(reason, "engine", at)
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is 200 on `/health` and the expected id in `/v1/models`; a sleeping one answers both and then hangs."""
        ask_models = not past.ready or monotonic - past.models_at >= MODELS_EVERY_SECONDS
        health, listed = await asyncio.gather(
            request(client, "GET", "/health"), self._models(client, past, monotonic) if ask_models else _nothing()
        )
        if health.status_code in (500, 503):
            # Refused while it loads; an answer that is not 200 means that its engine process has died.
            return Engine(EnginePhase.DEAD, past.models, reason=f"its engine process has died: /health says {health.status_code}")
        if health.status_code != 200:
            return Engine(
                EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /health says {health.status_code}"
            )
        if listed:
            return Engine(EnginePhase.WRONG_MODEL, reason=listed)
        if expected_model and past.models and expected_model not in past.models:
            return Engine(
                EnginePhase.WRONG_MODEL,
                past.models,
                reason=wrong_model(past.models, expected_model),
            )
        if not past.version_asked:
            past.version = await _version(client)
            past.version_asked = True
        phase = EnginePhase.READY
        if "/is_sleeping" not in past.missing and await self._sleeps(client, past):
            phase = EnginePhase.ASLEEP
        past.ready = True
        return Engine(phase, tuple(clean(m, 200) for m in past.models), past.context_tokens, past.version, reason=past.note)

    @staticmethod
    async def _models(client: httpx.AsyncClient, past: Past, monotonic: float) -> str:
        """Fill in `past`; the answer is what is wrong, or empty."""
        answer = await request(client, "GET", "/v1/models")
        return take_models(answer, past, monotonic)

    @staticmethod
    async def _sleeps(client: httpx.AsyncClient, past: Past) -> bool:
        answer = await request(client, "GET", "/is_sleeping")
        if answer.status_code != 200:  # 404 without VLLM_SERVER_DEV_MODE=1: the metric tells then
            past.missing.add("/is_sleeping")
            return False
        told = json_of(answer)
        return isinstance(told, dict) and told.get("is_sleeping") is True


def _between(before: Scrape, after: Scrape) -> Between:
    return Between(before, after, (_GENERATED, _PROMPT, f"{_TTFT}_count", *_ASKED), absent_is_zero=True)


def _window(before: Scrape | None, after: Scrape) -> Between | None:
    return None if before is None else _between(before, after)


async def _nothing() -> str:
    return ""


async def _version(client: httpx.AsyncClient) -> str:
    try:
        answer = await request(client, "GET", "/version")
    except PortError:
        return ""
    told = json_of(answer)
    return clean(str(told.get("version", "")), 40) if answer.status_code == 200 and isinstance(told, dict) else ""


def json_of(answer: httpx.Response) -> object:
    """The JSON of an answer, or None."""
    try:
        return answer.json()
    except ValueError:
        return None


def take_models(answer: httpx.Response, past: Past, monotonic: float) -> str:
    """Keep what `/v1/models` said in `past`; return what is wrong with it, or nothing."""
    past.note = ""
    if answer.status_code in (401, 403):
        # With an API key only /v1 is closed: whoever says 401 is alive.
        past.models_at, past.note = monotonic, "it wants an API key: which model it serves cannot be checked"
        return ""
    told = models_of(json_of(answer)) if answer.status_code == 200 else None
    if told is None:
        return f"something else answers on its port: /v1/models says {answer.status_code}"
    past.models, past.context_tokens = told
    past.models_at = monotonic
    return ""


def _ratio(between: Between, part: str, whole: str) -> float:
    below = between.increase(whole, total) or 0.0
    return (between.increase(part, total) or 0.0) / below if below > 0 else float("nan")


ENGINE = Vllm()
