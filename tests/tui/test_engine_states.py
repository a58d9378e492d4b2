"""Each state of each engine, made by what that engine really answers, and read on the screen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sovtui.config.schema import Config
from sovtui.core.events import Curve, EngineSeen, Sample, Samples
from sovtui.core.model import Engine, EnginePhase, Mode, Part
from sovtui.core.modes import mode_view
from sovtui.core.reading import fresh
from sovtui.core.state import reduce
from sovtui.tui.panes.base import View
from sovtui.tui.panes.inference import InferencePane, heat_span
from tests.adapters.engines.pretend import Room, Server, ready_server, recorded

Change = Callable[[Room, Server], None]


def nothing(room: Room, server: Server) -> None:
    """It is as it was."""


def stopped(room: Room, server: Server) -> None:
    room.unit("inactive")


def refuses(room: Room, server: Server) -> None:
    server.up = False


def silent(room: Room, server: Server) -> None:
    server.slow = {
        "/health",
        "/v1/models",
        "/api/ps",
        "/running",
        "/system_stats",
        "/prompt",
        "/health/liveliness",
        "/metrics",
        "/ping",
    }


def answers(**routes: Any) -> Change:
    def change(room: Room, server: Server) -> None:
        server.routes |= {"/" + k.replace("__", "/"): v for k, v in routes.items()}

    return change


def text(room: Room, width: int = 80, height: int = 24) -> str:
    view = View(room.state, "spark", Config())
    return "\n".join(row.plain for row in InferencePane().rows(view, width, height))


LLAMA_BUSY = recorded("llamacpp/metrics.busy.prom")
LLAMA_IDLE = LLAMA_BUSY.replace("requests_processing 2", "requests_processing 0")
SLOTS = recorded("llamacpp/slots.busy.json")
SPILL = copy.deepcopy(recorded("ollama/api-ps.cpu-spill.json"))
SPILL["models"][0]["name"] = "m"
ROUTER = copy.deepcopy(recorded("llamacpp/router.models.loading.json"))
ROUTER["data"][0]["id"] = "m"
IDLE_VLLM = 'vllm:num_requests_running{model_name="m"} 0\nvllm:generation_tokens_total{model_name="m"} 5\n'
BUSY_VLLM = 'vllm:num_requests_running{model_name="m"} 3\nvllm:generation_tokens_total{model_name="m"} 9\n'
IDLE_SGLANG = 'sglang:num_running_reqs{model_name="m"} 0\nsglang:gen_throughput{model_name="m"} 30\n'
BUSY_SGLANG = 'sglang:num_running_reqs{model_name="m"} 2\nsglang:gen_throughput{model_name="m"} 30\n'

STATES: list[tuple[str, bool, Change, str]] = [
    # engine, whether it was ready before, what changes, what the screen must say
    *((engine, True, stopped, "○ Qwen cold") for engine in ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")),
    *((engine, False, refuses, "◐ qwen starting") for engine in ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")),
    *((engine, True, refuses, f"{engine} dead") for engine in ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")),
    *((engine, True, silent, f"{engine} hung") for engine in ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")),
    ("vllm", True, answers(metrics=IDLE_VLLM), "● qwen resident"),
    ("vllm", True, answers(metrics=BUSY_VLLM), "● qwen busy"),
    ("vllm", False, answers(is_sleeping={"is_sleeping": True}), "the engine sleeps: requests would hang"),
    ("sglang", False, answers(health=503), "sglang warming"),
    ("sglang", True, answers(metrics=IDLE_SGLANG), "● qwen resident"),
    ("sglang", True, answers(metrics=BUSY_SGLANG), "● qwen busy"),
    ("llamacpp", False, answers(health=(503, recorded("llamacpp/health.loading.503.json"))), "loading the model"),
    ("llamacpp", True, answers(metrics=LLAMA_IDLE), "● qwen resident"),
    ("llamacpp", True, answers(metrics=LLAMA_BUSY, slots=SLOTS), "● qwen busy"),
    ("llamacpp", False, answers(props=recorded("llamacpp/props.sleeping.json")), "◌ qwen asleep"),
    ("llamacpp", False, answers(props=recorded("llamacpp/router.props.json"), models=ROUTER), "the router loads it"),
    ("ollama", True, nothing, "● qwen hot"),
    ("ollama", True, answers(api__ps=SPILL), "▲ spilled: 33 % of m on the CPU"),
    ("ollama", True, answers(api__ps={"models": []}), "◌ qwen asleep"),
    ("litellm", False, answers(health__liveliness=503), "litellm warming"),
    ("litellm", True, answers(metrics__="litellm_in_flight_requests 1.0\n"), "● qwen resident"),
    ("litellm", True, answers(metrics__="litellm_in_flight_requests 4.0\n"), "● qwen busy"),
    ("llamaswap", True, answers(metrics=LLAMA_IDLE), "● qwen resident"),
    ("llamaswap", True, answers(metrics=LLAMA_BUSY, slots=SLOTS), "● qwen busy"),
    ("llamaswap", True, answers(running={"running": []}), "◌ qwen asleep"),
    ("llamaswap", True, answers(running={"running": [{"model": "m", "state": "starting"}]}), "llama-swap starts it"),
    ("comfyui", True, answers(prompt=recorded("comfyui/prompt.idle.json")), "● qwen resident"),
    ("comfyui", True, answers(prompt=recorded("comfyui/prompt.busy.json")), "● qwen busy"),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "was_ready", "change", "says"), STATES)
async def test_each_state_is_read_on_the_screen(engine: str, was_ready: bool, change: Change, says: str) -> None:
    server = ready_server(engine)
    room = Room(server, engine, model="" if engine == "comfyui" else "m")
    room.unit("active")
    if was_ready:
        assert (await room.poll()).phase in (EnginePhase.READY, EnginePhase.SPILLED)
    change(room, server)
    for _ in range(5):
        await room.poll(12.0)
    for width in (96, 78, 42):
        told = " ".join(text(room, width).split())
        assert says in told or width < 78, told


async def test_what_an_engine_never_tells_takes_no_room() -> None:
    room = Room(ready_server("comfyui"), "comfyui", model="")
    room.unit("active")
    await room.poll()
    told = text(room)
    assert "decode n/a: ComfyUI makes pictures, not tokens" in told
    assert "TTFT" not in told and "KV" not in told
    words = " ".join(told.split())
    assert "running 1 of 1" in words and "waiting 2" in words and "held 6.66 GiB" in words
    assert "cuda:0 NVIDIA GeForce RTX 4070 Ti" in told and "4.7 GiB free on it" in told


async def test_a_loaded_model_says_where_it_lies_and_until_when() -> None:
    ps = recorded("ollama/api-ps.pinned-and-timed.json")
    server = Server(api__ps=ps, api__tags={"models": [{"name": row["name"]} for row in ps["models"]]})
    room = Room(server, "ollama", model="")
    room.unit("active")
    await room.poll()
    told = text(room)
    assert "gpt-oss:120b" in told and "pinned, 60.9 GiB, 128k context" in told
    assert "nomic-embed-text:latest" in told


def curve(room: Room, figure: str, level: float, seconds: int, value: float) -> None:
    """Constant for so long, and `value` for the rest up to now."""
    now = room.clock.now().timestamp()
    points = [(now - 600 + i, level) for i in range(0, 600 - seconds, 2)] + [
        (now - seconds + i, value) for i in range(0, seconds, 2)
    ]
    room.state = reduce(room.state, Curve("spark", f"engine.{figure}", "qwen", tuple(points)))
    room.state = reduce(
        room.state, Samples("spark", (Sample(f"engine.{figure}", fresh(value, room.clock.now(), "engine"), "qwen"),))
    )


def sample(room: Room, **figures: float) -> None:
    samples = tuple(Sample(f"engine.{k}", fresh(v, room.clock.now(), "engine"), "qwen") for k, v in figures.items())
    room.state = reduce(room.state, Samples("spark", samples))


async def ready() -> Room:
    room = Room(ready_server("vllm"), "vllm", model="m")
    room.unit("active")
    await room.poll()
    return room


async def test_thrashing_is_a_named_state() -> None:
    room = await ready()
    curve(room, "decode_tok_s", 270.0, 40, 1.5)
    sample(room, running=4, waiting=0, kv_use_ratio=0.97)
    told = text(room)
    assert "▲ thrashing: 4 running share 1.5 tok/s" in told and "▲ qwen thrashing" in told
    assert heat_span(room.state.hosts["spark"]) == ("▲ qwen thrashing", "bad")
    assert mode_view(room.state.hosts["spark"], room.mode).busy is True  # a switch still asks


@pytest.mark.parametrize(
    "calm",
    [
        {"running": 1, "kv_use_ratio": 0.97},  # one long prompt
        {"running": 4, "kv_use_ratio": 0.3, "waiting": 0},  # there is room: something else is slow
    ],
)
async def test_slow_alone_is_not_thrashing(calm: dict[str, float]) -> None:
    room = await ready()
    curve(room, "decode_tok_s", 270.0, 40, 1.5)
    sample(room, **calm)
    assert "thrashing" not in text(room)


async def test_a_moment_of_slowness_is_not_thrashing() -> None:
    room = await ready()
    curve(room, "decode_tok_s", 270.0, 8, 1.5)
    sample(room, running=4, kv_use_ratio=0.97)
    assert "thrashing" not in text(room)


async def test_requests_without_a_token_for_minutes_are_a_hang() -> None:
    room = await ready()
    for figure in ("decode_tok_s", "prompt_tok_s"):
        curve(room, figure, 50.0, 320, 0.0)
    sample(room, running=2)
    assert "▲ hung: 2 running, and not one token for 5 min" in text(room)
    curve(room, "prompt_tok_s", 50.0, 100, 0.0)
    assert "hung" not in text(room)


# -- beside the modes --------------------------------------------------------------------------------


async def beside() -> Room:
    room = await ready()
    router = Mode("router", title="LiteLLM", engine="litellm", url="http://127.0.0.1:4000")
    floor = Mode("floor", title="CPU floor", engine="llamacpp", url="http://127.0.0.1:8001")
    host = room.state.hosts["spark"]
    host = replace(host, spec=replace(host.spec, beside=(router, floor)))
    room.state = replace(room.state, hosts={"spark": host})
    parts = (
        Part("chat: local", "cooldown", True, "local at 127.0.0.1:8000", ends_at=room.clock.now().replace(hour=20, minute=40)),
        Part("chat: cloud", "ready", detail="cloud"),
        *(Part(f"more-{n}", "ready") for n in range(30)),
    )
    for name, engine in (
        ("router", Engine(EnginePhase.READY, ("chat",), reason="1 in cooldown of 32 deployments", parts=parts)),
        ("floor", Engine(EnginePhase.READY, ("qwen3-8b",))),
    ):
        room.state = reduce(room.state, EngineSeen("spark", name, engine))
    return room


async def test_engines_beside_the_modes_have_their_lines_and_are_no_second_hot_mode() -> None:
    room = await beside()
    told = text(room, 96, 30)
    assert "modes are hot at once" not in told
    assert "beside" in told and "● LiteLLM" in told and "● CPU floor" in told
    assert "1 in cooldown of 32 deployments" in told
    line = next(line for line in told.splitlines() if "chat: local" in line)
    assert line.startswith("▲") and "cooldown" in line and "40 min" in line
    assert "more" in told and told.count("\n") < 30


@pytest.mark.parametrize("size", [(96, 14), (78, 10), (42, 30), (42, 8), (20, 4)])
async def test_nothing_is_wider_or_higher_than_the_pane(size: tuple[int, int]) -> None:
    room = await beside()
    width, height = size
    rows = InferencePane().rows(View(room.state, "spark", Config()), width, height)
    assert len(rows) <= height
