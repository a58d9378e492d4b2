"""llama.cpp: every recorded answer, its live speed, its sleep, its router; and what is never asked of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sovtui.adapters.engines.scrape import Scrape, read_scrape
from sovtui.adapters.registry import load_engine
from sovtui.core.model import EnginePhase
from sovtui.core.modes import Heat, mode_view
from sovtui.core.reading import Reading, Status
from tests.adapters.engines.pretend import DATA, Room, Server, recorded
from tests.adapters.engines.test_captures import AT

LLAMA = load_engine("llamacpp")
MODEL = "small-llama"


def page(name: str, monotonic: float = 0.0) -> Scrape:
    return read_scrape((DATA / f"llamacpp/metrics.{name}.prom").read_text(), LLAMA.wanted, AT, monotonic)


def server(**routes: Any) -> Server:
    told = Server(health=recorded("llamacpp/health.ready.200.json"), **routes)
    told.routes.setdefault("/props", recorded("llamacpp/props.idle.json"))
    told.routes.setdefault("/v1/models", recorded("llamacpp/v1-models.json"))
    return told


def room_of(told: Server, model: str = MODEL) -> Room:
    room = Room(told, "llamacpp", model=model)
    room.unit("active")
    return room


def figure(room: Room, name: str) -> Reading:
    return room.state.hosts["spark"].reading(f"engine.{name}", "qwen")


# -- recorded pages ----------------------------------------------------------------------------------


def test_a_page_under_load() -> None:
    readings = LLAMA.parse(page("fresh"), page("busy", 10.0))
    assert readings["engine.running"].value == 2 and readings["engine.waiting"].value == 0
    # Of two pages only: steps times busy slots, since the counter of tokens moves at the end of a request.
    assert readings["engine.decode_tok_s"].value == pytest.approx(2198 * 1.87489 / 10)
    assert readings["engine.prompt_tok_s"].value == pytest.approx(28.3)
    assert readings["engine.itl_mean_seconds"].value == pytest.approx(0.163978 / 700)
    assert readings["engine.prefix_hit_ratio"].value == pytest.approx(3 / 286)
    assert readings["engine.accept_ratio"].status is Status.UNSUPPORTED
    assert readings["engine.ttft_p50_seconds"].status is Status.UNSUPPORTED
    assert "was not read" in readings["engine.kv_use_ratio"].reason


def test_idle_is_zero_and_scraping_twice_changes_nothing() -> None:
    readings = LLAMA.parse(page("after"), page("after-second-scrape", 5.0))
    zero = ("engine.running", "engine.waiting", "engine.decode_tok_s", "engine.prompt_tok_s")
    assert {readings[f].value for f in zero} == {0.0}
    assert readings["engine.itl_mean_seconds"].status is Status.UNKNOWN  # 0/0


def test_a_counter_above_a_million_is_read_and_a_restart_is_no_speed() -> None:
    assert LLAMA.parse(None, page("over-1e6"))["engine.running"].value == 0
    again = LLAMA.parse(page("over-1e6"), page("fresh", 5.0))
    assert again["engine.decode_tok_s"].reason == "it restarted between two readings"


# -- over time ---------------------------------------------------------------------------------------


async def test_live_speed_is_what_each_slot_gained() -> None:
    told = server(metrics=recorded("llamacpp/metrics.busy.prom"), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    assert (await room.poll()).phase is EnginePhase.READY
    assert figure(room, "decode_tok_s").reason == "a second reading is needed"
    assert (figure(room, "slots").value, figure(room, "running").value) == (2, 2)
    assert figure(room, "kv_use_ratio").value == pytest.approx(1976 / 4096)
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    await room.poll(1.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(2076 - 1499 + 2501 - 1924)
    assert figure(room, "kv_use_ratio").value == pytest.approx(2552 / 4096)
    # One slot goes on with another task: what that has made since counts, what the old one made does not go negative.
    slots = copy.deepcopy(recorded("llamacpp/slots.busy.1s-later.json"))
    slots[0]["id_task"], slots[0]["next_token"][0]["n_decoded"] = 300, 40
    slots[1]["next_token"][0]["n_decoded"] += 20
    told.routes["/slots"] = slots
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == pytest.approx((40 + 20) / 2)


async def test_when_the_last_request_ends_the_speed_is_zero_at_once() -> None:
    told = server(metrics=recorded("llamacpp/metrics.busy.prom"), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    await room.poll()
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    await room.poll(1.0)
    assert figure(room, "decode_tok_s").value
    told.routes["/metrics"] = recorded("llamacpp/metrics.busy.prom").replace("requests_processing 2", "requests_processing 0")
    told.asked.clear()
    await room.poll(2.0)
    assert (figure(room, "decode_tok_s").value, figure(room, "running").value, figure(room, "kv_use_ratio").value) == (0, 0, 0)
    assert "/slots" not in told.asked
    room.unit("inactive")
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value is None or figure(room, "decode_tok_s").status is not Status.FRESH


async def test_without_metrics_the_slots_tell_and_its_sleep_is_asked_first_each_time() -> None:
    told = server(metrics=(501, recorded("llamacpp/error.metrics-not-enabled.json")), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    await room.poll()
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    told.asked.clear()
    await room.poll(1.0)
    assert told.asked.index("/props") < told.asked.index("/slots")
    assert figure(room, "decode_tok_s").value == pytest.approx(1154)
    assert figure(room, "waiting").status is Status.UNSUPPORTED and "--metrics" in figure(room, "waiting").reason
    told.routes["/slots"] = recorded("llamacpp/slots.idle.json")
    await room.poll(2.0)
    assert (figure(room, "running").value, figure(room, "decode_tok_s").value) == (0, 0)
    told.asked.clear()
    for _ in range(4):
        await room.poll(2.0)  # an idle one is left in peace for a while: /props holds its whole chat template
    assert "/slots" not in told.asked


@pytest.mark.parametrize("metrics", [True, False])
async def test_a_sleeping_server_is_never_woken(metrics: bool) -> None:
    page_ = recorded("llamacpp/metrics.after.prom") if metrics else (501, recorded("llamacpp/error.metrics-not-enabled.json"))
    told = server(metrics=page_, slots=recorded("llamacpp/slots.idle.json"), props=recorded("llamacpp/props.sleeping.json"))
    room = room_of(told)
    for _ in range(15):
        engine = await room.poll()
    assert engine.phase is EnginePhase.ASLEEP and engine.wakes and "next request" in engine.reason
    assert "/slots" not in told.asked
    assert figure(room, "asleep").value == 1
    view = mode_view(room.state.hosts["spark"], room.mode)
    assert (view.heat, view.word) == (Heat.HOT, "asleep")


async def test_slots_off_and_no_metrics_says_both() -> None:
    told = server(
        metrics=(501, recorded("llamacpp/error.metrics-not-enabled.json")),
        slots=(501, recorded("llamacpp/error.slots-disabled.json")),
    )
    room = room_of(told)
    assert (await room.poll()).phase is EnginePhase.READY
    assert figure(room, "running").status is Status.UNSUPPORTED
    assert "--no-slots" in figure(room, "running").reason


async def test_loading_is_starting_and_then_ready_with_context_and_build() -> None:
    told = Server(health=(503, recorded("llamacpp/health.loading.503.json")))
    room = room_of(told)
    engine = await room.poll()
    assert (engine.phase, engine.progress) == (EnginePhase.STARTING, "loading the model")
    assert told.asked == ["/health"]
    told.routes |= server().routes
    engine = await room.poll()
    assert (engine.phase, engine.models, engine.context_tokens, engine.version) == (
        EnginePhase.READY,
        (MODEL,),
        4096,
        "b1-0c1e570",
    )


async def test_another_model_an_alias_and_a_key() -> None:
    assert (await room_of(server(), "another").poll()).phase is EnginePhase.WRONG_MODEL
    listed = copy.deepcopy(recorded("llamacpp/v1-models.json"))
    listed["data"][0]["aliases"] = ["chat"]
    assert (await room_of(server(v1__models=listed), "chat").poll()).phase is EnginePhase.READY
    closed = (401, recorded("llamacpp/error.no-api-key.json"))
    room = room_of(server(v1__models=closed, props=closed, metrics=closed))
    engine = await room.poll()
    assert engine.phase is EnginePhase.READY and "API key" in engine.reason
    assert "key" in figure(room, "running").reason and figure(room, "running").status is Status.UNKNOWN


async def test_speculation_is_of_the_window() -> None:
    busy = recorded("llamacpp/metrics.busy.prom")
    told = server(
        metrics=busy.replace("draft_tokens_total 0", "draft_tokens_total 100").replace(
            "accepted_tokens_total 0", "accepted_tokens_total 90"
        )
    )
    room = room_of(told)
    await room.poll()
    told.routes["/metrics"] = (
        busy.replace("draft_tokens_total 0", "draft_tokens_total 160")
        .replace("accepted_tokens_total 0", "accepted_tokens_total 105")
        .replace("num_drafts_total 0", "num_drafts_total 20")
    )
    await room.poll(5.0)
    assert figure(room, "accept_ratio").value == pytest.approx(15 / 60)
    assert figure(room, "accept_length").value == pytest.approx(1 + 15 / 20)


# -- router ------------------------------------------------------------------------------------------


def router(state: str, **routes: Any) -> Server:
    return Server(
        health=recorded("llamacpp/health.ready.200.json"),
        props=recorded("llamacpp/router.props.json"),
        models=recorded(f"llamacpp/router.models.{state}.json"),
        **routes,
    )


@pytest.mark.parametrize(
    ("state", "phase"),
    [("unloaded", EnginePhase.ASLEEP), ("loading", EnginePhase.STARTING), ("loaded", EnginePhase.READY)],
)
async def test_a_router_tells_of_each_model(state: str, phase: EnginePhase) -> None:
    told = router(state)
    engine = await room_of(told).poll()
    assert engine.phase is phase
    assert {p.name: p.state for p in engine.parts} == {
        "small-llama": {"unloaded": "unloaded", "loading": "starting", "loaded": "ready"}[state],
        "tiny-llama": "unloaded",
    }
    if phase is EnginePhase.READY:
        assert engine.context_tokens == 8192 and engine.parts[0].size_bytes == 342961152
    if phase is EnginePhase.ASLEEP:
        assert engine.wakes and "next request loads it" in engine.reason


async def test_a_router_is_asked_only_about_what_is_loaded_and_never_so_that_it_loads() -> None:
    told = router("loaded", slots=recorded("llamacpp/slots.busy.json"), metrics=recorded("llamacpp/metrics.busy.prom"))
    room = room_of(told, "")
    for _ in range(4):
        await room.poll()
    named = [r for r in told.requests if r.url.params.get("model")]
    assert named and {r.url.params["model"] for r in named} == {"small-llama"}
    assert {r.url.params.get("autoload") for r in named} == {"false"}
    assert all(r.url.params.get("model") for r in told.requests if r.url.path in ("/metrics", "/slots"))
    assert figure(room, "running").value == 2 and figure(room, "decode_tok_s").fresh_value == 0


async def test_a_failed_load_and_a_sleeping_model() -> None:
    models = copy.deepcopy(recorded("llamacpp/router.models.unloaded.json"))
    models["data"][0]["status"] |= {"failed": True, "exit_code": 1}
    told = router("unloaded")
    told.routes["/models"] = models
    engine = await room_of(told).poll()
    assert engine.phase is EnginePhase.DEAD and "exit code 1" in engine.reason
    models["data"][0]["status"] = {"value": "sleeping"}
    engine = await room_of(told).poll()
    assert engine.phase is EnginePhase.ASLEEP and engine.wakes and "wakes it" in engine.reason
