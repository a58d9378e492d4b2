"""Receipts for clients: follow one as it is written, or list them all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from sovtui.onbox import box, lock, phrases, receipt, services

POLL = 0.15
GRACE = 3.0
"""How long a new action may be without a first line."""


def newest() -> str:
    """The running action of this user, else the newest."""
    every = receipt.actions()
    held = lock.holder()
    if held and held.get("id") in every:
        return str(held["id"])
    return every[0] if every else ""


def follow(action: str, skip: int = 0) -> Iterator[dict[str, Any]]:
    """The lines of a receipt as they come, to `end`, `lost` or `error`; without the first `skip`, which the client has."""
    action = action or newest()
    if not action:
        yield {"t": "error", "reason": "there is no receipt of this user on this host"}
        return
    directory = receipt.folder(action)
    if not os.path.isdir(directory):
        yield foreign(action)
        return
    path, offset, rest = os.path.join(directory, "receipt.jsonl"), 0, b""
    boot, seen = "", 0
    began = time.monotonic()
    dead_at: float | None = None
    while True:
        living = receipt.alive(directory)  # asked before reading: what it wrote before its end is then seen
        data = _read(path, offset)
        offset += len(data)
        whole, _, rest = (rest + data).rpartition(b"\n")
        for line in receipt.parse(whole):
            if line["t"] == "begin":
                boot = str(line.get("boot", ""))
            seen += 1
            if seen > skip:
                yield line
            if line["t"] == "end":
                return
        if not living and not data and (boot or time.monotonic() - began > GRACE):
            dead_at = time.monotonic() if dead_at is None else dead_at
            left = holds_left(directory)
            if not left or time.monotonic() - dead_at > GRACE:  # its guard takes a moment
                yield lost(boot, left)
                return
        if not data:
            time.sleep(POLL)


def _read(path: str, offset: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(1 << 20)
    except OSError:
        return b""


def foreign(action: str) -> dict[str, Any]:
    held = lock.holder() or {}
    if held.get("id") == action:
        who, step = held.get("who", "another user"), held.get("step", "")
        return {
            "t": "error",
            "reason": f"{action} was started by {who} and is at step {phrases.step(step)}; its receipt is in that user's home",
        }
    return {"t": "error", "reason": f"there is no action {action} of this user on this host"}


def holds_left(directory: str) -> tuple[str, ...]:
    """What this action held and nothing has started again since."""
    mine = receipt.held_in(receipt.read(directory))
    left = [x for x in receipt.leftovers() if x in mine] if mine else []
    told = services.look(left)[0] if left else []
    up = [one["name"] for one in told if one["active"] == "active"]
    return tuple(x for x in left if x not in up)


def lost(boot: str, left: tuple[str, ...] = ()) -> dict[str, Any]:
    """The line that is derived where a receipt has no end and nobody is alive to write it."""
    rebooted = bool(boot) and boot != box.boot_id()
    reason = "the host was rebooted in the middle of it" if rebooted else "its runner was killed in the middle of it"
    if left:
        reason += f"; holds left: {', '.join(left)}; the next action releases them"
    return {"t": "lost", "at": box.now_text(), "reason": reason, "holds": list(left)}


def listed(limit: int) -> Iterator[dict[str, Any]]:
    """One line per action, newest first."""
    for action in receipt.actions()[:limit]:
        directory = receipt.folder(action)
        living = receipt.alive(directory)
        lines = receipt.summary(receipt.read(directory))
        if not lines:
            continue
        running = living and not receipt.has_ended(lines)
        boot = str(lines[0].get("boot", ""))
        if not running and not receipt.has_ended(lines):
            lines.append(lost(boot, holds_left(directory)))
        elif not running and boot and boot != box.boot_id():
            lines.append({"t": "rebooted", "at": box.now_text()})
        yield {"t": "action", "id": action, "running": running, "lines": lines, "now": time.time()}
