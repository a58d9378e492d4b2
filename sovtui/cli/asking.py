"""Questions of a login on the operator's terminal, whatever standard input and output are; and lines read without an echo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from typing import Any

from sovtui.core.clean import clean
from sovtui.ports.link import Question

TERMINAL = "/dev/tty"
_one_at_a_time = asyncio.Lock()
"""Several hosts may ask at once; there is one terminal."""


def can_ask() -> bool:
    """Whether somebody can be asked: this process has a terminal and is in its foreground, as ssh sees it too."""
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


async def ask_operator(question: Question) -> str | None:
    """Answers a link's question on the terminal: an unknown host key, a passphrase, a code. None: no answer."""
    async with _one_at_a_time:
        try:
            terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            lines = [clean(question.title), *(f"  {clean(line)}" for line in question.text.splitlines())]
            if question.kind == "approval":
                await _hold(lines, question.url, terminal)
            prompt = {"secret": "secret (not shown): ", "shown": "answer: "}.get(question.kind, 'type "yes" to trust it: ')
            answer = await read_line("\n".join([*lines, prompt]), terminal, terminal, echo=question.kind != "secret")
        finally:
            os.close(terminal)
    if question.kind == "host-key":
        return "yes" if answer.strip().lower() == "yes" else None
    return answer or None


async def _hold(lines: list[str], url: str, terminal: int) -> None:
    """Shows where a login is approved until whoever asked needs no answer any more. Enter shows a QR code; Ctrl+C leaves all."""
    from sovtui.core import qr

    try:
        await read_line("\n".join([*lines, "  Enter shows it as a QR code, Ctrl+C gives up: "]), terminal, terminal)
        with contextlib.suppress(ValueError):  # light modules are drawn: most terminals are dark
            _write(terminal, "\n".join([*qr.half_blocks(qr.modules(url), light=True), ""]))
        await asyncio.Event().wait()
    finally:
        _write(terminal, "\n")


def _write(terminal: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(terminal, text.encode())


async def read_line(prompt: str, source: int, sink: int, *, echo: bool = True) -> str:
    """One line without blocking the loop; empty at end of file. No thread: a thread that reads cannot be cancelled."""
    saved = None if echo else _echo_off(source)  # before the prompt: who pastes an answer is quicker than this
    with contextlib.suppress(OSError):
        os.write(sink, prompt.encode())
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def ready() -> None:
        try:
            data = os.read(source, 4096)
        except OSError:
            data = b""
        if not answer.done():
            answer.set_result(data)

    try:
        loop.add_reader(source, ready)
        return (await answer).decode("utf-8", "replace").rstrip("\r\n")
    finally:
        loop.remove_reader(source)
        if saved is not None:
            termios.tcsetattr(source, termios.TCSADRAIN, saved)
            with contextlib.suppress(OSError):
                os.write(sink, b"\n")


def _echo_off(terminal: int) -> list[Any] | None:
    try:
        saved = termios.tcgetattr(terminal)
    except termios.error:
        return None
    quiet = [*saved]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    return saved
