"""Each state of each engine, made by what that engine really answers, and read on the screen."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sovtui.adapters.registry import engine_names
from sovtui.cli import output
from sovtui.config.schema import Config
from sovtui.core.events import Curve, EngineSeen, Sample, Samples
from sovtui.core.model import Engine, EnginePhase, Mode, Part
from sovtui.core.modes import mode_view
from sovtui.core.reading import fresh, unsupported
from sovtui.core.state import State, reduce
from sovtui.tui.panes.base import View
from sovtui.tui.panes.inference import InferencePane, heat_span
from sovtui.tui.panes.memory import MemoryPane
from tests.adapters.engines.pretend import Room, Server, ready_server, recorded
from tests.tui.conftest import SIZES
from tests.tui.engine_states import CELLS, ENGINES, STATES, Play, made

Change = Callable[[Room, Server], None]


def answers(**routes: Any) -> Change:
    def change(room: Room, server: Server) -> None:
        server.routes |= {"/" + k.replace("__", "/"): v for k, v in routes.items()}

    return change


def text(room: Room, width: int = 80, height: int = 24) -> str:
    view = View(room.state, "spark", Config())
    return "\n".join(row.plain for row in InferencePane().rows(view, width, height))


WORDS = {"absent": "cold", "ready": "resident"}
"""The state's word on the screen, where it is not its name."""
SIGN = {
    "absent": "○", "starting": "◐", "warming": "◐", "ready": "●", "busy": "●", "asleep": "◌", "spilled": "▲", "thrashing": "▲",
    "dead": "✖", "hung": "✖",
}  # fmt: skip
SAYS: dict[str | tuple[str, str], tuple[str, ...]] = {
    "starting": ("nothing answers on its port yet",),
    ("vllm", "starting"): ("weights 40 %",),
    ("sglang", "starting"): ("weights 40 %",),
    ("llamacpp", "starting"): ("loading the model",),
    ("llamaswap", "starting"): ("llama-swap starts it",),
    ("sglang", "warming"): ("it is warming up",),
    ("litellm", "warming"): ("it is not ready yet",),
    "busy": ("running 3",),
    ("comfyui", "busy"): ("running 1", "waiting 2"),
    ("vllm", "asleep"): ("the engine sleeps: requests would hang",),
    ("llamacpp", "asleep"): ("the next request loads its weights again",),
    ("ollama", "asleep"): ("m is not loaded: the next request loads it",),
    ("llamaswap", "asleep"): ("the next request starts it",),
    "spilled": ("33 % of m on the CPU: it does not fit into GPU memory", "33 % on the CPU, 14.4 GiB"),
    "thrashing": ("4 running share 1.5 tok/s: their contexts do not fit together; end one",),
    "dead": ("it was ready and no longer answers", "connection refused"),
    "hung": ("it was ready and no longer answers", "nothing came back within 5 s"),
}
"""The sentence that comes with a state: of this engine, else of all."""


def word_of(engine: str, state: str) -> str:
    if (engine, state) == ("ollama", "ready"):
        return "hot"  # it does not tell whether it is busy
    return WORDS.get(state, state)


def says(engine: str, state: str) -> tuple[str, ...]:
    return SAYS.get((engine, state), SAYS.get(state, ()))


def flat(words: str) -> str:
    return " ".join(words.split())


def test_every_engine_that_there_is_has_its_states_in_the_table() -> None:
    assert set(ENGINES) == set(engine_names())
    assert {state for _, state in CELLS} == set(STATES)


@pytest.mark.screen
@pytest.mark.parametrize("engine", ENGINES)
async def test_each_state_is_named_in_the_room_and_on_the_command_line(engine: str, stage: Any) -> None:
    """On a phone, in a terminal, as text: the word, its sign, and the sentence that belongs to it."""
    states = {state: await made(engine, state) for of, state in CELLS if of == engine}
    async with stage(next(iter(states.values())), SIZES["phone"]) as s:
        for size in (SIZES["phone"], SIZES["normal"]):
            if tuple(s.app.size) != size:
                await s.pilot.resize_terminal(*size)
            for state, made_of in states.items():
                s.hub.put(made_of)
                await s.pilot.pause(0.02)
                word, sign = word_of(engine, state), "✖" if (engine, state) == ("vllm", "asleep") else SIGN[state]
                shown, bar = flat(s.text("inference")), flat(s.bar("status"))
                assert f"{sign} Qwen" in shown and word in shown, (state, shown)
                begun = made_of.hosts["spark"].action is not None
                hot = "◐ switch qwen" if begun else "○ no mode is hot" if state == "absent" else f"{sign} qwen {word}"
                assert hot in bar, (state, bar)
                for sentence in says(engine, state) if size == SIZES["phone"] else ():
                    assert sentence in shown, (state, sentence, shown)
    for state, made_of in states.items():
        told = flat(output.status(made_of, made_of.hosts.values()))
        assert f"qwen {word_of(engine, state)} Qwen" in told, told
        assert state == "absent" or f"qwen: {engine} {phase_of(made_of)}" in told, told
        for sentence in says(engine, state):
            assert sentence in told, (state, sentence, told)


def phase_of(state: State) -> str:
    return str(state.hosts["spark"].engines["qwen"].phase)


@pytest.mark.parametrize(("engine", "state"), CELLS)
async def test_each_state_is_named_beside_the_modes_too(engine: str, state: str) -> None:
    room = await made(engine, state, beside=True)
    for width in (96, 42):
        view = View(room, "spark", Config())
        wanted = InferencePane().want(view, width).rows - 2
        rows = InferencePane().rows(view, width, wanted)
        shown = flat("\n".join(row.plain for row in rows))
        sign = "✖" if (engine, state) == ("vllm", "asleep") else SIGN[state]
        assert f"{sign} Qwen {word_of(engine, state)}" in shown, shown
        assert engine in shown and "no modes" not in shown
        assert heat_span(room.hosts["spark"])[0] == f"{sign} qwen {word_of(engine, state)}"
        assert all(row.cells <= width for row in rows)
        for sentence in says(engine, state):
            number, _, what = sentence.partition(" ")
            assert sentence in shown or f"{what} {number}" in shown, (sentence, shown)  # a busy one: `3 running`
    told = flat(output.status(room, room.hosts.values()))
    assert f"qwen: {engine} {phase_of(room)}" in told and word_of(engine, state) in told


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp", "llamaswap", "litellm"])
async def test_requests_without_a_token_for_minutes_are_a_hang_where_tokens_are_told_as_they_come(engine: str) -> None:
    play = Play(engine)
    play.figures(2, 0, 0.3)
    await play.begin()
    await play.pace(0.0, 330, running=2)
    shown = flat(text(play.room, 42, 40))
    what = "neither a token nor processor time" if engine == "llamacpp" else "not one token"
    assert (f"▲ hung: 2 running, and {what} for 5 min" in shown) is (engine != "litellm"), shown


ROUTER = copy.deepcopy(recorded("llamacpp/router.models.loading.json"))
ROUTER["data"][0]["id"] = "m"
MORE: list[tuple[str, Change, str]] = [
    ("llamacpp", answers(props=recorded("llamacpp/router.props.json"), models=ROUTER), "the router loads it"),
    ("vllm", answers(is_sleeping={"is_sleeping": True}), "the engine sleeps: requests would hang"),
    ("vllm", answers(health=503), "its engine process has died: /health says 503"),
    ("vllm", answers(v1__models={"data": [{"id": "other"}]}), "it serves other, not m"),
    ("ollama", answers(api__tags={"models": [{"name": "other"}]}, api__ps={"models": []}), "it serves other, not m"),
]


@pytest.mark.parametrize(("engine", "change", "sentence"), MORE)
async def test_other_ways_into_a_state(engine: str, change: Change, sentence: str) -> None:
    server = ready_server(engine)
    room = Room(server, engine, model="m")
    room.unit("active")
    change(room, server)
    for _ in range(3):
        await room.poll(12.0)
    assert sentence in flat(text(room, 42))


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


@pytest.mark.truth(of="screen")
async def test_engines_beside_the_modes_have_their_lines_and_are_no_second_hot_mode() -> None:
    room = await beside()
    told = text(room, 96, 30)
    assert "modes are hot at once" not in told
    assert "other engines" in told and "● LiteLLM" in told and "● CPU floor" in told
    assert "1 in cooldown of 32 deployments" in told
    line = next(line for line in told.splitlines() if "chat: local" in line)
    assert line.startswith("▲") and "cooldown" in line and "40 min" in line
    assert "more" in told and told.count("\n") < 30


@pytest.mark.parametrize(
    ("phase", "word"), [("starting", "starting"), ("warming", "warming"), ("dead", "dead"), ("hung", "hung"), ("absent", "cold")]
)
async def test_what_is_told_by_its_address_alone_has_the_same_words(phase: str, word: str) -> None:
    room = await beside()
    room.state = reduce(room.state, EngineSeen("spark", "floor", Engine(EnginePhase(phase), reason="so it is")))
    host = room.state.hosts["spark"]
    assert not host.spec.beside[1].services and mode_view(host, host.spec.beside[1]).word == word


async def test_an_engine_beside_a_hot_mode_that_fails_is_seen_on_the_tab() -> None:
    room = await beside()
    assert InferencePane().badge(View(room.state, "spark", Config())) == ("●", "ok")
    room.state = reduce(room.state, EngineSeen("spark", "floor", Engine(EnginePhase.DEAD, reason="it is gone")))
    assert InferencePane().badge(View(room.state, "spark", Config())) == ("✖", "bad")
    assert heat_span(room.state.hosts["spark"])[0].startswith("● qwen")


@pytest.mark.parametrize("size", [(96, 14), (78, 10), (42, 30), (42, 8), (20, 4)])
async def test_nothing_is_wider_or_higher_than_the_pane(size: tuple[int, int]) -> None:
    room = await beside()
    width, height = size
    rows = InferencePane().rows(View(room.state, "spark", Config()), width, height)
    assert len(rows) <= height


# -- several of everything ---------------------------------------------------------------------------

LONG = ("qwen2.5-coder:32b-instruct-q4_K_M", "llama3.1:8b-instruct-fp16", "nomic-embed-text:latest")


@pytest.mark.parametrize("width", [96, 42, 33])
async def test_three_models_of_an_ollama_keep_their_states_however_long_their_names(width: int) -> None:
    rows = [
        {"name": name, "size": 20 << 30, "size_vram": (20 << 30) - (n == 0) * (7 << 30), "context_length": 8192}
        for n, name in enumerate(LONG)
    ]
    server = Server(api__ps={"models": rows}, api__tags={"models": [{"name": name} for name in LONG]})
    room = Room(server, "ollama", model="")
    room.unit("active")
    await room.poll()
    for height in (40, 16):
        shown = [row.plain for row in InferencePane().rows(View(room.state, "spark", Config()), width, height)]
        assert len(shown) <= height and all(len(line) <= width for line in shown)
        assert any(line.startswith("▲ qwen2.5") and " spilled" in line for line in shown), shown
    tall = [row.plain for row in InferencePane().rows(View(room.state, "spark", Config()), width, 40)]
    assert sum(bool(re.search(r"^  (llama|nomic).* ready( |$)", line)) for line in tall) == 2, tall
    assert "35 % on the CPU" in " ".join(tall)


async def test_two_models_of_a_llama_swap_are_both_told() -> None:
    running: list[dict[str, Any]] = [
        {"model": "qwen3-coder-30b-a3b", "state": "ready", "cmd": "llama-server", "proxy": "http://127.0.0.1:10001", "ttl": 600},
        {"model": "gemma-3-27b-it-qat", "state": "starting", "cmd": "llama-server", "proxy": "http://127.0.0.1:10002"},
    ]
    server = ready_server("llamaswap")
    server.routes |= {"/running": {"running": running}, "/v1/models": {"data": [{"id": row["model"]} for row in running]}}
    room = Room(server, "llamaswap", model="")
    room.unit("active")
    await room.poll()
    told = flat(text(room, 42, 40))
    assert "qwen3-coder-30b-a3b ready" in told and "gemma-3-27b-it-qat starting" in told and "unloads after 10 min idle" in told


def with_gpus(state: State, count: int) -> State:
    samples = []
    for number in range(count):
        told = {"use_ratio": 0.93, "power_watts": 684.0, "temperature_celsius": 61.0 + number}
        told |= {"memory_used_bytes": 71.2 * 2**30, "memory_total_bytes": 79.6 * 2**30}
        samples += [Sample(f"gpu.{key}", fresh(level, state.now, "nvml"), str(number)) for key, level in told.items()]
    return reduce(state, Samples("spark", tuple(samples)))


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("width", [64, 49, 42, 33])
async def test_every_gpu_has_a_line_at_every_width(count: int, width: int) -> None:
    state = with_gpus(await made("vllm", "busy"), count)
    view = View(state, "spark", Config())
    height = MemoryPane().want(view, width).rows - 2
    shown = [row.plain for row in MemoryPane().rows(view, width, height)]
    assert len(shown) <= height and all(len(line) <= width for line in shown)
    assert sum("93 %" in line for line in shown) == count and f"{61 + count - 1} °C" in flat(" ".join(shown))
    assert sum("79.6 GiB" in line for line in shown) == count
    assert "total" in " ".join(shown) and "swap used" in " ".join(shown)


async def test_eight_gpus_without_room_are_told_together() -> None:
    state = with_gpus(await made("vllm", "busy"), 8)
    shown = [row.plain for row in MemoryPane().rows(View(state, "spark", Config()), 33, 12)]
    told = flat(" ".join(shown))
    assert "8 GPUs 93 % to 93 %" in told and "up to 68 °C" in told and "mem 570 of 637 GiB" in told and "total" in told


async def test_an_engine_in_trouble_beside_the_modes_has_a_line_where_nothing_else_has() -> None:
    room = await beside()
    room.state = reduce(room.state, EngineSeen("spark", "floor", Engine(EnginePhase.DEAD, reason="it is gone")))
    assert "✖ CPU floor dead it is gone" in flat(text(room, 43, 8))


@pytest.mark.truth(of="screen")
async def test_instances_of_a_split_gpu_are_rows_and_are_not_added_to_their_gpu() -> None:
    state = await made("vllm", "busy")
    now, gib = state.now, 2.0**30
    told = [Sample("gpu.power_watts", fresh(310.0, now, "nvml"), "0"), Sample("gpu.use_ratio", unsupported("split"), "0")]
    told += [Sample(f"gpu.memory_{word}_bytes", unsupported("split"), "0") for word in ("used", "total")]
    for instance, used in (("7", 2), ("8", 9), ("13", 1)):
        told += [
            Sample("gpu.memory_used_bytes", fresh(used * gib, now, "nvml"), f"0:{instance}"),
            Sample("gpu.memory_total_bytes", fresh(10 * gib, now, "nvml"), f"0:{instance}"),
            Sample("gpu.power_watts", unsupported("of the whole"), f"0:{instance}"),
        ]
    state = reduce(state, Samples("spark", tuple(told)))
    view = View(state, "spark", Config())
    rows = [row.plain for row in MemoryPane().rows(view, 80, 20)]
    assert [line.split()[:2] for line in rows if line.startswith("GPU 0")] == [
        ["GPU", name] for name in ("0", "0:7", "0:8", "0:13")
    ]
    assert any("9.00 GiB of 10.0 GiB" in line for line in rows if line.startswith("GPU 0:8"))
    together = " ".join(row.plain for row in MemoryPane().rows(view, 80, 6))
    assert "1 GPU, 3 instances" in together and "310 W" in together and "12.0 of 30.0 GiB" in together, together
