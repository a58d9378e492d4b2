"""This machine without a configuration: what serves is found on any port, asked nothing that wakes it, and found later too.

Pretended servers, in a network of their own: the look asks every port there is. With real ones: `tests/engines/test_discovery.py`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sovtui import bootstrap
from sovtui.actions.spec import Verdict, Wish
from sovtui.adapters import discovery
from sovtui.adapters.discovery import Found, changes, look_around
from sovtui.core.model import EnginePhase
from tests.fakes.apart import apart

JSON = "application/json"
Answers = Mapping[str, tuple[int, object]]

OLLAMA: Answers = {
    "/v1/models": (200, {"object": "list", "data": [{"id": "qwen3:8b", "object": "model", "owned_by": "library"}]}),
    "/api/version": (200, {"version": "0.9.1"}),
    "/api/ps": (200, {"models": []}),
    "/api/tags": (200, {"models": [{"name": "qwen3:8b", "size": 5_200_000_000}]}),
}
COMFYUI: Answers = {
    "/system_stats": (200, {"system": {"comfyui_version": "0.3.60", "os": "posix"}, "devices": []}),
    "/queue": (200, {"queue_running": [], "queue_pending": []}),
}
LLAMASWAP: Answers = {
    "/v1/models": (200, {"object": "list", "data": [{"id": "small", "object": "model", "owned_by": "llama-swap"}]}),
    "/running": (200, {"running": []}),
}
VLLM: Answers = {
    "/v1/models": (200, {"data": [{"id": "qwen3.6", "object": "model", "owned_by": "vllm", "max_model_len": 8192}]}),
    "/health": (200, ""),
    "/metrics": (200, '# HELP x\nvllm:num_requests_running{model_name="qwen3.6"} 0.0\n'),
}
UNKNOWN: Answers = {"/v1/models": (200, {"object": "list", "data": [{"id": "somebody-elses", "object": "model"}]})}
LOADING: dict[str, tuple[int, object]] = {
    "/v1/models": (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
    "/health": (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
}
LOADED: Answers = {
    "/v1/models": (200, {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "llamacpp"}]}),
    "/health": (200, {"status": "ok"}),
    "/props": (200, {"is_sleeping": False, "endpoint_metrics": False, "total_slots": 1}),
}
WEB: Answers = {"/": (200, "<html>a page</html>")}


@contextmanager
def serving(port: int, answers: Answers, server: str = "") -> Iterator[list[str]]:
    """A pretended server; yields what was asked of it, as `METHOD PATH`."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = server or "x", ""

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            status, body = answers.get(self.path.partition("?")[0], (404, "not found"))
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else JSON)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield asked
    finally:
        made.shutdown()
        made.server_close()


@contextmanager
def silent(*ports: int) -> Iterator[None]:
    """Takes connections and says nothing."""
    with ExitStack() as stack:
        for port in ports:
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            one.listen(50)
        yield


def names(found: Found) -> dict[str, tuple[str, str]]:
    """Kind of entry and engine, by port."""
    shown = {}
    for host in found.config.host.values():
        for kind, entries in (("mode", host.mode), ("beside", host.engine)):
            for entry in entries:
                shown[entry.url.rpartition(":")[2]] = (kind, entry.engine)
    return shown


async def look_until(count: int) -> tuple[Found, float]:
    """What a hurried look finds, with what comes after it on a busy machine, until it is so much; and how long the look took."""
    began = time.monotonic()
    found = await look_around("/nowhere/config.toml", hurry=True)
    took = time.monotonic() - began
    if len(names(found)) < count:
        async with aclosing(changes(found)) as later, asyncio.timeout(60):
            async for found in later:
                if len(names(found)) >= count:
                    break
    return found, took


async def _every_engine(folder: Path) -> None:
    with ExitStack() as stack:
        for port, answers in ((11434, OLLAMA), (8188, COMFYUI), (9292, LLAMASWAP), (41017, VLLM), (41023, UNKNOWN), (41029, WEB)):
            stack.enter_context(serving(port, answers))
        stack.enter_context(silent(*range(42000, 42060)))
        found, took = await look_until(5)
        shown = names(found)
        assert {port: engine for port, (_, engine) in shown.items()} == {
            "11434": "ollama", "8188": "comfyui", "9292": "llamaswap", "41017": "vllm", "41023": "",
        }, shown  # fmt: skip
        assert [port for port, (kind, _) in shown.items() if kind == "mode"] == ["41017"], (
            "nobody has said that they exclude each other"
        )
        said = " ".join(found.notes)
        assert "Ollama" in said and "ComfyUI" in said and "llama-swap" in said and "qwen3.6" in said and "sovtui init" in said
        print(f"{took:.2f} s with 60 ports that say nothing")


def test_every_engine_is_found_on_any_port_while_others_say_nothing(tmp_path: Path) -> None:
    print(apart(_every_engine, tmp_path))


async def _wakes_nothing(folder: Path) -> None:
    with serving(41017, LOADED, "llama.cpp") as asked, serving(11434, OLLAMA) as ollama, serving(9292, LLAMASWAP) as swap:
        await look_around("/nowhere/config.toml")
        assert asked and not [one for one in asked if one.partition(" ")[2] in ("/slots", "/metrics")], asked
        for one in (*asked, *ollama, *swap):
            assert not one.startswith(("POST /api", "POST /v1/chat", "POST /v1/completions", "GET /upstream", "GET /slots")), one


def test_nothing_is_asked_that_wakes_a_model(tmp_path: Path) -> None:
    apart(_wakes_nothing, tmp_path)


def _often() -> None:
    """A test need not wait as long as an operator may."""
    discovery.EVERY_SECONDS, discovery.AGAIN_SECONDS = 0.3, (1.0, 3.0, 10.0, 30.0)


async def _later(folder: Path) -> None:
    _often()
    first = await look_around("/nowhere/config.toml", hurry=True)
    assert names(first) == {} and "No engine answers" in " ".join(first.notes)
    watching = changes(first)
    with ExitStack() as stack:
        stack.enter_context(serving(11434, OLLAMA))
        now = await asyncio.wait_for(anext(watching), 90)
        assert names(now) == {"11434": ("mode", "ollama")}
        answers = dict(LOADING)
        asked = stack.enter_context(serving(41017, answers))
        now = await asyncio.wait_for(anext(watching), 90)
        assert names(now)["41017"] == ("beside", "llamacpp"), "it is there while it loads"
        answers.clear()
        answers.update(LOADED)
        now = await asyncio.wait_for(anext(watching), 90)
        (host,) = now.config.host.values()
        assert [entry.model for entry in host.engine] == ["tiny"], "and says what it has once it has loaded"
        count = len(asked)
        with serving(41019, VLLM):
            now = await asyncio.wait_for(anext(watching), 90)
        assert names(now)["41019"] == ("beside", "vllm")
        assert len(asked) == count, "who has said what it is is not asked again because of another"
    with serving(41023, UNKNOWN):
        now = await asyncio.wait_for(anext(watching), 90)
        assert set(names(now)) == {"11434", "41017", "41019", "41023"}, "what has ended is not forgotten: it may have crashed"


def test_what_starts_later_is_found_and_what_ended_stays(tmp_path: Path) -> None:
    apart(_later, tmp_path)


async def _until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it never came to hold"
        await asyncio.sleep(0.05)


async def _hub(folder: Path) -> None:
    _often()
    with serving(41019, VLLM):
        found, _ = await look_until(1)
        hub = bootstrap.build_hub(found.config, notes=found.notes, found=found)
        await hub.start()
        (name,) = hub.state.hosts

        def phases() -> list[tuple[str, EnginePhase]]:
            host = hub.state.hosts[name]
            return [
                (mode.engine, host.engines[mode.name].phase)
                for mode in (*host.spec.modes, *host.spec.beside)
                if mode.name in host.engines
            ]

        try:
            await _until(lambda: ("vllm", EnginePhase.READY) in phases())
            await _until(lambda: hub.state.hosts[name].reading("memory.total_bytes").known)
            memory = hub.state.hosts[name].reading("memory.total_bytes").value
            with serving(11434, OLLAMA):
                await _until(lambda: len(phases()) == 2 and phases()[1][1] is not EnginePhase.UNKNOWN)
                assert [engine for engine, _ in phases()] == ["vllm", "ollama"]
                assert phases()[0][1] is EnginePhase.READY and hub.config.host[name].engine[0].engine == "ollama"
                assert hub.state.hosts[name].reading("memory.total_bytes").value == memory, "what was known stays known"
                assert "Ollama" in " ".join(hub.state.notes)
                for target in ("none", hub.config.host[name].mode[0].name):
                    plan = hub.plan("switch", Wish(name, target))
                    assert plan.verdict is Verdict.NO and "sovtui init" in plan.reason
        finally:
            await hub.aclose()


def test_an_open_screen_shows_what_starts_later_and_switches_nothing(tmp_path: Path) -> None:
    apart(_hub, tmp_path)
