"""Where each key of a TOML text stands. Only for messages: the text has been read by `tomllib` before, so this scanner
does not check anything and never raises."""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""`("host", "spark", "mode", 0, "key")`."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\"}


class Places:
    """Line numbers of tables, keys and elements."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        scanner = _Scanner(text, self.lines)
        try:
            scanner.document()
        except (IndexError, RecursionError):  # a text that tomllib accepts does not get here; a line too few is no harm
            return

    def line(self, path: Path) -> int:
        """The line of the key, or of the nearest thing around it that has one."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1


def written(path: Path) -> str:
    """`host.spark.mode[0].key`, quoting keys that need it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        key = part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f".{key}" if text else key
    return text


class _Scanner:
    def __init__(self, text: str, lines: dict[Path, int]) -> None:
        self.text = text
        self.at = 0
        self.lines = lines
        self.counts: dict[Path, int] = {}
        """Index of the newest element of each array of tables."""

    def document(self) -> None:
        table: Path = ()
        self.blank()
        while self.at < len(self.text):
            before, line = self.at, self.line()
            if self.text.startswith("[", self.at):
                table = self.header(line)
            else:
                self.pair(table)
            self.blank()
            if self.at == before:
                self.at += 1  # something unknown: never stand still

    def header(self, line: int) -> Path:
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        keys = self.keys()
        self.at += 2 if array else 1
        path: Path = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            self.lines.setdefault(path, line)
            if array and index == len(keys) - 1:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = (*path, self.counts[path])
                self.lines.setdefault(path, line)
        if not array and keys:
            self.lines[path] = line  # `[a.b]` before `[a]`: the header of a table itself is its place
        return path

    def pair(self, table: Path) -> None:
        line = self.line()
        path = table
        for key in self.keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        if self.text.startswith("=", self.at):
            self.at += 1
            self.space()
            self.value(path)

    def value(self, path: Path) -> None:
        first = self.text[self.at : self.at + 1]
        if first and first in "\"'":
            self.string()
        elif first == "[":
            self.at += 1
            self.blank()
            index = 0
            while self.at < len(self.text) and self.text[self.at] != "]":
                self.lines.setdefault((*path, index), self.line())
                before = self.at
                self.value((*path, index))
                index += 1
                self.separator(before)
            self.at += 1
        elif first == "{":
            self.at += 1
            self.blank()
            while self.at < len(self.text) and self.text[self.at] != "}":
                before = self.at
                self.pair(path)
                self.separator(before)
            self.at += 1
        else:
            self.take(_SCALAR)

    def separator(self, before: int) -> None:
        """To the next element. Whatever stands there, the scanner is further on than at `before`."""
        self.blank()
        if self.text.startswith(",", self.at):
            self.at += 1
            self.blank()
        elif self.at == before:
            self.at += 1

    def keys(self) -> list[str]:
        keys = []
        while True:
            self.space()
            if self.text[self.at : self.at + 1] in ('"', "'"):
                keys.append(self.string())
            else:
                keys.append(self.take(_BARE))
            self.space()
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def string(self) -> str:
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(mark)
        out: list[str] = []
        while self.at < len(self.text) and not self.text.startswith(mark, self.at):
            if quote == '"' and self.text[self.at] == "\\":
                following = self.text[self.at + 1 : self.at + 2]
                out.append(_ESCAPES.get(following, "\\" + following))
                self.at += 2
            else:
                out.append(self.text[self.at])
                self.at += 1
        self.at += len(mark)
        while len(mark) == 3 and self.text.startswith(quote, self.at):
            self.at += 1  # `""""` : up to two quotes may stand before the closing three
        return "".join(out)

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def blank(self) -> None:
        self.take(_BLANK)

    def space(self) -> None:
        self.take(_SPACE)

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[0]
