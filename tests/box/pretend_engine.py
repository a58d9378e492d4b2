#!/usr/bin/env python3
"""An inference engine that is not one: vLLM or SGLang as seen from outside, in the standard library only.

Ports, status codes, metric names, log lines, stop behaviour and failures follow the real engines; the
tokens are a few words over and over. It runs inside the test box as a systemd unit.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAIL_DIR = Path("/etc/pretend")
WORDS = tuple(re.findall(r"\w+", "the model says that all is well and goes on to say it again in other words"))
MAX_MODEL_LEN = 32768
KV_TOKENS = 83872
PROMPT_TOK_S = 2500.0
VLLM_TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
VLLM_ITL = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
VLLM_E2E = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
SGLANG_TTFT = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
)  # fmt: skip
SGLANG_ITL = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0,
    2.0, 4.0, 6.0, 8.0,
)  # fmt: skip
SGLANG_E2E = (*SGLANG_TTFT, 600.0, 1200.0, 1800.0, 2400.0)
SGLANG_QUEUE = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 100.0)
FINISHED = ("stop", "length", "abort", "error", "repetition")


def say(line: str) -> None:
    """One journal record; a carriage return inside stays inside."""
    data = (line + "\n").encode()
    while data:
        data = data[os.write(1, data) :]


@dataclass(frozen=True)
class Options:
    kind: str
    model: str
    port: int
    unit: str
    memory_mb: int
    load_seconds: float
    tok_s: float
    max_seqs: int
    warmup_seconds: float
    health_seconds: float
    failure: str


@dataclass
class Histogram:
    edges: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    number: int = 0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.edges) + 1)

    def observe(self, value: float) -> None:
        self.total += value
        self.number += 1
        for i, edge in enumerate(self.edges):
            if value <= edge:
                self.counts[i] += 1
                return
        self.counts[-1] += 1

    def lines(self, name: str, text: str, labels: str) -> Iterator[str]:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} histogram"
        running = 0
        for edge, count in zip((*map(str, self.edges), "+Inf"), self.counts, strict=True):
            running += count
            yield f'{name}_bucket{{{labels},le="{edge}"}} {float(running)}'
        yield f"{name}_sum{{{labels}}} {self.total}"
        yield f"{name}_count{{{labels}}} {float(self.number)}"


class Engine:
    """What the process knows: requests, counters, state."""

    def __init__(self, options: Options) -> None:
        self.o = options
        vllm = options.kind == "vllm"
        self.served = "some-other-model" if options.failure == "wrong-model" else options.model
        self.lock = threading.Lock()
        self.turn = threading.Condition(self.lock)
        self.queue: deque[object] = deque()
        self.running = 0
        self.kv_tokens = 0
        self.ready = False
        self.stopping = False
        self.sleeping = False
        self.stuck = False
        """Since SIGUSR2: the core computes nothing and ends for no SIGTERM; what only the API server answers goes on."""
        self.started = time.time()
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated = 0
        self.generated_at_finish = 0
        self.prompt_at_finish = 0
        self.requests = 0
        self.aborted = 0
        self.finished = dict.fromkeys(FINISHED, 0)
        self.ttft = Histogram(VLLM_TTFT if vllm else SGLANG_TTFT)
        self.itl = Histogram(VLLM_ITL if vllm else SGLANG_ITL)
        self.e2e = Histogram(VLLM_E2E if vllm else SGLANG_E2E)
        self.waited = Histogram(VLLM_E2E if vllm else SGLANG_QUEUE)
        self.prefixes: set[str] = set()
        self.throughput = 0.0
        self.decoded_before = 0
        self.decoded_at = time.monotonic()

    def decoded(self) -> int:
        return self.generated - self.ttft.number  # the first token of a request is the prefill's

    # -- a request ---------------------------------------------------------------------------------

    def admit(self) -> None:
        ticket = object()
        with self.turn:
            self.queue.append(ticket)
            while self.queue[0] is not ticket or self.running >= self.o.max_seqs or self.sleeping:
                self.turn.wait()
            self.queue.popleft()
            self.running += 1
            self.turn.notify_all()

    def tokens(self, prompt: str, prompt_tokens: int, wanted: int) -> Iterator[str]:
        """Yields the words at the engine's speed; closing it early is an abort."""
        begun = time.monotonic()
        self.admit()
        admitted = time.monotonic()
        held = 0
        reason = "abort"
        try:
            cached = 0
            with self.lock:
                self.waited.observe(admitted - begun)
                if prompt in self.prefixes:
                    cached = prompt_tokens // 16 * 16
                elif len(self.prefixes) < 1000:
                    self.prefixes.add(prompt)
            time.sleep(0.02 + (prompt_tokens - cached) / PROMPT_TOK_S)
            due = last = time.monotonic()
            for n in range(wanted):
                while self.stuck:
                    time.sleep(1.0)
                if n:
                    due += 1.0 / self.o.tok_s
                    pause = due - time.monotonic()
                    if pause > 0:
                        time.sleep(pause)
                now = time.monotonic()
                with self.lock:
                    self.generated += 1
                    if n == 0:
                        self.prompt_tokens += prompt_tokens
                        self.cached_tokens += cached
                        self.ttft.observe(now - begun)
                        held = prompt_tokens
                        self.kv_tokens += held
                    else:
                        self.itl.observe(now - last)
                    held += 1
                    self.kv_tokens += 1
                last = now
                yield ("" if n == 0 else " ") + WORDS[n % len(WORDS)]
            reason = "length"
        finally:
            with self.turn:
                self.running -= 1
                self.kv_tokens -= held
                self.finished[reason] += 1
                self.requests += 1
                if reason == "abort":
                    self.aborted += 1
                else:
                    self.generated_at_finish += wanted
                    self.prompt_at_finish += prompt_tokens
                    self.e2e.observe(time.monotonic() - begun)
                self.turn.notify_all()

    # -- metrics -----------------------------------------------------------------------------------

    def metrics(self) -> str:
        with self.lock:
            lines = self._vllm() if self.o.kind == "vllm" else self._sglang()
            return "\n".join(lines) + "\n"

    def _vllm(self) -> Iterator[str]:
        base = f'engine="0",model_name="{self.served}"'

        def one(name: str, kind: str, text: str, value: float, extra: str = "", head: bool = True) -> Iterator[str]:
            if head:
                yield f"# HELP {name} {text}"
                yield f"# TYPE {name} {kind}"
            yield f"{name}{{{base}{extra}}} {float(value)}"

        def counter(name: str, text: str, value: float) -> Iterator[str]:
            yield from one(f"vllm:{name}_total", "counter", text, value)
            yield from one(f"vllm:{name}_created", "gauge", text, self.started)

        def split(name: str, kind: str, text: str, label: str, values: dict[str, float]) -> Iterator[str]:
            for i, (key, value) in enumerate(values.items()):
                yield from one(name, kind, text, value, f',{label}="{key}"', head=i == 0)

        status = Path("/proc/self/statm").read_text().split()
        yield from (
            "# HELP process_resident_memory_bytes Resident memory size in bytes.",
            "# TYPE process_resident_memory_bytes gauge",
            f"process_resident_memory_bytes {float(int(status[1]) * mmap.PAGESIZE)}",
            "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.",
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self.started}",
        )
        waiting = len(self.queue)
        yield from one("vllm:num_requests_running", "gauge", "Number of requests in model execution batches.", self.running)
        yield from one("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", waiting)
        yield from split(
            "vllm:num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.", "reason",
            {"capacity": waiting, "deferred": 0},
        )  # fmt: skip
        yield from split(
            "vllm:engine_sleep_state", "gauge", "Engine sleep state.", "sleep_state",
            {"awake": not self.sleeping, "weights_offloaded": self.sleeping, "discard_all": 0},
        )  # fmt: skip
        usage = min(1.0, self.kv_tokens / KV_TOKENS)
        yield from one("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", usage)
        yield from counter("prefix_cache_queries", "Prefix cache queries, in tokens.", self.prompt_tokens)
        yield from counter("prefix_cache_hits", "Prefix cache hits, in tokens.", self.cached_tokens)
        yield from counter("num_preemptions", "Cumulative number of preemption from the engine.", 0)
        yield from counter("prompt_tokens", "Number of prefill tokens processed.", self.prompt_tokens)
        yield from split(
            "vllm:prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source.", "source",
            {
                "local_compute": self.prompt_tokens - self.cached_tokens,
                "local_cache_hit": self.cached_tokens,
                "external_kv_transfer": 0,
            },
        )  # fmt: skip
        yield from counter("generation_tokens", "Number of generation tokens processed.", self.generated)
        yield from split(
            "vllm:request_success_total", "counter", "Count of successfully processed requests.", "finished_reason",
            dict(self.finished),
        )  # fmt: skip
        yield from self.ttft.lines("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", base)
        yield from self.itl.lines("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", base)
        yield from self.e2e.lines("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", base)
        yield from self.waited.lines(
            "vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", base
        )
        yield "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig"
        yield "# TYPE vllm:cache_config_info gauge"
        yield (
            'vllm:cache_config_info{block_size="16",cache_dtype="auto",enable_prefix_caching="True",engine="0",'
            f'gpu_memory_utilization="0.5",num_gpu_blocks="{KV_TOKENS // 16}"}} 1.0'
        )

    def _sglang(self) -> Iterator[str]:
        request = f'model_name="{self.served}"'
        scheduler = f'engine_type="unified",{request},moe_ep_rank="0",pp_rank="0",tp_rank="0"'

        def one(name: str, kind: str, text: str, value: float, labels: str) -> Iterator[str]:
            yield f"# HELP sglang:{name} {text}"
            yield f"# TYPE sglang:{name} {kind}"
            yield f"sglang:{name}{{{labels}}} {float(value)}"

        now = time.monotonic()
        if now - self.decoded_at >= 0.5:
            self.throughput = (self.decoded() - self.decoded_before) / (now - self.decoded_at)
            self.decoded_before, self.decoded_at = self.decoded(), now
        if self.ttft.number:
            yield from self.waited.lines("sglang:queue_time_seconds", "Histogram of queueing time in seconds.", scheduler)
            yield from self.ttft.lines(
                "sglang:time_to_first_token_seconds", "Histogram of time to first token in seconds.", request
            )
            yield "# HELP sglang:realtime_tokens_total Total number of tokens processed (updated on each log interval)."
            yield "# TYPE sglang:realtime_tokens_total counter"
            for mode, value in (
                ("prefill_compute", self.prompt_tokens - self.cached_tokens),
                ("decode", self.decoded()),
                ("prefill_cache", self.cached_tokens),
            ):
                labels = scheduler.replace(f",{request}", f',mode="{mode}",{request}')
                yield f"sglang:realtime_tokens_total{{{labels}}} {float(value)}"
        if self.itl.number:
            yield from self.itl.lines(
                "sglang:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", request
            )
        if self.e2e.number:
            yield from self.e2e.lines(
                "sglang:e2e_request_latency_seconds", "Histogram of End-to-end request latency in seconds", request
            )
            yield from one(
                "prompt_tokens_total", "counter", "Number of prefill tokens processed.", self.prompt_at_finish, request
            )
            yield from one(
                "generation_tokens_total", "counter", "Number of generation tokens processed.",
                self.generated_at_finish, request,
            )  # fmt: skip
            yield from one("num_requests_total", "counter", "Number of requests processed.", self.requests, request)
            yield from one(
                "cached_tokens_total", "counter", "Number of cached prompt tokens by source (device/host/storage).",
                self.cached_tokens, f'cache_source="device",{request}',
            )  # fmt: skip
        if self.aborted:
            yield from one("num_aborted_requests_total", "counter", "Number of requests aborted.", self.aborted, request)
        hits = self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0
        for name, text, gauge in (
            ("num_running_reqs", "The number of running requests.", float(self.running)),
            ("num_used_tokens", "The number of used tokens.", float(self.kv_tokens)),
            ("token_usage", "The token usage.", min(1.0, self.kv_tokens / KV_TOKENS)),
            ("gen_throughput", "The generation throughput (token/s).", self.throughput),
            ("num_queue_reqs", "The number of requests in the waiting queue.", float(len(self.queue))),
            ("num_grammar_queue_reqs", "The number of requests in the grammar waiting queue.", 0.0),
            ("cache_hit_rate", "The prefix cache hit rate.", hits),
            ("max_total_num_tokens", "Maximum total number of tokens in the KV cache pool.", float(KV_TOKENS)),
            ("spec_accept_length", "The average acceptance length of speculative decoding.", 2.71),
            ("spec_accept_rate", "The average acceptance rate of speculative decoding.", 0.57),
        ):
            yield from one(name, "gauge", text, gauge, scheduler)


# -- HTTP --------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        host, port = self.client_address[:2]
        say(f'INFO:     {host}:{port} - "{self.requestline}" {int(code)} {HTTPStatus(int(code)).phrase}')

    def answer(self, status: int, body: object = "", kind: str = "application/json") -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        e, path = self.engine, self.path.split("?")[0]
        if path in ("/health", "/health_generate"):
            if e.o.kind == "sglang" and e.ready and not e.stopping:
                time.sleep(e.o.health_seconds)
            self.answer(200 if e.ready and not e.stopping else 503)
        elif path == "/metrics":
            self.answer(200, e.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/v1/models":
            card = {"id": e.served, "object": "model", "created": int(e.started), "owned_by": e.o.kind}
            root = f"/srv/models/{e.served}"
            self.answer(200, {"object": "list", "data": [card | {"root": root, "parent": None, "max_model_len": MAX_MODEL_LEN}]})
        elif path == "/ping":
            self.answer(200)
        elif e.o.kind == "vllm" and path == "/version":
            self.answer(200, {"version": "0.20.0"})
        elif e.o.kind == "vllm" and path == "/load":
            self.answer(200, {"server_load": 0})
        elif e.o.kind == "vllm" and path == "/is_sleeping":
            while e.stuck:  # the core is asked
                time.sleep(1.0)
            self.answer(200, {"is_sleeping": e.sleeping})
        elif e.o.kind == "sglang" and path in ("/model_info", "/get_model_info"):
            self.answer(200, {"model_path": f"/srv/models/{e.served}", "is_generation": True})
        elif e.o.kind == "sglang" and path in ("/server_info", "/get_server_info"):
            self.answer(200, {"version": "0.5.9", "served_model_name": e.served, "max_total_num_tokens": KV_TOKENS})
        else:
            self.answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        e, path = self.engine, self.path.split("?")[0]
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if e.o.kind == "vllm" and path in ("/sleep", "/wake_up"):
            with e.turn:
                e.sleeping = path == "/sleep"
                e.turn.notify_all()
            self.answer(200)
        elif path in ("/v1/chat/completions", "/v1/completions"):
            self.complete(raw, chat=path == "/v1/chat/completions")
        else:
            self.answer(404, {"detail": "Not Found"})

    def error(self, status: int, kind: str, message: str) -> None:
        self.answer(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def complete(self, raw: bytes, chat: bool) -> None:
        e = self.engine
        try:
            body = json.loads(raw)
            prompt = json.dumps(body["messages"] if chat else body["prompt"])
        except (ValueError, KeyError, TypeError) as problem:
            return self.error(400, "BadRequestError", f"bad request: {problem}")
        if body.get("model", e.served) != e.served:
            return self.error(404, "NotFoundError", f"The model `{body['model']}` does not exist.")
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or (64 if chat else 16)
        if not isinstance(wanted, int) or not 0 < wanted <= MAX_MODEL_LEN:
            return self.error(400, "BadRequestError", f"max_tokens must be between 1 and {MAX_MODEL_LEN}, got {wanted}.")
        spent = max(1, len(re.findall(r"\w+|[^\w\s]", prompt)))
        usage = {"prompt_tokens": spent, "completion_tokens": wanted, "total_tokens": spent + wanted}
        head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{random.getrandbits(64):016x}",
            "object": ("chat.completion" if chat else "text_completion"),
            "created": int(time.time()),
            "model": e.served,
        }
        stream = e.tokens(prompt, spent, wanted)
        if not body.get("stream"):
            text = "".join(stream)
            part: dict[str, object] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, **part, "logprobs": None, "finish_reason": "length"}
            return self.answer(200, head | {"choices": [choice], "usage": usage})
        if chat:
            head["object"] = "chat.completion.chunk"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            if chat:
                self.event(head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            for n, word in enumerate(stream, 1):
                piece: dict[str, object] = {"delta": {"content": word}} if chat else {"text": word}
                finish = "length" if n == wanted else None
                self.event(head | {"choices": [{"index": 0, **piece, "logprobs": None, "finish_reason": finish}]})
            if (body.get("stream_options") or {}).get("include_usage"):
                self.event(head | {"choices": [], "usage": usage})
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            stream.close()  # type: ignore[attr-defined]

    def event(self, what: object) -> None:
        data = ("data: " + (what if isinstance(what, str) else json.dumps(what)) + "\n\n").encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


# -- log lines ---------------------------------------------------------------------------------------


class Log:
    def __init__(self, options: Options) -> None:
        self.vllm = options.kind == "vllm"
        self.core = os.getpid() + 87

    def line(self, text: str, where: str = "core.py:133", level: str = "INFO", api: bool = False) -> None:
        now = datetime.now()
        if self.vllm:
            who = f"APIServer pid={os.getpid()}" if api else f"EngineCore pid={self.core}"
            say(f"({who}) {level} {now:%m-%d %H:%M:%S} [{where}] {text}")
        else:
            say(f"[{now:%Y-%m-%d %H:%M:%S}] {text}")

    def bar(self, title: str, steps: int) -> None:
        """A progress bar whose updates carry no newline: one long record."""
        say("".join(
            f"\r{title}: {100 * n // steps:3d}%|{'█' * (10 * n // steps):<10}| {n}/{steps} "
            f"[00:{n // 6:02d}<00:{(steps - n) // 6:02d},  6.{n % 100:02d}it/s]"
            for n in range(steps + 1)
        ))  # fmt: skip

    def shard(self, n: int, of: int, seconds: float) -> None:
        # the real bars begin with a carriage return; here only the last does, so both kinds are met
        say(
            ("\r" if n == of else "")
            + f"Loading safetensors checkpoint shards: {100 * n // of:3d}% Completed | {n}/{of} "
            + f"[00:{int(seconds):02d}<00:{int(seconds * (of - n) / max(n, 1)):02d},  {seconds / max(n, 1):.2f}s/it]"
        )

    def traceback(self, cause: str) -> None:
        """A start that failed in the engine process, then the end marker of the main one."""
        if self.vllm:
            where = "core.py:1584"
            for text in (
                "EngineCore failed to start.",
                "Traceback (most recent call last):",
                '  File "/opt/vllm/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 1572, in run_engine_core',
                "    engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)",
                '  File "/opt/vllm/lib/python3.12/site-packages/vllm/v1/worker/gpu_worker.py", line 301, in init',
                cause,
            ):
                self.line(text, where, "ERROR")
            time.sleep(0.2)
            say("Traceback (most recent call last):")
            say('  File "/opt/vllm/bin/vllm", line 10, in <module>')
            say("    sys.exit(main())")
            say("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}")
        else:
            self.line("Scheduler hit an exception: Traceback (most recent call last):")
            say('  File "/opt/sglang/python/sglang/srt/managers/scheduler.py", line 3310, in run_scheduler_process')
            say(cause)
            self.line("Received sigquit from a child process. It usually means the child failed.")


# -- life --------------------------------------------------------------------------------------------


def fail_word(model: str, unit: str) -> str:
    for name in (model, unit, f"{unit}.service"):
        try:
            words = (FAIL_DIR / f"{name}.fail").read_text().split()
        except OSError:
            continue
        if words:
            return words[0]
    return ""


def allocate(memory: mmap.mmap, begin: float, end: float) -> None:
    size = len(memory)
    step = 8 * 1024 * 1024
    block = b"\x5a" * step
    at = int(size * begin) // step * step
    while at < int(size * end):
        memory[at : min(at + step, size)] = block[: min(step, size - at)]
        at += step


def bind(port: int) -> socket.socket:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    return s


def port_taken(o: Options, log: Log) -> int:
    if o.kind == "vllm":
        say("Traceback (most recent call last):")
        say('  File "/opt/vllm/lib/python3.12/site-packages/vllm/entrypoints/launchers/launcher.py", line 348')
        say("    sock.bind(addr)")
        say("OSError: [Errno 98] Address already in use")
    else:
        say(f"ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', {o.port}): address already in use")
    return 1


def load(o: Options, log: Log, memory: mmap.mmap) -> int:
    """Everything between start and an open port; not 0 is the exit status of a failed start."""
    vllm, seconds = o.kind == "vllm", o.load_seconds

    def part(fraction: float) -> None:
        time.sleep(seconds * fraction)

    if vllm:
        log.line(
            f"non-default args: {{'model_tag': '{o.model}', 'port': {o.port}, 'max_model_len': {MAX_MODEL_LEN}}}",
            "api_utils.py:286", api=True,
        )  # fmt: skip
    else:
        log.line(
            f"server_args=ServerArgs(model_path='/srv/models/{o.model}', served_model_name='{o.model}', "
            f"port={o.port}, enable_metrics=True)"
        )
    part(0.1)
    if vllm:
        log.line(f"Initializing a V1 LLM engine (v0.20.0) with config: model='/srv/models/{o.model}', speculative_config=None")
    if o.failure == "oom":
        log.traceback(
            "ValueError: Free memory on device cuda:0 (3.12/31.36 GiB) on startup is less than desired GPU memory "
            "utilization (0.92, 28.85 GiB). Decrease GPU memory utilization or reduce GPU memory used by other "
            "processes."
            if vllm
            else "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. "
            "Current value: mem_fraction_static=0.65"
        )
        return 1
    if vllm:
        log.line(f"Starting to load model /srv/models/{o.model}...", "gpu_model_runner.py:4979")
    else:
        log.line("Load weight begin. avail mem=30.92 GB")
    shards = 5
    log.shard(0, shards, 0.0)
    if o.failure == "missing-weights":
        log.traceback(
            "FileNotFoundError: Weight files referenced in index but missing: "
            f"{{'/srv/models/{o.model}/model-00003-of-00005.safetensors'}}"
        )
        return 1
    if o.failure == "hang":
        allocate(memory, 0.0, 0.4)
        log.shard(2, shards, seconds * 0.2)
        while True:
            time.sleep(3600)
    begun = time.monotonic()
    for n in range(1, shards + 1):
        allocate(memory, (n - 1) / shards * 0.8, n / shards * 0.8)
        time.sleep(max(0.0, begun + seconds * 0.4 * n / shards - time.monotonic()))
        log.shard(n, shards, time.monotonic() - begun)
    took = time.monotonic() - begun
    gib = o.memory_mb / 1024
    if vllm:
        log.shard(shards, shards, took)
        log.line(f"Loading weights took {took:.2f} seconds", "default_loader.py:501")
        log.line(f"Model loading took {gib * 0.8:.2f} GiB memory and {took:.6f} seconds", "gpu_model_runner.py:5089")
        log.line("Starting torch.compile", "monitor.py:40")
        part(0.15)
        log.line(f"Dynamo bytecode transform time: {seconds * 0.15:.2f} s", "backends.py:1188")
        part(0.15)
        log.line(f"torch.compile took {seconds * 0.3:.2f} s in total", "monitor.py:60")
        allocate(memory, 0.8, 1.0)
        log.line("Available KV cache memory: 11.52 GiB", "gpu_worker.py:773")
        log.line(
            f"GPU KV cache size: {KV_TOKENS:,} tokens, Maximum concurrency for {MAX_MODEL_LEN:,} tokens per request: "
            f"{KV_TOKENS / MAX_MODEL_LEN:.2f}x",
            "kv_cache_utils.py:1147",
        )
        part(0.15)
        log.bar("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE)", 51)
        log.bar("Capturing CUDA graphs (decode, FULL)", 35)
        log.line("Graph capturing finished in 14 secs, took 0.62 GiB", "gpu_model_runner.py:6517")
        log.line(
            f"init engine (profile, create kv cache, warmup model) took {seconds * 0.45:.2f} s "
            f"(compilation: {seconds * 0.3:.2f} s)",
            "core.py:404",
        )
        part(0.05)
        log.line(f"Starting vLLM server on http://127.0.0.1:{o.port}", "entry.py:140", api=True)
    else:
        log.line(
            f"Load weight end. elapsed={took:.2f} s, type=Mistral4ForCausalLM, avail mem=15.42 GB, mem usage={gib * 0.8:.2f} GB."
        )
        allocate(memory, 0.8, 1.0)
        log.line(f"KV Cache is allocated. dtype: torch.bfloat16, #tokens: {KV_TOKENS}, K size: 5.76 GB, V size: 5.76 GB")
        log.line("Memory pool end. avail mem=3.61 GB")
        log.line("Capture target decode CUDA graph begin. backend=full, num_tokens_per_req=1, avail mem=3.08 GB")
        part(0.4)
        log.bar("Capturing batches (bs=1 avail_mem=2.61 GB)", 23)
        log.line("Capture target decode CUDA graph end. bs=[1, 2, 4, 8], elapsed=9.42 s, mem usage=0.47 GB.")
        log.line(
            f"max_total_num_tokens={KV_TOKENS}, chunked_prefill_size=4096, max_prefill_tokens=16384, "
            f"max_running_requests={o.max_seqs}, context_len={MAX_MODEL_LEN}, available_gpu_mem=2.61 GB"
        )
        part(0.1)
    say(f"INFO:     Started server process [{os.getpid()}]")
    say("INFO:     Waiting for application startup.")
    return 0


def report(engine: Engine, log: Log) -> None:
    """The line an engine prints about its traffic, every ten seconds while there is any."""
    before_prompt = before_generated = 0
    zeros = 2
    while True:
        time.sleep(10)
        with engine.lock:
            prompt, generated = engine.prompt_tokens, engine.generated
            running, waiting, usage = engine.running, len(engine.queue), engine.kv_tokens / KV_TOKENS
        p, g = (prompt - before_prompt) / 10, (generated - before_generated) / 10
        before_prompt, before_generated = prompt, generated
        zeros = 0 if p or g or running else zeros + 1
        if zeros > 2:
            continue
        if log.vllm:
            log.line(
                f"Engine 000: Avg prompt throughput: {p:.1f} tokens/s, Avg generation throughput: {g:.1f} tokens/s, "
                f"Running: {running} reqs, Waiting: {waiting} reqs, GPU KV cache usage: {100 * usage:.1f}%, "
                "Prefix cache hit rate: 0.0%",
                "loggers.py:257", api=True,
            )  # fmt: skip
        elif running:
            log.line(
                f"Decode batch, #running-req: {running}, #token: {int(usage * KV_TOKENS)}, token usage: {usage:.2f}, "
                f"accept len: 2.71, accept rate: 0.57, cuda graph: True, gen throughput (token/s): {g:.2f}, "
                f"#queue-req: {waiting}"
            )


def stop(engine: Engine, server: Server | None, log: Log) -> int:
    engine.stopping = True
    if engine.o.kind == "vllm":
        log.line("[shutdown] API server: shutdown triggered", "launcher.py:270", api=True)
        if server:
            server.socket.close()
        log.line("AsyncLLM output_handler failed.", "async_llm.py:906", "ERROR", api=True)
        log.line("Traceback (most recent call last):", "async_llm.py:906", "ERROR", api=True)
        log.line(
            "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) "
            "for the root cause.",
            "async_llm.py:906", "ERROR", api=True,
        )  # fmt: skip
        time.sleep(0.4)
        say("INFO:     Shutting down")
        say("INFO:     Application shutdown complete.")
        return 0
    log.line("SIGTERM received. signum=15 frame=None. Draining requests and shutting down...")
    while True:
        time.sleep(1.0)
        with engine.lock:
            left = engine.running + len(engine.queue)
        log.line(f"Gracefully exiting... Remaining number of requests {left}. Remaining requests remaining_rids=[].")
        if not left:
            return 0


def run(o: Options) -> int:
    log = Log(o)
    begun = time.monotonic()
    term = threading.Event()

    engine: Engine | None = None

    def on_stuck(_signum: int, _frame: object) -> None:
        if engine is not None:
            engine.stuck = True

    def on_term(_signum: int, _frame: object) -> None:
        if engine is not None and engine.stuck:
            log.line("[shutdown] API server: waiting for EngineCore", "launcher.py:270", api=True)
        elif o.failure == "ignore-term" and not term.is_set():
            log.line("SIGTERM received, and ignored for 30 seconds", level="WARNING")
            threading.Timer(30.0, term.set).start()
        else:
            term.set()

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGUSR2, on_stuck)
    signal.signal(signal.SIGINT, on_term)
    if o.failure == "badflag":
        say("usage: vllm [-h] [-v]" if o.kind == "vllm" else "usage: launch_server.py [-h] --model-path MODEL_PATH")
        say(f"{'vllm' if o.kind == 'vllm' else 'launch_server.py'}: error: unrecognized arguments: --no-such-flag")
        return 2
    sock: socket.socket | None = None
    if o.kind == "vllm":
        try:
            if o.failure == "port":
                raise OSError
            sock = bind(o.port)  # bound, but nobody listens until the model is loaded
        except OSError:
            return port_taken(o, log)
    memory = mmap.mmap(-1, max(1, o.memory_mb) * 1024 * 1024)
    result: list[int] = []
    loader = threading.Thread(target=lambda: result.append(load(o, log, memory)), daemon=True)
    loader.start()
    while loader.is_alive() and not term.is_set():
        loader.join(0.02)
    engine = Engine(o)
    engine.started = time.time() - (time.monotonic() - begun)
    if term.is_set():
        return 0 if o.kind == "vllm" else stop(engine, None, log)
    if not result or result[0]:
        return result[0] if result else 1
    if sock is None:
        try:
            if o.failure == "port":
                raise OSError
            sock = bind(o.port)
        except OSError:
            return port_taken(o, log)
    handler = type("BoundHandler", (Handler,), {"engine": engine})
    server = Server(("127.0.0.1", o.port), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    server.server_activate()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
    threading.Thread(target=report, args=(engine, log), daemon=True).start()
    if o.kind == "sglang":
        say("INFO:     Application startup complete.")
        say(f"INFO:     Uvicorn running on http://127.0.0.1:{o.port} (Press CTRL+C to quit)")
        term.wait(o.warmup_seconds)
        if not term.is_set():
            for _ in engine.tokens("warm up", 6, 8):
                pass
            engine.ready = True
            log.line("The server is fired up and ready to roll!")
    else:
        engine.ready = True
        say("INFO:     Application startup complete.")
    if o.failure == "crash-after-load" and not term.wait(1.0):
        log.line("EngineCore encountered a fatal error.", "core.py:1101", "ERROR")
        log.line(
            "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) "
            "for the root cause.",
            "async_llm.py:906", "ERROR", api=True,
        )  # fmt: skip
        return 0
    term.wait()
    return stop(engine, server, log)


def main() -> int:
    env = os.environ.get
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--kind", choices=("vllm", "sglang"), required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--unit", default="")
    p.add_argument("--memory-mb", type=int, default=int(env("PRETEND_MEMORY_MB", "150")))
    p.add_argument("--load-seconds", type=float, default=float(env("PRETEND_LOAD_SECONDS", "2")))
    p.add_argument("--tok-s", type=float, default=float(env("PRETEND_TOK_S", "60")))
    p.add_argument("--max-seqs", type=int, default=int(env("PRETEND_MAX_SEQS", "4")))
    p.add_argument("--warmup-seconds", type=float, default=float(env("PRETEND_WARMUP_SECONDS", "0.8")))
    p.add_argument("--health-seconds", type=float, default=float(env("PRETEND_HEALTH_SECONDS", "1.0")))
    a = p.parse_args()
    failure = fail_word(a.model, a.unit)
    return run(Options(**vars(a), failure=failure))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
