"""llama.cpp: every recorded answer, its live speed, its sleep, its router; and what is never asked of it."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from sovtui.adapters.engines._llamacpp_live import Move, Server, Steps
from sovtui.adapters.engines.base import Windows
from sovtui.adapters.engines.scrape import Scrape, read_scrape
from sovtui.adapters.registry import load_engine
from sovtui.core.activity import Activity
from sovtui.core.model import EnginePhase
from sovtui.core.modes import Heat, mode_view
from sovtui.core.reading import Reading, Status
from tests.adapters.engines import pretend
from tests.adapters.engines.pretend import DATA, Room, recorded
from tests.adapters.engines.test_captures import AT

LLAMA = load_engine("llamacpp")
MODEL = "small-llama"
NO_METRICS = (501, recorded("llamacpp/error.metrics-not-enabled.json"))
NO_SLOTS = (501, recorded("llamacpp/error.slots-disabled.json"))


def page(name: str, monotonic: float = 0.0) -> Scrape:
    return read_scrape((DATA / f"llamacpp/metrics.{name}.prom").read_text(), LLAMA.wanted, AT, monotonic)


def metrics(**numbers: float) -> str:
    """The page of a busy one with these counts."""
    text: str = recorded("llamacpp/metrics.busy.prom")
    for name, number in numbers.items():
        kept = [line for line in text.splitlines() if not line.startswith(f"llamacpp:{name} ")]
        text = "\n".join([*kept, f"llamacpp:{name} {number}", ""])
    return text


def slot(number: int = 0, task: int = 1, *, decoded: int = 0, read: int = 0, held: int = 0, room: int = 4096) -> dict[str, Any]:
    """One that works; of `read` prompt tokens it has computed all."""
    return {
        "id": number, "n_ctx": room, "is_processing": True, "id_task": task, "n_prompt_tokens": held,
        "n_prompt_tokens_processed": read, "n_prompt_tokens_cache": 0, "next_token": [{"n_decoded": decoded}],
    }  # fmt: skip


def server(**routes: Any) -> pretend.Server:
    told = pretend.Server(health=recorded("llamacpp/health.ready.200.json"), **routes)
    told.routes.setdefault("/props", recorded("llamacpp/props.idle.json"))
    told.routes.setdefault("/v1/models", recorded("llamacpp/v1-models.json"))
    return told


def room_of(told: pretend.Server, model: str = MODEL, cores: float | None = 1.0, connections: int | None = None) -> Room:
    """Of a server that works, unless told otherwise."""
    room = Room(told, "llamacpp", model=model)
    room.unit("active")
    room.activity(cores, connections)
    return room


def figure(room: Room, name: str) -> Reading:
    return room.state.hosts["spark"].reading(f"engine.{name}", "qwen")


# -- recorded pages ----------------------------------------------------------------------------------


def test_a_page_alone_tells_no_live_speed() -> None:
    """Its counters move when a request ends, its steps are no tokens: what running ones have made only the slots tell."""
    readings = LLAMA.parse(page("fresh"), page("busy", 10.0))
    assert readings["engine.running"].value == 2 and readings["engine.waiting"].value == 0
    assert readings["engine.decode_tok_s"].status is Status.UNKNOWN and readings["engine.prompt_tok_s"].status is Status.UNKNOWN
    assert readings["engine.itl_mean_seconds"].value == pytest.approx(0.163978 / 700)
    assert readings["engine.prefix_hit_ratio"].value == pytest.approx(3 / 286)
    assert readings["engine.accept_ratio"].status is Status.UNSUPPORTED
    assert readings["engine.ttft_p50_seconds"].status is Status.UNSUPPORTED
    assert "was not read" in readings["engine.kv_use_ratio"].reason


def test_a_counter_above_a_million_is_read_and_a_restart_is_no_speed() -> None:
    assert LLAMA.parse(None, page("over-1e6"))["engine.running"].value == 0
    again = LLAMA.parse(page("over-1e6"), page("fresh", 5.0))
    assert again["engine.decode_tok_s"].reason == "it restarted between two readings"


def test_prometheus_is_never_asked_for_steps() -> None:
    queries = LLAMA.queries("", Windows(speed=45, latency=60, hits=300))
    assert not any("n_decode" in query or "busy_slots" in query for query in queries.values())
    for name in ("decode_tok_s", "prompt_tok_s"):
        assert "[300s]" in queries[f"engine.{name}"] and "avg_over_time" in queries[f"engine.{name}"]


# -- speed -------------------------------------------------------------------------------------------


async def test_speed_is_of_the_counter_and_of_what_running_requests_have_made() -> None:
    told = server(metrics=metrics(tokens_predicted_total=700), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    assert (await room.poll()).phase is EnginePhase.READY
    assert figure(room, "decode_tok_s").reason == "a second reading is needed"
    assert (figure(room, "slots").value, figure(room, "running").value) == (2, 2)
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    await room.poll(1.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(2076 - 1499 + 2501 - 1924)
    # One ends: it goes over from its slot into the counter, with what it has made since. Another begins, and many short ones ended.
    slots = copy.deepcopy(recorded("llamacpp/slots.busy.1s-later.json"))
    slots[0]["id_task"], slots[0]["next_token"][0]["n_decoded"] = 300, 40
    slots[1]["next_token"][0]["n_decoded"] += 20
    told.routes["/slots"], told.routes["/metrics"] = slots, metrics(tokens_predicted_total=700 + 2100 + 6 * 12)
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == pytest.approx((24 + 72 + 40 + 20) / 2)


async def test_a_request_that_ends_between_the_two_answers_is_counted_once() -> None:
    pages = iter([metrics(tokens_predicted_total=0), metrics(tokens_predicted_total=0), metrics(tokens_predicted_total=130)])
    rows = iter([[slot(task=7, decoded=100)], [slot(task=8, decoded=10)]])
    told = server()

    class Late(pretend.Server):
        def __call__(self, request: Any) -> Any:
            path = request.url.path
            if path in ("/metrics", "/slots"):
                self.routes[path] = next(pages) if path == "/metrics" else next(rows)
            return super().__call__(request)

    late = Late()
    late.routes = told.routes
    room = room_of(late)
    await room.poll()
    await room.poll(2.0)  # task 7 is gone from its slot and not yet in the counter: it is asked again
    assert figure(room, "decode_tok_s").value == pytest.approx((130 - 100 + 10) / 2)
    assert late.asked.count("/metrics") == 3 and late.asked.count("/slots") == 2


async def test_when_the_last_request_ends_the_speed_is_zero_at_once() -> None:
    told = server(metrics=metrics(), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    await room.poll()
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    await room.poll(1.0)
    assert figure(room, "decode_tok_s").value and mode_view(room.state.hosts["spark"], room.mode).word == "busy"
    room.activity(0.0, 0)
    told.asked.clear()
    await room.poll(1.0)
    zero = ("decode_tok_s", "prompt_tok_s", "running", "waiting", "kv_use_ratio")
    assert {figure(room, name).fresh_value for name in zero} == {0.0}
    assert mode_view(room.state.hosts["spark"], room.mode).word == "resident"
    assert told.asked == ["/health"]
    # What was made meanwhile counts once work is seen again, and no more than that.
    told.routes["/metrics"], told.routes["/slots"] = metrics(tokens_predicted_total=700 + 2076 + 2501 + 60), []
    room.activity(1.0)
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(60 / 2)
    room.unit("inactive")
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value is None or figure(room, "decode_tok_s").status is not Status.FRESH


async def test_without_metrics_only_requests_that_last_are_known() -> None:
    told = server(metrics=NO_METRICS, slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    await room.poll()
    told.routes["/slots"] = recorded("llamacpp/slots.busy.1s-later.json")
    await room.poll(1.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(1154)
    assert figure(room, "waiting").status is Status.UNSUPPORTED and "--metrics" in figure(room, "waiting").reason
    slots = copy.deepcopy(recorded("llamacpp/slots.busy.1s-later.json"))
    slots[0]["id_task"] = 300
    told.routes["/slots"] = slots
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value is None and "begin or end between two looks" in figure(room, "decode_tok_s").reason
    slots = copy.deepcopy(slots)
    slots[0]["next_token"][0]["n_decoded"] += 30
    told.routes["/slots"] = slots
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(15)


async def test_without_slots_its_counters_tell_a_mean_and_nothing_of_a_request_that_goes_on() -> None:
    def at(done: float, seconds: float, running: int = 1) -> str:
        return metrics(tokens_predicted_total=done, tokens_predicted_seconds_total=seconds, requests_processing=running)

    told = server(metrics=at(0, 0), slots=NO_SLOTS)
    room = room_of(told)
    for look in range(30):
        told.routes["/metrics"] = at(look * 100, look * 2.0)  # a request of two seconds after the other
        await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(50, rel=0.05)
    for _ in range(20):
        await room.poll(2.0)  # and now one that takes long
    assert figure(room, "decode_tok_s").value is None and "--no-slots" in figure(room, "decode_tok_s").reason
    told.routes["/metrics"] = at(2900 + 2000, 58 + 40, running=0)
    for _ in range(2):
        await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == 0


async def test_slots_off_and_no_metrics_says_both() -> None:
    room = room_of(server(metrics=NO_METRICS, slots=NO_SLOTS))
    assert (await room.poll()).phase is EnginePhase.READY
    assert figure(room, "running").status is Status.UNSUPPORTED
    assert "--no-slots" in figure(room, "running").reason


async def test_what_props_says_is_not_there_is_not_tried() -> None:
    props = {**recorded("llamacpp/props.idle.json"), "endpoint_metrics": False}
    told = server(props=props, slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    await room.poll()
    assert "/metrics" not in told.asked and figure(room, "running").value == 2


# -- prompts -----------------------------------------------------------------------------------------


async def test_a_long_prompt_is_live_and_counted_once() -> None:
    """It counts batch by batch, each of which takes longer than a look; when it is done, its counter has it and the slot too."""
    counted, shown = 0, []
    told = server(metrics=metrics(prompt_tokens_total=0), slots=[])
    room = room_of(told)
    await room.poll()
    for look in range(1, 31):
        done = min(8192, 2048 * (look // 3))  # a batch every six seconds
        counted = 8192 if done == 8192 else 0
        told.routes["/metrics"] = metrics(prompt_tokens_total=counted)
        told.routes["/slots"] = [slot(decoded=int(done == 8192), read=done)]
        await room.poll(2.0)
        shown.append(figure(room, "prompt_tok_s"))
    before, live, after = shown[:2], shown[2:12], shown[12:]
    assert all(r.value is None and "batch" in r.reason for r in before)
    assert all(r.value == pytest.approx(2048 / 6, rel=0.25) for r in live), [r.value for r in live]
    assert all(r.value == 0 for r in after)


def test_between_two_batches_the_speed_is_the_last_and_no_more_than_can_be() -> None:
    steps = Steps()
    assert steps.feed(0, 0, False) is None and steps.feed(2, 0, False) == 0
    assert steps.feed(4, 0, True) is None and steps.feed(7, 2000, True) == pytest.approx(2000 / 4)  # it began at 3
    assert steps.feed(9, 2000, True) == pytest.approx(500)
    assert steps.feed(15, 2000, True) == pytest.approx(250)  # the next batch takes twice as long, if not longer
    assert steps.feed(20, 2000, True) is None
    assert steps.feed(27, 4000, True) == pytest.approx(2000 / 20)
    assert steps.feed(29, 4000, False) == 0
    assert steps.feed(31, 500, False) is None  # it was started anew


# -- cache -------------------------------------------------------------------------------------------

FOUR = [slot(n, n, decoded=10, held=1000) for n in range(4)]


@pytest.mark.parametrize(("shared", "shown"), [(True, 4000 / 4096), (False, 1000 / 4096), (None, None)])
async def test_slots_that_share_a_cache_fill_it_together(shared: bool | None, shown: float | None) -> None:
    room = room_of(server(metrics=metrics(), slots=FOUR))
    room.activity(1.0, shared_cache=shared)
    await room.poll()
    kv = figure(room, "kv_use_ratio")
    assert kv.value == (None if shown is None else pytest.approx(shown))
    assert shown is not None or kv.reason == "24 to 98 %: whether its slots share one cache is not known"


async def test_where_one_slot_works_it_is_all_the_same_whose_cache_it_is() -> None:
    told = server(metrics=metrics(), slots=FOUR[:1])
    room = room_of(told)
    await room.poll()
    assert figure(room, "kv_use_ratio").value == pytest.approx(1000 / 4096)


# -- sleep -------------------------------------------------------------------------------------------


async def looks(told: pretend.Server, room: Room, seconds: float = 60.0) -> list[str]:
    """What is asked in that time."""
    told.asked.clear()
    for _ in range(round(seconds / 2)):
        await room.poll(2.0)
    return told.asked


@pytest.mark.parametrize("with_metrics", [True, False])
async def test_one_that_rests_is_not_asked_what_would_keep_it_awake(with_metrics: bool) -> None:
    told = server(metrics=metrics() if with_metrics else NO_METRICS, slots=recorded("llamacpp/slots.idle.json"))
    room = room_of(told, cores=0.0, connections=0)
    asked = await looks(told, room)
    assert not {"/metrics", "/slots"} & set(asked)
    assert figure(room, "running").value == 0 and figure(room, "decode_tok_s").value == 0
    room.activity(0.0, 1)  # somebody keeps a connection open, and its process does nothing
    asked = await looks(told, room)
    assert not {"/metrics", "/slots"} & set(asked)
    assert mode_view(room.state.hosts["spark"], room.mode).word == "resident"


@pytest.mark.parametrize("with_metrics", [True, False])
async def test_a_sleeping_server_is_never_woken(with_metrics: bool) -> None:
    told = server(
        metrics=metrics() if with_metrics else NO_METRICS,
        slots=recorded("llamacpp/slots.idle.json"),
        props=recorded("llamacpp/props.sleeping.json"),
    )
    for cores, connections in ((0.0, 0), (0.0, 2), (1.0, None), (None, 0), (None, None)):
        room = room_of(told, cores=cores, connections=connections)
        asked = await looks(told, room, 30)
        engine = room.state.hosts["spark"].engines["qwen"]
        assert engine.phase is EnginePhase.ASLEEP and engine.wakes and "next request" in engine.reason
        assert not {"/metrics", "/slots"} & set(asked), (cores, connections)
        view = mode_view(room.state.hosts["spark"], room.mode)
        assert (view.heat, view.word) == (Heat.HOT, "asleep")


async def test_one_that_has_fallen_asleep_since_is_asked_first_whether_it_has() -> None:
    told = server(metrics=metrics(requests_processing=0), slots=recorded("llamacpp/slots.idle.json"))
    room = room_of(told)
    await room.poll()
    assert "/metrics" in told.asked
    room.activity(0.0, 0)
    await room.poll(2.0)
    told.routes["/props"] = recorded("llamacpp/props.sleeping.json")
    room.clock.passed += 20
    room.activity(0.5)  # its memory is given back
    told.asked.clear()
    assert (await room.poll(2.0)).phase is EnginePhase.ASLEEP
    assert "/props" in told.asked and not {"/metrics", "/slots"} & set(told.asked)


@pytest.mark.parametrize(
    ("cores", "connections", "why"),
    [
        (0.0, 1, "to ask whether a request waits could keep it awake"),
        (None, 3, "it runs on another machine"),
        (None, None, "it runs on"),
    ],
)
async def test_where_it_cannot_be_known_whether_it_works_that_is_said(
    cores: float | None, connections: int | None, why: str
) -> None:
    told = server(metrics=metrics(), slots=recorded("llamacpp/slots.busy.json"))
    room = room_of(told)
    room.activity(cores, connections, reason="it runs on another machine")
    await room.poll()
    assert figure(room, "running").value is None and why in figure(room, "running").reason
    assert not {"/metrics", "/slots"} & set(told.asked)
    assert mode_view(room.state.hosts["spark"], room.mode).word == "hot"


@pytest.mark.parametrize("sleepless", ["by its command line", "by its build"])
async def test_one_that_never_sleeps_has_its_figures_wherever_it_runs(sleepless: str) -> None:
    props = recorded("llamacpp/props.idle.json")
    if sleepless == "by its build":
        del props["is_sleeping"]
    told = server(metrics=metrics(), slots=recorded("llamacpp/slots.busy.json"), props=props)
    room = Room(told, "llamacpp", model=MODEL)
    room.unit("active")
    if sleepless == "by its command line":
        room.activity(None, None, sleeps_after_seconds=0)
    await room.poll()
    assert figure(room, "running").value == 2


async def test_a_request_that_stalls_a_server_that_never_sleeps_is_seen() -> None:
    told = server(metrics=metrics(requests_processing=1), slots=FOUR[:1])
    room = room_of(told, cores=0.0, connections=1)
    room.activity(0.0, 1, sleeps_after_seconds=0)
    await room.poll()
    assert figure(room, "running").value == 1


def test_it_is_asked_until_its_work_is_known_to_have_ended() -> None:
    rests = Activity(0.0, 1)
    one = Server(working=True)
    assert one.move(Activity(1.0), "", 0)[0] is Move.ASK and one.move(rests, "", 2)[0] is Move.ASK
    one.take({}, None, "d", "p", 0.0, 2.0)
    assert one.move(rests, "", 4)[0] is Move.REST and one.move(Activity(0.0, 0), "", 6)[0] is Move.REST
    assert one.move(Activity(0.1), "", 8)[0] is Move.ASK and one.move(rests, "", 10)[0] is Move.LEAVE


async def test_what_was_made_last_is_asked_for_once_and_soon() -> None:
    told = server(metrics=metrics(tokens_predicted_total=0, requests_processing=0), slots=[])
    room = room_of(told)
    await room.poll()
    told.routes["/metrics"] = metrics(tokens_predicted_total=30, requests_processing=0)
    room.activity(0.0, 0, worked_at=room.clock.now() + timedelta(seconds=1))
    await room.poll(2.0)
    assert figure(room, "decode_tok_s").value == pytest.approx(15)
    told.asked.clear()
    for _ in range(5):
        await room.poll(2.0)
    assert not {"/metrics", "/slots"} & set(told.asked) and figure(room, "decode_tok_s").value == 0
    room.activity(0.0, 0, worked_at=room.clock.now())  # it is told late: to ask now would put its sleep off
    await room.poll(8.0)
    assert not {"/metrics", "/slots"} & set(told.asked)


async def test_props_is_asked_when_it_is_expected_to_fall_asleep() -> None:
    told = server(metrics=metrics(), slots=[])
    room = room_of(told)
    room.activity(1.0, sleeps_after_seconds=60)
    await room.poll()
    told.asked.clear()
    seen = []
    room.activity(0.0, 0, sleeps_after_seconds=60)
    for _ in range(40):
        before = told.asked.count("/props")
        await room.poll(2.0)
        seen.append(told.asked.count("/props") - before)
    first = 2 * (seen.index(1) + 1)
    assert 60 <= first <= 64


async def test_an_idle_one_is_hardly_asked_anything() -> None:
    told = server(metrics=metrics(), slots=recorded("llamacpp/slots.idle.json"))
    room = room_of(told)
    await room.poll()
    told.asked.clear()
    room.activity(0.0, 0, sleeps_after_seconds=0)
    for _ in range(90):
        await room.poll(2.0)
    rest = [path for path in told.asked if path != "/health"]
    assert len(told.asked) - len(rest) <= 90 and len(rest) <= 7, rest


async def test_our_own_questions_leave_no_connection_open() -> None:
    told = server(metrics=metrics(), slots=[])
    room = room_of(told, cores=0.0, connections=0)
    await room.poll()
    assert {r.headers["connection"] for r in told.requests} == {"close"}


# -- state -------------------------------------------------------------------------------------------


async def test_loading_is_starting_and_then_ready_with_context_and_build() -> None:
    told = pretend.Server(health=(503, recorded("llamacpp/health.loading.503.json")))
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
    assert engine.phase is EnginePhase.READY and "key" in engine.reason
    assert "key" in figure(room, "running").reason and figure(room, "running").status is Status.UNKNOWN
    room.activity(0.0, 0)
    await room.poll()
    assert figure(room, "running").value == 0  # that nothing runs is known without a key


async def test_speculation_is_of_the_window() -> None:
    def drafted(tokens: int, accepted: int, drafts: int) -> str:
        return metrics(
            spec_decode_num_draft_tokens_total=tokens,
            spec_decode_num_accepted_tokens_total=accepted,
            spec_decode_num_drafts_total=drafts,
        )

    told = server(metrics=drafted(100, 90, 0), slots=[])
    room = room_of(told)
    await room.poll()
    told.routes["/metrics"] = drafted(160, 105, 20)
    await room.poll(5.0)
    assert figure(room, "accept_ratio").value == pytest.approx(15 / 60)
    assert figure(room, "accept_length").value == pytest.approx(1 + 15 / 20)


# -- router ------------------------------------------------------------------------------------------


def router(state: str, port: int | None = 4001, **routes: Any) -> pretend.Server:
    models = copy.deepcopy(recorded(f"llamacpp/router.models.{state}.json"))
    if port is not None:
        models["data"][0]["status"]["args"] = ["llama-server", "--api-key", "secret", "--port", str(port)]
    return pretend.Server(
        health=recorded("llamacpp/health.ready.200.json"), props=recorded("llamacpp/router.props.json"), models=models, **routes
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


@pytest.mark.parametrize("with_metrics", [True, False])
async def test_a_router_is_asked_only_about_what_is_loaded_and_never_so_that_it_loads(with_metrics: bool) -> None:
    told = router("loaded", slots=recorded("llamacpp/slots.busy.json"), metrics=metrics() if with_metrics else NO_METRICS)
    room = room_of(told, "")
    room.activity(1.0, at="127.0.0.1:4001")
    for _ in range(4):
        await room.poll()
    named = [r for r in told.requests if r.url.params.get("model")]
    assert named and {r.url.params["model"] for r in named} == {"small-llama"}
    assert {r.url.params.get("autoload") for r in named} == {"false"}
    assert all(r.url.params.get("model") for r in told.requests if r.url.path in ("/metrics", "/slots"))
    assert figure(room, "running").value == 2 and figure(room, "decode_tok_s").fresh_value == 0


async def test_a_routers_model_that_rests_is_left_in_peace_while_another_works() -> None:
    told = router("loaded", slots=recorded("llamacpp/slots.busy.json"), metrics=metrics())
    told.routes["/models"]["data"][1]["status"] = {"value": "loaded", "args": ["llama-server", "--port", "4002"]}
    room = room_of(told, "")
    room.activity(1.0, at="127.0.0.1:4001")
    room.activity(0.0, 0, at="127.0.0.1:4002")
    for _ in range(10):
        await room.poll(2.0)
    named = {r.url.params["model"] for r in told.requests if r.url.params.get("model")}
    assert named == {"small-llama"}
    assert figure(room, "running").value == 2
    room.activity(0.0, 0, at="127.0.0.1:4001")
    await room.poll(2.0)
    assert figure(room, "running").value == 0 and figure(room, "decode_tok_s").value == 0


async def test_a_router_that_holds_nothing_does_nothing() -> None:
    room = room_of(router("unloaded"), "", cores=0.0, connections=0)
    await room.poll()
    assert (figure(room, "running").value, figure(room, "decode_tok_s").value) == (0, 0)


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
