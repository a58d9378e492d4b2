"""Names of services and actions, checked strictly before anything is done with one. Pure."""

from __future__ import annotations

import re
from typing import Any

_SERVICE = re.compile(r"(?!-)[A-Za-z0-9:_.@\\-]{1,255}\Z")
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z-]{1,20}-[0-9a-z]{4,16}\Z")
_SUFFIX = re.compile(r"\.(service|target|timer|socket|mount|path|scope|slice)\Z")


class BadRequest(Exception):
    """The request is not understood; `str` is one sentence."""


def kind_of(service: str) -> tuple[str, str]:
    """`system`, `user`, `container` or `compose`, and the name its supervisor knows (a unit with its suffix)."""
    for kind in ("container", "compose"):
        if service.startswith(kind + ":"):
            return kind, service[len(kind) + 1 :]
    kind, name = ("user", service[len("user:") :]) if service.startswith("user:") else ("system", service)
    return kind, name if _SUFFIX.search(name) else name + ".service"


def supervisor_of(service: str) -> str:
    """Who is asked about it: `system`, `user` or `container`."""
    kind = kind_of(service)[0]
    return "container" if kind == "compose" else kind


def check_service(value: Any) -> str:
    """The name of a service, or BadRequest."""
    if not isinstance(value, str) or not _SERVICE.match(value):
        raise BadRequest(f"{value!r} is not the name of a service")
    name = kind_of(value)[1]
    if name.startswith((".", "-")) or (":" in name and value.startswith(("user:", "container:", "compose:"))):
        raise BadRequest(f"{value!r} is not the name of a service")
    return value


def check_id(value: Any) -> str:
    """An action's id, or BadRequest; it is also the name of a directory."""
    if not isinstance(value, str) or not _ID.match(value):
        raise BadRequest(f"{value!r} is not the id of an action")
    return value
