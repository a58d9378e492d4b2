"""The receipt: what an action did, as JSON lines, append-only. The one definition of its format, written and read.

    {"t":"begin","v":1,"id","kind","target","who","host","at","request":{...}}
    {"t":"step","name","state":"running|done|failed|skipped","at","seconds","detail"}    "running" again: news of the same step
    {"t":"line","at","unit","text"}                                                      bounded
    {"t":"figures","at","when":"before|after","values":{name: number}}
    {"t":"held|released","at","services":[name]}                                         written before they are stopped; after their start
    {"t":"end","at","outcome","reason","seconds","exit"}

No environment and no secret is ever written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable
from typing import Any

from sovtui.onbox import box
from sovtui.onbox.hiding import Hider
from sovtui.onbox.plan import check_id

OUTCOMES = ("done", "warned", "refused", "failed", "rolled-back", "rollback-failed", "cancelled", "skipped", "lost")
"""`warned`: done, but a check after it did not hold. `refused`: not agreed to, nothing touched. `skipped`: systemd made no run of it. `lost` is never written: no end, and nobody is alive who could write it."""
MAX_LINES = 400
MAX_BAD_LINES = 60
MAX_TEXT = 1000
RESERVE = 64 << 10
"""Bytes set aside on the disk while an action runs."""
_SECRET = re.compile(
    r"(?i)((?<![a-z])(?:api[_-]?key|token|password|passwd|secret|authorization)[\"']?\s*[:=]\s*(?:bearer\s+)?[\"']?)(?!\d+\b)([^\s\"',)]{6,})"
    r"|\b(?:hf_|sk-|ghp_|xox[bp]-)[A-Za-z0-9_-]{8,}"
)


def home() -> str:
    """Where this user's actions are kept."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "sovtui", "actions")


def folder(action: str) -> str:
    """The directory of one action."""
    return os.path.join(home(), check_id(action))


def without_secrets(text: str) -> str:
    return _SECRET.sub(lambda m: (m.group(1) or "") + "…", text)


class Writer:
    """Writes one receipt. Every line is on the disk before the next thing happens.

    A disk that fills up must not stop an action half way: room is set aside for the rest of the receipt, and what cannot be
    written then either is kept and written as soon as it can be.
    """

    def __init__(self, directory: str, hide: Hider | None = None) -> None:
        self._hide = hide or Hider(())
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(os.path.join(directory, "receipt.jsonl"), flags, 0o600)
        self._reserve = os.path.join(directory, "reserve")
        self._waiting = b""
        self._lines = 0
        self._bad = 0
        with open(self._reserve, "wb") as file:
            file.write(bytes(RESERVE))

    def write(self, t: str, /, *, sync: bool = True, **fields: Any) -> None:
        line = {"t": t, "at": box.now_text(), **fields}
        line.update((key, self._hide(line[key])) for key in ("detail", "reason", "text") if line.get(key))
        self._waiting += (json.dumps(line, separators=(",", ":")) + "\n").encode("ascii")
        for _ in range(2):
            try:
                self._flush(sync)
                return
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self._reserve)

    def _flush(self, sync: bool) -> None:
        while self._waiting:
            self._waiting = self._waiting[os.write(self._descriptor, self._waiting) :]
        if sync:
            os.fsync(self._descriptor)

    def line(self, unit: str, text: str, bad: bool = False) -> None:
        """A journal line, if there is still room; room for bad ones is kept."""
        if not os.path.exists(self._reserve):
            return  # the disk is full: what is left is for the steps and the end
        if self._lines >= MAX_LINES:
            if not bad or self._bad >= MAX_BAD_LINES:
                return
            self._bad += 1
        self._lines += 1
        self.write("line", sync=False, unit=unit, text=without_secrets(self._hide(text)[:MAX_TEXT]))

    def close(self, patience: float = 5.0) -> None:
        """Write what still waits, for a moment at most."""
        end = time.monotonic() + patience
        while self._waiting and time.monotonic() < end:
            with contextlib.suppress(OSError):
                self._flush(sync=True)
                break
            time.sleep(0.2)
        with contextlib.suppress(OSError):
            os.unlink(self._reserve)
        os.close(self._descriptor)


def parse(data: bytes) -> list[dict[str, Any]]:
    """The whole lines of a receipt; a torn or foreign line is left out."""
    found = []
    for raw in data.split(b"\n"):
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("t"), str):
            found.append(line)
    return found


def read(directory: str) -> list[dict[str, Any]]:
    try:
        with open(os.path.join(directory, "receipt.jsonl"), "rb") as file:
            return parse(file.read(4 << 20))
    except OSError:
        return []


def summary(lines: Iterable[dict[str, Any]], keep: int = 20) -> list[dict[str, Any]]:
    """All but the journal lines, of which the last `keep` stay."""
    every = list(lines)
    journal = [i for i, line in enumerate(every) if line["t"] == "line"]
    dropped = set(journal[:-keep] if keep else journal)
    return [line for i, line in enumerate(every) if i not in dropped]


def has_ended(lines: Iterable[dict[str, Any]]) -> bool:
    return any(line["t"] == "end" for line in lines)


def held_in(lines: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """What is still held after these lines."""
    names: dict[str, None] = {}
    for line in lines:
        if line["t"] in ("held", "released"):
            for name in line.get("services", ()):
                if line["t"] == "held":
                    names[str(name)] = None
                else:
                    names.pop(str(name), None)
    return tuple(names)


def leftovers(but: str = "") -> tuple[str, ...]:
    """What some action held and nobody has released, by this user's receipts. In the order of this host's clock, not of the clients'."""
    lines: list[dict[str, Any]] = []
    for action in actions():
        path = os.path.join(folder(action), "receipt.jsonl")
        if action != but and _mentions(path, b'"t":"held"', b'"t":"released"'):
            lines += [line for line in read(folder(action)) if line["t"] in ("held", "released")]
    return held_in(sorted(lines, key=lambda line: str(line.get("at", ""))))


def _mentions(path: str, *words: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read(4 << 20)
    except OSError:
        return False
    return any(word in data for word in words)


def alive(directory: str) -> bool:
    """Whether the runner of this action lives: it holds a lock on `alive` for its life, whatever its pid."""
    try:
        descriptor = os.open(os.path.join(directory, "alive"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def stay_alive(directory: str) -> int:
    """Hold this action's own lock; the descriptor must stay open."""
    descriptor = os.open(os.path.join(directory, "alive"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def actions() -> list[str]:
    """All ids, newest first."""
    try:
        names = os.listdir(home())
    except OSError:
        return []
    found = []
    for name in names:
        try:
            found.append(check_id(name))
        except Exception:  # noqa: BLE001 — anything else in that directory is not ours
            continue
    return sorted(found, reverse=True)
