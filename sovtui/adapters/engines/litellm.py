"""LiteLLM's proxy, 1.74 to 1.109: tokens it passed on, its deployments, cooldowns and fallbacks. Knows nothing of where it runs.

`/health` is never asked: it sends a real request, which is billed, to every deployment. Most else wants a key.
Its lists are long (1.8 MB with one wildcard) and change with its configuration alone: they are read once in the life of its
process, which its page tells from the start time, and again when the names of its models are others. Only where it keeps
deployments in a database may they change unnoticed by both: then also once an hour.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from sovtui.adapters.engines import _litellm_routes as routes
from sovtui.adapters.engines._litellm_watch import Watch
from sovtui.adapters.engines.base import (
    NOT_YET,
    RESTARTED,
    SECOND_READING,
    Past,
    Windows,
    closed,
    gated,
    json_in,
    page_or_why,
    read_metrics,
    selector,
    wrong_model,
)
from sovtui.adapters.engines.scrape import START, Between, Labels, Scrape, total
from sovtui.adapters.links.http import note_door, request
from sovtui.core import outside
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.ports.errors import PortError

PAGE_EVERY_SECONDS = 12.0
"""Its page grows with every key and deployment, to hundreds of kilobytes."""
MODELS_EVERY_SECONDS = 300.0
"""A name for every model that a wildcard stands for: tens of kilobytes."""
LISTS_EVERY_SECONDS = 3600.0
CLOSED_SECONDS = 60.0
"""What is closed to us, or not there, is asked for again after this: it counts, and logs, each refusal."""
MOST_WILDCARDS = 12
LIST_SECONDS = 30.0
"""For the long list, over a slow link."""

_OUT = ("litellm_output_tokens_metric_total", "litellm_output_tokens_total")
_IN = ("litellm_input_tokens_metric_total", "litellm_input_tokens_total")
"""New first; the old ones until 1.79. Written when an answer is complete."""
_CACHED = "litellm_input_cached_tokens_metric_total"
"""Of the input, what a provider says that it took from its cache; made at the first."""
_BY_DEPLOYMENT = 'model_id!=""'
"""Its own health checks have none, and a failed hop has the text `None`."""
_FLIGHT = "litellm_in_flight_requests"
_TTFT = "litellm_llm_api_time_to_first_token_metric"
_UNPAID = "litellm_not_a_premium_user_metric"
_BACKLOG = "/health/backlog"

_NO_MODEL = "LiteLLM loads no model itself"
_NOT_TOLD = "LiteLLM does not report this"
_PAID = "this version reports its figures only with a licence: 1.80 and newer need none"
_NO_DATABASE = "Not connected"


@dataclass(frozen=True, slots=True)
class Litellm:
    """See `base.EngineAdapter`."""

    name: str = "litellm"
    key_opens: str = "/v1/models"
    """Never told without a key; one of a user or a team opens less than the master's."""
    no_metrics: str = 'it runs without `callbacks: ["prometheus"]`'
    live: bool = True  # Prometheus gives numbers without names: which deployment cools down is told here
    every_seconds: float = 0.0  # how much is in flight; its page by the clock of `_page_due`
    wanted: re.Pattern[str] = re.compile(
        r"litellm_(?:(?:input|output)_tokens(?:_metric)?_total|input_cached_tokens_metric_total|in_flight_requests|not_a_premium_user_metric"
        r"|deployment_(?:state|cooled_down_(?:total|created)|success_responses_total|failure_responses_total|(?:successful|failed)_fallbacks_total)"
        r"|llm_api_time_to_first_token_metric_(?:bucket|sum|count))[ {]"
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

        cached = rate(_CACHED, _BY_DEPLOYMENT)
        flight = selector(_FLIGHT, matchers)
        return {
            "engine.decode_tok_s": tokens(_OUT),
            "engine.prompt_tok_s": f"clamp_min(({tokens(_IN)}) - ({cached} or 0 * ({tokens(_IN)})), 0)",
            "engine.running": f"clamp_min(sum({flight}) - count({flight}), 0)",  # each scrape counts itself
            "engine.ttft_p50_seconds": latency(0.5, _TTFT),
            "engine.ttft_p95_seconds": latency(0.95, _TTFT),
            "engine.start_unixtime": f"max({selector(START, matchers)})",
        }

    def sampled_at(self, matchers: str) -> str:
        return f"max(timestamp({selector(_FLIGHT, matchers)}) or timestamp({selector(_OUT[1], matchers)}))"

    def absent(self, figure: str) -> str:
        if figure in self.queries(""):
            return ""
        # Its latency per output token is that of the first token divided by all: no time per token.
        return _NOT_TOLD if figure in ("engine.waiting", "engine.itl_mean_seconds", "engine.itl_p95_seconds") else _NO_MODEL

    async def scrape(
        self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float
    ) -> Scrape | Reading | Mapping[str, Reading] | None:
        """Its page, and what happened to its deployments since the last; between two pages what is in flight."""
        page = past.page
        if page is None and self._page_due(past, monotonic):
            page = await self._read(client, past, at, monotonic)
        past.page = None
        if past.own.get("lists_after", math.inf) <= monotonic:
            past.own["lists_after"] = math.inf if await self._lists(client, past) else monotonic + MODELS_EVERY_SECONDS
        flight: float | None = past.own.pop("flight", None)
        running = {} if flight is None else {"engine.running": fresh(flight, at, "engine")}
        if isinstance(page, Reading) and running:
            return {**dict.fromkeys(ENGINE_FIGURES, page), **running}
        return page if page is not None else running or None

    @staticmethod
    def _page_due(past: Past, monotonic: float) -> bool:
        return bool(monotonic >= past.own.get("page_after", 0.0))

    async def _read(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading:
        past.page = await page_or_why(read_metrics(client, "/metrics/", self.wanted, self.no_metrics, at, monotonic))
        told = isinstance(past.page, Scrape)
        past.own["page_after"] = monotonic + (PAGE_EVERY_SECONDS if told else CLOSED_SECONDS)
        if isinstance(past.page, Scrape):
            past.own["workers"] = len(past.page.named(_FLIGHT))
            if _watch(past).take(past.page):
                past.own["lists_at"] = None
        return past.page

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
            put("engine.prompt_tok_s", _speed(since, _IN, less=_CACHED))
            put("engine.ttft_p50_seconds", since.quantile(0.5, _TTFT))
            put("engine.ttft_p95_seconds", since.quantile(0.95, _TTFT))
        for figure in ENGINE_FIGURES:
            if figure not in found:
                why = self.absent(figure)
                found[figure] = unsupported(why, "engine") if why else unknown(reason, "engine", after.at)
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Alive without a key; with one, ready is the expected group among its models. Deployments are told as parts."""
        if wrong := await self._alive(client, past, monotonic):
            return wrong
        if self._models_due(past, monotonic) and (said := await self._learn(client, past, monotonic)):
            return Engine(EnginePhase.WRONG_MODEL, reason=said)
        groups = tuple(clean(m, 200) for m in past.models)
        if expected_model and past.models and expected_model not in past.models:
            return Engine(EnginePhase.WRONG_MODEL, groups, reason=wrong_model(past.models, expected_model))
        past.ready = True
        past.retell = partial(_with_parts, past)
        return _with_parts(past, Engine(EnginePhase.READY, groups))

    async def _alive(self, client: httpx.AsyncClient, past: Past, monotonic: float) -> Engine | None:
        """By one question: its page where that is due, else what is in flight, else whether it lives. None: it does."""
        if past.ready and past.due:
            page = await self._read(client, past, past.at, monotonic) if past.at and self._page_due(past, monotonic) else None
            if isinstance(page, Scrape) or await self._in_flight(client, past, monotonic):
                return None
        status = (await request(client, "GET", "/health/liveliness")).status_code
        if status == 503:
            return Engine(EnginePhase.WARMING, reason="it is not ready yet")
        if status != 200:
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /health/liveliness says {status}")
        return None

    @staticmethod
    async def _in_flight(client: httpx.AsyncClient, past: Past, monotonic: float) -> bool:
        """Keep what it says to be in flight. False where it does not tell that, or only of one of several workers."""
        if past.own.get("workers", 1) > 1 or monotonic < past.own.get("flight_after", 0.0):
            return False
        answer = await request(client, "GET", _BACKLOG)
        told = json_in(answer)
        flight = told.get("in_flight_requests") if answer.status_code == 200 and isinstance(told, Mapping) else None
        if not isinstance(flight, int):
            past.own["flight_after"] = monotonic + CLOSED_SECONDS
            return False
        past.own["flight"] = max(0.0, flight - 1.0)  # it counts this question
        return True

    @staticmethod
    def _models_due(past: Past, monotonic: float) -> bool:
        if past.failures and _watch(past).started is None:
            past.own["lists_at"] = None  # it may be another process: nothing else would tell
        anew = past.own.get("lists_at", 0.0) is None
        return bool(anew or not past.ready or past.failures or monotonic - past.models_at >= MODELS_EVERY_SECONDS)

    async def _learn(self, client: httpx.AsyncClient, past: Past, monotonic: float) -> str:
        """Fill in `past` with what a key opens; the answer is what is wrong."""
        try:
            answer = await request(client, "GET", "/v1/models")
        except PortError as error:  # it lives, as it has just said
            past.models_at = monotonic + CLOSED_SECONDS - MODELS_EVERY_SECONDS
            past.note = clean(f"its models are not known: {error}", 200)
            return ""
        told = json_in(answer)
        past.models_at, past.note = monotonic, ""
        data = told.get("data") if isinstance(told, Mapping) else None
        if answer.status_code == 200 and not isinstance(data, list):
            return "something else answers on its port: /v1/models is no list"
        if answer.status_code != 200:
            past.models = ()
            past.note = key_wanted(answer)
            note_door(client, "/v1/models", answer.status_code, bool(past.note))
            past.note = past.note or f"its models are not known: /v1/models answers {answer.status_code}"
            past.models_at = monotonic + CLOSED_SECONDS - MODELS_EVERY_SECONDS
            return ""
        names = tuple(str(row["id"])[:300] for row in data or () if isinstance(row, Mapping) and isinstance(row.get("id"), str))
        lists_at: float | None = past.own.get("lists_at")
        old = lists_at is not None and past.own.get("editable") and monotonic - lists_at >= LISTS_EVERY_SECONDS
        if lists_at is None or old or set(names) != set(past.models):
            past.own["lists_at"] = past.own["lists_after"] = monotonic
        past.models = names
        return ""

    @staticmethod
    async def _lists(client: httpx.AsyncClient, past: Past) -> bool:
        """Deployments and chains. What is not told leaves no gap in the rest; whether the deployments are."""
        watch = _watch(past)
        settings = _map(await _told(client, "/router/settings")).get("current_values")
        more: object = None
        if not any(chain.group == routes.ANY for chain in routes.chains(settings)):
            # Its settings hide the default chain where there are others; this has it, beside secrets: none of the rest is kept.
            more = _map(await _told(client, "/get/config/callbacks")).get("router_settings")
        info = await _told(client, "/v1/model/info", seconds=LIST_SECONDS)
        found = list(routes.deployments(info, routes.aliases(settings, more)))
        for number, one in [pair for pair in enumerate(found) if pair[1].wildcard][:MOST_WILDCARDS]:
            found[number] = routes.named(one, await _told(client, f"/model/info?litellm_model_id={quote(one.id, safe='')}"))
        watch.deployments = tuple(found) if info is not None else watch.deployments
        watch.chains = routes.chains(settings, more)
        watch.router_cooldown_seconds = routes.cooldown_seconds(settings, more)
        details = _map(await _told(client, "/health/readiness/details"))
        past.version = clean(outside.text(details.get("litellm_version") or ""), 40)
        past.own["editable"] = details.get("db", _NO_DATABASE) != _NO_DATABASE or any(one.editable for one in found)
        return info is not None


def key_wanted(answer: httpx.Response) -> str:
    """What a refusal says of the key, in words; empty if it is not about one.

    Without a database LiteLLM says 400 to a wrong key (`no_db_connection`), since it cannot look it up, and 401 to none;
    until 1.106 some routes say 500 to none, with no word of why.
    """
    text = answer.content[:2000].decode("utf-8", "replace")
    wrong = answer.status_code == 400 and ("no_db_connection" in text or "No connected db" in text)
    none = answer.status_code == 500 and not answer.extensions.get("login")
    return closed(answer) if wrong or none or answer.status_code in (401, 403) else ""


def _with_parts(past: Past, engine: Engine) -> Engine:
    """What is behind it, as its lists and its page have it by now."""
    parts, trouble = _watch(past).told(past.at)
    return replace(engine, version=past.version, reason=past.note or trouble, parts=parts)


def _watch(past: Past) -> Watch:
    watch: Watch = past.own.setdefault("watch", Watch())
    return watch


async def _told(client: httpx.AsyncClient, path: str, seconds: float | None = None) -> Any:
    """The JSON of a list that a working proxy may keep for itself; None then."""
    try:
        answer = await request(client, "GET", path, timeout_seconds=seconds)
    except PortError:
        return None
    return json_in(answer) if answer.status_code == 200 else None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _between(before: Scrape, after: Scrape) -> Between:
    return Between(before, after, (*_OUT, *_IN), absent_is_zero=True)


def _speed(since: Between, names: tuple[str, ...], less: str = "") -> float | None:
    """Tokens per second over all deployments, without those of `less`; None where there is no such counter at all."""
    name = next((name for name in names if since.after.has(name)), None)
    if name is None:
        return None

    def told(labels: Labels) -> bool:
        return dict(labels).get("model_id", "") != ""

    gained, off = (sum(value for labels, value in since.differences(n).items() if told(labels)) for n in (name, less))
    return max(0.0, gained - off) / since.seconds


ENGINE = Litellm()
