"""Which programs are engines, by their own names. What only names an engine (`journalctl -u litellm`, an editor) is none. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sovtui.onbox.containerline import CONTAINERS, Run

SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "busybox"))
READERS = frozenset(
    ("journalctl", "systemctl", "tail", "head", "cat", "less", "more", "zless", "zcat", "bat", "vi", "vim", "nvim", "view", "nano",
     "emacs", "emacsclient", "micro", "hx", "code", "grep", "egrep", "fgrep", "zgrep", "rg", "ag", "awk", "gawk", "mawk", "sed", "cut", "sort", "uniq", "wc", "tr", "tee",
     "xargs", "find", "fd", "locate", "ls", "eza", "tree", "stat", "file", "du", "df", "md5sum", "sha256sum", "diff", "cmp", "watch", "curl",
     "wget", "http", "xh", "jq", "yq", "nc", "ncat", "socat", "telnet", "ssh", "scp", "sftp", "rsync", "rclone", "restic", "borg",
     "borgmatic", "kopia", "tar", "zip", "gzip", "zstd", "age", "git", "make", "man", "info", "apropos", "whatis", "which", "whereis", "type",
     "hash", "echo", "printf", "logger", "wall", "notify-send", "true", "false", "test", "[", "[[", "sleep", "wait", "rm", "mkdir",
     "cp", "mv", "ln", "touch", "chmod", "chown", "install", "ps", "pgrep", "pkill", "kill", "killall", "pidof", "top", "htop", "btop", "atop",
     "iotop", "nvtop", "nvidia-smi", "rocm-smi", "lsof", "fuser", "ss", "netstat", "ip", "ping", "pip", "pip3", "apt", "apt-get", "dnf",
     "yum", "pacman", "dpkg", "rpm", "snap", "brew", "npm", "hf", "huggingface-cli", "crontab", "at", "batch", "loginctl", "hostnamectl", "timedatectl",
     "journal", "dmesg", "multitail", "lnav", "stern", "kubectl", "helm", "ansible", "ansible-playbook", "nginx", "caddy", "haproxy", "traefik", "prometheus",
     "alertmanager", "node_exporter", "grafana", "grafana-server", "alias", "unalias", "export", "set", "unset", "cd", "pushd", "popd", "source",
     "eval", "return", "exit", "trap", "read", "shift", "break", "continue", "declare", "local", "readonly", "ulimit", "umask", "disown", "select",
     "whiptail", "dialog", "zenity", "gum", "fzf", "pytest", "mypy", "ruff", "pylint", "llama-cli", "llama-bench", "llama-quantize", "litellm-proxy")
)  # fmt: skip
"""Programs that serve no model, whatever their words name."""
_PYTHON = re.compile(r"(?:python|pypy|pythonw)(?:\d+(?:\.\d+)*)?t?\Z")
_LLAMA = re.compile(
    r"llama-server(?:[-_.](?:cuda|cu\d+|vulkan|rocm|hip|sycl|cpu|metal|musa|blas|opencl|cann|avx\d*|b?\d+|exe|bin))*\Z"
)
HELPER = re.compile(
    r"(?i)health|check|watchdog|exporter|proxy|backup|updat|upgrade|pull|download|restart|notify|alert|monitor|warm|bench|"
    r"test|clean|prune|heal|guard|sync|metrics|webui|console|dashboard|logger|gateway|rotate|(?<![a-z])(?:logs?|tail|stop|kill|reload)(?![a-z])"
)
"""Words in the names of what stands beside an engine and is none."""
_MODULES = (
    ("vllm", re.compile(r"vllm\.entrypoints\.(?:\w+\.)*api_server\Z")),
    ("sglang", re.compile(r"sglang\.launch_server\Z|sglang\.srt\.entrypoints\.\w*server\Z")),
    ("litellm", re.compile(r"litellm(?:\.proxy(?:\.\w+)*)?\Z")),
    ("llamacpppython", re.compile(r"llama_cpp\.server\Z")),
    ("infinity", re.compile(r"infinity_emb(?:\.\w+)?\Z")),
    ("mlx", re.compile(r"mlx_(?:v?lm)\.server\Z")),
    ("aphrodite", re.compile(r"aphrodite\.endpoints\.(?:\w+\.)*api_server\Z")),
    ("lmdeploy", re.compile(r"lmdeploy\.serve\.(?:\w+\.)*api_server\Z")),
    ("mlc", re.compile(r"mlc_llm\.serve(?:\.\w+)*\Z")),
    ("koboldcpp", re.compile(r"koboldcpp\Z")),
    ("tabbyapi", re.compile(r"tabbyapi(?:\.main)?\Z")),
    ("comfyui", re.compile(r"comfyui(?:\.\w+)*\Z")),
)
"""What `python -m` serves with."""
_SUBCOMMANDS = {
    ("vllm", "serve"): "vllm", ("sglang", "serve"): "sglang", ("ollama", "serve"): "ollama", ("llama", "serve"): "llamacpp",
    ("llama", "server"): "llamacpp", ("comfy", "launch"): "comfyui", ("aphrodite", "run"): "aphrodite",
    ("lmdeploy", "serve"): "lmdeploy", ("mlc_llm", "serve"): "mlc", ("infinity_emb", "v2"): "infinity",
    ("infinity_emb", "v1"): "infinity", ("trtllm-serve", "serve"): "trtllm",
}  # fmt: skip
_NAMES = {
    "llama-swap": "llamaswap", "litellm": "litellm", "tabbyapi": "tabbyapi", "koboldcpp": "koboldcpp", "koboldcpp.py": "koboldcpp",
    "text-generation-launcher": "tgi", "text-embeddings-router": "tei", "local-ai": "localai", "xinference-local": "xinference",
    "trtllm-serve": "trtllm", "comfyui": "comfyui", "mlx_lm.server": "mlx", "mlx_vlm.server": "mlx", "infinity_emb": "infinity",
}  # fmt: skip
_IMAGES = (
    ("vllm", re.compile(r"(?:^|/)vllm(?:-[\w.]+)?(?:[:@]|\Z)")),
    ("sglang", re.compile(r"(?:^|/)sglang(?:-[\w.]+)?(?:[:@]|\Z)")),
    ("llamaswap", re.compile(r"(?:^|/)llama-swap(?:-[\w.]+)?(?:[:@]|\Z)")),
    ("llamacpp", re.compile(r"(?:^|/)(?:llama\.cpp[\w.-]*:(?:[\w.-]*-)?server|llama-server|llama-cpp-server|llamafile)")),
    ("ollama", re.compile(r"(?:^|/)ollama(?:[:@]|\Z)")),
    ("litellm", re.compile(r"(?:^|/)litellm(?:-(?:database|non_root|proxy|ee|spend_logs))?(?:[:@]|\Z)")),
    ("comfyui", re.compile(r"(?i)(?:^|[/-])comfyui(?:[-_][\w.-]+)?(?:[:@]|\Z)")),
    ("tei", re.compile(r"(?:^|/)(?:text-embeddings-inference|tei)(?:[:@]|\Z)")),
    ("infinity", re.compile(r"(?:^|/)infinity(?:[:@]|\Z)")),
    ("tgi", re.compile(r"(?:^|/)text-generation-inference(?:[:@]|\Z)")),
    ("localai", re.compile(r"(?:^|/)(?:localai|local-ai)(?:[:@]|\Z)")),
    ("koboldcpp", re.compile(r"(?:^|/)koboldcpp(?:[:@]|\Z)")),
    ("tabbyapi", re.compile(r"(?i)(?:^|/)tabbyapi(?:[:@]|\Z)")),
    ("aphrodite", re.compile(r"(?:^|/)aphrodite-(?:openai|engine)(?:[:@]|\Z)")),
    ("xinference", re.compile(r"(?:^|/)xinference(?:[:@]|\Z)")),
    ("lmdeploy", re.compile(r"(?:^|/)lmdeploy(?:[:@]|\Z)")),
)
"""What a container serves by its image, where its command does not say."""


_OTHER_IMAGES = re.compile(
    r"(?:^|/)(?:postgres|pgvector|mariadb|mysql|redis|valkey|mongo|nginx|caddy|traefik|haproxy|grafana|prometheus|alertmanager|"
    r"node-exporter|dcgm-exporter|cadvisor|open-webui|searxng|qdrant|chroma|weaviate|milvus|n8n|langfuse|phoenix|portainer|watchtower|"
    r"dozzle|alpine|busybox|debian|ubuntu|curl)(?:-[\w.]+)?(?:[:@]|\Z)"
)


def engine(run: Run) -> str:
    """The engine that a program is, by the survey's name; empty for anything else."""
    found = _engine(run.words)
    if found or not run.image:
        return found
    if run.words and not run.words[0].startswith("-") and _other(run.words):
        return ""
    if re.search(r"(?:^|/)llama\.cpp[\w.-]*:(?:[\w.-]*-)?full", run.image):
        return "llamacpp" if run.words[:1] in (("--server",), ("-s",)) else ""
    return next((kind for kind, pattern in _IMAGES if pattern.search(run.image)), "")


def known_other(run: Run) -> bool:
    """Whether the program is known, and known to serve no model. Of a container that is started that is not known by its name."""
    if engine(run) or run.starts or run.project:
        return False
    if run.image:
        return _OTHER_IMAGES.search(run.image) is not None or (
            bool(run.words) and not run.words[0].startswith("-") and _other(run.words)
        )
    return bool(run.words) and _other(run.words)


def base(word: str) -> str:
    return word.rstrip("/").rsplit("/", 1)[-1]


def python_target(words: Sequence[str]) -> tuple[str, list[str], bool]:
    """What a Python interpreter runs: a module or a script, its words, and whether it is a module."""
    index = 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        if word == "-m" and index + 1 < len(words):
            return words[index + 1], list(words[index + 2 :]), True
        if word.startswith("-m") and len(word) > 2 and not word.startswith("--"):
            return word[2:], list(words[index + 1 :]), True
        if word == "-c":
            return "", [], False
        index += 2 if word in ("-X", "-W") else 1
    return (words[index], list(words[index + 1 :]), False) if index < len(words) else ("", [], False)


def plain(words: Sequence[str]) -> tuple[str, list[str]]:
    """Program and words of a command line without the interpreter: `vllm serve m` of `python3 /venv/bin/vllm serve m`."""
    if words and _PYTHON.match(base(words[0])):
        target, rest, _ = python_target(words)
        return target, rest
    return (words[0], list(words[1:])) if words else ("", [])


def is_python(words: Sequence[str]) -> bool:
    return bool(words) and _PYTHON.match(base(words[0])) is not None


def _engine(words: Sequence[str]) -> str:
    program, rest = plain(words)
    name = base(program)
    if is_python(words) and python_target(words)[2]:
        found = next((kind for kind, pattern in _MODULES if pattern.match(program)), "")
        if found:
            return found
    first = next((word for word in rest if not word.startswith("-")), "")
    if (name, first) in _SUBCOMMANDS:
        return _SUBCOMMANDS[(name, first)]
    if name in ("uvicorn", "gunicorn", "hypercorn", "granian"):
        return "litellm" if any(re.match(r"litellm\.proxy\.\w+(?::\w+)?\Z", word) for word in rest) else ""
    if name in _NAMES:
        jobs = ("--version", "--help", "-h", "--test", "--health", "--validate_config", "--skip_server_startup", "-v")
        return "" if any(word in jobs for word in rest) and name == "litellm" else _NAMES[name]
    if _LLAMA.match(name):
        return "" if any(word in ("--version", "--help", "-h", "--list-devices") for word in rest) else "llamacpp"
    if name == "server" and ("llama" in program.lower() or any(word.endswith(".gguf") for word in rest)):
        return "llamacpp"
    if (name == "llamafile" or name.endswith(".llamafile")) and any(w in rest for w in ("--server", "--port", "--nobrowser")):
        return "llamacpp"
    if name in ("main.py", "main") and "comfyui" in program.lower():
        return "comfyui"
    if name in ("main.py", "start.py") and "tabbyapi" in program.lower():
        return "tabbyapi"
    if name == "launch_server.py" and "sglang" in program:
        return "sglang"
    if name == "api_server.py" and "vllm" in program:
        return "vllm"
    return ""


def _other(words: Sequence[str]) -> bool:
    program, rest = plain(words)
    name = base(program)
    if name in READERS or name in SHELLS or name in CONTAINERS:
        return True
    first = next((word for word in rest if not word.startswith("-")), "")
    return name in {one for one, _ in _SUBCOMMANDS} and bool(first) and (name, first) not in _SUBCOMMANDS
