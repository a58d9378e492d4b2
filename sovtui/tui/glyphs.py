"""Every sign the screen draws, for terminals that only have ASCII: one character of ASCII per cell, each meaning kept. Pure."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len

SIGNS = {
    "●": "*", "◌": "z", "○": "o", "◐": "%", "◑": "&", "✖": "X", "✔": "+", "▲": "!", "△": "^", "▸": ">", "◀": "<", "◆": "*", "‖": "=", "↻": "@",
    "↑": "^", "↓": "v", "←": "<", "→": ">", "…": ">", "·": "-", "×": "x", "–": "-", "—": "-", "−": "-", "•": "*",
    "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "°": "'", "µ": "u", "≤": "<", "≥": ">", "≈": "~", "≡": "=", "\xa0": " ",
    "█": "#", "▓": "%", "▚": "+", "▒": "=", "░": ".",
    "▁": "_", "▂": ".", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "%", "▀": '"',
    "▔": "-", "▏": "|", "▎": "|", "▍": "|", "▕": "|",
}  # fmt: skip
"""What sovtui itself draws. A gauge's parts, a curve's levels and the signs of a state stay different from one another."""

_BOX = {"─": "-", "━": "-", "╌": "-", "┄": ".", "│": "|", "┃": "|", "╎": "|", "║": "|", "═": "="}


class _Table(dict[int, str]):
    """For `str.translate`: asks once per character."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _plain(chr(code))
        return found


def _plain(char: str) -> str:
    """As many ASCII characters as the character has cells."""
    if char.isascii():
        return char
    known = SIGNS.get(char) or _BOX.get(char)
    if known:
        return known
    if "\u2500" <= char <= "\u257f":
        return "+"
    if "\u2580" <= char <= "\u259f":
        return "#"
    cells = cell_len(char)
    letters = "".join(c for c in unicodedata.normalize("NFKD", char) if c.isascii() and c.isprintable())
    return letters if letters and len(letters) == cells else "?" * cells


_TABLE = _Table()


def to_ascii(words: str) -> str:
    """The same cells in ASCII; escape sequences pass as they are. A foreign letter loses its accents or becomes `?`."""
    return words if words.isascii() else words.translate(_TABLE)
