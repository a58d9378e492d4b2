"""Theme files: TOML to Textual themes. A bad file is reported and skipped, never fatal."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from sovtui.config.paths import theme_dirs

DEFAULT = "sovtui-dark"
LOW_BANDWIDTH = ("ansi-dark", "ansi-light")
"""Textual's own themes that use the terminal's palette: fewest bytes."""

_COLOURS = (
    "primary", "secondary", "warning", "error", "success", "accent", "foreground", "background", "surface", "panel", "boost",
)  # fmt: skip
_KNOWN = {field.name: field for field in fields(Theme)}


class ThemeError(Exception):
    """A file that is not a theme, and why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the directories hold."""

    themes: dict[str, Theme]
    problems: tuple[str, ...] = ()
    """One sentence per file that was skipped."""


def parse(name: str, words: str) -> Theme:
    """One theme from its TOML text. Raises ThemeError."""
    try:
        data: dict[str, Any] = tomllib.loads(words)
    except tomllib.TOMLDecodeError as error:
        raise ThemeError(f"it is not TOML: {error}") from error
    data.setdefault("name", name)
    unknown = sorted(set(data) - set(_KNOWN))
    if unknown:
        raise ThemeError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    if "primary" not in data:
        raise ThemeError("the key 'primary' is missing")
    for key in _COLOURS:
        if key in data:
            _colour(key, data[key])
    variables = data.get("variables", {})
    if not isinstance(variables, dict) or not all(isinstance(v, str) for v in variables.values()):
        raise ThemeError("'variables' must be a table of texts")
    for key, kind in (("dark", bool), ("ansi", bool), ("luminosity_spread", float), ("text_alpha", float), ("name", str)):
        if key in data and not isinstance(data[key], kind):
            raise ThemeError(f"{key!r} must be a {kind.__name__}")
    return Theme(**data)


def _colour(key: str, words: object) -> None:
    if not isinstance(words, str):
        raise ThemeError(f"{key!r} must be a colour as text")
    try:
        Color.parse(words)
    except ColorParseError as error:
        raise ThemeError(f"{key!r} is not a colour: {words!r}") from error


def load(places: Iterable[Path] | None = None, *, only: str = "") -> Found:
    """Every theme of every directory; or, for the first frame, those of the one file name `only`."""
    themes: dict[str, Theme] = {}
    problems = []
    for place in theme_dirs() if places is None else places:
        try:
            files = [file for file in sorted(place.glob("*.toml")) if only in ("", file.stem)]
        except OSError as error:
            problems.append(f"{place}: {error.strerror or error}")
            continue
        for file in files:
            try:
                theme = parse(file.stem, file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, ThemeError) as error:
                problems.append(f"theme {file} is skipped: {error}")
                continue
            themes.setdefault(theme.name, theme)
    return Found(themes, tuple(problems))


def names(found: Found) -> list[str]:
    """All that can be chosen: ours first, then Textual's."""
    return [*sorted(found.themes), *(n for n in sorted(BUILTIN_THEMES) if n not in found.themes)]


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two colours as text."""
    lights = sorted((_luminance(Color.parse(one)), _luminance(Color.parse(other))), reverse=True)
    return (lights[0] + 0.05) / (lights[1] + 0.05)


def _luminance(colour: Color) -> float:
    parts = [part / 255 for part in (colour.r, colour.g, colour.b)]
    r, g, b = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
