"""llama.cpp's own server (build 11549, from `xllamacpp`) with a tiny model of random weights, or another."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.engines.place import cache, python
from tests.engines.running import Running, free_port

HERE = Path(__file__).parent


def tiny(width: int = 128, layers: int = 3, context: int = 32768) -> Path:
    """A model file with random weights, written once: some 2,500 tok/s on a core at 128×3, 200 at 512×12."""
    path = cache() / f"tiny-{width}x{layers}-{context}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            argv = [str(python("llamacpp")), str(HERE / "tiny_model.py"), str(path), str(width), str(layers), str(context)]
            subprocess.run(argv, check=True, timeout=300)
    return path


def start(
    folder: Path,
    model: Path | None = None,
    *,
    wait: bool = True,
    port: int | None = None,
    options: Sequence[str] = (),
    **fields: Any,
) -> Running:
    """A server of its own. `fields` are CommonParams', `__` for a dot: `endpoint_metrics=True`, `cpuparams__n_threads=1`.

    `options`: those of `llama-server` that say the same, for whoever reads its command line; with them it is called so.
    """
    port = port or free_port()
    told: dict[str, Any] = {
        "model.path": str(model or tiny()),
        "hostnames": ["127.0.0.1"],
        "port": port,
        "n_ctx": 4096,
        "n_parallel": 1,
        "model_alias": ["tiny"],
        "cpuparams.n_threads": 1,
        "cpuparams_batch.n_threads": 1,
        "warmup": False,
        **{name.replace("__", "."): value for name, value in fields.items()},
    }
    program = _called_llama_server(python("llamacpp")) if options else python("llamacpp")
    argv = [str(program), str(HERE / "serve_llamacpp.py"), json.dumps(told)]
    argv += ["--port", str(port), *options] if options else []
    server = Running(argv, folder / f"llamacpp-{port}.log", f"http://127.0.0.1:{port}")
    if wait:
        try:
            server.wait(f"{told.get('api_prefix', '')}/health")
        except BaseException:
            server.end()
            raise
    return server


def _called_llama_server(program: Path) -> Path:
    """The same interpreter by another name."""
    named = program.with_name("llama-server")
    if not named.exists():
        with contextlib.suppress(FileExistsError):
            named.symlink_to(program.name)
    return named


@contextmanager
def llamacpp(folder: Path, model: Path | None = None, **fields: Any) -> Iterator[Running]:
    """See `start`; ended at the end."""
    server = start(folder, model, **fields)
    try:
        yield server
    finally:
        server.end()
