"""llama.cpp's own HTTP server under the options of `llama-server`: run by the environment `llamacpp`, and found by its command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it is linked to under the name of the program that it stands for

from tests.engines import serve_llamacpp

MEAN, RANK = 1, 4
"""llama.cpp's numbers for ways of pooling."""


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--alias", default="")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--api-prefix", default="")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--sleep-idle-seconds", type=int, default=-1)
    for flag in ("--metrics", "--embeddings", "--reranking"):
        parser.add_argument(flag, action="store_true")
    told = parser.parse_args(words)
    pooled = {"embedding": True, "pooling_type": RANK if told.reranking else MEAN} if told.embeddings or told.reranking else {}
    serve_llamacpp.main(
        {
            "model.path": told.model, "model_alias": [told.alias] if told.alias else [], "hostnames": ["127.0.0.1"], "port": told.port,
            "api_prefix": told.api_prefix, "api_keys": [told.api_key] if told.api_key else [], "endpoint_metrics": told.metrics,
            "sleep_idle_seconds": told.sleep_idle_seconds, "n_ctx": 4096, "n_parallel": 1, "warmup": False,
            "cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1, **pooled,
        }
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
