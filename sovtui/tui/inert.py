"""The last gate before the terminal: text that stays in its own cells, whatever it is made of. Pure.

Adapters have cleaned what comes from outside; this is for what slips through, and for what is harmless anywhere but in a grid of
cells: marks without a letter to sit on (they would change the cell before them), towers of marks, flags and skin tones (terminals
do not agree how wide they are), spaces that are not the space. How many cells a text takes stays the same.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from rich.cells import cell_len

from sovtui.core.clean import MAX_CHARS, clean

MARKS = 2
"""Marks that one letter may carry; a space carries none."""
_SAFE = re.compile(
    r"[ -~\xa1-\xac\xae-\u02af\u0370-\u0377\u0386-\u03ff\u0400-\u0482\u2010-\u2016\u2020-\u2026\u2190-\u21ff\u2500-\u25ff\u2600-\u263f\u2700-\u27bf\u2248\u2264\u2265]*"
)
"""What needs no look: Latin, Greek, Cyrillic, and the signs and blocks that the screen itself draws."""


def inert(words: str) -> str:
    """The text, safe in a row of cells. The same object if there is nothing to do, which is nearly always."""
    return words if len(words) <= MAX_CHARS and _SAFE.fullmatch(words) else _inert(words)


@lru_cache(maxsize=2048)
def _inert(words: str) -> str:
    found: list[str] = []
    marks = MARKS
    for char in unicodedata.normalize("NFC", clean(words)):
        category = unicodedata.category(char)
        if category in ("Mn", "Me", "Mc"):
            marks += 1
            if marks <= MARKS:
                found.append(char)
            continue
        cells = cell_len(char)
        if not cells:
            continue  # halves of syllables, skin tones, fillers
        marks = MARKS if category == "Zs" else 0
        if category == "Zs":
            found.append(" " * cells)
        elif category in ("Cn", "Co", "Cs", "Cc", "Cf", "Zl", "Zp"):
            found.append("\ufffd" * cells)
        elif "\U0001f1e6" <= char <= "\U0001f1ff":
            found.append(chr(ord(char) - 0x1F1E6 + ord("A")))  # half a flag
        else:
            found.append(char)
    return "".join(found)
