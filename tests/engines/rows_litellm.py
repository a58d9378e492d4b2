"""Rows of the table for LiteLLM: what sovtui shows of the real proxy against what its upstream was asked. For `make engines`."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from sovtui.adapters.engines.litellm import PAGE_EVERY_SECONDS
from sovtui.core.model import Part
from tests.engines.litellm import BROKEN, KEY, PROMPT_TOKENS, SLOW_DOWN, TOKENS, TOO_LONG, Upstream, litellm, upstream
from tests.engines.looking import LOOK_SECONDS, Looking, looking, now
from tests.engines.row import Row
from tests.engines.running import Running

OWN_SECONDS, ROUTER_SECONDS = 45, 25
WHAT = "LiteLLM"


def _config(url: str) -> dict[str, Any]:
    def of(group: str, id_: str, **params: Any) -> dict[str, Any]:
        given = {"model": "openai/m", "api_base": f"{url}/{id_}/v1", "api_key": "x", **params}
        return {"model_name": group, "litellm_params": given, "model_info": {"id": id_}}

    return {
        "model_list": [
            of("chat", "chat"), of("long", "long"), of("longer", "longer"), of("spare", "spare"),
            of("pair", "own", cooldown_time=OWN_SECONDS), of("pair", "told"), of("openai/*", "wild", model="openai/*"),
        ],
        "litellm_settings": {"default_fallbacks": ["spare"], "num_retries": 0},
        "router_settings": {
            "fallbacks": [{"nobody": ["spare"]}], "context_window_fallbacks": [{"long": ["longer"]}],
            "model_group_alias": {"gpt-4": "chat"}, "cooldown_time": ROUTER_SECONDS,
        },
    }  # fmt: skip


async def rows(folder: Path) -> list[Row]:
    """Deployments, chains, cooldowns, tokens, and what a steady look asks."""
    with upstream() as provider, litellm(folder, _config(provider.url)) as proxy:
        async with looking("litellm", proxy.url, model="chat", key=KEY) as look:
            await look.look()
            await look.look()
            deployments = [part for part in look.engine.parts if part.state != "chain"]
            return [
                Row(WHAT, "deployments", "", len(deployments), 7, "one is a wildcard, one has an alias"),
                *await _tokens(look, proxy),
                *await _hops(look, proxy, provider),
                *await _cooldowns(look, proxy, provider),
                *await _steady(look),
            ]


async def _ask(proxy: Running, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=proxy.url, headers=headers, trust_env=False, timeout=60) as http:
        return await http.post("/v1/chat/completions", json=body)


async def _page(look: Looking) -> None:
    async with look.watching():
        await asyncio.sleep(PAGE_EVERY_SECONDS + 2 * LOOK_SECONDS)


async def _tokens(look: Looking, proxy: Running) -> list[Row]:
    """Speeds are of what was complete within the last minute."""
    began = look.reading("start_unixtime").at
    for _ in range(50):
        await _ask(proxy, "chat")
    await _page(look)
    reading = look.reading("decode_tok_s")
    assert began is not None and reading.at is not None
    seconds = (reading.at - began).total_seconds()
    return [
        Row(WHAT, "decode", "tok/s", reading.value, 50 * TOKENS / seconds),
        Row(WHAT, "prompt", "tok/s", look.reading("prompt_tok_s").value, 50 * PROMPT_TOKENS / seconds),
    ]


async def _hops(look: Looking, proxy: Running, provider: Upstream) -> list[Row]:
    provider.says |= {"chat": BROKEN, "long": TOO_LONG}
    for model in ("chat", "chat", "chat", "long", "long"):
        await _ask(proxy, model)
    counted = (provider.asked.get("spare", 0), provider.asked.get("longer", 0))
    await _page(look)
    provider.says.clear()
    shown = [_part(look, name).detail for name in ("* → spare", "long → longer")]
    return [
        Row(WHAT, "default chain", "", shown[0], f"{counted[0]} served by it"),
        Row(WHAT, "context-window hops", "", shown[1], f"{counted[1]} served by it"),
    ]


async def _cooldowns(look: Looking, proxy: Running, provider: Upstream) -> list[Row]:
    """When each is asked again, against the end that was shown. `told` has a `retry-after` of 30 s that its proxy tells nobody."""
    provider.says |= {"own": SLOW_DOWN, "told": SLOW_DOWN}
    cooled: dict[str, datetime] = {}
    shown: dict[str, Part] = {}
    again: dict[str, datetime] = {}
    limit = time.monotonic() + 120
    async with look.watching():
        while len(again) < 2 and time.monotonic() < limit:
            before = dict(provider.asked)
            await _ask(proxy, "pair")
            for name in ("own", "told"):
                if provider.asked.get(name, 0) > before.get(name, 0):
                    (again if name in cooled else cooled).setdefault(name, now())
            if len(cooled) == 2:
                provider.says.clear()
            for name in ("own", "told"):
                part = _part(look, f"pair: {name}")
                if part.state == "cooldown" and part.ends_at is not None:
                    shown.setdefault(name, part)
            await asyncio.sleep(0.2)

    def length(name: str, at: datetime | None) -> float | None:
        return None if at is None or name not in cooled else (at - cooled[name]).total_seconds()

    return [
        Row(WHAT, f"cooldown, {what}", "s", length(name, shown[name].ends_at if name in shown else None), length(name, again.get(name)),
            "a guess, and said so" if name in shown and shown[name].ends_guessed else "")
        for name, what in (("own", "its own"), ("told", "its provider's"))
    ]  # fmt: skip


async def _steady(look: Looking) -> list[Row]:
    async with look.watching():
        since = time.monotonic()
        await asyncio.sleep(60.0)
        asked = look.a_minute(since, time.monotonic())
    note = ", ".join(f"{path} {count:.0f}" for path, count in asked.items())
    return [Row(WHAT, "questions a minute", "", sum(asked.values()), 60 / LOOK_SECONDS, note)]


def _part(look: Looking, name: str) -> Part:
    return next((part for part in look.engine.parts if part.name == name), Part(name))
