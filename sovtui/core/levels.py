"""How serious a log line is. Engines log everything at journal priority 6, so the text is read too. Pure."""

from __future__ import annotations

import re

from sovtui.onbox import logforms

_ERROR = re.compile(r"\b(?:ERROR|CRITICAL|FATAL|Fatal|Traceback)\b|(?:Error|Exception): ")
_WARNING = re.compile(r"\b(?:WARN|WARNING)\b")
_LETTERS = {"E": "error", "W": "warning", "D": "debug"}
_DEBUG = re.compile(r"\bDEBUG\b")


def level(text: str, priority: int | None) -> str:
    """`error`, `warning`, `info` or `debug`. `priority`: the journal's 0 to 7, None if not told."""
    if priority is not None and priority <= 3:
        return "error"
    if _ERROR.search(text):
        return "error"
    if priority == 4 or _WARNING.search(text):
        return "warning"
    if priority == 7 or _DEBUG.search(text):
        return "debug"
    return _LETTERS.get(logforms.letter(text), "info")
