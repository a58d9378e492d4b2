"""What an action held is started again even if its runner dies: by a guard beside it, or by the next action."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sovtui.onbox import box, locking, receipt, services
from sovtui.onbox.authority import Authority
from sovtui.onbox.deadline import within
from sovtui.onbox.plan import Request
from sovtui.onbox.words import Effect, Released, Step

SECONDS = 60.0
"""How long the start of one may take: nobody can cancel it."""
GUARDED = "SOVTUI_GUARDED"
"""Set where systemd runs the guard itself after the runner's end, whatever that was."""


def others(request: Request, write: Callable[[Effect], None]) -> Request:
    """First of all, let go what lost actions held; what this one would hold itself stays held, and is released at its end."""
    left = receipt.leftovers(but=request.id)
    mine = tuple(x for x in left if x in request.hold)
    free = tuple(x for x in left if x not in request.hold)
    if free:
        write(Step("release", "running", None, f"held by an action that was lost: {', '.join(free)}"))
        good, why = start(free, request.host)
        if good:
            write(Released(good))
        write(Step("release", "failed" if why else "done", 0.0, why or ", ".join(good)))
    return replace(request, left=mine)


def start(names: tuple[str, ...], host: str = "") -> tuple[tuple[str, ...], str]:
    """Which of them run now, and why the others do not."""
    authority, good, bad = Authority(host), [], []

    def one(name: str) -> tuple[bool, str]:
        if is_up(name):
            return True, ""
        ok, why = authority.control("start", name)
        skipped = _skipped(name) if ok else ""
        return ok and not skipped, f"skipped, because {skipped}" if skipped else why

    for name in names:
        try:
            ok, why = within(SECONDS, partial(one, name))
        except TimeoutError as late:
            ok, why = False, f"its start {late}"
        except Exception as problem:  # noqa: BLE001 — the others are to be released all the same
            ok, why = False, f"{type(problem).__name__}: {problem}"
        if ok:
            good.append(name)
        else:
            bad.append(f"{name} is still held: {why}")
    return tuple(good), "; ".join(bad)


def _skipped(name: str) -> str:
    """Why its start was none, though it ended well."""
    told, _ = services.look([name])
    return str(told[0]["skipped"]) if told and told[0]["active"] in ("inactive", "failed") else ""


def is_up(name: str) -> bool:
    told, _ = services.look([name])
    return bool(told) and told[0]["active"] == "active"


def stand_by(directory: str) -> None:
    """Where systemd does not look after this runner: a process of its own that waits for its end."""
    if os.environ.get(GUARDED):
        return
    argv = [box.python(), "-IS", os.path.join(directory, "runner.py"), directory, "release"]
    with contextlib.suppress(OSError), open(os.devnull, "r+b") as null:
        subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, env=box.environment(), cwd="/", start_new_session=True)


def after_death(directory: str) -> int:
    """Wait until the runner has gone, then release what it held and did not let go. Its receipt tells it."""
    alive = receipt.stay_alive(directory)
    lines = receipt.read(directory)
    left = receipt.held_in(lines)
    try:
        if not left or receipt.has_ended(lines):
            return 0
        held = locking.take(10.0)
        if held is None:
            return 0  # the next action is at work already and knows of them
        try:
            held.tell(
                {"who": box.user(), "id": os.path.basename(directory), "kind": "release", "target": "", "since": box.now_text()}
            )
            writer = receipt.Writer(directory)
            good, why = start(left)
            if good:
                writer.write("released", services=list(good))
            writer.write("step", name="release", state="failed" if why else "done", seconds=0.0, detail=why or ", ".join(good))
            writer.close()
        finally:
            held.release()
        return 1 if why else 0
    finally:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, "runner.py"))
        os.close(alive)
