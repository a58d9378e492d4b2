"""What engines say in their journal: why they failed, how far a start is, and what is noise. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sovtui.onbox import logforms

_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"Free memory on device .* on startup is less than desired GPU memory utilization",
        "another process still holds GPU memory",
    ),
    (r"No available memory for the cache blocks", "the weights leave no room for the KV cache"),
    (
        r"To serve at least one request with the models?'s max seq len",
        "the context is too long for the memory: lower --max-model-len",
    ),
    (r"Failed to load model - not enough GPU memory|CUDA out of memory|OutOfMemoryError", "not enough GPU memory"),
    (r"Available memory on node \d+ .* is less than requested memory for kv", "not enough memory for the KV cache"),
    (r"User-specified max_model_len .* is greater than the derived max_model_len", "the model cannot do a context that long"),
    (r"Weight files referenced in index but missing", "the download of the model is not complete"),
    (r"Repo id must be in the form", "there is no model at that path"),
    (r"error: unrecognized arguments:", "the unit passes a flag that the engine does not know"),
    (r"\[Errno 98\]|[Aa]ddress already in use", "its port is taken by another process"),
    (r"Not enough memory\. Please try to increase --mem-fraction-static", "not enough memory for the KV pool"),
    (r"Capture cuda graph failed", "capturing the CUDA graphs failed"),
    (r"cudaMalloc failed: out of memory", "not enough GPU memory"),
    (r"model requires more (?:system )?memory", "not enough memory for the model"),
    (r"failed to open GGUF file", "there is no model at that path"),
    (r"error: invalid argument: ", "the unit passes a flag that the engine does not know"),
    (r"couldn't bind (?:HTTP server|to server) socket", "its port is taken by another process"),
    (r"Failed at step EXEC|Failed to locate executable", "its program does not exist"),
    (r"scheduler died during initialization \(exit code: -9\)", "the system killed it, mostly for lack of memory"),
)
_SYMPTOMS: tuple[tuple[str, str], ...] = (
    (r"EngineDeadError|engine core exited unexpectedly", "the engine's core died"),
    (r"Scheduler hit an exception|Received sigquit from a child process|SIGQUIT received", "the scheduler crashed"),
    (r"Failed to execute|No such file or directory", "a file it needs does not exist"),
    (r"error loading model|failed to load model", "the model could not be loaded"),
)
_WEAK = tuple((re.compile(pattern), meaning) for pattern, meaning in _SYMPTOMS)
_KNOWN = tuple((re.compile(pattern), meaning) for pattern, meaning in _CAUSES)
_WRAPPERS = re.compile(
    r"RuntimeError: Engine core initialization failed|Exception: WorkerProc initialization failed|EngineCore failed to start"
)
_ERROR = re.compile(r"(?:\w*Error|\bException): ")
_LOOSE = re.compile(r"\b(?:error|fatal|failed|cannot|unable|denied|killed)\b", re.IGNORECASE)
_SYSTEMD = re.compile(
    r"^(?:Started|Starting|Stopped|Stopping|Finished|Deactivated|Failed to start)\b"
    r"|: (?:Triggering On|Job .* failed with result|Deactivated|Consumed|Scheduled restart|Failed with result|Main process exited|Control process exited)"
)
_BOUNDARY = re.compile(r"^Start(?:ed|ing) .*\S")
_PROGRESS: tuple[tuple[str, str], ...] = (
    (
        r"Application startup complete|The server is fired up and ready to roll|main: server is listening|To see the GUI go to:",
        "started",
    ),
    (
        r"(?:Loading \w+ checkpoint|Multi-thread loading(?: pt checkpoint)?) shards:\s+(\d+)% Completed \| (\d+)/(\d+)",
        "weights {0} %",
    ),
    (r"Capturing (?:CUDA graphs?|batches)[^:]*:\s+\d+%|Capture .*(?:cuda|CUDA) graph begin", "capturing graphs"),
    (r"Graph capturing finished|Capture .*(?:cuda|CUDA) graph end", "graphs captured"),
    (r"Starting torch\.compile|Dynamo bytecode transform time", "compiling"),
    (r"torch\.compile (?:takes|took)", "compiled"),
    (r"KV cache size: ([\d,]+) tokens|KV Cache is allocated\..*#tokens: (\d+)", "KV cache for {0} tokens"),
    (r"Model loading took|Loading weights took|Load weight end", "weights loaded"),
    (
        r"Starting to load model|Load weight begin|load_tensors: loading model tensors|load_model: loading model",
        "loading weights",
    ),
    (r"warming up the model with an empty run", "warming up"),
    (r"init engine \(", "engine up"),
    (r"Uvicorn running on", "warming up"),
)
_STAGES = tuple((re.compile(pattern), words) for pattern, words in _PROGRESS)


def progress(text: str) -> str:
    """How far a start is, in a few words; empty where the line does not tell."""
    for pattern, words in _STAGES:
        match = pattern.search(text)
        if match:
            return words.format(*[group for group in match.groups() if group is not None])
    return ""


def is_ready(text: str) -> bool:
    """Whether an engine says that it is ready, warm-up included."""
    return "The server is fired up and ready to roll" in text


def is_noise(text: str) -> bool:
    """Whether a line only shows that somebody asked how the engine is."""
    return not text.strip() or logforms.asked(text) is not None


def is_bar(text: str) -> bool:
    """Whether a line is one of many updates of a progress bar."""
    return "%|" in text or "% Completed |" in text


def is_bad(text: str) -> bool:
    """Whether a line tells of an error: kept even when the receipt is full."""
    return bool(_ERROR.search(text)) or any(pattern.search(text) for pattern, _ in _KNOWN)


def find_cause(lines: Sequence[str]) -> str:
    """Why a service failed: what it means and the line that shows it; empty where nothing tells.

    Since the last start: a line whose meaning is known, else the first error, wrappers that only tell of another one skipped.
    """
    begin = max((i for i, line in enumerate(lines) if _BOUNDARY.match(line)), default=-1) + 1
    recent = [line for line in lines[begin:] if line.strip() and not is_noise(line)]
    for line in recent:
        for pattern, meaning in _KNOWN:
            if pattern.search(line):
                return f"{meaning}: {_short(line)}"
    for line in recent:
        if _ERROR.search(line) and not _WRAPPERS.search(line) and "WARNING" not in line:
            return _meant(line)
    for line in recent:
        if any(pattern.search(line) for pattern, _ in _WEAK):
            return _meant(line)
    for line in reversed(recent):
        if _LOOSE.search(line) and not _SYSTEMD.search(line) and "WARNING" not in line:
            return _short(line)
    return ""


def _meant(line: str) -> str:
    meaning = next((meaning for pattern, meaning in _WEAK if pattern.search(line)), "")
    return f"{meaning}: {_short(line)}" if meaning else _short(line)


def last_error(lines: Sequence[str]) -> str:
    """The last line of a job that looks like an error, else its last line."""
    own = [line for line in lines if line.strip() and not _SYSTEMD.search(line)]
    for line in reversed(own):
        if _LOOSE.search(line) or _ERROR.search(line):
            return _short(line)
    return _short(own[-1]) if own else ""


def _short(line: str) -> str:
    line = " ".join(line[logforms.head(line) :].split())
    return line if len(line) <= 300 else line[:299] + "…"
