"""The table of `make engines`: each real server's rows, shown against counted, as the README has it. Minutes; one server at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from tests.engines import rows_init, rows_litellm, rows_llamacpp, rows_states, rows_vllm
from tests.engines.llamacpp import llamacpp, tiny
from tests.engines.old_llamacpp import old_llamacpp
from tests.engines.row import Row
from tests.engines.rows_llamacpp import Seen

NEW, OLD = "llama.cpp 11549", "llama.cpp 10434"
LONG_PROMPT_TOKENS = 31_000
HUNG_SECONDS = 420.0
"""Longer than the 300 s after which an engine that stands still is called hung."""


async def llamacpp_rows(folder: Path) -> AsyncIterator[Row]:
    """Build 11549 from `xllamacpp`, then the older one with router mode."""
    for tokens, streams in rows_llamacpp.LOADS:
        yield _row(NEW, await rows_llamacpp.decode(folder, tokens, streams))
    for slots in (True, False):
        yield _row(NEW, await rows_llamacpp.decode_with_drafts(folder, slots=slots))
    for tokens, streams in ((12, 4), (2000, 2)):
        seen = await rows_llamacpp.decode_without_metrics(folder, tokens, streams)
        yield _row(NEW, seen, "without --metrics: ")
    yield _row(NEW, await rows_llamacpp.prompt(folder, 15_000))
    yield _row(NEW, await rows_llamacpp.cache(folder))
    yield _row(NEW, await rows_llamacpp.hung(folder, tiny(1024, 16, 65_536), LONG_PROMPT_TOKENS, HUNG_SECONDS))
    yield _row(NEW, await rows_llamacpp.sleeps(folder, look_too=onlookers(folder)))
    yield _row(OLD, await rows_llamacpp.sleeps(folder, old=True, look_too=onlookers(folder)))
    yield _row(OLD, await rows_llamacpp.router_without_metrics(folder))
    yield Row(OLD, "router beside init", "", *await rows_init.router_and_its_servers(folder))
    for row in await rows_states.rows(folder, NEW):
        yield row
    for what, made in (
        (NEW, llamacpp(folder, tiny(512, 12), endpoint_metrics=True, options=("--metrics",))),
        (OLD, old_llamacpp(folder, "--metrics")),
    ):
        with made as server:
            yield _questions(what, await rows_llamacpp.questions(folder, server.url))


async def litellm_rows(folder: Path) -> AsyncIterator[Row]:
    for row in await rows_litellm.rows(folder):
        yield row


async def vllm_rows(folder: Path) -> AsyncIterator[Row]:
    for row in await rows_vllm.rows(folder):
        yield row


SERVERS: dict[str, Callable[[Path], AsyncIterator[Row]]] = {"llamacpp": llamacpp_rows, "litellm": litellm_rows, "vllm": vllm_rows}


def configuration(engine: str, url: str, **more: str) -> str:
    """A configuration of this machine with one mode that has no services."""
    lines = "\n".join(
        f"{key} = {json.dumps(value)}" for key, value in {"name": "one", "engine": engine, "url": url, **more}.items()
    )
    return f'[host.here]\nlink = "local"\n\n[[host.here.mode]]\n{lines}\n'


def onlookers(folder: Path) -> Callable[[str], Awaitable[None]]:
    """`status --watch`, the control room, `doctor` and `init`, all of them again and again, until the sleep is told."""

    async def look(url: str) -> None:
        file = folder / "onlookers.toml"
        file.write_text(configuration("llamacpp", url, model="tiny"))
        home = folder / "home"
        home.mkdir(exist_ok=True)
        base = [sys.executable, "-m", "sovtui", "--config", str(file)]
        steadily = [
            await _begin([*base, "status", "--watch"], home),
            await _begin(["script", "-qec", " ".join(base), "/dev/null"], home),
        ]
        try:
            for _ in range(4):
                for words in (["doctor"], ["status"]):
                    await (await _begin([*base, *words], home)).wait()
                await (await _begin([sys.executable, "-m", "sovtui", "init"], home)).wait()
                await asyncio.sleep(2.0)
        finally:
            for process in steadily:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()

    return look


async def _begin(argv: list[str], home: Path) -> asyncio.subprocess.Process:
    nothing = asyncio.subprocess.DEVNULL
    env = {
        **os.environ,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "TERM": "xterm-256color",
        "LINES": "40",
        "COLUMNS": "120",
    }
    return await asyncio.create_subprocess_exec(*argv, stdin=nothing, stdout=nothing, stderr=nothing, env=env)


def _questions(what: str, asked: Mapping[str, float]) -> Row:
    return Row(
        what,
        "questions a minute, idle",
        "",
        None,
        round(sum(asked.values())),
        ", ".join(f"{k} {n:.0f}" for k, n in asked.items()),
    )


def _row(what: str, seen: Seen, before: str = "") -> Row:
    return Row(what, f"{before}{seen.what}", seen.unit, seen.shown, seen.counted, seen.said)


def lines(row: Row) -> Iterator[str]:
    """A row as Markdown: shown, counted, and how far apart where both are numbers."""
    numbers = isinstance(row.shown, float | int) and isinstance(row.counted, float | int) and row.counted
    apart = (
        f"{100 * (float(row.shown or 0) - float(row.counted or 0)) / float(row.counted or 1):+.1f} %"
        if numbers and row.unit
        else ""
    )
    yield f"| {row.what} | {row.figure} | {_told(row.shown, row.unit)} | {_told(row.counted, row.unit)} | {apart} | {row.note} |"


def _told(value: float | str | None, unit: str) -> str:
    if value is None:
        return "not told"
    if isinstance(value, str):
        return value
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{f' {unit}' if unit else ''}"
