"""llama.cpp's server, alone or as a router of many models: builds of 2025 and 2026. Knows nothing of where it runs.

Never wakes a sleeping server and never loads a model: `/slots` would wake it, and is asked only of one that has just said
that it works, or that it is awake. A router is asked about a model only with `autoload=false`, and only once it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import httpx

from sovtui.adapters.engines._llamacpp_talk import (
    BUSY,
    FULLEST,
    SEEN,
    SLOT_DECODED,
    SLOT_PROMPTED,
    SLOTS,
    error_of,
    is_named,
    length_of,
    listed,
    part_of,
    put,
    state_of,
    take_slots,
)
from sovtui.adapters.engines.base import (
    NO_DRAFTS,
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
from sovtui.adapters.engines.scrape import Between, Labels, Scrape, total
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.reading import Reading, fresh, unknown, unsupported

LOOK_EVERY_SECONDS = 10.0
"""Once ready, `/props` and the models are asked this often: `/props` holds the chat template, tens of kilobytes."""
ROUTER_EVERY_SECONDS = 4.0
MOST_MODELS = 4
"""Loaded models of a router whose figures are read."""

_DECODED, _SECONDS = "llamacpp:tokens_predicted_total", "llamacpp:tokens_predicted_seconds_total"
"""Move only when a request ends: of the live speed `/slots` tells, or steps times busy slots."""
_STEPS, _BUSY_PER_STEP = "llamacpp:n_decode_total", "llamacpp:n_busy_slots_per_decode"
_PROMPT, _CACHED = "llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"
_RUNNING, _WAITING = "llamacpp:requests_processing", "llamacpp:requests_deferred"
_KV = "llamacpp:kv_cache_usage_ratio"
"""Until 2025; since then the slots tell."""
_DRAFTED, _ACCEPTED = "llamacpp:spec_decode_num_draft_tokens_total", "llamacpp:spec_decode_num_accepted_tokens_total"
_DRAFTS = "llamacpp:spec_decode_num_drafts_total"

_ASLEEP = "asleep"
"""Our own name for what `/props` tells."""

_NOT_TOLD = "llama.cpp does not tell"


@dataclass(frozen=True, slots=True)
class Llamacpp:
    """See `base.EngineAdapter`."""

    name: str = "llamacpp"
    no_metrics: str = "it runs without --metrics"
    live: bool = True
    every_seconds: float = 0.0
    wanted: re.Pattern[str] = re.compile(
        r"llamacpp[:_](?:tokens_predicted(?:_seconds)?_total|n_decode_total|n_busy_slots_per_decode|prompt_tokens(?:_cached)?_total"
        r"|requests_(?:processing|deferred)|kv_cache_usage_ratio|spec_decode_num_(?:drafts|draft_tokens|accepted_tokens)_total)[ {]"
    )

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:  # noqa: B008 (frozen)
        def at(name: str) -> str:
            return selector(name, matchers)

        def gained(function: str, name: str, seconds: int) -> str:
            return f"sum({gated(function, at(name), seconds)})"

        def share(part: str, whole: str, seconds: int) -> str:
            return f"{gained('increase', part, seconds)} / ({gained('increase', whole, seconds)} > 0)"

        # Steps times busy slots is the running count of tokens. `deriv`: rounding can make it step back, which `rate` takes for
        # a restart. A prompt's batch counts as one step.
        span = max(30, windows.speed)
        speed = f"deriv(({at(_STEPS)} * {at(_BUSY_PER_STEP)})[{span}s:5s])"
        asked = f"({gained('increase', _PROMPT, windows.hits)} + {gained('increase', _CACHED, windows.hits)} > 0)"
        return {
            "engine.decode_tok_s": f"sum(clamp_min({speed}, 0) and {at(_STEPS)})",
            "engine.prompt_tok_s": gained("rate", _PROMPT, windows.speed),
            "engine.running": f"sum({at(_RUNNING)})",
            "engine.waiting": f"sum({at(_WAITING)})",
            "engine.kv_use_ratio": f"max({at(_KV)})",
            "engine.itl_mean_seconds": share(_SECONDS, _DECODED, windows.latency),
            "engine.prefix_hit_ratio": f"{gained('increase', _CACHED, windows.hits)} / {asked}",
            "engine.accept_ratio": share(_ACCEPTED, _DRAFTED, windows.latency),
            "engine.accept_length": f"1 + {share(_ACCEPTED, _DRAFTS, windows.latency)}",
        }

    def sampled_at(self, matchers: str) -> str:
        return f"max(timestamp({selector(_RUNNING, matchers)}))"

    def absent(self, figure: str) -> str:
        return {
            "engine.kv_use_ratio": "only its /slots tells, which was not read",
            "engine.slots": "only its /props tells, which was not read",
            "engine.asleep": "only its /props tells, which was not read",
            **dict.fromkeys(
                ("engine.ttft_p50_seconds", "engine.ttft_p95_seconds", "engine.itl_p95_seconds", "engine.start_unixtime",
                 "engine.memory_bytes", "engine.cpu_share_ratio"),
                _NOT_TOLD,
            ),
        }.get(figure, "")  # fmt: skip

    # -- figures -------------------------------------------------------------------------------------

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """`/metrics` if it has them, and `/slots` while a request runs; without metrics `/slots` alone, after `/props`.

        `past.own["base"]` is another address than the client's: one that a llama-swap started.
        """
        series: dict[str, dict[Labels, float]] = {}
        if "asleep" in past.own:
            put(series, _ASLEEP, float(past.own["asleep"]))
        models = past.own.get("loaded")
        if models is not None:  # a router
            why: Reading | None = None
            for model in models[:MOST_MODELS]:
                why = (
                    await self._read(client, f"model={quote(model, safe='')}&autoload=false", model, past, series, at, monotonic)
                    or why
                )
            if why is not None and not any(name.startswith("llamacpp:") for name in series):
                return why
            return Scrape(at, monotonic, series, len(series))
        if past.own.get("slots"):
            put(series, SLOTS, float(past.own["slots"]))
        if "/metrics" not in past.missing:
            why = await self._read(client, "", "", past, series, at, monotonic)
            if why is None:
                return Scrape(at, monotonic, series, len(series))
            if why.reason != self.no_metrics:
                return why
            past.missing.add("/metrics")
        return await self._slots_alone(client, past, series, at, monotonic)

    async def _read(
        self,
        client: httpx.AsyncClient,
        query: str,
        model: str,
        past: Past,
        series: dict[str, dict[Labels, float]],
        at: datetime,
        monotonic: float,
    ) -> Reading | None:
        """Add one server's metrics, and its slots if it works. The answer is why there are none."""
        tail, base = f"?{query}" if query else "", past.own.get("base", "")
        page = await read_metrics(client, f"{base}/metrics{tail}", self.wanted, self.no_metrics, at, monotonic)
        if isinstance(page, Reading):
            return page
        where = (("model", model),) if model else ()
        for name, found in page.series.items():
            for value in found.values():
                series.setdefault(name, {})[where] = value
        if not page.has(_RUNNING):
            return None
        if not total(page.named(_RUNNING)):
            put(series, SEEN, 1.0, where)  # nothing runs: no task is missed by not looking
            put(series, FULLEST, 0.0, where)
        elif "/slots" not in past.missing:
            await self._slots(client, tail, where, past, series)  # it works, so it is awake
        return None

    async def _slots_alone(
        self, client: httpx.AsyncClient, past: Past, series: dict[str, dict[Labels, float]], at: datetime, monotonic: float
    ) -> Scrape | Reading | None:
        if "/slots" in past.missing:
            return unsupported("it runs with --no-slots and without --metrics", "engine")
        if not past.own.get("busy", True) and monotonic - past.own.get("looked_at", -1e9) < LOOK_EVERY_SECONDS:
            return None
        past.own["looked_at"] = monotonic
        base = past.own.get("base", "")
        status, props = await json_at(client, f"{base}/props")
        if status != 200 or not isinstance(props, Mapping):
            return unknown(f"its /props says {status}: without it, asking its slots could wake it", "engine")
        asleep = props.get("is_sleeping") is True
        past.own["asleep"], past.own["busy"] = asleep, False
        put(series, _ASLEEP, float(asleep))
        if asleep:
            put(series, SEEN, 1.0)
            put(series, BUSY, 0.0)
            put(series, FULLEST, 0.0)
        elif why := await self._slots(client, "", (), past, series):
            return why
        past.own["busy"] = total(series.get(BUSY, {})) > 0
        return Scrape(at, monotonic, series, len(series))

    @staticmethod
    async def _slots(
        client: httpx.AsyncClient, tail: str, where: Labels, past: Past, series: dict[str, dict[Labels, float]]
    ) -> Reading | None:
        """Only of a server that is awake."""
        status, slots = await json_at(client, f"{past.own.get('base', '')}/slots{tail}")
        if status == 501 or status == 404:
            past.missing.add("/slots")
            return unsupported("it runs with --no-slots and without --metrics", "engine")
        if status != 200 or not isinstance(slots, list):
            return unknown(f"its /slots says {status}", "engine")
        take_slots(slots, where, series)
        return None

    def parse(
        self,
        before: Scrape | None,
        after: Scrape,
        *,
        latency_before: Scrape | None = None,
        hits_before: Scrape | None = None,
    ) -> dict[str, Reading]:
        found: dict[str, Reading] = {}
        spoken: dict[str, str] = {}

        def tell(figure: str, value: float | None) -> None:
            if value is not None:
                found[figure] = fresh(value, after.at, "engine")

        def first(*names: str) -> float | None:
            return next((total(after.named(name)) for name in names if after.has(name)), None)

        if not after.has(_RUNNING, BUSY, _STEPS):
            why = unknown("its page tells nothing of requests: is it llama.cpp?", "engine", after.at)
            return dict.fromkeys(ENGINE_FIGURES, why)
        metrics = after.has(_RUNNING, _STEPS)
        tell("engine.running", first(BUSY, _RUNNING))
        tell("engine.waiting", first(_WAITING))
        tell("engine.slots", first(SLOTS))
        tell("engine.asleep", first(_ASLEEP))
        if after.has(_KV):
            tell("engine.kv_use_ratio", max(after.named(_KV).values()))
        elif after.has(FULLEST):
            tell("engine.kv_use_ratio", max(after.named(FULLEST).values()))
        if not metrics:
            for figure in (
                "engine.waiting",
                "engine.itl_mean_seconds",
                "engine.prefix_hit_ratio",
                "engine.accept_ratio",
                "engine.accept_length",
            ):
                spoken[figure] = self.no_metrics
        elif not total(after.named(_DRAFTED)):
            spoken["engine.accept_ratio"] = spoken["engine.accept_length"] = NO_DRAFTS if after.has(_DRAFTED) else _NOT_TOLD
        if metrics and not after.has(_CACHED):
            spoken["engine.prefix_hit_ratio"] = "this build does not tell"

        reason = SECOND_READING
        now = None if before is None else _between(before, after)
        if now is not None and now.restarted:
            reason = RESTARTED
        elif now is not None and now.usable:
            reason = NOT_YET
            tell("engine.decode_tok_s", _decoded(now))
            tell("engine.prompt_tok_s", _prompted(now))
        since = _window(latency_before or before, after)
        if since is not None and since.usable:
            tell("engine.itl_mean_seconds", _ratio(since, _SECONDS, _DECODED))
            if "engine.accept_ratio" not in spoken:
                tell("engine.accept_ratio", _ratio(since, _ACCEPTED, _DRAFTED))
                length = _ratio(since, _ACCEPTED, _DRAFTS)
                tell("engine.accept_length", None if length is None else 1 + length)
        longer = _window(hits_before or before, after)
        if longer is not None and longer.usable and after.has(_CACHED):
            cached, computed = longer.increase(_CACHED, total) or 0.0, longer.increase(_PROMPT, total) or 0.0
            tell("engine.prefix_hit_ratio", cached / (cached + computed) if cached + computed else float("nan"))
        for figure in ENGINE_FIGURES:
            if figure not in found:
                why_not = spoken.get(figure) or self.absent(figure)
                found[figure] = unsupported(why_not, "engine") if why_not else unknown(reason, "engine", after.at)
        return found

    # -- state ---------------------------------------------------------------------------------------

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is 200 on `/health` and the expected id; while it loads every path answers 503. A router tells per model."""
        status, told = await json_at(client, "/health")
        if status == 503:
            words = error_of(told)
            return Engine(EnginePhase.STARTING, progress="loading the model" if "oading" in words else words, reason=words)
        if status != 200:
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /health says {status}")
        router = past.own.get("router", False)
        every = ROUTER_EVERY_SECONDS if router else LOOK_EVERY_SECONDS
        due = not past.ready or monotonic - past.models_at >= every
        if due and (wrong := await self._learn(client, past, monotonic)):
            return wrong
        if past.own.get("router"):
            return self._routed(expected_model, past)
        names = past.own.get("names", past.models)
        if expected_model and names and expected_model not in names:
            return Engine(
                EnginePhase.WRONG_MODEL,
                tuple(clean(m, 200) for m in past.models),
                reason=wrong_model(past.models, expected_model),
            )
        past.ready = True
        models = tuple(clean(m, 200) for m in past.models)
        phase = EnginePhase.ASLEEP if past.own.get("asleep") else EnginePhase.READY
        reason = past.note or ("it sleeps: the next request loads its weights again" if phase is EnginePhase.ASLEEP else "")
        return Engine(phase, models, past.context_tokens, past.version, reason=reason, wakes=phase is EnginePhase.ASLEEP)

    @staticmethod
    async def _learn(client: httpx.AsyncClient, past: Past, monotonic: float) -> Engine | None:
        """Fill in `past` from `/props` and the list of models; an engine if what answers is something else."""
        status, props = await json_at(client, "/props")
        past.note = ""
        if isinstance(props, Mapping) and status == 200:
            settings = props.get("default_generation_settings")
            length = settings.get("n_ctx") if isinstance(settings, Mapping) else None
            past.context_tokens = length if isinstance(length, int) and length > 0 else None
            past.version = clean(str(props.get("build_info") or ""), 40)
            past.own["router"] = props.get("role") == "router"
            if isinstance(props.get("is_sleeping"), bool):
                past.own["asleep"] = props["is_sleeping"]
            if isinstance(props.get("total_slots"), int):
                past.own["slots"] = props["total_slots"]
        path = "/models" if past.own.get("router") else "/v1/models"
        status, told = await json_at(client, path)
        past.models_at = monotonic
        if status in (401, 403):
            past.note = "it wants an API key: which model it serves cannot be checked"
            return None
        data = told.get("data") if isinstance(told, Mapping) else None
        if status != 200 or not isinstance(data, list):
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: {path} says {status}")
        rows = [row for row in data if isinstance(row, Mapping) and isinstance(row.get("id"), str)]
        past.models = tuple(str(row["id"])[:300] for row in rows)
        past.own["names"] = (*past.models, *(str(a) for row in rows for a in listed(row.get("aliases"))))
        past.own["rows"] = rows if past.own.get("router") else []
        if past.context_tokens is None:
            past.context_tokens = max((n for row in rows if (n := length_of(row))), default=None)
        return None

    @staticmethod
    def _routed(expected: str, past: Past) -> Engine:
        """What a router says of the expected model, or of all."""
        parts = [part_of(row) for row in past.own.get("rows", ())]
        past.own["loaded"] = [
            str(row["id"]) for row in past.own.get("rows", ()) if state_of(row) == "loaded" and is_named(row, expected)
        ]
        mine = [p for p, row in zip(parts, past.own.get("rows", ()), strict=True) if is_named(row, expected)]
        if expected and not mine:
            names = tuple(p.name for p in parts)
            return Engine(
                EnginePhase.WRONG_MODEL, names, version=past.version, reason=wrong_model(names, expected), parts=tuple(parts)
            )
        past.ready = True
        states = {p.state for p in mine}
        shown = tuple(sorted(parts, key=lambda p: p.state == "unloaded"))
        held = tuple(p.name for p in (*mine, *parts) if p.state != "unloaded")
        models = tuple(dict.fromkeys(held)) or tuple(p.name for p in mine)
        length = next((p.context_tokens for p in mine if p.context_tokens), None)
        if "ready" in states:
            return Engine(EnginePhase.READY, models, length, past.version, parts=shown)
        if states & {"starting", "downloading"}:
            begun = next(p for p in mine if p.state in ("starting", "downloading"))
            words = "downloading the model" if begun.state == "downloading" else "the router loads it"
            return Engine(EnginePhase.STARTING, models, length, past.version, words, parts=shown)
        if "failed" in states and expected:
            return Engine(
                EnginePhase.DEAD, models, length, past.version, reason=f"its last load failed{mine[0].detail}", parts=shown
            )
        reason = "it sleeps: the next request wakes it" if "asleep" in states else "not loaded: the next request loads it"
        return Engine(EnginePhase.ASLEEP, models, length, past.version, reason=reason, wakes=True, parts=shown)


def _between(before: Scrape, after: Scrape) -> Between:
    return Between(before, after, (_PROMPT, _DECODED, _STEPS), absent_is_zero=True)


def _window(before: Scrape | None, after: Scrape) -> Between | None:
    return None if before is None else _between(before, after)


def _decoded(now: Between) -> float | None:
    """Tokens per second: of each slot's task what it gained, a task that has begun since counts whole; else steps times busy slots."""
    if now.before.has(SEEN) and now.after.has(SEEN):
        gained = now.differences(SLOT_DECODED).values()
        return max(0.0, sum(gained)) / now.seconds
    if not now.after.has(_STEPS, _BUSY_PER_STEP) or not now.before.has(_STEPS):
        return None

    def product(scrape: Scrape) -> float:
        return total(scrape.named(_STEPS)) * max(scrape.named(_BUSY_PER_STEP).values(), default=0.0)

    return max(0.0, product(now.after) - product(now.before)) / now.seconds


def _prompted(now: Between) -> float | None:
    if now.after.has(_PROMPT):
        gained = now.increase(_PROMPT, total)
        return None if gained is None else gained / now.seconds
    if now.before.has(SEEN) and now.after.has(SEEN):
        return max(0.0, sum(now.differences(SLOT_PROMPTED).values())) / now.seconds
    return None


def _ratio(between: Between, part: str, whole: str) -> float | None:
    below = between.increase(whole, total)
    if below is None:
        return None
    return (between.increase(part, total) or 0.0) / below if below > 0 else float("nan")


ENGINE = Llamacpp()
