"""llama.cpp's server, alone or as a router of many models: builds of 2025 and 2026. Knows nothing of where it runs.

Never wakes a sleeping server, keeps none awake and never loads a model. One build's `/metrics` wakes a server and restarts its idle
clock, another's `/slots` does, and no version tells which: both are asked only while there is work, told by its host (`activity`).
`/health`, `/props` and the list of models are harmless on all. A router is asked about a model only with `autoload=false`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import datetime

import httpx

from sovtui.adapters.engines import _llamacpp_states as states
from sovtui.adapters.engines._llamacpp_live import Move, Server
from sovtui.adapters.engines._llamacpp_talk import slots_of
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
)
from sovtui.adapters.engines.scrape import Between, Labels, Scrape, total
from sovtui.adapters.links.http import heard_at
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.model import Engine
from sovtui.core.reading import Reading, fresh, unknown, unsupported

LEAST_SECONDS = 0.25
"""Two looks that are closer make no speed."""
MOST_MODELS = 4
"""Loaded models of a router whose figures are read."""

_DECODED, _DECODE_SECONDS = "llamacpp:tokens_predicted_total", "llamacpp:tokens_predicted_seconds_total"
"""Move only when a request ends, cancelled ones included; what a running one has made `/slots` tells."""
_PROMPT, _PROMPT_SECONDS = "llamacpp:prompt_tokens_total", "llamacpp:prompt_seconds_total"
"""Move when a prompt is done; without cached tokens."""
_CACHED = "llamacpp:prompt_tokens_cached_total"
_RUNNING, _WAITING = "llamacpp:requests_processing", "llamacpp:requests_deferred"
_KV = "llamacpp:kv_cache_usage_ratio"
"""Until 2025; since then the slots tell."""
_DRAFTED, _ACCEPTED = "llamacpp:spec_decode_num_draft_tokens_total", "llamacpp:spec_decode_num_accepted_tokens_total"
_DRAFTS = "llamacpp:spec_decode_num_drafts_total"
_COUNTERS = (_DECODED, _DECODE_SECONDS, _PROMPT, _PROMPT_SECONDS, _CACHED, _DRAFTED, _ACCEPTED, _DRAFTS)

_ASLEEP, _SLOTS, _BUSY = "asleep", "slots.total", "slots.busy"
_MADE, _UNSURE, _RAN, _MOVES = "made", "made.unsure", "ran", "moves"
"""Decode tokens so far; that some are missing; requests times seconds so far; 0 for a server that is known to rest."""
_READ_RATE, _READS = "read.rate", "read.unknown"
_FULLEST, _POOL, _SHARED = "slots.fullest", "slots.pool", "slots.shared"
"""Our own names for what is told elsewhere than in `/metrics`, or reckoned from it."""

_NOT_TOLD = "llama.cpp does not report this"
_ENDED_ONLY = "with --no-slots tokens are counted when their request ends: the requests of the last minute do not show it"
_UNSEEN = "without --metrics the tokens of requests that begin or end between two looks are not known"
_BATCH = "a batch of its prompt is being computed: how fast is known when it is done"
NEITHER = "it runs with --no-slots and without --metrics"


@dataclass(frozen=True, slots=True)
class Llamacpp:
    """See `base.EngineAdapter`."""

    name: str = "llamacpp"
    no_metrics: str = "it runs without --metrics"
    live: bool = True
    every_seconds: float = 0.0
    wanted: re.Pattern[str] = re.compile(
        r"llamacpp[:_](?:tokens_predicted(?:_seconds)?_total|prompt_(?:tokens(?:_cached)?|seconds)_total"
        r"|requests_(?:processing|deferred)|kv_cache_usage_ratio|spec_decode_num_(?:drafts|draft_tokens|accepted_tokens)_total)[ {]"
    )

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:  # noqa: B008 (frozen)
        def at(name: str) -> str:
            return selector(name, matchers)

        def gained(function: str, name: str, seconds: int) -> str:
            return f"sum({gated(function, at(name), seconds)})"

        def share(part: str, whole: str, seconds: int) -> str:
            return f"{gained('increase', part, seconds)} / ({gained('increase', whole, seconds)} > 0)"

        # Counters move when a request, or its prompt, ends. So they tell a mean over a long window, and that only where the
        # requests that ended in it took about as long as requests ran in it: else one is longer than the window, or runs still.
        # Where nothing has run lately it is zero, however much the window holds.
        span = windows.hits
        ended = f"{gated('rate', at(_DECODE_SECONDS), span)} + {gated('rate', at(_PROMPT_SECONDS), span)}"
        ran = f"avg_over_time({at(_RUNNING)}[{span}s])"
        whole = f"(abs({ended} - {ran}) <= 0.1 + 0.25 * {ran})"
        lately = f"(({gated('increase', at(_DECODE_SECONDS), windows.speed)} + {at(_RUNNING)}) > bool 0)"

        def ended_tokens(name: str) -> str:
            return f"sum(({gated('rate', at(name), span)} and {whole}) * {lately})"

        asked = f"({gained('increase', _PROMPT, windows.hits)} + {gained('increase', _CACHED, windows.hits)} > 0)"
        return {
            "engine.decode_tok_s": ended_tokens(_DECODED),
            "engine.prompt_tok_s": ended_tokens(_PROMPT),
            "engine.running": f"sum({at(_RUNNING)})",
            "engine.waiting": f"sum({at(_WAITING)})",
            "engine.kv_use_ratio": f"max({at(_KV)})",
            "engine.itl_mean_seconds": share(_DECODE_SECONDS, _DECODED, windows.latency),
            "engine.prefix_hit_ratio": f"{gained('increase', _CACHED, windows.hits)} / {asked}",
            "engine.accept_ratio": share(_ACCEPTED, _DRAFTED, windows.latency),
            "engine.accept_length": f"1 + {share(_ACCEPTED, _DRAFTS, windows.latency)}",
        }

    def sampled_at(self, matchers: str) -> str:
        return f"max(timestamp({selector(_RUNNING, matchers)}))"

    def absent(self, figure: str) -> str:
        return {
            "engine.kv_use_ratio": "only its /slots reports this, which was not read",
            "engine.slots": "only its /props reports this, which was not read",
            "engine.asleep": "only its /props reports this, which was not read",
            **dict.fromkeys(
                ("engine.ttft_p50_seconds", "engine.ttft_p95_seconds", "engine.itl_p95_seconds", "engine.start_unixtime",
                 "engine.memory_bytes", "engine.cpu_share_ratio"),
                _NOT_TOLD,
            ),
        }.get(figure, "")  # fmt: skip

    # -- figures -------------------------------------------------------------------------------------

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """`/metrics` if it has them, and `/slots`, while there is work; what rests is told without asking.

        `past.own["base"]` is another address than the client's: one that a llama-swap started.
        """
        if monotonic - past.own.get("read_at", float("-inf")) < LEAST_SECONDS:
            return None
        past.own["read_at"] = monotonic
        series: dict[str, dict[Labels, float]] = {}
        loaded: list[str] | None = past.own.get("loaded")
        told, heard = False, -math.inf
        if loaded == []:
            self._stands(Server(), past, (), series)
        why: Reading | None = None
        for model in [""] if loaded is None else loaded[:MOST_MODELS]:
            move, reason = past.own.pop("move", None) or await states.decide(client, past, monotonic, model)
            server = states.server_of(past, model)
            where: Labels = (("model", model),) if model else ()
            if move is Move.LEAVE:
                why = unknown(reason, "engine", at)
            elif move is Move.REST:
                server.rest(monotonic)
                self._stands(server, past, where, series)
                told = True
            elif failed := await self._ask(client, past, model, series, at, monotonic):
                why = failed
            else:
                told, heard = True, heard_at(client)
        if not told and why is not None:
            return why
        return Scrape(at, monotonic, series, len(series), heard if math.isfinite(heard) else None)

    async def _ask(
        self,
        client: httpx.AsyncClient,
        past: Past,
        model: str,
        series: dict[str, dict[Labels, float]],
        at: datetime,
        monotonic: float,
    ) -> Reading | None:
        """Add what a server that is awake tells. The answer is why there is nothing."""
        server, tail, base = states.server_of(past, model), states.query_of(model), past.own.get("base", "")
        page: dict[str, float] = {}
        slots = None
        for turn in range(2):
            if "/metrics" not in server.missing:
                told = await read_metrics(client, f"{base}/metrics{tail}", self.wanted, self.no_metrics, at, monotonic)
                if isinstance(told, Reading):
                    if told.reason != self.no_metrics:
                        return replace(told, at=at)
                    server.missing.add("/metrics")
                else:
                    page = {name: total(told.named(name)) for name in told.series}
            if "/slots" in server.missing or turn:
                break
            if page.get(_RUNNING, 1.0):
                status, rows = await json_at(client, f"{base}/slots{tail}")
                if status in (404, 501):
                    server.missing.add("/slots")
                    break
                if status != 200 or not isinstance(rows, list):
                    return unknown(
                        "its slots want a key: give it a `bearer`" if status in (401, 403) else f"its /slots says {status}",
                        "engine",
                    )
                slots = slots_of(rows)
                server.slot_count = slots.total
            if slots is None or not server.lost(_of(page), _DECODED, slots):
                break
        if not page and slots is None:
            return unsupported(NEITHER, "engine")
        running = float(slots.busy) if slots is not None else page.get(_RUNNING, 0.0)
        counted = "/slots" not in server.missing or not running
        server.take(_of(page), slots, _DECODED, _PROMPT, running + page.get(_WAITING, 0.0), monotonic)
        server.heard_at = past.at
        where: Labels = (("model", model),) if model else ()
        for name in (_RUNNING, _WAITING, _KV):
            if name in page:
                _put(series, name, page[name], where)
        self._counted(server, past, where, series)
        _put(series, _MOVES, 1.0, where)
        if counted:
            _put(series, _MADE, server.made, where)
            if server.prompt_tok_s is not None:
                _put(series, _READ_RATE, server.prompt_tok_s, where)
            elif server.reading.pending:
                _put(series, _READS, 1.0, where)
        if slots is not None or not running:
            _put(series, _BUSY, running, where)
            _put(series, _FULLEST, slots.fullest_ratio if slots is not None else 0.0, where)
            _put(series, _POOL, slots.pool_ratio if slots is not None else 0.0, where)
        return None

    def _stands(self, server: Server, past: Past, where: Labels, series: dict[str, dict[Labels, float]]) -> None:
        """Add what is so of a server that rests."""
        if "/metrics" not in server.missing:
            _put(series, _RUNNING, 0.0, where)
            _put(series, _WAITING, 0.0, where)
        self._counted(server, past, where, series)
        if server.asked_at > float("-inf"):
            _put(series, _MADE, server.made, where)
        for name in (_MOVES, _BUSY, _FULLEST, _POOL, _READ_RATE):
            _put(series, name, 0.0, where)

    @staticmethod
    def _counted(server: Server, past: Past, where: Labels, series: dict[str, dict[Labels, float]]) -> None:
        for name in _COUNTERS:
            if name in server.counters:
                _put(series, name, server.counters[name], where)
        _put(series, _RAN, server.ran_seconds, where)
        if server.unsure:
            _put(series, _UNSURE, 1.0, where)
        if server.slot_count:
            _put(series, _SLOTS, float(server.slot_count), where)
        if not dict(where) and server.props_at > float("-inf"):
            _put(series, _ASLEEP, float(server.asleep), where)
        use = states.activity_of(past, dict(where).get("model", ""))
        if use is not None and use.shared_cache is not None:
            _put(series, _SHARED, float(use.shared_cache), where)

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
        doubts: dict[str, str] = {}
        """Why a figure is not known now."""

        def tell(figure: str, value: float | None) -> None:
            if value is not None:
                found[figure] = fresh(value, after.at, "engine")

        def first(*names: str) -> float | None:
            return next((total(after.named(name)) for name in names if after.has(name)), None)

        if not after.has(_RUNNING, _BUSY):
            why = unknown("its page reports no requests: is it llama.cpp?", "engine", after.at)
            return dict.fromkeys(ENGINE_FIGURES, why)
        metrics = after.has(_RUNNING)
        tell("engine.running", first(_BUSY, _RUNNING))
        tell("engine.waiting", first(_WAITING))
        tell("engine.slots", first(_SLOTS))
        tell("engine.asleep", first(_ASLEEP))
        if after.has(_KV):
            tell("engine.kv_use_ratio", max(after.named(_KV).values()))
        elif after.has(_POOL):
            kv = _kv(after)
            if isinstance(kv, str):
                doubts["engine.kv_use_ratio"] = kv
            else:
                tell("engine.kv_use_ratio", kv)
        if not metrics:
            for figure in (
                "engine.waiting",
                "engine.itl_mean_seconds",
                "engine.prefix_hit_ratio",
                "engine.accept_ratio",
                "engine.accept_length",
            ):
                spoken[figure] = self.no_metrics
        elif after.has(_DRAFTED) and not total(after.named(_DRAFTED)):
            spoken["engine.accept_ratio"] = spoken["engine.accept_length"] = NO_DRAFTS
        if metrics and after.has(_PROMPT) and not after.has(_CACHED):
            spoken["engine.prefix_hit_ratio"] = "this build does not report this"

        reason = SECOND_READING
        if after.has(_MOVES) and not total(after.named(_MOVES)):  # nothing runs, whatever was so before
            tell("engine.decode_tok_s", 0.0)
            tell("engine.prompt_tok_s", 0.0)
        now = _window(before, after)
        since = _window(latency_before or before, after)
        if now is not None and now.restarted:
            reason = RESTARTED
        elif now is not None and now.usable:
            reason = NOT_YET
            for figure, value in (("engine.decode_tok_s", _decoded(now, since)), ("engine.prompt_tok_s", _prompted(now, since))):
                if isinstance(value, str):
                    doubts[figure] = value
                elif figure not in found:
                    tell(figure, value)
        if since is not None and since.usable:
            tell("engine.itl_mean_seconds", _ratio(since, _DECODE_SECONDS, _DECODED))
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
                if figure in doubts:
                    found[figure] = unknown(doubts[figure], "engine", after.at)
                    continue
                why_not = spoken.get(figure) or self.absent(figure)
                found[figure] = unsupported(why_not, "engine") if why_not else unknown(reason, "engine", after.at)
        return found

    # -- state ---------------------------------------------------------------------------------------

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """See `_llamacpp_states.probe`."""
        return await states.probe(client, expected_model, past, monotonic)


def _put(series: dict[str, dict[Labels, float]], name: str, value: float, where: Labels) -> None:
    series.setdefault(name, {})[where] = value


def _of(page: dict[str, float]) -> dict[str, float]:
    return {name: page[name] for name in _COUNTERS if name in page}


def _window(before: Scrape | None, after: Scrape) -> Between | None:
    return None if before is None else Between(before, after, (_PROMPT, _DECODED), absent_is_zero=False)


def _kv(after: Scrape) -> float | str:
    """Of the fullest cache; where it is not known whether slots share one and that matters, a sentence with both ends."""
    low = high = 0.0
    shared = after.named(_SHARED)
    for where, pool in after.named(_POOL).items():
        alone = after.named(_FULLEST).get(where, pool)
        mine = shared.get(where)
        low = max(low, pool if mine else alone)
        high = max(high, alone if mine == 0.0 else pool)
    if high - low < 0.005:
        return high
    return f"{100 * low:.0f} to {100 * high:.0f} %: whether its slots share one cache is not known"


def _decoded(now: Between, since: Between | None) -> float | str | None:
    """Tokens per second: what ended requests and running ones have made, over the last look."""
    if not now.after.has(_MADE):
        return _ended(now, since, _DECODED)
    if now.after.has(_UNSURE):
        return _UNSEEN
    gained = now.increase(_MADE, total)
    return None if gained is None else max(0.0, gained) / now.seconds


def _prompted(now: Between, since: Between | None) -> float | str | None:
    if now.after.has(_READS):
        return _BATCH
    if now.after.has(_READ_RATE):
        return total(now.after.named(_READ_RATE))
    return None if now.after.has(_MADE) else _ended(now, since, _PROMPT)


def _ended(now: Between, since: Between | None, counter: str) -> float | str | None:
    """Of counters that move when a request ends: a mean over the longer window, where the requests in it are shorter than it is."""
    if since is None or not since.usable or not (since.before.has(_RAN) and since.after.has(_RAN, counter)):
        return None
    if not now.increase(_RAN, total) and not total(now.after.named(_RUNNING)):
        return 0.0
    ran = since.increase(_RAN, total) or 0.0
    ended = (since.increase(_DECODE_SECONDS, total) or 0.0) + (since.increase(_PROMPT_SECONDS, total) or 0.0)
    if abs(ended - ran) > 0.1 * since.seconds + 0.25 * ran:
        return _ENDED_ONLY
    return (since.increase(counter, total) or 0.0) / since.seconds


def _ratio(between: Between, part: str, whole: str) -> float | None:
    below = between.increase(whole, total)
    if below is None:
        return None
    return (between.increase(part, total) or 0.0) / below if below > 0 else float("nan")


ENGINE = Llamacpp()
