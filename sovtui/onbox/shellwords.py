"""A shell script read for the commands in it, without running anything: words without their quotes, simple variables in place.

Comments, redirections, here-documents and the patterns of `case` are left out. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Union

Value = Union[str, list[str]]
"""Of a variable: a text, or the words of an array."""
Known = dict[str, Value]
MOST_COMMANDS = 2000
_SPACE = re.compile(r"\s+")
_RESERVED = frozenset(
    ("if", "then", "else", "elif", "fi", "while", "until", "do", "done", "esac", "{", "}", "!", "time", "coproc")
)
_DECLARES = frozenset(("export", "local", "readonly", "declare", "typeset"))
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)\Z", re.DOTALL)
_FINDS = re.compile(r"\s*(?:which|command\s+-v|type\s+-[pP])\s+([\w.+/-]+)\s*\Z")
_EXPANDS = re.compile(
    r"\$(?:\{(!?)([A-Za-z_][A-Za-z0-9_]*|[@*0-9])(\[[@*]\])?(?:(:?[-=+?])([^{}]*))?\}|([A-Za-z_][A-Za-z0-9_]*|[@*0-9]))"
)


def commands(text: str, known: Mapping[str, Value] | None = None) -> list[list[str]]:
    """The simple commands of a script in their order, each as words. A variable that is not known stays as it is written."""
    reader = _Reader(text, dict(known or {}))
    reader.read()
    return reader.found


def assigned(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The `NAME=value` words at the beginning of a command, and the rest of it."""
    env: dict[str, str] = {}
    for index, word in enumerate(words):
        match = _ASSIGNED.match(word)
        if match is None or match.group(2):
            return env, list(words[index:])
        env[match.group(1)] = match.group(3)
    return env, []


class _Reader:
    def __init__(self, text: str, known: Known) -> None:
        self.text, self.known, self.at = text.replace("\0", ""), known, 0
        self.found: list[list[str]] = []
        self.words: list[str] = []
        self.parts: list[tuple[str, bool]] | None = None
        """Of the word that is being read: text, and whether it was quoted."""
        self.skip = False
        """The next word is where something is redirected to."""
        self.open = 0
        self.cases = 0
        self.pattern = False
        """What comes is a pattern of `case`."""
        self.ends: list[str] = []
        """Delimiters of here-documents whose text begins on the next line."""
        self.array: str | None = None
        """The array that is being read, and what it had."""
        self.before: list[str] = []
        self.loops: dict[str, list[str]] = {}
        """What a variable of `for` becomes, one after the other."""
        self.set: Known = {}
        self.unsure: set[str] = set()

    def read(self) -> None:
        while self.at < len(self.text) and len(self.found) < MOST_COMMANDS:
            self._one(self.text[self.at])
        self._end()

    def _one(self, char: str) -> None:
        rest = self.text
        if char == "\\":
            if rest[self.at + 1 : self.at + 2] != "\n":
                self._add(rest[self.at + 1 : self.at + 2], True)
            self.at += 2
        elif char == "'":
            end = rest.find("'", self.at + 1)
            end = len(rest) if end < 0 else end
            self._add(rest[self.at + 1 : end], True, raw=True)
            self.at = end + 1
        elif char == '"':
            self._double()
        elif char == "`" or rest.startswith("$(", self.at):
            self._add(self._substituted(), False)
        elif rest.startswith("${", self.at):
            self._add(self._braced(), False)
        elif char == "#" and self.parts is None:
            end = rest.find("\n", self.at)
            self.at = len(rest) if end < 0 else end
        elif char in "<>":
            self._redirected()
        elif char == "&" and rest[self.at + 1 : self.at + 2] == ">":
            self.at += 1
        elif char in " \t" or (char == "\n" and self.array is not None):
            self._word()
            self.at += 1
        elif char in ";&|\n":
            self._end()
            self.at += 1
            if char == ";" and rest.startswith(";", self.at):
                self.at, self.pattern = self.at + 1, self.cases > 0
            if char == "\n":
                self._documents()
        elif char == "(":
            self._opened()
        elif char == ")":
            self._closed()
        else:
            self._add(char, False)
            self.at += 1

    # -- words -----------------------------------------------------------------------------------------------------------

    def _add(self, text: str, quoted: bool, raw: bool = False) -> None:
        if self.parts is None:
            self.parts = []
        text = text.replace("$", "\0") if raw else text
        if self.parts and self.parts[-1][1] == quoted:
            self.parts[-1] = (self.parts[-1][0] + text, quoted)
        else:
            self.parts.append((text, quoted))

    def _double(self) -> None:
        self.at += 1
        self._add("", True)
        text = self.text
        while self.at < len(text) and text[self.at] != '"':
            if text[self.at] == "\\" and text[self.at + 1 : self.at + 2] in ('"', "$", "`", "\\", "\n"):
                following = text[self.at + 1]
                self._add("" if following == "\n" else following, True, raw=True)
                self.at += 2
            elif text[self.at] == "`" or text.startswith("$(", self.at):
                self._add(self._substituted(), True)
            elif text.startswith("${", self.at):
                self._add(self._braced(), True)
            else:
                self._add(text[self.at], True)
                self.at += 1
        self.at += 1

    def _substituted(self) -> str:
        """What stands in `$(…)` or backquotes. Its commands count too; `$(which x)` is `x`."""
        start = self.at
        if self.text[start] == "`":
            end = self.text.find("`", start + 1)
            end = len(self.text) if end < 0 else end
            inner = self.text[start + 1 : end]
        else:
            end, depth = start + 2, 1
            while end < len(self.text) and depth:
                depth += {"(": 1, ")": -1}.get(self.text[end], 0)
                end += 1
            end -= 1
            inner = self.text[start + 2 : end]
        self.at = end + 1
        finds = _FINDS.match(inner)
        if finds:
            return finds.group(1)
        if not inner.startswith("("):
            self.found += commands(inner, self.known)
        return "$(…)"

    def _braced(self) -> str:
        end, depth = self.at + 2, 1
        while end < len(self.text) and depth:
            depth += {"{": 1, "}": -1}.get(self.text[end], 0)
            end += 1
        text, self.at = self.text[self.at : end], end
        return text

    def _word(self) -> None:
        if self.parts is None:
            return
        parts, self.parts = self.parts, None
        if self.skip:
            self.skip = False
            return
        plain = "".join(text for text, _ in parts)
        turning = next((name for name in self.loops if re.search(rf"\$\{{?{name}\b", plain)), "")
        for value in self.loops.get(turning, [""]):
            if turning:
                self.known[turning] = value
            self.words += self._fields(parts)

    def _fields(self, parts: Sequence[tuple[str, bool]]) -> list[str]:
        """The words that one word becomes."""
        made = [""]
        for text, quoted in parts:
            for first, *more in self._expanded(text, quoted):
                made[-1] += first
                made += more
        if len(made) > 1 or (not made[0] and not any(quoted for _, quoted in parts)):
            made = [word for word in made if word]
        return [word.replace("\0", "$") for word in made]

    def _expanded(self, text: str, quoted: bool) -> list[list[str]]:
        """Pieces of a word, each as the fields that it falls into: one, but for what is not quoted and for arrays."""
        found: list[list[str]] = []
        last = 0
        for match in _EXPANDS.finditer(text):
            found.append([text[last : match.start()]])
            name, manner, other = match.group(2) or match.group(6), match.group(4) or "", match.group(5) or ""
            value = None if match.group(1) else self.known.get(name)
            if "-" in manner or "=" in manner:
                value = value or self._plain(other)
            elif "+" in manner:
                value = self._plain(other) if value else ""
            if isinstance(value, list):
                found.append(value or [""])
            else:
                found.append([match.group(0)] if value is None else [value] if quoted else _SPACE.split(value))
            last = match.end()
        return [*found, [text[last:]]]

    def _plain(self, text: str) -> str:
        return "".join(" ".join(fields) for fields in self._expanded(text.strip("\"'"), True))

    # -- commands --------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._word()
        self.skip = False
        words, self.words = self.words, []
        while words and words[0] in _RESERVED:
            if words[0] == "esac":
                self.cases, self.pattern = max(0, self.cases - 1), False
            words = words[1:]
        if self.pattern:
            return
        if words[:1] == ["function"]:
            words = words[2:]
        if not words or words[0] in ("for", "select", "case", "in"):
            if words[:1] == ["select"]:
                self.found.append(words)
            if words[:1] == ["for"] and words[2:3] == ["in"]:
                self.loops[words[1]] = words[3:]
            if words[:1] == ["case"]:
                self.cases, self.pattern = self.cases + 1, True
            return
        bare = words[1:] if words[0] in _DECLARES else words
        env, more = assigned([word for word in bare if not (word.startswith("-") and words[0] in _DECLARES)])
        if env and not more:
            for name, value in env.items():
                self._set(name, value)
        self.found.append(words)

    def _set(self, name: str, value: Value) -> None:
        """What a script sets twice, to different values, depends on what it was asked for: that is not known."""
        if name in self.unsure or (name in self.set and self.set[name] != value):
            self.unsure.add(name)
            self.known.pop(name, None)
        else:
            self.set[name] = self.known[name] = value

    def _redirected(self) -> None:
        if self.parts is not None and all(not quoted and text.isdigit() for text, quoted in self.parts):
            self.parts = None  # the number of what is redirected
        self._word()
        match = re.compile(r"<<<|<<-?|>>|<>|>\||>&|<&|[<>]").match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        if self.text.startswith("(", self.at):  # <(…): a file that is a command
            self.at -= 1
            self.text = f"{self.text[: self.at]}${self.text[self.at + 1 :]}"
            return
        if match.group(0) in ("<<", "<<-"):
            delimiter = re.compile(r"[ \t]*(['\"\\]?)([\w.+-]+)\1?").match(self.text, self.at)
            if delimiter:
                self.ends.append(delimiter.group(2))
                self.at = delimiter.end()
                return
        self.skip = True

    def _documents(self) -> None:
        for delimiter in self.ends:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line, self.at = self.text[self.at : end], end + 1
                if line.strip() == delimiter:
                    break
        self.ends = []

    def _opened(self) -> None:
        self.at += 1
        plain = "".join(text for text, _ in self.parts or ())
        array = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)\+?=", plain)
        if array:
            old = self.known.get(array.group(1), []) if plain.endswith("+=") else []
            self.before = old if isinstance(old, list) else [old]
            self.array, self.parts = array.group(1), None
            before, self.words = self.words, []
            while self.at < len(self.text) and self.array is not None:
                self._one(self.text[self.at])
            self.words = before
        elif self.text.startswith(")", self.at) and self.parts is not None:  # a function's name
            self.at += 1
            self.parts, self.words = None, []
        else:
            self._end()
            self.open += 0 if self.pattern else 1

    def _closed(self) -> None:
        self.at += 1
        if self.array is not None:
            self._word()
            self.known[self.array] = [*self.before, *self.words]
            self.array, self.words = None, []
        elif self.open and not self.pattern and self.words[:1] != ["case"]:
            self._end()
            self.open -= 1
        else:
            if self.words[:1] == ["case"]:
                self.cases += 1
            self.parts, self.words, self.skip, self.pattern = None, [], False, False
