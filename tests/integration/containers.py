"""Real containers on the test box: run by its podman, made of nothing but the box's own /usr, with pretend engines in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.box import pretend_loader
from tests.box.box import Box

IMAGE = "localhost/pretend"
ENGINE = "/usr/local/lib/pretend/pretend_engine.py"
LOADER = "/usr/local/lib/pretend/pretend_loader.py"
MOUNTS = ("/usr:/usr:ro", "/etc/pretend:/etc/pretend:ro")
SLEEP = ("/bin/sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait")
"""Ends at once when it is asked to: without a handler PID 1 of a container ignores SIGTERM."""
_ROOT = (
    "mkdir -p usr etc/pretend proc sys dev tmp run var root && ln -s usr/bin bin && ln -s usr/lib lib && ln -s usr/lib64 lib64"
)
COMPOSE = """\
services:
  db:
    image: {image}
    network_mode: host
    volumes: {mounts}
    command: {db}
  migrate:
    image: {image}
    network_mode: host
    volumes: {mounts}
    depends_on: [db]
    command: ["/usr/bin/true"]
  engine:
    image: {image}
    network_mode: host
    volumes: {mounts}
    depends_on: [db]
    command: {engine}
"""


def image(box: Box) -> None:
    """The one image: directories and three links; the rest is mounted."""
    box.root(f"set -e; d=$(mktemp -d); cd $d; {_ROOT}; tar -c . | podman import -q - {IMAGE}; rm -r $d", timeout=60)


def create(box: Box, name: str, *command: str, restart: str = "no", options: tuple[str, ...] = ()) -> None:
    """A container that does not run yet."""
    mounts = [word for mount in MOUNTS for word in ("-v", mount)]
    argv = ["podman", "create", "--name", name, "--network", "host", "--restart", restart, *mounts, *options, IMAGE, *command]
    box.root(argv)


def engine_words(kind: str, model: str, port: int, unit: str, knobs: Mapping[str, float]) -> list[str]:
    words = ["/usr/bin/python3", ENGINE, "--kind", kind, "--model", model, "--port", str(port), "--unit", unit]
    for key, value in knobs.items():
        words += ["--" + key.replace("_", "-"), str(value)]
    return words


def engine(box: Box, name: str, kind: str, model: str, port: int, knobs: Mapping[str, float], restart: str = "no") -> None:
    """A container with a pretend engine that is not started yet."""
    create(box, name, *engine_words(kind, model, port, name, knobs), restart=restart)


def loader(box: Box, name: str, kind: str, port: int, *words: str) -> None:
    """A container with a pretended Ollama or ComfyUI that is not started yet."""
    box.write(LOADER, Path(pretend_loader.__file__).read_text())
    create(box, name, "/usr/bin/python3", LOADER, "--kind", kind, "--port", str(port), *words)


def project(box: Box, name: str, engine: list[str]) -> None:
    """A compose project by docker-compose itself, through podman's socket: a database, a job that ends, an engine. Nothing is started."""
    text = COMPOSE.format(image=IMAGE, mounts=json.dumps(MOUNTS), db=json.dumps(SLEEP), engine=json.dumps(engine))
    box.write(f"/srv/{name}/docker-compose.yml", text)
    environment = "DOCKER_HOST=unix:///run/podman/podman.sock"
    box.root(f"cd /srv/{name} && {environment} docker-compose -p {shlex.quote(name)} up --no-start", timeout=60)


def told(box: Box, name: str) -> dict[str, Any]:
    """What podman says of a container's state."""
    state: dict[str, Any] = json.loads(box.root(["podman", "inspect", "--type", "container", name]).stdout)[0]["State"]
    return state


def runs(box: Box, *names: str) -> list[str]:
    """Of the containers those with a living process."""
    return [
        name
        for name in names
        if told(box, name)["Pid"] and box.root(f"kill -0 {told(box, name)['Pid']}", check=False).returncode == 0
    ]
