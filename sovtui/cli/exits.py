"""How the command line ends. Imports nothing of weight: the control room's start waits for it."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The contract of the command line."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """Usage or configuration."""
    UNREACHABLE = 3
    REFUSED = 4
    UNPROVEN = 5
    """Done, but a check after it did not hold."""
    INTERRUPTED = 130


class Failure(Exception):
    """Ends a command: whole sentences for the operator, and the exit code."""

    def __init__(self, code: int, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.code = code
        self.sentences = sentences
