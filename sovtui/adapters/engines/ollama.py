"""Ollama 0.1.34 to 0.33: what is loaded, where it lies, until when. Knows nothing of where it runs.

It has no metrics and does not report its requests. Asked are lists only: `/api/generate` with a model's name would load it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from sovtui.adapters.engines.base import Past, WithoutMetrics, clock_ahead, json_at, json_in, wrong_model
from sovtui.adapters.engines.scrape import Labels, Scrape
from sovtui.adapters.links.http import request
from sovtui.core import outside
from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.clean import clean
from sovtui.core.model import Engine, EnginePhase, Part
from sovtui.core.reading import Reading, fresh, unknown, unsupported

INSTALLED_EVERY_SECONDS = 30.0
MOST_INSTALLED, MOST_LOADED = 200, 100
YEARS_AHEAD_IS_PINNED = 10
"""For ever is told as a moment some 292 years ahead."""

_SIZE, _VRAM = "ollama.size", "ollama.vram"
"""Our own names for what `/api/ps` tells of each model, in bytes. Estimates of its own."""
_NO_REQUESTS = "Ollama does not report its requests"
_NO_SPEED = "Ollama reports its speed in each answer only; a LiteLLM in front of it counts"
_NOT_TOLD = "Ollama does not report this"


@dataclass(frozen=True, slots=True)
class Ollama(WithoutMetrics):
    """See `base.EngineAdapter`."""

    name: str = "ollama"
    no_metrics: str = "Ollama has no metrics"

    def absent(self, figure: str) -> str:
        return {
            "engine.running": _NO_REQUESTS,
            "engine.waiting": _NO_REQUESTS,
            "engine.decode_tok_s": _NO_SPEED,
            "engine.prompt_tok_s": _NO_SPEED,
            "engine.memory_bytes": "",
            "engine.cpu_share_ratio": "",
        }.get(figure, _NOT_TOLD)

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """What the probe has just read: nothing more is asked."""
        series: dict[str, dict[Labels, float]] = {_SIZE: {}, _VRAM: {}}
        for row in past.own.get("loaded", ()):
            size, vram = row.get("size"), row.get("size_vram", 0)
            if isinstance(size, int) and isinstance(vram, int) and not _remote(row):
                labels: Labels = (("model", _name(row)),)
                series[_SIZE][labels], series[_VRAM][labels] = float(size), float(vram)
        return Scrape(at, monotonic, series, len(series[_SIZE]))

    def parse(
        self,
        before: Scrape | None,
        after: Scrape,
        *,
        latency_before: Scrape | None = None,
        hits_before: Scrape | None = None,
    ) -> dict[str, Reading]:
        found = {f: unsupported(why, "engine") for f in ENGINE_FIGURES if (why := self.absent(f))}
        sizes, vrams = after.series.get(_SIZE), after.series.get(_VRAM, {})
        if sizes is None:
            why_not = unknown("what is loaded was not reported", "engine", after.at)
            return {**found, "engine.memory_bytes": why_not, "engine.cpu_share_ratio": why_not}
        shares = [_share(size, vrams.get(labels, 0.0)) for labels, size in sizes.items()]
        found["engine.memory_bytes"] = fresh(sum(sizes.values()), after.at, "engine")
        if not shares:
            found["engine.cpu_share_ratio"] = unknown("no model is loaded", "engine", after.at)
        elif any(share is None for share in shares):
            found["engine.cpu_share_ratio"] = unknown("its sizes make no sense", "engine", after.at)
        else:
            on_cpu = sum(size - vrams.get(labels, 0.0) for labels, size in sizes.items())
            found["engine.cpu_share_ratio"] = fresh(on_cpu / sum(sizes.values()), after.at, "engine")
        return found

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ready is the expected model in memory. Installed only: asleep, the next request loads it. Partly on the CPU: spilled."""
        answer = await request(client, "GET", "/api/ps")
        status, told = answer.status_code, json_in(answer)
        rows = told.get("models") if isinstance(told, Mapping) else None
        if status in (401, 403):
            return Engine(EnginePhase.READY, version=past.version, reason="it wants an API key: what is loaded is not known")
        if status != 200 or not isinstance(rows, list):
            return Engine(EnginePhase.WRONG_MODEL, reason=f"something else answers on its port: /api/ps says {status}")
        loaded = [row for row in outside.rows(rows) if _name(row)][:MOST_LOADED]
        past.own["loaded"] = loaded
        if not past.version_asked:
            _, told = await json_at(client, "/api/version")
            past.version = clean(outside.text(told.get("version", "")), 40) if isinstance(told, Mapping) else ""
            past.version_asked = True
        if not past.ready or monotonic - past.models_at >= INSTALLED_EVERY_SECONDS:
            status, told = await json_at(client, "/api/tags")
            installed = told.get("models") if isinstance(told, Mapping) else None
            if status == 200 and isinstance(installed, list):
                past.own["installed"] = [row for row in installed if isinstance(row, Mapping) and _name(row)]
                past.own["parts"] = tuple(_installed(row) for row in past.own["installed"][:MOST_INSTALLED])
                past.models_at = monotonic
        now = past.at or datetime.now(UTC)
        ahead = clock_ahead(answer, now)
        parts = tuple(part_of(row, now, ahead) for row in loaded)
        return replace(self._judge(expected_model, past, loaded, parts), installed=past.own.get("parts", ()))

    @staticmethod
    def _judge(expected: str, past: Past, loaded: list[Mapping[str, Any]], parts: tuple[Part, ...]) -> Engine:
        version = past.version
        mine = [part for part, row in zip(parts, loaded, strict=True) if not expected or _is(row, expected)]
        names = tuple(dict.fromkeys(p.name for p in (*mine, *parts)))
        installed = past.own.get("installed")
        if expected and not mine and installed is not None:
            row = next((row for row in installed if _is(row, expected)), None)
            if row is None:
                served = [clean(_name(r), 200) for r in installed]
                return Engine(EnginePhase.WRONG_MODEL, names, version=version, reason=wrong_model(served, expected), parts=parts)
            if _remote(row):
                past.ready = True
                where = clean(outside.text(row.get("remote_host") or "a cloud"), 120)
                return Engine(
                    EnginePhase.READY,
                    (clean(expected, 200), *names),
                    version=version,
                    reason=f"not local: {where} computes it",
                    parts=parts,
                )
        past.ready = True
        if not mine:
            reason = f"{clean(expected, 200)} is not loaded" if expected else "no model is loaded"
            return Engine(
                EnginePhase.ASLEEP, names, version=version, reason=f"{reason}: the next request loads it", wakes=True, parts=parts
            )
        context = mine[0].context_tokens
        spilled = [p for p in mine if p.state == "spilled"]
        if spilled:
            reason = "; ".join(f"{p.detail} of {p.name} on the CPU" for p in spilled)
            return Engine(
                EnginePhase.SPILLED, names, context, version, reason=f"{reason}: it does not fit into GPU memory", parts=parts
            )
        whole = next((p for p in mine if p.accelerator_bytes == 0), None)
        reason = f"{whole.name} runs on the CPU alone" if whole else ""
        return Engine(EnginePhase.READY, names, context, version, reason=reason, parts=parts)


def part_of(row: Mapping[str, Any], now: datetime, ahead: timedelta = timedelta(0)) -> Part:
    """One loaded model; its times by our clock, which is `ahead` of Ollama's. One that is still being loaded looks like a loaded one."""
    size, vram, context = row.get("size"), row.get("size_vram", 0), row.get("context_length")
    known = isinstance(size, int) and isinstance(vram, int)
    share = _share(float(size), float(vram)) if isinstance(size, int) and isinstance(vram, int) else None
    ends_at = moment(row.get("expires_at"))
    pinned = ends_at is not None and (ends_at - now).days > 365 * YEARS_AHEAD_IS_PINNED
    ends_at = ends_at + ahead if ends_at is not None and not pinned else None
    state, detail = "ready", ""
    if _remote(row):
        state = "remote"
    elif ends_at is not None and ends_at <= now:
        state, detail = "stopping", "unloads once its request ends"
    if share is not None and 0 < share < 1:
        state, detail = "spilled", f"{max(1, round(share * 100))} %"
    elif share == 1 and state == "ready":
        state = "on the CPU"
    return Part(
        clean(_name(row), 200),
        state,
        state == "spilled",
        detail,
        size_bytes=size if known and size else None,
        accelerator_bytes=vram if known and share is not None else None,
        context_tokens=context if isinstance(context, int) and context > 0 else None,
        ends_at=ends_at,
        pinned=pinned,
    )


def _installed(row: Mapping[str, Any]) -> Part:
    """A model on its disk, with the size of its files."""
    size = row.get("size")
    return Part(
        clean(_name(row), 200),
        "remote" if _remote(row) else "installed",
        size_bytes=size if isinstance(size, int) and size > 0 else None,
    )


def moment(text: Any) -> datetime | None:
    """A time with nine decimals and a zone; None where there is none."""
    return outside.moment(text) if isinstance(text, str) and _ZONED.search(text) else None


_ZONED = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")


def _share(size: float, vram: float) -> float | None:
    """How much of it the CPU computes; None where the sizes make no sense."""
    return (size - vram) / size if size > 0 and 0 <= vram <= size else None


def _name(row: Mapping[str, Any]) -> str:
    name = row.get("name") or row.get("model")
    return name if isinstance(name, str) else ""


def _remote(row: Mapping[str, Any]) -> bool:
    return bool(row.get("remote_host")) or _name(row).endswith("-cloud")


def _is(row: Mapping[str, Any], expected: str) -> bool:
    return _name(row) in _spellings(expected)


def _spellings(name: str) -> Iterable[str]:
    """A name without a tag means `latest`."""
    return (name,) if ":" in name.rpartition("/")[2] else (name, f"{name}:latest")


ENGINE = Ollama()
