"""The screen without a configuration, on real llama.cpp servers and a pretended Ollama, in a network of their own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from sovtui.adapters.discovery import look_around
from sovtui.config.found import entries
from sovtui.onbox import logforms
from tests.adapters.test_discovery import OLLAMA, look_until, serving
from tests.engines.llamacpp import llamacpp, tiny
from tests.engines.place import python
from tests.engines.running import answer
from tests.fakes.apart import apart
from tests.fakes.terminal import Terminal

pytestmark = pytest.mark.integration

SLEEP_SECONDS = 4
"""After so long without a request the server unloads its model."""
SIZES = ((120, 40), (80, 24), (44, 80))


def _asleep(url: str) -> bool:
    return json.loads(answer(f"{url}/props")[1])["is_sleeping"] is True


async def _found_and_left_asleep(folder: Path) -> None:
    with ExitStack() as stack:
        plain = stack.enter_context(llamacpp(folder, endpoint_metrics=True))
        sleepy = stack.enter_context(
            llamacpp(folder, endpoint_metrics=True, sleep_idle_seconds=SLEEP_SECONDS, model_alias=["sleepy"])
        )
        stack.enter_context(serving(11434, OLLAMA))
        limit = time.monotonic() + 60
        while not _asleep(sleepy.url):
            assert time.monotonic() < limit, "it never fell asleep"
            await asyncio.sleep(0.2)
        found, took = await look_until(3)
        print(f"looked for {took:.2f} s")
        (host,) = found.config.host.values()
        shown = {(entry.engine, entry.model, entry.url) for entry in entries(host)}
        assert shown == {
            ("llamacpp", "tiny", plain.url),
            ("llamacpp", "sleepy", sleepy.url),
            ("ollama", "", "http://127.0.0.1:11434"),
        }
        for _ in range(3):
            await look_around("/nowhere/config.toml")
        assert _asleep(sleepy.url), "a look wakes nobody"
        for line in plain.said().splitlines():
            if line[:2] == "0.":  # llama.cpp's own lines
                rest = line[logforms.head(line, "llamacpp") :]
                assert rest != line and not rest.startswith(("I ", "W ", "srv ", "cmn ", "slot ")), line


def test_real_servers_are_found_and_one_that_sleeps_sleeps_on(tmp_path: Path) -> None:
    tiny()  # made outside, where other tests may wait for it
    python("llamacpp")
    print(apart(_found_and_left_asleep, tmp_path))


def _on_the_screen(folder: Path) -> None:
    with llamacpp(folder, endpoint_metrics=True) as server, serving(11434, OLLAMA):
        for size in SIZES:
            began = time.monotonic()
            with Terminal(
                [sys.executable, "-m", "sovtui"], size, HOME=str(folder), XDG_CONFIG_HOME=str(folder), LANG="C.UTF-8"
            ) as terminal:
                port = server.url.rpartition(":")[2]
                wanted = [b"sovtui init", b"Ollama", f"tiny (port {port})".encode()]
                while missing := [words for words in wanted if words not in terminal.all]:
                    assert time.monotonic() - began < 90, (missing, terminal.all[-600:])
                    terminal.read(missing[0], 0.1)
                took = time.monotonic() - began
                print(f"{size[0]}x{size[1]}: named after {took:.2f} s")
                terminal.press(b"q")
                assert terminal.ended() == 0


def test_they_are_on_the_screen_at_every_size_and_what_to_do_next_is_too(tmp_path: Path) -> None:
    tiny()
    print(apart(_on_the_screen, tmp_path))
