"""vLLM (0.32, its CPU build) with a tiny model of random weights. Some 3.5 GB to install: for `make engines`, not in CI."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines.client import Client
from tests.engines.place import cache, python
from tests.engines.running import Running, free_port

HERE = Path(__file__).parent
START_SECONDS = 600.0
DRAFTS = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3, "prompt_lookup_min": 1}
"""Drafts by n-grams need no second model."""


def tiny(width: int = 768, layers: int = 12, context: int = 8192) -> Path:
    """A folder with random weights, written once: some 30 to 50 tok/s a stream on a core at 768×12."""
    path = cache() / f"tiny-llama-{width}x{layers}-{context}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            argv = [str(python("vllm")), str(HERE / "tiny_llama.py"), str(path), str(width), str(layers), str(context)]
            subprocess.run(argv, check=True, timeout=300)
    return path


@contextmanager
def vllm(folder: Path, *flags: str, drafts: dict[str, Any] | None = None, **env: str) -> Iterator[Running]:
    """A server of its own. `drafts` is its speculative configuration; `env` more variables."""
    port = free_port()
    argv = [
        *(str(python("vllm")), "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny())),
        *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--max-model-len", "8192", "--enforce-eager"),
        *(("--speculative-config", json.dumps(drafts)) if drafts else ()),
        *flags,
    ]
    told = {
        "VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "NO_PROXY": "127.0.0.1", **env,
    }  # fmt: skip
    server = Running(argv, folder / f"vllm-{port}.log", f"http://127.0.0.1:{port}", told)
    try:
        server.wait("/health", seconds=START_SECONDS)
        yield server
    finally:
        server.end()


def client(url: str) -> Client:
    """Greedy, so that drafts come true; counts by token ids, since a chunk of the stream may hold several tokens."""
    return Client(url, "tiny", temperature=0, logit_bias=None, return_token_ids=True)
