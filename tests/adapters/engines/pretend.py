"""Engines that are pretended in this process, and the room that looks at one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.registry import engine_names, load_engine
from sovtui.core.activity import Activity
from sovtui.core.events import ActivitySeen, EngineSeen, Event, LinkChanged, ServicesSeen
from sovtui.core.model import Engine, HostSpec, Link, LinkPhase, Mode, Service
from sovtui.core.state import State, initial, reduce
from sovtui.ports.errors import NotYet
from tests.fakes.world import FakeClock

DATA = Path(__file__).parents[2] / "data"
MODELS = {"data": [{"id": "qwen", "max_model_len": 32768}]}


def recorded(path: str) -> Any:
    """A recorded answer: JSON where it is JSON, else text."""
    text = (DATA / path).read_text()
    return json.loads(text) if path.endswith(".json") else text


class Server:
    """A scripted engine: paths to answers; a path that is not there is 404, a missing server refuses."""

    def __init__(self, **routes: Any) -> None:
        self.routes = {"/" + k.replace("__", "/"): v for k, v in routes.items()}
        self.up = True
        self.slow: set[str] = set()
        self.asked: list[str] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        self.requests.append(request)
        if not self.up:
            raise httpx.ConnectError("connection refused")
        if path in self.slow:
            raise httpx.ReadTimeout("slow")
        whole = request.url.raw_path.decode()
        match self.routes.get(whole, self.routes.get(path, 404)):
            case int(status):
                return httpx.Response(status)
            case str(text):
                return httpx.Response(200, text=text)
            case (int(status), answer):
                return httpx.Response(status, json=answer) if not isinstance(answer, str) else httpx.Response(status, text=answer)
            case answer:
                return httpx.Response(200, json=answer)

    def client(self, base: str = "http://127.0.0.1:8000", mode: str = "") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self), base_url=base)


class Room:
    """One host with one mode, its state, and the source under test."""

    def __init__(
        self,
        server: Server,
        engine: str = "vllm",
        told: Callable[[str, str], bool] | None = None,
        services: bool = True,
        model: str = "qwen",
    ):
        self.clock = FakeClock()
        self.mode = Mode("qwen", title="Qwen", engine=engine, url="http://127.0.0.1:8000/v1", model=model,
                         services=("qwen.service",) if services else ())  # fmt: skip
        self.state: State = initial((HostSpec("spark", modes=(self.mode,), services=self.mode.services),), self.clock.now())
        self.link(LinkPhase.UP)
        self.events: list[Event] = []
        adapters = {engine: load_engine(engine)} if engine in engine_names() else {}
        self.source = EnginesSource("spark", (self.mode,), adapters, server.client, self.clock, told_elsewhere=told)

    def link(self, phase: LinkPhase) -> None:
        self.state = reduce(self.state, LinkChanged("spark", Link(phase, since=self.clock.now())))

    def unit(self, active: str, **words: object) -> None:
        service = replace(Service("qwen.service", active, main_pid=100), **words)  # type: ignore[arg-type]
        self.state = reduce(self.state, ServicesSeen("spark", (service,)))

    def activity(
        self, cores: float | None = 0.0, connections: int | None = None, at: str = "127.0.0.1:8000", **words: Any
    ) -> None:
        """What the host tells of the engine's process, until it tells something else."""
        one = Activity(cores, connections, at=self.clock.now(), **{"computed_at": self.clock.now(), **words})
        self.state = reduce(self.state, ActivitySeen("spark", ((at, one),)))

    async def poll(self, seconds: float = 2.0) -> Engine:
        self.clock.passed += seconds
        renewed = tuple((at, replace(one, at=self.clock.now())) for at, one in self.state.hosts["spark"].activity.items())
        self.state = reduce(self.state, ActivitySeen("spark", renewed))  # as the probe's beat does
        self.events.clear()
        with contextlib.suppress(NotYet):
            await self.source.poll(self.state, self._put)
        return next(e.engine for e in self.events if isinstance(e, EngineSeen))

    def _put(self, event: Event) -> None:
        self.events.append(event)
        self.state = reduce(self.state, event)


def ready_server(engine: str, model: str = "m") -> Server:
    """An engine of that name which is ready and holds that model; of one that is not known what vLLM would say."""
    models = {"data": [{"id": model, "max_model_len": 32768}]}
    match engine:
        case "ollama":
            row = {"name": model, "size": 4, "size_vram": 4, "expires_at": "2030-01-01T00:00:00Z", "context_length": 32768}
            return Server(api__ps={"models": [row]}, api__tags={"models": [{"name": model}]})
        case "comfyui":
            stats = recorded("comfyui/system_stats.rtx-4070-ti.reconstructed.json")
            return Server(system_stats=stats, prompt=recorded("comfyui/prompt.busy.json"))
        case "litellm":
            return Server(health__liveliness="alive", v1__models=models, metrics__="litellm_in_flight_requests 1.0\n")
        case "llamaswap":
            row = {"model": model, "state": "ready", "cmd": "llama-server", "proxy": "http://127.0.0.1:10001"}
            return Server(running={"running": [row]}, v1__models=models, metrics=recorded("llamacpp/metrics.busy.prom"), slots=[])
        case "llamacpp":
            return Server(health=200, v1__models=models, metrics=recorded("llamacpp/metrics.busy.prom"), slots=[])
        case _:
            return Server(health=200, ping=200, v1__models=models)
