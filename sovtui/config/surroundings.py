"""What the environment says of where sovtui is shown: a terminal and what it can show, or a browser. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Glyphs = Literal["auto", "unicode", "ascii"]
_POOR = ("linux", "vt52", "vt100", "vt102", "vt220", "ansi")
"""Terminals whose fonts lack the signs, whatever the locale says."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a terminal can show."""

    ascii: bool = False
    """Only ASCII reaches it."""
    colour: bool = True
    """False: no colour code reaches it."""


def look(environment: Mapping[str, str], glyphs: Glyphs = "auto") -> Terminal:
    """What can be shown; `glyphs` is the owner's word on the signs. `NO_COLOR` counts if it is not empty."""
    colour = not environment.get("NO_COLOR")
    poor = not served(environment) and (environment.get("TERM", "") in _POOR or not _utf8(environment))
    return Terminal(poor if glyphs == "auto" else glyphs == "ascii", colour)


def served(environment: Mapping[str, str]) -> bool:
    """Whether a browser is at the other end: `sovtui serve` says so to what it starts."""
    return environment.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def dumb(environment: Mapping[str, str]) -> bool:
    """Whether the terminal cannot even move its cursor."""
    return environment.get("TERM", "dumb") == "dumb"


def _utf8(environment: Mapping[str, str]) -> bool:
    """Where only LANG says C, Python says C.UTF-8 in LC_CTYPE to itself and to us: LANG counts then."""
    said = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "C.UTF-8"
    if not environment.get("LC_ALL") and said == "C.UTF-8" and environment.get("LANG") in ("C", "POSIX"):
        return False
    return "utf8" in said.lower().replace("-", "")
