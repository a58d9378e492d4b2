"""What engines write into their journals, in the words of the real ones: while they load, and while they decode."""

from __future__ import annotations

import random
from collections.abc import Iterator

from sovtui.config.schema import ModeConfig
from sovtui.demo.estate import GIB, ModeFacts
from sovtui.demo.journals import SGLANG_STAMP, VLLM_STAMP

Saying = tuple[float, str, str, str]
"""Of a load: (fraction of it, line, progress, level)."""


def while_loading(mode: ModeConfig, facts: ModeFacts, *, fails: bool, chance: random.Random) -> Iterator[Saying]:
    """All that a load says; if it `fails`, up to the line whose level is `fatal`."""
    shards = facts.shards
    weights = facts.weights_bytes / GIB
    core, api = f"(EngineCore pid=412) INFO {VLLM_STAMP}", f"(APIServer pid=1) INFO {VLLM_STAMP}"
    if mode.engine == "vllm":
        yield 0.03, f"{api} [api_server.py:1272] vLLM API server version {facts.version}", "starting vLLM", "info"
        yield (
            0.1,
            f"{core} [gpu_model_runner.py:3012] Starting to load model /models/{mode.model}...",
            "loading weights",
            "info",
        )
    elif mode.engine == "sglang":
        yield (
            0.03,
            f"[{SGLANG_STAMP}] server_args=ServerArgs(model_path='/models/{mode.model}')",
            "starting SGLang",
            "info",
        )
        yield 0.1, f"[{SGLANG_STAMP}] Load weight begin. avail mem=112.31 GB", "loading weights", "info"
    else:
        yield 0.03, f"Starting server of mode {mode.name}", "starting", "info"
        if fails:
            yield 0.1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.38 GiB.", "", "error"
            yield 0.15, "main process exited with status 1", "", "fatal"
            return
    for shard in range(shards + 1):
        percent = 100 * shard // shards
        at = 0.12 + 0.5 * shard / shards
        bar = f"Loading safetensors checkpoint shards: {percent:3d}% Completed | {shard}/{shards} [00:{shard * 2:02d}<00:{(shards - shard) * 2:02d},  1.94s/it]"
        if mode.engine:
            if fails and shard > shards * 0.6:
                free = chance.uniform(0.2, 0.6)
                yield (
                    at,
                    (
                        f"[{SGLANG_STAMP}] Scheduler hit an exception: torch.OutOfMemoryError: CUDA out of memory. "
                        f"Tried to allocate 3.50 GiB. GPU 0 has a total capacity of 121.70 GiB of which {free:.2f} GiB is free."
                    ),
                    "out of memory",
                    "error",
                )
                yield (
                    at,
                    f"[{SGLANG_STAMP}] Received sigquit from a child process. It usually means the child failed.",
                    "",
                    "fatal",
                )
                return
            yield at, bar, f"weights {shard}/{shards}", "info"
    if mode.engine == "vllm":
        yield 0.64, f"{core} [default_loader.py:314] Loading weights took {weights / 3.1:.2f} seconds", "", "info"
        yield (
            0.66,
            f"{core} [gpu_model_runner.py:3040] Model loading took {weights:.2f} GiB and {weights / 2.9:.6f} seconds",
            "compiling",
            "info",
        )
        yield 0.72, f"{core} [backends.py:653] Dynamo bytecode transform time: 6.42 s", "compiling", "info"
        yield 0.78, f"{core} [gpu_worker.py:391] Available KV cache memory: 33.94 GiB", "sizing the KV cache", "info"
        yield 0.79, f"{core} [kv_cache_utils.py:1307] GPU KV cache size: 741,328 tokens", "", "info"
        yield (
            0.86,
            "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): 100%|██████████| 51/51 [00:04<00:00, 11.92it/s]",
            "capturing graphs",
            "info",
        )
        yield 0.92, f"{core} [gpu_model_runner.py:4061] Graph capturing finished in 4 secs, took 0.71 GiB", "", "info"
        yield (
            0.95,
            f"{core} [core.py:273] init engine (profile, create kv cache, warmup model) took 21.88 s",
            "opening the port",
            "info",
        )
        yield 1.0, "(APIServer pid=1) INFO:     Application startup complete.", "", "info"
    elif mode.engine == "sglang":
        yield (
            0.64,
            f"[{SGLANG_STAMP}] Load weight end. elapsed={weights / 3.4:.2f} s, type=MistralForCausalLM, avail mem=55.12 GB, mem usage={weights:.2f} GB.",
            "",
            "info",
        )
        yield (
            0.7,
            f"[{SGLANG_STAMP}] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 214016, K size: 10.2 GB, V size: 10.2 GB",
            "sizing the KV cache",
            "info",
        )
        yield (
            0.78,
            f"[{SGLANG_STAMP}] Capture cuda graph begin. This can take up to several minutes. avail mem=30.06 GB",
            "capturing graphs",
            "info",
        )
        yield (
            0.88,
            f"[{SGLANG_STAMP}] Capture cuda graph end. Time elapsed: 3.90 s. mem usage=1.12 GB. avail mem=28.94 GB.",
            "",
            "info",
        )
        yield (
            0.92,
            f"[{SGLANG_STAMP}] INFO:     Uvicorn running on http://0.0.0.0:30000 (Press CTRL+C to quit)",
            "warming up",
            "info",
        )
        yield 1.0, f"[{SGLANG_STAMP}] The server is fired up and ready to roll!", "", "info"
    else:
        yield 0.8, "Import times for custom nodes: 0.8 s", "importing", "info"
        yield 1.0, "To see the GUI go to its port: ready", "", "info"


def while_decoding(engine: str, *, prompt_tok_s: float, decode_tok_s: float, running: int, waiting: int, kv_ratio: float) -> str:
    """The line that an engine of this kind writes every ten seconds under load."""
    if engine == "vllm":
        return (
            f"(APIServer pid=1) INFO {VLLM_STAMP} [loggers.py:257] Engine 000: Avg prompt throughput: {prompt_tok_s:.1f} tokens/s, "
            f"Avg generation throughput: {decode_tok_s:.1f} tokens/s, Running: {running} reqs, Waiting: {waiting} reqs, "
            f"GPU KV cache usage: {100 * kv_ratio:.1f}%, Prefix cache hit rate: 61.2%"
        )
    if engine == "sglang":
        return (
            f"[{SGLANG_STAMP}] Decode batch, #running-req: {running}, #token: {int(214016 * kv_ratio)}, token usage: {kv_ratio:.2f}, "
            f"cuda graph: True, gen throughput (token/s): {decode_tok_s:.2f}, #queue-req: {waiting}"
        )
    return "Prompt executed in 1.04 seconds"
