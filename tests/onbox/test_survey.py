"""What the survey reads on a machine, against pretended commands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sovtui.onbox import lookanswers, lookcontainers, lookhost, lookports, survey
from tests.onbox.commands import pretend

CAPTURES: dict[str, dict[str, Any]] = {
    "vllm": {
        "/v1/models": {"data": [{"id": "qwen36", "owned_by": "vllm", "max_model_len": 32768}]},
        "/metrics": "# x\nvllm:a 1\n",
    },
    "sglang": {"/v1/models": {"data": [{"id": "m", "owned_by": "sglang"}]}},
    "llamacpp": {
        "Server": "llama.cpp",
        "/v1/models": {"data": [{"id": "small", "owned_by": "llamacpp"}]},
        "/props": {"is_sleeping": True},
    },
    "infinity": {"/models": {"data": [{"id": "bge", "owned_by": "infinity"}]}},
    "tei": {"/info": {"model_id": "BAAI/bge-m3", "model_type": {"embedding": {"pooling": "cls"}}, "version": "1.9.0"}},
    "llamaswap": {"/v1/models": {"data": [{"id": "a", "owned_by": "llama-swap"}]}},
    "ollama": {"/v1/models": {"data": [{"id": "llama3.1:8b", "owned_by": "library"}]}, "/api/version": {"version": "0.33.0"}},
    "litellm": {"/v1/models": (401, {"error": "no key"}), "/health/liveliness": "I'm alive!"},
    "comfyui": {"/system_stats": {"system": {"comfyui_version": "0.3.64"}, "devices": []}},
    "alertmanager": {
        "/api/v2/status": {"cluster": {}, "versionInfo": {"version": "0.33.1"}, "config": {"original": "password: x"}}
    },
    "node_exporter": {"/metrics": "# HELP\nnode_cpu_seconds_total 1\n"},
}
HARMFUL = ("/health", "/slots", "/upstream", "/generate", "/api/generate", "/free", "/unload", "/health_generate")
NO_LLAMA = {"/v1/models": (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}})}


class Answering(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[str]] = []

    def version_string(self) -> str:
        return str(self.answers.get("Server", "unknown"))

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.answers.get(self.path.partition("?")[0], (404, {"detail": "Not Found"}))
        status, body = found if isinstance(found, tuple) else (200, found)
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Answering.asked.clear()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("kind", sorted(CAPTURES))
def test_what_answers_is_told_without_harm(server: ThreadingHTTPServer, kind: str) -> None:
    Answering.answers = CAPTURES[kind]
    told = lookanswers.ask({"address": "127.0.0.1", "port": server.server_port})
    assert told is not None and told["kind"] == kind
    assert not [path for path in Answering.asked if path in HARMFUL or path.startswith("/upstream")]
    assert "password" not in json.dumps(told)


def answer(server: ThreadingHTTPServer, answers: dict[str, Any], *prefixes: str, **more: Any) -> dict[str, Any]:
    Answering.answers = answers
    told = lookanswers.ask({"address": "127.0.0.1", "port": server.server_port}, prefixes, **more)
    assert told is not None
    return told


LISTED = {"data": [{"id": "small", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}]}


@pytest.mark.parametrize(
    ("props", "side", "asked"),
    [
        ({"is_sleeping": True}, None, False),  # any request with a body wakes it
        ({}, None, False),  # a build from before there was a sleep: what it answers then is not known
        ({"is_sleeping": False}, "embeddings", True),
    ],
)
def test_llama_cpp_is_asked_only_what_keeps_nothing_awake(
    server: ThreadingHTTPServer, props: dict[str, Any], side: str | None, asked: bool
) -> None:
    answers: dict[str, Any] = {
        "Server": "llama.cpp",
        "/v1/models": LISTED,
        "/props": props,
        "/v1/rerank": (501, {}),
        "/v1/embeddings": (400, {}),
    }
    told = answer(server, answers)
    assert (told["kind"], told.get("side"), told["context"]) == ("llamacpp", side, 4096)
    posts = {"/v1/rerank", "/v1/embeddings"} if asked else set()
    assert set(Answering.asked) == {"/v1/models", "/props"} | posts


@pytest.mark.parametrize(
    ("ranks", "embeds", "side"), [(501, 501, ""), (400, 400, "reranking"), (501, 400, "embeddings"), (404, 404, None)]
)
def test_what_a_llama_cpp_was_started_for(server: ThreadingHTTPServer, ranks: int, embeds: int, side: str | None) -> None:
    answers = {"Server": "llama.cpp", "/v1/models": LISTED, "/props": {"is_sleeping": False}}
    told = answer(server, {**answers, "/v1/rerank": (ranks, {}), "/v1/embeddings": (embeds, {})})
    assert told.get("side") == side


def test_a_router_is_one_engine_and_its_servers_are_told_by_it(server: ThreadingHTTPServer) -> None:
    rows = [
        {"id": "a", "owned_by": "llamacpp", "status": {"value": "loaded", "args": ["llama-server", "--port", "59139"]}},
        {"id": "b", "owned_by": "llamacpp", "status": {"value": "unloaded", "args": ["llama-server", "--port", "0"]}},
    ]
    told = answer(server, {"Server": "llama.cpp", "/v1/models": {"data": rows}, "/props": {"role": "router"}})
    assert (told["router"], told["children"], told["models"]) == (True, [59139], ["a", "b"])
    assert "/metrics" not in Answering.asked and "side" not in told


def test_servers_that_llama_swap_has_started(server: ThreadingHTTPServer) -> None:
    running = {"running": [{"model": "a", "proxy": "http://127.0.0.1:5801", "cmd": "docker run --api-key hunter22"}]}
    told = answer(server, {"/v1/models": {"data": [{"id": "a", "owned_by": "llama-swap"}]}, "/running": running})
    assert told["children"] == [5801] and "hunter22" not in json.dumps(told)


def test_llama_cpp_behind_a_key_or_a_path(server: ThreadingHTTPServer) -> None:
    refused = (401, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}})
    told = answer(server, {"/v1/models": refused, "/props": refused})  # a proxy in front has taken the header away
    assert (told["kind"], told["key"]) == ("llamacpp", True) and "/metrics" not in Answering.asked
    below = {"Server": "llama.cpp", **NO_LLAMA, "/llm/v1/models": LISTED, "/llm/props": {"is_sleeping": True}}
    assert answer(server, below, "/llm")["url"].endswith("/llm")
    assert answer(server, below, elsewhere=["/other", "/llm"])["url"].endswith("/llm")
    assert answer(server, below)["state"] == "elsewhere" and "/metrics" not in Answering.asked


def test_an_engine_that_counts_what_it_refuses_is_asked_only_whether_it_is_alive(server: ThreadingHTTPServer) -> None:
    told = answer(server, CAPTURES["litellm"], engine="litellm")
    assert told["kind"] == "litellm" and Answering.asked == ["/health/liveliness"]


def test_models_that_only_pool(server: ThreadingHTTPServer) -> None:
    listed = {"data": [{"id": "lora", "owned_by": "vllm", "parent": "bge"}, {"id": "bge", "owned_by": "vllm"}]}
    told = answer(server, {"/v1/models": listed, "/openapi.json": {"paths": {"/v1/embeddings": {}, "/v1/models": {}}}})
    assert (told["side"], told["models"]) == ("embeddings", ["bge", "lora"])
    generates: dict[str, Any] = {"/v1/chat/completions": {}, "/v1/completions": {}}
    assert answer(server, {"/v1/models": listed, "/openapi.json": {"paths": generates}})["side"] == ""
    both = {**generates, "/v1/embeddings": {}}
    assert "side" not in answer(server, {"/v1/models": listed, "/openapi.json": {"paths": both}}), "older builds have every route"
    sglang = {"/v1/models": {"data": [{"id": "m", "owned_by": "sglang"}]}}
    assert answer(server, {**sglang, "/get_model_info": {"is_generation": False}})["side"] == "embeddings"


def test_prometheus_under_a_prefix_with_its_targets(server: ThreadingHTTPServer) -> None:
    target = {"labels": {"job": "node", "instance": "a:9100"}, "health": "up"}
    row = {"__name__": "restic_last_success_timestamp_seconds", "repo": "nas"}
    Answering.answers = {
        "/prom/api/v1/status/buildinfo": {"status": "success", "data": {"version": "3.5.3"}},
        "/prom/api/v1/targets": {"data": {"activeTargets": [target]}},
        "/prom/api/v1/series": {"data": [row]},
    }
    told = lookanswers.ask({"address": "0.0.0.0", "port": server.server_port}, ["/prom"])
    assert told == {
        "t": "answer",
        "port": server.server_port,
        "url": f"http://127.0.0.1:{server.server_port}/prom",
        "kind": "prometheus",
        "version": "3.5.3",
        "targets": [{"job": "node", "instance": "a:9100", "health": "up"}],
        "backup_series": [row],
    }


def test_a_web_server_that_is_nothing_known_is_nothing(server: ThreadingHTTPServer) -> None:
    Answering.answers = {"/": "hello"}
    assert lookanswers.ask({"address": "127.0.0.1", "port": server.server_port}) is None


def test_each_port_is_asked_once_and_some_never() -> None:
    asked: list[int] = []

    def ask(told: dict[str, Any], prefixes: Any, **more: Any) -> dict[str, Any] | None:
        asked.append(told["port"])
        if told["port"] == 7000:
            raise ValueError("odd")
        return {"t": "answer", "port": told["port"], "kind": "vllm"} if told["port"] == 8000 else None

    ports = [{"address": a, "port": p} for a in ("0.0.0.0", "::") for p in (22, 5432, 7000, 8000)]
    assert [a["port"] for a in survey.answering(ports, {}, ask)] == [8000]
    assert sorted(asked) == [7000, 8000]


def test_this_machine_s_own_sockets(server: ThreadingHTTPServer) -> None:
    mine = [told for told in lookports.listening() if told["port"] == server.server_port]
    assert mine and mine[0]["address"] == "127.0.0.1" and mine[0]["pid"] > 1


def test_ports_of_what_an_engine_has_started_are_not_asked() -> None:
    running: list[dict[str, Any]] = [
        {"pid": 10, "command": ["llama-server", "--models-dir", "/m", "--port", "9010"]},
        {"pid": 11, "of": 10, "command": ["llama-server", "--port", "54241"]},
    ]
    ports: list[dict[str, Any]] = [{"port": 9010, "pid": 10}, {"port": 54241}, {"port": 54242, "pid": 11}]
    assert [port["port"] for port in survey.without_parts(ports, running)] == [9010]
    answers: dict[int, dict[str, Any]] = {8080: {"port": 8080, "children": [5801]}, 5801: {"port": 5801}}
    told = survey.answering(
        [{"address": "127.0.0.1", "port": p} for p in answers], {}, lambda told, _, **more: answers[told["port"]]
    )
    assert [one["port"] for one in told] == [8080]


def test_prefixes_of_command_lines() -> None:
    told: list[dict[str, Any]] = [
        {"commands": [["/usr/bin/prometheus", "--web.listen-address=:9190", "--web.route-prefix=/prom"]]},
        {"command": ["llama-server", "--port", "9002", "--api-prefix", "/llm/"]},
        {"commands": [["llama-server"]], "env": {"LLAMA_ARG_API_PREFIX": "/two"}},
    ]
    assert survey.prefixes(told) == {9190: ["/prom"], 9002: ["/llm"], survey.ANY: ["/llm", "/two"]}


# -- containers, GPU, scripts --------------------------------------------------------------------------

INSPECT = {
    "Name": "/vllm-nemotron",
    "Id": "abc123",
    "Config": {
        "Image": "vllm/vllm-openai:v0.20.0",
        "Entrypoint": ["vllm", "serve"],
        "Cmd": ["--served-model-name", "$NAME", "--api-key", "hunter22"],
        "Env": ["NAME=nemotron", "HF_TOKEN=hunter22"],
        "Labels": {"com.centurylinklabs.watchtower.enable": "false", "secret": "hunter22"},
    },
    "State": {"Status": "exited"},
    "HostConfig": {
        "Runtime": "nvidia",
        "RestartPolicy": {"Name": "no"},
        "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "30001"}]},
    },
}


def test_containers_that_are_stopped_keep_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {" ps ": (0, "abc123\n", ""), "inspect": (0, json.dumps([INSPECT], indent=5) + "\n", "")})
    (told,), problem = lookcontainers.containers()
    assert problem == "" and "hunter22" not in json.dumps(told)
    assert told["command"] == ["vllm", "serve", "--served-model-name", "nemotron", "--api-key", "***"]
    assert told["ports"] == [{"host": 30001, "inside": 8000, "address": "127.0.0.1"}]
    assert told["gpu"] is True and told["labels"] == {"com.centurylinklabs.watchtower.enable": "false"}


def test_docker_that_may_not_be_read_is_said_and_none_at_all_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {" ps ": (1, "", "permission denied while trying to connect\n")})
    assert "permission denied" in lookcontainers.containers()[1]
    pretend(monkeypatch, {})
    assert lookcontainers.containers() == ([], "")


def test_a_compose_project_that_is_down_is_read_by_compose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = {
        "image": "vllm/vllm-openai:v1",
        "command": ["--model", "m", "--api-key", "hunter22"],
        "environment": {"LLAMA_ARG_PORT": "1", "HF_TOKEN": "hunter22", "X": None},
        "ports": [{"published": "8001", "target": 8000, "protocol": "tcp"}, {"target": 9}],
        "deploy": {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}},
    }
    pretend(monkeypatch, {"config --format json": (0, json.dumps({"name": "llm", "services": {"vllm": service}}), "")})
    assert lookcontainers.composed(str(tmp_path), []) == []  # there is no file
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (told,) = lookcontainers.composed(str(tmp_path), [])
    assert told["name"] == "llm-vllm-1" and told["gpu"] is True and "hunter22" not in json.dumps(told)
    assert told["ports"] == [{"host": 8001, "inside": 8000, "address": ""}] and told["env"] == {"LLAMA_ARG_PORT": "1"}
    (tmp_path / "compose.yaml").write_text("include:\n  - oci://example.org/x\nservices: {}\n")
    assert lookcontainers.composed(str(tmp_path), []) == [], "nothing is fetched"


def test_gpus_with_and_without_a_memory_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"nvidia-smi": (0, "NVIDIA GB10, [N/A]\nNVIDIA GeForce RTX 5090, 32607\n", "")})
    first, second = lookhost.gpus()[0]
    assert "memory" not in first and second["memory"] == 32607 << 20
    pretend(monkeypatch, {"nvidia-smi": (9, "NVIDIA-SMI has failed because it couldn't communicate with the driver\n", "")})
    assert "couldn't communicate" in lookhost.gpus()[1]


def test_tailnet(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"BackendState": "Running", "Self": {"DNSName": "spark.tail4c2f.example."}}
    pretend(monkeypatch, {"tailscale": (0, json.dumps(status), "")})
    assert lookhost.tailnet() == "spark"
    pretend(monkeypatch, {"tailscale": (0, json.dumps({**status, "BackendState": "Stopped"}), "")})
    assert lookhost.tailnet() == ""
