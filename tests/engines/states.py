"""What happens to a real llama.cpp server while sovtui watches: each event, the word that is right from then on, and how soon it came.

Shared by the test and by the table. Nothing here judges how soon is soon enough.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.client import Client
from tests.engines.llamacpp import start, tiny
from tests.engines.running import Running, answer, free_port
from tests.engines.whole import Whole, whole

MODEL = "org/tiny:Q4_K_M"
"""An id with `/` and `:`, as Hugging Face and Ollama have them."""
_STOPPED_SECONDS, _GOING_SECONDS = 0.2, 0.01
"""A load of half a second takes ten; each of its answers takes less than one still."""
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
    """Notes every word that the room says of it, with its time."""

    def __init__(self, look: Whole) -> None:
        self.look = look
        self.told: list[tuple[float, str, str]] = []
        self._unsubscribe = look.hub.subscribe(lambda _: self._word(), self._note)

    def _word(self) -> tuple[str, str]:
        return self.look.view.word, self.look.view.reason or self.look.engine.reason

    def _note(self, said: tuple[str, str]) -> None:
        self.told.append((time.monotonic(), *said))

    def close(self) -> None:
        self._unsubscribe()

    async def after(self, event: str, right: str, do: Callable[[], Any]) -> Seen:
        """What is told from the moment on at which `do` has returned."""
        result = do()
        if isinstance(result, Awaitable):
            await result
        at, old = time.monotonic(), self.told[-1]
        while True:
            since = [one for one in self.told if one[0] > at]
            last = since[-1] if since else old
            words = tuple(word for word, _ in itertools.groupby([old[1], *(one[1] for one in since)]))
            if last[1] == right:
                return Seen(event, right, max(0.0, last[0] - at), words, last[2])
            if time.monotonic() - at > LIMIT_SECONDS:
                return Seen(event, right, None, words, last[2])
            await asyncio.sleep(0.02)


@asynccontextmanager
async def watching(folder: Path, url: str) -> AsyncIterator[Watcher]:
    async with whole(folder, url, model=MODEL) as look:
        watch = Watcher(look)
        try:
            yield watch
        finally:
            watch.close()


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

    async def ask_and_count() -> None:
        ask()
        await watch.look.until(lambda look: look.reading("running").fresh_value == 3, LIMIT_SECONDS)

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
        async with watching(folder, url) as watch:
            return [
                await watch.after("nothing listens", "cold", lambda: None),
                await watch.after("start", "resident", begin),
                await watch.after("three requests", "busy", ask),
                await watch.after("all of them cancelled", "resident", cancel),
                await watch.after("three requests more", "busy", ask_and_count),
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
    url = f"http://127.0.0.1:{port}"
    server: Running | None = None
    over = threading.Event()
    slowing: threading.Thread | None = None

    def slow(one: Running) -> None:
        while not over.is_set():
            one.signal(signal.SIGSTOP)
            over.wait(_STOPPED_SECONDS)
            one.signal(signal.SIGCONT)
            over.wait(_GOING_SECONDS)

    def begin() -> None:
        """Slowed down in the middle of its load: so short a one would be over between two looks."""
        nonlocal server, slowing
        server = start(folder, tiny(512, 12), wait=False, port=port, model_alias=[MODEL], warmup=True)
        limit = time.monotonic() + LIMIT_SECONDS
        while answer(f"{url}/health")[0] != 503 and time.monotonic() < limit:
            time.sleep(0.002)
        slowing = threading.Thread(target=slow, args=(server,))
        slowing.start()

    try:
        async with watching(folder, url) as watch:
            return await watch.after("503 while it loads", "starting", begin)
    finally:
        over.set()
        if slowing is not None:
            slowing.join()
        if server is not None:
            server.end()
