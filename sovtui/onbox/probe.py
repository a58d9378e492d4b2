"""The read-only sweep: services, memory, processor, engines and the running action, as JSON lines, only what changed.

    {"t":"hello","now","boot_id","hostname","python","systemd","user"}
    {"t":"services","services":[{name,active,sub,...}]}          what changed; see `services.Told`, and `records.Records` for `by`, `mute`
    {"t":"problem","what":"system services","reason"}            a supervisor that does not answer
    {"t":"memory","total","available",...}                       bytes
    {"t":"cpu","use_ratio","load","cpus"}
    {"t":"disks","disks":[{mount,total,free}]}
    {"t":"activity","of":[{at,cores,open,sleeps,shared,why}]}    engines: see `activity.Activity.look`
    {"t":"action","id",...}                                      who holds the lock; `id` null: nobody
    {"t":"beat","now"}                                           every 5 s: all that was told before still holds

The request: `services` by name, `records` (those of whose runs the journal is asked too), `engines` (`at`, `services`), `interval` in
seconds; a later line may change `interval`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from sovtui.onbox import box, deadline, lock, services
from sovtui.onbox import gpus as gpus_of
from sovtui.onbox.activity import Activity
from sovtui.onbox.disks import Disks
from sovtui.onbox.glance import Glance
from sovtui.onbox.names import check_service, supervisor_of
from sovtui.onbox.records import Records

BEAT = 5.0
SLACK = 0.85
"""Part of the interval that is waited, so that a change is on the wire within it."""
SECOND_LOOK = 0.4
"""Seconds between the first two looks at engines."""
_RUN = {"ended": None, "skipped": "", "skipped_at": None, "kept": True, "oneshot": False, "once": False}
"""Of runs, told only where it is another than this."""
_TOLD = ("name", "active", "sub", "result", "since", "restarts", "pid", "memory", "description", "load", "status", "next")


def probe(request: Mapping[str, Any]) -> None:
    """Sweep until the client has gone."""
    names = [check_service(name) for name in request.get("services", [])]
    interval = float(request.get("interval", 1.0))
    gpus = gpus_of.Gpus()
    pace = Pace(interval, gpus)
    pace.take(request)
    gone = box.end_with_client(pace.hear)
    box.say(
        {
            "t": "hello",
            "now": time.time(),
            "boot_id": box.boot_id(),
            "hostname": socket.gethostname(),
            "python": ".".join(str(n) for n in sys.version_info[:3]),
            "systemd": box.has_systemd(),
            "user": box.user(),
        }
    )
    sweep = Sweep(names, request.get("engines", ()), gpus, [name for name in names if name in request.get("records", ())])
    _tell(sweep.once())
    _tell(sweep.engines())  # whose processes are whose takes a moment to find out: the rest does not wait for it
    time.sleep(SECOND_LOOK)
    _tell(sweep.engines())  # what they use takes a second look
    while not gone.is_set():
        pace.wait()
        if pace.heard:
            sweep.again()
        _tell(sweep.once() + sweep.engines())


def _tell(lines: list[dict[str, Any]]) -> None:
    if lines:
        box.say(*lines)


class Pace:
    """How long to wait between two sweeps. The client may change it: a line with another `interval`; and whether GPUs are asked."""

    def __init__(self, seconds: float, gpus: gpus_of.Gpus) -> None:
        self._seconds = self._within(seconds)
        self._gpus = gpus
        self._ear, self._bell = os.pipe()  # an event of `threading` is waited for by the time of day
        self.heard = False
        """The wait was cut short by the client."""

    def hear(self, line: bytes) -> None:
        try:
            self.take(json.loads(line))
        except (ValueError, TypeError, AttributeError):
            return
        os.write(self._bell, b".")

    def take(self, wish: Mapping[str, Any]) -> None:
        """`interval` in seconds, `gpus` as yes or no."""
        if "interval" in wish:
            self._seconds = self._within(wish["interval"])
            self._gpus.pace(self._seconds)
        if "gpus" in wish:
            self._gpus.want(wish["gpus"] is True)

    def wait(self) -> None:
        self.heard = deadline.heard(self._ear, select.POLLIN, self._seconds * SLACK)
        if self.heard:
            os.read(self._ear, 4096)

    @staticmethod
    def _within(seconds: float) -> float:
        return max(0.2, min(float(seconds), 60.0))


class Sweep:
    """What was told last, to tell only what changed."""

    def __init__(
        self,
        names: list[str],
        engines: Iterable[Mapping[str, Any]] = (),
        gpus: Optional[gpus_of.Gpus] = None,
        records: Sequence[str] = (),
    ) -> None:
        self._names, self._gpus = names, gpus or gpus_of.Gpus()
        self._records, self._acted = Records(records), False
        self._activity = Activity(engines)
        self._engines: set[str] = set()
        """Addresses told of so far."""
        self._told: dict[str, dict[str, Any]] = {}
        self._problems: dict[str, str] = {}
        self._glance = Glance(names)
        self._last: dict[str, Any] = {}
        self._said_at = -BEAT
        self._cpu = box.cpu_times()
        self._disks = Disks()

    def again(self) -> None:
        """A beat is due at the next look."""
        self._said_at = -BEAT

    def once(self) -> list[dict[str, Any]]:
        """The lines that are due now."""
        held = lock.holder()
        lines = self._services(acting=held is not None)
        memory = box.memory()
        if self._differs("memory", {key: value >> 22 for key, value in memory.items()}):
            lines.append({"t": "memory", **memory})
        busy, total = box.cpu_times()
        if total > self._cpu[1]:
            ratio = round(max(0.0, min(1.0, (busy - self._cpu[0]) / (total - self._cpu[1]))), 2)
            self._cpu = (busy, total)
            load = _load()
            if self._differs("cpu", (ratio, load)):
                lines.append({"t": "cpu", "use_ratio": ratio, **load})
        elif "cpu" not in self._last:
            lines.append({"t": "cpu", **_load()})  # the first share of use takes a second look
        disks = self._disks.told()
        if disks and self._differs("disks", [(one["mount"], one["total"], one["free"] * 500 // one["total"]) for one in disks]):
            lines.insert(0, {"t": "disks", "disks": disks})  # before the services: who asks once waits for those
        if self._gpus.heard():
            lines.append({"t": "gpus", "asked": self._gpus.wanted.is_set()})
        told = self._gpus.told()
        if told and self._differs("gpus", gpus_of.gist(told)):
            lines.append({"t": "gpus", "asked": True, **told})
        action = None if held is None else {key: held.get(key, "") for key in ("id", "who", "kind", "target", "since", "step")}
        if self._differs("action", action):
            lines.append({"t": "action", **(action or {"id": None})})
        now = time.monotonic()
        if now - self._said_at >= BEAT:
            ago = self._gpus.ago()
            lines.append({"t": "beat", "now": time.time(), **({} if ago is None else {"gpus_ago": ago})})
            self._said_at = now
        return lines

    def engines(self) -> list[dict[str, Any]]:
        """The line about engines, where one of them has changed."""
        told = self._activity.look({name: self._glance.groups(name) for name in self._names})
        here = {one["at"] for one in told}
        told += [{"at": at, "why": "it has ended"} for at in self._engines - here]
        self._engines |= here
        changed = [one for one in told if self._differs("activity." + one["at"], one)]
        return [{"t": "activity", "of": changed}] if changed else []

    def _services(self, acting: bool) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        due = self._glance.due(acting) if self._names else []
        for kind in dict.fromkeys(supervisor_of(name) for name in due):
            told, problems = services.look([name for name in due if supervisor_of(name) == kind])
            self._problems[kind] = problems.get(kind, "")
            self._glance.asked(told)
            for one in told:
                runs = {key: one[key] for key, usual in _RUN.items() if one[key] != usual}
                self._told[one["name"]] = {**{key: one[key] for key in _TOLD}, **runs}
        self._acted, anew = acting, self._acted and not acting
        for name, found in self._records.look(self._told, anew):
            self._told[name] = {**self._told[name], **found}
        for name, one in self._told.items():
            used = self._glance.memory(name)
            if used is not None and one["memory"] is not None:
                one["memory"] = used
        changed = [one for one in self._told.values() if self._differs("service." + one["name"], _gist(one))]
        if changed:
            lines.append({"t": "services", "services": changed})
        for kind, reason in self._problems.items():
            if self._differs("problem." + kind, reason):
                lines.append({"t": "problem", "what": f"{kind} services", "reason": reason})
        return lines

    def _differs(self, key: str, value: Any) -> bool:
        if key in self._last and self._last[key] == value:
            return False
        first = key not in self._last
        self._last[key] = value
        return not (first and value == "")


def _load() -> dict[str, Any]:
    """The mean of the last minute and the processors it is spread over; in coarse steps: it never stands still."""
    try:
        return {"load": round(os.getloadavg()[0], 1), "cpus": os.cpu_count() or 1}
    except OSError:
        return {}


def _gist(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a service worth telling again: its memory only in steps of 16 MiB, its next run in steps of 16 s."""
    steps = {"memory": 24, "next": 4}
    return tuple(int(told[key] or 0) >> steps[key] if key in steps else told[key] for key in told)
