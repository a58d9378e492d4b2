"""One bad input: who gives it, what it is, and which words have to be on the screen for it. Cases are found by their kind's file."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Pieces = Iterator[bytes | float]
"""What is sent, piece by piece; a number is a pause in seconds."""


@dataclass(frozen=True, slots=True)
class Case:
    """`name` is unique within its kind."""

    name: str
    at: str
    """Who gives it: a service of `world`, or a part of the box of `box`."""
    give: Callable[[], Pieces]
    path: str = ""
    """A regular expression: which questions are answered so; all others as ever."""
    words: str = ""
    """A regular expression: what the screen has to say; empty: nothing in particular."""
    seconds: float = 2.0
    """How long it goes on, at least."""
    keys: bytes = b""
    """Pressed once it is given."""
    quick: bool = False
    """One of those that also the integration test plays."""


def kinds() -> list[str]:
    """The files of cases."""
    return sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).with_name("kinds"))]))


def cases(kind: str) -> list[Case]:
    found: list[Case] = importlib.import_module(f"tests.hostile.kinds.{kind}").CASES
    names = [case.name for case in found]
    assert len(set(names)) == len(names), f"{kind}: {[n for n in names if names.count(n) > 1]} more than once"
    return found


def case_named(kind: str, name: str) -> Case:
    return next(case for case in cases(kind) if case.name == name)


# What is sent


def head(status: int = 200, *headers: str, kind: str = "application/json") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", *headers, "", ""]).encode()


def raw(*pieces: bytes | float) -> Callable[[], Pieces]:
    """Exactly this."""
    return lambda: iter(pieces)


def body(
    data: bytes | str | Callable[[], bytes], status: int = 200, *headers: str, kind: str = "application/json"
) -> Callable[[], Pieces]:
    """An answer with its length. It is made once: what takes long to make would be late, not bad."""
    made: list[bytes] = []

    def give() -> Pieces:
        if not made:
            made.append(data() if callable(data) else data.encode() if isinstance(data, str) else data)
        told = made[0]
        yield head(status, f"Content-Length: {len(told)}", *headers, kind=kind)
        for first in range(0, len(told), 1 << 16):
            yield told[first : first + (1 << 16)]

    return give


def doc(value: Any, status: int = 200) -> Callable[[], Pieces]:
    return body(json.dumps(value), status)


def endless(piece: bytes, before: bytes = b"", pause: float = 0.0, *, chunked: bool = False) -> Callable[[], Pieces]:
    """An answer that never ends."""

    def give() -> Pieces:
        yield head(200, "Transfer-Encoding: chunked") if chunked else head(200)
        framed = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
        many = framed if pause else framed * max(1, (1 << 14) // len(framed))
        yield (b"%x\r\n%s\r\n" % (len(before), before) if before else b"") if chunked else before
        while True:
            yield many
            if pause:
                yield pause

    return give


def drip(data: bytes, pause: float = 0.5) -> Callable[[], Pieces]:
    """A byte now and then."""

    def give() -> Pieces:
        for byte in data:
            yield bytes((byte,))
            yield pause

    return give


def many(count: int, make: Callable[[int], str]) -> Iterable[str]:
    return (make(number) for number in range(count))


def listed(count: int, make: Callable[[int], str], before: str = "[", after: str = "]") -> Callable[[], bytes]:
    return lambda: (before + ",".join(many(count, make)) + after).encode()


NASTY = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\u202e\u2066\u200b\ufeff\x00\r\n\t[red]x[/red]\ud800\U000e0041e\u0301漢👨\u200d👩"
"""A text with all that a terminal could take amiss."""
DEEP = 100_000
LONG_NUMBER = "9" * 4000
