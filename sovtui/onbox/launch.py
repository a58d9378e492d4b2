"""Start the runner so that it outlives this connection: owned by systemd, or where there is none detached, under the lock."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from typing import Any

from sovtui.onbox import box, keeping, lock, memory, receipt, release
from sovtui.onbox.names import BadRequest
from sovtui.onbox.plan import parse

KEEP = 200
"""Receipts kept."""
PATIENCE = 8.0
BEGUN_SECONDS = 20.0
"""For a runner to begin. One that is later finds its request withdrawn, so that what did not start does not start afterwards either."""


def start(raw: Any) -> dict[str, Any]:
    """`started` (with `by`), `exists`, `busy` (with who, id, kind, target, since, step) or `error`."""
    try:
        request = parse(raw)
    except BadRequest as problem:
        return {"t": "error", "reason": str(problem)}
    directory = receipt.folder(request.id)
    if os.path.isdir(directory):
        return {"t": "exists", "id": request.id}
    other = lock.holder()
    end = time.monotonic() + PATIENCE
    while other is not None and other.get("kind") == "release" and time.monotonic() < end:
        time.sleep(0.1)  # the guard of an action that was lost: done in a moment
        other = lock.holder()
    if other is not None:
        return {**other, "t": "busy"}
    if not memory.payload:
        return {"t": "error", "reason": "the runner's source is not here: start goes through the bundle"}
    try:
        os.makedirs(receipt.home(), 0o700, exist_ok=True)
        _prune()
        os.mkdir(directory, 0o700)
    except OSError as problem:
        if os.path.isdir(directory):
            return {"t": "exists", "id": request.id}
        return {"t": "error", "reason": f"{receipt.home()} cannot be written: {problem.strerror}"}
    try:
        receipt.make_room(directory)
        keeping.put(os.path.join(directory, "request.json"), json.dumps(raw))
        keeping.put(os.path.join(directory, "runner.py"), memory.as_file(memory.payload))
        by, process = _spawn(directory, request.id)
    except OSError as problem:
        shutil.rmtree(directory, ignore_errors=True)
        return {"t": "error", "reason": f"nothing is started: {directory} cannot be written: {problem.strerror or problem}"}
    return _answer(directory, request.id, by, process)


def _spawn(directory: str, action: str) -> tuple[str, subprocess.Popen[bytes] | None]:
    argv = [box.python(), "-IS", os.path.join(directory, "runner.py"), directory]
    if box.has_systemd() and (box.is_root() or lingers()):
        words = ["systemd-run", *([] if box.is_root() else ["--user"]), "--quiet", "--collect", "--no-ask-password"]
        words += [f"--unit=sovtui-action-{action}", f"--description=sovtui {action}"]
        words += ["--property=KillMode=mixed", "--property=TimeoutStopSec=300", f"--setenv={release.GUARDED}=1"]
        quoted = " ".join('"' + re.sub(r'(["\\\\])', r"\\\1", word) + '"' for word in [*argv[1:], "release"])
        words.append(f"--property=ExecStopPost=-{argv[0]} {quoted}")
        for name in ("SOVTUI_LOCK", "XDG_STATE_HOME"):
            if os.environ.get(name):
                words.append(f"--setenv={name}={os.environ[name]}")
        if box.command([*words, *argv], 10.0)[0] == 0:
            return "systemd", None
    with open(os.path.join(directory, "runner.log"), "ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=box.environment(),
            cwd="/",
            start_new_session=True,
        )
    return "detached", process


def lingers(enable: bool = True) -> bool:
    """Whether this user's manager lives without a session; switched on if the user may (it is the user's own right)."""
    path = "/var/lib/systemd/linger/" + box.user()
    if not os.path.exists(path) and enable:
        box.command(["loginctl", "--no-ask-password", "enable-linger"], 5.0)
    return os.path.exists(path) and box.command(["systemctl", "--user", "is-system-running"], 5.0)[1].strip() in (
        "running",
        "degraded",
        "starting",
        "initializing",
    )


def _answer(directory: str, action: str, by: str, process: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    ended = False
    end = time.monotonic() + BEGUN_SECONDS
    while time.monotonic() < end:
        ended = process is not None and process.poll() is not None
        if receipt.read(directory):
            return {"t": "started", "id": action, "by": by}
        for name, kind in (("busy", "busy"), ("refused", "error")):
            path = os.path.join(directory, name)
            if os.path.exists(path):
                told = json.loads(box.read(path) or "{}")
                shutil.rmtree(directory, ignore_errors=True)
                return {**told, "t": kind}
        if ended:
            break
        time.sleep(0.02)
    why = box.last_line(box.read(os.path.join(directory, "runner.log"))) or f"nothing came within {BEGUN_SECONDS:.0f} s"
    if not ended and not receipt.claim(directory):
        return {"t": "started", "id": action, "by": by}
    return {"t": "error", "reason": f"the runner did not start: {why}"}


def _prune() -> None:
    """Old receipts, and what a runner that was killed could not take away."""
    for number, action in enumerate(receipt.actions()):
        directory = receipt.folder(action)
        left = os.path.exists(os.path.join(directory, "runner.py"))  # a runner takes it away at its end
        if (number >= KEEP or left) and not receipt.alive(directory):
            if number >= KEEP:
                shutil.rmtree(directory, ignore_errors=True)
            else:
                receipt.tidy(directory)


def cancel(action: str) -> dict[str, Any]:
    """`cancelling` or `error`."""
    directory = receipt.folder(action)
    if not receipt.alive(directory):
        return {"t": "error", "reason": f"{action} does not run"}
    try:
        os.close(os.open(os.path.join(directory, "cancel"), os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as problem:
        return {"t": "error", "reason": f"{action} cannot be told: {directory} cannot be written: {problem.strerror}"}
    return {"t": "cancelling", "id": action}
