"""The client that counts for itself: tokens, first token, time between tokens, by its own clock, from the stream it reads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

WORDS_ONLY = {str(n): -100 for n in range(259)}
"""Neither single bytes nor an end: each token of the tiny model is then one chunk of the stream."""


@dataclass
class Asked:
    """One request. Times are monotonic seconds."""

    began: float
    prompt_tokens: int = 0
    """As the client made it: ids of the tiny model; of a chat, words."""
    tokens: list[float] = field(default_factory=list)
    """When each came."""
    ended: float = math.nan
    status: int = 0
    cancelled: bool = False

    @property
    def ttft_seconds(self) -> float:
        return self.tokens[0] - self.began if self.tokens else math.nan

    @property
    def tpot_seconds(self) -> float:
        """Mean time per token after the first."""
        return (self.tokens[-1] - self.tokens[0]) / (len(self.tokens) - 1) if len(self.tokens) > 1 else math.nan


class Client:
    """Counts over all its requests."""

    def __init__(self, url: str, model: str = "tiny", key: str = "", path: str = "/v1/completions", **body: Any) -> None:
        self.asked: list[Asked] = []
        self._model, self._path, self._body = model, path, body
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False, limits=httpx.Limits())
        self._turn = itertools.count()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, tokens: int, prompt_tokens: int = 8, cancel_after: int | None = None, **body: Any) -> Asked:
        """One streamed completion of `tokens` tokens; with `cancel_after` the connection is closed after so many."""
        one = Asked(time.monotonic(), prompt_tokens)
        self.asked.append(one)
        fresh = random.Random(next(self._turn) * 7919 + id(self) % 1000)
        ids = [259 + fresh.randrange(4000) for _ in range(prompt_tokens)]  # of the tiny model: one token each
        words = " ".join(f"w{id_}" for id_ in ids)
        sent: dict[str, Any] = {
            "model": self._model, "max_tokens": tokens, "stream": True, "ignore_eos": True, "logit_bias": WORDS_ONLY,
            **({"messages": [{"role": "user", "content": words}]} if "chat" in self._path else {"prompt": ids}),
            **self._body, **body,
        }  # fmt: skip
        try:
            async with self._http.stream("POST", self._path, json=sent) as answer:
                one.status = answer.status_code
                if answer.status_code != 200:
                    await answer.aread()
                    return one
                async for line in answer.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    choices = json.loads(line[6:]).get("choices") or [{}]
                    text = choices[0].get("text") or (choices[0].get("delta") or {}).get("content")
                    ids = choices[0].get("token_ids")  # vLLM, asked to: with drafts a chunk has several
                    one.tokens += [time.monotonic()] * (len(ids) if ids else 1 if text else 0)
                    if cancel_after is not None and len(one.tokens) >= cancel_after:
                        one.cancelled = True
                        return one
        except httpx.HTTPError:
            one.status = one.status or -1
        finally:
            one.ended = time.monotonic()
        return one

    def tokens_between(self, since: float, until: float) -> int:
        return sum(1 for one in self.asked for at in one.tokens if since < at <= until)

    def tok_s(self, since: float, until: float) -> float:
        return self.tokens_between(since, until) / (until - since)


@asynccontextmanager
async def load(client: Client, streams: int, ask: Callable[[int], dict[str, Any]], pause: float = 0.0) -> AsyncIterator[None]:
    """`streams` workers that ask one request after another, `pause` seconds apart, each with the words that `ask(number)` gives."""
    numbers = itertools.count()

    async def work() -> None:
        while True:
            one = await client.ask(**ask(next(numbers)))
            if one.status != 200:
                await asyncio.sleep(0.1)
            if pause:
                await asyncio.sleep(pause)

    tasks = [asyncio.create_task(work()) for _ in range(streams)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
