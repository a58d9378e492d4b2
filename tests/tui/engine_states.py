"""Every state of every engine, made by what that engine really answers: the table that the screen's test and its pictures read."""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from sovtui.core.events import ActionChanged, Samples, Tick
from sovtui.core.events import Sample as Figure
from sovtui.core.model import ActionRun, HostSpec
from sovtui.core.reading import fresh
from sovtui.core.state import State, reduce
from tests.adapters.engines.pretend import Room, ready_server, recorded

ENGINES = ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")
STATES = ("absent", "starting", "warming", "ready", "busy", "asleep", "spilled", "thrashing", "dead", "hung")
SILENT = {
    "/health", "/v1/models", "/api/ps", "/running", "/system_stats", "/prompt", "/health/liveliness", "/health/backlog", "/metrics",
    "/metrics/", "/ping",
}  # fmt: skip
GIB = 1 << 30

NEVER = {
    ("vllm", "warming"): "its port opens when it is ready",
    ("vllm", "spilled"): "it offloads only by command, and does not report this",
    ("sglang", "asleep"): "released memory has no sign",
    ("sglang", "spilled"): "it does not split a model by itself",
    ("llamacpp", "warming"): "while it loads and warms up it says 503: starting",
    ("llamacpp", "spilled"): "where its layers lie is told in its journal only",
    ("ollama", "warming"): "its daemon is up at once; a model that loads is listed as a loaded one",
    ("ollama", "busy"): "it does not report its requests",
    ("ollama", "thrashing"): "it tells no speed",
    ("litellm", "asleep"): "it holds no model",
    ("litellm", "spilled"): "it holds no model",
    ("litellm", "thrashing"): "it tells no queue and no cache",
    ("llamaswap", "warming"): "a model that starts is told as starting",
    ("llamaswap", "spilled"): "its models' own servers do not tell",
    ("comfyui", "warming"): "its port opens when it is ready",
    ("comfyui", "asleep"): "it does not tell what is loaded",
    ("comfyui", "spilled"): "it does not tell where a model lies",
    ("comfyui", "thrashing"): "it makes no tokens",
}
"""What cannot be told, or cannot be, and why."""


class Play:
    """One engine on its way into a state."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.server = ready_server(engine)
        self.room = Room(self.server, engine, model="" if engine == "comfyui" else "m")
        self.room.clock.start -= timedelta(seconds=0.5)  # ages are of whole seconds
        self.decoded = 1000.0
        self.computed_at = self.room.clock.now()
        if engine == "llamacpp":
            self.server.routes["/props"] = recorded("llamacpp/props.idle.json")
            self.room.activity(1.0, shared_cache=False)
        if engine in ("vllm", "sglang"):
            self.figures(0, 0, 0.0)  # whether it has a page is decided when it starts

    async def begin(self) -> None:
        """It was ready once."""
        self.room.unit("active", since=self.room.clock.now() - timedelta(hours=3))
        await self.room.poll()

    async def pace(self, per_second: float, seconds: float, *, running: int, waiting: int = 0, kv: float = 0.3) -> None:
        """So many tokens for so long, looked at every two seconds."""
        for _ in range(max(1, round(seconds / 2))):
            self.decoded += 2 * per_second
            self.figures(running, waiting, kv)
            if self.engine == "llamacpp":
                self.room.activity(1.0 if per_second else 0.0, running, shared_cache=False, computed_at=self.computed_at)
                self.computed_at = self.computed_at if not per_second else self.room.clock.now()
            await self.room.poll()

    def figures(self, running: int, waiting: int, kv: float) -> None:
        """What its own page says now: a recorded one with these numbers."""
        routes, done = self.server.routes, round(self.decoded)
        match self.engine:
            case "vllm":
                numbers = {
                    "vllm:num_requests_running": running,
                    "vllm:num_requests_waiting": waiting,
                    "vllm:kv_cache_usage_perc": kv,
                    "vllm:generation_tokens_total": done,
                }
                routes["/metrics"] = changed(recorded("vllm/0.32.0-load-t5.prom"), numbers)
            case "sglang":
                numbers = {"sglang:num_running_reqs": running, "sglang:num_queue_reqs": waiting, "sglang:token_usage": kv}
                page = changed(recorded("sglang/reconstructed-0.5.23-load-t5.prom"), numbers)
                routes["/metrics"] = re.sub(r'(\{[^}]*mode="decode"[^}]*\}) \S+', rf"\g<1> {done}", page)
            case "llamacpp" | "llamaswap":
                numbers = {"llamacpp:requests_processing": running, "llamacpp:requests_deferred": waiting}
                routes["/metrics"] = changed(recorded("llamacpp/metrics.busy.prom"), numbers)
                slot = {"is_processing": True, "id_task": 1, "n_ctx": 10000, "n_prompt_tokens": round(10000 * kv)}
                made = [done - (running - 1) * 10, *([10] * (running - 1))]
                routes["/slots"] = [
                    {**slot, "id": number, "next_token": [{"n_decoded": count}]} for number, count in enumerate(made[:running])
                ]
            case "litellm":
                numbers = {"litellm_in_flight_requests": running + 1}
                routes["/metrics/"] = changed(recorded("litellm/metrics.after-load.part.prom"), numbers)
            case "comfyui":
                routes["/prompt"] = recorded("comfyui/prompt.busy.json" if running else "comfyui/prompt.idle.json")

    def journal(self, *lines: str) -> None:
        """The start is one of sovtui's own: its receipt follows the engine's journal."""
        run = ActionRun("20261120T200000Z-switch-abcd", "switch", "qwen", "ops", self.room.clock.now(), lines=lines)
        self.room.state = reduce(self.room.state, ActionChanged("spark", run))


def changed(page: str, numbers: dict[str, float]) -> str:
    """A page of metrics with other numbers in these series."""
    for name, number in numbers.items():
        page, count = re.subn(rf"(?m)^({re.escape(name)}(?:\{{[^}}]*\}})?) \S+$", rf"\g<1> {number}", page)
        assert count, name
    return page


Make = Callable[[Play], Awaitable[None]]


async def absent(play: Play) -> None:
    await play.begin()
    play.room.unit("inactive")
    await play.room.poll()


async def starting(play: Play) -> None:
    play.room.unit("active")
    match play.engine:
        case "vllm" | "sglang":
            play.server.up = False
            play.journal("Multi-thread loading shards:  40% Completed | 2/5 [00:04<00:06,  2.1s/it]")
        case "llamacpp":
            play.server.routes["/health"] = (503, recorded("llamacpp/health.loading.503.json"))
        case "llamaswap":
            play.server.routes["/running"] = {"running": [{"model": "m", "state": "starting"}]}
        case _:
            play.server.up = False
    await play.room.poll()


async def warming(play: Play) -> None:
    play.server.routes |= {"/health": 503, "/health/liveliness": 503}
    play.room.unit("active")
    await play.room.poll()


async def ready(play: Play) -> None:
    play.figures(0, 0, 0.0)
    await play.begin()
    await play.pace(0.0, 14, running=0, kv=0.0)


async def busy(play: Play) -> None:
    await play.begin()
    await play.pace(58.0, 40, running=3)


async def asleep(play: Play) -> None:
    await play.begin()
    routes = play.server.routes
    match play.engine:
        case "vllm":
            routes["/metrics"] = recorded("vllm/0.32.0-asleep-level1.prom")
        case "llamacpp":
            routes["/props"] = recorded("llamacpp/props.sleeping.json")
            play.room.activity(0.0, 0)
        case "ollama":
            routes["/api/ps"] = recorded("ollama/api-ps.empty.json")
        case "llamaswap":
            routes["/running"] = recorded("llamaswap/running.empty.json")
    for _ in range(6):
        await play.room.poll()


async def spilled(play: Play) -> None:
    spill = copy.deepcopy(recorded("ollama/api-ps.cpu-spill.json"))
    spill["models"][0]["name"] = "m"
    play.server.routes["/api/ps"] = spill
    await play.begin()


async def thrashing(play: Play) -> None:
    await play.begin()
    await play.pace(270.0, 60, running=1)
    await play.pace(1.5, 40, running=4, waiting=2, kv=0.97)


async def dead(play: Play) -> None:
    await play.begin()
    play.server.up = False
    for _ in range(3):
        await play.room.poll()


async def hung(play: Play) -> None:
    await play.begin()
    play.server.slow = SILENT
    for _ in range(6):
        await play.room.poll(12.0)


MAKE: dict[str, Make] = {
    "absent": absent, "starting": starting, "warming": warming, "ready": ready, "busy": busy, "asleep": asleep,
    "spilled": spilled, "thrashing": thrashing, "dead": dead, "hung": hung,
}  # fmt: skip
CELLS = tuple((engine, state) for engine in ENGINES for state in STATES if (engine, state) not in NEVER)


async def made(engine: str, state: str, *, beside: bool = False) -> State:
    """The whole state once this engine is in that state; `beside`: it is no mode, but runs beside them."""
    play = Play(engine)
    await MAKE[state](play)
    room = play.room
    now = room.clock.now()
    room.state = reduce(room.state, Tick(now))
    figures = {"total": 121.7, "available": 61.3, "droppable": 20.4, "cached": 27.4, "buffers": 0.4}
    samples = tuple(Figure(f"memory.{k}_bytes", fresh(v * GIB, now, "probe")) for k, v in figures.items())
    room.state = reduce(room.state, Samples("spark", samples))
    if beside:
        host = room.state.hosts["spark"]
        spec = HostSpec("spark", beside=(replace(room.mode, key=""),), services=host.spec.services)
        room.state = replace(room.state, hosts={"spark": replace(host, spec=spec)})
    return room.state
