"""Standard error and exit codes: narration, questions, failures in words. Must not write data (see `output`)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sovtui.cli.asking import read_line
from sovtui.core import text
from sovtui.core.clean import clean
from sovtui.core.model import ActionRun, Link, LinkPhase, Step
from sovtui.core.receipts import step_word

if TYPE_CHECKING:
    from sovtui.runtime.hub import Hub


def say(message: str) -> None:
    """One line of narration. A reader that went away is no reason to stop what is being done."""
    with contextlib.suppress(OSError, ValueError):
        print(clean(message), file=sys.stderr, flush=True)


def sentence(message: str) -> str:
    """With a full stop, unless it ends with a sign of its own."""
    return message if not message or message[-1] in ".!?…" else f"{message}."


def banner(line: str) -> None:
    """What a server says while one logs in, cleaned."""
    say(f"  | {line}")


class Narrator:
    """Tells an action's steps as they happen. Use as the hub's `progress`."""

    def __init__(self) -> None:
        self.run: ActionRun | None = None
        self._told: dict[int, str] = {}
        self._lines = 0

    def __call__(self, run: ActionRun) -> None:
        if self.run is None:
            what = f"{run.kind} {run.target}".strip()
            say(f"{text.clock(run.began_at)}  {what}, by {run.who} ({run.id})")
        self.run = run
        for index, step in enumerate(run.steps):
            if self._told.get(index) != step.state:
                self._told[index] = step.state
                say(step_line(step))
        for line in run.lines_after(self._lines):
            say(f"        | {line}")
        self._lines = run.line_count


def step_line(step: Step) -> str:
    """`  done     stop vllm-qwen36.service, 3.2 s: detail`."""
    took = f", {text.duration(step.seconds)}" if step.seconds is not None else ""
    detail = f": {step.detail}" if step.detail else ""
    return f"  {step.state:<8} {step_word(step.name)}{took}{detail}"


@contextlib.contextmanager
def link_told(hub: Hub, host: str) -> Iterator[None]:
    """While something is followed: that its link is gone, why, and that it is back."""
    lost = ""

    def heard(link: Link | None) -> None:
        nonlocal lost
        if link is None:
            return
        if link.phase is LinkPhase.UP and lost:
            lost = ""
            say(f"The link to {host} is back.")
        elif link.phase is not LinkPhase.UP and link.reason and link.verdict != lost:
            lost = str(link.verdict) or "lost"
            say(sentence(f"{host}: {link.reason}"))

    unsubscribe = hub.subscribe(lambda state: state.hosts[host].link if host in state.hosts else None, heard)
    try:
        yield
    finally:
        unsubscribe()


# --- questions ------------------------------------------------------------------------------------------------------


def on_terminal() -> bool:
    """Whether somebody can be asked: standard input and standard error are a terminal."""
    try:
        return os.isatty(0) and os.isatty(2)
    except OSError:
        return False


async def confirm(question: str) -> bool:
    """Asks y/N on the terminal. The loop goes on meanwhile, so that the link stays alive."""
    return (await read_line(f"{clean(question)} [y/N] ", 0, 2)).strip().lower() in ("y", "yes")
