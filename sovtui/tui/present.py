"""Rows of styled text: the one vocabulary in which panes say what they show. Pure; knows no widget and no colour.

A span is text with a role; what a role looks like is the stylesheet's business. Texts from outside are shown as they
are, never parsed: no markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from rich.cells import cell_len as _cell_len
from rich.cells import set_cell_size

from sovtui.core import text
from sovtui.core.reading import Reading, Status
from sovtui.core.text import STALE_SIGN

Span = tuple[str, str]
"""(text, role)."""

ROLES = (
    "plain",
    "label",
    "strong",
    "ok",
    "warn",
    "bad",
    "accent",
    "stale",
    "nothing",
    "title",
    "sign",
    "key",
    "off",
    "curve",
    "then",
    "qr",
    "qr-dark",
)
"""Every role there is; each is a component class `lines--ROLE` of the stylesheet."""

LEFT, RIGHT = "left", "right"
_BETWEEN = "-_.:/ "
"""What is between the words of a name."""
_ONE_CELL_EACH = re.compile(r"[ -~\xa0-\xac\xae-\u02ff\u2010-\u2026\u2190-\u21ff\u2248\u2264\u2265\u2500-\u25fc\u2714\u2716]*")
"""Latin, and the signs and blocks that the screen itself draws."""


def cell_len(words: str) -> int:
    """How many cells wide; rich's own, which keeps thousands of texts, but nearly all of ours need no look."""
    return len(words) if words.isascii() or _ONE_CELL_EACH.fullmatch(words) else _cell_len(words)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a pane."""

    spans: tuple[Span, ...] = ()
    mark: str = ""
    """A background for the whole row: `cursor`, `chosen`, or none."""

    @property
    def cells(self) -> int:
        cells = 0
        for words, _ in self.spans:
            cells += len(words) if words.isascii() else cell_len(words)
        return cells

    @property
    def plain(self) -> str:
        return "".join(words for words, _ in self.spans)


BLANK = Row()


def row(*spans: Span | str, mark: str = "") -> Row:
    """A row of spans; a bare text is in the plain role."""
    kept: list[Span] = []
    for span in spans:
        if isinstance(span, str):
            if span:
                kept.append((span, "plain"))
        elif span[0]:
            kept.append(span)
    return Row(tuple(kept), mark)


def cut(words: str, cells: int) -> str:
    """At most `cells` wide; what was cut off leaves an ellipsis."""
    if cells <= 0:
        return ""
    if cell_len(words) <= cells:
        return words
    return set_cell_size(words, cells - 1).rstrip(" ") + "…"


def middle(words: str, cells: int, tail: int) -> str:
    """At most `cells` wide: its beginning, an ellipsis, and about `tail` cells of its end."""
    if cell_len(words) <= cells or cells < 4:
        return cut(words, cells)
    tail = max(1, min(tail, cells - 2))
    end = words[-tail:]
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(words, cells - 1 - cell_len(end)).rstrip(" ") + "…" + end


@lru_cache(maxsize=128)
def tell_apart(names: tuple[str, ...], cells: int) -> Mapping[str, str]:
    """Each name in at most `cells`. Of names that would be the same once cut, the part in which they differ stays."""
    shown = {name: cut(name, cells) for name in names}
    alike: dict[str, list[str]] = {}
    for name, words in shown.items():
        alike.setdefault(words, []).append(name)
    for group in alike.values():
        if len(group) > 1 and cells >= 4:
            shown.update(_apart(group, cells))
    return shown


def _apart(group: Sequence[str], cells: int) -> dict[str, str]:
    """Cut in the middle: the word in which they differ and what follows, else as much of the end as is needed, else from there on."""
    shortest = min(map(len, group))
    differ = next((i for i in range(shortest) if len({name[i] for name in group}) > 1), shortest)
    word = max(group[0].rfind(sign, 0, differ) + 1 for sign in _BETWEEN)
    tails = [{name: len(name) - word for name in group}] if max(map(len, group)) - word <= cells - 3 else []
    tails += [dict.fromkeys(group, tail) for tail in range((cells - 1) // 2, cells - 1)]
    for tail in tails:
        found = {name: middle(name, cells, tail[name]) for name in group}
        if len(set(found.values())) == len(group):
            return found
    return {name: cut("…" + name[differ:], cells) for name in group}


def pad(words: str, cells: int, align: str = LEFT) -> str:
    """Exactly `cells` wide."""
    wide = cell_len(words)
    if wide > cells:
        words = cut(words, cells)
        wide = cell_len(words)
    blanks = " " * (cells - wide)
    return blanks + words if align == RIGHT else words + blanks


def fit(line: Row, cells: int) -> Row:
    """The row cut to `cells`, with an ellipsis in the role of what was cut."""
    total = line.cells
    if total <= cells:
        return line
    spans: list[Span] = []
    left = cells
    for words, role in line.spans:
        wide = cell_len(words)
        if wide < left or (wide == left and total <= cells):
            spans.append((words, role))
            left -= wide
            continue
        spans.append((cut(words + "…", left), role) if wide <= left else (cut(words, left), role))
        break
    return Row(tuple(spans), line.mark)


def spread(left: Row, right: Row, cells: int) -> Row:
    """Two rows at the two edges; the left one gives way."""
    right = fit(right, cells)
    taken = right.cells
    room = cells - taken - (1 if right.spans else 0)
    left = fit(left, max(0, room))
    gap = cells - left.cells - taken
    return Row((*left.spans, (" " * gap, "plain"), *right.spans), left.mark or right.mark) if gap > 0 else left


def wrap(words: str, cells: int, limit: int = 200) -> list[str]:
    """Lines of at most `cells`, broken at spaces where there are any."""
    cells = max(1, cells)
    words = words[: cells * limit * 2]  # a megabyte on one line costs no more than what is shown of it
    lines: list[str] = []
    for paragraph in words.split("\n"):
        current = ""
        for word in paragraph.split(" "):
            joined = f"{current} {word}" if current else word
            if cell_len(joined) <= cells:
                current = joined
                continue
            if current:
                lines.append(current)
            while cell_len(word) > cells:
                head = _head(word, cells)
                lines.append(head)
                word = word[len(head) :]
            current = word
        lines.append(current)
        if len(lines) >= limit:
            return lines[:limit]
    return lines


def _head(word: str, cells: int) -> str:
    """The longest beginning that fits, at least one character."""
    wide = 0
    for index, char in enumerate(word):
        wide += cell_len(char)
        if wide > cells and index:
            return word[:index]
    return word


def paragraph(words: str, cells: int, role: str = "plain", indent: int = 0) -> list[Row]:
    """Wrapped text as rows."""
    return [row((" " * indent + line, role)) for line in wrap(words, cells - indent)]


def value(figure: str, what: Reading, now: datetime) -> Span:
    """A reading with the sign and the role of its kind of nothing."""
    return text.reading(figure, what, now), reading_role(what)


def reading_role(what: Reading) -> str:
    if what.status is Status.FRESH:
        return "plain"
    return "stale" if what.value is not None and what.status is Status.STALE else "nothing"


def grid(pairs: Sequence[tuple[str, Span]], cells: int, column: int = 23) -> list[Row]:
    """Label and value pairs in as many columns as fit, read row by row."""
    columns = max(1, min(len(pairs) or 1, cells // column))
    wide = cells // columns
    labels = [max((cell_len(label) for label, _ in pairs[i::columns]), default=0) for i in range(columns)]
    rows = []
    for start in range(0, len(pairs), columns):
        spans: list[Span] = []
        for index, (label, (words, role)) in enumerate(pairs[start : start + columns]):
            room = wide if index < columns - 1 else cells - wide * (columns - 1)
            spans.append((pad(label, labels[index]) + " ", "label"))
            left = max(1, room - labels[index] - 1 - (1 if index < columns - 1 else 0))
            if role == "stale" and cell_len(words) > left and STALE_SIGN in words:
                words = words[: words.index(STALE_SIGN) + 1]  # its age has no room; the sign stays
                words = words.replace(f" {STALE_SIGN}", STALE_SIGN) if cell_len(words) > left else words
            spans.append((pad(cut(words, left), left + (1 if index < columns - 1 else 0)), role))
        rows.append(fit(Row(tuple(spans)), cells))
    return rows


def facts(pairs: Sequence[tuple[str, Span]], cells: int) -> list[Row]:
    """Label and value one below the other, the value wrapped beside its label."""
    column = max((cell_len(label) for label, _ in pairs), default=0) + 2
    rows = []
    for label, (words, role) in pairs:
        for index, line in enumerate(wrap(words, max(8, cells - column)) if words else []):
            rows.append(row((pad("" if index else label, column), "label"), (line, role)))
    return rows


def flow(parts: Iterable[Row], cells: int, between: Span = ("  ", "label")) -> list[Row]:
    """Parts one after the other, broken into lines where the next does not fit."""
    lines: list[Row] = []
    current: tuple[Span, ...] = ()
    wide = 0
    for part in parts:
        if not part.spans:
            continue
        if current and wide + cell_len(between[0]) + part.cells > cells:
            lines.append(Row(current))
            current, wide = (), 0
        if current:
            current, wide = (*current, between), wide + cell_len(between[0])
        part = fit(part, cells)
        current, wide = current + part.spans, wide + part.cells
    return [*lines, Row(current)] if current else lines


BLOCKS = " ▁▂▃▄▅▆▇█"
_DIGITS = {
    "0": ("█▀█", "█ █", "▀▀▀"), "1": ("▀█ ", " █ ", "▀▀▀"), "2": ("▀▀█", "█▀▀", "▀▀▀"), "3": ("▀▀█", " ▀█", "▀▀▀"),
    "4": ("█ █", "▀▀█", "  ▀"), "5": ("█▀▀", "▀▀█", "▀▀▀"), "6": ("█▀▀", "█▀█", "▀▀▀"), "7": ("▀▀█", "  █", "  ▀"),
    "8": ("█▀█", "█▀█", "▀▀▀"), "9": ("█▀█", "▀▀█", "▀▀▀"), ".": (" ", " ", "▀"), "?": ("▀▀█", " ▀▀", " ▀ "),
    "-": ("   ", "▀▀▀", "   "),
}  # fmt: skip


def big(number: str) -> tuple[str, str, str]:
    """A short number three rows high."""
    glyphs = [_DIGITS.get(char, ("?", "?", "?")) for char in number]
    first, second, third = (" ".join(glyph[i] for glyph in glyphs) for i in range(3))
    return first, second, third


def curve(
    points: Sequence[tuple[float, float]], cells: int, rows: int, now: float, *, seconds: float = 600.0, top: float = 0.0
) -> list[str]:
    """The last `seconds` as columns of block characters; a column without a point stays blank.

    Columns stand for whole intervals of the clock, so the picture moves only when an interval ends.
    """
    if cells <= 0 or rows <= 0:
        return []
    each = seconds / cells
    first = int(now // each) - cells + 1
    totals, counts = [0.0] * cells, [0] * cells
    for at, level in points:
        column = int(at // each) - first
        if 0 <= column < cells:
            totals[column] += level
            counts[column] += 1
    means = {column: totals[column] / count for column, count in enumerate(counts) if count}
    high = max([top, *means.values()], default=0.0)
    lines = []
    for line in range(rows - 1, -1, -1):
        chars = []
        for column in range(cells):
            if column not in means:
                chars.append(" ")
                continue
            eighths = round(means[column] / high * rows * 8) if high > 0 else 0
            if line == 0:
                eighths = max(1, eighths)  # zero is a thin line, not a gap: a gap means that nothing is known
            chars.append(BLOCKS[max(0, min(8, eighths - line * 8))])
        lines.append("".join(chars))
    return lines


def bar(parts: Sequence[tuple[float, str, str]], cells: int) -> Row:
    """A gauge: (share 0 to 1, character, role) one after the other; the rest stays blank."""
    spans: list[Span] = []
    done, total = 0, 0.0
    for share, char, role in parts:
        total += max(0.0, share)
        until = min(cells, round(total * cells))
        if share > 0 and until == done and done < cells:
            until = done + 1  # something is never drawn as nothing
        if until > done:
            spans.append((char * (until - done), role))
            done = until
    return Row((*spans, (" " * (cells - done), "plain"))) if done < cells else Row(tuple(spans))
