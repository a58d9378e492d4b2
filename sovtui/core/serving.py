"""A command line read for what it serves: which engine, which port, which model, how much memory. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sovtui.onbox import commandline, enginewords, shellwords
from sovtui.onbox.containerline import Project, Run

DEFAULT_PORTS = {
    "vllm": 8000,
    "sglang": 30000,
    "llamacpp": 8080,
    "ollama": 11434,
    "litellm": 4000,
    "llamaswap": 8080,
    "comfyui": 8188,
    "tei": 3000,
    "infinity": 7997,
    "tgi": 3000,
    "tabbyapi": 5000,
    "koboldcpp": 5001,
    "localai": 8080,
    "aphrodite": 2242,
    "lmdeploy": 23333,
    "llamacpppython": 8000,
}
"""Where each engine listens if it is not told otherwise."""
IN_IMAGES = {"tei": 80, "tgi": 80}
"""Where it listens in its container, if that is somewhere else."""
NAMES = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "ollama": "Ollama",
    "litellm": "LiteLLM",
    "llamaswap": "llama-swap",
    "comfyui": "ComfyUI",
}
"""Those that sovtui can read."""
OTHERS = {
    "tei": "text-embeddings-inference",
    "infinity": "Infinity",
    "tgi": "text-generation-inference",
    "tabbyapi": "TabbyAPI",
    "koboldcpp": "KoboldCpp",
    "localai": "LocalAI",
    "aphrodite": "Aphrodite",
    "lmdeploy": "LMDeploy",
    "trtllm": "TensorRT-LLM",
    "mlc": "MLC LLM",
    "mlx": "MLX LM",
    "xinference": "Xinference",
    "llamacpppython": "llama-cpp-python",
}
"""Those that it knows by name only."""
EMBEDDINGS, RERANKING = "embeddings", "reranking"
ASKED_AT_WORK = ("llamacpp", "llamaswap")
"""Engines whose figures are asked for only while they work: when that begins and ends is news."""
COUNTED_AT_END = ("litellm",)
"""Engines whose tokens are counted when an answer is complete: no count for minutes may be one long answer."""
WORDS = (
    ("llamaswap", re.compile(r"(?i)llama-?swap")),
    ("vllm", re.compile(r"(?i)\bvllm|vllm\b")),
    ("sglang", re.compile(r"(?i)\bsglang|sglang\b")),
    ("litellm", re.compile(r"(?i)litellm")),
    ("ollama", re.compile(r"(?i)ollama")),
    ("comfyui", re.compile(r"(?i)comfy")),
    ("llamacpp", re.compile(r"(?i)\bllama[-_.]?(?:cpp|server|file)|\bllama\b")),
)
HELPER = enginewords.HELPER
_ABOUT_OTHERS = re.compile(
    r"(?i)\b(?:logs?|proxy|exporter|health ?checks?|backups?|in front of|dashboard|watch(?:es|dog)?|monitors?|tests?)\b"
)
_CPU = re.compile(r"(?i)(?<![a-z])cpu(?![a-z])")


_ENVIRONMENT = {
    "--host": "LLAMA_ARG_HOST", "--port": "LLAMA_ARG_PORT", "--model": "LLAMA_ARG_MODEL", "--alias": "LLAMA_ARG_ALIAS",
    "--hf-repo": "LLAMA_ARG_HF_REPO", "--model-url": "LLAMA_ARG_MODEL_URL", "--docker-repo": "LLAMA_ARG_DOCKER_REPO",
    "--api-prefix": "LLAMA_ARG_API_PREFIX", "--ctx-size": "LLAMA_ARG_CTX_SIZE", "--n-gpu-layers": "LLAMA_ARG_N_GPU_LAYERS",
    "--device": "LLAMA_ARG_DEVICE", "--ssl-cert-file": "LLAMA_ARG_SSL_CERT_FILE", "--models-dir": "LLAMA_ARG_MODELS_DIR",
    "--models-preset": "LLAMA_ARG_MODELS_PRESET", "--pooling": "LLAMA_ARG_POOLING", "--embeddings": "LLAMA_ARG_EMBEDDINGS",
    "--reranking": "LLAMA_ARG_RERANKING", "--api-key": "LLAMA_API_KEY", "--api-key-file": "LLAMA_ARG_API_KEY_FILE",
}  # fmt: skip
"""What llama-server takes from its environment, as its `--help` lists it. The command line wins."""
_OTHER_ENVIRONMENT = {
    "litellm": {"--host": "HOST", "--port": "PORT"},
    "tei": {"--port": "PORT", "--hostname": "HOSTNAME", "--model-id": "MODEL_ID"},
    "tgi": {"--port": "PORT", "--model-id": "MODEL_ID"},
    "infinity": {"--port": "INFINITY_PORT", "--model-id": "INFINITY_MODEL_ID"},
}
_POOLED = re.compile(r"(?i)(?:^|[-_./])(?:bge|gte|e5|all-minilm)(?=[-_.]|\Z)|embed(?:d?er|ding)?s?(?![a-z])")
_RANKED = re.compile(r"(?i)re-?rank(?:er|ing)?")


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
    prefix: str = ""
    """The path before every other: `/llm`."""
    context: int | None = None
    """Tokens."""
    side: str = ""
    """`embeddings` or `reranking`: it generates nothing."""
    side_by: str = ""
    """The sign of that."""
    router: bool = False
    """It has no model of its own: it loads those that are asked for."""
    key: bool = False
    """It asks for a key."""
    containers: tuple[str, ...] = ()
    """All containers that the command starts."""
    project: Project | None = None
    """The compose project that it brings up."""
    detached: bool = False
    """The containers that it starts do not end with it."""
    unread: str = ""
    """The option whose value a variable holds that could not be read: then port and path are not known."""
    other: bool = False
    """It is known to be no engine: it only reads, watches, copies."""


def read(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Serving:
    """What one command line serves. Wrappers (`docker run`, `sh -c`, `env`, `uv run`) are read through."""
    found = several(argv, env)
    return next(
        (one for one in found if one.engine), next((one for one in found if one.container), found[0] if found else Serving())
    )


def several(argv: Sequence[str], env: Mapping[str, str] | None = None) -> list[Serving]:
    """The same for each program of a command line: a script may start two engines."""
    return [of_run(run, {**(env or {}), **run.env}) for run in commandline.runs(argv, env)]


def in_text(text: str, env: Mapping[str, str] | None = None) -> list[Serving]:
    """The same for a line of a script."""
    return [one for command in shellwords.commands(text, env) for one in several(command, env)]


def of_image(image: str, command: Sequence[str], env: Mapping[str, str]) -> Serving:
    """What a container serves, by its image and its command. The port is the one inside."""
    inner = (
        [one for one in commandline.runs(command, env) if enginewords.engine(one)] if command and command[0][:1] != "-" else []
    )
    words = inner[0].words if inner else tuple(command)
    return of_run(Run(words, {}, image), env)


def of_run(run: Run, env: Mapping[str, str]) -> Serving:
    engine = enginewords.engine(run)
    words = run.words
    look = _Options(words, env if engine == "llamacpp" else {}, _OTHER_ENVIRONMENT.get(engine, {}), env)
    inside, listen = _port(engine, look)
    default = (IN_IMAGES.get(engine) if run.image else None) or DEFAULT_PORTS.get(engine)
    port: int | None
    address = elsewhere(look("--host", "--hostname") or listen)
    if run.ports:
        published = next((one for one in run.ports if one.inside == (inside or default)), run.ports[0])
        port, address = published.host, elsewhere(published.address)
    else:
        port = inside or (default if run.image and run.host_network and engine in IN_IMAGES else None)
    model = model_of(engine, words, env)
    side, side_by = side_of(engine, words, env)
    names = (run.name,) if run.name else run.starts
    return Serving(
        engine,
        "command" if engine else "",
        port=port,
        model=model,
        gpu_ratio=_ratio(look("--gpu-memory-utilization", "--mem-fraction-static")),
        cpu_only=_cpu(look, words),
        container=names[0] if names else "",
        address=address,
        tls=bool(look("--ssl-certfile", "--ssl-cert-file", "--tls-keyfile", "--ssl_certfile_path")),
        prefix=_prefix(engine, look, env),
        context=_whole(look("--max-model-len", "--context-length", "--ctx-size", *(("-c",) if engine == "llamacpp" else ()))),
        side=side,
        side_by=side_by,
        router=engine == "llamacpp" and is_router(words, env),
        key=bool(look("--api-key", "--api-key-file") or (engine == "vllm" and env.get("VLLM_API_KEY"))),
        containers=names,
        project=run.project,
        detached=run.detached or bool(run.project and run.project.detached),
        unread=_unread(words) if engine else "",
        other=enginewords.known_other(run),
    )


class _Options:
    """The options of one command line, with the variables that stand for them."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], more: Mapping[str, str], every: Mapping[str, str]) -> None:
        self._words, self._env, self._more, self._every = words, env, more, every

    def __call__(self, *names: str) -> str:
        told = option(self._words, *names)
        if told:
            return told
        found: list[str | None] = [self._env.get(_ENVIRONMENT.get(name, "")) for name in names]
        found += [self._every.get(self._more.get(name, "")) for name in names]
        return next((value for value in found if value), "")

    def variable(self, name: str) -> str:
        return self._every.get(name, "")


def _unread(words: Sequence[str]) -> str:
    names = ("--port", "--api-prefix", "--host", "--listen", "-listen")
    hidden = next((name for name in names if "$" in option(words, name)), "")
    return hidden or next((word for word in words if re.fullmatch(r"\$\{?\w+\}?|\$\(…\)", word)), "")


def _port(engine: str, look: _Options) -> tuple[int | None, str]:
    """Port and address where it listens, as its command line says."""
    told = look("--port", *(("-p",) if engine not in ("llamacpp", "vllm") else ()))
    listen = look("--listen", "-listen", "--bind", "-b") if engine in ("llamaswap", "litellm") else ""
    if engine == "ollama":
        listen = look.variable("OLLAMA_HOST")
    host, _, number = listen.rpartition(":")
    if not told and number.isdigit():
        return _number(number), host.rpartition("//")[2]
    return _number(told), ""


def _prefix(engine: str, look: _Options, env: Mapping[str, str]) -> str:
    told = look("--api-prefix") if engine == "llamacpp" else env.get("SERVER_ROOT_PATH", "") if engine == "litellm" else ""
    told = told.rstrip("/")
    return told if re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)+", told) else ""


def is_router(words: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a llama-server has no model of its own. One whose words are not all known may have one."""
    look = _Options(words, env, {}, env)
    if look("--model", "-m", "--hf-repo", "-hf", "-hfr", "--model-url", "-mu", "--docker-repo", "-dr"):
        return False
    presets = any(re.match(r"--(?:gpt-oss|qwen|embd|fim|gemma|vision)[\w.-]*\Z", word) for word in words)
    return not presets and not any("$" in word for word in words) and not any(word.endswith(".gguf") for word in words)


def side_of(engine: str, words: Sequence[str], env: Mapping[str, str]) -> tuple[str, str]:
    """`embeddings` or `reranking` and its sign, where a server generates nothing; empty otherwise."""
    if engine in ("tei", "infinity"):
        model = option(words, "--model-id") or env.get("MODEL_ID", "") or env.get("INFINITY_MODEL_ID", "")
        return (RERANKING if _RANKED.search(model) else EMBEDDINGS), OTHERS[engine]
    ranks = ("--reranking", "--rerank")
    flags = (*ranks, "--embedding", "--embeddings", "--is-embedding")
    for word in words:
        if word in flags or re.match(r"--embd-[\w.-]+-default\Z", word):
            return (RERANKING if word in ranks else EMBEDDINGS), f"`{word}` in its command line"
    for name, value in (("--task", None), ("--runner", None), ("--convert", None), ("--pooling", "rank")):
        told = option(words, name)
        if (told in ("score", "classify", "reward") and name in ("--task", "--convert")) or (value and told == value):
            return RERANKING, f"`{name} {told}` in its command line"
        if told in ("embed", "embedding", "pooling") and not value:
            return EMBEDDINGS, f"`{name} {told}` in its command line"
    if engine == "llamacpp":
        for variable, what in (("LLAMA_ARG_RERANKING", RERANKING), ("LLAMA_ARG_EMBEDDINGS", EMBEDDINGS)):
            if env.get(variable, "").lower() in ("1", "true", "on", "enabled", "yes"):
                return what, f"{variable} in its environment"
    return "", ""


def by_model(model: str) -> str:
    """What a model is for by its name: `embeddings`, `reranking`; empty: it may generate."""
    name = model.rpartition("/")[2] or model
    return RERANKING if _RANKED.search(name) else EMBEDDINGS if _POOLED.search(name) else ""


def shown(engine: str) -> str:
    """An engine's own name; empty for none."""
    return NAMES.get(engine) or OTHERS.get(engine, "")


def elsewhere(address: str) -> str:
    """An address that is not to be reached as 127.0.0.1; empty for any other, and for names."""
    address = address.strip("[]")
    if not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:]+", address) or address in ("0.0.0.0", "::", "::1"):  # noqa: S104
        return ""
    return "" if address.startswith("127.") else f"[{address}]" if ":" in address else address


def by_name(*texts: str) -> str:
    """The engine that a name or a description names; empty for a helper beside one."""
    if any(HELPER.search(text) for text in texts[:1]) or any(_ABOUT_OTHERS.search(text) for text in texts[1:]):
        return ""
    return next((kind for kind, pattern in WORDS if any(pattern.search(text) for text in texts)), "")


def names_cpu(*texts: str) -> bool:
    """Whether a name says that this one runs on the CPU."""
    return any(_CPU.search(text) for text in texts)


def option(argv: Sequence[str], *names: str) -> str:
    """The last value of an option, `--name value` or `--name=value`."""
    found = ""
    for index, word in enumerate(argv):
        for name in names:
            if word == name and index + 1 < len(argv) and not argv[index + 1].startswith("--"):
                found = argv[index + 1]
            elif word.startswith(name + "="):
                found = word[len(name) + 1 :]
    return found.strip("\"'")


def model_of(engine: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """The id that `/v1/models` will list; empty where it is not told, or by a variable that is not known."""
    look = _Options(argv, (env or {}) if engine == "llamacpp" else {}, {}, env or {})
    told = look("--served-model-name", "--alias", *(("-a",) if engine == "llamacpp" else ()))
    if not told and engine == "llamacpp" and look("--hf-repo", "-hf", "-hfr", "--model-url", "-mu", "--docker-repo", "-dr"):
        return ""  # what it is called then differs from build to build
    if not told:
        told = look("--model", "--model-path", *(("-m",) if engine == "llamacpp" else ()))
    if not told and engine == "vllm":
        told = _positional(argv)
    told = told.split(",")[0].strip("\"'")
    return "" if "$" in told or "*" in told else told


def _positional(argv: Sequence[str]) -> str:
    """The model of `vllm serve MODEL`, and of a container whose words begin with it: `org/name`."""
    words = list(argv)
    if "serve" in words[:3]:
        first = words[words.index("serve") + 1] if words[-1] != "serve" and words.index("serve") + 1 < len(words) else ""
        return "" if first.startswith("-") else first
    return words[0] if words and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", words[0]) else ""


def _cpu(look: _Options, argv: Iterable[str]) -> str:
    layers = look("--n-gpu-layers", "--gpu-layers", "-ngl")
    if layers == "0":
        return "-ngl 0"
    device = look("--device")
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


def _whole(text: str) -> int | None:
    """Tokens: `131072`, and vLLM's `128k` (thousands) and `128K` (1024)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    if match is None:
        return None
    return int(float(match[1]) * {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20}[match[2]]) or None
