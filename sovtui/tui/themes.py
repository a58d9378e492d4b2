"""Theme files: TOML to Textual themes. A bad file is reported and skipped, never fatal."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.css.errors import DeclarationError
from textual.css.parse import parse_declarations
from textual.css.tokenizer import TokenError
from textual.theme import BUILTIN_THEMES, Theme

from sovtui.config.paths import theme_dirs
from sovtui.config.reading import read
from sovtui.core.clean import clean

DEFAULT = "sovtui-dark"
MONO = "sovtui-mono"
"""No colour at all: what `NO_COLOR` gets, whatever else is asked for."""

STYLES = {
    "strong-style": "bold", "title-style": "bold", "ok-style": "none", "warn-style": "none", "bad-style": "bold",
    "label-style": "none", "accent-style": "none", "stale-style": "italic", "nothing-style": "none", "sign-style": "bold",
    "key-style": "bold", "off-style": "italic", "curve-style": "none", "then-style": "bold reverse", "cursor-style": "none", "chosen-style": "none",
    "focus-title-style": "bold", "focus-border": "round", "ansi-background": "ansi_black", "ansi-foreground": "ansi_white",
}  # fmt: skip
"""Variables of the stylesheet beyond colours, with their defaults: a theme without colours says with these what it means."""

_COLOURS = (
    "primary", "secondary", "warning", "error", "success", "accent", "foreground", "background", "surface", "panel", "boost",
)  # fmt: skip
_KNOWN = {one.name for one in fields(Theme)}


LIMIT_BYTES = 64 * 1024
"""No theme is larger."""
Signature = tuple[tuple[str, int, int], ...]
"""Path, time of change in ns and size of every file: differs if anything was changed, added or removed."""


class ThemeError(Exception):
    """A file that is not a theme, and why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the directories hold."""

    themes: dict[str, Theme]
    problems: tuple[str, ...] = ()
    """One sentence per file that was skipped."""
    files: dict[str, Path] = field(default_factory=dict)
    """Where each theme comes from."""


def parse(name: str, text: str) -> Theme:
    """One theme from its TOML text. Raises ThemeError."""
    try:
        data: dict[str, Any] = tomllib.loads(text)
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
    for key, words in variables.items():
        _variable(key, words)
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


def _variable(key: str, words: str) -> None:
    """What the stylesheet could not read would end the program when the theme is chosen."""
    kind = "text-style" if "style" in key else "border" if key == "focus-border" else "color"
    try:
        if set(words) & set(";{}$"):
            raise ValueError
        parse_declarations(f"{kind}: {words};", ("", ""))
    except (DeclarationError, TokenError, ValueError) as error:
        what = {"text-style": 'a style such as "bold reverse"', "border": 'a kind of border such as "heavy"'}.get(
            kind, "a colour"
        )
        raise ThemeError(f"{key!r} is not {what}: {words!r}") from error


def _files(places: Iterable[Path] | None) -> Iterable[Path]:
    for place in theme_dirs() if places is None else places:
        if place.is_dir():
            yield from sorted(place.glob("*.toml"))


def signature(places: Iterable[Path] | None = None) -> Signature:
    """What `load` would look at, as cheap as it gets: a handful of `stat` calls."""
    found = []
    for file in _files(places):
        with contextlib.suppress(OSError):
            told = file.stat()
            found.append((str(file), told.st_mtime_ns, told.st_size))
    return tuple(found)


def load(places: Iterable[Path] | None = None, *, only: str = "") -> Found:
    """Every theme of every directory, or, for the first frame, those of files named `only`; the first directory that has a name wins."""
    themes: dict[str, Theme] = {}
    files: dict[str, Path] = {}
    problems = []
    for file in _files(places):
        if only not in ("", file.stem):
            continue
        try:
            theme = parse(file.stem, read(file, LIMIT_BYTES).decode("utf-8"))
        except (OSError, UnicodeDecodeError, ThemeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            problems.append(clean(f"theme {file} is skipped: {why}"))
            continue
        if theme.name not in themes:
            themes[theme.name], files[theme.name] = theme, file
    return Found(themes, tuple(problems), files)


def told(found: Found) -> list[tuple[str, str]]:
    """Name and origin of all that can be chosen: files first, then Textual's own."""
    users = theme_dirs()[0]
    ours = [(name, str(file) if file.parent == users else "shipped") for name, file in found.files.items()]
    return sorted(ours) + [(name, "Textual's own") for name in sorted(BUILTIN_THEMES) if name not in found.themes]


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two colours as text."""
    lights = sorted((_luminance(Color.parse(one)), _luminance(Color.parse(other))), reverse=True)
    return (lights[0] + 0.05) / (lights[1] + 0.05)


def _luminance(colour: Color) -> float:
    parts = [part / 255 for part in (colour.r, colour.g, colour.b)]
    r, g, b = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
