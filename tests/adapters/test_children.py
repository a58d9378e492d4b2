"""Programs started here end with everything that they started, also when nobody waited until they had begun."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sovtui.adapters import children
from sovtui.adapters.links.local import LocalLink
from tests.adapters.links.conftest import alive, until

PIPE, NONE = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL


def by_the_link(argv: list[str]) -> Coroutine[Any, Any, Any]:
    return LocalLink("here").run(argv, timeout_seconds=60)


def by_itself(argv: list[str]) -> Coroutine[Any, Any, Any]:
    return children.start(argv, stdin=NONE, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("start", [by_the_link, by_itself])
async def test_a_cancel_in_the_middle_of_a_start_leaves_nothing(
    tmp_path: Path, start: Callable[[list[str]], Coroutine[Any, Any, Any]]
) -> None:
    file = tmp_path / "pid"
    running = asyncio.create_task(start(["sh", "-c", f"sleep 300 & echo $! > {file}.new; mv {file}.new {file}; wait"]))
    limit = time.monotonic() + 60
    while not file.exists() and time.monotonic() < limit:
        await asyncio.sleep(0)
        time.sleep(0.2)  # the loop stands still, as on a busy machine: the program runs before its start is known of
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(60):
            await running
    await until(lambda: not alive(int(file.read_text())), 60)


async def test_a_program_that_cannot_be_started_says_why() -> None:
    with pytest.raises(FileNotFoundError):
        await by_itself(["/nowhere/at/all"])


async def test_an_end_does_not_wait_for_whoever_left_the_session_and_holds_the_pipes() -> None:
    process = await by_itself(["sh", "-c", "setsid sh -c 'echo $$; exec sleep 300' & wait"])
    assert process.stdout is not None
    left = int(await process.stdout.readline())
    try:
        async with asyncio.timeout(60):
            await children.end(process)
        assert alive(left)
    finally:
        os.kill(left, signal.SIGKILL)
        await process.communicate()
