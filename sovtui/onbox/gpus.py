"""What nvidia-smi tells of this host's GPUs. A driver that hangs blocks whoever asks it, so a thread of its own asks, now and then."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import Any, Optional

from sovtui.onbox import box

EVERY = 5.0
"""Least seconds between two questions."""
SHARE = 10.0
"""So much longer than a question takes is the pause: without persistence mode each brings the driver up, which takes a second or two."""
PATIENCE = 10.0
"""How long one question may take before it is ended; what cannot be ended is waited for and not asked again."""
SAID_AFTER = 4.0
"""A question that has not been answered for so long is said to hang."""
MOST = 64
PLACES = "/usr/local/bin:/usr/bin:/bin:/usr/lib/wsl/lib:/usr/local/nvidia/bin:/opt/bin:/run/current-system/sw/bin"
_FIELDS = ("index", "utilization.gpu", "power.draw", "temperature.gpu", "memory.used", "memory.total", "clocks.sm")
_SPLIT = "mig.mode.current"
_FACTORS = {"used": 1 << 20, "total": 1 << 20, "clock": 1000000}
_NAMES = ("use", "power", "heat", "used", "total", "clock")
_NEVER = ("n/a", "not supported", "not available", "")
Told = dict[str, Any]


class Gpus:
    """The last answer. Nothing is asked before somebody wants it."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self._seen: Told = {}
        self._began: float | None = None
        self._thread: threading.Thread | None = None
        self._spare = 0.0
        self._answered: float | None = None
        self._heard = False
        self._split = True
        """Whether this nvidia-smi knows what a split GPU is."""

    def want(self, on: bool) -> None:
        self._heard = True
        if on:
            self.wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._ask_on, daemon=True)
                self._thread.start()
        else:
            self.wanted.clear()

    def heard(self) -> bool:
        """Whether a wish has come since this was asked last: whoever wished waits for a word."""
        heard, self._heard = self._heard, False
        return heard

    def pace(self, seconds: float) -> None:
        """Not more often than this."""
        self._spare = seconds

    def ago(self) -> Optional[int]:
        """Seconds since GPUs were last told; None where they are not."""
        answered = self._answered
        return int(time.monotonic() - answered) if answered is not None and self.wanted.is_set() else None

    def told(self) -> Told:
        """`gpus`, or the `reason` why there are none; empty while nothing is known or wanted."""
        if not self.wanted.is_set():
            return {}
        began = self._began
        if began is not None and time.monotonic() - began > SAID_AFTER:
            return {"reason": "nvidia-smi does not answer: the driver hangs, or is being loaded"}
        return self._seen

    def _ask_on(self) -> None:
        while True:
            self.wanted.wait()
            began = self._began = time.monotonic()
            told = self.ask()
            self._began, self._seen = None, told
            self._answered = time.monotonic() if "gpus" in told else None
            if told.get("absent"):
                return
            time.sleep(max(EVERY, self._spare, SHARE * (time.monotonic() - began)))

    def ask(self) -> Told:
        """One question, and one more of the GPUs that are split into instances. May block for as long as the driver does."""
        program = shutil.which("nvidia-smi", path=f"{os.environ.get('PATH', '')}:{PLACES}")
        if program is None:
            return {"reason": "there is no nvidia-smi", "absent": True}
        fields = [*_FIELDS, *([_SPLIT] if self._split else [])]
        code, out, err = box.command([program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"], PATIENCE)
        if code == 2 and self._split and "not a valid field" in out + err:
            self._split = False
            return self.ask()
        gpus, split = parse(out) if code == 0 else ([], [])
        if not gpus:
            said = [line.strip() for line in (out + "\n" + err).splitlines() if line.strip()]
            return {"reason": f"nvidia-smi: {said[0][:200] if said else f'it ended with {code}'}"}
        if split:
            code, out, _ = box.command([program, "-q", "-x", "-i", ",".join(split)], PATIENCE)
            gpus = with_instances(gpus, split, out if code == 0 else "")
        return {"gpus": gpus[:MOST]}


def parse(out: str) -> tuple[list[Told], list[str]]:
    """The GPUs of the lines, and the numbers of those that are split. A figure is a number, None where this GPU never has it, or why not.

    use in percent, power in W, heat in °C, used and total in bytes, clock in Hz.
    """
    gpus: list[Told] = []
    split: list[str] = []
    for line in out.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < len(_FIELDS) or not cells[0].isdigit():
            continue  # it complains between the lines, of a GPU that has fallen off the bus
        told: Told = {"id": cells[0]}
        for place, name in enumerate(_NAMES, 1):
            told[name] = _figure(cells[place], _FACTORS.get(name, 1))
        gpus.append(told)
        if cells[-1] == "Enabled" and len(cells) > len(_FIELDS):
            split.append(cells[0])
    return gpus, split


def _figure(cell: str, factor: int) -> Any:
    """`93`, `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `[GPU is lost]`; some tell a unit though asked not to."""
    words = cell.strip("[] ")
    try:
        value = float(words.split(" ")[0])
    except ValueError:
        return None if words.lower() in _NEVER else words[:60]
    if value != value or value in (float("inf"), float("-inf")):
        return "it reported no number"
    return int(value * factor) if factor > 1 or value.is_integer() else round(value, 1)


def with_instances(gpus: list[Told], split: list[str], document: str) -> list[Told]:
    """Each instance after its GPU, as `0:7`, with the memory of its own; `document`: nvidia-smi's XML of the GPUs in `split`."""
    from xml.etree import ElementTree

    try:
        found = list(ElementTree.fromstring(document).iter("gpu"))
    except ElementTree.ParseError:
        found = []
    instances: dict[str, list[Told]] = {}
    for place, gpu in enumerate(found[: len(split)]):
        number = split[place]
        for part in gpu.iter("mig_device"):
            name = (part.findtext("gpu_instance_id") or "").strip()
            memory = part.find("fb_memory_usage")
            if not name.isdigit() or memory is None or any(one["id"] == f"{number}:{name}" for one in instances.get(number, [])):
                continue  # several compute instances share the memory of one
            sizes = {word: _figure(memory.findtext(word) or "", 1 << 20) for word in ("used", "total")}
            instances.setdefault(number, []).append({"id": f"{number}:{name}", **sizes})
    return [one for gpu in gpus for one in ({**gpu, "split": gpu["id"] in split}, *instances.get(gpu["id"], []))]


def gist(told: Told) -> Any:
    """What makes an answer worth telling again: power in steps of 4 W, memory of 16 MiB, the clock of 64 MHz."""
    steps = {"power": 2, "used": 24, "clock": 26}
    return [
        told.get("reason"),
        [
            [
                int(value) >> steps[key] if key in steps and isinstance(value, (int, float)) else value
                for key, value in one.items()
            ]
            for one in told.get("gpus", ())
        ],
    ]
