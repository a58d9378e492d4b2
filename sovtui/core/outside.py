"""JSON from outside: weighed before anything is made of it, and its values, each of the kind that belongs there or not told. Pure.

A document costs up to thirty times its length once it is objects, and nothing else happens while it is made: what is longer, or holds
more, than any honest answer is refused first. A number that no machine holds, NaN among them, is no number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sovtui.core.clean import clean


@dataclass(frozen=True, slots=True)
class Most:
    """How much of one document is read."""

    bytes: int = 2 << 20
    items: int = 100_000
    """Values, lists and objects, about: told by their brackets and commas, those in texts among them."""


USUAL = Most()
"""For what an engine or a supervisor tells: the longest real one is LiteLLM's list of deployments, 1.8 MB."""

MOST_LABELS, MOST_TEXT = 64, 4096
"""Labels of one series or alert, and characters of one: an alert's go back as they are into the silence that acknowledges it."""
_DIGITS = 19
"""Of a number of 64 bits."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
"""Outside of these a moment cannot be carried to another time zone; "for ever" is told as a year 2318, or 9999."""
_LAST_SECOND = 1.6e10
"""A clock that says that it is after the year 2477 is not believed."""


class TooMuch(ValueError):
    """More than any honest answer."""


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _DIGITS else None


def _real(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _no_number(word: str) -> None:
    """NaN and its kind."""


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_real, parse_constant=_no_number, strict=False)


def document(raw: bytes | str, most: Most = USUAL) -> Any:
    """What `raw` says. Raises `TooMuch`, and `ValueError` if it is no JSON; the reason is a clean sentence part.

    Bytes that are no UTF-8, halves of a character and controls within texts cost the text that holds them, not all of it.
    """
    weigh(raw, most)
    text = _text_of(raw)
    try:
        value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(" \t\r\n")))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {clean(str(error), 120)}") from None
    if text[end:].strip(" \t\r\n"):
        raise ValueError("it is no JSON: something follows it")
    return value


_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def _text_of(raw: bytes | str) -> str:
    """As text that can be written again: half of a character beyond the first 65,536, alone, is none in any encoding."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8-sig", "replace")
    if _HALVES.search(text) is None:
        return text
    return _ESCAPE.sub(lambda found: r"\ufffd" if found[1] else found[0], text)


def each_row(raw: bytes, most: Most, key: str = "") -> Generator[Any, None, Any]:
    """The rows of a document that is a list, or of the list that follows its first `key`; returns the document without them.

    One at a time, so that a list of thousands is never there as a whole. Raises as `document`, at the row that is none.
    """
    return _each(raw, most, rf'"{key}"\s*:\s*\[' if key else r"\s*\[", "]")


def each_member(raw: bytes | str, most: Most, key: str) -> Generator[Any, None, Any]:
    """The values of the object that follows the first `key` of a document, as `each_row` does with a list."""
    return _each(raw, most, rf'"{key}"\s*:\s*\{{', "}")


def _each(raw: bytes | str, most: Most, begins: str, ends: str) -> Generator[Any, None, Any]:
    weigh(raw, most)
    text = _text_of(raw)
    found = re.search(begins, text)
    if found is None or (begins.startswith(r"\s") and found.start()):
        return document(text, most)
    begin = at = found.end()
    try:
        at = _skip(text, at)
        while text[at] != ends:
            if ends == "}":
                name, at = _DECODER.raw_decode(text, at)
                at = _skip(text, at)
                if not isinstance(name, str) or text[at] != ":":
                    raise ValueError("it is no JSON: a row has no name")
                at = _skip(text, at + 1)
            value, at = _DECODER.raw_decode(text, at)
            yield value
            at = _skip(text, at)
            if text[at] == ",":
                at = _skip(text, at + 1)
            elif text[at] != ends:
                raise ValueError("it is no JSON: a row does not end")
    except IndexError:
        raise ValueError("it is no JSON: it ends in the middle") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {clean(str(error), 120)}") from None
    return document(text[:begin] + text[at:], most)


_BLANK = re.compile(r"[ \t\r\n]*")


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank is not None else at


def weigh(raw: bytes | str, most: Most) -> None:
    """Raises `TooMuch` if it is more than that; looks at nothing else."""
    if len(raw) > most.bytes:
        raise TooMuch(f"it is longer than {in_words(most.bytes)}")
    items = sum(raw.count(one) for one in "{[,") if isinstance(raw, str) else sum(raw.count(one) for one in b"{[,")
    if items > most.items:
        raise TooMuch(f"it holds more than {most.items} values")


def in_words(size: int) -> str:
    """A limit in bytes."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def text(value: object) -> str:
    """A text, or a number or a yes in its place, as a text; empty for anything else. Not clean."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else ""


def number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= 2**1000:
        return None
    found = float(value)
    return None if math.isnan(found) else found


def rows(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing for anything else."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def table(value: object) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def texts(value: object) -> list[str]:
    """The texts of a list; nothing for anything else."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def is_labels(value: object) -> bool:
    """Whether these are the labels of a series or an alert: texts, neither too many nor too long."""
    if not isinstance(value, Mapping) or len(value) > MOST_LABELS:
        return False
    return all(isinstance(told, str) and max(len(key), len(told)) <= MOST_TEXT for key, told in value.items())


def moment(value: object) -> datetime | None:
    """A moment in ISO 8601, UTC where it says no zone; None for anything else, and for what no calendar holds everywhere."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if _FIRST_YEAR <= at.year < _LAST_YEAR else None


def is_time(seconds: float) -> bool:
    """Whether a clock can show so many seconds since 1970."""
    return 0 <= seconds < _LAST_SECOND


def unix(value: object) -> datetime | None:
    """A moment in seconds since 1970, UTC; None for anything else, and for what no clock shows."""
    seconds = number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and is_time(seconds) else None


def left_out(counts: Iterable[tuple[int, str]]) -> str:
    """What was left out of an answer and why, as a sentence part; empty where all was taken. `counts`: how many, of what."""
    return ", ".join(f"{count} {what} left out" for count, what in counts if count)
