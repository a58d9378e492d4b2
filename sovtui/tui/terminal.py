"""The terminal: how it is written to, taken, given back, and left for a while. Draws nothing."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import select
import signal
import threading
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar

from textual import constants
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

from sovtui.config.surroundings import Terminal
from sovtui.tui.glyphs import to_ascii

TICK_SECONDS = 0.1
"""How often it is looked whether a lone Escape was all, after something was typed."""


class Waking(threading.Event):
    """An event that also wakes whoever waits for files: it can be read from while it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._out, self._in = os.pipe()

    def fileno(self) -> int:
        return self._out

    def set(self) -> None:
        if not self.is_set():
            os.write(self._in, b"!")
        super().set()

    def clear(self) -> None:
        if self.is_set():
            os.read(self._out, 1)
        super().clear()


class TerminalDriver(LinuxDriver):
    """Textual's driver, with output that cannot fail to encode, and with a way to be left and come back to."""

    terminal: ClassVar[Terminal] = Terminal()

    def __init__(self, app: Any, *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # Standard output, which is known to be a terminal, so that standard error can be sent elsewhere.
        where = 1 if os.isatty(1) else 2
        coding = "ascii" if self.terminal.ascii else "utf-8"
        self._file = open(where, "w", encoding=coding, errors="replace", newline="", closefd=False)  # noqa: SIM115
        self._listening = False
        self.exit_event = self._told = Waking()

    def write(self, data: str) -> None:
        if not self.terminal.colour:
            data = without_colour(data)
        super().write(to_ascii(data) if self.terminal.ascii else data)

    def start_application_mode(self) -> None:
        if not self._listening:
            self._listening = True
            self._listen()
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def run_input_thread(self) -> None:
        try:
            self._read_keys()
        except OSError:
            pass  # the other end is closed; `Ending` sees that too
        except Exception as error:  # noqa: BLE001  # else Textual would print it with the values of all variables
            self._loop.call_soon_threadsafe(self._app._handle_exception, error)

    def _read_keys(self) -> None:
        """What is typed, until it is told to end. Textual looks ten times a second whether it is: a twentieth of what the room costs."""
        parser = XTermParser(self._debug)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        restless, until = False, 0.0
        while not self.exit_event.is_set():
            wait = TICK_SECONDS if restless else None
            if self.fileno in select.select([self.fileno, self._told], [], [], wait)[0]:
                data = os.read(self.fileno, 4096)
                if not data:
                    self.exit_event.wait()  # nothing will ever be typed again
                    break
                self._take(parser.feed(decode(data)))
                until = time.monotonic() + constants.ESCAPE_DELAY + TICK_SECONDS
            # A machine that is busy may stop us anywhere: it is quiet only once the parser was asked after a lone Escape was due.
            restless = time.monotonic() < until
            self._take(parser.tick())
        with contextlib.suppress(ParseError):
            list(parser.feed(""))

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if isinstance(message, Key) and message.key.startswith("alt+") and message.character:
                # Escape and what was typed right after it come as one over a link that collects; the room has no key with Alt.
                self.process_message(Key("escape", "\x1b"))
                self._take(XTermParser(self._debug).feed(message.character))
            else:
                self.process_message(message)

    def stop_application_mode(self) -> None:
        self.write("\x1b[?1016l")  # Textual turns pixel coordinates on and never off
        super().stop_application_mode()

    def leave_for_a_while(self) -> None:
        """Give the terminal back, stop as the shell expects it, and take it again when told to go on."""
        self.suspend_application_mode()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTSTP, signal.SIGCONT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        os.killpg(0, signal.SIGTSTP)  # the whole job, `make run` too: else its shell would wait for what stands still
        while self._in_background():
            os.kill(os.getpid(), signal.SIGSTOP)
        self._listen()
        self._take_again()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()  # handlers of the loop: they never interrupt a write
        loop.add_signal_handler(signal.SIGTSTP, self.leave_for_a_while)
        loop.add_signal_handler(signal.SIGCONT, self._continued)

    def _continued(self) -> None:
        """Somebody else has stopped us, and the terminal may look like anything by now."""
        if not self._in_background():
            self.suspend_application_mode()
            self._take_again()

    def _take_again(self) -> None:
        self.resume_application_mode()
        self._app.refresh(layout=True)

    def _in_background(self) -> bool:
        ending = getattr(self._app, "ending", None)
        if ending is not None and ending.status is not None:
            return False  # the terminal was closed meanwhile: it is time to end, not to wait
        try:
            return os.tcgetpgrp(self.fileno) != os.getpgrp()
        except OSError:
            return False


def driver_for(terminal: Terminal) -> type[Driver]:
    """The driver class for this terminal: Textual makes the driver itself."""
    return type("Driver", (TerminalDriver,), {"terminal": terminal})


_SGR = re.compile(r"\x1b\[([0-9;:]*)m")


def without_colour(data: str) -> str:
    """All that it says but colours: bold, italic, underline and reverse stay."""
    return _SGR.sub(_attributes, data)


def _attributes(match: re.Match[str]) -> str:
    return _kept(match[1])


@lru_cache(1024)
def _kept(codes: str) -> str:
    parts = codes.split(";")
    kept: list[str] = []
    while parts:
        code = parts.pop(0)
        if code in ("38", "48", "58") and parts:
            del parts[: {"5": 2, "2": 4}.get(parts[0], 1)]
        elif not re.fullmatch(r"[349][0-9]|10[0-7]|5[89]|[345]8:.*", code):
            kept.append(code)
    return f"\x1b[{';'.join(kept)}m" if kept or not codes else ""
