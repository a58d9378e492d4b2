"""llama.cpp's rows of the table: what sovtui shows, beside what a client counted or the server itself did. Each starts its own server."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.client import Client, load
from tests.engines.llamacpp import llamacpp, tiny
from tests.engines.old_llamacpp import old_llamacpp, router
from tests.engines.running import Running
from tests.engines.whole import Whole, whole

LOADS = tuple((tokens, streams) for tokens in (4, 12, 40, 120) for streams in (1, 4, 8))
"""Tokens per request and requests at a time."""
SETTLE_SECONDS = 3.0


@dataclass(frozen=True)
class Seen:
    """One row. `shown` is None where sovtui showed no figure; `said` is then why."""

    what: str
    shown: float | None
    counted: float
    unit: str = "tok/s"
    said: str = ""

    @property
    def apart(self) -> float:
        """How far they are apart, as a share of what was counted."""
        return abs((self.shown or 0.0) - self.counted) / self.counted if self.counted else abs(self.shown or 0.0)


async def measured(look: Whole, client: Client, seconds: float) -> tuple[float | None, float, str]:
    """Shown and counted tokens a second over the same looks, those that showed nothing left out; and why these did not.

    Where none showed anything: None, and what was counted meanwhile.
    """
    await asyncio.sleep(SETTLE_SECONDS)
    since = time.monotonic()
    await asyncio.sleep(seconds + 2.5)
    why = look.reading("decode_tok_s").reason
    looks = look.looks("decode_tok_s", since, seconds)
    if not looks:
        return None, client.tok_s(since, since + seconds), why
    length = sum(end - begin for begin, end, _ in looks)
    shown = sum((end - begin) * value for begin, end, value in looks)
    return shown / length, sum(client.tokens_between(begin, end) for begin, end, _ in looks) / length, why


async def decode(
    folder: Path,
    tokens: int,
    streams: int,
    *,
    seconds: float = 10.0,
    cancel: bool = True,
    model: Path | None = None,
    **fields: Any,
) -> Seen:
    """Requests of so many tokens, one after another on so many connections; one in five is cancelled half way."""
    half = tokens // 2 if cancel and tokens >= 12 else None  # a shorter one has ended before its end is noticed
    words = {"endpoint_metrics": True, "n_parallel": 8, "n_ctx": 8192, **fields}
    with llamacpp(folder, model or tiny(512, 12), **words) as server:
        client = Client(server.url)
        async with whole(folder, server.url) as look, load(client, streams, lambda n: _ask(n, tokens, half)):
            shown, counted, said = await measured(look, client, seconds)
        await client.aclose()
    return Seen(f"decode, {streams} × {tokens} tokens", shown, counted, said=said)


def _ask(number: int, tokens: int, half: int | None) -> dict[str, Any]:
    return {"tokens": tokens, "cancel_after": half if number % 5 == 4 else None}


async def decode_without_metrics(folder: Path, tokens: int, streams: int, *, seconds: float = 10.0) -> Seen:
    """Known where requests are longer than the looks; of shorter ones that it is not known."""
    return await decode(folder, tokens, streams, seconds=seconds, cancel=False, endpoint_metrics=False)


async def decode_with_drafts(folder: Path, *, slots: bool = True, seconds: float = 10.0) -> Seen:
    """A model that drafts for itself: several tokens a step."""
    same: dict[str, Any] = {"speculative__types": ["DRAFT_SIMPLE"], "speculative__draft__mparams__path": str(tiny(512, 12))}
    seen = await decode(folder, 60, 2, seconds=seconds, endpoint_slots=slots, n_parallel=2, sampling__temp=0.0, **same)
    return Seen(f"decode with drafts{'' if slots else ', --no-slots'}", seen.shown, seen.counted, said=seen.said)


async def prompt(folder: Path, tokens: int = 3900, **fields: Any) -> Seen:
    """One long prompt: the mean of what was shown while it was read, beside its tokens by the time to the first token."""
    words = {"endpoint_metrics": True, "n_ctx": 32768, **fields}
    with llamacpp(folder, tiny(512, 12), **words) as server:
        client = Client(server.url)
        async with whole(folder, server.url) as look:
            await look.until(lambda one: one.view.word == "resident", 20)
            asked = await client.ask(4, tokens)
            await asyncio.sleep(3)
            kept = [(at, value) for at, value in look.shown.get("prompt_tok_s", []) if asked.began < at <= asked.tokens[0] + 2.5]
        await client.aclose()
    read, until, known = 0.0, asked.began + asked.ttft_seconds, None
    for at, value in reversed(kept):  # a look is of the time before it; its first batch is known once it is done
        known = value or known
        since = max((other for other, _ in kept if other < at), default=asked.began)
        read += (known or 0.0) * max(0.0, min(at, until) - since)
    highest = max((value or 0.0 for _, value in kept), default=0.0)
    mean = read / asked.ttft_seconds if known else None
    return Seen(f"prompt of {tokens} tokens", mean, tokens / asked.ttft_seconds, said=f"highest {highest:.0f}")


async def cache(
    folder: Path, share: float = 0.6, context: int = 4096, options: Sequence[str] = ("--metrics",), **fields: Any
) -> Seen:
    """Four automatic slots share one cache: so much of it used by four requests that go on. `options`: none hides that they are."""
    each = int(share * context / 4)
    words = {"endpoint_metrics": True, "n_parallel": -1, "n_ctx": context, **fields}
    with llamacpp(folder, tiny(512, 12), options=options, **words) as server:
        client = Client(server.url)
        async with whole(folder, server.url) as look:
            asked = [asyncio.create_task(client.ask(context, each)) for _ in range(4)]
            await look.until(
                lambda one: (one.reading("decode_tok_s").fresh_value or 0) > 0 and one.reading("running").value == 4, 60
            )
            counted = sum(one.prompt_tokens + len(one.tokens) for one in client.asked) / context
            reading = look.reading("kv_use_ratio")
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await client.aclose()
    return Seen("KV of four automatic slots", reading.fresh_value, counted, "of the cache", reading.reason)


async def hung(folder: Path, model: Path, tokens: int, seconds: float, **fields: Any) -> Seen:
    """One very long prompt: for how many of the seconds it was called hung, beside none."""
    words = {"endpoint_metrics": True, "n_ctx": tokens + 64, **fields}
    called = 0.0
    with llamacpp(folder, model, **words) as server:
        client = Client(server.url)
        async with whole(folder, server.url) as look:
            task = asyncio.create_task(client.ask(4, tokens))
            until = time.monotonic() + seconds
            while time.monotonic() < until and not task.done():
                await asyncio.sleep(0.5)
                called += 0.5 * (look.view.word == "hung")
            still = not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()
    return Seen(
        f"hung, in {seconds:.0f} s of one prompt of {tokens} tokens",
        called,
        0.0,
        "s",
        "it went on" if still else "it ended before",
    )


async def router_without_metrics(folder: Path) -> Seen:
    """A router's model, asked through the router, long requests."""
    with router(folder, "-c", "8192", "-np", "2") as server:
        client = Client(server.url, "slow")
        await client.ask(2)
        async with whole(folder, server.url, model="slow") as look, load(client, 2, lambda n: {"tokens": 3500}):
            shown, counted, said = await measured(look, client, 10.0)
        await client.aclose()
    return Seen("router without --metrics, 2 streams", shown, counted, said=said)


async def questions(folder: Path, url: str, seconds: float = 60.0) -> dict[str, float]:
    """What is asked of an idle server in a minute, by path. Not through a relay: its host would see the relay's process work."""
    async with whole(folder, url) as look:
        await look.until(lambda one: one.view.word == "resident", 30)
        await asyncio.sleep(5)
        since = time.monotonic()
        await asyncio.sleep(seconds)
        paths = [path for at, path in look.asked if at > since]
    return {f"GET {path}": paths.count(path) * 60 / seconds for path in sorted(set(paths))}


SLEEP_AFTER = 15


async def sleeps(folder: Path, *, old: bool = False, look_too: Any = None) -> Seen:
    """Seconds from the end of the last request until the server says that it sleeps, and whether it then stays asleep for as long.

    `look_too(url)`: an async context in which others look at it too.
    """
    made: AbstractContextManager[Running]
    if old:
        made = old_llamacpp(folder, "--metrics", "-np", "4", "--sleep-idle-seconds", str(SLEEP_AFTER), model=tiny(512, 12))
    else:
        made = llamacpp(folder, tiny(512, 12), endpoint_metrics=True, n_parallel=4, sleep_idle_seconds=SLEEP_AFTER)
    with made as server:
        async with whole(folder, server.url) as look:
            client = Client(server.url)
            for _ in range(2):
                await client.ask(200, 20)
            await client.aclose()
            others = asyncio.create_task(look_too(server.url)) if look_too is not None else None
            word = await look.until(lambda one: one.view.word == "asleep", SLEEP_AFTER + 15)
            await asyncio.sleep(SLEEP_AFTER + 3)
            if others is not None:
                await others
            still = look.view.word == "asleep"
        log = server.said()
    seen = slept_after(log)
    woken = log.count("exiting sleeping state")
    said = f"shown as asleep after {word:.1f} s; {'it stays asleep' if still and not woken else f'woken {woken} times'}"
    return Seen(f"falls asleep{', build 10434' if old else ''}", seen, float(SLEEP_AFTER), "s", said)


def slept_after(log: str) -> float | None:
    """Seconds between the end of the last request before it first slept and its sleep, by the server's own log."""
    stamp = r"^(?:(\d+)\.)?(\d+)\.(\d+)\.(\d+)\s"
    released = None
    for line in log.splitlines():
        match = re.match(stamp, line)
        if match is None:
            continue
        minutes, seconds, millis = int(match[1] or 0), int(match[2]), int(match[3])
        at = 60.0 * minutes + seconds + millis / 1000
        if "stop processing" in line:
            released = at
        elif "entering sleeping state" in line and released is not None:
            return at - released
    return None
