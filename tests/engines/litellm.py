"""LiteLLM's own proxy (1.109.3), without a database: a master key, the `prometheus` callback, and what a test wants as upstream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines.place import python
from tests.engines.running import Running, free_port

KEY = "sk-tests-only"


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
    told = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "NO_PROXY": "127.0.0.1", **env}
    server = Running(argv, folder / f"litellm-{port}.log", f"http://127.0.0.1:{port}", told)
    try:
        server.wait("/health/liveliness")
        yield server
    finally:
        server.end()
