"""LiteLLM's own proxy (1.109.3), without a database: a master key, the `prometheus` callback, and what a test wants as upstream.

`Upstream` is a provider that answers what a test says: an answer of some tokens, 429 with a `retry-after`, 500, nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.engines.place import python
from tests.engines.running import Running, free_port

KEY = "sk-tests-only"
TOKENS, PROMPT_TOKENS = 7, 5
"""What each good answer of an upstream has."""


@dataclass(frozen=True)
class Answer:
    """What an upstream says: `status` 0 is nothing, for `seconds`."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    message: str = "no"
    seconds: float = 0.0


SLOW_DOWN = Answer(429, {"retry-after": "30"}, "rate_limit_exceeded")
BROKEN = Answer(500)
TOO_LONG = Answer(400, code="context_length_exceeded", message="This model's maximum context length is 4097 tokens.")
REFUSED = Answer(400, code="content_policy_violation", message="invalid_request_error: content_policy_violation")


class Upstream(ThreadingHTTPServer):
    """A provider with OpenAI's API. `says` is by the first part of the path, which stands for a deployment; so is `asked`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.says: dict[str, Answer] = {}
        self.asked: dict[str, int] = {}
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        name = self.path.split("/")[1]
        self.server.asked[name] = self.server.asked.get(name, 0) + 1
        answer = self.server.says.get(name, Answer())
        time.sleep(answer.seconds)
        if not answer.status:
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": TOKENS, "total_tokens": PROMPT_TOKENS + TOKENS}
        good = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        bad = {"error": {"message": answer.message, "type": "invalid_request_error", "code": answer.code}}
        body = json.dumps(good if answer.status == 200 else bad).encode()
        self.send_response(answer.status)
        for header, value in {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def upstream() -> Iterator[Upstream]:
    """See `Upstream`; a port of its own."""
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def litellm(folder: Path, config: dict[str, Any], **env: str) -> Iterator[Running]:
    """`config` as its file has it (JSON is YAML); the master key, the callback and no telemetry are added."""
    port = free_port()
    general = {"master_key": KEY, **config.get("general_settings", {})}
    settings = {"callbacks": ["prometheus"], "telemetry": False, **config.get("litellm_settings", {})}
    file = folder / f"litellm-{port}.yaml"
    file.write_text(json.dumps({**config, "general_settings": general, "litellm_settings": settings}))
    program = python("litellm")
    argv = [str(program), str(program.parent / "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    told = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "NO_PROXY": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
        **env,
    }
    server = Running(argv, folder / f"litellm-{port}.log", f"http://127.0.0.1:{port}", told)
    try:
        server.wait("/health/liveliness")
        yield server
    finally:
        server.end()
