"""Command lines as boxes have them, and what they serve."""

from __future__ import annotations

import pytest

from sovtui.core import serving


@pytest.mark.parametrize(
    ("line", "engine", "port", "model"),
    [
        ("/opt/venv/bin/vllm serve Qwen/Qwen3-8B --port 8001", "vllm", 8001, "Qwen/Qwen3-8B"),
        ("vllm serve /models/q --served-model-name qwen36 other --port=30001", "vllm", 30001, "qwen36"),
        ("python3 -m vllm.entrypoints.openai.api_server --model org/m", "vllm", None, "org/m"),
        ("python -m sglang.launch_server --model-path org/m --port 30000", "sglang", 30000, "org/m"),
        ("/usr/local/bin/llama-server -m /data/q4.gguf -a small --port 8081 -ngl 99", "llamacpp", 8081, "small"),
        ("/usr/local/bin/ollama serve", "ollama", None, ""),
        ("/venv/bin/litellm --config /etc/litellm.yaml --port 4000", "litellm", 4000, ""),
        ("/usr/local/bin/llama-swap --config c.yaml --listen :9292", "llamaswap", 9292, ""),
        ("/venv/bin/python /opt/ComfyUI/main.py --listen --port 8190", "comfyui", 8190, ""),
        ("docker run --rm --name a -p 127.0.0.1:30001:8000 vllm/vllm-openai:v1 --model m", "vllm", 30001, "m"),
        ("/usr/bin/podman run -m 8g --publish=81:8080 ghcr.io/ggml-org/llama.cpp:server -m /m.gguf", "llamacpp", 81, "/m.gguf"),
        ("vllm serve ${MODEL} --port 8000", "vllm", 8000, ""),
        ("/usr/bin/ollama pull llama3", "", None, ""),
        ("/usr/bin/postgres -p 5432", "", 5432, ""),
    ],
)
def test_what_a_command_line_serves(line: str, engine: str, port: int | None, model: str) -> None:
    found = serving.read(line.split())
    assert (found.engine, found.port, found.model) == (engine, port, model)


@pytest.mark.parametrize(
    ("line", "container"),
    [
        ("docker run --rm --name vllm-a image", "vllm-a"),
        ("/usr/bin/docker start -a vllm-a", "vllm-a"),
        ("/usr/bin/docker compose up", ""),
        ("vllm serve x --name y", ""),
    ],
)
def test_the_container_that_a_unit_runs(line: str, container: str) -> None:
    assert serving.read(line.split()).container == container


def test_where_it_listens() -> None:
    def read(words: str) -> tuple[str, bool]:
        found = serving.read(["vllm", "serve", "m", *words.split()])
        return found.address, found.tls

    assert read("--host 0.0.0.0") == read("--host 127.0.0.1") == read("--host localhost") == ("", False)
    assert read("--host 100.64.0.7 --ssl-certfile /c.pem") == ("100.64.0.7", True)
    assert read("--host fd7a::7") == ("[fd7a::7]", False)


def test_memory_and_processor() -> None:
    assert serving.read(["vllm", "serve", "m", "--gpu-memory-utilization", "0.95"]).gpu_ratio == 0.95
    assert serving.read(["python", "-m", "sglang.launch_server", "--mem-fraction-static=0.65"]).gpu_ratio == 0.65
    assert serving.read(["vllm", "serve", "m", "--gpu-memory-utilization", "lots"]).gpu_ratio is None
    assert serving.read(["llama-server", "-m", "x", "-ngl", "0"]).cpu_only
    assert not serving.read(["llama-server", "-m", "x", "-ngl", "99"]).cpu_only


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("vllm-qwen36", "vllm"),
        ("sglang-mistral4", "sglang"),
        ("vllm-qwen36-healthcheck", ""),
        ("vllm-exporter", ""),
        ("sglang-role-proxy", ""),
        ("open-webui", ""),
        ("my-llama", "llamacpp"),
        ("llama-swap", "llamaswap"),
    ],
)
def test_names(name: str, engine: str) -> None:
    assert serving.by_name(name) == engine
