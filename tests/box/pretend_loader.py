"""A pretended Ollama, llama-swap or ComfyUI: what it holds, and what it does when asked to load, keep, or let go. Standard library only.

As a program it listens: `pretend_loader.py --kind ollama --port 11434 --model llama3.1:8b=4900000000 --gpu-bytes 12000000000`.
Answers have the shape of the recorded ones (Ollama 0.33, llama-swap v250, ComfyUI 0.3).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

FOR_EVER = 292 * 365.25 * 86400.0
FIVE_MINUTES = 300.0
Answer = tuple[int, Any]


class Ollama:
    """Models with the sizes of their files; in memory they take a tenth more. `now` is seconds since 1970."""

    def __init__(self, models: dict[str, float], gpu_bytes: float = 12e9, load_seconds: float = 0.0) -> None:
        self.models = models
        self.gpu_bytes = gpu_bytes
        self.load_seconds = load_seconds
        self.loaded: dict[str, tuple[float, float]] = {}
        """By name: size in memory, and when it is to be unloaded."""
        self.working: set[str] = set()
        """Models with a request that runs."""
        self.deaf = False
        """It says yes and does nothing."""
        self.asked: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, body: str, now: float) -> Answer:
        self.asked.append((method, path))
        for name in [n for n, (_, end) in self.loaded.items() if end <= now and n not in self.working]:
            del self.loaded[name]
        if (method, path) == ("GET", "/api/ps"):
            return 200, {"models": [self._row(name, now) for name in self.loaded]}
        if (method, path) == ("GET", "/api/tags"):
            return 200, {"models": [{"name": name, "size": int(size)} for name, size in self.models.items()]}
        if (method, path) == ("GET", "/api/version"):
            return 200, {"version": "0.33.0"}
        if (method, path) == ("POST", "/api/generate"):
            return self._generate(json.loads(body), now)
        return 404, {"error": "not found"}

    def _generate(self, wish: dict[str, Any], now: float) -> Answer:
        name = str(wish.get("model", ""))
        if name not in self.models:
            return 404, {"error": f"model '{name}' not found"}
        if "prompt" in wish:
            return 400, {"error": "this one only loads"}
        keep = wish.get("keep_alive", FIVE_MINUTES)
        done = {"model": name, "created_at": "2026-11-20T13:33:31Z", "response": "", "done": True}
        if keep == 0:
            if name in self.loaded and not self.deaf:
                self.loaded[name] = (self.loaded[name][0], now - 2)
                if name not in self.working:
                    del self.loaded[name]
            return 200, {**done, "done_reason": "unload"}
        if not self.deaf:
            self.loaded[name] = (1.1 * self.models[name], now + (FOR_EVER if keep < 0 else float(keep)))
        return 200, {**done, "done_reason": "load"}

    def _row(self, name: str, now: float) -> dict[str, Any]:
        size, end = self.loaded[name]
        before = sum(
            s
            for other, (s, _) in self.loaded.items()
            if other != name and list(self.loaded).index(other) < list(self.loaded).index(name)
        )
        at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=end)
        return {
            "name": name,
            "model": name,
            "size": int(size),
            "size_vram": int(min(size, max(0.0, self.gpu_bytes - before))),
            "expires_at": at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "712+00:00",
            "context_length": 8192,
        }

    def seconds(self, method: str, path: str) -> float:
        """How long an answer takes."""
        return self.load_seconds if (method, path) == ("POST", "/api/generate") else 0.0


class Llamaswap:
    """One model at a time: another one takes its place once its requests have ended. It knows no sizes."""

    def __init__(self, *models: str, load_seconds: float = 0.0, aliases: dict[str, str] | None = None) -> None:
        self.models = models
        self.aliases = aliases or {}
        self.load_seconds = load_seconds
        self.state: dict[str, str] = {}
        self.working: dict[str, int] = {}
        """Requests that each model works on."""
        self.cut_off = 0
        """Requests that an unload has ended."""
        self.broken: set[str] = set()
        """Models whose server does not start."""
        self.deaf = False
        """It says yes and does nothing."""
        self.asked: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, body: str, now: float) -> Answer:
        self.asked.append((method, path))
        if (method, path) == ("GET", "/running"):
            return 200, {"running": [self._row(name) for name in self.state]}
        if (method, path) == ("GET", "/v1/models"):
            return 200, {"object": "list", "data": [*map(self._listed, self.models), self._peer()]}
        if (method, path) == ("GET", "/api/version"):
            return 200, {"version": "v250", "commit": "0bdb3720", "build_date": "2026-08-22"}
        name = unquote(path.partition("/upstream/")[2].rstrip("/")) if path.startswith("/upstream/") else ""
        if name:
            return self._serve(self.aliases.get(name, name))
        name = unquote(path.partition("/api/models/unload/")[2])
        if method == "POST" and name:
            return self._unload(self.aliases.get(name, name))
        return 404, "404 page not found"

    def _serve(self, name: str) -> Answer:
        if name not in self.models:
            return 404, "llama-swap: model not found"
        if name in self.broken:
            return 502, "llama-swap: upstream command exited prematurely"
        if not self.deaf:
            self.state = {name: "ready"}
        return 404, {"detail": "Not Found"}  # vLLM has no first page: that is its word, not llama-swap's

    def _unload(self, name: str) -> Answer:
        if name not in self.models:
            return 404, "llama-swap: model not found"
        if not self.deaf:
            self.cut_off += self.working.pop(name, 0)
            self.state.pop(name, None)
        return 200, "OK"

    def _row(self, name: str) -> dict[str, Any]:
        command = f"vllm serve /srv/models/{name} --port 10001"
        told = {"model": name, "state": self.state[name], "cmd": command, "proxy": "http://127.0.0.1:10001", "ttl": 0}
        return {**told, "name": "", "description": ""}

    def _listed(self, name: str) -> dict[str, Any]:
        own: dict[str, Any] = {"type": "model"}
        if aliases := [alias for alias, of in self.aliases.items() if of == name]:
            own["aliases"] = aliases
        status = {"value": "loaded" if name in self.state else "unloaded"}
        return {"id": name, "object": "model", "owned_by": "llama-swap", "status": status, "meta": {"llamaswap": own}}

    @staticmethod
    def _peer() -> dict[str, Any]:
        meta = {"llamaswap": {"type": "peer", "peerID": "spark2"}}
        return {"id": "spark2/big", "object": "model", "owned_by": "llama-swap", "status": {"value": "unloaded"}, "meta": meta}

    def seconds(self, method: str, path: str) -> float:
        return self.load_seconds if path.startswith("/upstream/") else 0.0


class Comfyui:
    """What torch holds, and how many prompts are in the queue."""

    def __init__(self, held: float = 7e9, queue: int = 0) -> None:
        self.held = held
        self.queue = queue
        self.deaf = False
        self.asked: list[tuple[str, str]] = []

    def answer(self, method: str, path: str, body: str, now: float) -> Answer:
        self.asked.append((method, path))
        if (method, path) == ("GET", "/system_stats"):
            device = {
                "name": "cuda:0 pretended",
                "type": "cuda",
                "index": 0,
                "vram_total": int(12e9),
                "vram_free": int(12e9 - self.held),
            }
            return 200, {
                "system": {"comfyui_version": "0.3.64", "ram_total": int(64e9)},
                "devices": [{**device, "torch_vram_total": int(self.held)}],
            }
        if (method, path) == ("GET", "/prompt"):
            return 200, {"exec_info": {"queue_remaining": self.queue}}
        if (method, path) == ("POST", "/free"):
            if json.loads(body).get("unload_models") is True and not self.queue and not self.deaf:
                self.held = 0.0
            return 200, None
        return 404, {"error": "not found"}

    def seconds(self, method: str, path: str) -> float:
        return 0.0


Loader = Ollama | Llamaswap | Comfyui


class Handler(BaseHTTPRequestHandler):
    """Whatever is asked, the loader of the server answers it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET", "")

    def do_POST(self) -> None:
        self._answer("POST", self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, method: str, body: str) -> None:
        loader: Any = self.server.loader  # type: ignore[attr-defined]
        time.sleep(loader.seconds(method, self.path))
        status, told = loader.answer(method, self.path, body, time.time())
        data = b"" if told is None else told.encode() if isinstance(told, str) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(told, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        print(f"[GIN] {self.command} {self.path}", flush=True)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=("ollama", "llamaswap", "comfyui"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--gpu-bytes", type=float, default=12e9)
    parser.add_argument("--load-seconds", type=float, default=0.0)
    said = parser.parse_args(argv)
    models = {name: float(size) for name, _, size in (one.partition("=") for one in said.model)}
    loader: Loader = Comfyui()
    if said.kind == "ollama":
        loader = Ollama(models, said.gpu_bytes, said.load_seconds)
    elif said.kind == "llamaswap":
        loader = Llamaswap(*models, load_seconds=said.load_seconds)
    server = ThreadingHTTPServer(("127.0.0.1", said.port), Handler)
    server.loader = loader  # type: ignore[attr-defined]
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
