"""How each engine's log lines begin, and which lines only show that somebody asked how it is. One table: a new engine adds its row. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """The lines of one engine."""

    heads: tuple[str, ...] = ()
    """Patterns of what a line begins with before it says anything: when, who, how serious, where in the source. Several may follow."""
    asks: tuple[str, ...] = ()
    """Patterns of the paths that are asked for to learn how it is, and change nothing."""


_UVICORN = r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL): +(?:\S+:\d+ - (?=\"))?"
_STAMPED = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\]]{0,30}\] ?"
_FUNCTION = r"(?:[a-z]{4}|[a-z]{3} ) (?=.{12}: ) *[^\s:]+: "
"""llama.cpp's `srv`, `slot` and the like, then the function in twelve cells."""
_LLAMACPP = (
    r"\d+\.\d\d\.\d{3}\.\d{3} (?:[IWED] )?",
    rf"(?:[IWED] (?={_FUNCTION}))?{_FUNCTION}",
)
_COMMON = (
    *(r"/(?:v1/)?health\w*(?:/.*)?", r"/metrics", r"/v1/models(?:/.*)?", r"/livez", r"/readyz"),
    *(r"/is_sleeping", r"/v1/loads", r"/get_load", r"/(?:get_)?server_info", r"/(?:get_)?model_info"),
    *(r"/props", r"/slots", r"/api/ps", r"/api/tags", r"/system_stats"),
    *(r"/(?:v1/)?model(?:_group)?/info", r"/get/config/callbacks", r"/router/settings"),
)
"""Paths that mean the same whoever serves them."""

FORMS = {
    "vllm": Form(
        (
            r"\([A-Za-z]\w*(?: pid=\d+)?\) ",
            r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\[\S+:\d+\]|\S+:\d+\]) ?",
            _UVICORN,
        ),
        (r"/load", r"/version", r"/ping"),
    ),
    "sglang": Form((_STAMPED, _UVICORN), (r"/ready", r"/ping")),
    "llamacpp": Form(_LLAMACPP, (r"/models",)),
    "ollama": Form(
        (
            r"time=\S+ level=\S+ source=\S+ (?:msg=(?=\"))?",
            r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \S+\.go:\d+: (?:DEBUG|INFO|WARN|ERROR) ",
            r"\[GIN\] \d{4}/\d\d/\d\d - \d\d:\d\d:\d\d \| ",
        ),
        (r"/?", r"/api/version"),
    ),
    "litellm": Form(
        (r"\d\d:\d\d:\d\d - LiteLLM[^:]{0,30}:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL): \S+:\d+ - ", _UVICORN),
        (r"/models", r"/fallback/.*"),
    ),
    "llamaswap": Form(
        (
            r"\[(?:DEBUG|INFO|WARN|ERROR)\] (?:Request \S+ (?=\"))?",
            r"\[llama-swap\] (?:\S+ \[\d{4}-\d\d-\d\d [\d:]+\] (?=\"))?",
            *_LLAMACPP,  # it passes on what its servers say
        ),
        (r"/running", r"/api/(?:version|performance|metrics/?.*)"),
    ),
    "comfyui": Form((_STAMPED,), (r"/queue", r"/prompt", r"/features")),
}
"""By the engine's name, as in `engine = `."""

_MOST = 3
"""So many heads may follow each other: a process, its record, its server."""


def _head(forms: Collection[Form]) -> re.Pattern[str]:
    heads = dict.fromkeys(head for form in forms for head in form.heads)
    return re.compile("(?:%s){1,%d}" % ("|".join(heads), _MOST))


def _paths(forms: Collection[Form]) -> re.Pattern[str]:
    return re.compile("|".join(dict.fromkeys([*_COMMON, *(path for form in forms for path in form.asks)])))


_HEADS = {name: _head([form]) for name, form in FORMS.items()}
_ANY_HEAD = _head(FORMS.values())
_PATHS: dict[str | None, re.Pattern[str]] = {
    **{name: _paths([form]) for name, form in FORMS.items()},
    None: _paths(FORMS.values()),
}
_COMMON_PATHS = _paths(())
_REQUESTS = (
    re.compile(
        r'(?:"|request: )(?P<method>[A-Z]{3,8}) (?P<path>/[^\s?"]*)[^\s"]*(?: HTTP/[\d.]+")?(?: [^\s"]*[.:][^\s"]*)?'
        r"(?: (?P<status>\d{3})\b)?"
    ),
    re.compile(r'\| (?P<status>\d{3}) \|[^"|]*\|[^"|]*\| (?P<method>[A-Z]{3,8}) +"(?P<path>/[^?"]*)'),
)
"""As uvicorn, aiohttp, llama-swap and llama.cpp write one, and as GIN does. The first one of a line counts: the rest is the client's."""
LOOKED_AT = 240
"""Characters of a line that are looked at: a request stands at its beginning, and what follows may be a megabyte."""
_LETTER = re.compile(r"(?:\d+\.\d\d\.\d{3}\.\d{3} )?([WED]) (?:[a-z]{3,4} |\w+: )")


def head(text: str, engine: str = "") -> int:
    """How many characters at the beginning of a line say no more than when, who and where; 0 if nothing would be left.

    An engine that is not in the table, or not known: any of the table's.
    """
    found = _HEADS.get(engine, _ANY_HEAD).match(text)
    if found is None or not text[found.end() :].strip():
        return 0
    return found.end()


def letter(text: str) -> str:
    """`W`, `E` or `D` where llama.cpp tells by a letter alone how serious a line is; else empty."""
    found = _LETTER.match(text)
    return found[1] if found else ""


def asked(text: str, engine: str | None = None) -> int | None:
    """Status of a request that only asked how somebody is; 0 where the line does not tell it, None for any other line.

    `engine`: whose log it is; None: of some engine; one that is not in the table: of anybody, and `/queue` may be more there.
    """
    text = text[:LOOKED_AT]
    if "GET " not in text and "HEAD " not in text:
        return None
    for pattern in _REQUESTS:
        found = pattern.search(text)
        if found is not None:
            mere = found["method"] in ("GET", "HEAD") and _asks(found["path"], _PATHS.get(engine, _COMMON_PATHS))
            return int(found["status"] or 0) if mere else None
    return None


def _asks(path: str, paths: re.Pattern[str]) -> bool:
    """Whether a path is one of these, or what follows a prefix that its server was given."""
    path = path.rstrip("/") or "/"
    if path == "/":
        return paths.fullmatch(path) is not None
    while path:
        if paths.fullmatch(path):
            return True
        cut = path.find("/", 1)
        path = path[cut:] if cut > 0 else ""
    return False
