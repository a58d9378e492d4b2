"""Engines of every kind, none of which is one."""

from __future__ import annotations

from typing import Any

from tests.hostile.case import DEEP, LONG_NUMBER, NASTY, Case, body, doc, drip, endless, listed, raw

LISTS = {
    "vllm": "/v1/models", "sglang": "/v1/models", "llamacpp": "/health|/props|/v1/models|/slots", "ollama": "/api/ps", "litellm": "/v1/models|/health/backlog|/router/settings|/v1/model/info",
    "comfyui": "/system_stats|/prompt", "llamaswap": "/running",
}  # fmt: skip
"""The questions of each that are answered in JSON."""
PAGES = {"vllm": "/metrics", "sglang": "/metrics", "llamacpp": "/metrics", "litellm": "/metrics/"}
FIRST = {
    "vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs", "llamacpp": "llamacpp:requests_processing", "litellm": "litellm_in_flight_requests",
}  # fmt: skip


def page(at: str, *lines: str, count: int = 0) -> Any:
    """A page of metrics with bad lines in it."""
    name = FIRST[at]
    return body(
        lambda: "\n".join(
            [f'{name}{{model_name="m"}} 1', *(f'{name}{{model_name="m{n}"}} {n}' for n in range(count)), *lines, ""]
        ).encode("utf-8", "surrogatepass"),
        kind="text/plain",
    )


def everywhere(name: str, give: Any, **more: Any) -> list[Case]:
    return [Case(f"{at}: {name}", at, give, path, **more) for at, path in LISTS.items()]


def row(at: str, name: str, path: str, give: Any, **more: Any) -> Case:
    return Case(f"{at}: {name}", at, give, path, **more)


CASES = [
    *everywhere("a list of a million empty objects", body(listed(1_000_000, lambda n: "{}"))),
    *everywhere("nested a hundred thousand times", body(b"[" * DEEP)),
    *everywhere(
        "a number of 4,000 digits",
        body(f'{{"data":[{LONG_NUMBER}],"models":[{LONG_NUMBER}],"running":{LONG_NUMBER},"devices":[{LONG_NUMBER}]}}'),
    ),
    *everywhere(
        "numbers where lists belong",
        doc({"data": 1, "models": 1, "running": 1, "devices": 1, "system": 1, "exec_info": 1, "slots": 1}),
    ),
    *everywhere("random bytes", raw(bytes(range(256)) * 100)),
    *everywhere("an endless reply in chunks of a byte", endless(b" ", b"{", chunked=True), seconds=5.0),
    *(row(at, "a hundred and forty thousand samples", path, page(at, count=140_000)) for at, path in PAGES.items()),
    *(row(at, "seven thousand samples", path, page(at, count=7000)) for at, path in PAGES.items()),
    *(
        row(
            at,
            "lines that are none",
            path,
            page(
                at,
                f"{FIRST[at]} ",
                f"{FIRST[at]} x",
                f"{FIRST[at]}{{",
                f'{FIRST[at]}{{a="}} 1',
                f"{FIRST[at]}{{a=1}} 1",
                f'{FIRST[at]}{{model_name="n"}} {LONG_NUMBER}',
                f'{FIRST[at]}{{model_name="n"}} +Inf',
                f'{FIRST[at]}{{model_name="{NASTY}"}} 1',
                "x" * (1 << 20),
            ),
            quick=at == "vllm",
        )
        for at, path in PAGES.items()
    ),
    row(
        "vllm",
        "buckets without an edge",
        "/metrics",
        page(
            "vllm",
            *(f'vllm:time_to_first_token_seconds_bucket{{le="{edge}",model_name="m"}} 1' for edge in ("", "x", "NaN", "1")),
            'vllm:time_to_first_token_seconds_bucket{model_name="m"} 2',
            'vllm:time_to_first_token_seconds_count{model_name="m"} 2',
        ),
    ),
    row("vllm", "a page without end", "/metrics", endless(b'vllm:num_requests_running{model_name="m"} 1\n')),
    row(
        "vllm",
        "a page in another encoding",
        "/metrics",
        body(b"vllm:num_requests_running 1\n", 200, kind="text/plain; charset=hex"),
    ),
    row(
        "vllm",
        "models of nasty names",
        "/v1/models",
        doc({"data": [{"id": NASTY, "max_model_len": 10**18}, {"id": 5}, None]}),
        quick=True,
    ),
    row("vllm", "five thousand models", "/v1/models", doc({"data": [{"id": f"model-{n}"} for n in range(5000)]})),
    row("vllm", "a byte now and then", "/health|/v1/models", drip(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100, 0.3), seconds=8.0),
    row("vllm", "health of nasty bytes", "/health", body(NASTY.encode("utf-8", "replace") * 100, 503)),
    row("sglang", "a version that is a list", "/server_info", doc({"version": [[[]]]})),
    row("llamacpp", "ten thousand slots", "/slots", body(listed(10_000, lambda n: f'{{"id":{n},"is_processing":true}}'))),
    row("llamacpp", "slots that are numbers", "/slots", doc([1, None, "x", [], {"id": [], "n_ctx": "x", "is_processing": 5}])),
    row(
        "llamacpp",
        "properties of nasty bytes",
        "/props",
        doc({"build_info": NASTY, "role": "router", "total_slots": -5, "default_generation_settings": []}),
    ),
    row(
        "llamacpp",
        "a router with nasty rows",
        "/props|/models|/v1/models",
        doc(
            {
                "role": "router",
                "data": [
                    {"id": NASTY, "status": {"value": "loaded", "args": [1, None]}, "aliases": [1, []]},
                    {"id": "x", "status": 5},
                ],
            }
        ),
    ),
    row(
        "ollama",
        "a model loaded until the year 9999",
        "/api/ps",
        doc({"models": [{"name": "qwen3:8b", "size": 1, "size_vram": 1, "expires_at": "9999-12-31T23:59:59-23:59"}]}),
        quick=True,
    ),
    row(
        "ollama",
        "sizes that cannot be",
        "/api/ps",
        doc(
            {
                "models": [
                    {"name": "qwen3:8b", "size": -1, "size_vram": 10**18, "context_length": "x"},
                    {"name": "b", "size": True},
                ]
            }
        ),
    ),
    row(
        "ollama",
        "a name of nasty bytes",
        "/api/ps",
        doc({"models": [{"name": NASTY, "size": 1, "size_vram": 0, "remote_host": NASTY}]}),
    ),
    row(
        "ollama",
        "five thousand loaded models",
        "/api/ps",
        doc({"models": [{"name": f"m{n}", "size": 5, "size_vram": 3} for n in range(5000)]}),
    ),
    row(
        "ollama",
        "five thousand installed ones",
        "/api/tags",
        doc({"models": [{"name": f"m{n}", "size": 5} for n in range(5000)]}),
    ),
    row("ollama", "a Date of the year 9999", "/api/ps", body('{"models":[]}', 200, "Date: Fri, 31 Dec 9999 23:59:59 -2359")),
    row(
        "litellm",
        "deployments of nasty bytes",
        "/v1/model/info",
        doc(
            {
                "data": [
                    {
                        "model_name": NASTY,
                        "model_info": {"id": NASTY, "cooldown_time": "x"},
                        "litellm_params": {"api_base": "http://[x", "model": NASTY},
                    },
                    5,
                    None,
                ]
            }
        ),
    ),
    row(
        "litellm",
        "three thousand deployments",
        "/v1/model/info",
        body(
            listed(
                3000,
                lambda n: f'{{"model_name":"g{n}","model_info":{{"id":"i{n}"}},"litellm_params":{{"model":"m"}}}}',
                '{"data":[',
                "]}",
            )
        ),
    ),
    row(
        "litellm",
        "chains that are none",
        "/router/settings",
        doc({"current_values": {"fallbacks": [1, {"a": [[], {}, 5]}, {NASTY: NASTY}], "cooldown_time": "x"}}),
    ),
    row(
        "comfyui",
        "devices of nasty bytes",
        "/system_stats",
        doc(
            {
                "system": {"comfyui_version": [1], "ram_total": "x"},
                "devices": [{"name": NASTY, "type": 5, "vram_total": -1, "torch_vram_total": 10**18, "index": []}, 5, None],
            }
        ),
    ),
    row(
        "comfyui",
        "a thousand devices",
        "/system_stats",
        doc(
            {
                "system": {},
                "devices": [
                    {"name": f"d{n}", "type": "cuda", "vram_total": 5, "torch_vram_total": 1, "index": n} for n in range(1000)
                ],
            }
        ),
    ),
    row("comfyui", "a queue below zero", "/prompt", doc({"exec_info": {"queue_remaining": -5}})),
    row(
        "llamaswap",
        "a proxy that is no address",
        "/running",
        doc(
            {
                "running": [
                    {"model": "m", "state": "ready", "proxy": "http://[bad", "cmd": [], "ttl": []},
                    {"model": NASTY, "state": NASTY, "proxy": NASTY, "ttl": 1e300},
                ]
            }
        ),
        quick=True,
    ),
    row(
        "llamaswap",
        "five thousand that run",
        "/running",
        doc(
            {
                "running": [
                    {"model": f"m{n}", "state": "ready", "proxy": "http://localhost:1", "cmd": "llama-server"}
                    for n in range(5000)
                ]
            }
        ),
    ),
    row(
        "llamaswap",
        "models that are none",
        "/v1/models",
        doc({"data": [5, None, {"id": []}, {"id": NASTY, "meta": {"llamaswap": {"aliases": 5, "type": []}}}]}),
    ),
]
