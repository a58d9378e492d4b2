"""A command line read for what it serves: which engine, which port, which model, how much memory. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

DEFAULT_PORTS = {
    "vllm": 8000,
    "sglang": 30000,
    "llamacpp": 8080,
    "ollama": 11434,
    "litellm": 4000,
    "llamaswap": 8080,
    "comfyui": 8188,
}
"""Where each engine listens if it is not told otherwise."""
NAMES = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "ollama": "Ollama",
    "litellm": "LiteLLM",
    "llamaswap": "llama-swap",
    "comfyui": "ComfyUI",
}
COUNTED_AT_END = ("litellm",)
"""Engines whose tokens are counted when an answer is complete: no count for minutes may be one long answer."""
_COMMANDS = (
    (
        "vllm",
        re.compile(r"(?:^|[\s/])vllm(?:\.entrypoints\S*|\s+serve\b)|(?:^|[\s/])vllm/vllm-openai|/vllm[:@-]|ghcr\.io/\S*vllm"),
    ),
    ("sglang", re.compile(r"sglang\.launch_server|(?:^|[\s/])sglang\s+serve\b|lmsysorg/sglang|(?:^|/)sglang[:@]")),
    ("llamaswap", re.compile(r"(?:^|[\s/])llama-swap(?:\s|[:@]|$)")),
    ("llamacpp", re.compile(r"(?:^|[\s/])(?:llama-server|llamafile)(?:\s|[:@-]|$)|llama\.cpp:server|llama\.cpp:\S*server")),
    ("ollama", re.compile(r"(?:^|[\s/])ollama(?:\s+serve\b|/ollama(?:[:@\s]|$))")),
    ("litellm", re.compile(r"(?:^|[\s/])litellm(?:\s|[:@-]|$)|berriai/litellm")),
    ("comfyui", re.compile(r"(?i)comfyui\S*/main\.py|(?:^|[\s/])comfyui(?:[\s:@-]|$)|/comfyui\S*[:@]")),
)
WORDS = (
    ("llamaswap", re.compile(r"(?i)llama-?swap")),
    ("vllm", re.compile(r"(?i)\bvllm|vllm\b")),
    ("sglang", re.compile(r"(?i)\bsglang|sglang\b")),
    ("litellm", re.compile(r"(?i)litellm")),
    ("ollama", re.compile(r"(?i)ollama")),
    ("comfyui", re.compile(r"(?i)comfy")),
    ("llamacpp", re.compile(r"(?i)\bllama[-_.]?(?:cpp|server|file)|\bllama\b")),
)
HELPER = re.compile(
    r"(?i)health|check|watchdog|exporter|proxy|backup|updat|upgrade|pull|download|restart|notify|alert|monitor|warm|bench|"
    r"test|clean|prune|heal|guard|sync|metrics|webui|console|dashboard|logger|gateway"
)
"""Words in the names of what stands beside an engine and is none."""
_CPU = re.compile(r"(?i)(?<![a-z])cpu(?![a-z])")


@dataclass(frozen=True, slots=True)
class Serving:
    """What a command line says. Empty or None: it does not say."""

    engine: str = ""
    by: str = ""
    """`command` or `name`."""
    port: int | None = None
    model: str = ""
    gpu_ratio: float | None = None
    """Part of the accelerator's memory that it takes."""
    cpu_only: str = ""
    """The sign that it uses no accelerator."""
    container: str = ""
    """The container that the command runs or starts."""
    address: str = ""
    """Where it listens, if not on every address or on the machine's own."""
    tls: bool = False


def read(argv: Sequence[str]) -> Serving:
    """What one command line serves. A wrapper (`docker run`, `sh -c`) is read through."""
    text = " ".join(argv)
    engine = next((kind for kind, pattern in _COMMANDS if pattern.search(text)), "")
    found = Serving(engine, "command" if engine else "", container=_container(argv))
    ports = _published(argv)
    inside = _number(_option(argv, "--port") or (_option(argv, "-p") if not ports else ""))
    port: int | None
    if ports:
        port = next((outer for outer, inner in ports if inner == (inside or DEFAULT_PORTS.get(engine))), ports[0][0])
    else:
        port = inside
    listen = _option(argv, "--listen", "-listen")
    if engine == "llamaswap" and listen.rpartition(":")[2].isdigit():
        port = int(listen.rpartition(":")[2])
    return replace(
        found,
        port=port,
        model=model_of(engine, argv),
        gpu_ratio=_ratio(_option(argv, "--gpu-memory-utilization", "--mem-fraction-static")),
        cpu_only=_cpu(argv),
        address="" if ports else elsewhere(_option(argv, "--host")),
        tls=bool(_option(argv, "--ssl-certfile", "--ssl-cert-file", "--tls-keyfile")),
    )


def elsewhere(address: str) -> str:
    """An address that is not to be reached as 127.0.0.1; empty for any other, and for names."""
    address = address.strip("[]")
    if not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:]+", address) or address in ("0.0.0.0", "::", "::1"):  # noqa: S104
        return ""
    return "" if address.startswith("127.") else f"[{address}]" if ":" in address else address


def by_name(*texts: str) -> str:
    """The engine that a name or a description names; empty for a helper beside one."""
    if any(HELPER.search(text) for text in texts[:1]):
        return ""
    return next((kind for kind, pattern in WORDS if any(pattern.search(text) for text in texts)), "")


def names_cpu(*texts: str) -> bool:
    """Whether a name says that this one runs on the CPU."""
    return any(_CPU.search(text) for text in texts)


def _option(argv: Sequence[str], *names: str) -> str:
    """The last value of an option, `--name value` or `--name=value`."""
    found = ""
    for index, word in enumerate(argv):
        for name in names:
            if word == name and index + 1 < len(argv):
                found = argv[index + 1]
            elif word.startswith(name + "="):
                found = word[len(name) + 1 :]
    return found.strip("\"'")


def model_of(engine: str, argv: Sequence[str]) -> str:
    """The id that `/v1/models` will list; empty where it is not told, or by a variable that is not known."""
    told = _option(argv, "--served-model-name", "--alias", *(("-a",) if engine == "llamacpp" else ()))
    if not told:
        told = _option(argv, "--model", "--model-path", *(("-m",) if engine == "llamacpp" else ()))
    if not told and engine == "vllm" and "serve" in argv[:-1]:
        following = argv[list(argv).index("serve") + 1]
        told = "" if following.startswith("-") else following
    told = told.split(",")[0].strip("\"'")
    return "" if "$" in told or "*" in told else told


def _published(argv: Sequence[str]) -> list[tuple[int, int]]:
    """Host and inner ports of a `docker run`."""
    if not any(word.rsplit("/", 1)[-1] in ("docker", "podman") for word in argv):
        return []
    values = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word in ("-p", "--publish")]
    values += [word.partition("=")[2] for word in argv if word.startswith(("--publish=", "-p="))]
    found = []
    for value in values:
        parts = value.partition("/")[0].split(":")
        if len(parts) >= 2 and parts[-1].isdigit() and parts[-2].isdigit():
            found.append((int(parts[-2]), int(parts[-1])))
    return found


def _container(argv: Sequence[str]) -> str:
    programs = [i for i, word in enumerate(argv) if word.rsplit("/", 1)[-1] in ("docker", "podman")]
    if not programs:
        return ""
    rest = list(argv[programs[0] + 1 :])
    if "run" in rest[:3]:
        return _option(rest, "--name")
    if rest[:1] and rest[0] in ("start", "attach") and not rest[-1].startswith("-"):
        return rest[-1].strip("\"';")
    return ""


def _cpu(argv: Sequence[str]) -> str:
    layers = _option(argv, "--n-gpu-layers", "--gpu-layers", "-ngl")
    if layers == "0":
        return "-ngl 0"
    device = _option(argv, "--device")
    if device in ("cpu", "none"):
        return f"--device {device}"
    return "--cpu" if "--cpu" in argv else ""


def _ratio(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value <= 1 else None


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else None
