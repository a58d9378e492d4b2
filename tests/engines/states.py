"""What happens to a real llama.cpp server while sovtui watches: each event, the word that is right from then on, and how soon it came.

Shared by the test and by the table. Nothing here judges how soon is soon enough.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.client import Client
from tests.engines.llamacpp import start, tiny
from tests.engines.looking import LOOK_SECONDS, Looking, looking
from tests.engines.running import Running, free_port

MODEL = "org/tiny:Q4_K_M"
"""An id with `/` and `:`, as Hugging Face and Ollama have them."""
LIMIT_SECONDS = 60.0
"""A machine with a load of 15 is waited for."""


@dataclass(frozen=True)
class Seen:
    """One event and what was told after it."""

    event: str
    right: str
    seconds: float | None
    """Until the right word; None where it never came."""
    words: tuple[str, ...]
    """Every word from the event on, each once in a row, the right one last."""
    reason: str = ""


class Watcher:
    """Looks in the rhythm of the control room, and notes every word with its time."""

    def __init__(self, look: Looking) -> None:
        self.look = look
        self.told: list[tuple[float, str, str]] = [(0.0, "unknown", "")]
        self._task: asyncio.Task[None] | None = None

    async def _go_on(self) -> None:
        while True:
            began = time.monotonic()
            await self.look.look()
            view = self.look.view
            self.told.append((time.monotonic(), view.word, view.reason or self.look.engine.reason))
            await asyncio.sleep(max(0.05, LOOK_SECONDS - (time.monotonic() - began)))

    async def __aenter__(self) -> Watcher:
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def after(self, event: str, right: str, do: Callable[[], Any]) -> Seen:
        """What is told from the moment on at which `do` has returned."""
        result = do()
        if isinstance(result, Awaitable):
            await result
        at, old = time.monotonic(), self.told[-1][1]
        while time.monotonic() - at < LIMIT_SECONDS:
            since = [one for one in self.told if one[0] > at]
            if since and since[-1][1] == right:
                words = tuple(word for word, _ in itertools.groupby([old, *(one[1] for one in since)]))
                return Seen(event, right, since[-1][0] - at, words, since[-1][2])
            assert self._task is not None and not self._task.done(), self._task
            await asyncio.sleep(0.05)
        since = [one for one in self.told if one[0] > at]
        words = tuple(word for word, _ in itertools.groupby([old, *(one[1] for one in since)]))
        return Seen(event, right, None, words, since[-1][2] if since else "")


async def life(folder: Path, model: Path | None = None) -> list[Seen]:
    """A start while it is watched, work, cancelled requests, SIGSTOP in the middle of work, SIGCONT, `kill -9`, a second start."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server: Running | None = None
    client = Client(url, MODEL)
    work: list[asyncio.Task[Any]] = []

    def begin() -> None:
        nonlocal server
        server = start(
            folder,
            model or tiny(),
            wait=False,
            port=port,
            model_alias=[MODEL],
            endpoint_metrics=True,
            n_parallel=3,
            n_ctx=3 * 8192,
        )

    def ask() -> None:
        work[:] = [asyncio.create_task(client.ask(8000)) for _ in range(3)]

    async def cancel() -> None:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    def send(number: signal.Signals) -> Callable[[], None]:
        def do() -> None:
            assert server is not None
            server.signal(number)
            if number is signal.SIGKILL:
                server.process.wait()

        return do

    def again() -> None:
        assert server is not None
        server.again()

    try:
        async with looking("llamacpp", url, model=MODEL) as look, Watcher(look) as watch:
            return [
                await watch.after("nothing listens", "cold", lambda: None),
                await watch.after("start", "resident", begin),
                await watch.after("three requests", "busy", ask),
                await watch.after("all of them cancelled", "resident", cancel),
                await watch.after("three requests more", "busy", ask),
                await watch.after("SIGSTOP in the middle of them", "hung", send(signal.SIGSTOP)),
                await watch.after("SIGCONT", "busy", send(signal.SIGCONT)),
                await watch.after("kill -9", "dead", send(signal.SIGKILL)),
                await watch.after("a second start", "resident", again),
            ]
    finally:
        await cancel()
        await client.aclose()
        if server is not None:
            server.end()


async def loading(folder: Path) -> Seen:
    """A model that takes a moment to load: meanwhile it says 503, which is starting and nothing else."""
    port = free_port()
    server: Running | None = None

    def begin() -> None:
        nonlocal server
        server = start(folder, tiny(512, 12), wait=False, port=port, model_alias=[MODEL], warmup=True)

    async with looking("llamacpp", f"http://127.0.0.1:{port}", model=MODEL) as look:
        watch = Watcher(look)
        try:
            begin()
            began = time.monotonic()
            words = [""]
            while time.monotonic() - began < LIMIT_SECONDS and words[-1] not in ("resident", "hot"):
                await look.look()
                words.append(look.view.word)
                watch.told.append((time.monotonic(), look.view.word, look.view.reason))
            reason = next((why for _, word, why in watch.told if word == "starting"), "")
            return Seen(
                "503 while it loads",
                words[-1],
                time.monotonic() - began,
                tuple(w for w, _ in itertools.groupby(words[1:])),
                reason,
            )
        finally:
            if server is not None:
                server.end()
