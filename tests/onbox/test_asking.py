"""Each engine is asked its own way: over real HTTP what it says of itself, and in a whole switch whether that proves it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import asking, judge, load, web
from sovtui.onbox.plan import ModePlan
from sovtui.onbox.things import Answer, Probe, Unit
from sovtui.onbox.words import Looked
from tests.onbox.world import World, box, play, request

DATA = Path(__file__).parents[1] / "data"
Routes = dict[str, tuple[int, str]]


def recorded(path: str) -> tuple[int, str]:
    return 200, (DATA / path).read_text()


ROUTES: dict[str, Routes] = {
    "llamacpp": {"/health": recorded("llamacpp/health.ready.200.json"), "/v1/models": recorded("llamacpp/v1-models.json")},
    "ollama": {"/api/version": recorded("ollama/api-version.json"), "/api/tags": recorded("ollama/api-tags.json")},
    "litellm": {
        "/health/liveliness": recorded("litellm/health-liveliness.json"),
        "/v1/models": recorded("litellm/v1-models.json"),
    },
    "llamaswap": {"/health": (200, "OK"), "/v1/models": recorded("llamaswap/v1-models.json")},
    "comfyui": {"/system_stats": recorded("comfyui/system_stats.gb10.reconstructed.json")},
}
MODELS = {"llamacpp": "small-llama", "ollama": "qwen3:8b", "litellm": "chat-pool", "llamaswap": "chat", "comfyui": ""}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    routes: Routes
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, body = self.server.routes.get(self.path, (404, "not found"))
        self._answer(status, body)

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(self.path)
        self._answer(200, json.dumps({"choices": [{"text": "1"}], "model": wanted["model"]}))

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.routes = {}
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def seen(mode: ModePlan, answer: Answer) -> Looked:
    units = tuple(Unit(s, "active", "running", pid=1, procs=1) for s in mode.services)
    return Looked(0.0, units, (answer,))


@pytest.mark.parametrize("engine", sorted(ROUTES))
def test_ready_starting_and_another_model(engine: str, server: Server) -> None:
    mode = ModePlan("b", ("b.service",), url(server), engine, MODELS[engine])
    (probe,) = judge.probe_of(mode)
    looked = seen(mode, web.ask(probe))
    assert judge.readiness(mode, looked, {}, ("b.service",), ()).verdict == "wait"  # nothing of it answers yet
    server.routes = ROUTES[engine]
    looked = seen(mode, web.ask(probe))
    ready = judge.readiness(mode, looked, {}, ("b.service",), ())
    assert ready.verdict == "ready" and ready.detail
    assert judge.is_hot(mode, looked)
    assert set(server.asked) <= set(ROUTES[engine])
    assert judge.is_hot(mode, seen(mode, web.ask(judge.probe_of(mode, health=False)[0])))  # as the last look of a switch asks
    other = replace(mode, model="something-else")
    verdict = judge.readiness(other, looked, {}, ("b.service",), ()).verdict
    assert verdict == ("ready" if engine == "comfyui" else "wrong")  # ComfyUI does not tell what it has


@pytest.mark.parametrize(("engine", "status"), [("litellm", 401), ("litellm", 500), ("litellm", 400), ("llamacpp", 401)])
def test_a_list_that_wants_a_key_proves_life_and_no_model(engine: str, status: int, server: Server) -> None:
    server.routes = {**ROUTES[engine], "/v1/models": (status, "no")}
    mode = ModePlan("b", ("b.service",), url(server), engine, "m")
    ready = judge.readiness(mode, seen(mode, web.ask(judge.probe_of(mode)[0])), {}, ("b.service",), ())
    assert ready.verdict == "ready" and "key" in ready.detail
    assert judge.is_hot(mode, seen(mode, web.ask(judge.probe_of(mode, health=False)[0])))


def test_a_llamacpp_that_loads_is_waited_for(server: Server) -> None:
    loading = (503, (DATA / "llamacpp/health.loading.503.json").read_text())
    server.routes = {"/health": loading, "/v1/models": loading}
    mode = ModePlan("b", ("b.service",), url(server), "llamacpp", "small-llama")
    assert judge.readiness(mode, seen(mode, web.ask(judge.probe_of(mode)[0])), {}, ("b.service",), ()).verdict == "wait"


def test_names_by_which_a_model_can_be_asked_for() -> None:
    told = asking.ids((DATA / "llamaswap/v1-models.json").read_bytes())
    assert told == ("gpt-oss-120b", "qwen3-8b", "chat", "spark2/qwen3-32b")
    assert asking.ids(b'{"models": [{"name": "llama3:latest"}]}') == ("llama3:latest", "llama3")
    for rubbish in (b"", b"7", b"[]", b'{"data": 7}', b'{"data": [7, {"id": 3}]}'):
        assert asking.ids(rubbish) == ()


def test_a_token_is_asked_of_who_does_not_bill(server: Server) -> None:
    for engine, model in MODELS.items():
        if asking.manner(engine).tokens:
            told = load.prove(url(server), model)
            assert (told.ok, told.reason, told.silent) == (True, f"one token from {model}", False)
    assert server.asked == ["/v1/completions"] * 3
    assert not asking.manner("litellm").tokens and not asking.manner("comfyui").tokens


class Other(World):
    """The pretended box, but its services answer as their engine does: ComfyUI tells no model, LiteLLM wants a key."""

    closed = False

    def seen(self, look: Any) -> Looked:
        told = super().seen(look)
        engines = {probe.url: probe.engine for probe in look.probes}
        answers = []
        for answer in told.answers:
            engine = engines[answer.url]
            if answer.models == 200 and engine == "comfyui":
                answer = replace(answer, ids=())
            if answer.models == 200 and engine == "litellm":
                answer = replace(answer, models=401, ids=())
            if answer.models and self.closed and engine == "ollama":
                answer = replace(answer, models=401, ids=(), health=None if answer.health is None else 401)
            answers.append(answer)
        return replace(told, answers=tuple(answers))


def world(engine: str, **fates: str) -> tuple[World, Any]:
    made = box(**fates)
    made.__class__ = Other
    model = "" if engine == "comfyui" else "model-b"
    modes = [
        {"name": "a", "services": ["a.service"], "url": "http://x:1", "engine": "vllm", "model": "model-a"},
        {"name": "b", "services": ["b.service"], "url": "http://x:2", "engine": engine, "model": model},
    ]
    return made, request(modes=modes)


@pytest.mark.parametrize("engine", sorted(ROUTES))
def test_a_switch_to_it_starts_waits_and_proves(engine: str) -> None:
    made, wish = world(engine)
    story = play(made, wish)
    assert story.outcome == "done", story.reason
    assert made.holds() == ["b.service", "floor.service"]
    ready = next(step for step in story.steps if step.name == "ready" and step.state == "done")
    assert ready.seconds is None or ready.seconds > 3  # it was waited for, not believed from its unit
    probes = [p for look in made.looks for p in look.probes if p.url == "http://x:2"]
    assert probes and {p.engine for p in probes} == {engine}


def test_one_behind_a_proxy_that_wants_a_key_is_up_with_a_warning() -> None:
    """Everything is hidden, its health too: the switch says so, and does not wait for what it cannot see."""
    made, wish = world("ollama")
    assert isinstance(made, Other)
    made.closed = True
    story = play(made, wish)
    assert (story.outcome, story.end and story.end.exit) == ("warned", 5)
    assert "to a key only" in story.reason and made.holds() == ["b.service", "floor.service"]


@pytest.mark.parametrize("engine", sorted(ROUTES))
def test_one_that_never_answers_rolls_back(engine: str) -> None:
    made, wish = world(engine, b="hang")
    story = play(made, wish)
    assert story.outcome == "rolled-back", story.reason
    assert "not ready within" in story.reason
    assert made.holds() == ["a.service", "floor.service"]


def test_probe_of_an_engine_nobody_knows_is_none() -> None:
    assert judge.probe_of(ModePlan("x", ("x.service",), "http://x:1", "something")) == ()
    assert Probe("http://x:1").engine == "" and asking.manner("") == replace(asking.manner("vllm"), core=False)
