"""`sovtui init` beside a real router of llama.cpp (build 10434): what it proposes, and whether a model that sleeps sleeps on."""

from __future__ import annotations

import asyncio
import json
import sys
import tomllib
from pathlib import Path

from tests.engines.client import Client
from tests.engines.old_llamacpp import router
from tests.engines.running import answer

SLEEP_SECONDS = 4
LOOKS = 5
WAIT_SECONDS = 120.0


async def router_and_its_servers(folder: Path) -> tuple[str, str, str]:
    """Shown, right, and how the models were before and after the looks."""
    with router(folder, "-c", "4096", "--metrics", "--sleep-idle-seconds", str(SLEEP_SECONDS)) as server:
        client = Client(server.url, "a/b:Q8")
        await client.ask(2)
        await client.aclose()
        async with asyncio.timeout(WAIT_SECONDS):
            while _states(server.url)["a/b:Q8"] != "sleeping":  # looked at all the while
                text = await _init(folder)
        before = _states(server.url)
        children = _ports(server.url)
        for _ in range(LOOKS):
            text = await _init(folder)
        after = _states(server.url)
        (host,) = tomllib.loads(text)["host"].values()
    urls = {server.url, *(f"http://127.0.0.1:{port}" for port in children)}
    found = [
        f"{kind} {table.get('model', '')}".strip()
        for kind in ("mode", "engine")
        for table in host.get(kind, ())
        if table.get("url") in urls
    ]
    return f"{', '.join(found)}; {after['a/b:Q8']}", "engine; sleeping", f"before {LOOKS} looks: {before}"


def _states(url: str) -> dict[str, str]:
    return {row["id"]: row["status"]["value"] for row in json.loads(answer(f"{url}/models")[1])["data"]}


def _ports(url: str) -> set[int]:
    """Of the router's own servers."""
    rows = json.loads(answer(f"{url}/models")[1])["data"]
    return {int(args[args.index("--port") + 1]) for row in rows if "--port" in (args := row["status"]["args"])} - {0}


async def _init(folder: Path) -> str:
    argv = [sys.executable, "-m", "sovtui", "--config", str(folder / "none.toml"), "init"]
    done = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    return (await done.communicate())[0].decode()
