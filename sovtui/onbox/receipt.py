"""The receipt: what an action did, as JSON lines, append-only. The one definition of its format, written and read.

    {"t":"begin","v":1,"id","kind","target","who","host","at","request":{...}}
    {"t":"step","name","state":"running|done|failed|skipped","at","seconds","detail","before"?}
                                                                                         "running" again: news of the same step;
                                                                                         "before": the mode that was hot, of a preflight
    {"t":"line","at","unit","text"}                                                      bounded
    {"t":"figures","at","when":"before|after","values":{name: number}}
    {"t":"held|released","at","services":[name]}                                         written before they are stopped; after their start
    {"t":"took","at","mode","services":[name]}                                           written before they go down with that mode
    {"t":"brought","at","services":[name]}                                               they run again
    {"t":"end","at","outcome","reason","seconds","exit","asks"?}                         "asks": refused only until somebody says yes

No environment and no secret is ever written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable
from typing import Any, Optional

from sovtui.onbox import box, keeping
from sovtui.onbox.hiding import Hider
from sovtui.onbox.names import check_id

OUTCOMES = ("done", "warned", "refused", "failed", "rolled-back", "rollback-failed", "cancelled", "skipped", "lost")
"""`warned`: done, but a check afterwards failed. `refused`: not agreed to, nothing touched. `skipped`: systemd did not run it. `lost` is never written: no end, and nobody is alive who could write it."""
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
    return os.path.join(box.state(), "actions")


def folder(action: str) -> str:
    """The directory of one action."""
    return os.path.join(home(), check_id(action))


def without_secrets(text: str) -> str:
    return _SECRET.sub(lambda m: (m.group(1) or "") + "…", text)


class Writer:
    """Writes one receipt. Every line is on the disk before the next thing happens.

    A disk that fills up must not stop an action half way: room is set aside for the rest of the receipt, behind its end or in a file
    beside it, and what cannot be written then either is kept and written as soon as it can be.
    """

    def __init__(self, directory: str, hide: Optional[Hider] = None) -> None:
        self._hide = hide or Hider(())
        self._descriptor = _opened(directory)
        self._reserve = os.path.join(directory, "reserve")
        self._waiting = b""
        self._lines = 0
        self._bad = 0
        self._room = 0
        with contextlib.suppress(OSError):
            _set_aside(self._descriptor, self._reserve)

    def write(self, t: str, /, *, sync: bool = True, **fields: Any) -> None:
        line = {"t": t, "at": box.now_text(), **fields}
        line.update((key, self._hide(line[key])) for key in ("detail", "reason", "text") if line.get(key))
        if "services" in line:  # their order counts, and a clock may jump
            line.update(boot=box.boot_id(), up=round(time.monotonic(), 3))
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

    def _has_room(self) -> bool:
        """For more than the steps and the end."""
        if os.path.exists(self._reserve):
            return True
        size = os.fstat(self._descriptor).st_size
        if size + RESERVE > self._room:
            more = size + RESERVE + (RESERVE >> 1)
            self._room = more if keeping.set_aside(self._descriptor, more) else 0
        return self._room > 0

    def line(self, unit: str, text: str, bad: bool = False) -> None:
        """A journal line, if there is still room; room for bad ones is kept."""
        if self._lines >= MAX_LINES:
            if not bad or self._bad >= MAX_BAD_LINES:
                return
            self._bad += 1
        if not self._has_room():
            return  # the disk is full: what is left is for the steps and the end
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
        _give_back(self._descriptor, self._reserve)


def make_room(directory: str) -> None:
    """Room for a receipt that is to be written. OSError where there is none."""
    descriptor = _opened(directory)
    try:
        _set_aside(descriptor, os.path.join(directory, "reserve"))
    finally:
        os.close(descriptor)


def tidy(directory: str) -> None:
    """Give back what a runner that was killed had set aside."""
    with contextlib.suppress(OSError):
        _give_back(_opened(directory), os.path.join(directory, "reserve"))


def _opened(directory: str) -> int:
    return os.open(os.path.join(directory, "receipt.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _set_aside(descriptor: int, reserve: str) -> None:
    told = keeping.set_aside(descriptor, os.fstat(descriptor).st_size + RESERVE)
    if told is None and not os.path.exists(reserve):
        keeping.put(reserve, os.urandom(RESERVE >> 1).hex())  # what is all zeros takes no room everywhere
    elif told is False:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _give_back(descriptor: int, reserve: str) -> None:
    keeping.give_back(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(reserve)
    os.close(descriptor)


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
    """What some action held and nobody has released, by this user's receipts."""
    return held_in(_kept("held", "released", but))


def ordered(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of several receipts in the order in which this host wrote them, though its clock may have jumped meanwhile."""
    every, now, last = list(lines), box.boot_id(), dict[str, str]()
    for line in every:
        boot = str(line.get("boot", ""))
        last[boot] = max(last.get(boot, ""), str(line.get("at", "")))

    def place(line: dict[str, Any]) -> tuple[bool, str, float, str]:
        boot, up = str(line.get("boot", "")), line.get("up")
        known = isinstance(up, (int, float))  # of two in one millisecond the one that was read first is first
        return boot == now, last[boot], float(up or 0.0) if known else 0.0, "" if known else str(line.get("at", ""))

    return sorted(every, key=place)


def owed(mode: str) -> tuple[str, ...]:
    """What went down with that mode by this user's receipts and has not been seen to run since."""
    names: dict[str, str] = {}
    for line in _kept("took", "brought"):
        for name in line.get("services", ()):
            if line["t"] == "took":
                names[str(name)] = str(line.get("mode", ""))
            else:
                names.pop(str(name), None)
    return tuple(name for name, of in names.items() if of == mode)


def _kept(kind: str, end: str, but: str = "") -> list[dict[str, Any]]:
    """The lines of two kinds in all receipts, but for those of one action, in the order in which they were written."""
    lines: list[dict[str, Any]] = []
    for action in reversed(actions()):
        path = os.path.join(folder(action), "receipt.jsonl")
        if action != but and _mentions(path, *(f'"t":"{word}"'.encode() for word in (kind, end))):
            lines += [line for line in read(folder(action)) if line["t"] in (kind, end)]
    return ordered(lines)


def _mentions(path: str, *words: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read(4 << 20)
    except OSError:
        return False
    return any(word in data for word in words)


def claim(directory: str) -> bool:
    """Whether this process is the first to decide on the action: the runner, to begin it, or who waited too long, so that none does."""
    try:
        os.close(os.open(os.path.join(directory, "claim"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    except OSError:
        pass  # a full disk: as it was without
    return True


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
