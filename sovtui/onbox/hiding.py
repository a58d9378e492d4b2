"""Values that must not be seen, taken out of any text: as they are, quoted, or encoded for JSON, a URL, HTML, Basic or as hex. Pure."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterable

MARK = "…"
COMMON = frozenset(("", "0", "1", "y", "n", "yes", "no", "true", "false", "on", "off", "none", "auto", "ok"))
"""Answers that tell nobody anything, and would be found everywhere."""
SHORT = 3
"""What is no longer than this counts only where it stands alone."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENCODED = re.compile(r"[%\\&+']")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{4,}={0,2}|[A-Za-z0-9+/_-]{2,3}={1,2}")
_ESCAPES = {"\n": r"\\{1,3}n", "\t": r"\\{1,3}t", "\r": r"\\{1,3}r", "\b": r"\\{1,3}b", "\f": r"\\{1,3}f"}
_QUOTES = {"'": r"'\\''|'\"'\"'", " ": r"\+", "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class Hider:
    """Takes values out of texts. Says nothing of itself."""

    def __init__(self, values: Iterable[str], mark: str = MARK) -> None:
        found = {part for value in values for part in (value, value.strip(), _CONTROL.sub("", value), *value.splitlines())}
        found = {value for value in found if value.strip().lower() not in COMMON}
        self._mark = mark
        self._plain = [(value, _standing(re.escape(value), value)) for value in sorted(found, key=len, reverse=True)]
        self._encoded = [(value, "".join(map(_any_way, value))) for value, _ in self._plain]
        self._patterns: list[re.Pattern[str]] | None = None
        self._basic = [core for value in found if len(value) > SHORT for core in _basic(value)]
        self._hex = [value.encode("utf-8", "surrogatepass").hex() for value in found if len(value) > SHORT]
        self._short = [re.compile(pattern) for value, pattern in self._plain if len(value) <= SHORT]
        self.longest = max((len(value) for value in found), default=0)

    def __repr__(self) -> str:
        return "<hidden>"

    def __call__(self, text: str) -> str:
        if self._plain and _ENCODED.search(text):
            if self._patterns is None:
                self._patterns = [re.compile(_standing(pattern, value)) for value, pattern in self._encoded]
            for one in self._patterns:
                text = one.sub(lambda _: self._mark, text)
        for value, pattern in self._plain:
            if value in text:
                text = re.sub(pattern, lambda _: self._mark, text)
        for core in self._basic:
            if core in text:
                text = re.sub(rf"[A-Za-z0-9+/_-]*{re.escape(core)}[A-Za-z0-9+/_=-]*", lambda _: self._mark, text)
        for digits in self._hex:
            if digits in text.lower():
                text = re.sub(digits, lambda _: self._mark, text, flags=re.IGNORECASE)
        return _BASE64.sub(self._decoded, text) if self._short else text

    def _decoded(self, found: re.Match[str]) -> str:
        """A word, unless it is Base64 of a text in which a short value stands."""
        with contextlib.suppress(ValueError):
            word = found.group(0).rstrip("=").replace("-", "+").replace("_", "/")
            told = base64.b64decode(word + "=" * (-len(word) % 4)).decode()
            if told.rstrip().isprintable() and any(one.search(told) for one in self._short):
                return self._mark
        return found.group(0)


def _standing(pattern: str, value: str) -> str:
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])" if len(value) <= SHORT else pattern


def _any_way(char: str) -> str:
    """A pattern for one character however it is written."""
    ways = [_QUOTES.get(char, ""), _ESCAPES.get(char, "")]
    data = char.encode("utf-8", "surrogatepass")
    ways.append("".join(f"%(?:25)*{_hex(f'{byte:02x}')}" for byte in data))
    ways.append("".join(rf"\\x{_hex(f'{byte:02x}')}" for byte in data))
    units = char.encode("utf-16-be", "surrogatepass").hex()
    ways.append("".join(rf"\\{{1,3}}u{_hex(units[i : i + 4])}" for i in range(0, len(units), 4)))
    plain = rf"\\{{0,3}}{re.escape(char)}"  # the last: `%25` begins with what it stands for
    ways.append(rf"&#(?:0*{ord(char)}|[xX]0*{_hex(f'{ord(char):x}')});")
    return f"(?:{'|'.join(way for way in [*ways, plain] if way)})"


def _hex(digits: str) -> str:
    return "".join(f"[{one}{one.upper()}]" if one.isalpha() else one for one in digits)


def _basic(value: str) -> list[str]:
    """What is the same in the Base64 of every text that holds the value, wherever in it that begins."""
    data = value.encode("utf-8", "surrogatepass")
    found = []
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode()
        core = whole[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        found += [core, core.replace("+", "-").replace("/", "_")] if len(core) > SHORT else []
    return list(dict.fromkeys(found))
