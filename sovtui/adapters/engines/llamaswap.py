"""llama-swap, v200 and newer: which of its models runs, and what that one's own server tells. Knows nothing of where it runs.

A request that names a model starts it and may stop another, and one through `/upstream` keeps it from its timeout: neither is
ever sent. The servers that it started are asked at their own ports, on this machine only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from sovtui.adapters.engines.base import (
    NOT_YET,
    RESTARTED,
    SECOND_READING,
    EngineAdapter,
    Past,
    WithoutMetrics,
    json_at,
    read_metrics,
    wrong_model,
)
from sovtui.adapters.engines.llamacpp import ENGINE as LLAMACPP
from sovtui.adapters.engines.scrape import Between, Labels, Scrape, total
from sovtui.adapters.engines.sglang import ENGINE as SGLANG
from sovtui.adapters.engines.vllm import ENGINE as VLLM
from sovtui.core import outside
from sovtui.core.activity import Activity, address_of
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase, Part
from sovtui.core.reading import Reading, Status, fresh, unknown, unsupported
from sovtui.core.text import duration
from sovtui.ports.errors import PortError

MODELS_EVERY_SECONDS = 30.0
MOST_UPSTREAMS = 4
MOST_MODELS = 200
LONGEST_TTL_SECONDS = 1e9

_KINDS: tuple[tuple[str, EngineAdapter], ...] = (("llama-server", LLAMACPP), ("sglang", SGLANG), ("vllm", VLLM))
"""What a command line holds, and who then answers."""
_RUNS, _OUT, _IN = "llamaswap.runs", "llamaswap.output_tokens", "llamaswap.input_tokens"
"""Our own names: 1 for each model that runs, and its own counts, which move when an answer is complete."""
_ADDED = ("engine.decode_tok_s", "engine.prompt_tok_s", "engine.running", "engine.waiting", "engine.slots")
_NOT_TOLD = "llama-swap does not report this"


@dataclass(frozen=True, slots=True)
class Llamaswap(WithoutMetrics):
    """See `base.EngineAdapter`."""

    name: str = "llamaswap"
    no_metrics: str = "its metrics are of the machine only"

    def absent(self, figure: str) -> str:
        return "" if figure in _ADDED else _NOT_TOLD

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """Of each model that is ready the figures of its own server; where that one is not known, llama-swap's own counts."""
        series: dict[str, dict[Labels, float]] = {_RUNS: {}}
        upstreams: list[_Upstream] = past.own.get("upstreams", [])
        subs: dict[str, Past] = past.own.setdefault("subs", {})
        for gone in set(subs) - {one.model for one in upstreams}:
            del subs[gone]
        counted = False
        for one in upstreams[:MOST_UPSTREAMS]:
            model, base, adapter = one.model, one.base, one.adapter
            series[_RUNS][(("model", model),)] = 1.0
            if adapter is None or not base:
                counted = True
                continue
            sub = subs.get(model)
            if sub is None or sub.own["base"] != base:
                sub = subs[model] = Past(own={"base": base}, address=address_of(base))
            sub.activity, sub.blind, sub.at = past.activity, past.blind, past.at
            if one.sleepless and sub.address not in past.activity:
                sub.activity = {**past.activity, sub.address: Activity(sleeps_after_seconds=0)}
            page = await self._ask(client, sub, base, adapter, at, monotonic)
            if page is None:  # it was asked a moment ago
                page = sub.own.get("told")
            if isinstance(page, Scrape):
                sub.own["told"] = page
                for name, found in page.series.items():
                    for labels, value in found.items():
                        series.setdefault(name, {})[(*labels, ("upstream", model))] = value
            else:
                counted = True
        if counted:
            _, told = await json_at(client, "/api/metrics/stats")
            for name, key in ((_OUT, "total_output_tokens"), (_IN, "total_input_tokens")):
                if isinstance(told, Mapping) and isinstance(told.get(key), int):
                    series[name] = {(): float(told[key])}
        return Scrape(at, monotonic, series, len(series))

    @staticmethod
    async def _ask(
        client: httpx.AsyncClient, past: Past, base: str, adapter: EngineAdapter, at: datetime, monotonic: float
    ) -> Scrape | Reading | None:
        try:
            if adapter.name == LLAMACPP.name:
                return await LLAMACPP.scrape(client, past, at, monotonic)
            return await read_metrics(client, f"{base}/metrics", adapter.wanted, adapter.no_metrics, at, monotonic)
        except PortError as error:  # it was stopped a moment ago
            return unknown(str(error), "engine", at)

    def parse(
        self,
        before: Scrape | None,
        after: Scrape,
        *,
        latency_before: Scrape | None = None,
        hits_before: Scrape | None = None,
    ) -> dict[str, Reading]:
        if _RUNS not in after.series:
            return dict.fromkeys(ENGINE_FIGURES, unknown("what runs was not reported", "engine", after.at))
        if not after.series[_RUNS]:
            nothing = unknown("no model runs", "engine", after.at)
            idle = {f: fresh(0.0, after.at, "engine") for f in _ADDED if f != "engine.slots"}
            return {**dict.fromkeys(ENGINE_FIGURES, nothing), **idle}

        def same(other: Scrape | None) -> Scrape | None:
            """Another model's counters are no past of this one's."""
            return other if other is not None and other.series.get(_RUNS) == after.series[_RUNS] else None

        told = [
            adapter.parse(same(before), after, latency_before=same(latency_before), hits_before=same(hits_before))
            for prefix, adapter in (("llamacpp:", LLAMACPP), ("vllm:", VLLM), ("sglang:", SGLANG))
            if any(name.startswith((prefix, "slots.") if adapter is LLAMACPP else prefix) for name in after.series)
        ]
        if not told:
            return self._counted(same(latency_before) or same(before), after)
        found = dict(told[0])
        for figure in _ADDED:
            rows = [readings[figure] for readings in told]
            if len(rows) > 1:
                known = all(r.status is Status.FRESH for r in rows)
                found[figure] = (
                    fresh(sum(r.value or 0.0 for r in rows), after.at, "engine")
                    if known
                    else unknown(NOT_YET, "engine", after.at)
                )
        return found

    def _counted(self, before: Scrape | None, after: Scrape) -> dict[str, Reading]:
        found = {f: unsupported(why, "engine") for f in ENGINE_FIGURES if (why := self.absent(f))}
        requests = unsupported("which server its model runs is not known: it does not report requests", "engine")
        found |= {"engine.running": requests, "engine.waiting": requests, "engine.slots": requests}
        since = None if before is None else Between(before, after, (_OUT, _IN), absent_is_zero=False)
        for figure, name in (("engine.decode_tok_s", _OUT), ("engine.prompt_tok_s", _IN)):
            reason = SECOND_READING if since is None else RESTARTED if since.restarted else NOT_YET
            gained = since.increase(name, total) if since is not None and since.usable else None
            seconds = since.seconds if since is not None else 1.0
            found[figure] = unknown(reason, "engine", after.at) if gained is None else fresh(gained / seconds, after.at, "engine")
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is the expected model in state `ready`; one that does not run is asleep: the next request starts it."""
        engine = await self._judge(client, expected_model, past, monotonic)
        return replace(engine, installed=past.own.get("installed", ()))

    async def _judge(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        status, told = await json_at(client, "/running")
        rows = told.get("running") if isinstance(told, Mapping) else None
        if status in (401, 403):
            return Engine(EnginePhase.READY, reason="it wants an API key: which model runs is not known")
        if status != 200 or not isinstance(rows, list):
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /running says {status}")
        if not past.ready or monotonic - past.models_at >= MODELS_EVERY_SECONDS:
            await self._learn(client, past, monotonic)
        running = [row for row in outside.rows(rows) if isinstance(row.get("model"), str)][:MOST_MODELS]
        past.own["upstreams"] = [_upstream(row) for row in running if row.get("state") == "ready"]
        parts = tuple(part_of(row) for row in running)
        known: dict[str, str] = past.own.get("known", {})
        wanted = known.get(expected_model, expected_model)
        if expected_model and known and expected_model not in known:
            ids = tuple(dict.fromkeys(known.values()))
            return Engine(
                EnginePhase.WRONG_MODEL, ids, version=past.version, reason=wrong_model(ids, expected_model), parts=parts
            )
        past.ready = True
        mine = [part for part in parts if not wanted or part.name == clean(wanted, 200)]
        names = tuple(dict.fromkeys(part.name for part in (*mine, *parts)))
        engine = Engine(EnginePhase.READY, names, version=past.version, parts=parts)
        states = {part.state for part in mine}
        if "ready" in states:
            return engine
        if "starting" in states:
            return replace(engine, phase=EnginePhase.STARTING, progress="llama-swap starts it")
        others = [part.name for part in parts if part not in mine]
        reason = (
            "it is being stopped"
            if "stopping" in states
            else "not loaded: the next request starts it"
            if wanted
            else "no model is loaded"
        )
        if others and wanted and "stopping" not in states:
            reason += f"; {', '.join(others)} runs now"
        return replace(engine, phase=EnginePhase.ASLEEP, wakes=True, reason=clean(reason, 300))

    @staticmethod
    async def _learn(client: httpx.AsyncClient, past: Past, monotonic: float) -> None:
        past.models_at = monotonic
        status, told = await json_at(client, "/v1/models")
        data = told.get("data") if status == 200 and isinstance(told, Mapping) else None
        known: dict[str, str] = {}
        installed: list[Part] = []
        for row in data if isinstance(data, list) else ():
            if isinstance(row, Mapping) and isinstance(row.get("id"), str):
                known[row["id"]] = row["id"]
                meta = row.get("meta")
                own = meta.get("llamaswap") if isinstance(meta, Mapping) else None
                own = own if isinstance(own, Mapping) else {}
                aliases = own.get("aliases")
                if own.get("type", "model") in ("model", "peer"):  # an alias, a selector, a profile is no model of its own
                    elsewhere = own.get("type") == "peer" or "peerID" in own
                    installed.append(Part(clean(row["id"], 200), "remote" if elsewhere else "installed"))
                known |= {str(alias): row["id"] for alias in (aliases if isinstance(aliases, list) else ())}
        past.own["known"], past.own["installed"] = known, tuple(installed[:MOST_MODELS])
        if not past.version_asked:
            _, told = await json_at(client, "/api/version")
            past.version = clean(outside.text(told.get("version", "")), 40) if isinstance(told, Mapping) else ""
            past.version_asked = True


def part_of(row: Mapping[str, Any]) -> Part:
    """One model that runs. Its command line stays unread here: it may hold keys."""
    ttl, proxy = outside.number(row.get("ttl")), _place(outside.text(row.get("proxy") or ""))
    said = [f"at {clean(proxy, 80)}" if proxy else ""]
    said.append(f"unloads after {duration(ttl)} idle" if ttl is not None and 0 < ttl < LONGEST_TTL_SECONDS else "")
    return Part(
        clean(str(row["model"]), 200),
        clean(outside.text(row.get("state") or "unknown"), 20),
        detail=", ".join(words for words in said if words),
        pinned=ttl == 0,
    )


def _place(url: str) -> str:
    """Host and port; empty for what is no address."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A model's own server."""

    model: str
    base: str
    """Its address; empty where that is not this machine."""
    adapter: EngineAdapter | None
    sleepless: bool
    """It was started so that it never sleeps by itself."""


def _upstream(row: Mapping[str, Any]) -> _Upstream:
    proxy, command = outside.text(row.get("proxy") or ""), outside.text(row.get("cmd") or "")
    try:
        host = urlsplit(proxy).hostname or ""
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    adapter = next((adapter for word, adapter in _KINDS if word in command), None)
    base = proxy.rstrip("/") if here and proxy.startswith("http://") else ""
    return _Upstream(str(row["model"]), base, adapter, "--sleep-idle-seconds" not in command)


ENGINE = Llamaswap()
