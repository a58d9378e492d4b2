"""Command lines as boxes have them, and what they serve."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("line", "engine", "port"),
    [
        ('bash -c "exec vllm serve m --port 1"', "vllm", 1),
        ('/bin/sh -lc "cd /srv && . venv/bin/activate && PORT=2; exec vllm serve m --port $PORT"', "vllm", 2),
        ("bash -lc 'exec \"$@\"' -- vllm serve 'a b' --port 3", "vllm", 3),
        ("env CUDA_VISIBLE_DEVICES=0 nice -n 5 ionice -c2 numactl -N 0 -m 0 taskset -c 0-7 llama-server -m x --port 4", "llamacpp", 4),
        ("/usr/bin/env -S python3 -m vllm.entrypoints.openai.api_server --port 5", "vllm", 5),
        ("systemd-run --user --unit=llm -p MemoryMax=10G vllm serve m --port 6", "vllm", 6),
        ("uv run --python 3.12 --with vllm vllm serve m --port 7", "vllm", 7),
        ("conda run -n sg --no-capture-output python -m sglang.launch_server --port 8", "sglang", 8),
        ("sudo -u llm -E HF_HOME=/x vllm serve m --port 9", "vllm", 9),
        ('su - llm -c "vllm serve m --port 10"', "vllm", 10),
        ("tini -g -- /app/llama-server -m x --port 11", "llamacpp", 11),
        ("/opt/nvidia/nvidia_entrypoint.sh vllm serve m --port 12", "vllm", 12),
        ("tmux new-session -d -s llm 'vllm serve m --port 13'", "vllm", 13),
        ("screen -dmS llm /opt/llama/llama-server -m x --port 14", "llamacpp", 14),
        ("python -m litellm --config c.yaml --port 15", "litellm", 15),
        ("python3 -m uvicorn litellm.proxy.proxy_server:app --port 16", "litellm", 16),
        ("gunicorn litellm.proxy.proxy_server:app -b 0.0.0.0:17", "litellm", 17),
        ("docker run --rm --entrypoint bash nvcr.io/nvidia/pytorch:26.10-py3 -c 'pip install vllm && vllm serve m --port 18'", "vllm", 18),
        ("podman run -dit --gpus all -eA=b -p 19:8080 ghcr.io/ggml-org/llama.cpp:server-cuda -m /m.gguf", "llamacpp", 19),
        ("sh -c 'ARGS=(--port 20 --model m); exec python3 -m vllm.entrypoints.openai.api_server \"${ARGS[@]}\" > log 2>&1'", "vllm", 20),
        ("/venv/bin/python /venv/bin/vllm serve m --port 21", "vllm", 21),
        ("flock -n /run/gpu.lock timeout --signal=INT 8h vllm serve m --port 22", "vllm", 22),
    ],
)  # fmt: skip
def test_wrappers_are_read_through(line: str, engine: str, port: int) -> None:
    found = serving.read(shlex.split(line))
    assert (found.engine, found.port) == (engine, port)


@pytest.mark.parametrize(
    "line",
    [
        "docker logs -f litellm",
        "docker exec vllm-a nvidia-smi",
        "docker stop vllm-a",
        "journalctl -fu litellm",
        "tail -F /var/log/litellm.log",
        "vim /etc/litellm.yaml",
        "grep -rn 'vllm serve' /etc/systemd",
        "pgrep -f 'vllm serve m'",
        "watch -n1 vllm serve",
        "echo vllm serve m",
        "ssh gpu vllm serve m",
        "bash -c 'tail -f /var/log/vllm.log | grep serve'",
        "sh -c 'case $1 in litellm|vllm) systemctl stop litellm;; esac'",
        "sh -c 'cat <<E\nvllm serve m\nE'",
        "curl -s http://127.0.0.1:4000/health?x=litellm",
        "/opt/llama.cpp/llama-server-healthcheck.sh",
        "vllm bench serve --model m",
        "ollama pull llama3",
        "litellm --version",
        "litellm-proxy models list",
        "docker run --rm -it vllm/vllm-openai:v1 bash",
        "rsync -a /opt/vllm/ nas:/vllm",
        "python3 -c 'import vllm'",
    ],
)
def test_what_only_names_an_engine_runs_none(line: str) -> None:
    assert serving.read(shlex.split(line)).engine == ""


@pytest.mark.parametrize(
    ("line", "side"),
    [
        ("llama-server -m x --embeddings", "embeddings"),
        ("llama-server -m x --embedding --pooling rank", "embeddings"),
        ("llama-server -m x --reranking", "reranking"),
        ("llama-server -m x --pooling rank", "reranking"),
        ("env LLAMA_ARG_EMBEDDINGS=1 llama-server -m x", "embeddings"),
        ("llama-server --embd-gemma-default", "embeddings"),
        ("vllm serve m --task embed", "embeddings"),
        ("vllm serve m --runner pooling", "embeddings"),
        ("vllm serve m --convert classify", "reranking"),
        ("python -m sglang.launch_server --model-path m --is-embedding", "embeddings"),
        ("infinity_emb v2 --model-id BAAI/bge-m3", "embeddings"),
        (
            "docker run -p 8081:80 ghcr.io/huggingface/text-embeddings-inference:1.9 --model-id BAAI/bge-reranker-v2-m3",
            "reranking",
        ),
        ("vllm serve m", ""),
        ("llama-server -m x --pooling mean", ""),
    ],
)
def test_embeddings_and_reranking(line: str, side: str) -> None:
    assert serving.read(shlex.split(line)).side == side


@pytest.mark.parametrize(
    ("model", "side"),
    [
        ("BAAI/bge-m3", "embeddings"),
        ("Qwen/Qwen3-Embedding-8B", "embeddings"),
        ("nomic-embed-text", "embeddings"),
        ("BAAI/bge-reranker-v2-m3", "reranking"),
        ("Qwen/Qwen3-Reranker-4B", "reranking"),
        ("google/gemma-3-27b-it", ""),
        ("meta-llama/Llama-3.1-8B", ""),
        ("mistralai/e50", ""),
        ("snowflake-arctic-instruct", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "embeddings"),
    ],
)
def test_models_that_are_called_so(model: str, side: str) -> None:
    assert serving.by_model(model) == side


def test_what_llama_server_takes_from_its_environment() -> None:
    env = {
        "LLAMA_ARG_PORT": "9004", "LLAMA_ARG_HOST": "100.64.0.7", "LLAMA_ARG_MODEL": "/m.gguf", "LLAMA_ARG_ALIAS": "deep,blue",
        "LLAMA_ARG_API_PREFIX": "/llm/", "LLAMA_ARG_CTX_SIZE": "8192", "LLAMA_API_KEY": "***", "LLAMA_ARG_N_GPU_LAYERS": "0",
    }  # fmt: skip
    found = serving.read(["llama-server"], env)
    assert (found.port, found.address, found.model, found.prefix) == (9004, "100.64.0.7", "deep", "/llm")
    assert (found.context, found.key, found.cpu_only, found.router) == (8192, True, "-ngl 0", False)
    assert serving.read(["llama-server", "--port", "1", "-a", "x"], env).port == 1, "the command line wins"
    assert serving.read(["vllm", "serve", "m"], env).port is None, "it is llama-server's alone"
    assert serving.read(["litellm"], {"PORT": "4001", "SERVER_ROOT_PATH": "/proxy"}).prefix == "/proxy"
    assert serving.read(["ollama", "serve"], {"OLLAMA_HOST": "0.0.0.0:11500"}).port == 11500


def test_a_llama_server_without_a_model_is_a_router() -> None:
    assert serving.read(["llama-server", "--models-dir", "/models", "--port", "8080"]).router
    assert serving.read(["llama-server", "--models-preset", "/p.ini"]).router
    assert not serving.read(["llama-server", "-m", "x", "--models-dir", "/models"]).router
    assert not serving.read(["llama-server", "-hf", "org/m:Q4"]).router
    assert not serving.read(["llama-server", "$ARGS"]).router, "what is not known may name one"
    assert serving.read(["llama-server", "-hf", "org/m:Q4"]).model == "", "builds call it differently"


def test_a_variable_that_could_not_be_read_is_no_default() -> None:
    found = serving.read(["llama-server", "-m", "${MODEL}", "--port", "${PORT}"])
    assert (found.engine, found.port, found.model, found.unread) == ("llamacpp", None, "", "--port")
    assert serving.read(["vllm", "serve", "m", "$EXTRA"]).unread == "$EXTRA"


@pytest.mark.parametrize(
    ("line", "containers", "detached"),
    [
        ("docker run --rm --name a image", ("a",), False),
        ("docker run -d --name a image", ("a",), True),
        ("docker start a b", ("a", "b"), True),
        ("docker start -a a", ("a",), False),
    ],
)
def test_containers_that_end_with_their_unit(line: str, containers: tuple[str, ...], detached: bool) -> None:
    found = serving.read(line.split())
    assert (found.containers, found.detached) == (containers, detached)


WORDS = st.sampled_from(
    ["vllm", "serve", "docker", "run", "-p", "1:2", "bash", "-c", "case $1 in", "esac", "a)", ";;", "$(", ")", "<<E", "E", "'", '"', "`",
     "${A[@]}", "A=(", "((", "env", "-S", "tmux", "new", "exec", "&&", "|", "\\", "\n", "#", "--", "nix", "run", "screen", "-X", "stuff"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS | st.text(max_size=6), max_size=14))
def test_whatever_stands_in_a_script_it_is_read_to_its_end(words: list[str]) -> None:
    for reading in (*serving.in_text(" ".join(words)), *serving.several(words), serving.read(words)):
        assert reading.engine in ("", *serving.NAMES, *serving.OTHERS)
