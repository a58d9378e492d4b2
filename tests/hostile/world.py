"""What the screen asks, pretended, in a process of its own: `python -m tests.hostile.world FOLDER KIND`.

Prints the port of each service as JSON. Then reads lines: the name of a case, or nothing for an answer as it should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.bench.pretend import series
from tests.hostile.case import Case, case_named

ASKED = "asked"
"""A file that is there once somebody was answered as the case says."""
DATA = Path(__file__).parents[1] / "data"
WEB = ("prometheus", "alertmanager", "vllm", "sglang", "llamacpp", "ollama", "litellm", "comfyui", "llamaswap")
MODEL = {
    "vllm": "bench-model", "sglang": "bench-model", "llamacpp": "", "ollama": "qwen3:8b", "litellm": "", "comfyui": "", "llamaswap": "",
}  # fmt: skip
Answer = tuple[int, str, bytes]
_JSON, _TEXT = "application/json", "text/plain"


def _file(name: str, kind: str = _JSON) -> Answer:
    return 200, kind, (DATA / name).read_bytes()


def _doc(value: Any, status: int = 200) -> Answer:
    return status, _JSON, json.dumps(value).encode()


NOTHING: Answer = (404, _TEXT, b"not found")


def alert(number: int = 0, **more: Any) -> dict[str, Any]:
    """As Alertmanager tells it."""
    return {
        "labels": {"alertname": f"Alert{number}", "severity": "warning", "instance": f"h{number}"},
        "annotations": {"summary": f"the sum {number}"},
        "startsAt": "2026-11-01T10:00:00.000Z",
        "endsAt": "2027-11-01T10:00:00.000Z",
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        "receivers": [{"name": "x"}],
        "fingerprint": f"{number:016x}",
        **more,
    }


def healthy(at: str, path: str, form: dict[str, list[str]], now: float) -> Answer:
    """As each service should."""
    models = _doc({"data": [{"id": MODEL.get(at) or "m", "max_model_len": 32768}]})
    told: dict[str, Answer] = {}
    match at:
        case "prometheus":
            if path == "/api/v1/query":
                rows = [
                    {"metric": labels, "value": [now, str(value)]} for labels, value in series(form["query"][0], round(now, 3))
                ]
                return _doc({"status": "success", "data": {"resultType": "vector", "result": rows}})
            told = {
                "/api/v1/status/buildinfo": _doc({"status": "success", "data": {"version": "2.53.0"}}),
                "/api/v1/targets": _doc({"status": "success", "data": {"activeTargets": [{"scrapeInterval": "1s", "scrapeUrl": "http://h:9100/m"}]}}),
                "/api/v1/query_range": _doc({"status": "success", "data": {"resultType": "matrix", "result": []}}),
            }  # fmt: skip
        case "alertmanager":
            told = {
                "/api/v2/alerts": _doc([alert()]),
                "/api/v2/status": _doc({"versionInfo": {"version": "0.27.0"}, "uptime": "2026-11-01T10:00:00.000Z"}),
                "/api/v2/silences": _doc([]),
            }
        case "vllm":
            told = {
                "/health": (200, _TEXT, b""),
                "/v1/models": models,
                "/version": _doc({"version": "0.11.2"}),
                "/metrics": _file("vllm/0.32.0-idle.prom", _TEXT),
            }
        case "sglang":
            told = {
                "/health": (200, _TEXT, b""),
                "/ping": (200, _TEXT, b""),
                "/v1/models": models,
                "/server_info": _doc({"version": "0.5.23"}),
                "/metrics": _file("sglang/reconstructed-0.5.23-idle.prom", _TEXT),
            }
        case "llamacpp":
            told = {
                "/health": _file("llamacpp/health.ready.200.json"),
                "/props": _file("llamacpp/props.idle.json"),
                "/v1/models": _file("llamacpp/v1-models.json"),
                "/metrics": _file("llamacpp/metrics.fresh.prom", _TEXT),
                "/slots": _file("llamacpp/slots.idle.json"),
            }
        case "ollama":
            told = {
                "/api/ps": _file("ollama/api-ps.full-gpu.json"),
                "/api/version": _file("ollama/api-version.json"),
                "/api/tags": _file("ollama/api-tags.json"),
            }
        case "litellm":
            told = {
                "/health/liveliness": _file("litellm/health-liveliness.json"),
                "/health/backlog": _file("litellm/health-backlog.json"),
                "/v1/models": _file("litellm/v1-models.json"),
                "/router/settings": _file("litellm/router-settings.json"),
                "/v1/model/info": _file("litellm/v1-model-info.json"),
                "/metrics/": _file("litellm/metrics.after-load.part.prom", _TEXT),
                "/health/readiness/details": _file("litellm/health-readiness-details.json"),
            }
        case "comfyui":
            told = {"/system_stats": _file("comfyui/system_stats.cpu.json"), "/prompt": _file("comfyui/prompt.idle.json")}
        case "llamaswap":
            told = {
                "/running": _file("llamaswap/running.json"),
                "/v1/models": _file("llamaswap/v1-models.json"),
                "/api/version": _file("llamaswap/api-version.json"),
                "/api/metrics/stats": _file("llamaswap/api-metrics-stats.json"),
            }
        case "tailnet":
            told = {"/localapi/v0/status": _file("tailscale/status.running.json")}
    return told.get(path, NOTHING)


class World:
    """The servers, and the case that is played now."""

    def __init__(self, asked: Path) -> None:
        """`asked`: a file that is made when the case is answered."""
        self._asked = asked
        self.case: Case | None = None
        self.turn = asyncio.Event()
        """Set, and replaced, when another case is played: what is being sent ends."""

    def play(self, case: Case | None) -> None:
        self.case = case
        self.turn.set()
        self.turn = asyncio.Event()

    async def serve(self, at: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._answer(at, reader, writer):
                pass
        writer.close()

    async def _answer(self, at: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        found = re.search(r"(?i)content-length: (\d+)", asked)
        sent = await reader.readexactly(int(found[1])) if found else b""
        target = urlsplit(asked.split(" ")[1])
        form = parse_qs(sent.decode("utf-8", "replace") or target.query)
        case, turn = self.case, self.turn
        if case is not None and case.at == at and re.fullmatch(case.path or ".*", unquote(target.path)):
            self._asked.touch()
            await self._give(case, turn, writer)
            return False
        status, kind, body = healthy(at, target.path, form, time.time())
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True

    @staticmethod
    async def _give(case: Case, turn: asyncio.Event, writer: asyncio.StreamWriter) -> None:
        for piece in case.give():
            if turn.is_set():
                return
            if isinstance(piece, float):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(turn.wait(), piece)
                continue
            writer.write(piece)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(writer.drain(), 30)
        if writer.can_write_eof():
            writer.write_eof()


async def main(folder: Path, kind: str) -> None:
    world, ports, servers = World(folder / ASKED), {}, []
    for at in WEB:
        server = await asyncio.start_server(partial(world.serve, at), "127.0.0.1", 0, limit=1 << 20)
        ports[at] = server.sockets[0].getsockname()[1]
        servers.append(server)
    servers.append(await asyncio.start_unix_server(partial(world.serve, "tailnet"), folder / "tailnet.sock"))
    print(json.dumps(ports), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name = line.strip()
        world.play(case_named(kind, name) if name else None)
        print("played", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
