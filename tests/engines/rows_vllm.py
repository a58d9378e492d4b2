"""Rows of the table for vLLM: what sovtui shows of a real server against what a client counts. Minutes: for `make engines`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.engines import client as counting
from tests.engines.looking import LOOK_SECONDS, Looking, looking
from tests.engines.row import Row
from tests.engines.vllm import DRAFTS, client, vllm

SECONDS = 40.0
"""How long is measured; sovtui's latencies are of the last minute, so that long the load has run when they are read."""
SETTLE_SECONDS = 25.0
PROMPT = 200


async def rows(folder: Path) -> list[Row]:
    """With and without drafts: decode, prompt tok/s, time to first token, time per token; and what a steady look asks."""
    found: list[Row] = []
    for drafts in (None, DRAFTS):
        what = "vLLM with n-gram drafts" if drafts else "vLLM"
        with vllm(folder, drafts=drafts) as server:
            async with looking("vllm", server.url, model="tiny") as look:
                await look.look()
                found += await _under_load(look, server.url, what)
                if not drafts:
                    found += await _prompts(look, server.url)
                    found += await _steady(look)
    return found


async def _under_load(look: Looking, url: str, what: str) -> list[Row]:
    """Two streams of 150 tokens."""
    counted = client(url)
    try:
        async with look.watching(), counting.load(counted, 2, lambda _: {"tokens": 150, "prompt_tokens": PROMPT}):
            await asyncio.sleep(SETTLE_SECONDS)
            since = time.monotonic()
            await asyncio.sleep(SECONDS)
            until = time.monotonic()
        ended = [one for one in counted.asked if since < one.ended <= until and len(one.tokens) > 1]
        tokens = sum(len(one.tokens) - 1 for one in ended)
        return [
            Row(what, "decode", "tok/s", look.mean("decode_tok_s", since, until), counted.tok_s(since, until)),
            Row(what, "TTFT p50", "ms", _ms(look.reading("ttft_p50_seconds").value), _ms(_median([o.ttft_seconds for o in ended])),
                "from the buckets of a histogram"),
            Row(what, "TPOT mean", "ms", _ms(look.reading("itl_mean_seconds").value),
                _ms(sum(one.tokens[-1] - one.tokens[0] for one in ended) / tokens)),
            Row(what, "questions a minute, busy", "", sum(look.a_minute(since, until).values()), 60 / LOOK_SECONDS),
        ]  # fmt: skip
    finally:
        await counted.aclose()


async def _prompts(look: Looking, url: str) -> list[Row]:
    """The same 1,024 tokens again and again, eight of its largest blocks, with 100 new ones: the cache has all but those."""
    counted = client(url)
    same = list(range(300, 1324))
    try:
        async with look.watching():
            await asyncio.sleep(2 * LOOK_SECONDS)
            since, computed, asked = time.monotonic(), 0, 0
            for number in range(20):
                new = [1500 + (number * 100 + n) % 2500 for n in range(100)]
                await counted.ask(2, prompt=[*same, *new])
                computed += len(new) if number else len(same) + len(new)
                asked += len(same) + len(new)
            await asyncio.sleep(2 * LOOK_SECONDS)
            shown = look.total("prompt_tok_s", since, time.monotonic())
        return [Row("vLLM", "prompt, computed", "tokens", shown, computed, f"{asked} with cached ones")]
    finally:
        await counted.aclose()


async def _steady(look: Looking) -> list[Row]:
    await asyncio.sleep(2 * LOOK_SECONDS)
    async with look.watching():
        await asyncio.sleep(3 * LOOK_SECONDS)
        since = time.monotonic()
        await asyncio.sleep(60.0)
        asked = look.a_minute(since, time.monotonic())
    note = ", ".join(f"{path} {count:.0f}" for path, count in asked.items())
    return [Row("vLLM", "questions a minute, idle", "", sum(asked.values()), 60 / LOOK_SECONDS, note)]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
