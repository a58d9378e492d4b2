"""vLLM 0.8.5 to 0.33: its figures, its readiness, its words. Knows nothing of where it runs.

Time per token (TPOT): vLLM's inter-token latency has one value per *step*, which with drafts is several tokens. Its sum is the
time of all steps after the first, so that sum ÷ (generated tokens − first tokens) is the time per token, live and with or
without drafts; without, it is the same as the mean of the steps. Its p95 is over requests, from the histogram that says so
(0.11 and newer, filled as requests end).
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import httpx

from sovtui.adapters.engines.base import (
    NO_DRAFTS,
    NOT_YET,
    RESTARTED,
    SECOND_READING,
    FromMetrics,
    Past,
    Windows,
    closed,
    gated,
    json_in,
    models_due,
    models_of,
    selector,
    wrong_model,
)
from sovtui.adapters.engines.scrape import START, Between, Scrape, total
from sovtui.adapters.links.http import request
from sovtui.core import outside
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.ports.errors import PortError

HEALTH_EVERY_SECONDS = 4.0
"""Its page tells that it lives; that its engine process does too is told by new tokens, and in their absence by `/health`, this often."""

T = TypeVar("T")
_GENERATED = "vllm:generation_tokens_total"
_PROMPT = "vllm:prompt_tokens_total"
"""The whole prompt at its first token, with what came from a cache."""
_BY_SOURCE, _COMPUTED = "vllm:prompt_tokens_by_source_total", 'source="local_compute"'
"""Since 0.16; before, what came from the cache is told apart in tokens, but as a request is admitted (0.9.2), or in blocks."""
_TTFT = "vllm:time_to_first_token_seconds"
_STEP = ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds")  # new first: both exist in 0.10.2 to 0.11.2
_TPOT = "vllm:request_time_per_output_token_seconds"
_KV = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_HITS = ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
_ASKED = ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")
_ACCEPTED = "vllm:spec_decode_num_accepted_tokens_total"
_DRAFTED = "vllm:spec_decode_num_draft_tokens_total"
_DRAFTS = "vllm:spec_decode_num_drafts_total"
_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
_SLEEP, _SLEEPING = "vllm:engine_sleep_state", "/is_sleeping"
_AWAKE = 'sleep_state="awake"'

_NOT_TOLD = "vLLM does not report this"
_NO_STATS = "it runs with --disable-log-stats and reports no figures"
_CACHED_TOO = "some of it came from the cache, and vLLM before 0.9.2 does not report how much"
_STEPS_ONLY = "before 0.11 vLLM reports the times of single steps only, not those of requests"
_ON_ITS_PAGE = {"engine.prompt_tok_s": _CACHED_TOO, "engine.itl_p95_seconds": _STEPS_ONLY}
"""Only its own page tells whether these never come: to a query no answer may also mean that nothing has been counted yet."""


@dataclass(frozen=True, slots=True)
class Vllm(FromMetrics):
    """See `base.EngineAdapter`."""

    name: str = "vllm"
    no_metrics: str = "it has no /metrics"
    live: bool = False
    every_seconds: float = 0.0
    wanted: re.Pattern[str] = re.compile(
        r"vllm[:_](?:generation_tokens_total|prompt_tokens(?:_by_source)?_total|num_requests_(?:running|waiting)[{ ]|(?:kv|gpu)_cache_usage_perc"
        r"|(?:gpu_)?prefix_cache_(?:hits|queries)_total|(?:time_to_first_token|inter_token_latency|(?:request_)?time_per_output_token)_seconds_(?!created)"
        r"|spec_decode_num_(?:drafts|draft_tokens|accepted_tokens)_total|engine_sleep_state)|process_start_time_seconds "
    )

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:  # noqa: B008 (frozen)
        def at(name: str, *more: str) -> str:
            return selector(name, matchers, *more)

        def rate(name: str, seconds: int, *more: str) -> str:
            return f"sum by (model_name) ({gated('rate', at(name, *more), seconds)})"

        def increase(name: str) -> str:
            return f"sum by (model_name) ({gated('increase', at(name), windows.hits)})"

        def latency(q: float, name: str) -> str:
            return f"histogram_quantile({q}, sum by (model_name, le) ({gated('rate', at(f'{name}_bucket'), windows.latency)}))"

        def share(part: str, whole: str) -> str:
            return f"{rate(part, windows.latency)} / {rate(whole, windows.latency)}"

        def per_token(step: str) -> str:
            tokens = f"{rate(_GENERATED, windows.latency)} - {rate(f'{_TTFT}_count', windows.latency)}"
            return f"{rate(f'{step}_sum', windows.latency)} / ({tokens} > 0)"

        def one(*choices: str) -> str:  # the first that exists; never a sum over models: an old one's ghost would be added
            return f"max({' or '.join(choices)})"

        return {
            "engine.decode_tok_s": one(rate(_GENERATED, windows.speed)),
            "engine.prompt_tok_s": one(
                rate(_BY_SOURCE, windows.speed, _COMPUTED),
                f"clamp_min({rate(_PROMPT, windows.latency)} - {rate(_HITS[0], windows.latency)}, 0)",
                f"{rate(_PROMPT, windows.speed)} unless {increase(_HITS[1])} > 0",
            ),
            "engine.running": one(f"sum by (model_name) ({at('vllm:num_requests_running')})"),
            "engine.waiting": one(f"sum by (model_name) ({at('vllm:num_requests_waiting')})"),
            "engine.kv_use_ratio": one(*(at(name) for name in _KV)),
            "engine.ttft_p50_seconds": one(latency(0.5, _TTFT)),
            "engine.ttft_p95_seconds": one(latency(0.95, _TTFT)),
            "engine.itl_mean_seconds": one(*(per_token(step) for step in _STEP)),
            "engine.itl_p95_seconds": one(latency(0.95, _TPOT)),
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
            "engine.asleep": "this version does not report this (0.11.1 and newer do)",
            "engine.slots": _NOT_TOLD,
            "engine.memory_bytes": _NOT_TOLD,
            "engine.cpu_share_ratio": _NOT_TOLD,
            "engine.start_unixtime": "with several API servers it does not report this",
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
        now = _window(before, after)
        if now is not None:
            if now.restarted:
                reason = RESTARTED
            elif now.usable:
                reason = NOT_YET
                gained = now.increase(_GENERATED, total)
                put("engine.decode_tok_s", None if gained is None else gained / now.seconds)
        since = _window(latency_before or before, after)
        longer = _window(hits_before or before, after)
        if now is not None and now.usable and since is not None and longer is not None:
            put("engine.prompt_tok_s", _prompt_speed(now, since, longer))
        if since is not None and since.usable:
            put("engine.ttft_p50_seconds", since.quantile(0.5, _TTFT))
            put("engine.ttft_p95_seconds", since.quantile(0.95, _TTFT))
            step = next((name for name in _STEP if after.has(f"{name}_count")), _STEP[0])
            put("engine.itl_mean_seconds", _per_token(since, step))
            if after.has(f"{_TPOT}_count"):
                put("engine.itl_p95_seconds", since.quantile(0.95, _TPOT))
            if after.has(_DRAFTED):
                put("engine.accept_ratio", _ratio(since, _ACCEPTED, _DRAFTED))
                put("engine.accept_length", 1 + _ratio(since, _ACCEPTED, _DRAFTS))
        if longer is not None and longer.usable:
            hit, asked = next((pair for pair in zip(_HITS, _ASKED, strict=True) if after.has(pair[1])), (_HITS[0], _ASKED[0]))
            if after.has(asked):
                put("engine.prefix_hit_ratio", _ratio(longer, hit, asked))
        for figure in figures:
            if figure not in found:
                spoken = "" if _may_come(figure, after, longer) else _ON_ITS_PAGE.get(figure) or self.absent(figure)
                found[figure] = unsupported(spoken, "engine") if spoken else unknown(reason, "engine", at)
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is 200 on `/health` and the expected id in `/v1/models`; a sleeping one answers both and then hangs.

        Every question is a line in its journal: where its figures are read, their page and `/health` take turns while it idles,
        and while its tokens move the page alone is asked for. In development mode the page has every second look, and the engine
        process is asked at each: that tells also that it is stuck, which is to be known soon.
        """
        told_by_itself = bool(past.own.get("told_by_itself"))
        well = past.ready and not told_by_itself and monotonic - past.healthy_at < HEALTH_EVERY_SECONDS
        page: Scrape | Reading | None = None
        if past.ready and past.due:
            its_turn = not past.own.get("paged") if told_by_itself else well
            if its_turn or not past.own.get("idle"):
                page = await self.read(client, past, past.at or datetime.now(UTC), monotonic)
            past.due = past.own["paged"] = page is not None
        well = isinstance(page, Scrape) and (self._works(page, past) or well)
        ask_models = models_due(past, monotonic, page if isinstance(page, Scrape) else None)
        health, listed = await asyncio.gather(
            _nothing(200) if well else self._alive(client, past, monotonic),
            self._models(client, past, monotonic) if ask_models else _nothing(""),
        )
        if health in (500, 503):
            # Refused while it loads; an answer that is not 200 means that its engine process has died.
            return Engine(EnginePhase.DEAD, past.models, reason=f"its engine process has died: /health says {health}")
        if health != 200:
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /health says {health}")
        if listed:
            return Engine(EnginePhase.WRONG_MODEL, reason=listed)
        if expected_model and past.models and expected_model not in past.models:
            return Engine(EnginePhase.WRONG_MODEL, past.models, reason=wrong_model(past.models, expected_model))
        if not past.version_asked:
            past.version = await _version(client)
            past.version_asked = True
        phase = EnginePhase.ASLEEP if past.own.get("asleep") else EnginePhase.READY
        past.ready = True
        return Engine(phase, tuple(clean(m, 200) for m in past.models), past.context_tokens, past.version, reason=past.note)

    @staticmethod
    def _works(page: Scrape, past: Past) -> bool:
        """Whether tokens have moved since the page before: then its engine process lives, and is awake."""
        counted = total(page.named(_GENERATED)) + total(page.named(_PROMPT))
        moved = counted > float(past.own.get("counted", counted))
        past.own["counted"] = counted
        past.own["idle"] = not moved and not any(total(page.named(name)) for name in (_RUNNING, _WAITING))
        if moved:
            past.own["asleep"] = False
        return moved

    @staticmethod
    async def _alive(client: httpx.AsyncClient, past: Past, monotonic: float) -> int:
        """What `/health` says. In development mode `/is_sleeping` asks the engine process itself: a yes or no of it is a 200 too."""
        health = 0
        if not past.ready:
            health = (await request(client, "GET", "/health")).status_code
        if _SLEEPING not in past.missing and health in (0, 200):
            answer = await request(client, "GET", _SLEEPING)
            if answer.status_code == 200:
                told = json_in(answer)
                past.own["asleep"] = isinstance(told, dict) and told.get("is_sleeping") is True
                past.own["told_by_itself"], health = True, 200
            elif answer.status_code < 500:  # 404 without VLLM_SERVER_DEV_MODE=1: the metric tells then
                past.missing.add(_SLEEPING)
        if not health:
            health = (await request(client, "GET", "/health")).status_code
        if health == 200:
            past.healthy_at = monotonic
        return health

    @staticmethod
    async def _models(client: httpx.AsyncClient, past: Past, monotonic: float) -> str:
        """Fill in `past`; the answer is what is wrong, or empty."""
        answer = await request(client, "GET", "/v1/models")
        return take_models(answer, past, monotonic)


def _between(before: Scrape, after: Scrape) -> Between:
    return Between(before, after, (_GENERATED, _PROMPT, f"{_TTFT}_count", *_ASKED), absent_is_zero=True)


def _window(before: Scrape | None, after: Scrape) -> Between | None:
    return None if before is None else _between(before, after)


async def _nothing(answer: T) -> T:
    """In the place of a question that is not asked now."""
    return answer


def _per_token(between: Between, step: str) -> float:
    """Mean seconds per token after the first; NaN where none came."""
    tokens = (between.increase(_GENERATED, total) or 0.0) - (between.increase(f"{_TTFT}_count", total) or 0.0)
    return (between.increase(f"{step}_sum", total) or 0.0) / tokens if tokens > 0 else math.nan


def _prompt_speed(now: Between, since: Between, longer: Between) -> float | None:
    """Prompt tokens per second that were computed, those of a cache left out; None where they cannot be told apart.

    `now` is the time since the last reading; the rest are longer, for versions that count the cached ones earlier than the prompt.
    """
    if now.after.has(_BY_SOURCE):
        computed = now.increase(_BY_SOURCE, total, source="local_compute")
        return None if computed is None else computed / now.seconds
    if now.after.has(_HITS[0]):
        prompt, cached = since.increase(_PROMPT, total), since.increase(_HITS[0], total)
        return None if prompt is None or cached is None else max(0.0, prompt - cached) / since.seconds
    prompt = now.increase(_PROMPT, total)
    return None if prompt is None or longer.increase(_HITS[1], total) else prompt / now.seconds


def _may_come(figure: str, after: Scrape, longer: Between | None) -> bool:
    """Whether the next page may tell this figure, although some versions or settings never do."""
    if figure.startswith("engine.accept"):
        return after.has(_DRAFTED)
    if figure == "engine.prompt_tok_s":
        blocks_only = not after.has(_BY_SOURCE) and not after.has(_HITS[0])
        return not (blocks_only and longer is not None and longer.usable and longer.increase(_HITS[1], total))
    return figure == "engine.itl_p95_seconds" and after.has(f"{_TPOT}_count")


async def _version(client: httpx.AsyncClient) -> str:
    try:
        answer = await request(client, "GET", "/version")
    except PortError:
        return ""
    told = json_in(answer)
    return clean(outside.text(told.get("version", "")), 40) if answer.status_code == 200 and isinstance(told, dict) else ""


def take_models(answer: httpx.Response, past: Past, monotonic: float) -> str:
    """Keep what `/v1/models` said in `past`; return what is wrong with it, or nothing."""
    past.note = ""
    if answer.status_code in (401, 403):
        # With an API key only /v1 is closed: whoever says 401 is alive.
        past.models_at, past.note = monotonic, f"{closed(answer)}; which model it serves cannot be checked"
        return ""
    told = models_of(json_in(answer)) if answer.status_code == 200 else None
    if told is None:
        return f"something else answers on its port: /v1/models says {answer.status_code}"
    past.models, past.context_tokens = told
    past.models_at = monotonic
    return ""


def _ratio(between: Between, part: str, whole: str) -> float:
    below = between.increase(whole, total) or 0.0
    return (between.increase(part, total) or 0.0) / below if below > 0 else math.nan


ENGINE = Vllm()
