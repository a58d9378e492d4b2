"""How many requests a steady sovtui sends to an engine: counted by a relay between `sovtui status --watch` and the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_HEAD = re.compile(rb"(?:^|\r\n\r\n|\A)(GET|POST|HEAD) (\S+) HTTP/1\.1\r\n")


class Relay:
    """Passes bytes on, and counts the request lines in them, paths without their queries."""

    def __init__(self, port: int) -> None:
        self.asked: Counter[str] = Counter()
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self._port)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, count: bool) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if count:
                        for verb, path in _HEAD.findall(data):
                            self.asked[f"{verb.decode()} {path.decode().partition('?')[0]}"] += 1
                    sink.write(data)
                    await sink.drain()
            sink.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(pass_on(reader, onward, True))
            group.create_task(pass_on(there, writer, False))


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the server at `url` and the address it listens at."""
    one = Relay(int(url.rpartition(":")[2]))
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield one, f"http://127.0.0.1:{port}"


def configuration(engine: str, url: str, **more: str) -> str:
    """A configuration of this machine with one mode that has no services. Values that begin with `{` are TOML."""
    keys = {"name": "one", "engine": engine, "url": url, **more}
    lines = "\n".join(f"{key} = {value if value.startswith('{') else json.dumps(value)}" for key, value in keys.items())
    return f'[host.here]\nlink = "local"\n\n[[host.here.mode]]\n{lines}\n'


async def a_minute(folder: Path, engine: str, url: str, seconds: float = 60.0, settle: float = 15.0, **more: str) -> Counter[str]:
    """Requests per minute of `sovtui status --watch`, once it has settled."""
    async with relay(url) as (one, address):
        file = folder / f"steady-{engine}.toml"
        file.write_text(configuration(engine, address, **more))
        argv = [sys.executable, "-m", "sovtui", "--config", str(file), "status", "--watch"]
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        try:
            await asyncio.sleep(settle)
            one.asked.clear()
            await asyncio.sleep(seconds)
            return Counter({path: round(count * 60 / seconds) for path, count in one.asked.items()})
        finally:
            process.terminate()
            await process.wait()
