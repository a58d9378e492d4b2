"""The runner: owns one action from its lock to the end of its receipt. Started by `launch`, outlives the client."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from typing import Any

from sovtui.onbox import box, keeping, lock, locking, machine, receipt, release, signatures
from sovtui.onbox.effects import Hands
from sovtui.onbox.hiding import Hider
from sovtui.onbox.names import BadRequest
from sovtui.onbox.plan import Consent, Request, hidden, parse, without_values
from sovtui.onbox.words import EXITS, Began, Brought, Cancelled, Effect, End, Event, Figures, Held, Kept, Released, Step, Took

BUSY = 4


def run(directory: str) -> int:
    """Carry out the action whose request lies in `directory`; the exit status is the outcome's."""
    _quiet(directory)
    if not receipt.claim(directory):
        return BUSY  # too late: it was said that it did not start; or another has it
    path = os.path.join(directory, "request.json")
    with open(path, "rb") as file:
        raw = json.loads(file.read())
    try:
        request = parse(raw)
    except BadRequest as problem:
        keeping.put(os.path.join(directory, "refused"), json.dumps({"reason": str(problem)}))
        return 2
    kept = without_values(raw)
    if kept != raw:  # values were needed once
        os.unlink(path)
        with contextlib.suppress(OSError):
            keeping.put(path, json.dumps(kept))
    alive = receipt.stay_alive(directory)
    held = locking.take()
    if held is None:
        keeping.put(os.path.join(directory, "busy"), json.dumps(lock.holder() or locking.runners().get(True) or {}))
        return BUSY
    try:
        return _Run(directory, request, kept, held).go()
    finally:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, "runner.py"))
        held.release()
        os.close(alive)


def _quiet(directory: str) -> None:
    """No terminal, no standard input; what is said unasked goes to a file."""
    log = os.open(os.path.join(directory, "runner.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)


class _Run:
    def __init__(self, directory: str, request: Request, raw: dict[str, Any], held: locking.Held) -> None:
        self._directory = directory
        self._request = request
        self._held = held
        hide = Hider(hidden(request))
        self._hands = Hands(request, hide)
        self._writer = receipt.Writer(directory, hide)
        self._info = {"who": request.who, "id": request.id, "kind": request.kind, "target": request.target}
        self._info.update(since=box.now_text(), step="")
        self._exit = 1
        for number in (signal.SIGTERM, signal.SIGINT):  # before the first line: who reads that may send one
            signal.signal(number, lambda *_: self._hands.post(Cancelled(time.monotonic(), "signal")))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        held.tell(self._info)
        self._writer.write(
            "begin", v=1, id=request.id, kind=request.kind, target=request.target, who=request.who,
            host=request.host, boot=box.boot_id(), request=raw,
        )  # fmt: skip
        if held.passed:
            self._writer.write("step", name="lock", state="done", seconds=0.0, detail="; ".join(held.passed))

    def go(self) -> int:
        began = time.monotonic()
        try:
            if self._held.beside and not self._request.consent.beside:
                self._write(End("refused", locking.question(self._held.beside), 0.0, EXITS["refused"], Consent(beside=True)))
                self._writer.close()
                return self._exit
            self._request = release.others(self._request, self._write)
            self._request = replace(self._request, owed=receipt.owed(self._request.to))
            self._loop()
        except Exception as problem:  # noqa: BLE001 — the receipt must have an end
            traceback.print_exc()
            reason = f"sovtui itself failed on the box ({type(problem).__name__}: {problem}); look at what runs now"
            self._write(End("failed", reason, time.monotonic() - began, 1))
        self._writer.close()
        return self._exit

    def _loop(self) -> None:
        state = machine.begin(self._request)
        threading.Thread(target=self._watch, daemon=True).start()
        event: Event = Began(time.monotonic())
        while True:
            state, effects = machine.advance(state, event)
            for effect in effects:
                if isinstance(effect, (Step, Kept, Figures, Held, Released, Took, Brought, End)):
                    self._write(effect)
                else:
                    self._hands.perform(effect)
            if state.ended:
                return
            event = self._hands.take()

    def _watch(self) -> None:
        """Whether somebody asks it to end, at every moment, whatever is waited for. Sleeps by the monotonic clock."""
        while not os.path.exists(os.path.join(self._directory, "cancel")):
            time.sleep(0.5)
        self._hands.post(Cancelled(time.monotonic(), "asked"))

    def _write(self, effect: Effect) -> None:
        if isinstance(effect, Step):
            seconds = None if effect.seconds is None else round(effect.seconds, 3)
            detail = receipt.without_secrets(effect.detail)
            news = effect.state != "running" or self._info["step"] != effect.name
            more: dict[str, Any] = {} if effect.before is None else {"before": effect.before}
            self._writer.write("step", sync=news, name=effect.name, state=effect.state, seconds=seconds, detail=detail, **more)
            if effect.state == "running" and news:
                self._info["step"] = effect.name
                self._held.tell(self._info)
        elif isinstance(effect, (Held, Released)):
            self._writer.write("held" if isinstance(effect, Held) else "released", services=list(effect.services))
            if isinstance(effect, Held):
                release.stand_by(self._directory)
        elif isinstance(effect, Took):
            self._writer.write("took", mode=effect.mode, services=list(effect.services))
        elif isinstance(effect, Brought):
            self._writer.write("brought", services=list(effect.services))
        elif isinstance(effect, Kept):
            self._writer.line(effect.unit, effect.text, signatures.is_bad(effect.text))
        elif isinstance(effect, Figures):
            self._writer.write("figures", when=effect.when, values=dict(effect.values))
        elif isinstance(effect, End):
            self._exit = effect.exit
            reason = receipt.without_secrets(effect.reason)
            asks: dict[str, Any] = {"asks": effect.asks.told()} if effect.asks else {}
            self._writer.write(
                "end", outcome=effect.outcome, reason=reason, seconds=round(effect.seconds, 3), exit=effect.exit, **asks
            )


def main(directory: str, how: str = "") -> None:
    """Run and end the process at once: commands that still wait for systemd must not keep it."""
    status = 1
    try:
        if how == "release":
            _quiet(directory)
            status = release.after_death(directory)
        else:
            status = run(directory)
    except Exception:  # noqa: BLE001 — the log in the action's directory tells
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
