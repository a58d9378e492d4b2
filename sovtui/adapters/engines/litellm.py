"""LiteLLM's proxy, 1.74 to 1.106: tokens it passed on, its deployments, cooldowns and fallbacks. Knows nothing of where it runs.

`/health` is never asked: it sends a real request, which is billed, to every deployment. Most else wants a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import httpx

from sovtui.adapters.engines import _litellm_routes as routes
from sovtui.adapters.engines.base import (
    NOT_YET,
    RESTARTED,
    SECOND_READING,
    Past,
    Windows,
    gated,
    json_at,
    read_metrics,
    selector,
    wrong_model,
)
from sovtui.adapters.engines.scrape import START, Between, Labels, Scrape, total
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.reading import Reading, fresh, unknown, unsupported

MODELS_EVERY_SECONDS = 30.0
ROUTES_EVERY_SECONDS = 300.0
"""Deployments and chains change with its configuration; the list has some ten kilobytes for each deployment."""

_OUT = ("litellm_output_tokens_metric_total", "litellm_output_tokens_total")
_IN = ("litellm_input_tokens_metric_total", "litellm_input_tokens_total")
"""New first; the old ones until 1.79. Written when an answer is complete."""
_BY_DEPLOYMENT = 'model_id!=""'
"""Its own health checks have none, and a failed hop has the text `None`."""
_FLIGHT = "litellm_in_flight_requests"
_TTFT = "litellm_llm_api_time_to_first_token_metric"
_PACE = "litellm_deployment_latency_per_output_token"
_UNPAID = "litellm_not_a_premium_user_metric"

_NO_MODEL = "LiteLLM holds no model itself"
_NOT_TOLD = "LiteLLM does not tell"
_PAID = "this version tells its figures only with a licence: 1.80 and newer need none"


@dataclass(frozen=True, slots=True)
class Litellm:
    """See `base.EngineAdapter`."""

    name: str = "litellm"
    no_metrics: str = 'it runs without `callbacks: ["prometheus"]`'
    live: bool = True  # Prometheus gives numbers without names: which deployment cools down is told here
    every_seconds: float = 12.0  # the page grows with every key and deployment, to hundreds of kilobytes
    wanted: re.Pattern[str] = re.compile(
        r"litellm_(?:(?:input|output)_tokens(?:_metric)?_total|in_flight_requests|not_a_premium_user_metric"
        r"|deployment_(?:state|cooled_down_total|success_responses_total|failure_responses_total|(?:successful|failed)_fallbacks_total)"
        r"|(?:deployment_latency_per_output_token|llm_api_time_to_first_token_metric)_(?:bucket|sum|count))[ {]"
        r"|process_start_time_seconds "
    )

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:  # noqa: B008 (frozen)
        span = windows.latency

        def rate(name: str, *more: str) -> str:
            return f"sum({gated('rate', selector(name, matchers, *more), span)})"

        def tokens(names: tuple[str, ...]) -> str:
            return " or ".join(rate(name, _BY_DEPLOYMENT) for name in names)

        def latency(q: float, name: str) -> str:
            return f"histogram_quantile({q}, sum by (le) ({gated('rate', selector(f'{name}_bucket', matchers), span)}))"

        flight = selector(_FLIGHT, matchers)
        return {
            "engine.decode_tok_s": tokens(_OUT),
            "engine.prompt_tok_s": tokens(_IN),
            "engine.running": f"clamp_min(sum({flight}) - count({flight}), 0)",  # each scrape counts itself
            "engine.ttft_p50_seconds": latency(0.5, _TTFT),
            "engine.ttft_p95_seconds": latency(0.95, _TTFT),
            "engine.itl_mean_seconds": f"{rate(f'{_PACE}_sum')} / ({rate(f'{_PACE}_count')} > 0)",
            "engine.itl_p95_seconds": latency(0.95, _PACE),
            "engine.start_unixtime": f"max({selector(START, matchers)})",
        }

    def sampled_at(self, matchers: str) -> str:
        return f"max(timestamp({selector(_FLIGHT, matchers)}) or timestamp({selector(_OUT[1], matchers)}))"

    def absent(self, figure: str) -> str:
        if figure in self.queries(""):
            return ""
        return _NOT_TOLD if figure == "engine.waiting" else _NO_MODEL

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """Its page, and from that which deployment cools down since when."""
        page = await read_metrics(client, "/metrics/", self.wanted, self.no_metrics, at, monotonic)
        if isinstance(page, Scrape):
            routes.take(past.own, page)
        return page

    def parse(
        self,
        before: Scrape | None,
        after: Scrape,
        *,
        latency_before: Scrape | None = None,
        hits_before: Scrape | None = None,
    ) -> dict[str, Reading]:
        found: dict[str, Reading] = {}

        def put(figure: str, value: float | None) -> None:
            if value is not None:
                found[figure] = fresh(value, after.at, "engine")

        if after.has(_UNPAID) and not after.has(*_OUT):
            return dict.fromkeys(ENGINE_FIGURES, unsupported(_PAID, "engine"))
        if after.has(_FLIGHT):
            put("engine.running", max(0.0, total(after.named(_FLIGHT)) - len(after.named(_FLIGHT))))
        if after.has(START):
            put("engine.start_unixtime", max(after.named(START).values()))
        reason = SECOND_READING
        # Counted when an answer is complete: over seconds that is nothing, then a peak. The last minute is told.
        since = None if before is None else _between(latency_before or before, after)
        if since is not None and since.restarted:
            reason = RESTARTED
        elif since is not None and since.usable:
            reason = NOT_YET
            put("engine.decode_tok_s", _speed(since, _OUT))
            put("engine.prompt_tok_s", _speed(since, _IN))
            put("engine.ttft_p50_seconds", since.quantile(0.5, _TTFT))
            put("engine.ttft_p95_seconds", since.quantile(0.95, _TTFT))
            put("engine.itl_mean_seconds", since.mean(_PACE))
            put("engine.itl_p95_seconds", since.quantile(0.95, _PACE))
        for figure in ENGINE_FIGURES:
            if figure not in found:
                why = self.absent(figure)
                found[figure] = unsupported(why, "engine") if why else unknown(reason, "engine", after.at)
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Alive without a key; with one, ready is the expected group among its models. Deployments are told as parts."""
        status, _ = await json_at(client, "/health/liveliness")
        if status == 503:
            return Engine(EnginePhase.WARMING, reason="it is not ready yet")
        if status != 200:
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /health/liveliness says {status}")
        if not past.ready or monotonic - past.models_at >= MODELS_EVERY_SECONDS:
            wrong = await self._learn(client, past, monotonic)
            if wrong:
                return Engine(EnginePhase.WRONG_MODEL, reason=wrong)
        groups = tuple(clean(m, 200) for m in past.models)
        if expected_model and past.models and expected_model not in past.models:
            return Engine(EnginePhase.WRONG_MODEL, groups, reason=wrong_model(past.models, expected_model))
        past.ready = True
        parts = routes.parts(past.own, past.at)
        return Engine(EnginePhase.READY, groups, version=past.version, reason=past.note or routes.trouble(parts), parts=parts)

    @staticmethod
    async def _learn(client: httpx.AsyncClient, past: Past, monotonic: float) -> str:
        """Fill in `past` with what a key opens; the answer is what is wrong."""
        status, told = await json_at(client, "/v1/models")
        past.models_at, past.note = monotonic, ""
        data = told.get("data") if isinstance(told, Mapping) else None
        if status == 200 and not isinstance(data, list):
            return "something else answers on its port: /v1/models is no list"
        if status != 200:  # 401; without a database client 400 or 500 mean the same
            past.models = ()
            past.note = f"it tells its models to a key only ({status}): give it a `bearer`"
            return ""
        past.models = tuple(
            str(row["id"])[:300] for row in data or () if isinstance(row, Mapping) and isinstance(row.get("id"), str)
        )
        if monotonic - past.own.get("routes_at", -1e9) < ROUTES_EVERY_SECONDS:
            return ""
        past.own["routes_at"] = monotonic
        for key, path in (("info", "/v1/model/info"), ("settings", "/router/settings")):
            status, told = await json_at(client, path)
            past.own[key] = told if status == 200 and isinstance(told, Mapping) else {}
        status, told = await json_at(client, "/health/readiness/details")
        version = told.get("litellm_version") if status == 200 and isinstance(told, Mapping) else ""
        past.version = clean(str(version or ""), 40)
        return ""


def _between(before: Scrape, after: Scrape) -> Between:
    return Between(before, after, (*_OUT, *_IN), absent_is_zero=True)


def _speed(since: Between, names: tuple[str, ...]) -> float | None:
    """Tokens per second over all deployments; None where there is no such counter at all."""
    name = next((name for name in names if since.after.has(name)), None)
    if name is None:
        return None

    def told(labels: Labels) -> bool:
        return dict(labels).get("model_id", "") != ""

    return sum(value for labels, value in since.differences(name).items() if told(labels)) / since.seconds


ENGINE = Litellm()
