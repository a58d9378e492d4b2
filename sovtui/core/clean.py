"""Hostile text to inert text. Everything that comes from outside passes here once, at the adapter.

Must not know what the text is for: it only makes it safe to put in a terminal cell.
"""

from __future__ import annotations

import re
from typing import NewType

Clean = NewType("Clean", str)
"""Text that holds no control, format, filler or other invisible character and no line break."""

MAX_CHARS = 2000
"""Longest line kept; a megabyte on one line is cut here, with a sign."""

# C0 and C1 controls, line and paragraph separators, lone surrogates; all of Unicode's format characters (Cf: bidi marks, overrides and
# isolates, zero-width ones, soft hyphen, byte order mark, tags, interlinear marks) and all that its standard says a renderer may ignore:
# fillers of Hangul, the combining grapheme joiner, invisible vowels of Khmer, variation selectors. Where one of these changes how
# something looks, terminals do not agree how wide that is. And what is drawn as nothing: Egyptian blanks, the filler of Khitan, the
# null notehead.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u17b4-\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U00013441-\U00013442\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# A whole escape sequence goes, not only its first byte: otherwise "[31m" stays behind as noise.
_SEQUENCE = re.compile(
    "\x1b\\][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?|[\x90\x98\x9d-\x9f][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[PX^_][^\x1b]*(?:\x1b\\\\)?|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?"
)


def clean(text: str, limit: int = MAX_CHARS) -> Clean:
    """Return `text` as one inert line of at most `limit` characters.

    Tabs become spaces, a carriage return keeps what was written last (progress bars), line breaks
    become spaces, everything that could move the cursor or hide text is dropped.
    """
    cut = len(text) > limit * 8
    text = text[: limit * 8]  # bound the work before the regular expressions see it
    if not text.isascii() or not text.isprintable():
        text = _SEQUENCE.sub("", text)
        if "\r" in text:
            parts = [part for part in text.replace("\r\n", "\n").split("\r") if part.strip()]
            text = parts[-1] if parts else ""
        text = text.expandtabs(4).replace("\n", " ").replace("\u2800", " ")  # Braille without a dot
        text = _UNSAFE.sub("", text)
    if cut or len(text) > limit:
        text = text[: limit - 1] + "…"
    return Clean(text)


def clean_bytes(raw: bytes, limit: int = MAX_CHARS) -> Clean:
    """`clean` for bytes of unknown encoding: invalid UTF-8 becomes the replacement character."""
    return clean(raw[: limit * 16].decode("utf-8", "replace"), limit)


JOINED = " · "
"""Between lines that become one."""


def one_line(text: str, limit: int = MAX_CHARS) -> Clean:
    """The lines of a text as one, each cleaned: for a clipboard, where a line break would make a shell run what is pasted."""
    lines = [line.strip() for line in map(clean, text.splitlines())]
    return clean(JOINED.join(line for line in lines if line), limit)
