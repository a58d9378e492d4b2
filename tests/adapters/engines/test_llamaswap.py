"""llama-swap: which model runs, the figures of that one's own server, and that looking never swaps."""

from __future__ import annotations

import copy
from typing import Any

import httpx

from sovtui.core.model import EnginePhase
from sovtui.core.modes import mode_view
from sovtui.core.reading import Status
from tests.adapters.engines.pretend import DATA, Room, Server, recorded


def server(running: str = "running", **routes: Any) -> Server:
    return Server(
        running=recorded(f"llamaswap/{running}.json"),
        v1__models=recorded("llamaswap/v1-models.json"),
        api__version=recorded("llamaswap/api-version.json"),
        api__metrics__stats=recorded("llamaswap/api-metrics-stats.json"),
        **routes,
    )


def room_of(told: Server, model: str = "") -> Room:
    room = Room(told, "llamaswap", model=model)
    room.unit("active")
    return room


def figure(room: Room, name: str) -> Any:
    return room.state.hosts["spark"].reading(f"engine.{name}", "qwen")


async def test_ready_by_name_and_by_alias() -> None:
    for model in ("qwen3-8b", "chat", ""):
        engine = await room_of(server(), model).poll()
        assert (engine.phase, engine.models, engine.version) == (EnginePhase.READY, ("qwen3-8b",), "v250")
        assert engine.parts[0].detail == "at localhost:10001, unloads after 10 min idle"


async def test_starting_asleep_and_not_configured() -> None:
    starting = await room_of(server("running.starting"), "gpt-oss-120b").poll()
    assert starting.phase is EnginePhase.STARTING and starting.progress
    other = await room_of(server("running"), "gpt-oss-120b").poll()
    assert other.phase is EnginePhase.ASLEEP and other.wakes and other.reason.endswith("qwen3-8b runs now")
    empty = room_of(server("running.empty"))
    assert (await empty.poll()).phase is EnginePhase.ASLEEP
    assert figure(empty, "running").value == 0  # nothing is loaded: nothing runs
    assert mode_view(empty.state.hosts["spark"], empty.mode).word == "asleep"
    wrong = await room_of(server("running"), "mistral").poll()
    assert wrong.phase is EnginePhase.WRONG_MODEL and "not mistral" in wrong.reason


async def test_a_model_that_may_fall_asleep_is_left_in_peace_while_it_rests() -> None:
    told = server(
        metrics=recorded("llamacpp/metrics.busy.prom"),
        slots=recorded("llamacpp/slots.busy.json"),
        props=recorded("llamacpp/props.idle.json"),
    )
    rows = copy.deepcopy(recorded("llamaswap/running.json"))
    for row in rows["running"]:
        row["cmd"] += " --sleep-idle-seconds 60"
    told.routes["/running"] = rows
    room = room_of(told, "qwen3-8b")
    await room.poll()
    assert not {"/metrics", "/slots"} & set(told.asked) and figure(room, "running").value is None
    room.activity(0.0, 0, at="127.0.0.1:10001")
    await room.poll()
    assert not {"/metrics", "/slots"} & set(told.asked)
    assert (figure(room, "running").value, figure(room, "decode_tok_s").value) == (0, 0)
    room.activity(0.7, at="127.0.0.1:10001")
    await room.poll()
    assert {"/metrics", "/slots"} <= set(told.asked) and figure(room, "running").value == 2
    told.routes["/props"] = recorded("llamacpp/props.sleeping.json")
    room.activity(0.0, 0, at="127.0.0.1:10001")
    await room.poll(20.0)
    room.activity(0.7, at="127.0.0.1:10001")  # it has fallen asleep, which costs a moment
    told.asked.clear()
    await room.poll(20.0)
    assert "/props" in told.asked and not {"/metrics", "/slots"} & set(told.asked)


async def test_its_model_is_asked_at_its_own_port_and_never_through_it() -> None:
    told = server(metrics=recorded("llamacpp/metrics.busy.prom"), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told, "qwen3-8b")
    await room.poll()
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    await room.poll(1.0)
    assert figure(room, "decode_tok_s").value == 1154 and figure(room, "running").value == 2
    own = [r for r in told.requests if r.url.path in ("/metrics", "/slots", "/props")]
    assert own and {str(r.url.copy_with(path="/", query=None)).rstrip("/?") for r in own} == {"http://localhost:10001"}
    assert {r.method for r in told.requests} == {"GET"}
    assert not [path for path in told.asked if path.startswith("/upstream") or "unload" in path]
    assert mode_view(room.state.hosts["spark"], room.mode).word == "busy"


async def test_another_model_is_no_restart_and_no_ghost_speed() -> None:
    told = server(metrics=recorded("llamacpp/metrics.fresh.prom"), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    await room.poll()
    running = copy.deepcopy(recorded("llamaswap/running.json"))
    running["running"][0] |= {"model": "gpt-oss-120b", "cmd": "vllm serve x --port 10002", "proxy": "http://127.0.0.1:10002"}
    told.routes["/running"] = running
    told.routes["/metrics"] = (DATA / "vllm/0.32.0-load-t0.prom").read_text()
    await room.poll()
    assert figure(room, "decode_tok_s").value is None and figure(room, "decode_tok_s").reason == "a second reading is needed"
    assert figure(room, "running").fresh_value is not None
    told.routes["/metrics"] = (DATA / "vllm/0.32.0-load-t5.prom").read_text()
    await room.poll(5.0)
    assert figure(room, "decode_tok_s").value == 1048 / 5


async def test_an_unknown_server_is_told_by_its_own_counts_and_its_requests_by_nobody() -> None:
    told = server()
    running = copy.deepcopy(recorded("llamaswap/running.json"))
    running["running"][0] |= {"cmd": "/opt/other-server --port 10001"}
    told.routes["/running"] = running
    room = room_of(told)
    await room.poll()
    told.routes["/api/metrics/stats"] = {**recorded("llamaswap/api-metrics-stats.json"), "total_output_tokens": 19044 + 100}
    await room.poll(10.0)
    assert figure(room, "decode_tok_s").value == 10
    assert figure(room, "running").status is Status.UNSUPPORTED
    assert mode_view(room.state.hosts["spark"], room.mode).busy is True


async def test_only_this_machine_is_asked() -> None:
    told = server()
    running = copy.deepcopy(recorded("llamaswap/running.json"))
    running["running"][0] |= {"proxy": "http://192.168.7.9:10001"}
    told.routes["/running"] = running
    room = room_of(told)
    for _ in range(3):
        await room.poll()
    assert {r.url.host for r in told.requests} == {"127.0.0.1"}


async def test_a_server_that_was_stopped_just_now_and_a_key() -> None:
    told = server()

    class Gone(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "localhost":
                raise httpx.ConnectError("refused")
            return super().__call__(request)

    gone = Gone()
    gone.routes = told.routes
    room = room_of(gone)
    assert (await room.poll()).phase is EnginePhase.READY
    assert figure(room, "running").value is None
    closed = room_of(Server(running=(401, recorded("llamaswap/error.401.json"))))
    engine = await closed.poll()
    assert engine.phase is EnginePhase.READY and "key" in engine.reason
