"""What a log line of each engine begins with, and which lines only show that somebody asked how it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovtui.core.levels import level
from sovtui.onbox import asking, logforms, signatures

DATA = Path(__file__).parents[1] / "data"

HEADS = [
    (
        "vllm",
        "(EngineCore_0 pid=123) INFO 11-30 07:15:29 [core.py:123] init engine took 5.2 s",
        "init engine took 5.2 s",
        "info",
    ),
    ("vllm", "(APIServer pid=535) WARNING 11-20 13:44:03 [vllm.py:1703] Enforce eager set", "Enforce eager set", "warning"),
    ("vllm", "(Worker_TP1 pid=99) ERROR 11-20 13:44:03 [a.py:1]   File x", "  File x", "error"),
    ("vllm", "INFO 11-20 13:26:20 launcher.py:27] Route: /rerank", "Route: /rerank", "info"),
    ("vllm", "(APIServer pid=1) INFO:     Application startup complete.", "Application startup complete.", "info"),
    ("vllm", 'INFO:     ::1:4 - "POST /v1/completions HTTP/1.1" 200 OK', '"POST /v1/completions HTTP/1.1" 200 OK', "info"),
    ("sglang", "[2026-11-30 07:15:29 DP0 TP0] Decode batch, #running-req: 3", "Decode batch, #running-req: 3", "info"),
    ("sglang", "[2026-11-30 07:15:29] INFO:     Started server process [1]", "Started server process [1]", "info"),
    ("llamacpp", "0.00.002.840 I srv          init: loading model", "loading model", "info"),
    ("llamacpp", "0.00.002.528 W srv          init: security: no API key", "security: no API key", "warning"),
    ("llamacpp", "E srv    load_model: failed to load model, 'x'", "failed to load model, 'x'", "error"),
    (
        "llamacpp",
        "0.05.066.559 I slot print_timing: id  3 | task 1 | prompt eval time = 1.08 ms",
        "id  3 | task 1 | prompt eval time = 1.08 ms",
        "info",
    ),
    ("llamacpp", "srv  llama_server: model loaded", "model loaded", "info"),
    ("llamacpp", "0.00.011.848 D done_getting_tensors: using CPU", "done_getting_tensors: using CPU", "debug"),
    ("llamacpp", "I am a line of somebody else", "I am a line of somebody else", "info"),
    (
        "ollama",
        'time=2026-11-20T14:30:02.665+01:00 level=WARN source=sched.go:432 msg="gpu VRAM is low" free=3',
        '"gpu VRAM is low" free=3',
        "warning",
    ),
    ("ollama", "2026/11/20 14:30:02 routes.go:1187: INFO server config env=map", "server config env=map", "info"),
    (
        "ollama",
        '[GIN] 2026/11/20 - 14:30:02 | 200 | 1.2s | 127.0.0.1 | POST     "/api/generate"',
        '200 | 1.2s | 127.0.0.1 | POST     "/api/generate"',
        "info",
    ),
    ("litellm", "07:25:14 - LiteLLM Proxy:WARNING: auth.py:126 - no ranges", "no ranges", "warning"),
    (
        "llamaswap",
        '[INFO] Request 10.0.0.2 "POST /v1/chat/completions HTTP/1.1" 200 106 "curl" 2.1s',
        '"POST /v1/chat/completions HTTP/1.1" 200 106 "curl" 2.1s',
        "info",
    ),
    ("llamaswap", "[ERROR] <qwen> process exited", "<qwen> process exited", "error"),
    ("comfyui", "[2026-11-20 14:30:02.123] Prompt executed in 1.04 seconds", "Prompt executed in 1.04 seconds", "info"),
]


@pytest.mark.parametrize(("engine", "line", "rest", "severity"), HEADS)
def test_what_a_line_begins_with_is_known_by_the_engine_and_without_it(engine: str, line: str, rest: str, severity: str) -> None:
    assert line[logforms.head(line, engine) :] == rest
    assert line[logforms.head(line) :] == rest, "an engine that nobody named"
    assert level(line, 6) == severity


def test_a_line_that_says_nothing_else_stays_whole() -> None:
    for line in ("(APIServer pid=1) ", "INFO:     ", "[2026-11-30 07:15:29] ", ""):
        assert logforms.head(line) == 0


@pytest.mark.parametrize("name", ["vllm/0.32.0-access-log-noise.log", "sglang/reconstructed-startup-0.5.23.log"])
def test_recorded_logs_lose_their_heads_and_nothing_else(name: str) -> None:
    lines = [
        line.partition("]: ")[2] for line in (DATA / name).read_bytes().decode().split("\n") if line and not line.startswith("#")
    ]
    engine = name.partition("/")[0]
    for line in lines:
        rest = line[logforms.head(line, engine) :]
        assert rest and "pid=" not in rest and "2026-11-20 09" not in rest and not rest.startswith("INFO")
    figures = [line for line in lines if "throughput" in line]
    assert figures and all(
        line[logforms.head(line, engine) :].startswith(("Engine 000: Avg", "Decode batch", "Prefill batch")) for line in figures
    )


ASKED = [
    ("vllm", '(APIServer pid=1) INFO:     127.0.0.1:34690 - "GET /metrics HTTP/1.1" 200 OK', 200),
    ("vllm", 'INFO:     127.0.0.1:1 - "GET /load HTTP/1.1" 200 OK', 200),
    ("vllm", 'INFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 503 Service Unavailable', 503),
    ("sglang", '[2026-11-20 09:00:00] INFO:     127.0.0.1:3 - "GET /health_generate HTTP/1.1" 200 OK', 200),
    ("llamacpp", "srv  log_server_r: done request: GET /slots 127.0.0.1 200", 200),
    ("llamacpp", ".......request: GET /health 127.0.0.1 503", 503),
    ("llamacpp", 'INFO: "GET /llm/v1/models?reload=1 HTTP/1.1" 200', 200),
    ("ollama", '[GIN] 2026/11/20 - 14:30:02 | 200 |  25.7µs |  127.0.0.1 | GET      "/"', 200),
    ("ollama", '[GIN] 2026/11/20 - 14:30:02 | 200 |  25.7µs |  127.0.0.1 | HEAD     "/api/tags"', 200),
    ("litellm", 'INFO:     127.0.0.1:5 - "GET /health/readiness/details HTTP/1.1" 200 OK', 200),
    ("litellm", 'INFO:     127.0.0.1:5 - "GET /metrics/ HTTP/1.1" 200 OK', 200),
    ("litellm", 'INFO:     127.0.0.1:5 - "GET /v1/models HTTP/1.1" 401 Unauthorized', 401),
    ("llamaswap", '[INFO] Request 10.0.0.2 "GET /running HTTP/1.1" 200 106 "Mozilla/5.0 (X11)" 14.01µs', 200),
    ("comfyui", '127.0.0.1 [20/Nov/2026:14:30:02 +0000] "GET /queue HTTP/1.1" 200 300 "-" "x"', 200),
    ("", 'gitea: "GET /metrics HTTP/1.1" 200', 200),
]


@pytest.mark.parametrize(("engine", "line", "status"), ASKED)
def test_questions_are_known_with_their_status(engine: str, line: str, status: int) -> None:
    assert logforms.asked(line, engine) == status
    assert signatures.is_noise(line), "whatever engine it is"


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("llamacpp", "srv  log_server_r: done request: POST /v1/chat/completions 127.0.0.1 200"),
        ("ollama", '[GIN] 2026/11/20 - 14:30:02 | 200 | 1.2s | 127.0.0.1 | POST     "/api/generate"'),
        ("vllm", 'INFO:     127.0.0.1:1 - "GET /v1/files HTTP/1.1" 200 OK'),
        ("vllm", "(APIServer pid=1) INFO 11-20 13:49:42 [launcher.py:195] Route: /load, Methods: GET"),
        ("llamaswap", '[INFO] Request 1.2.3.4 "POST /v1/completions HTTP/1.1" 200 1 "GET /health HTTP/1.1 200" 1s'),
        ("vllm", f'Received request: prompt: {"x" * 300} "GET /health HTTP/1.1" 200 OK'),
        ("", '10.0.0.1 - - [20/Nov/2026] "GET / HTTP/1.1" 200 512'),
        ("", '10.0.0.1 - - [20/Nov/2026] "GET /queue HTTP/1.1" 200 512'),
        ("vllm", ""),
    ],
)
def test_work_and_what_clients_write_is_no_question(engine: str, line: str) -> None:
    assert logforms.asked(line, engine) is None


@pytest.mark.parametrize("engine", asking.MANNERS)
def test_what_sovtui_asks_of_an_engine_to_know_its_state_is_a_question(engine: str) -> None:
    manner = asking.manner(engine)
    assert engine in logforms.FORMS
    for path in (manner.health, manner.models):
        assert not path or logforms.asked(f'INFO:     127.0.0.1:1 - "GET {path} HTTP/1.1" 200 OK', engine) == 200
