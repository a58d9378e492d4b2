"""Readiness of vLLM and SGLang, and the source that asks for it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from sovtui.adapters.engines.base import Past, cause, progress
from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.registry import load_engine
from sovtui.core.events import EngineSeen, LinkChanged, Sample, Samples
from sovtui.core.model import Engine, EnginePhase, HostSpec, Link, LinkPhase, Mode
from sovtui.core.modes import Heat, mode_view
from sovtui.core.reading import Status, fresh
from sovtui.core.state import initial, reduce
from sovtui.ports.errors import NotYet, Unreachable
from tests.adapters.engines.pretend import MODELS, Room, Server, recorded

DATA = Path(__file__).parents[2] / "data"


async def test_vllm_ready_with_version_and_context_and_few_questions() -> None:
    server = Server(health=200, v1__models=MODELS, version={"version": "0.32.0"})
    past = Past()
    vllm = load_engine("vllm")
    http = server.client()
    told = await vllm.probe(http, "qwen", past, 0.0)
    assert told == Engine(EnginePhase.READY, ("qwen",), 32768, "0.32.0")
    server.asked.clear()
    await vllm.probe(http, "qwen", past, 2.0)
    assert server.asked == ["/health"]  # each request is a line in its journal
    server.asked.clear()
    await vllm.probe(http, "qwen", past, 50.0)
    assert server.asked == ["/health"]
    server.asked.clear()
    await vllm.probe(http, "qwen", past, 61.0)
    assert sorted(server.asked) == ["/health", "/v1/models"]


IDLE, LOADED = (recorded(f"vllm/0.32.0-{name}.prom") for name in ("idle", "load-t5"))


def moved(tokens: int, running: int = 1) -> str:
    """The page of a vLLM that works."""
    page = re.sub(r"(?m)^(vllm:generation_tokens_total\{.*\}) \S+$", rf"\g<1> {tokens}", LOADED)
    return re.sub(r"(?m)^(vllm:num_requests_running\{.*\}) \S+$", rf"\g<1> {running}", page)


async def test_vllm_is_asked_one_thing_a_look_and_its_process_is_proved_all_the_same() -> None:
    """Idle, its page and its health take turns; new tokens prove its engine process without them; without those it is asked."""
    server = Server(health=200, v1__models=MODELS, version={"version": "0.32.0"}, metrics=IDLE)
    room = Room(server)
    room.unit("active")
    await room.poll()
    server.asked.clear()
    for _ in range(20):
        assert (await room.poll()).phase is EnginePhase.READY
    assert len(server.asked) == 20 and server.asked.count("/metrics") == 10
    for look in range(20):
        server.routes["/metrics"] = moved(5000 + 50 * look)
        server.asked.clear()
        assert (await room.poll()).phase is EnginePhase.READY
        assert look < 3 or set(server.asked) <= {"/metrics", "/v1/models"}
    assert room.state.hosts["spark"].reading("engine.decode_tok_s", "qwen").value == pytest.approx(25)
    server.asked.clear()
    for _ in range(10):  # it still runs, and not a token comes
        await room.poll()
    assert server.asked.count("/metrics") == 10 and server.asked.count("/health") == 5
    server.routes["/health"] = 503
    phases = [(await room.poll()).phase for _ in range(3)]
    assert phases[-2:] == [EnginePhase.DEAD, EnginePhase.DEAD]  # within four seconds, and it stays


@pytest.mark.parametrize("page", [IDLE, LOADED])
async def test_a_vllm_that_refuses_is_dead_after_two_looks_whatever_was_asked(page: str) -> None:
    for looks in range(1, 5):
        server = Server(health=200, v1__models=MODELS, metrics=page)
        room = Room(server)
        room.unit("active")
        for _ in range(looks):
            await room.poll()
        server.up = False
        assert [(await room.poll()).phase for _ in range(2)] == [EnginePhase.UNKNOWN, EnginePhase.DEAD]


async def test_a_vllm_of_another_process_or_model_is_asked_what_it_serves() -> None:
    server = Server(health=200, v1__models=MODELS, metrics=LOADED)
    room = Room(server)
    room.unit("active")
    for _ in range(4):
        await room.poll()
    server.asked.clear()
    for change in (("1.79518157846e+09", "1.79518159999e+09"), ("small-qwen2", "another")):
        server.routes["/metrics"] = server.routes["/metrics"].replace(*change)
        await room.poll()
        await room.poll()
    assert server.asked.count("/v1/models") == 2
    server.up = False
    await room.poll()
    server.up = True
    server.routes["/v1/models"] = {"data": [{"id": "another"}]}
    assert (await room.poll()).phase is EnginePhase.WRONG_MODEL  # after a silence it may be anybody


async def test_in_development_mode_the_engine_process_itself_is_asked() -> None:
    server = Server(
        health=200, v1__models=MODELS, version={"version": "0.32.0"}, is_sleeping={"is_sleeping": False}, metrics=IDLE
    )
    room = Room(server)
    room.unit("active")
    await room.poll()
    server.asked.clear()
    for _ in range(20):
        await room.poll()
    assert {path: server.asked.count(path) for path in set(server.asked)} == {"/is_sleeping": 20, "/metrics": 10}
    server.routes["/is_sleeping"] = {"is_sleeping": True}
    assert [(await room.poll()).phase for _ in range(2)] == [EnginePhase.ASLEEP] * 2
    server.slow.add("/is_sleeping")  # its engine process is stuck, and `/health` says 200
    phases = [(await room.poll()).phase for _ in range(8)]
    assert phases[-1] is EnginePhase.HUNG


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
async def test_a_page_that_cannot_be_read_makes_no_dead_engine(engine: str) -> None:
    server = Server(health=200, ping=200, ready=200, v1__models=MODELS)
    server.routes["/metrics"] = f"{engine}:num_{'requests_running' if engine == 'vllm' else 'running_reqs'}{{a= 3"
    room = Room(server, engine)
    room.unit("active")
    for _ in range(8):
        assert (await room.poll()).phase is EnginePhase.READY
    assert "cannot be read" in room.state.hosts["spark"].reading("engine.running", "qwen").reason


async def test_a_page_that_is_not_there_is_asked_for_once() -> None:
    server = Server(health=200, ping=200, v1__models=MODELS)
    room = Room(server, "sglang")
    room.unit("active")
    for _ in range(10):
        await room.poll()
    assert server.asked.count("/metrics") == 1
    reading = room.state.hosts["spark"].reading("engine.running", "qwen")
    assert reading.status is Status.UNSUPPORTED and "--enable-metrics" in reading.reason


async def test_sglang_is_asked_one_thing_a_look() -> None:
    page = recorded("sglang/reconstructed-0.5.23-load-t5.prom")
    server = Server(ready=200, ping=200, v1__models=MODELS, server_info={"version": "0.5.23"}, metrics=page)
    room = Room(server, "sglang")
    room.unit("active")
    await room.poll()
    server.asked.clear()
    for _ in range(30):
        await room.poll()
    assert {path: server.asked.count(path) for path in set(server.asked)} == {"/metrics": 30, "/ready": 2, "/v1/models": 1}


async def test_vllm_asleep_answers_health_and_would_hang() -> None:
    server = Server(health=200, v1__models=MODELS, is_sleeping={"is_sleeping": True})
    assert (await load_engine("vllm").probe(server.client(), "qwen", Past(), 0.0)).phase is EnginePhase.ASLEEP


@pytest.mark.parametrize("status", [500, 503])
async def test_vllm_whose_engine_process_died(status: int) -> None:
    server = Server(health=status, v1__models=MODELS)
    told = await load_engine("vllm").probe(server.client(), "qwen", Past(ready=True), 0.0)
    assert told.phase is EnginePhase.DEAD and str(status) in told.reason


async def test_sglang_warms_up_then_is_ready_then_is_asked_rarely() -> None:
    server = Server(health=503, v1__models=MODELS, server_info={"version": "0.5.9"}, ping=200)
    past, sglang, http = Past(), load_engine("sglang"), server.client()
    assert (await sglang.probe(http, "qwen", past, 0.0)).phase is EnginePhase.WARMING
    server.routes["/health"] = 200
    told = await sglang.probe(http, "qwen", past, 2.0)
    assert told.phase is EnginePhase.READY and told.version == "0.5.9"
    server.asked.clear()
    for second in range(4, 32, 2):
        await sglang.probe(http, "qwen", past, float(second))
    assert "/health" not in server.asked and "/ready" not in server.asked
    await sglang.probe(http, "qwen", past, 33.0)
    assert server.asked.count("/health") == 1


async def test_sglang_stuck_before_and_after_it_was_ready() -> None:
    server = Server(health=200, v1__models=MODELS, ping=200)
    server.slow.add("/health")
    past, sglang, http = Past(), load_engine("sglang"), server.client()
    assert (await sglang.probe(http, "qwen", past, 0.0)).phase is EnginePhase.WARMING
    server.asked.clear()
    assert (await sglang.probe(http, "qwen", past, 2.0)).phase is EnginePhase.WARMING
    assert "/health" not in server.asked  # a hanging one is not asked again at once
    server.slow.clear()
    assert (await sglang.probe(http, "qwen", past, 12.0)).phase is EnginePhase.READY
    server.routes["/health"] = 503
    told = await sglang.probe(http, "qwen", past, 43.0)
    assert told.phase is EnginePhase.HUNG and "503" in told.reason


async def test_sglang_of_the_newest_is_asked_cheaply() -> None:
    server = Server(ready=200, v1__models=MODELS)
    assert (await load_engine("sglang").probe(server.client(), "qwen", Past(), 0.0)).phase is EnginePhase.READY
    assert "/health" not in server.asked


async def test_a_stopped_engine_is_not_asked_at_all() -> None:
    server = Server()
    room = Room(server)
    for active in ("inactive", "failed", "missing"):
        room.unit(active)
        assert (await room.poll()).phase is EnginePhase.ABSENT
    assert not server.asked


async def test_a_life_from_start_to_death() -> None:
    server = Server(health=200, v1__models=MODELS, metrics=(DATA / "vllm/0.32.0-load-t5.prom").read_text())
    room = Room(server)
    server.up = False
    room.unit("active")
    assert (await room.poll()).phase is EnginePhase.STARTING
    server.up = True
    assert (await room.poll()).phase is EnginePhase.READY
    reading = room.state.hosts["spark"].reading("engine.running", "qwen")
    assert (reading.value, reading.source) == (8, "engine")
    server.up = False
    told = await room.poll()
    assert told.phase is EnginePhase.UNKNOWN and "just stopped" in told.reason  # perhaps a stop that is on its way
    told = await room.poll()
    assert told.phase is EnginePhase.DEAD and "was ready" in told.reason
    assert room.state.hosts["spark"].reading("engine.running", "qwen").value is None
    room.unit("deactivating")
    assert (await room.poll()).phase is EnginePhase.ABSENT
    room.unit("active", main_pid=200)  # started anew: it was never ready in this life
    assert (await room.poll()).phase is EnginePhase.STARTING


async def test_a_silence_is_a_hang_until_the_next_answer() -> None:
    server = Server(health=200, v1__models=MODELS)
    room = Room(server, told=lambda host, mode: True)
    room.unit("active")
    await room.poll()
    server.slow.add("/health")
    told = [await room.poll() for _ in range(3)]
    assert [one.phase for one in told] == [EnginePhase.HUNG] * 3 and len({one.reason for one in told}) == 1
    server.slow.clear()
    assert (await room.poll()).phase is EnginePhase.READY


async def test_a_lost_link_is_no_dead_engine() -> None:
    server = Server(health=200, v1__models=MODELS)
    room = Room(server)
    room.unit("active")
    assert (await room.poll()).phase is EnginePhase.READY
    server.up = False
    room.link(LinkPhase.DOWN)
    for _ in range(3):
        with pytest.raises(Unreachable):
            await room.poll()
    room.link(LinkPhase.CONNECTING)
    for _ in range(3):
        with pytest.raises(NotYet):
            await room.source.poll(room.state, room._put)
        assert room.state.hosts["spark"].engines["qwen"].phase is EnginePhase.READY, "what was last known of it"
    server.up = True
    room.link(LinkPhase.UP)
    assert (await room.poll()).phase is EnginePhase.READY


async def test_an_engine_that_fell_silent_with_the_link_is_what_it_last_was() -> None:
    server = Server(health=200, v1__models=MODELS)
    room = Room(server, told=lambda host, mode: True)
    room.unit("active")
    ready = await room.poll()
    server.slow.add("/health")
    phases = [(await room.poll()).phase for _ in range(4)]
    assert phases[-1] is EnginePhase.HUNG, "nobody knows yet that it is the link"
    room.link(LinkPhase.DOWN)
    with pytest.raises(Unreachable):
        await room.poll()
    told = room.state.hosts["spark"].engines["qwen"]
    assert (told.phase, told.models, told.at, told.reason) == (EnginePhase.READY, ready.models, ready.at, "the link is down")
    room.link(LinkPhase.UP)
    assert (await room.poll()).phase is EnginePhase.HUNG, "now it is asked over a link that stands"


async def test_an_engine_that_hung_long_before_the_link_went_stays_so() -> None:
    server = Server(health=200, v1__models=MODELS)
    room = Room(server, told=lambda host, mode: True)
    room.unit("active")
    await room.poll()
    server.slow.add("/health")
    for _ in range(4):
        await room.poll(10.0)
    room.link(LinkPhase.DOWN)
    with pytest.raises(Unreachable):
        await room.poll()
    assert room.state.hosts["spark"].engines["qwen"].phase is EnginePhase.HUNG


async def test_no_figures_are_read_where_prometheus_has_fresh_ones() -> None:
    server = Server(health=200, v1__models=MODELS, metrics="")
    room = Room(server)
    room.unit("active")

    def told(running: float) -> None:
        reading = fresh(running, room.clock.now() + timedelta(seconds=2), "prometheus")
        room.state = reduce(room.state, Samples("spark", (Sample("engine.running", reading, "qwen"),)))

    told(0.0)
    await room.poll()
    assert "/metrics" not in server.asked
    told(1.0)
    await room.poll()
    assert "/metrics" in server.asked, "it works: that the work has ended is not to be told a scrape later"
    server.asked.clear()
    stale = replace(room.state.hosts["spark"].reading("engine.running", "qwen"), status=Status.STALE)
    host = room.state.hosts["spark"]
    room.state = replace(room.state, hosts={"spark": replace(host, figures={("engine.running", "qwen"): stale})})
    await room.poll()
    await room.poll()
    assert sorted(server.asked) == ["/health", "/metrics"], "while it idles they take turns"


async def test_speed_from_two_direct_readings() -> None:
    server = Server(health=200, v1__models=MODELS, metrics=(DATA / "vllm/0.32.0-load-t0.prom").read_text())
    room = Room(server)
    room.unit("active")
    await room.poll()
    server.routes["/metrics"] = (DATA / "vllm/0.32.0-load-t5.prom").read_text()
    await room.poll(5.0)
    host = room.state.hosts["spark"]
    assert host.reading("engine.decode_tok_s", "qwen").value == pytest.approx(1048 / 5)
    for _ in range(40):
        await room.poll(10.0)
    watched = room.source._watched[0]
    assert len(watched.scrapes) <= 34  # five minutes, one in ten seconds
    assert host.reading("engine.running", "qwen").value == 8


async def test_sleep_is_seen_in_the_metrics_without_development_mode() -> None:
    server = Server(health=200, v1__models=MODELS, metrics=(DATA / "vllm/0.32.0-asleep-level1.prom").read_text())
    room = Room(server)
    room.unit("active")
    assert (await room.poll()).phase is EnginePhase.ASLEEP


async def test_metrics_that_are_switched_off_say_so() -> None:
    room = Room(Server(health=200, v1__models=MODELS, ping=200), "sglang")
    room.unit("active")
    assert (await room.poll()).phase is EnginePhase.READY
    reading = room.state.hosts["spark"].reading("engine.running", "qwen")
    assert reading.status is Status.UNSUPPORTED and "--enable-metrics" in reading.reason


async def test_an_engine_without_services_can_be_absent_dead_hung_and_started_again() -> None:
    server = Server(health=200, v1__models=MODELS)
    server.up = False
    room = Room(server, services=False)
    told = await room.poll()
    assert told.phase is EnginePhase.ABSENT, "never seen: nothing listens"
    server.up = True
    assert (await room.poll()).phase is EnginePhase.READY
    server.up = False
    told = await room.poll()
    assert told.phase is EnginePhase.DEAD and told.reason == "it was ready and nothing listens any more: it has ended"
    view = mode_view(room.state.hosts["spark"], room.mode)
    assert (view.heat, view.word) == (Heat.BROKEN, "dead")
    server.up = True
    assert (await room.poll()).phase is EnginePhase.READY
    server.slow.add("/health")
    told = await room.poll()
    assert told.phase is EnginePhase.HUNG and mode_view(room.state.hosts["spark"], room.mode).word == "hung"


async def test_one_that_ended_before_another_mode_came_up_is_no_dead_one() -> None:
    """Started by hand, one after the other: the first one's end was wanted."""
    servers = {8000: Server(health=200, v1__models=MODELS), 8001: Server(health=200, v1__models=MODELS)}
    servers[8001].up = False
    modes = tuple(Mode(f"m{port}", engine="vllm", url=f"http://127.0.0.1:{port}") for port in servers)
    room = Room(servers[8000])
    room.state = initial((HostSpec("spark", modes=modes),), room.clock.now())
    room.link(LinkPhase.UP)

    def client(base: str, mode: str) -> httpx.AsyncClient:
        return servers[int(base[-4:])].client(base)

    room.source = EnginesSource("spark", modes, {"vllm": load_engine("vllm")}, client, room.clock)

    async def phases() -> tuple[str, ...]:
        await room.poll()
        return tuple(str(room.state.hosts["spark"].engines[mode.name].phase) for mode in modes)

    assert await phases() == ("ready", "absent")
    servers[8000].up = False
    assert await phases() == ("dead", "absent")
    servers[8001].up = True
    await phases()
    assert await phases() == ("absent", "ready")
    assert room.state.hosts["spark"].engines["m8000"].reason == "it ended, and m8001 runs now"


async def test_what_its_unknown_units_cannot_hide() -> None:
    """The host tells no units, or not yet: that the engine is dead or hangs is seen at its port."""
    server = Server(health=200, v1__models=MODELS)
    room = Room(server)
    assert (await room.poll()).phase is EnginePhase.READY
    server.slow.add("/health")
    assert (await room.poll()).phase is EnginePhase.HUNG
    assert mode_view(room.state.hosts["spark"], room.mode).word == "hung"
    server.slow.clear()
    await room.poll()
    server.up = False
    assert [(await room.poll()).phase for _ in range(2)] == [EnginePhase.UNKNOWN, EnginePhase.DEAD]
    assert mode_view(room.state.hosts["spark"], room.mode).word == "dead"


async def test_units_that_are_not_known_make_no_dead_engine() -> None:
    server = Server()
    server.up = False
    assert (await Room(server).poll()).phase is EnginePhase.UNKNOWN


async def test_an_engine_without_an_adapter_is_ready_by_its_model() -> None:
    server = Server(v1__models=MODELS)
    room = Room(server, "something")
    room.unit("active")
    assert (await room.poll()).phase is EnginePhase.READY and server.asked == ["/v1/models"]


def test_words_of_the_journal() -> None:
    lines = (DATA / "vllm/reconstructed-gpu-startup-0.33.0.log").read_text().splitlines()
    said = [words for line in lines if (words := progress(line))]
    assert said and len(set(said)) > 4
    failed = (DATA / "vllm/0.32.0-fail-kv-cache-too-small.log").read_text().splitlines()
    assert "max-model-len" in cause(failed)
    assert "port" in cause((DATA / "vllm/0.32.0-fail-port-in-use.log").read_text().splitlines())
    assert cause(["all is well"]) == ""


async def test_busy_ends_with_the_last_request_though_averages_and_scrapes_go_on() -> None:
    """Prometheus has told three running and a speed; the engine itself says that nothing runs any more."""
    page = (DATA / "vllm/0.32.0-load-t5.prom").read_text()
    idle = "\n".join(
        line.rsplit(" ", 1)[0] + " 0.0" if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{")) else line
        for line in page.splitlines()
    )
    room = Room(Server(health=200, v1__models=MODELS, metrics=idle), told=lambda host, mode: True)
    room.unit("active")

    def busy() -> bool | None:
        return mode_view(room.state.hosts["spark"], room.mode).busy

    await room.poll()
    assert busy() is None
    told = (("engine.running", 3.0), ("engine.decode_tok_s", 58.0))
    samples = tuple(Sample(figure, fresh(value, room.clock.now(), "prometheus"), "qwen") for figure, value in told)
    room.state = reduce(room.state, Samples("spark", samples))
    assert busy() is True
    for _ in range(2):
        await room.poll()
    assert busy() is False
    decode = Samples("spark", (Sample("engine.decode_tok_s", fresh(40.0, room.clock.now(), "prometheus"), "qwen"),))
    room.state = reduce(room.state, decode)
    assert busy() is False, "what is averaged over a window says nothing of now"


def test_where_nobody_counts_requests_tokens_tell_whether_it_is_busy() -> None:
    room = Room(Server())
    room.unit("active")
    room.state = reduce(room.state, EngineSeen("spark", "qwen", Engine(EnginePhase.READY)))
    for value, busy in ((12.0, True), (0.0, False)):
        room.clock.passed += 1
        samples = (Sample("engine.decode_tok_s", fresh(value, room.clock.now(), "engine"), "qwen"),)
        room.state = reduce(room.state, Samples("spark", samples))
        assert mode_view(room.state.hosts["spark"], room.mode).busy is busy


async def test_an_engine_that_has_been_up_for_hours_and_does_not_answer_is_not_starting() -> None:
    server = Server(health=200, v1__models=MODELS)
    server.up = False
    room = Room(server, told=lambda host, mode: True)
    room.unit("active", since=room.clock.now() - timedelta(hours=3))
    with pytest.raises(NotYet, match="asked again"):
        await room.source.poll(room.state, room._put)
    told = await room.poll()
    assert (told.phase, told.reason) == (EnginePhase.DEAD, "it has been up for 3 h, and nothing listens on its port")
    await room.source.poll(room.state, room._put)  # that is an answer


async def test_an_engine_that_may_still_be_starting_is() -> None:
    server = Server(health=200, v1__models=MODELS)
    server.up = False
    room = Room(server)
    room.unit("active", since=room.clock.now() - timedelta(minutes=10))
    for _ in range(5):
        assert (await room.poll()).phase is EnginePhase.STARTING


async def test_while_a_lost_link_is_tried_again_its_engines_are_not_called_well() -> None:
    room = Room(Server(health=200, v1__models=MODELS))
    room.unit("active")
    await room.poll()
    room.state = reduce(room.state, LinkChanged("spark", Link(LinkPhase.CONNECTING, reason="no answer", since=room.clock.now())))
    with pytest.raises(Unreachable, match="spark is not reached: no answer"):
        await room.source.poll(room.state, room._put)
