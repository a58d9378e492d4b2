"""llama.cpp's own server: what sovtui shows is what the server did, and looking on neither wakes it nor keeps it awake.

Short, and with little to compute: `python -m tests.engines` does the same at length (`rows_llamacpp`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sovtui.core.model import EnginePhase
from tests.engines import rows_llamacpp as rows
from tests.engines.client import Client, load
from tests.engines.llamacpp import llamacpp
from tests.engines.running import Running
from tests.engines.whole import Whole, whole

pytestmark = pytest.mark.integration

SLEEP_AFTER = 6


async def test_every_token_is_counted_once_and_busy_ends_with_the_work(tmp_path: Path) -> None:
    """The shown speeds, each times the seconds that it is of, are the tokens that were made: however fast this machine is now.

    Of a cancelled request the server makes more than its client has read.
    """
    with llamacpp(tmp_path, endpoint_metrics=True, n_parallel=8, n_ctx=8192) as server:
        async with whole(tmp_path, server.url) as look:
            await look.until(lambda one: one.view.word == "resident", 30)
            assert {look.reading(name).fresh_value for name in ("running", "waiting", "decode_tok_s", "prompt_tok_s")} == {0.0}
            client = Client(server.url)
            async with load(client, 1, lambda n: {"tokens": 100}):  # so that its counter is known
                await look.until(lambda one: bool(one.reading("decode_tok_s").fresh_value), 30)
            for tokens, streams, half in ((4, 4, None), (12, 8, 6), (120, 2, 60)):
                await look.until(rests, 20)
                since, before = look.shown["decode_tok_s"][-1][0], len(client.asked)
                async with load(client, streams, lambda n, t=tokens, h=half: asked(n, t, h), pause=0.2 * streams):  # type: ignore[misc]
                    await look.until(lambda one: one.view.word == "busy", 30)
                    await asyncio.sleep(4)
                await look.until(lambda one: one.view.word == "resident", 20)
                await look.until(rests, 20)
                for _ in range(8):  # what was made last may not have been seen on a machine that has much else to do
                    mine = client.asked[before:]
                    counted, cut = sum(len(one.tokens) for one in mine), sum(one.cancelled for one in mine)
                    shown = sum((end - begin) * value for begin, end, value in look.looks("decode_tok_s", since, 1e9))
                    if counted * 0.97 <= shown <= counted * 1.03 + cut * (tokens - (half or 0)):
                        break
                    await client.ask(40)
                    await asyncio.sleep(2.5)
                else:
                    raise AssertionError((tokens, streams, shown, counted, cut))
            await client.aclose()


def rests(look: Whole) -> bool:
    """Also what was made last has been told."""
    return look.view.word == "resident" and look.reading("decode_tok_s").fresh_value == 0


def asked(number: int, tokens: int, half: int | None) -> dict[str, Any]:
    return {"tokens": tokens, "cancel_after": half if number % 4 == 3 else None}


async def test_without_metrics_long_requests_are_known_and_of_short_ones_it_is_said(tmp_path: Path) -> None:
    with llamacpp(tmp_path, endpoint_metrics=False, n_parallel=2, n_ctx=65536) as server:
        async with whole(tmp_path, server.url) as look:
            client = Client(server.url)
            async with load(client, 2, lambda n: {"tokens": 24}, pause=0.2):
                unseen = "begin or end between two looks"
                await look.until(lambda one: unseen in one.reading("decode_tok_s").reason and one.view.word == "busy", 30)
                assert look.reading("decode_tok_s").value is None
            task = asyncio.create_task(client.ask(30000))
            await look.until(lambda one: bool(one.reading("decode_tok_s").fresh_value), 30)
            since = time.monotonic()
            await asyncio.sleep(5)
            spans = look.looks("decode_tok_s", since - 3, 8)
            shown = sum((end - begin) * value for begin, end, value in spans)
            counted = sum(client.tokens_between(begin, end) for begin, end, _ in spans)
            assert spans and 0.75 < shown / counted < 1.33, (
                shown,
                counted,
            )  # each by its own clock, on a machine that may be busy
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.aclose()


async def test_a_long_prompt_is_live(tmp_path: Path) -> None:
    seen = await rows.prompt(tmp_path, 2560, n_batch=512, n_ubatch=512)
    assert seen.shown is not None and seen.apart < 0.4, seen


async def test_the_cache_that_four_automatic_slots_share(tmp_path: Path) -> None:
    seen = await rows.cache(tmp_path, context=2048)
    assert seen.shown == pytest.approx(seen.counted, abs=0.05), seen


async def test_a_server_that_wants_a_key_tells_that_nothing_runs(tmp_path: Path) -> None:
    with llamacpp(tmp_path, endpoint_metrics=True, api_keys=["secret"]) as server:
        async with whole(tmp_path, server.url) as look:
            await look.until(lambda one: one.reading("running").fresh_value == 0, 30)
            assert look.view.word == "resident" and "key" in look.engine.reason + look.engine.denied
            client = Client(server.url, key="secret")
            async with load(client, 1, lambda n: {"tokens": 200}):
                await look.until(lambda one: "key" in one.reading("decode_tok_s").reason and one.view.word == "busy", 30)
            await client.aclose()


async def test_it_falls_asleep_while_all_look_on_and_stays_asleep(tmp_path: Path) -> None:
    options = ("--sleep-idle-seconds", str(SLEEP_AFTER))
    with llamacpp(tmp_path, endpoint_metrics=True, n_parallel=2, sleep_idle_seconds=SLEEP_AFTER, options=options) as server:
        async with whole(tmp_path, server.url) as look:
            client = Client(server.url)
            async with load(client, 2, lambda n: {"tokens": 200}):
                await look.until(lambda one: bool(one.reading("decode_tok_s").fresh_value), 30)
            others = asyncio.create_task(commands(tmp_path, server, 3 * SLEEP_AFTER))
            await look.until(lambda one: one.engine.phase is EnginePhase.ASLEEP, SLEEP_AFTER + 12)
            assert look.view.word == "asleep" and look.engine.wakes
            said = await others
            assert "asleep" in said[-1] and all("mine" in one for one in said), said
            assert look.view.word == "asleep" and look.reading("running").fresh_value == 0
            log = server.said()
            slept = rows.slept_after(log)
            assert slept is not None and SLEEP_AFTER <= slept <= SLEEP_AFTER + 3 and "exiting sleeping state" not in log, (
                slept,
                log,
            )
            await client.ask(8)  # and a request wakes it, which is seen
            await look.until(lambda one: one.engine.phase is EnginePhase.READY, 10)
            await client.aclose()


async def commands(folder: Path, server: Running, seconds: float) -> list[str]:
    """What `status` and `doctor` say meanwhile."""
    path = folder / "config.toml"
    path.write_text(
        f'[host.here]\nlink = "local"\n[[host.here.mode]]\nname = "mine"\nengine = "llamacpp"\nurl = "{server.url}"\n'
    )
    until, said = time.monotonic() + seconds, []
    while time.monotonic() < until:
        for command in ("status", "doctor"):
            argv = [sys.executable, "-m", "sovtui", "--config", str(path), command]
            process = await asyncio.create_subprocess_exec(
                *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            told, _ = await process.communicate()
            said += [told.decode()] if command == "status" else []
        await asyncio.sleep(1)
    return said


async def test_a_server_that_never_sleeps_is_hardly_asked_while_it_rests(tmp_path: Path) -> None:
    with llamacpp(tmp_path, endpoint_metrics=True, options=("--metrics",)) as server:
        async with whole(tmp_path, server.url) as look:
            await look.until(lambda one: one.view.word == "resident", 30)
            since = time.monotonic()
            await asyncio.sleep(10)
            minute = 60 / (time.monotonic() - since)
            rest = [path for at, path in look.asked if at > since and path != "/health"]
            assert len(rest) * minute <= 12, rest
