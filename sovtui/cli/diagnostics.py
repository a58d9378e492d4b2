"""Standard error and exit codes: narration, questions, failures in words. Must not write data (see `output`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
from typing import Any

from sovtui.core import text
from sovtui.core.clean import clean
from sovtui.core.model import ActionRun, Step
from sovtui.ports.link import Question


def say(message: str) -> None:
    """One line of narration. A reader that went away is no reason to stop what is being done."""
    with contextlib.suppress(OSError, ValueError):
        print(clean(message), file=sys.stderr, flush=True)


def sentence(message: str) -> str:
    """With a full stop, unless it ends with a sign of its own."""
    return message if not message or message[-1] in ".!?…" else f"{message}."


class Narrator:
    """Tells an action's steps as they happen. Use as the hub's `progress`."""

    def __init__(self) -> None:
        self.run: ActionRun | None = None
        self._told: dict[int, str] = {}
        self._lines: tuple[str, ...] = ()

    def __call__(self, run: ActionRun) -> None:
        if self.run is None:
            what = f"{run.kind} {run.target}".strip()
            say(f"{text.clock(run.began_at)}  {what}, by {run.who} ({run.id})")
        self.run = run
        for index, step in enumerate(run.steps):
            if self._told.get(index) != step.state:
                self._told[index] = step.state
                say(step_line(step))
        for line in _new_lines(self._lines, run.lines):
            say(f"        | {line}")
        self._lines = run.lines


def step_line(step: Step) -> str:
    """`  done     stop vllm-qwen36.service, 3.2 s: detail`."""
    took = f", {text.duration(step.seconds)}" if step.seconds is not None else ""
    detail = f": {step.detail}" if step.detail else ""
    return f"  {step.state:<8} {step.name}{took}{detail}"


def _new_lines(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of a moving window that have not been told yet."""
    for length in range(min(len(old), len(new)), 0, -1):
        if old[-length:] == new[:length]:
            return new[length:]
    return new


# --- questions ------------------------------------------------------------------------------------------------------


def on_terminal() -> bool:
    """Whether somebody can be asked: standard input and standard error are a terminal."""
    try:
        return os.isatty(0) and os.isatty(2)
    except OSError:
        return False


async def confirm(question: str) -> bool:
    """Asks y/N on the terminal. The loop goes on meanwhile, so that the link stays alive."""
    return (await _read_line(f"{clean(question)} [y/N] ")).strip().lower() in ("y", "yes")


async def ask_operator(question: Question) -> str | None:
    """Answers a link's question on the terminal: an unknown host key, a passphrase."""
    say(question.title)
    for line in question.text.splitlines():
        say(f"  {line}")
    if question.kind == "secret":
        answer = await _read_line("secret (not shown): ", echo=False)
        return answer or None
    return "yes" if (await _read_line('type "yes" to trust it: ')).strip().lower() == "yes" else None


async def _read_line(prompt: str, *, echo: bool = True) -> str:
    """One line from the terminal without blocking the loop; empty at end of file. No thread: a thread that reads cannot be cancelled."""
    with contextlib.suppress(OSError):
        os.write(2, prompt.encode())
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def ready() -> None:
        try:
            data = os.read(0, 4096)
        except OSError:
            data = b""
        if not answer.done():
            answer.set_result(data)

    saved = None if echo else _echo_off()
    loop.add_reader(0, ready)
    try:
        return (await answer).decode("utf-8", "replace").rstrip("\r\n")
    finally:
        loop.remove_reader(0)
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
            say("")


def _echo_off() -> list[Any] | None:
    try:
        saved = termios.tcgetattr(0)
    except termios.error:
        return None
    quiet = [*saved]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSADRAIN, quiet)
    return saved
