"""A text as a QR code, for a camera in front of a terminal. Pure; the library is loaded when one is wanted."""

from __future__ import annotations

HALVES = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
"""(upper, lower) module is marked."""


def modules(text: str, border: int = 2) -> list[list[bool]]:
    """True where it is dark, with `border` light modules around. Raises `ValueError` where the text is too long."""
    import segno

    code = segno.make(text, error="l", micro=False, boost_error=False)
    return [[bool(module) for module in row] for row in code.matrix_iter(border=border)]


def half_blocks(grid: list[list[bool]], *, light: bool = False) -> list[str]:
    """Two modules per cell. Marked are the dark ones, or with `light` the light ones, for a dark terminal without colours."""
    lower = [*grid[1::2], *([] if len(grid) % 2 == 0 else [[light] * len(grid[0])])]
    pairs = zip(grid[::2], lower, strict=True)
    return ["".join(HALVES[top is not light, bottom is not light] for top, bottom in zip(*pair, strict=True)) for pair in pairs]


def spaces(grid: list[list[bool]]) -> list[list[tuple[str, bool]]]:
    """Runs of spaces, two per module, each dark or not: for terminals without block characters."""
    lines = []
    for row in grid:
        runs: list[tuple[str, bool]] = []
        for dark in row:
            if runs and runs[-1][1] is dark:
                runs[-1] = (runs[-1][0] + "  ", dark)
            else:
                runs.append(("  ", dark))
        lines.append(runs)
    return lines
